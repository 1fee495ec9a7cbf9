"""Our stdin for the commands on many hosts: read as it comes, no faster than at least one of them takes it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...actors.shared_input import SharedInput

if TYPE_CHECKING:
    from ...actors.process import Process

__all__ = ["BroadcastInput"]

_STDIN = 0
_BLOCK = 1 << 16  # bytes at a time


class BroadcastInput:
    """See the module. Belongs to the main thread, but for `feed`.

    Args:
        failed: is told why it can not be read, or kept for those that start late.
    """

    def __init__(self, failed: Callable[[OSError], None]) -> None:
        self._failed = failed
        self._is_file = stat.S_ISREG(os.fstat(_STDIN).st_mode)
        self._shared = SharedInput(_STDIN) if self._is_file else SharedInput()
        self._loop: asyncio.AbstractEventLoop
        self._is_over = self._is_file

    def feed(self, process: Process) -> None:
        """Let *process*, which has started, read all of it. Thread-safe."""
        self._shared.feed(process)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read."""
        self._loop = loop
        self._go_on()

    def close(self) -> None:
        """Read no more; all processes have ended."""
        self._pause()
        self._is_over = True
        self._shared.close()

    def _go_on(self) -> None:
        if self._is_over:
            return
        try:
            self._loop.add_reader(_STDIN, self._read)
        except PermissionError:  # a device that can always be read: epoll has no use for it
            self._read()
            self._loop.call_soon(self._go_on)

    def _pause(self) -> None:
        with contextlib.suppress(OSError):
            self._loop.remove_reader(_STDIN)

    def _read(self) -> None:
        try:
            data = os.read(_STDIN, _BLOCK)
            if data:
                self._shared.append(data)
        except BlockingIOError:
            return
        except OSError as error:  # a directory; the terminal, while we are in the background; a full disk
            data = b""
            self._failed(OSError(error.errno, error.strerror, "stdin"))
        if not data:
            self._is_over = True
            self._pause()
            self._shared.end()
        elif self._shared.when_wanted(self._wanted):
            self._pause()

    def _wanted(self) -> None:
        """There is room for more. On the reactor, or in the main thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._go_on)
