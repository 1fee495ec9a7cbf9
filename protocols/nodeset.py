"""Names that differ by one number, written as one: ``node[1-3,7]``.

A first step to a short form of thousands of names. It takes a fraction of the time that a library which knows more
(several numbers at a time, steps, algebra) takes for reading the names one by one, and leaves little to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["one_number_folded"]

_NUMBER = re.compile(r"([0-9]+)")


def one_number_folded(names: Iterable[str]) -> list[str]:
    """Return *names*, those that differ by one number being one text with its ranges in brackets.

    Of several numbers in a name, the one that has the most values among the names of its shape is that one. A number
    with leading zeros is in one range with numbers of the same width only. Names should not hold brackets.
    """
    shapes: dict[tuple[str, ...], list[list[str]]] = {}
    for name in dict.fromkeys(names):
        pieces = _NUMBER.split(name)
        shapes.setdefault(tuple(pieces[::2]), []).append(pieces)
    folded: list[str] = []
    for shape, members in shapes.items():
        folded += _folded(members) if len(shape) > 1 and len(members) > 1 else map("".join, members)
    return folded


def _folded(members: list[list[str]]) -> Iterator[str]:
    """Fold names of one shape, given as the pieces between and of their numbers."""
    width = len(members[0])
    place = max(range(1, width, 2), key=lambda place: len({pieces[place] for pieces in members}))
    alike: dict[tuple[str, str], list[str]] = {}
    for pieces in members:
        alike.setdefault(("".join(pieces[:place]), "".join(pieces[place + 1 :])), []).append(pieces[place])
    for (before, after), numbers in alike.items():
        yield f"{before}[{','.join(_ranges(numbers))}]{after}" if len(numbers) > 1 else before + numbers[0] + after


def _ranges(numbers: list[str]) -> Iterator[str]:
    """Return the ranges of *numbers*, in order. Those as wide as one with a leading zero are all of that width."""
    padded = {len(number) for number in numbers if number[0] == "0" and len(number) > 1}
    widths: dict[int, list[int]] = {}
    for number in numbers:
        widths.setdefault(len(number) if len(number) in padded else 0, []).append(int(number))
    for width, values in sorted(widths.items()):
        values.sort()
        first = last = values[0]
        for value in values[1:]:
            if value != last + 1:
                yield _range(first, last, width)
                first = value
            last = value
        yield _range(first, last, width)


def _range(first: int, last: int, width: int) -> str:
    return f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}"
