"""What happens in a chain of hosts (`Chain`), and what is to be done about it. Hops are numbered by `Chain.enter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "HEAD",
    "Completed",
    "Dismiss",
    "Effect",
    "Ended",
    "Feed",
    "Follow",
    "GiveUp",
    "Listening",
    "LostUpstream",
    "Placed",
    "RanDry",
    "Remark",
    "Reported",
    "Ticked",
    "Took",
]

HEAD = -1
"""The number of the head among upstreams."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A hop is ready; *head*: it may take from the head."""

    hop: int
    at: float
    """Seconds, as in all events."""
    head: bool = True


@dataclass(frozen=True, slots=True)
class Reported:
    """A hop has so many bytes."""

    hop: int
    received: int
    at: float


@dataclass(frozen=True, slots=True)
class Took:
    """A hop takes from *upstream* now."""

    hop: int
    upstream: int


@dataclass(frozen=True, slots=True)
class LostUpstream:
    """A hop has given up *upstream*, and goes on to the next that it knows."""

    hop: int
    upstream: int


@dataclass(frozen=True, slots=True)
class RanDry:
    """A hop knows no upstream any more."""

    hop: int


@dataclass(frozen=True, slots=True)
class Completed:
    """A hop has all, and needs no upstream."""

    hop: int


@dataclass(frozen=True, slots=True)
class Placed:
    """On the host of a hop all is checked and in its place."""

    hop: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A hop is no more."""

    hop: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    at: float


@dataclass(frozen=True, slots=True)
class Follow:
    """Effect: tell a hop its upstreams, the nearest first."""

    hop: int
    upstreams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """Effect: send a hop what it misses over its connection of commands."""

    hop: int


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Effect: a hop is done, and nobody takes from it: it may end."""

    hop: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Effect: nothing more can be expected of a hop."""

    hop: int
    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Effect: have the report say this of a hop."""

    hop: int
    text: str


Effect: TypeAlias = Follow | Feed | Dismiss | GiveUp | Remark
