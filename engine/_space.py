"""Spaces of combinations: what `sweep` builds its list from, without building it.

`HashableDict` is one combination. `SweepSpace` is all of them, as an
arithmetic: a combination is a number in a mixed radix, whose digits are the
levels of the factors, so that a space of 10^149 combinations takes no more
memory than its levels do, and any part of it can be looked at.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, overload

__all__ = ["HashableDict", "SweepSpace", "freeze"]

_BLOCK = 10_000  # combinations of the last factors that iteration keeps ready


class HashableDict(dict[Any, Any]):
    """A dict that can be an element of a set or a key: one combination of a sweep, ``{factor: level}``.

    Its hash is that of its items, whatever their order; levels may be lists, dicts and sets too. It
    must not be changed while it is in a set or a sweeper.
    """

    def __hash__(self) -> int:  # type: ignore[override]  # dict says None: that it has none
        try:
            return hash(frozenset(self.items()))
        except TypeError:
            return hash(frozenset((name, freeze(level)) for name, level in self.items()))


def freeze(value: Any) -> Any:
    """A hashable stand-in for *value*; equal values have stand-ins of equal hash.

    Lists become tuples, sets frozensets, dicts `HashableDict`; anything else is left as it is.
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(freeze, value))
    if isinstance(value, dict):
        return value if isinstance(value, HashableDict) else HashableDict(value)
    return frozenset(value) if isinstance(value, set) else value


class _Factor:
    """One factor with its levels, each of which may bring sub-factors that only exist with it."""

    def __init__(self, name: Any, levels: Any) -> None:
        self.name = name
        self.spaces: list[list[_Factor]] = []
        if isinstance(levels, Mapping):
            self.levels: Sequence[Any] = tuple(levels)
            self.spaces = [_factors(levels[level], f"factor {name!r}, level {level!r}") for level in levels]
            self.ends = list(accumulate(_size(space) for space in self.spaces))
            self.size = self.ends[-1] if self.ends else 0
        elif isinstance(levels, range):
            # len() of a range ends at sys.maxsize
            self.levels = levels
            self.size = max(0, -((levels.start - levels.stop) // levels.step))
        else:
            try:
                self.levels = tuple(levels)
            except TypeError:
                raise TypeError(
                    f"factor {name!r} has the levels {levels!r:.80}; an iterable, or a dict of "
                    "{level: {sub-factors}}, was expected"
                ) from None
            self.size = len(self.levels)

    def put(self, digit: int, items: dict[Any, Any]) -> None:
        """Add to *items* the level, and sub-factors, that stand at number *digit*."""
        if not self.spaces:
            items[self.name] = self.levels[digit]
            return
        at = bisect_right(self.ends, digit)
        items[self.name] = self.levels[at]
        _put(self.spaces[at], digit - (self.ends[at - 1] if at else 0), items)


def _factors(parameters: Any, where: str) -> list[_Factor]:
    if not isinstance(parameters, Mapping):
        raise TypeError(f"{where}: a dict of {{factor: levels}} was expected, not {parameters!r:.80}")
    factors = [_Factor(name, levels) for name, levels in parameters.items()]
    return [factor for factor in factors if factor.size]


def _size(factors: Iterable[_Factor]) -> int:
    return math.prod(factor.size for factor in factors)


def _put(factors: Sequence[_Factor], index: int, items: dict[Any, Any]) -> None:
    """Add to *items* combination number *index* of *factors*, in their order; the first is the slowest."""
    digits = []
    for factor in reversed(factors):
        index, digit = divmod(index, factor.size)
        digits.append(digit)
    for factor in factors:
        factor.put(digits.pop(), items)


class SweepSpace:
    """All combinations of *parameters*, in order, none of which is built before it is asked for.

    *parameters* is as for `sweep`; levels are read at once (also from one-shot iterators), and a
    ``range`` is kept as it is. Indexing and slicing are as with a list, at any magnitude; a slice is a
    space too. Not changed by anything, so it may be used by many threads.

    Raises:
        TypeError: *parameters* are not of the form that `sweep` takes; the text names the factor.
    """

    __contains__ = None  # a search through 10^149 combinations is never what was meant

    def __init__(self, parameters: Mapping[Any, Any]) -> None:
        self._factors = _factors(parameters, "parameters")
        self._positions = range(_size(self._factors))

    @property
    def size(self) -> int:
        """The number of combinations, however large. (``len()`` can not say more than ``sys.maxsize``.)"""
        positions = self._positions
        return max(0, -((positions.start - positions.stop) // positions.step))

    def __len__(self) -> int:
        try:
            return len(self._positions)
        except OverflowError:
            raise OverflowError(f"{self!r} is too large for len(): use size, and sample()") from None

    def __bool__(self) -> bool:
        return self.size > 0

    @overload
    def __getitem__(self, index: int) -> HashableDict: ...
    @overload
    def __getitem__(self, index: slice) -> SweepSpace: ...
    def __getitem__(self, index: int | slice) -> HashableDict | SweepSpace:
        if isinstance(index, slice):
            part = SweepSpace.__new__(SweepSpace)
            part._factors = self._factors
            part._positions = self._positions[index]
            return part
        try:
            return self._at(self._positions[index])
        except IndexError:
            raise IndexError(f"combination {index} of {self!r}") from None

    def _at(self, position: int) -> HashableDict:
        combination = HashableDict()
        _put(self._factors, position, combination)
        return combination

    def __iter__(self) -> Iterator[HashableDict]:
        """One after the other; the combinations of the last factors are kept ready, for speed."""
        head = list(self._factors)
        tail: list[_Factor] = []
        limit = min(_BLOCK, self.size)
        while head and head[-1].size * _size(tail) <= limit:
            tail.insert(0, head.pop())
        block: list[dict[Any, Any]] = []
        for index in range(_size(tail)):
            block.append({})
            _put(tail, index, block[-1])
        number = -1
        for position in self._positions:
            at, rest = divmod(position, len(block))
            if at != number:
                number = at
                first: dict[Any, Any] = {}
                _put(head, at, first)
            yield HashableDict({**first, **block[rest]})

    def sample(self, n: int, seed: int | float | str | bytes | None = None) -> list[HashableDict]:
        """*n* different combinations in random order, each choice equally likely; the work is that of *n*.

        Different means: at different places. Where a level is listed twice in a factor, so are its
        combinations.

        Args:
            seed: the same seed gives the same sample; None gives a new one each time.

        Raises:
            ValueError: *n* is negative, or larger than the space.
        """
        size = self.size
        if not 0 <= n <= size:
            raise ValueError(f"a sample of {n} combinations was asked of {self!r}")
        chance = random.Random(seed)
        if size <= 3 * n:
            places = list(range(size))
            chance.shuffle(places)
            return [self._at(self._positions[place]) for place in places[:n]]
        # At most a third of the space is ever taken, so a draw is a new one two times in three at least.
        drawn: dict[int, None] = {}
        while len(drawn) < n:
            drawn[chance.randrange(size)] = None
        return [self._at(self._positions[place]) for place in drawn]

    def __repr__(self) -> str:
        names = ", ".join([str(factor.name) for factor in self._factors[:8]] + ["..."] * (len(self._factors) > 8))
        size = self.size
        count = str(size) if size < 10**15 else f"about 10^{math.log10(size):.0f}"
        return f"<SweepSpace of {names or 'nothing'}: {count} combinations>"
