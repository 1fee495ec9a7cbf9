"""Dates, durations, sleep and Timer."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from regisseur.actors import time_utils
from regisseur.actors.time_utils import (
    Timer,
    datetime_to_unixts,
    format_date,
    format_duration,
    format_seconds,
    format_unixts,
    get_seconds,
    get_unixts,
    numeric_date_to_unixts,
    numeric_duration_to_seconds,
    sleep,
    str_date_to_unixts,
    str_duration_to_seconds,
    timedelta_to_seconds,
    unixts_to_datetime,
)

JUNE = 1401962400.0  # 2014-06-05 12:00:00+02:00


class Clock:
    """The time module, in a world where nothing passes but what is slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 5000.0
        self.naps: list[float] = []
        self.on_nap: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self.wall

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        self.on_nap()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_utils, "time", clock)
    return clock


@pytest.fixture
def paris(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (None, None),
        (3, 3.0),
        (3.5, 3.5),
        (-1, -1.0),
        ("12", 12.0),
        ("1:02:03.5", 3723.5),
        (timedelta(days=1, seconds=3), 86403.0),
        (math.inf, math.inf),
    ],
)
def test_a_duration_has_seconds(duration: Any, seconds: float | None) -> None:
    assert seconds == get_seconds(duration)


@pytest.mark.parametrize("duration", ["", "abc", "1:30", "2d", [], date(2014, 6, 5), math.nan])
def test_what_is_no_duration_is_refused(duration: Any) -> None:
    with pytest.raises(ValueError, match="unsupported duration"):
        get_seconds(duration)


@pytest.mark.usefixtures("paris")
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (3, 3.0),
        ("12.5", 12.5),
        (datetime(2014, 6, 5, 12), JUNE),
        (datetime(2014, 6, 5, 10, tzinfo=UTC), JUNE),
        ("2014-06-05 12:00:00", JUNE),
        ("2014-06-05 10:00:00Z", JUNE),
        ("2014-06-05 12:00:00.5+02:00", JUNE + 0.5),
    ],
)
def test_a_date_has_seconds_since_the_epoch(given: Any, seconds: float | None) -> None:
    assert seconds == get_unixts(given)


@pytest.mark.parametrize("given", ["", "abc", "2014-06-05", "25:00:00", [], date(2014, 6, 5), timedelta(1), math.nan])
def test_what_is_no_date_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="unsupported date"):
        get_unixts(given)


def test_a_time_alone_is_one_of_today() -> None:
    read = unixts_to_datetime(str_date_to_unixts("00:00:00"))

    assert datetime.now() - timedelta(days=1) < read <= datetime.now()


@pytest.mark.usefixtures("paris")
def test_a_date_is_written_in_the_local_zone() -> None:
    assert format_date(JUNE) == format_date("2014-06-05 10:00:00Z") == "2014-06-05 12:00:00+02:00"
    assert format_unixts(JUNE + 0.9996, showms=True) == "2014-06-05 12:00:01+02:00"
    assert format_date(JUNE + 0.123, showms=True) == "2014-06-05 12:00:00.123+02:00"
    assert format_date(JUNE - 3600 * 24 * 180) == "2013-12-07 11:00:00+01:00"


def test_a_duration_is_written_in_any_of_its_forms() -> None:
    assert format_duration("1:2:3") == format_duration(timedelta(seconds=3723)) == format_seconds(3723) == "1h2m3s"
    assert format_duration(1.5, showms=True) == "1.500s"


def test_none_stays_none() -> None:
    assert {None} == {format_date(None), format_duration(None), format_unixts(None), format_seconds(None)}


def test_conversions_are_those_of_datetime() -> None:
    moment = datetime(2014, 6, 5, 12, tzinfo=UTC)

    assert moment == unixts_to_datetime(datetime_to_unixts(moment), UTC)
    assert timedelta_to_seconds(timedelta(1, 2, 3)) == 86402.000003
    assert (numeric_date_to_unixts("12"), numeric_duration_to_seconds("2.5")) == (12.0, 2.5)
    assert str_duration_to_seconds("0:0:5") == 5.0


def test_sleep_waits_for_a_delay(clock: Clock) -> None:
    assert sleep("1.5") == 1.5
    assert clock.naps == [1.5]


def test_sleep_waits_until_a_date(clock: Clock) -> None:
    assert sleep(until=clock.time() + 20) == 20


def test_sleep_waits_for_the_longest_of_the_two(clock: Clock) -> None:
    assert sleep(5, clock.time() + 20) == 20
    assert sleep(25, clock.time() + 20) == 25


@pytest.mark.parametrize(("delay", "until"), [(None, None), (0, None), (-3, None), (None, 1), (0, 1)])
def test_sleep_returns_none_where_there_is_nothing_to_wait_for(clock: Clock, delay: Any, until: Any) -> None:
    assert sleep(delay, until) is None
    assert clock.naps == []


def test_a_date_holds_though_the_clock_on_the_wall_is_set(clock: Clock) -> None:
    def set_back_once() -> None:
        clock.wall -= 3600
        clock.on_nap = lambda: None

    clock.on_nap = set_back_once

    assert sleep(until=clock.time() + 200) == 3800


def test_a_delay_holds_though_the_clock_on_the_wall_is_set(clock: Clock) -> None:
    def set_forward() -> None:
        clock.wall += 3600

    clock.on_nap = set_forward

    assert sleep(200) == 200


def test_sleep_goes_on_after_a_signal() -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda number, _: received.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        slept = sleep(0.1)
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert received == [signal.SIGALRM]
    assert slept is not None
    assert slept >= 0.1


def test_sleep_works_in_any_thread() -> None:
    slept: list[float | None] = []
    thread = threading.Thread(target=lambda: slept.append(sleep(0.01)))
    thread.start()
    thread.join()

    assert len(slept) == 1
    assert (slept[0] or 0) >= 0.01


def test_a_timer_knows_what_is_left(clock: Clock) -> None:
    timer = Timer("0:0:5")
    clock.now += 2

    assert (timer.start_date(), timer.elapsed(), timer.remaining()) == (6000.0, 2.0, 3.0)


def test_what_is_left_of_a_timer_becomes_negative(clock: Clock) -> None:
    timer = Timer(1)
    clock.now += 3

    assert timer.remaining() == -2.0


def test_a_timer_without_timeout_has_nothing_left_to_tell(clock: Clock) -> None:
    assert Timer().remaining() is None


def test_a_timer_waits_until_a_time_after_its_start(clock: Clock) -> None:
    timer = Timer()
    clock.now += 3

    assert timer.wait_elapsed(10) is timer
    assert timer.elapsed() == 10.0
    assert timer.wait_elapsed(5).elapsed() == 10.0
