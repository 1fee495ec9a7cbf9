"""What a process has written so far, and ways to wait for more of it.

The process actor appends on the reactor; any thread reads. Who waits adds a
listener, then looks, then waits: a listener is called after every change, so
no change is missed.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from ._context import here
from ._output import Output
from ._spool import spool_file
from ._textstream import LineSplitter
from .future import DeadlockError

if TYPE_CHECKING:
    import weakref

    from ._sinks import StreamHandlers

__all__ = ["Deadline", "LineReader", "Stream", "TextCursor", "wait_for_change", "waiting"]

_NOTHING = Output(0, "")  # of all that have not started; nobody writes to it

_AT_ONCE = 1 << 20
"""Bytes that a reader takes at once, about: what has been spooled may be more than fits in memory."""


class Stream:
    """One output stream of one run of a process."""

    __slots__ = (
        "__weakref__",
        "_remove_file",
        "diverted",
        "ended",
        "handlers",
        "keep",
        "listeners",
        "output",
        "paused",
        "size",
    )

    def __init__(self) -> None:
        self.output = _NOTHING
        """What was kept."""
        self.keep = False
        """Keep what is written; else it is only shown to handlers."""
        self.handlers: StreamHandlers | None = None
        self.ended = False
        self.paused = False
        """Whether the I/O actor was told to read no more for now."""
        self.diverted = False
        """Whether the I/O actor was told to move the output straight into the file."""
        self.size = 0
        """Bytes written by the process, kept or not."""
        self.listeners: list[Callable[[], None]] = []
        self._remove_file: weakref.finalize[Any, Any] | None = None

    def prepare(self, handlers: StreamHandlers | None, limit: int, *, keep: bool) -> None:
        """The process is about to start.

        Args:
            handlers: who is to be told of what it writes.
            limit: bytes held in memory; more is spooled to a file.
            keep: keep what is written; it is kept too where somebody waits for it already.
        """
        self.handlers = handlers
        self.output = Output(limit, self._new_file)
        self.keep = self.keep or keep

    def _new_file(self) -> str:
        path, self._remove_file = spool_file(self)
        return path

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
        """Nothing more will come. The reactor's thread, or any where nothing was started."""
        if not self.ended:
            self.output.close()  # before: who sees the end sees the last bytes too, be they a character or not
            self.ended = True
            self._tell()

    def discard(self) -> None:
        """Remove the spool file, if there is one."""
        if self._remove_file is not None:
            self._remove_file()

    def _tell(self) -> None:
        if self.listeners:
            for listener in list(self.listeners):
                listener()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Wait inside for what a process writes: another worker takes the place of this one meanwhile.

    Raises:
        DeadlockError: this is the reactor's thread, which has to read it.
    """
    if here.on_reactor:
        raise DeadlockError("the reactor's thread must not wait for output: give the process a handler")
    if here.runtime is None:
        yield
    else:
        with here.runtime.pool.waiting():
            yield


def wait_for_change(changed: threading.Event, timeout: float | None) -> bool:
    """Wait until *changed* is set, at most *timeout* seconds; returns whether it is. Raises as `waiting`."""
    if changed.is_set() or timeout == 0:
        return changed.is_set()
    with waiting():
        return changed.wait(timeout)


class Deadline:
    """The end of a wait of *timeout* seconds that begins now; None: it has none."""

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds left, 0 when it is over."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())


class TextCursor:
    """Reads a `Stream` as text, from a position on. Belongs to one thread."""

    def __init__(self, stream: Stream, offset: int = 0) -> None:
        self._stream = stream
        self._offset = offset
        self.behind = True
        """Whether the last look left something out."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")

    def read(self) -> tuple[str, bool]:
        """The text that came since, or a good deal of it; and whether this is the end of the stream."""
        ended = self._stream.ended  # before reading: what came before the end is then in the text
        first = self._offset
        parts = []
        for chunk in self._stream.output.iter_chunks(first):
            self._offset += len(chunk)
            parts.append(self._decoder.decode(chunk))
            if self._offset - first >= _AT_ONCE:
                break
        self.behind = self._offset - first >= _AT_ONCE
        ended = ended and not self.behind
        if ended:
            parts.append(self._decoder.decode(b"", final=True))
        return "".join(parts), ended


class LineReader:
    """The lines of a stream, from the first one on: to iterate over with ``for`` or ``async for``.

    Lines come without their ends (newline, carriage return, or both).
    The iteration ends with the stream. Several readers do not disturb each other.

    Args:
        timeout: seconds to wait for each line; None: as long as it takes.
            Raises `TimeoutError` when none comes (``for`` only: in asyncio use `asyncio.timeout`).
    """

    def __init__(self, stream: Stream, timeout: float | None = None) -> None:
        self._stream = stream
        self._timeout = timeout
        self._cursor = TextCursor(stream)
        self._splitter = LineSplitter(sys.maxsize)

    def _new_lines(self) -> tuple[list[str], bool, bool]:
        """Lines that have come; whether there may be more at once; and whether this is the end of the stream."""
        text, ended = self._cursor.read()
        lines = self._splitter.feed_text(text)
        return (lines + self._splitter.eof() if ended else lines), self._cursor.behind, ended

    def __iter__(self) -> Iterator[str]:
        changed = threading.Event()
        self._stream.listeners.append(changed.set)
        deadline = Deadline(self._timeout)
        try:
            ended = False
            while not ended:
                changed.clear()
                lines, more, ended = self._new_lines()
                yield from lines
                if lines:
                    deadline = Deadline(self._timeout)
                elif not more and not ended and not wait_for_change(changed, deadline.left()):
                    raise TimeoutError(f"no line came within {self._timeout} seconds")
        finally:
            self._stream.listeners.remove(changed.set)

    async def __aiter__(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(changed.set)

        self._stream.listeners.append(tell)
        try:
            ended = False
            while not ended:
                changed.clear()
                lines, more, ended = self._new_lines()
                for line in lines:
                    yield line
                if not more and not ended:
                    await changed.wait()
        finally:
            self._stream.listeners.remove(tell)
