"""Files in place of pipes: what a process reads as stdin, or writes to as stdout, without a byte passing through here.

A `Redirect` is told to the I/O actor before the process is to start; the process, or the process that holds the
connection to its host, is handed the descriptors. The program that made it keeps it alive until the end: the I/O
actor only remembers it for as long as somebody else does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

__all__ = ["FileInput", "FileOutput", "Redirect"]


class FileInput:
    """A regular file that a process is to read from *offset* on.

    Args:
        path: of the file.
        offset: bytes that are passed over.
        closed: called when it is closed, where somebody needs to know.
    """

    def __init__(self, path: str | bytes, offset: int = 0, closed: Callable[[], None] | None = None) -> None:
        self.path = path
        self.offset = offset
        self.fed: int | None = None
        """Bytes that others have read and passed on, where they read it in place of the process."""
        self._closed = closed
        self._shared = -1

    def open(self) -> int:
        """Return a descriptor for the process, whose reading moves on the position here too. The reactor's thread.

        Raises:
            OSError: the file is gone, or there are no descriptors.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.lseek(fd, self.offset, os.SEEK_SET)
            self._forget_position()
            self._shared = os.dup(fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    @property
    def taken(self) -> int:
        """Bytes that have been read of it since it was opened the last time. Thread-safe."""
        if self.fed is not None:
            return self.fed
        shared = self._shared
        if shared >= 0:
            with contextlib.suppress(OSError):  # it is just being closed
                return max(0, os.lseek(shared, 0, os.SEEK_CUR) - self.offset)
        return 0

    def _forget_position(self) -> None:
        shared, self._shared = self._shared, -1
        if shared >= 0:
            os.close(shared)

    def close(self) -> None:
        """The process has ended, or will never begin."""
        self._forget_position()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()

    __del__ = close


class FileOutput:
    """An open file that a process is to write to, at its end.

    Args:
        fd: is taken over.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def open(self) -> int:
        """Return a descriptor for the process. The reactor's thread.

        Raises:
            OSError: there are no descriptors.
        """
        return os.dup(self.fd)

    @property
    def taken(self) -> int:
        """Bytes that have been written. Thread-safe."""
        with contextlib.suppress(OSError):  # it has just been closed
            return os.fstat(self.fd).st_size
        return 0

    def close(self) -> None:
        """The process has ended."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


class Redirect:
    """Have *process* read from a file, or write to one, in place of pipes. To: the I/O actor, before it starts.

    Not a registered message: it hands over objects, inside this process.
    """

    __slots__ = ("__weakref__", "process", "stdin", "stdout")

    def __init__(self, stdin: FileInput | None = None, stdout: FileOutput | None = None) -> None:
        self.process = ""
        """Address of the process actor."""
        self.stdin = stdin
        self.stdout = stdout
