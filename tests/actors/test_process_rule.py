"""The life of a process as a rule: whatever happens in whatever order, it ends once and keeps its story straight."""

from __future__ import annotations

import signal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors._process_rule import Ended, ForceDue, KillWanted, ProcessLife, Send, SetTimer, Start, TimeoutDue
from regisseur.protocols.messages import (
    STDERR,
    STDOUT,
    InputFailed,
    OutputEnded,
    ProcessExited,
    ProcessSpawned,
    SpawnFailed,
)

KILL = KillWanted(signal.SIGTERM, 60.0)
EVENTS = st.one_of(
    st.builds(Start, st.floats(0, 10)),
    st.builds(ProcessSpawned, st.integers(1, 9999), st.floats(0, 10)),
    st.builds(SpawnFailed, st.sampled_from([2, 13]), st.just("no"), st.none() | st.just("/x"), st.floats(0, 10)),
    st.builds(ProcessExited, st.none() | st.integers(-64, 255), st.floats(0, 10)),
    st.builds(KillWanted, st.sampled_from([1, 2, 9, 15]), st.none() | st.floats(0, 60)),
    st.builds(TimeoutDue),
    st.builds(ForceDue),
    st.builds(OutputEnded, st.sampled_from([STDOUT, STDERR]), st.sampled_from([0, 5])),
    st.builds(InputFailed, st.just(32)),
)


def live(*events: Any, timeout: float | None = None) -> tuple[ProcessLife, list[Any]]:
    """A life in which *events* happened, and all that was to be done about them."""
    life = ProcessLife(timeout, kill_timeout=5.0)
    return life, [effect for event in events for effect in life.take(event)]


@given(st.lists(EVENTS, max_size=30), st.none() | st.floats(0, 5))
def test_a_life_ends_at_most_once_and_stays_ended(events: list[Any], timeout: float | None) -> None:
    life, ended = ProcessLife(timeout, 5.0), 0
    for event in events:
        was_ended = life.ended
        effects = life.take(event)
        ended += sum(isinstance(effect, Ended) for effect in effects)

        assert not (was_ended and (not life.ended or effects))
        assert life.ended == (life.state == "ended") == (life.end_date is not None)
        assert not (life.killed and life.pid is None)
        assert not (life.forced_kill and not life.started)
        assert not (life.timeouted and not life.killed)

    assert ended == int(life.ended)


def test_a_kill_before_the_process_is_there_is_sent_when_it_is() -> None:
    life, effects = live(Start(1.0), KILL, ProcessSpawned(7, 1.5))

    assert effects == [Send(signal.SIGTERM), SetTimer(60.0, ForceDue())]
    assert life.killed


def test_sigkill_follows_once_when_the_grace_is_over() -> None:
    life, effects = live(Start(0.0), ProcessSpawned(7, 0.0), KILL, ForceDue(), ForceDue())

    assert effects == [Send(signal.SIGTERM), SetTimer(60.0, ForceDue()), Send(signal.SIGKILL)]
    assert life.forced_kill


def test_a_timeout_kills_and_is_told_from_a_kill() -> None:
    life, effects = live(Start(0.0), ProcessSpawned(7, 10.0), TimeoutDue(), ProcessExited(-15, 13.0), timeout=3.0)

    assert effects[:2] == [SetTimer(3.0, TimeoutDue()), Send(signal.SIGTERM)]
    assert (life.timeouted, life.killed, life.exit_code, life.timeout_date) == (True, True, -15, 13.0)


def test_timers_after_the_end_change_nothing() -> None:
    life, _ = live(Start(0.0), ProcessSpawned(7, 0.0), ProcessExited(0, 1.0))

    assert [life.take(event) for event in (TimeoutDue(), ForceDue(), KILL, ProcessExited(1, 2.0))] == [[], [], [], []]
    assert (life.exit_code, life.killed, life.timeouted) == (0, False, False)


def test_a_process_that_can_not_start_has_started_and_ended_with_the_reason() -> None:
    life, effects = live(Start(0.0), SpawnFailed(2, "No such file or directory", "/nowhere", 1.0))

    assert effects == [Ended()]
    assert (life.started, life.ended, life.error, life.exit_code) == (True, True, True, None)
    assert isinstance(life.error_reason, FileNotFoundError)
