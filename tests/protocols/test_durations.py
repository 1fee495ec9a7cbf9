"""Durations: parsing and formatting."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.durations import format_seconds, parse_duration, parse_number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12),
        ("12.5", 12.5),
        (".5", 0.5),
        (" 12 ", 12),
        ("1:2:3", 3723),
        ("01:02:03.5", 3723.5),
        ("61:00:00", 219600),
        ("25:61:61", 93721),
        ("00:00:00.123456", 0.123456),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert seconds == parse_duration(text)


@pytest.mark.parametrize("text", ["", "abc", "-3", "+4", "1e3", "inf", "nan", "1:30", "1:2:3:4", "-1:00:00", "\u0661"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unsupported duration") as caught:
        parse_duration(text)

    assert repr(text) in str(caught.value)


@given(st.text(st.sampled_from(list("0123456789:. -+e"))))
def test_a_duration_is_a_number_of_seconds_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return

    assert seconds >= 0


def test_a_number_is_told_from_other_texts() -> None:
    assert parse_number("12.5") == 12.5
    assert parse_number("12:5") is None


@pytest.mark.parametrize(
    ("seconds", "plain", "with_ms"),
    [
        (0, "0s", "0s"),
        (59, "59s", "59s"),
        (60, "1m0s", "1m0s"),
        (3600, "1h0m0s", "1h0m0s"),
        (86400, "1d0h0m0s", "1d0h0m0s"),
        (90061, "1d1h1m1s", "1d1h1m1s"),
        (90061.123, "1d1h1m1s", "1d1h1m1.123s"),
        (0.5, "0s", "0.500s"),
        (-0.5, "0s", "-0.500s"),
        (-5, "-5s", "-5s"),
        (59.9996, "59s", "1m0s"),
        (1.999, "1s", "1.999s"),
    ],
)
def test_a_duration_is_written(seconds: float, plain: str, with_ms: str) -> None:
    assert (plain, with_ms) == (format_seconds(seconds), format_seconds(seconds, showms=True))


@given(st.integers(0, 10**10))
def test_what_is_written_counts_the_milliseconds(milliseconds: int) -> None:
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    text, total, number = format_seconds(milliseconds / 1000, showms=True), 0.0, ""
    for character in text:
        if character in units:
            total, number = total + float(number) * units[character], ""
        else:
            number += character

    assert math.isclose(milliseconds / 1000, total)


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_cannot_be_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        format_seconds(seconds)
