"""Report: how many processes of some actions did what, as numbers and as a table of text.

The numbers ("stats") of an action or a report are a dict of STATS; an action gives them with its stats(). Nothing
else is asked of what is added to a report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from .gathering import HostGroup, StreamName, gather_output
from .log import style
from .time_utils import format_seconds, format_unixts

__all__ = ["Report", "Stats", "StatsSource"]

Stats: TypeAlias = dict[str, Any]
"""The numbers of an action: name, start_date and end_date (seconds since the epoch or None), num_*, and sub_stats (a
list of the stats of its parts)."""

_COUNTS = (
    "num_processes",
    "num_started",
    "num_ended",
    "num_errors",
    "num_timeouts",
    "num_forced_kills",
    "num_non_zero_exit_codes",
    "num_expect_fail",
    "num_write_error",
    "num_ok",
    "num_finished_ok",
)
_TOTAL = {"num_processes": "total"}
_COLUMNS = {
    "num_started": "startd",
    "num_ended": "ended",
    "num_errors": "error",
    "num_timeouts": "timout",
    "num_forced_kills": "fkilld",
    "num_expect_fail": "expfld",
    "num_write_error": "wrterr",
    "num_non_zero_exit_codes": "ret!=0",
    "num_ok": "ok",
}
"""Heads of the columns, in their order; the total has a place of its own."""
_FAILURES = [key for key in _COLUMNS if key not in ("num_started", "num_ended", "num_ok")]
_NAME, _DATE, _LENGTH, _COUNT = 32, 20, 15, 7
"""Widths of the columns."""


class StatsSource(Protocol):
    """Whatever has numbers: an action, a process, a report."""

    def stats(self) -> Stats:
        """Return the numbers as they are now."""


class Report:
    """A summary of actions and of other reports.

    What is added is kept and asked for its numbers whenever the report is read, so a report that was made while
    things run stays up to date.
    """

    def __init__(self, stats_objects: StatsSource | Stats | Iterable[StatsSource | Stats] | None = None) -> None:
        """Make a report, of *stats_objects* as add() takes them."""
        self.name = "Report"
        """What its line of totals is called."""
        self._entries: list[StatsSource | Stats] = []
        if stats_objects is not None:
            self.add(stats_objects)

    def add(self, stats_objects: StatsSource | Stats | Iterable[StatsSource | Stats]) -> None:
        """Add actions, reports, or the dicts that their stats() returned; one or several.

        Raises:
            TypeError: something among them has no stats(), and is not such a dict; nothing is added.
            ValueError: the report itself is among them.
        """
        alone = isinstance(stats_objects, Mapping) or hasattr(stats_objects, "stats")
        entries: list[Any] = [stats_objects] if alone else list(stats_objects)  # type: ignore[arg-type]  # not one
        for entry in entries:
            if entry is self:
                raise ValueError("a report cannot be a part of itself")
            if not isinstance(entry, Mapping) and not callable(getattr(entry, "stats", None)):
                raise TypeError(f"cannot report on {entry!r}: it has no stats(), and is no dict of stats")
        self._entries += entries

    @staticmethod
    def empty_stats() -> Stats:
        """Return the stats of nothing."""
        return {
            "name": None,
            "start_date": None,
            "end_date": None,
            **dict.fromkeys(_COUNTS, 0),
            "sub_stats": [],
        }

    @staticmethod
    def aggregate_stats(stats: Stats) -> Stats:
        """Return *stats* with its numbers made out of those of its sub_stats; a copy of it where it has none.

        Numbers are added up, the start is the first of the starts, the end is the last of the ends, or None where
        something has not ended.
        """
        parts = stats["sub_stats"]
        if not parts:
            return dict(stats)
        starts = [part["start_date"] for part in parts if part["start_date"] is not None]
        ends = [part["end_date"] for part in parts]
        return {
            **Report.empty_stats(),
            "name": stats["name"],
            "start_date": min(starts, default=None),
            "end_date": None if None in ends else max(ends),
            **{key: sum(part.get(key, 0) for part in parts) for key in _COUNTS},
            "sub_stats": parts,
        }

    def stats(self) -> Stats:
        """Return the numbers of everything that was added, as they are now."""
        parts = [dict(entry) if isinstance(entry, Mapping) else entry.stats() for entry in self._entries]
        return self.aggregate_stats({**self.empty_stats(), "name": self.name, "sub_stats": parts})

    def gathered(self, stream: StreamName = "stdout", own_names: bool = True) -> list[HostGroup]:
        """Gather what the hosts of all actions in it have written: return the groups that `Action.gathered` would.

        A host that is in several actions is in several groups, or several times in one.
        """
        return gather_output(self._processes(), stream, own_names=own_names)

    def _processes(self) -> Iterator[Any]:
        """The processes of all that was added; dicts of stats have none."""
        for entry in self._entries:
            if isinstance(entry, Report):
                yield from entry._processes()
            else:
                yield from getattr(entry, "processes", (entry,) if hasattr(entry, "host") else ())

    def to_string(self, wide: bool = False, brief: bool = False, gathered: bool = False) -> str:
        """Return the report as a table of text: a line for each entry, its parts indented below it, and the totals.

        Entries are in the order of their starts, parts in that of the action. Lines with failures are coloured, where
        ``style`` colours.

        Args:
            wide: one line of 157 columns for each entry, rather than two of 79.
            brief: only the totals.
            gathered: below it what the hosts wrote to stdout, equal outputs once, see `gathered`.
        """
        stats = self.stats()
        write = _wide_lines if wide else _narrow_lines
        header = write("Name", "start", "end", "length", {**_TOTAL, **_COLUMNS})
        rule = "-" * len(header[0])
        lines = [*header, rule]
        if stats["sub_stats"] and not brief:
            for part in sorted(stats["sub_stats"], key=_start):
                lines += _entry_lines(part, 0, wide)
            lines.append(rule)
        lines += _entry_lines({**stats, "sub_stats": []}, 0, wide)
        if gathered:
            lines += [str(group).removesuffix("\n") for group in self.gathered() if group.text]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return f"<Report {self.name!r} of {len(self._entries)} entries>"

    def __str__(self) -> str:
        stats = self.stats()
        counts = ", ".join(f"{key}={stats[key]}" for key in _COUNTS)
        dates = ", ".join(f"{key}={format_unixts(stats[key])}" for key in ("start_date", "end_date"))
        return f"<Report {self.name!r} of {len(self._entries)} entries, {dates}, {counts}>"


def _start(stats: Stats) -> float:
    """Return a key for sorting by start, what has not started being last."""
    date: float | None = stats["start_date"]
    return math.inf if date is None else date


def _entry_lines(stats: Stats, depth: int, wide: bool) -> list[str]:
    """Return the lines of an entry and of all parts below it."""
    start, end = stats["start_date"], stats["end_date"]
    length = "" if start is None or end is None else format_seconds(end - start)
    write = _wide_lines if wide else _narrow_lines
    lines = write("  " * depth + str(stats["name"]), _day_and_time(start), _day_and_time(end), length, stats)
    if any(stats.get(key, 0) for key in _FAILURES):
        painted = style.report_warn if stats["num_ok"] == stats["num_ended"] else style.report_error
        lines = [painted(line) for line in lines]
    for part in stats["sub_stats"]:
        lines += _entry_lines(part, depth + 1, wide)
    return lines


def _day_and_time(date: float | None) -> str:
    return str(format_unixts(date))[:19]  # without the zone


def _narrow_lines(name: str, start: str, end: str, length: str, counts: Mapping[str, Any]) -> list[str]:
    return [
        _cell(name, _NAME) + _cell(start, _DATE) + _cell(end, _DATE) + _cell(counts["num_processes"], _COUNT),
        " " + _cell(length, _LENGTH) + "".join(_cell(counts.get(key, 0), _COUNT) for key in _COLUMNS),
    ]


def _wide_lines(name: str, start: str, end: str, length: str, counts: Mapping[str, Any]) -> list[str]:
    numbers = [counts.get(key, 0) for key in (*_COLUMNS, *_TOTAL)]
    first = _cell(name, _NAME) + _cell(start, _DATE) + _cell(end, _DATE) + _cell(length, _LENGTH)
    return [first + "".join(_cell(number, _COUNT) for number in numbers)]


def _cell(value: object, width: int) -> str:
    """Return *value* in a column: at least one blank follows it."""
    return f"{str(value)[: width - 1]:<{width}}"
