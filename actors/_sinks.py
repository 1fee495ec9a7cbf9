"""Sinks: how the output of a stream gets to each kind of handler (the list stands in `_handlers`)."""

from __future__ import annotations

import codecs
import io
import logging
import os
import select
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ._handlers import ProcessOutputHandler, stream_name

if TYPE_CHECKING:
    from hashlib import _Hash

    from ._process_base import ProcessBase

__all__ = ["StreamHandlers", "listed"]

logger = logging.getLogger("regisseur")

_Sink = Callable[[bytes, str, bool, bool], None]
"""Called with the chunk as bytes and as text, whether it is the last one, and whether reading ended by an error."""


def listed(handlers: Any) -> list[Any]:
    """Return *handlers* as a list, be it none, one, or several."""
    if handlers is None:
        return []
    if isinstance(handlers, (str, os.PathLike)) or hasattr(handlers, "write") or not isinstance(handlers, Iterable):
        return [handlers]
    return list(handlers)


class StreamHandlers:
    """The handlers of one stream of one process. Its methods run in the process's `HandlerQueue`.

    Args:
        digest: told all bytes too; for a log that has to say what the handlers saw.

    Raises:
        TypeError: one of *handlers* is nothing that can handle output.
    """

    def __init__(self, process: ProcessBase, stream: int, handlers: list[Any], digest: _Hash | None = None) -> None:
        self._process = process
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self._sinks = [_sink_of(process, stream, handler) for handler in handlers]
        self.digest = digest
        for handler in handlers:
            if isinstance(handler, ProcessOutputHandler):
                handler._attached(process, stream)

    def feed(self, data: bytes, *, eof: bool, error: bool = False) -> None:
        """Give *data* to every handler."""
        text = self._decoder.decode(data, final=eof)
        for sink in self._sinks:
            try:
                sink(data, text, eof, error)
            except Exception:
                logger.exception("an output handler of %s failed on %s", self._process, stream_name(self._stream))
        if self.digest is not None:
            self.digest.update(data)


def _sink_of(process: Any, stream: int, handler: Any) -> _Sink:
    if isinstance(handler, ProcessOutputHandler) or hasattr(handler, "read_line"):
        if getattr(handler, "binary", False):
            return lambda data, text, eof, error: handler.read(process, stream, data, eof, error)
        return lambda data, text, eof, error: handler.read(process, stream, text, eof, error)
    if isinstance(handler, (str, os.PathLike)):
        return _FileSink(os.path.abspath(handler))
    if isinstance(handler, int):
        return lambda data, text, eof, error: _write_all(handler, data)
    if hasattr(handler, "write"):
        return _WriterSink(handler)
    if callable(handler):
        return lambda data, text, eof, error: handler(process, stream, text) if text else None
    raise TypeError(
        f"{handler!r} can not handle output: give a ProcessOutputHandler, a callable f(process, stream, chunk), "
        "a file name, a descriptor, or an object with write()"
    )


class _Files:
    """Files that are open for handlers, shared by all processes that name them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, tuple[io.FileIO, int]] = {}
        self._forks_watched = False

    def open(self, path: str) -> io.FileIO:
        shared = self._use(path, None)
        if shared is None:
            fresh = io.FileIO(path, "a")  # not under the lock: to open a named pipe may take long
            shared = self._use(path, fresh)
            if shared is not fresh:
                fresh.close()
        assert shared is not None
        return shared

    def _use(self, path: str, fresh: io.FileIO | None) -> io.FileIO | None:
        with self._lock:
            if not self._forks_watched:
                self._forks_watched = True
                os.register_at_fork(after_in_child=self._after_fork)
            file, users = self._files.get(path, (fresh, 0))
            if file is not None:
                self._files[path] = (file, users + 1)
            return file

    def close(self, path: str) -> None:
        with self._lock:
            file, users = self._files[path]
            if users > 1:
                self._files[path] = (file, users - 1)
                return
            del self._files[path]
        file.close()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # it may have been held by a thread that does not exist here


_files = _Files()


class _FileSink:
    """Appends to the file at *path*, which is there afterwards even if nothing was written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: io.FileIO | None = None
        self._broken = False

    def __call__(self, data: bytes, text: str, eof: bool, error: bool) -> None:
        if self._broken:
            return
        try:
            if self._file is None:
                self._file = _files.open(self._path)
            _write_all(self._file.fileno(), data)
        except OSError:
            self._broken = True  # told once: whoever raises here is logged
            raise
        finally:
            if self._file is not None and (eof or self._broken):
                self._file = None
                _files.close(self._path)


class _WriterSink:
    """Writes to an object with ``write()``: bytes where it is a binary file, else text."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._binary = isinstance(writer, (io.RawIOBase, io.BufferedIOBase)) or "b" in str(getattr(writer, "mode", ""))

    def __call__(self, data: bytes, text: str, eof: bool, error: bool) -> None:
        if self._binary and data:
            self._write_bytes(data)
        elif text and not self._binary:
            self._write_text(text)
        if eof and hasattr(self._writer, "flush"):
            self._writer.flush()

    def _write_bytes(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = self._writer.write(rest)
            rest = rest[count if isinstance(count, int) else len(rest) :]  # a raw file may take less than all

    def _write_text(self, text: str) -> None:
        try:
            self._writer.write(text)
        except UnicodeEncodeError as error:  # bytes that are no UTF-8, or letters that its encoding lacks
            self._writer.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(fd, select.POLLOUT)
            waiting.poll()
