"""The screen: where what many hosts write comes together, line by line, and the line that tells how far it is.

Called in workers, many at a time: one lock keeps lines whole. A reader who is slow slows the hosts down, and nothing
piles up; one who reads no more at all is waited for only until `give_up`.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...actors.process import ProcessOutputHandler

__all__ = ["STDERR", "STDOUT", "LineWriter", "Screen"]

STDOUT, STDERR = 1, 2
_PIECE = 4096  # bytes that a pipe which is ready takes without blocking
_PATIENCE_MS = 200  # between looks whether somebody has given up
_LONGEST = 1 << 20  # bytes of a line; longer ones are cut, so that memory is bounded
_LOCK_PATIENCE = 0.5  # seconds
_ERASE = b"\r\x1b[K"
_REDRAW = 0.1  # seconds between two looks of the status line


class Screen:
    """Our stdout and stderr.

    Args:
        failed: is told once why stdout can not be written. In the thread that writes.
        status: what to show below the output while it runs; None: nothing.
    """

    def __init__(self, failed: Callable[[OSError], None], status: Callable[[], str] | None = None) -> None:
        self._failed = failed
        self._status = status
        self._lock = threading.Lock()
        self._dead: set[int] = set()
        self._given_up = False
        self._drawn = False
        self._drawn_at = 0.0
        self._pieces = {fd: 1 << 30 if _is_file(fd) else _PIECE for fd in (STDOUT, STDERR)}
        self._live = status is not None and os.isatty(STDERR)

    def tell(self, failed: Callable[[OSError], None]) -> None:
        """Tell *failed* from now on why stdout can not be written."""
        self._failed = failed

    def write(self, fd: int, data: bytes) -> None:
        """Write *data*, which is whole lines, to `STDOUT` or `STDERR`."""
        with self._lock:
            self._erase()
            self._put(fd, data)

    def draw(self, *, last: bool = False) -> None:
        """Show the status line, unless it was shown just now; or with *last* for good."""
        if self._status is None or not self._lock.acquire(timeout=_LOCK_PATIENCE if last else 0):
            return
        try:
            now = time.monotonic()
            if now - self._drawn_at < (_REDRAW if self._live else 1.0) and not last:
                return
            self._drawn_at = now
            text = self._status().encode()
            if self._live:
                self._put(STDERR, _ERASE + text + (b"\n" if last else b""))
                self._drawn = not last
            else:
                self._put(STDERR, text + b"\n")
        finally:
            self._lock.release()

    def clear(self) -> None:
        """Take the status line away, so that somebody else may write. Does not wait for a reader who is slow."""
        if self._lock.acquire(timeout=_LOCK_PATIENCE):
            self._erase()
            self._lock.release()

    def give_up(self) -> None:
        """Wait for readers no longer: what they have not read is lost."""
        self._given_up = True

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            self._put(STDERR, _ERASE)
            self._drawn_at = 0.0

    def _put(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        ready = select.poll()
        ready.register(fd, select.POLLOUT)
        while rest and fd not in self._dead:
            try:
                if not ready.poll(_PATIENCE_MS):
                    if self._given_up:
                        self._dead.add(fd)
                    continue
                rest = rest[os.write(fd, rest[: self._pieces[fd]]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                self._dead.add(fd)
                if fd == STDOUT:
                    self._failed(error)


class LineWriter(ProcessOutputHandler):
    """Passes one output of one host on to the screen, as whole lines behind a prefix; and to a file as it is.

    Args:
        screen, fd: where to; None: only to the file.
        prefix: stands before each line.
        path: of the file, which is made anew.
        failed: is told why the file can not be written. In a worker.
    """

    binary = True

    def __init__(
        self, screen: Screen | None, fd: int, prefix: bytes, path: Path | None, failed: Callable[[OSError], None]
    ) -> None:
        self._screen = screen
        self._fd = fd
        self._prefix = prefix
        self._begun = b""
        """The line that has no end yet."""
        self._path = path
        self._file: Any = None
        self._failed = failed

    def read(self, process: Any, stream: int, string: Any, eof: bool, error: bool) -> None:
        """Take the next bytes of the output."""
        if self._path is not None:
            self._keep(self._path, string, eof=eof)
        if self._screen is not None:
            self._pass_on(self._screen, string, eof=eof)

    def _pass_on(self, screen: Screen, data: bytes, *, eof: bool) -> None:
        lines = self._begun + data
        end = lines.rfind(b"\n") + 1
        if eof or len(lines) - end > _LONGEST:
            self._begun = b""
            if len(lines) > end:
                lines += b"\n"
        else:
            self._begun, lines = lines[end:], lines[:end]
        if lines:
            prefix = self._prefix
            screen.write(self._fd, prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n" if prefix else lines)

    def _keep(self, path: Path, data: bytes, *, eof: bool) -> None:
        try:
            if self._file is None:
                self._file = path.open("wb", buffering=0)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            eof = True
            self._path = None
            self._failed(OSError(error.errno, error.strerror, str(path)))
        if eof and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False
