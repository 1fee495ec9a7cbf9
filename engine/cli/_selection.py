"""Which combinations of a sweep are meant: by number, or by the levels of factors.

A selection is a list of words::

    3  5-7              those numbers, as `sweep list` shows them
    size=10 size=20     those whose factor size has one of these levels
    tool=xz             and whose factor tool has this one

Numbers and factors are both to be met where both are given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["Selection", "show_combination", "show_level"]

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


class Selection:
    """What *words* mean; without any, all combinations.

    Raises:
        ValueError: a word is neither a number nor ``factor=level``, or a range is empty.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._ranges: list[range] = []
        self._levels: dict[str, list[str]] = {}
        for word in words:
            numbers = _NUMBERS.fullmatch(word)
            factor, equals, level = word.partition("=")
            if numbers:
                first, last = int(numbers[1]), int(numbers[2] or numbers[1])
                if last < first:
                    raise ValueError(f"{word!r} selects nothing: {last} is less than {first}")
                self._ranges.append(range(first, last + 1))
            elif factor and equals:
                self._levels.setdefault(factor, []).append(level)
            else:
                raise ValueError(f"{word!r} selects nothing: give a number such as 3 or 3-7, or factor=level")

    def beyond(self, count: int) -> int | None:
        """Return the first number that is selected and is not one of *count* combinations."""
        return next((max(r.start, count) for r in self._ranges if r.stop > count), None)

    def takes(self, number: int, combination: Any) -> bool:
        """Whether *combination*, which has that *number*, is selected."""
        if self._ranges and not any(number in numbers for numbers in self._ranges):
            return False
        if not self._levels:
            return True
        if not isinstance(combination, dict):
            return False
        shown = {str(factor): level for factor, level in combination.items()}
        return all(
            factor in shown and any(_is_level(shown[factor], text) for text in texts)
            for factor, texts in self._levels.items()
        )


def show_combination(combination: Any) -> str:
    """Return *combination* as one line, the way that a selection may name it."""
    if not isinstance(combination, dict):
        return show_level(combination)
    return " ".join(f"{show_level(factor)}={show_level(level)}" for factor, level in combination.items())


def show_level(level: Any) -> str:
    """Return *level* as a word: texts as they are where that is clear, else quoted; values as Python writes them."""
    if not isinstance(level, str):
        return repr(level)
    if level and level.isprintable() and not set(level) & set(" =\"'"):
        return level
    return json.dumps(level, ensure_ascii=not level.isprintable())


def _is_level(level: Any, text: str) -> bool:
    if text in (str(level), show_level(level)):
        return True
    if isinstance(level, (int, float)) and not isinstance(level, bool):
        try:
            return float(text) == level  # 1e3, or 10 where the level is 10.0
        except ValueError:
            return False
    return False
