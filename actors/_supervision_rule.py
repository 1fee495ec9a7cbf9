"""The rule of a supervisor: whom to start, whom to restart and when, and when to give up.

Pure: events come in, effects go out. The time is in the events, in seconds of
a clock that never goes back, and so is the random number that spreads the
restarts. `Supervisor` runs the effects.

    Begin ──> StartChild, from left to right, each when the one before was started
    Ended ──> RestartLater ── RestartDue ──> StartChild
      └─ too often ──> StopChild, from right to left, each when the one before has ended ──> Over
    StopWanted ──────> StopChild, the same way                                         ──> Over
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Abandon",
    "Begin",
    "CancelRestart",
    "Effect",
    "Ended",
    "Event",
    "Over",
    "RestartDue",
    "RestartLater",
    "RestartPolicy",
    "StartChild",
    "Started",
    "StopChild",
    "StopOverdue",
    "StopWanted",
    "SupervisorLife",
]

_MAX_DOUBLINGS = 60  # beyond, the delay is past every bound, and a float would overflow some day


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a child is restarted after it has ended, how soon, and how often before the supervisor gives up."""

    restart: Literal["permanent", "transient", "temporary"] = "transient"
    """``permanent``: whenever it ends; ``transient``: only when it failed; ``temporary``: never."""
    intensity: int = 3
    """So many restarts within *period* are borne; with the next one the supervisor gives up. 0: none is."""
    period: float = 5.0
    """Seconds. A child that has lived so long is taken for healthy: the next delay is the first again."""
    delay: float = 0.1
    """Seconds from the end to the first restart; it doubles with each restart that follows."""
    max_delay: float = 30.0
    """Seconds; the delay grows no further."""
    jitter: float = 0.5
    """Which part of the delay is left to chance, 0 to 1: at 0.5 the wait is something from half of it to all of it."""

    def __post_init__(self) -> None:
        if self.restart not in ("permanent", "transient", "temporary"):
            raise ValueError(f"restart must be permanent, transient or temporary, not {self.restart!r}")
        # Written so that nan fails too.
        seconds = 0 < self.period < math.inf and 0 <= self.delay <= self.max_delay < math.inf
        if not (self.intensity >= 0 and seconds and 0 <= self.jitter <= 1):
            raise ValueError(f"{self!r}: needs intensity >= 0, period > 0, 0 <= delay <= max_delay, 0 <= jitter <= 1")

    def wait(self, restarts: int, chance: float) -> float:
        """Seconds to wait before the next restart, when there were *restarts* of them; *chance* is from 0 to 1."""
        longest = min(self.max_delay, self.delay * 2.0 ** min(restarts, _MAX_DOUBLINGS))
        return longest * (1 - self.jitter * chance)

    def wants(self, *, failed: bool) -> bool:
        """Whether a child that has ended is to be restarted."""
        return self.restart == "permanent" or (self.restart == "transient" and failed)


# -- events --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """The supervisor has started."""


@dataclass(frozen=True, slots=True)
class Started:
    """A child was started, at that time."""

    child: str
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A child has ended, or could not be started."""

    child: str
    failed: bool
    reason: str
    at: float
    chance: float
    """A random number from 0 to 1."""


@dataclass(frozen=True, slots=True)
class RestartDue:
    """The delay of a `RestartLater` is over."""

    child: str


@dataclass(frozen=True, slots=True)
class StopWanted:
    """The supervisor was told to stop."""


@dataclass(frozen=True, slots=True)
class StopOverdue:
    """A child that was told to stop has not done so in the time it had."""

    child: str


Event = Begin | Started | Ended | RestartDue | StopWanted | StopOverdue


# -- effects -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start the child now. To be answered with `Started` or `Ended`."""

    child: str


@dataclass(frozen=True, slots=True)
class RestartLater:
    """Answer with `RestartDue` after *delay* seconds."""

    child: str
    delay: float


@dataclass(frozen=True, slots=True)
class CancelRestart:
    """The `RestartDue` of the child is not wanted any more."""

    child: str


@dataclass(frozen=True, slots=True)
class StopChild:
    """Tell the child to stop. To be answered with `Ended`, or with `StopOverdue`."""

    child: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """The child does not stop; go on without it."""

    child: str


@dataclass(frozen=True, slots=True)
class Over:
    """All children have ended, and nothing follows: stop, or fail."""

    failed: str | None
    """The child that ended more often than its policy bears; None: the supervisor was told to stop."""
    reason: str
    """Why that child ended the last time; empty if it was stopped, or there is none."""


