"""The life of an action as a pure rule: event in, effects out.

No clock, no I/O, no thread: the handle and the action actor feed it what
happens and carry out the effects. The parts of an action are its processes, or
its sub-actions; here they are but numbers, from 0 on.

An action starts its parts in batches, each when the one before has ended. A
`ParallelLife` makes one batch of all parts, a `SequentialLife` a batch of each,
and a `WindowLife` batches of as many as have ended.

::

    new --Start--> starting --BatchStarted, StartFailed--> running --last PartEnded--> ended
                      ^                                                   |
                      +------------------ the next batch -----------------+
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "ActionLife",
    "BatchStarted",
    "Effect",
    "Ended",
    "KillParts",
    "KillWanted",
    "ParallelLife",
    "PartEnded",
    "SequentialLife",
    "Start",
    "StartFailed",
    "StartParts",
    "WindowLife",
]


@dataclass(frozen=True, slots=True)
class Start:
    """The user wants it started."""

    at: float
    """Seconds since the epoch, as in all events."""
    size: int
    """How many parts it has."""


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """All parts that the last `StartParts` named have been started."""

    at: float


@dataclass(frozen=True, slots=True)
class StartFailed:
    """Of the parts that the last `StartParts` named, those before *first* have been started, the others can not be."""

    at: float
    first: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class PartEnded:
    """Part *part*, which was started, has ended; the news of the start of its batch may come later."""

    at: float
    part: int


@dataclass(frozen=True, slots=True)
class KillWanted:
    """The user wants it to end."""


@dataclass(frozen=True, slots=True)
class StartParts:
    """Effect: start these parts, and tell of it by `BatchStarted` or `StartFailed`."""

    parts: range


@dataclass(frozen=True, slots=True)
class KillParts:
    """Effect: kill these parts."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Effect: it is over; tell everybody."""


Effect = StartParts | KillParts | Ended
_NONE: list[Effect] = []
_ENDED: list[Effect] = [Ended()]


class ActionLife(ABC):
    """What is known of one run of an action; only `take` changes it. The attributes are those that `Action` shows."""

    __slots__ = (
        "_first_batch",
        "_next",
        "_open",
        "_size",
        "end_date",
        "ended",
        "error_reason",
        "killed",
        "start_date",
        "started",
        "state",
    )

    def __init__(self) -> None:
        self.state: Literal["new", "starting", "running", "ended"] = "new"
        self.started = False
        self.ended = False
        self.killed = False
        self.start_date: float | None = None
        self.end_date: float | None = None
        self.error_reason: BaseException | None = None
        self._size = 0
        self._next = 0  # the first part that no batch has held yet
        self._open: set[int] = set()  # the parts that were in a batch and have not ended
        self._first_batch = True

    @abstractmethod
    def _batch(self, first: int, size: int) -> range:
        """The batch that begins with part *first*, of *size* parts."""

    def take(self, event: Any) -> list[Effect]:
        """Let *event* happen, and return what is to be done about it. What comes too late changes nothing."""
        effects: list[Effect] = _RULES[type(event)](self, event)
        return effects

    def _start(self, event: Start) -> list[Effect]:
        if self.state != "new":
            return _NONE
        self.start_date = event.at
        self._size = event.size
        effects = self._go_on(event.at)
        self.started = True  # last: whoever sees it may send a kill, which then finds all the rest in place
        return effects

    def _takes_more(self) -> bool:
        """Whether it is time for the next batch."""
        return not self._open

    def _starts_no_more(self) -> bool:
        """Whether what has not been started never will be."""
        return self.killed or (self.error_reason is not None and self._first_batch)

    def _go_on(self, at: float) -> list[Effect]:
        """Start the next batch; or end, if there is none and nothing is open."""
        if self._next >= self._size or self._starts_no_more():
            if self._open:
                return _NONE
            self.state = "ended"
            self.end_date = at
            self.ended = True
            return _ENDED
        batch = self._batch(self._next, self._size)
        self._first_batch = self._next == 0
        self._next = batch.stop
        self._open.update(batch)
        self.state = "starting"
        return [StartParts(batch)]

    def _batch_started(self, event: BatchStarted) -> list[Effect]:
        if self.state != "starting":
            return _NONE
        self.state = "running"
        if self.killed and self._open:
            return self._kill_open()
        return self._go_on(event.at) if self._takes_more() else _NONE

    def _start_failed(self, event: StartFailed) -> list[Effect]:
        if self.state != "starting":
            return _NONE
        self.state = "running"
        if self.error_reason is None:
            self.error_reason = event.error
        self._open.difference_update(range(event.first, self._next))
        # What could not be started as a whole shall not go on in pieces.
        return self._kill_open() if self._open else self._go_on(event.at)

    def _kill_open(self) -> list[Effect]:
        return [KillParts(tuple(sorted(self._open)))]

    def _part_ended(self, event: PartEnded) -> list[Effect]:
        self._open.discard(event.part)
        return self._go_on(event.at) if self.state == "running" and self._takes_more() else _NONE

    def _kill(self, event: KillWanted) -> list[Effect]:
        if self.state not in ("starting", "running"):
            return _NONE
        self.killed = True
        # A part that is being started may not take it yet: then BatchStarted brings it on.
        return self._kill_open() if self.state == "running" else _NONE


class ParallelLife(ActionLife):
    """All parts start at once; it ends when all have."""

    __slots__ = ()

    def _batch(self, first: int, size: int) -> range:
        return range(first, size)


class SequentialLife(ActionLife):
    """Each part starts when the one before has ended, well or not.

    A kill ends it before the last, and so does a first part that can not start.
    """

    __slots__ = ()

    def _batch(self, first: int, size: int) -> range:
        return range(first, first + 1)


class WindowLife(ActionLife):
    """At most *window* parts run at a time: another one starts when one has ended, well or not.

    A kill, and a part that can not start, end it before the last.
    """

    __slots__ = ("_window",)

    def __init__(self, window: int) -> None:
        super().__init__()
        self._window = window

    def _takes_more(self) -> bool:
        return len(self._open) < self._window

    def _starts_no_more(self) -> bool:
        return self.killed or self.error_reason is not None

    def _batch(self, first: int, size: int) -> range:
        return range(first, min(size, first + self._window - len(self._open)))


_RULES: dict[type, Any] = {
    Start: ActionLife._start,
    BatchStarted: ActionLife._batch_started,
    StartFailed: ActionLife._start_failed,
    PartEnded: ActionLife._part_ended,
    KillWanted: ActionLife._kill,
}
