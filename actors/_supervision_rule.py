"""When to restart a child, and when to give up: a pure rule, event in, effects out.

No clock and no dice: the time, and the random number for the jitter, come with
the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ChildEnded", "GiveUp", "RestartAfter", "RestartPolicy", "RestartRule"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a supervisor treats a child that ends."""

    restart: Literal["permanent", "transient", "temporary"] = "transient"
    """``permanent``: always restart it; ``transient``: when it failed; ``temporary``: never."""
    intensity: int = 3
    """So many restarts within `period` are borne; one more, and the supervisor gives up."""
    period: float = 5.0
    """Seconds."""
    delay: float = 0.1
    """Seconds before the first restart; doubled for each further one, until the child has lived for `period`."""
    max_delay: float = 30.0
    """Seconds; no delay is longer."""
    jitter: float = 0.5
    """Each delay is shortened by a random part of it, at most this one (0 to 1), so that not all come back at once."""

    def __post_init__(self) -> None:
        if self.restart not in ("permanent", "transient", "temporary"):
            raise ValueError(f"restart must be permanent, transient or temporary, not {self.restart!r}")
        if not (
            self.intensity >= 0 and self.period > 0 and 0 <= self.delay <= self.max_delay and 0 <= self.jitter <= 1
        ):
            raise ValueError(f"{self!r}: needs intensity >= 0, period > 0, 0 <= delay <= max_delay, 0 <= jitter <= 1")


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """Event: a child has ended, or could not be started."""

    failed: bool
    at: float
    """Seconds, on a clock that never goes back."""
    luck: float
    """Random, from 0 (included) to 1: for the jitter."""


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Effect: start the child again after *delay* seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Effect: it fails too often; end all."""

    restarts: int
    """So many there were within the period."""


class RestartRule:
    """What became of one child so far."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._restarts: list[float] = []

    def take(self, event: ChildEnded) -> RestartAfter | GiveUp | None:
        """What to do about the end of the child; None: nothing, it stays ended."""
        policy = self.policy
        if policy.restart == "temporary" or (policy.restart == "transient" and not event.failed):
            return None
        self._restarts = [at for at in self._restarts if event.at - at < policy.period]
        recent = len(self._restarts)
        if recent >= policy.intensity:
            return GiveUp(recent)
        self._restarts.append(event.at)
        delay = policy.delay
        for _ in range(recent):
            delay = min(2 * delay, policy.max_delay)
        return RestartAfter(min(delay, policy.max_delay) * (1 - policy.jitter * event.luck))
