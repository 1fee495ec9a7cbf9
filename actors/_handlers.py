"""Handlers: code of the user's that is told what a process does.

Handlers of one process run in worker threads, in order, one at a time; those
of different processes run side by side. One that is slow holds up its own
process's output (which is then not read any faster) and nothing else; one that
raises is logged, and the others go on.

A stream handler is any of

- a `ProcessOutputHandler`, told chunks or lines;
- a callable ``f(process, stream, chunk)``;
- a file name: the output is appended to the file, which several processes may share;
- an int: a file descriptor;
- an object with ``write()``.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..protocols.messages import STDERR, STDOUT

if TYPE_CHECKING:
    from ._pool import WorkerPool
    from .process import ProcessBase

__all__ = ["HandlerQueue", "ProcessLifecycleHandler", "ProcessOutputHandler", "StreamHandlers", "stream_name"]

logger = logging.getLogger("regisseur")

_LINE_END = re.compile(r"\r\n|\n|\r")


def stream_name(stream: int) -> str:
    """``"stdout"`` or ``"stderr"`` for `STDOUT` and `STDERR`, else the number as text."""
    return {STDOUT: "stdout", STDERR: "stderr"}.get(stream, str(stream))


class ProcessLifecycleHandler:
    """Told of the start and the end of processes; override what you need. Called in a worker thread."""

    def start(self, process: Any) -> None:
        """*process* has started, or could not be (then `end` follows at once)."""

    def end(self, process: Any) -> None:
        """*process* has ended, and all its output was handled."""

    def reset(self, process: Any) -> None:
        """*process* was reset to be started again."""


class ProcessOutputHandler:
    """Told what processes write; override `read` for chunks or `read_line` for lines. Called in a worker thread.

    A subclass with its own ``__init__`` calls this one's.
    """

    binary = False
    """True: `read` gets bytes as they came; False: text (UTF-8; invalid bytes as surrogates)."""

    def __init__(self) -> None:
        self._partial: dict[tuple[int, int], list[str]] = {}

    def read(self, process: Any, stream: int, string: Any, eof: bool, error: bool) -> None:
        """Get the next chunk *string* of *stream* of *process*. This implementation calls `read_line` for each line.

        Args:
            eof: it is the last one (perhaps empty).
            error: reading ended by an error.
        """
        key = (id(process), stream)
        parts = self._partial.setdefault(key, [])
        if eof or "\n" in string or "\r" in string or (parts and parts[-1].endswith("\r")):
            text = "".join([*parts, string])  # only here, so that a long line in many chunks costs no more than it must
            # A "\r" at the end may be the first half of "\r\n".
            held = "\r" if text.endswith("\r") and not eof else ""
            *lines, rest = _LINE_END.split(text[:-1] if held else text)
            parts[:] = [rest + held]
            for line in lines:
                self.read_line(process, stream, line)
            if eof and rest:
                self.read_line(process, stream, rest)
        else:
            parts.append(string)
        if eof:
            self._partial.pop(key, None)

    def read_line(self, process: Any, stream: int, string: str) -> None:
        """Get the next line *string*, without its end."""


class _FileSinks:
    """Files that are open for handlers, shared by all processes that name them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, tuple[io.FileIO, int]] = {}

    def open(self, name: str) -> io.FileIO:
        path = os.path.abspath(name)
        with self._lock:
            file, users = self._files.get(path) or (io.FileIO(path, "a"), 0)
            self._files[path] = (file, users + 1)
            return file

    def close(self, name: str) -> None:
        path = os.path.abspath(name)
        with self._lock:
            file, users = self._files[path]
            if users > 1:
                self._files[path] = (file, users - 1)
            else:
                del self._files[path]
                file.close()


_file_sinks = _FileSinks()


class StreamHandlers:
    """The handlers of one stream of one process. Its methods run in the process's `HandlerQueue`."""

    def __init__(self, process: ProcessBase, stream: int, handlers: list[Any]) -> None:
        self._process = process
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self._sinks = [_sink_of(process, stream, handler) for handler in handlers]

    def feed(self, data: bytes, *, eof: bool, error: bool = False) -> None:
        """Give *data* to every handler."""
        text = self._decoder.decode(data, final=eof)
        for sink in self._sinks:
            try:
                sink(data, text, eof, error)
            except Exception:
                logger.exception("an output handler of %s failed on %s", self._process, stream_name(self._stream))


_Sink = Callable[[bytes, str, bool, bool], None]


def _sink_of(process: Any, stream: int, handler: Any) -> _Sink:
    """How *handler* is fed. Raises TypeError where it is nothing that can be."""
    if isinstance(handler, ProcessOutputHandler) or hasattr(handler, "read_line"):
        if getattr(handler, "binary", False):
            return lambda data, text, eof, error: handler.read(process, stream, data, eof, error)
        return lambda data, text, eof, error: handler.read(process, stream, text, eof, error)
    if isinstance(handler, (str, os.PathLike)):
        return _file_sink(os.fspath(handler))
    if isinstance(handler, int):
        return lambda data, text, eof, error: _write_all(handler, data)
    if hasattr(handler, "write"):
        return _writer_sink(handler)
    if callable(handler):
        return lambda data, text, eof, error: handler(process, stream, text) if text else None
    raise TypeError(
        f"{handler!r} can not handle output: give a ProcessOutputHandler, a callable f(process, stream, chunk), "
        "a file name, a descriptor, or an object with write()"
    )


def _file_sink(name: str) -> _Sink:
    file: list[io.FileIO] = []

    def sink(data: bytes, text: str, eof: bool, error: bool) -> None:
        if not file:
            file.append(_file_sinks.open(name))
        if data:
            _write_all(file[0].fileno(), data)
        if eof:
            _file_sinks.close(name)
            file.clear()

    return sink


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _writer_sink(writer: Any) -> _Sink:
    binary = isinstance(writer, (io.RawIOBase, io.BufferedIOBase))

    def sink(data: bytes, text: str, eof: bool, error: bool) -> None:
        if binary and data:
            writer.write(data)
        elif text and not binary:
            writer.write(text)

    return sink


class HandlerQueue:
    """Runs the handler calls of one process in the worker pool, in order.

    Args:
        drained: called in the worker when less than `LOW` bytes wait after more than `HIGH` did.
    """

    HIGH = 4 << 20
    LOW = 1 << 20

    def __init__(self, pool: WorkerPool, drained: Callable[[], None]) -> None:
        self._pool = pool
        self._drained = drained
        self._lock = threading.Lock()
        self._tasks: deque[tuple[Callable[[], None], int]] = deque()
        self._scheduled = False
        self._bytes = 0
        self._full = False

    def submit(self, task: Callable[[], None], size: int = 0) -> bool:
        """Run *task* after those before it. Returns whether *size* bytes more are too many: stop reading then."""
        with self._lock:
            self._tasks.append((task, size))
            self._bytes += size
            became_full = self._bytes > self.HIGH and not self._full
            self._full = self._full or became_full
            schedule, self._scheduled = not self._scheduled, True
        if schedule:
            self._pool.submit(self._run)
        return became_full

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._scheduled = False
                    return
                task, size = self._tasks.popleft()
            try:
                task()
            except Exception:
                logger.exception("a handler failed")
            with self._lock:
                self._bytes -= size
                drained = self._full and self._bytes < self.LOW
                if drained:
                    self._full = False
            if drained:
                self._drained()
