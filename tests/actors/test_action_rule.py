"""The life of an action, alone: whatever order things happen in, it does the right ones and comes to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors._action_rule import (
    ActionLife,
    BatchStarted,
    Ended,
    KillParts,
    KillWanted,
    ParallelLife,
    PartEnded,
    SequentialLife,
    Start,
    StartFailed,
    StartParts,
    WindowLife,
)

KINDS = [ParallelLife, SequentialLife, lambda: WindowLife(2)]

both = pytest.mark.parametrize("kind", KINDS, ids=["parallel", "sequence", "window"])


def started(kind: Callable[[], ActionLife], size: int) -> ActionLife:
    """A life whose first batch has just been started."""
    life = kind()
    life.take(Start(1.0, size))
    life.take(BatchStarted(2.0))
    return life


@both
def test_an_action_without_parts_ends_as_it_starts(kind: Callable[[], ActionLife]) -> None:
    life = kind()

    assert life.take(Start(5.0, 0)) == [Ended()]
    assert (life.started, life.ended, life.start_date, life.end_date) == (True, True, 5.0, 5.0)


@both
def test_what_comes_before_the_start_or_after_the_end_changes_nothing(kind: Callable[[], ActionLife]) -> None:
    life = kind()
    late = [KillWanted(), BatchStarted(9.0), StartFailed(9.0, 0, ValueError())]

    assert [life.take(event) for event in late] == [[], [], []]
    life.take(Start(1.0, 0))
    assert [life.take(event) for event in [*late, Start(9.0, 3), PartEnded(9.0, 0)]] == [[], [], [], [], []]
    assert (life.killed, life.error_reason, life.end_date) == (False, None, 1.0)


def test_a_parallel_action_starts_all_at_once_and_ends_with_the_last() -> None:
    life = ParallelLife()

    assert life.take(Start(1.0, 3)) == [StartParts(range(3))]
    assert life.take(PartEnded(2.0, 1)) == []
    assert life.take(BatchStarted(3.0)) == []
    assert life.take(PartEnded(4.0, 0)) == []
    assert life.take(PartEnded(5.0, 2)) == [Ended()]
    assert life.end_date == 5.0


def test_a_sequence_starts_the_next_part_when_the_one_before_has_ended() -> None:
    life = SequentialLife()

    assert life.take(Start(1.0, 2)) == [StartParts(range(1))]
    assert life.take(BatchStarted(2.0)) == []
    assert life.take(PartEnded(3.0, 0)) == [StartParts(range(1, 2))]
    assert life.take(PartEnded(4.0, 1)) == []
    assert life.take(BatchStarted(5.0)) == [Ended()]


def test_a_kill_while_parts_are_being_started_reaches_them_when_they_are() -> None:
    life = ParallelLife()
    life.take(Start(1.0, 3))
    life.take(PartEnded(2.0, 1))

    assert life.take(KillWanted()) == []
    assert life.take(BatchStarted(3.0)) == [KillParts((0, 2))]


def test_a_killed_sequence_starts_no_other_part() -> None:
    life = started(SequentialLife, 3)

    assert life.take(KillWanted()) == [KillParts((0,))]
    assert life.take(KillWanted()) == [KillParts((0,))]
    assert life.take(PartEnded(3.0, 0)) == [Ended()]
    assert life.killed


def test_when_a_part_can_not_start_those_that_have_started_are_killed() -> None:
    life = ParallelLife()
    life.take(Start(1.0, 4))
    error = ValueError("no closing quotation")

    assert life.take(StartFailed(2.0, 2, error)) == [KillParts((0, 1))]
    assert life.take(PartEnded(3.0, 0)) == []
    assert life.take(PartEnded(4.0, 1)) == [Ended()]
    assert life.error_reason is error


def test_a_sequence_goes_on_when_a_later_part_can_not_start() -> None:
    life = started(SequentialLife, 3)
    life.take(PartEnded(3.0, 0))

    assert life.take(StartFailed(4.0, 1, ValueError())) == [StartParts(range(2, 3))]


def test_a_sequence_ends_when_its_first_part_can_not_start() -> None:
    life = SequentialLife()
    life.take(Start(1.0, 3))

    assert life.take(StartFailed(2.0, 0, ValueError())) == [Ended()]


def test_a_window_starts_another_part_for_each_that_has_ended() -> None:
    life = WindowLife(2)

    assert life.take(Start(1.0, 5)) == [StartParts(range(2))]
    assert life.take(BatchStarted(2.0)) == []
    assert life.take(PartEnded(3.0, 1)) == [StartParts(range(2, 3))]
    assert life.take(PartEnded(4.0, 0)) == []  # while one is being started
    assert life.take(BatchStarted(5.0)) == [StartParts(range(3, 4))]
    assert life.take(PartEnded(6.0, 2)) == []
    assert life.take(PartEnded(6.0, 3)) == []
    assert life.take(BatchStarted(7.0)) == [StartParts(range(4, 5))]
    assert life.take(BatchStarted(8.0)) == []
    assert life.take(PartEnded(9.0, 4)) == [Ended()]


def test_a_killed_window_starts_no_other_part() -> None:
    life = started(lambda: WindowLife(2), 4)

    assert life.take(KillWanted()) == [KillParts((0, 1))]
    assert life.take(PartEnded(3.0, 0)) == []
    assert life.take(PartEnded(4.0, 1)) == [Ended()]


def test_a_window_ends_when_a_later_part_can_not_start() -> None:
    life = started(lambda: WindowLife(2), 4)
    life.take(PartEnded(3.0, 0))

    assert life.take(StartFailed(4.0, 2, ValueError())) == [KillParts((1,))]
    assert life.take(PartEnded(5.0, 1)) == [Ended()]


class World:
    """Carries out the effects of a life, and knows what may happen next."""

    def __init__(self, life: ActionLife, size: int) -> None:
        self.life = life
        self.room = {ParallelLife: None, SequentialLife: 1, WindowLife: 2}[type(life)]
        self.size = size
        self.to_start: list[int] | None = None  # of the batch being started
        self.started: list[int] = []
        self.open: set[int] = set()
        self.kill_sent: set[int] = set()
        self.kills = 0
        self.failed = False
        self.over = 0

    def possible(self) -> list[str]:
        """What may happen, in words."""
        events = [f"end {part}" for part in self.open]
        if self.to_start is not None:
            events += ["start", "fail"] if self.to_start else ["batch"]
        if self.kills < 2 and not self.over:
            events.append("kill")
        return events

    def happen(self, event: str) -> None:
        """Let it happen to the life."""
        word, _, part = event.partition(" ")
        if word == "end":
            self.open.remove(int(part))
            self.carry_out(PartEnded(1.0, int(part)))
        elif word == "start":
            assert self.to_start is not None
            self.started.append(self.to_start.pop(0))
            self.open.add(self.started[-1])
        elif word == "batch":
            self.to_start = None
            self.carry_out(BatchStarted(1.0))
        elif word == "fail":
            assert self.to_start is not None
            first, self.to_start, self.failed = self.to_start[0], None, True
            self.carry_out(StartFailed(1.0, first, ValueError()))
        else:
            self.kills += 1
            self.kill_sent.clear()
            self.carry_out(KillWanted())

    def carry_out(self, event: Any) -> None:
        """Check each effect of *event*, and do it."""
        for effect in self.life.take(event):
            if type(effect) is StartParts:
                assert not self.kills, "started after a kill"
                assert self.room is None or len(self.open) + len(effect.parts) <= self.room, "too many at a time"
                assert self.to_start is None, "two batches at once"
                self.to_start = list(effect.parts)
            elif type(effect) is KillParts:
                assert set(effect.parts) <= self.open, "killed what does not run"
                self.kill_sent.update(effect.parts)
            else:
                assert not self.open, "ended before its parts"
                assert self.to_start is None, "ended while parts are being started"
                self.over += 1
        if self.kills and self.to_start is None:
            assert self.open <= self.kill_sent, "a kill did not reach a part"


@given(kind=st.sampled_from(KINDS), size=st.integers(0, 5), data=st.data())
def test_every_life_ends_once_in_whatever_order_things_happen(
    kind: Callable[[], ActionLife], size: int, data: Any
) -> None:
    world = World(kind(), size)
    world.carry_out(Start(1.0, size))
    while events := world.possible():
        world.happen(data.draw(st.sampled_from(events)))

    assert world.over == 1
    assert world.life.ended
    assert world.started == sorted(set(world.started)), "a part started twice, or out of order"
    assert world.life.killed == (world.kills > 0)
    if not world.kills and not world.failed:
        assert world.started == list(range(size))


@given(size=st.integers(1, 6), data=st.data())
def test_a_sequence_never_has_two_parts_open(size: int, data: Any) -> None:
    world = World(SequentialLife(), size)
    world.carry_out(Start(1.0, size))
    while events := world.possible():
        world.happen(data.draw(st.sampled_from(events)))
        assert len(world.open) <= 1
