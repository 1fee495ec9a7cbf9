"""The lock of a store: one thread of one process of all that share a directory.

The kernel's part is ``flock`` on a file of its own, ``sweep.lock``, which is
never replaced or removed; a process that dies has let go of it. (On NFS, Linux
makes it a lock that holds between machines.) Of the locks that `fcntl` offers,
this is the one that does not get lost when some other part of the program
opens and closes the file. It belongs to the open file, so all sweepers of a
process that are in one directory share one `StoreLock`, with a thread lock in
front; and a forked child lets go of its copy at once.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from ._store_errors import SweepStoreBusyError

__all__ = ["StoreLock"]

_LONGEST_PAUSE = 0.05  # seconds between two looks, where waiting has an end

_guard = threading.Lock()
_locks: WeakValueDictionary[tuple[int, int], StoreLock] = WeakValueDictionary()
_watching_forks = False


class StoreLock:
    """The lock of a directory; use `at`. Thread-safe, and whole again in a forked child."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self.threads = threading.RLock()
        self._depth = 0  # how often the thread that has `threads` holds the lock
        self._busy = False  # it is in the middle of something, and not in code of the user

    @classmethod
    def at(cls, directory: str) -> StoreLock:
        """The one lock of this process for *directory*, whose lock file is made if it is not there.

        Raises:
            OSError: the file can not be made or opened for writing.
        """
        global _watching_forks
        path = os.path.join(directory, "sweep.lock")
        with _guard:
            if not _watching_forks:
                os.register_at_fork(after_in_child=_after_fork)
                _watching_forks = True
            fd = _open(path)
            status = os.fstat(fd)
            found = _locks.get((status.st_dev, status.st_ino))
            if found is not None:
                os.close(fd)
                return found
            made = cls(path, fd)
            _locks[status.st_dev, status.st_ino] = made
            return made

    @contextmanager
    def held(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock, against other processes and other threads.

        Args:
            timeout: seconds to wait for other processes; None: no limit.

        Raises:
            SweepStoreBusyError: they did not let go in time.
            RuntimeError: this thread is in the middle of something here, so this is a signal handler.
        """
        threads = self.threads
        with threads:
            if self._busy:
                raise RuntimeError(
                    f"the sweeper in {os.path.dirname(self._path)} was used by a signal handler that interrupted "
                    "an operation of the same sweeper: let the handler set a flag, and look at it later"
                )
            if self._depth == 0:
                self._lock_file(timeout)
            self._depth += 1
            self._busy = True
            try:
                yield
            finally:
                # A child that was forked while the lock was held has new locks, and holds none.
                if threads is self.threads:
                    self._busy = False
                    self._depth -= 1
                    if self._depth == 0:
                        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def peeking(self) -> Iterator[bool]:
        """Keep the other threads of this process out, for a look. The answer is whether this is a signal
        handler that interrupted an operation in this directory: then nothing must be changed."""
        threads = self.threads
        with threads:
            inside = self._busy
            self._busy = True
            try:
                yield inside
            finally:
                if threads is self.threads:
                    self._busy = inside

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While the lock is held: let code of the user run, which may use sweepers in this directory itself."""
        threads = self.threads
        self._busy = False
        try:
            yield
        finally:
            if threads is self.threads:  # else the user's code has forked, and this is the child
                self._busy = True

    def is_held(self) -> bool:
        """Whether the thread that asks, which must be in `held` or `peeking`, holds the lock against others."""
        return self._depth > 0

    def _lock_file(self, timeout: float | None) -> None:
        if self._fd < 0:
            self._fd = _open(self._path)
        if timeout is None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            return
        deadline = time.monotonic() + timeout
        pause = 0.001
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SweepStoreBusyError(os.path.dirname(self._path), timeout) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _after_fork(self) -> None:
        self.threads = threading.RLock()
        self._depth = 0
        self._busy = False
        if self._fd >= 0:
            # Otherwise the parent's lock would outlive a killed parent for as long as this child lives.
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    for lock in list(_locks.values()):
        lock._after_fork()
