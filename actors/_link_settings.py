"""How links behave: a value that `listen` and `connect` take."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["LinkSettings"]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Bounds and times of links. All times are in seconds.

    Raises:
        ValueError: a number is not positive, or the patience shorter than two heartbeats.
    """

    heartbeat: float = 1.0
    """After so much silence the peer is asked for a sign of life."""
    patience: float = 5.0
    """A peer that was silent for so long is lost; found out at most two heartbeats later."""
    queue: int = 10_000
    """Messages that may be on their way to a peer; beyond, `LinkFullError`. So many are taken from it as well."""
    queue_bytes: int = 64 * 1024 * 1024
    """The same in bytes; one message may exceed it, if it is the first."""
    backlog: int = 1_000
    """Messages in the inbox of a blocking actor above which its peers are given no more room."""
    first_delay: float = 0.05
    """Before a lost peer is dialed for the first time; each delay is twice the last, and varied by half."""
    longest_delay: float = 15.0
    """No delay before dialing is longer."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"LinkSettings: {field.name} must be positive, not {value!r}")
        if self.patience < 2 * self.heartbeat:
            raise ValueError(
                f"LinkSettings: a patience of {self.patience} s leaves no time to answer "
                f"a heartbeat of {self.heartbeat} s: make it twice as long at least"
            )