Effect = StartChild | RestartLater | CancelRestart | StopChild | Abandon | Over


# -- the rule ------------------------------------------------------------------


class _ChildLife:
    """What is known of one child."""

    __slots__ = ("doublings", "name", "policy", "restarts", "started_at", "state")

    def __init__(self, name: str, policy: RestartPolicy) -> None:
        self.name = name
        self.policy = policy
        self.state: Literal["new", "starting", "running", "waiting", "stopping", "over"] = "new"
        self.started_at: float | None = None
        self.restarts: deque[float] = deque()
        """When it was restarted within the last period; at most *intensity* of them."""
        self.doublings = 0

    def may_restart(self, at: float) -> bool:
        """Count a restart, unless there were too many within the period."""
        while self.restarts and at - self.restarts[0] >= self.policy.period:
            self.restarts.popleft()
        if len(self.restarts) >= self.policy.intensity:
            return False
        self.restarts.append(at)
        return True

    def next_delay(self, at: float, chance: float) -> float:
        """Seconds until the restart; each is twice the one before, unless the child has lived well in between."""
        if self.started_at is not None and at - self.started_at >= self.policy.period:
            self.doublings = 0
        delay = self.policy.wait(self.doublings, chance)
        self.doublings += 1
        return delay


class SupervisorLife:
    """The life of one supervisor: what its children do, and what to do about it.

    Args:
        children: names and policies, from left to right.
    """

    def __init__(self, children: Iterable[tuple[str, RestartPolicy]]) -> None:
        self._children = {name: _ChildLife(name, policy) for name, policy in children}
        self._ending = False
        self._over = Over(None, "")
        self.over = False
        """`Over` was the last effect."""

    def state(self, child: str) -> str:
        """``new``, ``starting``, ``running``, ``waiting`` for its restart, ``stopping``, or ``over``."""
        return self._children[child].state

    def take(self, event: Event) -> list[Effect]:
        """Let *event* happen; returns what is to be done now, in order."""
        if self.over:
            return []
        match event:
            case Begin():
                return self._start_next()
            case Started(name, at):
                return self._started(self._children[name], at)
            case Ended():
                return self._ended(self._children[event.child], event)
            case RestartDue(name):
                child = self._children[name]
                return [self._start(child)] if child.state == "waiting" else []
            case StopWanted():
                return [] if self._ending else self._end(Over(None, ""))
            case StopOverdue(name):
                return self._overdue(self._children[name])

    def _start_next(self) -> list[Effect]:
        """Start the leftmost child that never was, when none is being started."""
        for child in self._children.values():
            if child.state == "starting":
                return []
            if child.state == "new":
                return [self._start(child)]
        return []

    def _start(self, child: _ChildLife) -> Effect:
        child.state = "starting"
        child.started_at = None
        return StartChild(child.name)

    def _started(self, child: _ChildLife, at: float) -> list[Effect]:
        if child.state != "starting":
            return []
        child.state = "running"
        child.started_at = at
        return self._stop_next() if self._ending else self._start_next()

    def _ended(self, child: _ChildLife, event: Ended) -> list[Effect]:
        if child.state in ("new", "waiting", "over"):
            return []  # its end was told already
        if self._ending:
            child.state = "over"
            return self._stop_next()
        if not child.policy.wants(failed=event.failed):
            child.state = "over"
            return self._start_next()
        if not child.may_restart(event.at):
            child.state = "over"
            return self._end(Over(child.name, event.reason))
        child.state = "waiting"
        return [RestartLater(child.name, child.next_delay(event.at, event.chance)), *self._start_next()]

    def _end(self, over: Over) -> list[Effect]:
        self._ending = True
        self._over = over
        effects: list[Effect] = []
        for child in reversed(self._children.values()):
            if child.state == "waiting":
                effects.append(CancelRestart(child.name))
                child.state = "over"
            elif child.state == "new":
                child.state = "over"
        return effects + self._stop_next()

    def _stop_next(self) -> list[Effect]:
        """Stop the rightmost child that is left, when none is being started or stopped."""
        for child in reversed(self._children.values()):
            if child.state in ("starting", "stopping"):
                return []
            if child.state == "running":
                child.state = "stopping"
                return [StopChild(child.name)]
        self.over = True
        return [self._over]

    def _overdue(self, child: _ChildLife) -> list[Effect]:
        if child.state != "stopping":
            return []
        child.state = "over"
        return [Abandon(child.name), *self._stop_next()]
