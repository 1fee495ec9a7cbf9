"""Dates: parts of a date as people write it, and a date as logs and reports show it.

A date may leave out the year, the month or the day; they are then those of a "today" that the caller gives, since
nothing here looks at a clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

__all__ = ["PartialDate", "format_datetime", "parse_date"]

_DATE = re.compile(
    r"""(?: (?: (?: (?P<year> \d{4} | \d{2} ) - )? (?P<month> \d{1,2} ) - )? (?P<day> \d{1,2} ) [ T] )?
        (?P<hour> \d{1,2} ) : (?P<minute> \d{1,2} ) : (?P<second> \d{1,2} ) (?: \. (?P<fraction> \d+ ) )?
        (?: [ ]? (?: (?P<utc> [Zz] ) | (?P<sign> [+-] ) (?P<zone_hours> \d{2} ) :? (?P<zone_minutes> \d{2} ) ) )?""",
    re.ASCII | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class PartialDate:
    """A date as it was written; None stands for what was left out."""

    year: int | None
    month: int | None
    day: int | None
    hour: int
    minute: int
    second: int
    microsecond: int
    zone: tzinfo | None
    """None where no zone was written: the date is then a local one."""

    def complete(self, today: date) -> datetime:
        """Return the date, with what is missing taken from *today*; naive where no zone was written.

        Raises:
            ValueError: there is no such day or time.
        """
        return datetime(
            today.year if self.year is None else self.year,
            today.month if self.month is None else self.month,
            today.day if self.day is None else self.day,
            self.hour,
            self.minute,
            self.second,
            self.microsecond,
            self.zone,
        )


def parse_date(text: str) -> PartialDate:
    """Return the parts of the date *text*: "[[[YY]YY-]MM-]DD HH:MM:SS[.s][Z|+HH:MM]", or the time alone.

    A "T" may stand in place of the blank. Years of two digits are those of 1969 to 2068.

    Raises:
        ValueError: *text* is something else.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"unsupported date {text!r}: expected '[[[YY]YY-]MM-]DD HH:MM:SS[.s][Z|+HH:MM]', the time alone, "
            "or seconds since the epoch"
        )
    given = match.groupdict()
    return PartialDate(
        year=_year(given["year"]),
        month=_number(given["month"]),
        day=_number(given["day"]),
        hour=int(given["hour"]),
        minute=int(given["minute"]),
        second=int(given["second"]),
        microsecond=int((given["fraction"] or "").ljust(6, "0")[:6]),
        zone=_zone(given),
    )


def format_datetime(moment: datetime, showms: bool = False) -> str:
    """Return *moment*, which has a zone, as "2014-06-05 12:00:00+02:00".

    With *showms*, milliseconds follow the seconds where there are any; otherwise what is below a second is dropped.
    """
    if showms:
        moment += timedelta(microseconds=500)
        if moment.microsecond >= 1000:
            return moment.isoformat(sep=" ", timespec="milliseconds")
    return moment.isoformat(sep=" ", timespec="seconds")


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _year(digits: str | None) -> int | None:
    if digits is None:
        return None
    year = int(digits)
    if len(digits) == 4:
        return year
    return year + (1900 if year >= 69 else 2000)  # as strptime's %y does


def _zone(given: dict[str, str | None]) -> tzinfo | None:
    if given["utc"]:
        return UTC
    if given["sign"] is None:
        return None
    offset = timedelta(hours=int(given["zone_hours"] or 0), minutes=int(given["zone_minutes"] or 0))
    return timezone(-offset if given["sign"] == "-" else offset)
