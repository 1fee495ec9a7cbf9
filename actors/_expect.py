"""Waiting for what a process writes: `expect` of a process, and `ExpectOutputHandler` for many."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..protocols.expect import ExpectBuffer, compile_patterns
from ._handlers import ProcessOutputHandler
from ._streams import Stream, TextCursor
from .time_utils import get_seconds

if TYPE_CHECKING:
    from .process import ProcessBase

__all__ = ["ExpectOutputHandler", "Expecter", "Match", "Regexes"]

Regexes = str | re.Pattern[str] | Sequence[str | re.Pattern[str]]
Match = tuple[int, re.Match[str]] | tuple[None, None]

_NO_MATCH: Match = (None, None)


class _Position:
    """How far one thread has looked into one stream."""

    def __init__(self, stream: Stream, *, backtrack: bool) -> None:
        self.stream = stream
        self.cursor = TextCursor(stream, 0 if backtrack else len(stream.output))
        self.buffer = ExpectBuffer()

    def search(self, patterns: Sequence[re.Pattern[str]]) -> tuple[Match, bool]:
        """What is found in all that has come, and whether the stream is at its end."""
        text, ended = self.cursor.read()
        if text:
            self.buffer.feed(text)
        self.buffer.eof = ended
        return self.buffer.search(patterns) or _NO_MATCH, ended

    def wait(self, patterns: Sequence[re.Pattern[str]], timeout: float | None) -> Match:
        """Search until something is found, the stream ends, or *timeout* seconds are over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        changed = threading.Event()
        self.stream.listeners.append(changed.set)
        try:
            while True:
                changed.clear()
                match, ended = self.search(patterns)
                if match != _NO_MATCH or ended:
                    return match
                if not changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
                    return self.search(patterns)[0]
        finally:
            self.stream.listeners.remove(changed.set)


class Expecter:
    """The positions of all threads that expect something of one run of a process. Thread-safe."""

    def __init__(self, streams: dict[int, Stream]) -> None:
        self._streams = streams
        self._positions: dict[tuple[int, int], _Position] = {}

    def expect(
        self, patterns: Sequence[re.Pattern[str]], timeout: float | None, stream: int, *, backtrack: bool
    ) -> Match:
        """See `ProcessBase.expect`."""
        key = (threading.get_ident(), stream)
        position = self._positions.get(key)
        if position is None:
            kept = self._streams[stream]
            kept.keep = True  # for us, if nobody else wants it
            position = self._positions[key] = _Position(kept, backtrack=backtrack)
        return position.wait(patterns, timeout)


class ExpectOutputHandler(ProcessOutputHandler):
    """An output handler that can be waited on; it may be given to many processes and streams.

    ::

        up = ExpectOutputHandler()
        servers = [Process(cmd, stdout_handlers=[up]).start() for cmd in commands]
        first = up.expect("listening on", timeout=30)
    """

    def __init__(self) -> None:
        super().__init__()
        self._condition = threading.Condition()
        self._buffers: dict[tuple[ProcessBase, int], ExpectBuffer] = {}
        self._open: set[tuple[ProcessBase, int]] = set()

    def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
        """Keep *string* for those who wait."""
        key = (process, stream)
        with self._condition:
            buffer = self._buffers.get(key)
            if buffer is None:
                buffer = self._buffers[key] = ExpectBuffer()
                self._open.add(key)
            buffer.feed(string)
            buffer.eof = eof
            if eof:
                self._open.discard(key)
            self._condition.notify_all()

    def expect(
        self, regexes: Regexes, timeout: float | str | None = None
    ) -> dict[tuple[ProcessBase, int], tuple[int, re.Match[str]]]:
        """Wait until at least one of the streams matches one of *regexes*.

        Each stream is searched behind its previous match.

        Args:
            regexes: one or several; strings are compiled with re.MULTILINE.
            timeout: seconds; 0: look once, None: as long as there are open streams.

        Returns:
            ``{(process, stream): (index of the regex, match)}``; empty after the
            timeout, or when all streams have ended without a match.
        """
        patterns = compile_patterns(regexes)
        seconds = get_seconds(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._condition:
            while True:
                found = {key: match for key, buffer in self._buffers.items() if (match := buffer.search(patterns))}
                if found or (self._buffers and not self._open):
                    return found
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return {}
                self._condition.wait(left)
