"""The reactor: timers in order, descriptors, and nothing that a handler does stops it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from deadline import DEADLINE
from regisseur.actors import _reactor
from regisseur.actors._reactor import READABLE, WRITABLE, Reactor, Timer


class Door:
    """Runs functions on a reactor: what the bus is for the real one."""

    def __init__(self) -> None:
        self.reactor = Reactor("test-reactor")
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._functions: deque[Callable[[], None]] = deque()
        self.reactor.start(lambda: self.reactor.watch(self._fd, READABLE, self._run))

    def post(self, function: Callable[[], None]) -> None:
        """Have the reactor call *function* soon."""
        self._functions.append(function)
        os.eventfd_write(self._fd, 1)

    def call(self, function: Callable[[], object]) -> None:
        """Have the reactor call *function*, and wait for it."""
        done = threading.Event()

        def run() -> None:
            try:
                function()
            finally:
                done.set()

        self.post(run)
        assert done.wait(DEADLINE)

    def _run(self, _events: int) -> None:
        os.eventfd_read(self._fd)
        while self._functions:
            self._functions.popleft()()

    def close(self) -> None:
        """End the reactor."""
        self.post(self.reactor.stop)
        self.reactor.thread.join(DEADLINE)
        assert not self.reactor.thread.is_alive()
        self.reactor.close()
        os.close(self._fd)


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def test_what_waits_for_an_idle_moment_is_called_behind_what_is_to_be_done(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reactor, "_IDLE_WAIT", DEADLINE)
    order: list[str] = []
    called = threading.Event()

    def work() -> None:
        order.append("work")
        door.reactor.call_again(lambda: order.append("more"))

    def begin() -> None:
        door.reactor.call_when_idle(lambda: order.append("idle"))
        door.reactor.call_when_idle(called.set)
        door.reactor.call_again(work)

    door.call(begin)
    assert called.wait(DEADLINE)
    assert order == ["work", "more", "idle"]


def test_a_reactor_that_is_never_idle_calls_it_all_the_same(door: Door) -> None:
    called = threading.Event()

    def work() -> None:
        if not called.is_set():
            door.reactor.call_again(work)

    def begin() -> None:
        work()
        door.reactor.call_when_idle(called.set)

    door.call(begin)
    assert called.wait(DEADLINE)


def test_what_waits_for_an_idle_moment_is_called_before_the_reactor_ends(door: Door) -> None:
    called = threading.Event()

    def begin() -> None:
        door.reactor.call_when_idle(called.set)
        door.reactor.stop()

    door.post(begin)
    assert called.wait(DEADLINE)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Order:
    """Collects what happens, until as much has happened as was expected."""

    def __init__(self, expected: int) -> None:
        self.seen: list[object] = []
        self._expected = expected
        self._complete = threading.Event()

    def add(self, what: object) -> None:
        self.seen.append(what)
        if len(self.seen) >= self._expected:
            self._complete.set()

    def wait(self) -> list[object]:
        assert self._complete.wait(DEADLINE)
        return self.seen


# -- timers ------------------------------------------------------------------------------------------------------------


def test_timers_run_in_the_order_in_which_they_are_due(door: Door) -> None:
    order = Order(4)

    def arm() -> None:
        now = time.monotonic()
        for delay in (0.03, 0.01, 0.02, 0.0):
            door.reactor.arm(Timer(now + delay, lambda d=delay: order.add(d)))  # type: ignore[misc]  # binds early

    door.call(arm)

    assert order.wait() == [0.0, 0.01, 0.02, 0.03]


def test_timers_due_at_the_same_time_run_in_the_order_in_which_they_were_made(door: Door) -> None:
    order = Order(100)

    def arm() -> None:
        for number in range(100):
            door.reactor.arm(Timer(0.0, lambda n=number: order.add(n)))  # type: ignore[misc]  # binds early

    door.call(arm)

    assert order.wait() == list(range(100))


def test_a_cancelled_timer_does_not_run(door: Door) -> None:
    order = Order(1)

    def arm() -> None:
        door.reactor.call_later(0.0, lambda: order.add("cancelled")).cancel()
        door.reactor.call_later(0.01, lambda: order.add("kept"))

    door.call(arm)

    assert order.wait() == ["kept"]


def test_a_timer_may_cancel_another_that_is_due_in_the_same_turn(door: Door) -> None:
    order = Order(2)
    second = Timer(0.0, lambda: order.add("second"))

    def first() -> None:
        second.cancel()
        order.add("first")

    def arm() -> None:
        door.reactor.arm(Timer(-1.0, first))
        door.reactor.arm(second)
        door.reactor.call_later(0.01, lambda: order.add("third"))

    door.call(arm)

    assert order.wait() == ["first", "third"]


def test_cancelling_twice_or_after_the_call_is_harmless(door: Door) -> None:
    order = Order(1)
    timers: list[Timer] = []

    door.call(lambda: timers.append(door.reactor.call_later(0.0, lambda: order.add("ran"))))
    order.wait()
    timers[0].cancel()
    timers[0].cancel()

    assert order.seen == ["ran"]


def test_a_timer_that_makes_timers_does_not_starve_descriptors(door: Door) -> None:
    stop = threading.Event()

    def again() -> None:
        if not stop.is_set():
            door.reactor.call_later(0.0, again)

    door.call(again)
    door.call(lambda: None)  # comes through although a timer is always due
    stop.set()


@pytest.mark.parametrize("delay", [40 * 86_400.0, 1e12, float("inf")], ids=["40 days", "30,000 years", "for ever"])
def test_a_timer_beyond_what_epoll_can_wait_for_is_no_trouble(door: Door, delay: float) -> None:
    timers: list[Timer] = []

    door.call(lambda: timers.append(door.reactor.call_later(delay, lambda: None)))
    door.call(lambda: None)

    timers[0].cancel()


def test_timers_that_were_cancelled_do_not_pile_up(door: Door) -> None:
    def arm_and_cancel() -> None:
        for _ in range(20_000):
            door.reactor.call_later(3600.0, lambda: None).cancel()

    door.call(arm_and_cancel)

    assert len(door.reactor._timers) < 2_000


def test_timers_that_wait_survive_the_sweep_of_the_cancelled(door: Door) -> None:
    order = Order(50)

    def arm() -> None:
        for number in range(5_000):
            timer = door.reactor.call_later(0.05, lambda n=number: order.add(n))  # type: ignore[misc]  # binds early
            if number % 100:
                timer.cancel()

    door.call(arm)

    assert order.wait() == list(range(0, 5_000, 100))


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_a_watched_descriptor_is_told_until_it_is_forgotten(door: Door, pipe: tuple[int, int]) -> None:
    order = Order(1)
    reader, writer = pipe

    def read(events: int) -> None:
        order.add((events, os.read(reader, 10)))
        door.reactor.forget(reader)

    door.call(lambda: door.reactor.watch(reader, READABLE, read))
    os.write(writer, b"first")
    order.wait()
    os.write(writer, b"second")
    door.call(lambda: None)

    assert order.seen == [(READABLE, b"first")]


def test_a_paused_descriptor_is_not_told_until_it_is_resumed(door: Door, pipe: tuple[int, int]) -> None:
    order = Order(1)
    reader, writer = pipe

    def read(_events: int) -> None:
        order.add(os.read(reader, 10))

    door.call(lambda: door.reactor.watch(reader, READABLE, read))
    door.call(lambda: door.reactor.change(reader, 0))
    os.write(writer, b"data")
    door.call(lambda: None)
    assert not order.seen
    door.call(lambda: door.reactor.change(reader, READABLE))

    assert order.wait() == [b"data"]
    door.call(lambda: door.reactor.forget(reader))


def test_forgetting_what_is_not_watched_is_harmless(door: Door, pipe: tuple[int, int]) -> None:
    door.call(lambda: door.reactor.forget(pipe[0]))


def test_an_event_of_a_closed_descriptor_is_not_given_to_the_next_one_with_its_number(door: Door) -> None:
    """Two pipes are ready in one turn; the first handler closes the other's pipe and opens one with the same number."""
    order = Order(1)
    pipes = {name: os.pipe() for name in "ab"}
    new: list[int] = []

    def replace(mine: str, other: str) -> None:
        if new:
            return
        for name in (mine, other):
            door.reactor.forget(pipes[name][0])
        number = pipes[other][0]
        os.close(number)
        new.extend(os.pipe())
        if new[0] != number:  # another thread was faster; make it so
            os.dup2(new[0], number)
            os.close(new[0])
            new[0] = number
        door.reactor.watch(number, READABLE, lambda _: order.add("event of another"))

    def begin() -> None:
        for mine, other in ("ab", "ba"):
            os.write(pipes[mine][1], b"x")
            door.reactor.watch(pipes[mine][0], READABLE, lambda _, m=mine, o=other: replace(m, o))  # type: ignore[misc]

    door.call(begin)
    door.call(lambda: None)
    door.call(lambda: door.reactor.forget(new[0]))

    assert order.seen == []
    reused = [name for name in "ab" if pipes[name][0] == new[0]]
    for fd in {*new, *pipes["a"], *pipes["b"]}:
        os.close(fd)
    assert len(reused) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ValueError("oops"), SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_whatever_a_handler_raises_is_logged_and_the_others_go_on(
    door: Door, pipe: tuple[int, int], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    order = Order(3)

    def fail(what: str) -> None:
        order.add(what)
        raise error

    def fail_once() -> None:
        door.reactor.forget(pipe[1])
        fail("descriptor")

    def begin() -> None:
        door.reactor.watch(pipe[1], WRITABLE, lambda _: fail_once())
        door.reactor.call_again(lambda: fail("again"))
        door.reactor.call_later(0.0, lambda: fail("timer"))

    door.call(begin)
    order.wait()
    door.call(lambda: order.add("the end"))

    assert {"descriptor", "again", "timer", "the end"} == set(order.seen)
    assert len([r for r in caplog.records if "the reactor goes on" in r.getMessage()]) == 3


def test_call_again_runs_in_the_next_turn_and_not_in_this_one(door: Door) -> None:
    order = Order(3)

    def first() -> None:
        door.reactor.call_again(lambda: order.add("next turn"))
        order.add("this turn")

    def begin() -> None:
        door.reactor.call_again(first)
        door.reactor.call_again(lambda: order.add("this turn too"))

    door.call(begin)

    assert order.wait() == ["this turn", "this turn too", "next turn"]
