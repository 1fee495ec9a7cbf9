"""The hosts of the cases of ChainPut: those of the test bed, with cables of a given speed, and a file for them.

Needs root. Their disks, and the file, lie in memory.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/testbed"), str(ROOT / "tests/support")]

from bed import Bed  # noqa: E402 - it is found by the line above
from enclosure import run  # noqa: E402


@contextlib.contextmanager
def bed(count, megabytes, rate):
    """So many hosts, a file, and the connection parameters."""
    with tempfile.TemporaryDirectory(prefix="regisseur-bench-", dir="/dev/shm") as name, Bed(count, Path(name)) as made:
        made._enclosure.run("mount", "-o", "remount,size=90%", "/run")
        shape(made, rate)
        file = Path(name, "file")
        with file.open("wb") as writer:
            for _ in range(megabytes):
                writer.write(os.urandom(1 << 20))
        params = {**made.connection_params, "known_hosts": str(Path(name, "known_hosts")), "alive_interval": 1}
        yield made, file, params


def shape(made, rate):
    """Let no cable carry more than *rate*, that of this machine included."""
    queue = ["root", "tbf", "rate", rate, "burst", "1mb", "latency", "50ms"]
    run("tc", "qdisc", "replace", "dev", f"testbed{made.hosts[0].address.split('.')[2]}", *queue)
    made._enclosure.run("tc", "qdisc", "replace", "dev", "uplink", *queue)
    for host in made.hosts:
        host.shape(rate)


def check(made, file, without=()):
    """All hosts have the file as it was."""
    wanted = digest(file)
    for host in made.hosts:
        if host not in without:
            assert digest(host.disk / "tmp" / "file") == wanted, host


def digest(path):
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").digest()
