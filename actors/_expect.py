"""Waiting for what a process writes: `expect` of a process, and `ExpectOutputHandler` for many."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from ..protocols.expect import ExpectBuffer, Regexes, compile_patterns
from ..protocols.messages import STDOUT
from ._context import here
from ._handlers import ProcessOutputHandler, stream_name
from ._streams import Deadline, Stream, TextCursor, wait_for_change, waiting
from .time_utils import Duration, get_seconds

if TYPE_CHECKING:
    from ._process_base import ProcessBase

__all__ = ["ExpectOutputHandler", "Expecter", "Match", "Regexes"]

logger = logging.getLogger("regisseur")

Match = tuple[int, re.Match[str]] | tuple[None, None]

_NO_MATCH: Match = (None, None)


class _Position:
    """How far one thread has looked into one stream."""

    def __init__(self, stream: Stream, *, backtrack: bool) -> None:
        self._stream = stream
        self._cursor = TextCursor(stream, 0 if backtrack else len(stream.output))
        self._buffer = ExpectBuffer()

    def search(self, patterns: Sequence[re.Pattern[str]]) -> Match:
        """What is found first in all that has come."""
        while True:
            text, ended = self._cursor.read()
            self._buffer.feed(text)
            self._buffer.eof = ended
            match = self._buffer.search(patterns)
            if match is not None:
                return match
            if not text or ended or not self._cursor.behind:
                return _NO_MATCH

    def wait(self, patterns: Sequence[re.Pattern[str]], timeout: float | None) -> Match:
        """Search until something is found, the stream ends, or *timeout* seconds are over."""
        deadline = Deadline(timeout)
        changed = threading.Event()
        self._stream.listeners.append(changed.set)
        try:
            while True:
                changed.clear()
                match = self.search(patterns)
                if match != _NO_MATCH or self._buffer.eof:
                    return match
                if not wait_for_change(changed, deadline.left()):
                    match = self.search(patterns)
                    # Once more, and thoroughly: see ExpectBuffer.
                    return match if match != _NO_MATCH else self._buffer.search(patterns) or _NO_MATCH
        finally:
            self._stream.listeners.remove(changed.set)


class Expecter:
    """The positions of all threads that expect something of one run of a process. Thread-safe."""

    def __init__(self, streams: dict[int, Stream]) -> None:
        self._streams = streams
        self._of_thread = threading.local()  # not by number: that of a thread that has ended goes to another

    def expect(
        self, patterns: Sequence[re.Pattern[str]], timeout: float | None, stream: int, *, backtrack: bool
    ) -> Match:
        """See `ProcessBase.expect`."""
        positions: dict[int, _Position] = vars(self._of_thread).setdefault("positions", {})
        position = positions.get(stream)
        if position is None:
            kept = self._streams[stream]
            kept.keep = True  # for us, if nobody else wants it
            position = positions[stream] = _Position(kept, backtrack=backtrack)
        return position.wait(patterns, timeout)


_Key = tuple["ProcessBase", int]


class _Follower:
    """Gives what is kept of a stream, and then what comes, to a handler that the process did not have at its start.

    The handler is called in the thread that begins to follow, and then in workers.
    """

    def __init__(self, handler: ExpectOutputHandler, key: _Key, stream: Stream, *, backtrack: bool) -> None:
        self.stream = stream
        self.stream.keep = True  # for us, if nobody else wants it
        self._handler = handler
        self._key = key
        self._cursor = TextCursor(self.stream, 0 if backtrack else len(self.stream.output))
        self._lock = threading.Lock()  # held while the handler is called: so it is told in order
        self._due = False
        self._over = False

    def begin(self) -> None:
        """From now on tell the handler."""
        self.stream.listeners.append(self._changed)
        self._give()

    def _changed(self) -> None:
        if self._due:
            return
        self._due = True
        if here.on_reactor and here.runtime is not None:  # which must not wait for handlers
            try:
                here.runtime.pool.submit(self._give)
            except RuntimeError:  # the pool has been stopped, and nobody holds anything up any more
                self._give()
        else:
            self._give()

    def _give(self) -> None:
        with self._lock:
            self._due = False  # before we look: what comes after is given by the next call
            while not self._over:
                text, ended = self._cursor.read()
                fed = self._handler.is_fed_by(self, self._key)
                if fed and (text or ended):
                    self._tell(text, eof=ended)
                if ended or not fed:
                    self._end()
                if not self._cursor.behind:
                    return

    def _end(self) -> None:
        self._over = True
        with contextlib.suppress(ValueError):  # this is a fork, where nobody listens any more
            self.stream.listeners.remove(self._changed)

    def _tell(self, text: str, *, eof: bool) -> None:
        process, number = self._key
        try:
            self._handler.read(process, number, text, eof, False)
        except Exception:
            logger.exception("an output handler of %s failed on %s", process, stream_name(number))


class ExpectOutputHandler(ProcessOutputHandler):
    """An output handler that can be waited on; it may be given to many processes and streams.

    ::

        up = ExpectOutputHandler()
        servers = [Process(cmd, stdout_handlers=[up]).start() for cmd in commands]
        first = up.expect("listening on", timeout=30)

    One that a process was not given before its start is given to it by the `expect` of the process, or of its action.

    Text that was not matched is kept in memory, of each stream the last 16 million characters.
    """

    _condition: threading.Condition
    _buffers: dict[_Key, ExpectBuffer]
    _news: dict[_Key, int]
    _followers: dict[_Key, _Follower]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        handler = super().__new__(cls, *args, **kwargs)
        handler._condition = threading.Condition()
        handler._buffers = {}
        handler._news = {}
        handler._followers = {}
        return handler

    def _attached(self, process: Any, stream: int) -> None:
        with self._condition:
            self._followers.pop((process, stream), None)  # as a handler of the process it is told the same
            self._begin((process, stream))

    def _begin(self, key: _Key) -> None:
        """Nothing was seen of that stream so far. The condition is held."""
        self._buffers[key] = ExpectBuffer()
        self._news[key] = 0
        self._condition.notify_all()

    def attach(self, process: ProcessBase, stream: int, *, backtrack: bool) -> None:
        """Have *process* tell this handler what it writes to *stream*, unless it was given to it before the start.

        Args:
            backtrack: tell first what is kept of what it has written already. Without effect where it is attached.

        Raises:
            ValueError: there is no such stream.
        """
        key = process, stream
        current = process._stream(stream)
        with self._condition:
            if self._is_attached(key, current):
                return
            follower = self._followers[key] = _Follower(self, key, current, backtrack=backtrack)
            self._begin(key)
        follower.begin()

    def _is_attached(self, key: _Key, current: Stream) -> bool:
        follower = self._followers.get(key)
        if follower is not None and follower.stream is current:
            return True
        if follower is None and key in self._buffers:
            return True
        process, number = key
        given = process.stdout_handlers if number == STDOUT else process.stderr_handlers
        return not process.started and any(handler is self for handler in given)  # then its start attaches it

    def is_fed_by(self, follower: _Follower, key: _Key) -> bool:
        """Whether *follower* tells it what comes on the stream *key*."""
        return self._followers.get(key) is follower

    def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
        """Keep *string* for those who wait."""
        with self._condition:
            key = (process, stream)
            if key not in self._buffers:
                self._begin(key)
            buffer = self._buffers[key]
            buffer.feed(string)
            buffer.eof = eof
            self._news[key] += 1
            self._condition.notify_all()

    def expect(
        self, regexes: Regexes, timeout: Duration | None = None
    ) -> dict[tuple[ProcessBase, int], tuple[int, re.Match[str]]]:
        """Wait until at least one of the streams matches one of *regexes*.

        Each stream is searched behind its previous match.

        Args:
            regexes: one or several; strings are compiled with re.MULTILINE.
            timeout: seconds; 0: look once, None: as long as there are open streams.

        Returns:
            ``{(process, stream): (index of the regex, match)}``; empty after the timeout, or when the streams of all
            processes that were started have ended without a match.
        """
        return self._expect(compile_patterns(regexes), get_seconds(timeout), None)

    def expect_of(
        self,
        process: ProcessBase,
        stream: int,
        patterns: Sequence[re.Pattern[str]],
        timeout: float | None,
        *,
        backtrack: bool,
    ) -> Match:
        """Wait for one of the streams alone, attached if need be; the others are left as they are."""
        self.attach(process, stream, backtrack=backtrack)
        return self._expect(patterns, timeout, (process, stream)).get((process, stream), _NO_MATCH)

    def _expect(
        self, patterns: Sequence[re.Pattern[str]], timeout: float | None, only: _Key | None
    ) -> dict[_Key, tuple[int, re.Match[str]]]:
        deadline = Deadline(timeout)
        seen: dict[_Key, int] = {}  # news of each stream that were looked at
        with self._condition:
            while True:
                left = deadline.left()
                buffers = {key: b for key, b in self._buffers.items() if only is None or key == only}
                found = {}
                for key, buffer in buffers.items():
                    match = buffer.search(patterns) if left == 0 or seen.get(key) != self._news[key] else None
                    if match is None and left == 0:
                        match = buffer.search(patterns)  # once more, and thoroughly: see ExpectBuffer
                    if match is not None:
                        found[key] = match
                    seen[key] = self._news[key]
                if found or left == 0 or (buffers and all(buffer.eof for buffer in buffers.values())):
                    return found
                with waiting():
                    self._condition.wait(left)
