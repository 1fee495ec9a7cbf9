"""The files of the cases of Put, and where they go: in memory, where there is a place for it.

On a disk it would be measured how the file system finds room, which for one takes much longer when a round before has
removed as many files as another creates.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


@contextlib.contextmanager
def files(count):
    """A directory of so many small files, and an empty one for what comes of them."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="regisseur-bench-", dir=place) as name:
        source, target = Path(name, "files"), Path(name, "hosts")
        source.mkdir()
        target.mkdir()
        for number in range(count):
            (source / f"file {number}").write_bytes(b"%d\n" % number * 200)
        yield source, target


def check_and_clear(target, hosts, count):
    """All files have come to all hosts."""
    for host in hosts:
        assert len(list((target / host).rglob("file *"))) == count, host
    shutil.rmtree(target)
    target.mkdir()
