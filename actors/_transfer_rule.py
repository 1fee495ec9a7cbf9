"""The course of a `Put` to one host as a pure rule: event in, the one thing that is to be done next out.

No clock, no I/O: the transfer actor does what it says, and tells what came of it. Each step is a command on the host;
one whose connection breaks is begun again, a large file where it was.

::

    Begin --> Send <--+--------------------------------+
               |      | the step is done: the next     |
               +------+                                |
               | the connection has broken: Pause --> Ask (large files) or Send again
               | none is left, or something is wrong: Discard (if something may be left there) --> Finish
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..protocols.transfer import NO_TAR, PART_UNIT

__all__ = [
    "Ask",
    "CommandEnded",
    "Discard",
    "Effect",
    "Finish",
    "GetCourse",
    "Pause",
    "PutCourse",
    "Send",
    "Unpack",
    "UseScp",
]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds until a host that was lost is asked again


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """What was to be done is over: the command has ended, or there was no way to run it."""

    status: int | None = None
    """As of `Process.exit_code`; None: see *error*."""
    error: BaseException | None = None
    lost: bool = False
    """The connection was there, and broke; or, once one did, could not be made again."""
    has: int | None = None
    """Bytes of a large file that the host has; None: all of them. Only `Ask` asks."""


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: run step number *step*, a large file from the byte *offset* on; *again*: it has been tried before."""

    step: int
    offset: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Effect: ask how much of a large file is there."""

    step: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Effect: wait, and then call `PutCourse.go_on`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Discard:
    """Effect: have removed what is half done."""


@dataclass(frozen=True, slots=True)
class UseScp:
    """Effect: the host has no tar."""


@dataclass(frozen=True, slots=True)
class Unpack:
    """Effect: all has come from the host, whose command ended with *status*."""

    status: int | None


@dataclass(frozen=True, slots=True)
class Finish:
    """Effect: it is over."""

    status: int | None
    error: BaseException | None = None


Effect: TypeAlias = Send | Ask | Pause | Discard | UseScp | Unpack | Finish


class _Retries:
    """How often, and when, to begin again."""

    def __init__(self, retries: int) -> None:
        self._left = retries
        self._pauses = 0

    def progressed(self) -> None:
        """The next pause is a short one again."""
        self._pauses = 0

    def next_pause(self) -> Pause | None:
        """The pause before the next try; None: that was the last."""
        if self._left <= 0:
            return None
        self._left -= 1
        self._pauses += 1
        return Pause(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._pauses - 1)))


class PutCourse:
    """See the module.

    Args:
        large: for each step, whether it is a large file.
        retries: how often to begin again after a connection has broken.
    """

    def __init__(self, large: Sequence[bool], retries: int) -> None:
        self._large = large
        self._retries = _Retries(retries)
        self._step = 0
        self._now: Effect = Send(0)
        self._outcome: Finish | None = None
        self._killed = False
        self._ran = False  # something may be there
        self.was_lost = False
        """A connection has broken."""

    @property
    def step(self) -> int:
        """The step that is to be done; all before it are done."""
        return self._step

    @property
    def keeps(self) -> bool:
        """Whether what a step has brought is kept on the host for the steps after it."""
        return len(self._large) > 1

    def begin(self) -> Effect:
        """The first thing to do."""
        return self._do(Send(0) if self._large else Finish(0))

    def kill(self) -> Effect | None:
        """It is to end: a command that runs is killed by somebody else; returns what to do if none runs."""
        self._killed = True
        return self._end(Finish(None)) if isinstance(self._now, Pause) else None

    def go_on(self) -> Effect | None:
        """The pause is over."""
        if not isinstance(self._now, Pause):
            return None
        return self._do(Ask(self._step) if self._large[self._step] else Send(self._step, again=True))

    def take(self, event: CommandEnded) -> Effect:
        """The command that was to be run has ended, or can not be run."""
        self._ran = self._ran or event.status is not None or event.lost
        if self._outcome is not None:
            return self._do(self._outcome)  # what was half done is gone, or can not be got rid of
        if self._killed:
            return self._end(Finish(event.status, event.error))
        if event.error is not None or event.status is None:
            return self._failed(event)
        if event.status == NO_TAR and self._step == 0:
            return self._do(UseScp())
        if event.status:
            return self._end(Finish(event.status))
        if isinstance(self._now, Ask) and event.has is not None:
            return self._do(Send(self._step, event.has // PART_UNIT * PART_UNIT, again=True))
        return self._next()

    def _next(self) -> Effect:
        self._step += 1
        self._retries.progressed()
        return self._do(Send(self._step) if self._step < len(self._large) else Finish(0))

    def _failed(self, event: CommandEnded) -> Effect:
        self.was_lost = self.was_lost or event.lost
        if not event.lost:
            return self._end(Finish(None, event.error))
        return self._do(self._retries.next_pause() or Finish(None, event.error))

    def _end(self, outcome: Finish) -> Effect:
        """Leave nothing behind: a command that is followed by others does not see to that, nor one that was killed."""
        self._outcome = outcome
        needed = self._ran and (self.keeps or self._killed)
        return self._do(Discard() if needed else outcome)

    def _do(self, effect: Effect) -> Effect:
        self._now = effect
        return effect


class GetCourse:
    """The course of a `Get` from one host: one command, which is begun again after a break, where it was.

    Args:
        retries: how often to begin again after a connection has broken.
    """

    def __init__(self, retries: int) -> None:
        self._retries = _Retries(retries)
        self._pausing = False
        self._killed = False
        self.was_lost = False
        """A connection has broken."""

    def begin(self) -> Effect:
        """The first thing to do."""
        return Send(0)

    def kill(self) -> Effect | None:
        """It is to end: a command that runs is killed by somebody else; returns what to do if none runs."""
        self._killed = True
        return Finish(None) if self._pausing else None

    def go_on(self) -> Effect | None:
        """The pause is over."""
        if not self._pausing or self._killed:
            return None
        self._pausing = False
        return Send(0, again=True)

    def take(self, event: CommandEnded, *, complete: bool = True) -> Effect:
        """The command has ended; *complete*: all that it had to say has come."""
        if self._killed:
            return Finish(event.status, event.error)
        if event.error is None and event.status is not None:
            if event.status == NO_TAR:
                return UseScp()
            return Unpack(event.status) if complete else Finish(event.status)
        self.was_lost = self.was_lost or event.lost
        pause = self._retries.next_pause() if event.lost else None
        self._pausing = pause is not None
        return pause or Finish(None, event.error)
