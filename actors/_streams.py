"""What a process has written so far, and ways to wait for more of it.

The process actor appends on the reactor; any thread reads. Who waits adds a
listener, then looks, then waits: a listener is called after every change, so
no change is missed.
"""

from __future__ import annotations

import asyncio
import codecs
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

from ._output import Output

if TYPE_CHECKING:
    from ._handlers import StreamHandlers

__all__ = ["LineReader", "Stream", "TextCursor"]


class Stream:
    """One output stream of one run of a process.

    Args:
        limit: bytes held in memory; more is spooled to a file.
        spool: gives the path of the file when it is needed.
        keep: keep what is written; else it is only shown to handlers.
    """

    __slots__ = ("ended", "handlers", "keep", "listeners", "output", "shown", "size")

    def __init__(self, limit: int, spool: Callable[[], str], *, keep: bool) -> None:
        self.output = Output(limit, spool)
        self.keep = keep
        self.shown = keep
        """Whether the process's `stdout` or `stderr` shows what was kept (a wait may keep it for itself)."""
        self.handlers: StreamHandlers | None = None
        self.ended = False
        self.size = 0
        """Bytes written by the process, kept or not."""
        self.listeners: list[Callable[[], None]] = []

    def append(self, data: bytes) -> None:
        """The process has written *data*. The reactor's thread."""
        self.size += len(data)
        if self.keep:
            self.output.append(data)
            self._tell()

    def spooled(self, size: int) -> None:
        """*size* bytes went straight into the spool file. The reactor's thread."""
        self.size += size
        self._tell()

    def end(self) -> None:
        """Nothing more will come. The reactor's thread."""
        if not self.ended:
            self.output.close()
            self.ended = True
            self._tell()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()


class TextCursor:
    """Reads a `Stream` as text, from a position on. Belongs to one thread."""

    def __init__(self, stream: Stream, offset: int = 0) -> None:
        self._stream = stream
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")

    def read(self) -> tuple[str, bool]:
        """All the text that came since, and whether the stream is at its end."""
        ended = self._stream.ended  # before reading: what came before the end is then in the text
        parts = []
        for chunk in self._stream.output.iter_chunks(self._offset):
            self._offset += len(chunk)
            parts.append(self._decoder.decode(chunk))
        if ended:
            parts.append(self._decoder.decode(b"", final=True))
        return "".join(parts), ended


class LineReader:
    """The lines of a stream, from the first one on: to iterate over with ``for`` or ``async for``.

    Lines come without their ends (newline, or carriage return and newline).
    The iteration ends with the stream. Several readers do not disturb each other.

    Args:
        timeout: seconds to wait for each line; None: as long as it takes.
            Raises `TimeoutError` when none comes (``for`` only: in asyncio use `asyncio.timeout`).
    """

    def __init__(self, stream: Stream, timeout: float | None = None) -> None:
        self._stream = stream
        self._timeout = timeout
        self._cursor = TextCursor(stream)
        self._rest: list[str] = []

    def _new_lines(self) -> tuple[list[str], bool]:
        text, ended = self._cursor.read()
        self._rest.append(text)
        if not ended and "\n" not in text:
            return [], ended
        *lines, rest = "".join(self._rest).split("\n")
        self._rest = [rest]
        if ended and rest:
            lines.append(rest)
        return [line.removesuffix("\r") for line in lines], ended

    def __iter__(self) -> Iterator[str]:
        changed = threading.Event()
        self._stream.listeners.append(changed.set)
        try:
            ended = False
            while not ended:
                changed.clear()
                lines, ended = self._new_lines()
                yield from lines
                if not lines and not ended and not changed.wait(self._timeout):
                    raise TimeoutError(f"no line came within {self._timeout} seconds")
        finally:
            self._stream.listeners.remove(changed.set)

    async def __aiter__(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        self._stream.listeners.append(tell)
        try:
            ended = False
            while not ended:
                changed.clear()
                lines, ended = self._new_lines()
                for line in lines:
                    yield line
                if not lines and not ended:
                    await changed.wait()
        finally:
            self._stream.listeners.remove(tell)
