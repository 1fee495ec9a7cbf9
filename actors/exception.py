"""What scripts may catch of the base rooms.

::

    Exception
     +-- ProcessesFailed      some processes did not do what they were run for
     +-- ActionsFailed        the same for actions
     +-- ConfigurationError   (ValueError) a configuration file or variable cannot be used

Each keeps its facts as attributes and pickles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ActionsFailed", "ConfigurationError", "FailedItem", "ProcessesFailed"]

_SHOWN = 20
"""Dumps in the text of an error; the rest is only counted, since thousands may fail at once."""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """What remains of a process or action in an error that was pickled: its name, and what its dump said."""

    name: str
    text: str

    def dump(self) -> str:
        """Return what the dump of the process or action said."""
        return self.text

    def __str__(self) -> str:
        return self.text


class _Failed(Exception):
    """Some items failed; *nouns* says what one of them is, and several."""

    nouns = ("item", "items")

    def __init__(self, items: Iterable[Any]) -> None:
        self._items: Sequence[Any] = list(items)
        super().__init__(self._items)

    def __str__(self) -> str:
        count = len(self._items)
        lines = [f"{count} failed {self.nouns[count != 1]}" + (":" if count else "")]
        lines += [_dumped(item) for item in self._items[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"... and {count - _SHOWN} more, see .{self.nouns[1]}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Processes hold threads' locks and descriptors: only what they said can go to another interpreter.
        stand_ins = [FailedItem(str(getattr(item, "name", item)), _dumped(item)) for item in self._items]
        return type(self), (stand_ins,)


class ProcessesFailed(_Failed):
    """Some processes failed. Its text holds the dump of each (of the first 20, where there are more).

    When the error comes out of a pickle, the processes are FailedItem objects.
    """

    nouns = ("process", "processes")

    def __init__(self, processes: Iterable[Any]) -> None:
        super().__init__(processes)

    @property
    def processes(self) -> Sequence[Any]:
        """The processes, as they were given."""
        return self._items


class ActionsFailed(_Failed):
    """Some actions failed. Its text holds each of them (the first 20, where there are more).

    When the error comes out of a pickle, the actions are FailedItem objects.
    """

    nouns = ("action", "actions")

    def __init__(self, actions: Iterable[Any]) -> None:
        super().__init__(actions)

    @property
    def actions(self) -> Sequence[Any]:
        """The actions, as they were given."""
        return self._items


class ConfigurationError(ValueError):
    """A configuration file or an environment variable cannot be used."""

    def __init__(self, source: str, problem: str, key: str | None = None, line: int | None = None) -> None:
        """Make the error.

        Args:
            source: path of the file, or name of the variable.
            problem: what was expected, what was seen, and what to do.
            key: what it is about, "section.key".
            line: line in the file, the first is 1.
        """
        super().__init__(source, problem, key, line)
        self.source = source
        self.problem = problem
        self.key = key
        self.line = line

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return ": ".join(part for part in (place, self.key, self.problem) if part)


def _dumped(item: Any) -> str:
    dump = getattr(item, "dump", None)
    return str(dump()) if callable(dump) else str(item)
