"""Durations: seconds as people write them (``1:30:00``, ``90.5``) and as a report shows them (``1h30m0s``)."""

from __future__ import annotations

import math
import re

__all__ = ["format_seconds", "parse_duration", "parse_number"]

_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_CLOCK = re.compile(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", re.ASCII)


def parse_number(text: str) -> float | None:
    """Return the plain decimal number that *text* is (no sign, no exponent), None where it is something else."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def parse_duration(text: str) -> float:
    """Return the seconds in *text*: a number ("90", "1.5") or "HH:MM:SS[.fraction]", where no part has a limit.

    Raises:
        ValueError: *text* is neither.
    """
    number = parse_number(text)
    if number is not None:
        return number
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"unsupported duration {text!r}: expected seconds such as '90' or '1.5', or 'HH:MM:SS[.s]'")
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def format_seconds(seconds: float, showms: bool = False) -> str:
    """Return *seconds* as days, hours, minutes and seconds, from the largest that is not zero: "1d0h0m5s".

    Args:
        seconds: any number, negative ones get a "-" in front.
        showms: write milliseconds ("5.250s") where there are any. Otherwise what is below a second is dropped.

    Raises:
        ValueError: *seconds* is infinite or not a number.
    """
    if not math.isfinite(seconds):
        raise ValueError(f"cannot write {seconds!r} as a duration")
    whole, milliseconds = divmod(round(abs(seconds) * 1000), 1000) if showms else (int(abs(seconds)), 0)
    sign = "-" if seconds < 0 and (whole or milliseconds) else ""
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    text = f"{rest}.{milliseconds:03}s" if milliseconds else f"{rest}s"
    if whole >= 60:
        text = f"{minutes}m{text}"
    if whole >= 3600:
        text = f"{hours}h{text}"
    if whole >= 86400:
        text = f"{days}d{text}"
    return sign + text
