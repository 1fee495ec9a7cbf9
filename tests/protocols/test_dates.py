"""Dates: parsing and formatting."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.dates import format_datetime, parse_date

TODAY = date(2026, 11, 21)
UTC = UTC
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-06-05 12:00:00", datetime(2014, 6, 5, 12)),
        ("2014-06-05T12:00:00", datetime(2014, 6, 5, 12)),
        ("2014-6-5 1:2:3", datetime(2014, 6, 5, 1, 2, 3)),
        ("2014-06-05 12:00:00.5", datetime(2014, 6, 5, 12, 0, 0, 500000)),
        ("14-06-05 12:00:00", datetime(2014, 6, 5, 12)),
        ("69-06-05 12:00:00", datetime(1969, 6, 5, 12)),
        ("06-05 12:00:00", datetime(2026, 6, 5, 12)),
        ("05 12:00:00", datetime(2026, 11, 5, 12)),
        ("12:00:01", datetime(2026, 11, 21, 12, 0, 1)),
        ("12:00:00Z", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("2014-06-05 12:00:00.25Z", datetime(2014, 6, 5, 12, 0, 0, 250000, UTC)),
        ("2014-06-05 12:00:00+02:00", datetime(2014, 6, 5, 12, tzinfo=timezone(timedelta(hours=2)))),
        ("2014-06-05 12:00:00 -0330", datetime(2014, 6, 5, 12, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
    ],
)
def test_a_date_is_read(text: str, expected: datetime) -> None:
    read = parse_date(text).complete(TODAY)

    assert (expected, expected.utcoffset()) == (read, read.utcoffset())


@pytest.mark.parametrize("text", ["", "abc", "12:00", "2014-06-05", "2014-06-05 12:00", "1/1/1", "12:00:00+02", "5"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unsupported date"):
        parse_date(text)


@pytest.mark.parametrize("text", ["2014-13-05 12:00:00", "25:00:00", "02-30 12:00:00"])
def test_a_day_or_time_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is that of datetime
        parse_date(text).complete(TODAY)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 1, 1), timezones=ZONES))
def test_a_written_date_is_read_back_to_the_millisecond(moment: datetime) -> None:
    read = parse_date(format_datetime(moment, showms=True)).complete(TODAY)

    assert abs(moment - read) <= timedelta(microseconds=500)
    assert moment.utcoffset() == read.utcoffset()


@given(st.text(st.sampled_from(list("0123456789:.-+TZz "))))
def test_a_date_is_read_or_a_value_error_is_raised(text: str) -> None:
    try:
        parse_date(text).complete(TODAY)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("microsecond", "plain", "with_ms"),
    [
        (0, "2014-06-05 12:00:59+00:00", "2014-06-05 12:00:59+00:00"),
        (123000, "2014-06-05 12:00:59+00:00", "2014-06-05 12:00:59.123+00:00"),
        (999600, "2014-06-05 12:00:59+00:00", "2014-06-05 12:01:00+00:00"),
    ],
)
def test_a_date_is_written(microsecond: int, plain: str, with_ms: str) -> None:
    moment = datetime(2014, 6, 5, 12, 0, 59, microsecond, UTC)

    assert (plain, with_ms) == (format_datetime(moment), format_datetime(moment, showms=True))
