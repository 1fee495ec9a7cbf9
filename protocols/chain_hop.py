"""What the rules of a chain (`Chain`) know of one hop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["WINDOW", "Hop"]

WINDOW = 3.0  # seconds over which speeds are taken


@dataclass(slots=True)
class Hop:
    """What is known of one."""

    number: int
    rank: int
    """Of its host, among those of the action."""
    size: int
    """What it is to get, in bytes."""
    leaf: bool = False
    """It can serve nobody, and tells neither how far it is nor whether its upstream is silent."""
    place: int = -1
    """In the chain; -1: it has none yet."""
    upstream: int | None = None
    received: int = 0
    head: bool = True
    """It may take from the head."""
    complete: bool = False
    placed: bool = False
    gone: bool = False
    """It has ended, was given up, or may end."""
    slow: bool = False
    suspected: bool = False
    """Another has found it silent, and nothing was heard of it since."""
    avoided: set[int] = field(default_factory=set)
    """Upstreams that it has lost."""
    heard: float = 0.0
    fed_at: int = -1
    """What it had when it was fed the last time."""
    feeds: int = 0
    """That have brought nothing."""
    samples: deque[tuple[float, int]] = field(default_factory=deque)
    """When it had how much, in the last seconds."""

    @property
    def lives(self) -> bool:
        """It has a place, and is there."""
        return self.place >= 0 and not self.gone

    def rate(self) -> float | None:
        """Bytes per second, lately; None: it is not known yet."""
        if len(self.samples) < 2:
            return None
        (begin, first), (end, last) = self.samples[0], self.samples[-1]
        return (last - first) / (end - begin) if end - begin >= WINDOW * 2 / 3 else None

    def sample(self, at: float, received: int) -> None:
        """Remember what it has."""
        self.samples.append((at, received))
        while at - self.samples[0][0] > WINDOW:
            self.samples.popleft()
