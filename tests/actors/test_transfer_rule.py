"""The courses of transfers, with hosts that break whenever they like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors._transfer_rule import (
    Ask,
    CommandEnded,
    Discard,
    Effect,
    Finish,
    GetCourse,
    Pause,
    PutCourse,
    Send,
    Unpack,
    UseScp,
)
from regisseur.protocols.transfer import NO_TAR, PART_UNIT

LOST = CommandEnded(error=OSError("lost"), lost=True)
DONE = CommandEnded(0)


class Host:
    """Has what is sent to it, unless the connection breaks; each breaking keeps some of a large file."""

    def __init__(self, large: list[bool], breaks: list[int | None]) -> None:
        self.large = large
        self.breaks = breaks
        self.done: list[int] = []
        self.kept = 0

    def answer(self, effect: Send | Ask) -> CommandEnded:
        kept = self.breaks.pop(0) if self.breaks else None
        if kept is not None:
            if isinstance(effect, Send) and self.large[effect.step]:
                self.kept = effect.offset + kept
            return LOST
        if isinstance(effect, Ask):
            return CommandEnded(0, has=self.kept)
        assert effect.offset <= self.kept
        assert effect.offset % PART_UNIT == 0
        assert not effect.offset or self.kept - effect.offset < PART_UNIT
        self.done.append(effect.step)
        self.kept = 0
        return DONE


steps = st.lists(st.booleans(), min_size=1, max_size=5)
breaks = st.lists(st.none() | st.integers(0, 10 * PART_UNIT), max_size=8)


@given(large=steps, breaks=breaks, retries=st.integers(0, 8))
def test_each_step_is_done_once_in_order_or_the_break_is_told(
    large: list[bool], breaks: list[int | None], retries: int
) -> None:
    broken = 0
    host = Host(large, breaks)
    course = PutCourse(large, retries)
    effect: Effect | None = course.begin()
    while not isinstance(effect, Finish):
        if isinstance(effect, Pause):
            broken += 1
            effect = course.go_on()
        else:
            assert isinstance(effect, (Send, Ask))
            effect = course.take(host.answer(effect))

    assert broken <= retries
    if effect.error is None:
        assert (effect.status, host.done) == (0, list(range(len(large))))
    else:
        assert (effect.error, broken) == (LOST.error, retries)


def test_a_command_that_fails_ends_it_and_leaves_nothing() -> None:
    assert PutCourse([False], 2).take(CommandEnded(1)) == Finish(1)  # it has removed all itself

    course = PutCourse([False, True], 2)
    assert course.take(CommandEnded(1)) == Discard()
    assert course.take(CommandEnded(0)) == Finish(1)


def test_an_error_that_is_no_break_ends_it() -> None:
    error = OSError("refused")

    assert PutCourse([False], 2).take(CommandEnded(error=error)) == Finish(None, error)
    assert PutCourse([False, True], 2).take(CommandEnded(error=error)) == Finish(None, error)


def test_what_goes_wrong_here_later_leaves_nothing_there() -> None:
    error = OSError("gone")
    course = PutCourse([False, True], 2)
    course.take(DONE)

    assert course.take(CommandEnded(error=error)) == Discard()
    assert course.take(DONE) == Finish(None, error)


def test_pauses_grow_and_begin_anew_after_progress() -> None:
    course = PutCourse([False, False], 5)

    pauses: list[Any] = []
    for event in (LOST, LOST, DONE, LOST):
        effect = course.take(event)
        pauses.append(effect.seconds if isinstance(effect, Pause) else None)
        course.go_on()

    assert pauses == [0.5, 1.0, None, 0.5]


@pytest.mark.parametrize("killed", [CommandEnded(-15), CommandEnded(0), CommandEnded(1)])
def test_what_is_killed_discards_what_it_has_brought(killed: CommandEnded) -> None:
    course = PutCourse([False, True], 2)
    course.begin()

    assert course.kill() is None
    assert course.take(killed) == Discard()
    assert course.take(CommandEnded(0)) == Finish(killed.status)


def test_it_can_be_killed_in_a_pause() -> None:
    course = PutCourse([True], 2)
    course.begin()
    course.take(LOST)

    assert course.kill() == Discard()
    assert course.go_on() is None
    assert course.take(LOST) == Finish(None)


def test_a_host_without_tar_is_told_by_the_first_step() -> None:
    assert PutCourse([False], 2).take(CommandEnded(NO_TAR)) == UseScp()
    assert GetCourse(2).take(CommandEnded(NO_TAR)) == UseScp()


def test_with_no_steps_it_is_over_at_once() -> None:
    assert PutCourse([], 2).begin() == Finish(0)


# -- the other way -----------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=6), st.integers(0, 4))
def test_a_get_goes_on_after_each_break_while_it_may(breaks: list[bool], retries: int) -> None:
    course = GetCourse(retries)
    effect: Effect | None = course.begin()
    broken = 0
    while isinstance(effect, (Send, Pause)):
        if isinstance(effect, Pause):
            effect = course.go_on()
        elif breaks and breaks.pop(0):
            broken += 1
            effect = course.take(LOST)
        else:
            effect = course.take(DONE)

    assert effect == (Unpack(0) if broken <= retries else Finish(None, LOST.error))


def test_a_get_unpacks_what_came_in_full_even_of_a_command_that_failed() -> None:
    assert GetCourse(2).take(CommandEnded(1), complete=True) == Unpack(1)
    assert GetCourse(2).take(CommandEnded(1), complete=False) == Finish(1)


def test_a_get_that_is_killed_unpacks_nothing() -> None:
    course = GetCourse(2)
    course.begin()

    assert course.kill() is None
    assert course.take(CommandEnded(0)) == Finish(0)
    paused = GetCourse(2)
    paused.take(LOST)
    assert paused.kill() == Finish(None)
    assert paused.go_on() is None
