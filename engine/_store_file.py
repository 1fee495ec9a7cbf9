"""The file of a store: ``sweep.log``, of which only the end ever changes.

`LogFile` is one open log. `write_log` makes a whole new one and puts it in the
place of the old in one step, so that at any moment, and after any crash, the
one or the other is there. Nothing here knows what the records mean, but for
the first, which says how many bytes of snapshot stand behind it: those were on
the disk before the file had its name, so they are never a torn tail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections.abc import Iterable

from ..protocols.records import encode_record
from ._store_table import HEADER, Record

__all__ = ["FORMAT", "LOG_NAME", "VERSION", "LogFile", "is_remote", "sync_directory", "write_log"]

LOG_NAME = "sweep.log"
FORMAT = "regisseur sweep"
VERSION = 1
_NEW_NAME = "sweep.log.new"
_REMOTE = frozenset({"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3"})
_MAGIC = encode_record(None)[:4]


class LogFile:
    """The log *path*, opened for reading, or for writing too; and how far it was read.

    Raises:
        OSError: it can not be opened.
    """

    def __init__(self, path: str, *, writable: bool) -> None:
        self.path = path
        self.end = 0
        """Bytes that were read, or written, and understood."""
        self._fd = os.open(path, (os.O_RDWR | os.O_APPEND if writable else os.O_RDONLY) | os.O_CLOEXEC)
        # Closed when the last user is gone, never before: a thread may be in `sync` while another goes
        # over to the file's replacement.
        weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        self._identity = (status.st_dev, status.st_ino)

    def is_current(self) -> bool:
        """Whether the name still means this file, and not its replacement.

        Raises:
            FileNotFoundError: the file is gone.
        """
        try:
            os.fstat(self._fd)
        except OSError as error:
            if error.errno == errno.ESTALE:  # NFS: another machine has replaced it
                return False
            raise
        status = os.stat(self.path)
        return (status.st_dev, status.st_ino) == self._identity

    def revalidate(self) -> None:
        """On a remote file system: see what other machines have written.

        NFS promises that to whoever opens a file; the descriptor that is open already profits.

        Raises:
            FileNotFoundError: the file is gone.
        """
        os.close(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))

    def is_torn_at_birth(self, data: bytes) -> bool:
        """Whether *data*, all that is in the file, is less than the beginning of a first record."""
        return len(data) < len(_MAGIC) + 60 and data[: len(_MAGIC)] == _MAGIC[: len(data)]

    def read_on(self) -> bytes:
        """What stands behind `end`.

        Raises:
            ValueError: the file has become shorter than what was read of it.
        """
        size = os.fstat(self._fd).st_size
        if size < self.end:
            raise ValueError(f"the file ends at byte {size}, and had {self.end} bytes")
        parts = []
        at = self.end
        while at < size:
            part = os.pread(self._fd, size - at, at)
            if not part:
                break
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def append(self, data: bytes) -> None:
        """Write *data* at `end`, which is the end of the file, and move `end` behind it. The lock must be held.

        Raises:
            OSError: the disk is full, or broken; what was written of it is taken back.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, self.end)
            raise
        self.end += len(data)

    def sync(self) -> None:
        """Return when all that was written is on the disk itself."""
        os.fdatasync(self._fd)

    def cut(self, *, keep: bool) -> None:
        """Cut off what stands behind `end`, the torn tail. The lock must be held.

        Args:
            keep: put the bytes into a file of their own first, beside the log.
        """
        if keep:
            with open(f"{self.path}.damaged-{self.end}", "wb") as aside:
                aside.write(self.read_on())
                aside.flush()
                os.fsync(aside.fileno())
        os.ftruncate(self._fd, self.end)
        os.fsync(self._fd)


def write_log(path: str, snapshot: Iterable[Record]) -> None:
    """Make *path* a log that holds *snapshot*, in one step. The lock must be held.

    Raises:
        OSError: it can not be written; what was there is there still.
    """
    body = b"".join(map(encode_record, snapshot))
    head = encode_record([HEADER, FORMAT, VERSION, len(body)])
    directory = os.path.dirname(path)
    new = os.path.join(directory, _NEW_NAME)
    try:
        mode = os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        mode = None
    try:
        with open(new, "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(head)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
    sync_directory(directory)


def is_remote(path: str) -> bool:
    """Whether *path* is on a file system that other machines may be writing to: NFS, Lustre, FUSE and so on."""
    device = os.stat(path).st_dev
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:  # proc(5)
            for line in mounts:
                fields, _, rest = line.partition(" - ")
                if fields.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    kind = rest.split()[0]
                    return kind in _REMOTE or kind.startswith("fuse")
    except OSError:
        return False
    return False


def sync_directory(path: str) -> None:
    """Return when the names in directory *path* are on the disk itself."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
