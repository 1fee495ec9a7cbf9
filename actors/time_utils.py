"""Dates and durations: what scripts may write for them, what reports show, sleep() and Timer.

A *duration* is a number of seconds, a datetime.timedelta, or a text ("90", "1:30:00"). A *date* is a number of seconds
since the epoch, a datetime.datetime (a local one where it has no zone), or a text ("2014-06-05 12:00:00",
"12:00:00"). Texts are parsed in protocols (durations.py, dates.py); here are the clock and the local zone.
"""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypeAlias, overload

from ..protocols.dates import format_datetime, parse_date
from ..protocols.durations import format_seconds as _format_seconds
from ..protocols.durations import parse_duration, parse_number

__all__ = [
    "Date",
    "Duration",
    "Timer",
    "datetime_to_unixts",
    "format_date",
    "format_duration",
    "format_seconds",
    "format_unixts",
    "get_seconds",
    "get_unixts",
    "numeric_date_to_unixts",
    "numeric_duration_to_seconds",
    "sleep",
    "str_date_to_unixts",
    "str_duration_to_seconds",
    "timedelta_to_seconds",
    "unixts_to_datetime",
]

Duration: TypeAlias = float | str | timedelta
"""What get_seconds takes."""

Date: TypeAlias = float | str | datetime
"""What get_unixts takes."""

_LONGEST_NAP = 60.0
"""Seconds after which a sleeper looks again at the clock on the wall, which somebody may have set."""


def timedelta_to_seconds(td: timedelta) -> float:
    """Return the seconds of a timedelta."""
    return td.total_seconds()


def datetime_to_unixts(dt: datetime) -> float:
    """Return the seconds since the epoch of a datetime, which is a local one where it has no zone."""
    return dt.timestamp()


def unixts_to_datetime(ts: float, tz: tzinfo | None = None) -> datetime:
    """Return the datetime of *ts*, seconds since the epoch: in the zone *tz*, or local and without a zone."""
    return datetime.fromtimestamp(ts, tz)


def numeric_date_to_unixts(d: float | str) -> float:
    """Return the seconds since the epoch that *d*, a number or its text, stands for."""
    return float(d)


def numeric_duration_to_seconds(d: float | str) -> float:
    """Return the seconds that *d*, a number or its text, stands for."""
    return float(d)


def str_date_to_unixts(d: str) -> float:
    """Return the seconds since the epoch of a date in text: "[[[YY]YY-]MM-]DD HH:MM:SS[.s][Z|+HH:MM]", or a number.

    Missing parts are those of today, in the zone of the date.

    Raises:
        ValueError: it is another text, or there is no such day.
    """
    number = parse_number(d)
    if number is not None:
        return number
    parts = parse_date(d)
    try:
        return parts.complete(datetime.now(parts.zone).date()).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"unsupported date {d!r}: {error}") from error


def str_duration_to_seconds(duration: str) -> float:
    """Return the seconds in a duration in text: "90", "1.5" or "HH:MM:SS[.s]".

    Raises:
        ValueError: it is another text.
    """
    return parse_duration(duration)


@overload
def get_seconds(duration: None) -> None: ...
@overload
def get_seconds(duration: Duration) -> float: ...
def get_seconds(duration: Duration | None) -> float | None:
    """Return the seconds of a duration in any of its forms; None for None.

    Raises:
        ValueError: *duration* is none of them.
    """
    if duration is None:
        return None
    if isinstance(duration, timedelta):
        return timedelta_to_seconds(duration)
    if isinstance(duration, str):
        return str_duration_to_seconds(duration)
    return _number(duration, "duration: expected seconds, a timedelta, 'HH:MM:SS' or None")


