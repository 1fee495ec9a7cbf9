"""Handlers: code of the user's that is told what a process does.

Handlers of one process run in worker threads, in order, one at a time; those
of different processes run side by side, so one that is given to several
processes is called by several threads at once. One that is slow holds up its own
process's output (which is then not read any faster) and nothing else; one that
raises is logged, and the others go on.

A stream handler is any of

- a `ProcessOutputHandler`, told chunks or lines;
- a callable ``f(process, stream, chunk)``;
- a file name: the output is appended to the file, which several processes may share;
- an int: a file descriptor;
- an object with ``write()``.

How each is fed stands in `_sinks`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ..protocols.messages import STDERR, STDOUT
from ._textstream import LineSplitter

if TYPE_CHECKING:
    from ._pool import WorkerPool

__all__ = ["HandlerQueue", "ProcessLifecycleHandler", "ProcessOutputHandler", "stream_name"]

logger = logging.getLogger("regisseur")


def stream_name(stream: int) -> str:
    """``"stdout"`` or ``"stderr"`` for `STDOUT` and `STDERR`, else the number as text."""
    return {STDOUT: "stdout", STDERR: "stderr"}.get(stream, str(stream))


class ProcessLifecycleHandler:
    """Told of the start and the end of processes; override what you need. Called in a worker thread."""

    def start(self, process: Any) -> None:
        """*process* has started, or could not be (then `end` follows at once)."""

    def end(self, process: Any) -> None:
        """*process* has ended, and all its output was handled. Who waits for it may go on already."""

    def reset(self, process: Any) -> None:
        """*process* is being reset, to be started again. Called in the thread that resets it."""


class ProcessOutputHandler:
    """Told what processes write; override `read` for chunks or `read_line` for lines. Called in a worker thread.

    A subclass with an ``__init__`` of its own need not call this one's.
    """

    binary = False
    """True: `read` gets bytes as they came; False: text (UTF-8; invalid bytes as surrogates)."""
    _splitters: dict[tuple[int, int], LineSplitter]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        handler = super().__new__(cls)
        handler._splitters = {}  # here, since many a subclass never calls our __init__
        return handler

    def read(self, process: Any, stream: int, string: Any, eof: bool, error: bool) -> None:
        """Get the next chunk *string* of *stream* of *process*. This implementation calls `read_line` for each line.

        Args:
            eof: it is the last one (perhaps empty).
            error: reading ended by an error.
        """
        key = (id(process), stream)
        splitter = self._splitters.get(key)
        if splitter is None:
            splitter = self._splitters[key] = LineSplitter(sys.maxsize)
        lines = splitter.feed(string) if isinstance(string, bytes) else splitter.feed_text(string)
        if eof:
            del self._splitters[key]
            lines += splitter.eof()
        for line in lines:
            try:
                self.read_line(process, stream, line)
            except Exception:  # the lines behind it come nevertheless
                logger.exception("an output handler of %s failed on a line of %s", process, stream_name(stream))

    def read_line(self, process: Any, stream: int, string: str) -> None:
        """Get the next line *string*, without its end (a newline, a carriage return, or both)."""

    def _attached(self, process: Any, stream: int) -> None:
        """*process*, which is about to start, has this handler for *stream*. In the thread that starts it."""


class HandlerQueue:
    """Runs the handler calls of one process in the worker pool, in order.

    Args:
        drained: called in the worker when little waits after `submit` had said that it is too much.
    """

    HIGH = 4 << 20
    LOW = 1 << 20
    TASK = 256
    """Bytes that a waiting call takes by itself, about."""

    def __init__(self, pool: WorkerPool, drained: Callable[[], None]) -> None:
        self._pool = pool
        self._drained = drained
        self._lock = threading.Lock()
        self._tasks: deque[tuple[Callable[[], None], int]] = deque()
        self._scheduled = False
        self._bytes = 0
        self._full = False
        self._worker: int | None = None

    def submit(self, task: Callable[[], None], size: int = 0) -> bool:
        """Run *task* after those before it. Returns whether too much waits now: submit no more until it has drained.

        Args:
            size: bytes that the task holds.
        """
        size += self.TASK
        with self._lock:
            self._tasks.append((task, size))
            self._bytes += size
            full = self._full = self._full or self._bytes > self.HIGH
            schedule, self._scheduled = not self._scheduled, True
        if schedule:
            self._pool.submit(self._run)
        return full

    @property
    def runs_here(self) -> bool:
        """Whether the current thread is the one that runs the calls now."""
        return self._worker == threading.get_ident()

    def pass_on(self) -> None:
        """Have another worker run the calls after this one, which is about to wait for them. Else: no effect."""
        with self._lock:
            if not self.runs_here:
                return
            self._worker = None
        self._pool.submit(self._run)

    def _run(self) -> None:
        self._worker = me = threading.get_ident()
        while True:
            with self._lock:
                if self._worker != me:  # passed on
                    return
                if not self._tasks:
                    self._worker = None
                    self._scheduled = False
                    return
                task, size = self._tasks.popleft()
            self._call(task)
            del task
            with self._lock:
                self._bytes -= size
                drained = self._full and self._bytes < self.LOW
                if drained:
                    self._full = False
            if drained:
                self._call(self._drained)

    @staticmethod
    def _call(task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:
            logger.exception("a handler failed")
