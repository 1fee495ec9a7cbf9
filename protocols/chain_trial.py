"""Whether it is the first hop of a chain that is slow, or the head.

All hops are as slow as the first, so there is nothing to compare it with. Where much time could be gained, the one that
takes from it takes from the head, too, for a moment. If the head, or its cable, is what is slow, both together get no
more than the first got alone. So if the other gets much more than that, it is the first that is slow.

The trial costs half of the first's speed as long as it lasts: about one second in a minute, or more.
"""

from __future__ import annotations

import math

from .chain_events import HEAD
from .chain_hop import Hop

__all__ = ["Trial"]

_LONG = 60.0  # seconds that are left, so that a trial is worth its while
_LONG_IF_SLOWED = 10.0  # where it has been twice as fast
_LIMIT = 6.0  # seconds for a trial
_MUCH = 2.0  # times as fast


class Trial:
    """See the module."""

    def __init__(self) -> None:
        self._rate = math.inf  # bytes per second, of the first, before the last trial
        self._since = 0.0
        self.first: Hop | None = None
        """Whom the last trial was about."""
        self.tester: Hop | None = None
        """Who takes from the head meanwhile; None: there is no trial."""

    def begin(self, first: Hop, takers: list[Hop], best: float, at: float) -> Hop | None:
        """Return the one of *takers* that should try, if any.

        Args:
            first: who takes from the head.
            takers: who take from that.
            best: the highest speed that was seen, in bytes per second.
            at: seconds.
        """
        rate, known = first.rate(), self._rate if first is self.first else math.inf
        testers = [taker for taker in takers if taker.head and HEAD not in taker.avoided and not taker.leaf]
        if rate is None or not testers or rate >= known / _MUCH:
            return None
        limit = _LONG_IF_SLOWED if rate < best / _MUCH else _LONG
        if first.size - first.received < limit * rate:
            return None
        self.first, self.tester = first, testers[0]
        self._rate, self._since = rate, at
        return self.tester

    def verdict(self, at: float) -> bool | None:
        """Whether the first is slow; None: it is not known yet."""
        tester = self.tester
        if tester is None or tester.upstream != HEAD or not tester.lives or tester.complete:
            return False
        rate = tester.rate()
        if rate is None:
            return False if at - self._since > _LIMIT else None
        return rate > self._rate * _MUCH

    def end(self) -> Hop | None:
        """It is known; return who has tried."""
        tester, self.tester = self.tester, None
        return tester
