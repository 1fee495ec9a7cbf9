"""Room: places among the open files of this program, for the pipes of ever more children.

Each child takes three or four. When they run out, the limit is raised as far
as it goes, but not further than needed: children inherit it, and some close all
that they could have. Then the inputs that nobody writes to are parked
(`_parking`). A few places are left to the rest of the program in any case.
"""

from __future__ import annotations

import itertools
import logging
import resource
from collections.abc import Iterable

from ._child import PARKED, Child
from ._parking import Parking

__all__ = ["Room"]

logger = logging.getLogger("regisseur.io")

_PARK = 100  # inputs parked at a time
_LEAST_RAISE = 4096
_MOST_RESERVED = 64


class Room:
    """See the module. For the reactor's thread."""

    def __init__(self) -> None:
        self._parking = Parking()
        self._numbers = itertools.count(1)
        self._look()

    def _look(self) -> int:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.first_reserved = soft - min(_MOST_RESERVED, soft // 8)
        """New descriptors get the lowest free number: one like this tells that there are few left."""
        self._limit = soft
        return hard

    def make(self, children: Iterable[Child]) -> bool:
        """Make more room; returns whether there is more now."""
        before = self._limit
        hard = self._look()
        return self._limit > before or self._raise(hard) or self._park(children)

    def _raise(self, hard: int) -> bool:
        soft = self._limit
        wanted = max(2 * soft, _LEAST_RAISE)
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if wanted <= soft:
            return False
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            logger.info("the limit of open files stays at %d: %s", soft, error)
            return False
        self._look()
        logger.debug("raised the limit of open files from %d to %d", soft, wanted)
        return True

    def _park(self, children: Iterable[Child]) -> bool:
        parked = 0
        for child in children:
            if parked == _PARK:
                break
            if child.stdin >= 0 and not child.pending and not child.terminal:
                number = next(self._numbers)
                if not self._parking.park(number, child.stdin):
                    break
                child.stdin, child.parked_as = PARKED, number
                parked += 1
        return parked > 0

    def get_back(self, child: Child) -> None:
        """Get the stdin of *child* back if it is parked.

        Raises:
            OSError: there is no place for it.
        """
        if child.stdin == PARKED:
            child.stdin = self._parking.take(child.parked_as)

    def forget(self, child: Child) -> None:
        """Close the stdin of *child*, which is parked."""
        self._parking.forget(child.parked_as)

    def why_none(self) -> str:
        """Why there is no more room, and what to do about it."""
        return f"the limit is {self._limit} descriptors: raise the hard limit of open files (ulimit -Hn)"

    def close(self) -> None:
        """Close all that is parked."""
        self._parking.close()
