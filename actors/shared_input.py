"""SharedInput: one input for the stdin of many processes, each of which reads it at its own pace.

What comes is kept in a temporary file (or is a file already), so that those that start late get all of it, a slow one
holds up no other, and memory is bounded. The I/O actor takes a block for a process whenever its stdin has room.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from ._process import Process

__all__ = ["Feed", "InputReader", "SharedInput"]

_BLOCK = 1 << 16  # bytes for one process at a time
_MUCH, _LITTLE = 16 << 20, 4 << 20
"""Bytes that nobody has taken yet: from which on no more should come, and below which it should."""


class SharedInput:
    """See the module. One thread adds to it; any may `feed`.

    Args:
        fd: a regular file that is the input, from where its position is now; None: it comes by `append`. The file
            stays the caller's.

    Raises:
        OSError: there is no place for a temporary file.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._file: Any = None
        if fd is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it
        self._fd: int = self._file.fileno() if fd is None else fd
        self._begin = 0 if fd is None else os.lseek(fd, 0, os.SEEK_CUR)
        self._size: int | None = self._begin if fd is None else None  # None: as long as the file is
        self._ended = fd is not None
        self._taken = self._begin  # by the fastest
        self._dry: list[Callable[[], None]] = []  # what to call when there is more; the reactor's
        self._hungry: Callable[[], None] | None = None
        self._wakes: Callable[[Callable[[], None]], None] | None = None

    def append(self, data: bytes) -> None:
        """Add *data*.

        Raises:
            OSError: the temporary file can not hold it.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        assert self._size is not None
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._wake()

    def when_wanted(self, function: Callable[[], None]) -> bool:
        """Return whether much is there that no process has taken yet; if so, call *function* when it is little.

        Without that, the file would grow as fast as somebody writes. *function* is called once, on the reactor, or
        in this thread before this returns.
        """
        if self._ahead <= _MUCH:
            return False
        self._hungry = function
        self._feed_producer()  # they may just have taken it
        return True

    def feed(self, process: Process) -> None:
        """Let *process*, which has started, read all of it, from the beginning."""
        run = process._run
        runtime = run.runtime
        assert runtime is not None, "it has started"
        self._wakes = runtime.bus.call
        with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped, and the process with it
            runtime.bus.tell(run.address, Feed(run.address, InputReader(self, self._begin)))

    def close(self) -> None:
        """Remove the temporary file, when no process reads any more."""
        if self._file is not None:
            self._file.close()

    # -- on the reactor ------------------------------------------------------------------

    def take(self, offset: int, when_more: Callable[[], None]) -> bytes | None:
        """Return the block at *offset*; None at the end; none where it has yet to come, then *when_more* is called.

        Raises:
            OSError: it can not be read.
        """
        ended = self._ended  # looked at first: what came before the end is there then
        room = _BLOCK if self._size is None else min(_BLOCK, self._size - offset)
        data = os.pread(self._fd, room, offset) if room else b""
        if data:
            if offset + len(data) > self._taken:
                self._taken = offset + len(data)
                self._feed_producer()
            return data
        if ended:
            return None
        self._dry.append(when_more)
        return data

    @property
    def _ahead(self) -> int:
        return 0 if self._size is None else self._size - self._taken

    def _feed_producer(self) -> None:
        if self._hungry is not None and self._ahead < _LITTLE:
            function, self._hungry = self._hungry, None
            if function is not None:  # the other thread was faster
                function()

    def _wake(self) -> None:
        if self._wakes is not None:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped
                self._wakes(self._serve_dry)

    def _serve_dry(self) -> None:
        dry, self._dry = self._dry, []
        for when_more in dry:
            when_more()


class InputReader:
    """How far one process has come. Belongs to the reactor."""

    __slots__ = ("_begin", "_input", "_offset")

    def __init__(self, source: SharedInput, offset: int) -> None:
        self._input = source
        self._begin = self._offset = offset

    def begin_anew(self) -> None:
        """The process that has read of it is followed by another."""
        self._offset = self._begin

    def next(self, when_more: Callable[[], None]) -> bytes | None:
        """Return the next block, as `SharedInput.take`."""
        data = self._input.take(self._offset, when_more)
        if data:
            self._offset += len(data)
        return data


class Feed:
    """Let a process read from *source*. To: its actor, and on to the I/O actor. No answer; it ends with the process.

    Not a registered message: it hands over an object, inside this process.
    """

    __slots__ = ("process", "source")

    def __init__(self, process: str, source: InputReader) -> None:
        self.process = process
        self.source = source