@overload
def get_unixts(d: None) -> None: ...
@overload
def get_unixts(d: Date) -> float: ...
def get_unixts(d: Date | None) -> float | None:
    """Return the seconds since the epoch of a date in any of its forms; None for None.

    Raises:
        ValueError: *d* is none of them.
    """
    if d is None:
        return None
    if isinstance(d, datetime):
        return datetime_to_unixts(d)
    if isinstance(d, str):
        return str_date_to_unixts(d)
    return _number(d, "date: expected seconds since the epoch, a datetime, 'YYYY-MM-DD HH:MM:SS' or None")


@overload
def format_unixts(secs: None, showms: bool = False) -> None: ...
@overload
def format_unixts(secs: float, showms: bool = False) -> str: ...
def format_unixts(secs: float | None, showms: bool = False) -> str | None:
    """Return a date, given in seconds since the epoch, as "2014-06-05 12:00:00+02:00" in the local zone.

    Args:
        showms: write milliseconds, where there are any.
    """
    return None if secs is None else format_datetime(datetime.fromtimestamp(secs).astimezone(), showms)


@overload
def format_seconds(secs: None, showms: bool = False) -> None: ...
@overload
def format_seconds(secs: float, showms: bool = False) -> str: ...
def format_seconds(secs: float | None, showms: bool = False) -> str | None:
    """Return a duration, given in seconds, as "1d1h1m1s".

    Args:
        showms: write milliseconds, where there are any.
    """
    return None if secs is None else _format_seconds(secs, showms)


def format_date(d: Date | None, showms: bool = False) -> str | None:
    """Return a date in any of its forms as "2014-06-05 12:00:00+02:00" in the local zone; None for None.

    Raises:
        ValueError: *d* is not a date.
    """
    return None if d is None else format_unixts(get_unixts(d), showms)


def format_duration(duration: Duration | None, showms: bool = False) -> str | None:
    """Return a duration in any of its forms as "1d1h1m1s"; None for None.

    Raises:
        ValueError: *duration* is not one.
    """
    return None if duration is None else format_seconds(get_seconds(duration), showms)


def sleep(delay: Duration | None = None, until: Date | None = None) -> float | None:
    """Wait for a delay, until a date, or for the longest of the two where both are given.

    Works in any thread, and goes on after signals whose handler returns. A date holds on the clock of the wall, also
    where that is set meanwhile (seen within a minute); a delay does not depend on it. Not for a reactor actor, whose
    thread must not wait.

    Returns:
        the seconds that were slept, or None where there was nothing to wait for.
    """
    seconds, date = get_seconds(delay), get_unixts(until)
    start = time.monotonic()
    slept = False
    while True:
        left = -math.inf if seconds is None else start + seconds - time.monotonic()
        if date is not None:
            left = max(left, date - time.time())
        if left <= 0:
            # Differences of floats may round to less than the delay, which did pass.
            return max(time.monotonic() - start, seconds or 0.0) if slept else None
        time.sleep(min(left, _LONGEST_NAP))  # which itself goes on after a signal
        slept = True


class Timer:
    """Measures time from its creation, and how much of a timeout is left. Thread-safe."""

    def __init__(self, timeout: Duration | None = None) -> None:
        """Start measuring.

        Args:
            timeout: for remaining(); None if there is no limit.
        """
        self._start_date = time.time()
        self._start = time.monotonic()
        self._timeout = get_seconds(timeout)

    def wait_elapsed(self, elapsed: Duration) -> Timer:
        """Sleep until *elapsed* has passed since the creation of the timer; return the timer."""
        sleep(self._start + get_seconds(elapsed) - time.monotonic())
        return self

    def start_date(self) -> float:
        """Return when the timer was made, in seconds since the epoch."""
        return self._start_date

    def elapsed(self) -> float:
        """Return the seconds since the timer was made."""
        return time.monotonic() - self._start

    def remaining(self) -> float | None:
        """Return the seconds that are left of the timeout, negative once it is over; None if there is none."""
        return None if self._timeout is None else self._timeout - self.elapsed()


def _number(value: Any, kind: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"unsupported {kind}, not {value!r}")
    return number
