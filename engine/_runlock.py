"""The lock of a run directory: one live run at a time, and a dead one's lock is free at once.

The lock is the kernel's (``flock``), on the file ``run.lock``, so that it ends
with its process however that ends. The file says who holds it, for the error
message; and where a file system has no ``flock`` (Lustre mounted without it),
what it says is the lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import weakref
from pathlib import Path

from ._lease import Owner, is_gone, this_process

__all__ = ["RunLock"]

_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})


class RunLock:
    """The lock on one directory, held from `RunLock.take` until `release` or the end of this process."""

    def __init__(self, path: Path, fd: int, owner: Owner) -> None:
        self.path = path
        self.owner = owner
        self._fd = fd
        _watch_forks(self)

    @classmethod
    def take(cls, path: Path) -> RunLock | Owner | None:
        """Take the lock whose file is *path*; return it.

        Where another process holds it, return that process instead, or None if its name is not known.
        """
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                holder, is_free = _try(path, fd)
                if is_free is None:
                    continue
                if not is_free:
                    return holder
                lock = cls(path, os.dup(fd), this_process(0.0))
            finally:
                # flock belongs to the open file, which the duplicate keeps open.
                os.close(fd)
            lock._sign()
            return lock

    def release(self) -> None:
        """Give the lock back; releasing twice is harmless. In the child of a fork it does nothing."""
        if self._fd < 0 or self.owner.pid != os.getpid():
            return
        # Removed while it is still held, so that nobody can lock it between; who has it open sees that it is gone.
        self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def after_fork_in_child(self) -> None:
        """Let the parent alone hold the lock: a child that outlives it must not keep the directory locked."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _sign(self) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(self.owner._asdict()).encode() + b"\n", 0)


def _try(path: Path, fd: int) -> tuple[Owner | None, bool | None]:
    """Try to lock *fd*, just opened at *path*; return the holder written in it, and whether it is ours now.

    None in place of the second: the file was removed meanwhile, so try again.
    """
    supported = True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(fd), False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        supported = False
    try:
        if not os.path.samestat(os.fstat(fd), os.stat(path)):
            return None, None
    except FileNotFoundError:
        return None, None
    holder = _holder(fd)
    if supported or holder is None:
        return holder, True
    return holder, is_gone(holder, 0.0, 0.0)


def _holder(fd: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(fd, 65536, 0)))
    except (ValueError, TypeError):  # empty, half written, or of another release
        return None


_locks: weakref.WeakSet[RunLock] = weakref.WeakSet()
_forks_watched = False


def _watch_forks(lock: RunLock) -> None:
    global _forks_watched
    _locks.add(lock)
    if not _forks_watched:
        _forks_watched = True
        os.register_at_fork(after_in_child=_after_fork_in_child)


def _after_fork_in_child() -> None:
    for lock in list(_locks):
        lock.after_fork_in_child()
