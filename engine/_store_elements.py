"""Elements: what a sweeper's combinations may be, in what order sets of them stand, and sets that keep it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from pathlib import Path
from typing import Any

from ..actors.host import Host
from ..protocols.record_values import add_kind
from ..protocols.records import pack_value
from ._space import HashableDict

__all__ = ["CombinationSet", "checked", "element_of", "ordered"]

_NANS = (b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xcb\xff\xf8\0\0\0\0\0\0")  # as msgpack writes the two usual ones

add_kind(type(Path()), "path", lambda path: [str(path)], Path)
add_kind(Host, "host", lambda host: [host.address, host.user, host.keyfile, host.port], Host)


def element_of(combination: Any) -> Any:
    """*combination* as it is kept: dicts, also inside tuples, become `HashableDict`; else as given.

    Raises:
        TypeError: it can not be an element of a set (a list, say).
    """
    if isinstance(combination, dict):
        return combination if isinstance(combination, HashableDict) else HashableDict(combination)
    if type(combination) is tuple:
        combination = tuple(map(element_of, combination))
    try:
        hash(combination)
    except TypeError as error:
        raise TypeError(f"{combination!r:.80} can not be a combination: {error}; use a tuple or a dict") from None
    return combination


def checked(combinations: Iterable[Any]) -> list[Any]:
    """*combinations* as elements, all of them fit to be stored.

    Raises:
        TypeError: one can not be written to a record, or is not equal to itself; the text names it.
    """
    elements = [each if type(each) is HashableDict else element_of(each) for each in combinations]
    # Packing all at once is ten times as fast as one by one; only a failure needs to know which.
    try:
        packed = pack_value(elements)
        sound = not any(nan in packed for nan in _NANS)
    except TypeError:
        sound = False
    if not sound:
        for element in elements:
            _check(element)
    return elements


def _check(element: Any) -> None:
    try:
        packed = pack_value(element)
        hash(element)
    except TypeError as error:
        raise TypeError(f"combination {element!r:.200} can not be stored: {error}") from None
    if any(nan in packed for nan in _NANS) and _has_nan(element):
        raise TypeError(
            f"combination {element!r:.200} can not be stored: NaN is not equal to itself, so it can not "
            "be found again; use None or a text"
        )


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nan(name) or _has_nan(level) for name, level in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_has_nan, value))
    return isinstance(value, float) and value != value


def ordered(combinations: Iterable[Any]) -> list[Any]:
    """*combinations* in an order that every run and every process agrees on: as given, but sets sorted."""
    if isinstance(combinations, (set, frozenset)):
        return sorted(combinations, key=_rank)
    return list(combinations)


def _rank(value: Any) -> tuple[Any, ...]:
    """A key that sorts any plain values: by kind, then numbers by size, texts by alphabet, and so on."""
    if value is None:
        return (0,)
    if isinstance(value, str):
        return (2, value)
    if isinstance(value, bytes):
        return (3, value)
    if isinstance(value, (list, tuple)):
        return (4 + isinstance(value, list), [_rank(each) for each in value])
    if isinstance(value, (set, frozenset)):
        return (6, sorted(map(_rank, value)))
    if isinstance(value, dict):
        return (7, sorted((_rank(name), _rank(level)) for name, level in value.items()))
    return (1, value) if isinstance(value, (int, float)) else (8, pack_value(value))


class CombinationSet(MutableSet[Any]):
    """A set that keeps the order in which its elements were given, for combinations.

    It has the operators and named methods of ``set``, is equal to a set of the same elements, and is
    the caller's own: changing it changes no sweeper. Plain dicts are taken for `HashableDict`.
    """

    def __init__(self, combinations: Iterable[Any] = ()) -> None:
        self._members: dict[Any, None] | None = dict.fromkeys(map(element_of, combinations))
        self._list: list[Any] = []

    @classmethod
    def of_distinct(cls, elements: list[Any]) -> CombinationSet:
        """The set of *elements*, which are known to differ: nothing is hashed until somebody searches."""
        made = cls.__new__(cls)
        made._members = None
        made._list = elements
        return made

    @property
    def _keys(self) -> dict[Any, None]:
        if self._members is None:
            self._members = dict.fromkeys(self._list)
            self._list = []
        return self._members

    def __contains__(self, combination: object) -> bool:
        return element_of(combination) in self._keys

    def __iter__(self) -> Iterator[Any]:
        return iter(self._list if self._members is None else self._members)

    def __len__(self) -> int:
        return len(self._list if self._members is None else self._members)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)  # so that type checkers let it be compared with a set

    __hash__ = None  # type: ignore[assignment]  # as with any set that can change

    def add(self, value: Any) -> None:
        """Put *value* at the end, if it is not in the set."""
        self._keys[element_of(value)] = None

    def discard(self, value: Any) -> None:
        """Take *value* out, if it is in the set."""
        self._keys.pop(element_of(value), None)

    def copy(self) -> CombinationSet:
        """A set of the same elements, in the same order."""
        return self.of_distinct(list(self))

    def update(self, *others: Iterable[Any]) -> None:
        """Add the elements of all *others*."""
        for other in others:
            for value in other:
                self.add(value)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Take the elements of all *others* out."""
        for other in others:
            for value in list(other):
                self.discard(value)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Take out the elements that one of *others* lacks."""
        self._members = dict.fromkeys(self.intersection(*others))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Take the elements of *other* out where they are in, and add those that are not."""
        for value in CombinationSet(other):
            if value in self:
                self.discard(value)
            else:
                self.add(value)

    def union(self, *others: Iterable[Any]) -> CombinationSet:
        """A set of these elements, then those of *others*."""
        made = self.copy()
        made.update(*others)
        return made

    def difference(self, *others: Iterable[Any]) -> CombinationSet:
        """A set of the elements that are in none of *others*."""
        made = self.copy()
        made.difference_update(*others)
        return made

    def intersection(self, *others: Iterable[Any]) -> CombinationSet:
        """A set of the elements that are in all *others*."""
        members = [CombinationSet(other) for other in others]
        return self.of_distinct([each for each in self if all(each in other for other in members)])

    def symmetric_difference(self, other: Iterable[Any]) -> CombinationSet:
        """A set of the elements that are in one of the two sets only: these first."""
        made = self.copy()
        made.symmetric_difference_update(other)
        return made

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether every element is in *other*."""
        return self <= CombinationSet(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Whether every element of *other* is in this set."""
        return self >= CombinationSet(other)

    def __repr__(self) -> str:
        return "{" + ", ".join(map(repr, self)) + "}" if len(self) else "CombinationSet()"
