"""A private sshd for the benchmarks: many addresses of the loopback interface, which stand for as many hosts.

Needs sshd (Debian: openssh-server). Its sessions have an empty home directory, so that no start-up file of the
user's counts.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Sshd", "private_sshd"]


@dataclass(frozen=True)
class Sshd:
    """Where it listens, and how to log in; all of it as environment variables for the programs of a case."""

    port: int
    user: str
    directory: Path

    def environment(self) -> dict[str, str]:
        """What `cases/ssh_targets.py` reads."""
        return {
            "BENCH_SSH_PORT": str(self.port),
            "BENCH_SSH_USER": self.user,
            "BENCH_SSH_KEY": str(self.directory / "id"),
        }


def find_sshd() -> str | None:
    """The path of sshd; None where there is none."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def private_sshd() -> Iterator[Sshd]:
    """Start one on a free port of all addresses of the loopback interface; it ends with the block.

    Raises:
        OSError: there is no sshd, or it does not start.
    """
    program = find_sshd()
    if program is None:
        raise OSError("there is no sshd: apt-get install openssh-server")
    with tempfile.TemporaryDirectory(prefix="regisseur-bench-") as name:
        directory = Path(name)
        (directory / "home").mkdir()
        for key in ("host_key", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)], check=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        (directory / "config").write_text(_configuration(directory, port))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (directory / "log").open("wb") as log:
            sshd = subprocess.Popen([program, "-D", "-e", "-f", str(directory / "config")], stderr=log)
        try:
            _wait_for(sshd, port, directory / "log")
            yield Sshd(port, getpass.getuser(), directory)
        finally:
            sshd.terminate()
            sshd.wait()


def _configuration(directory: Path, port: int) -> str:
    return f"""
Port {port}
ListenAddress 0.0.0.0
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/id.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
MaxStartups 1000
MaxSessions 1000
PrintMotd no
PrintLastLog no
SetEnv HOME={directory}/home
Subsystem sftp internal-sftp
"""


def _wait_for(sshd: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if sshd.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise OSError(f"sshd does not start: {log.read_text().strip()}")
