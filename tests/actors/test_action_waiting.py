"""Waiting for several actions or processes, and sorting out the hosts that failed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from deadline import DEADLINE
from regisseur.actors.action import (
    Action,
    Local,
    filter_bad_hosts,
    wait_all_actions,
    wait_any_actions,
    wait_multiple_actions,
)
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import DeadlockError
from regisseur.actors.host import Host
from regisseur.actors.process import Process


@pytest.fixture
def cats() -> Iterator[list[Action]]:
    """Four actions that run until the test closes their stdin."""
    actions: list[Action] = [Local("cat", name=f"cat {n}").start() for n in range(4)]
    yield actions
    for action in actions:
        action.kill().wait(DEADLINE)


def end(action: Action) -> None:
    action.processes[0].close_stdin()


def test_the_first_that_ends_ends_the_wait_for_any(cats: list[Action]) -> None:
    end(cats[2])

    assert wait_any_actions(cats, DEADLINE) == [cats[2]]
    assert wait_any_actions(cats) == [cats[2]]
    assert wait_multiple_actions(reversed(cats)) == [cats[2]]


def test_the_wait_for_all_ends_with_the_last_and_keeps_the_order(cats: list[Action]) -> None:
    for action in (cats[3], cats[1]):
        end(action)

    assert wait_all_actions([cats[3], cats[1]], DEADLINE) == [cats[3], cats[1]]


@pytest.mark.parametrize("timeout", [0, 0.02, "0.02", "00:00:00.02", timedelta(milliseconds=20)])
def test_after_the_timeout_those_that_have_ended_are_returned(cats: list[Action], timeout: Any) -> None:
    end(cats[1])
    cats[1].wait(DEADLINE)

    assert wait_all_actions(cats, timeout) == [cats[1]]
    assert wait_any_actions([cats[0], cats[2]], timeout) == []


def test_processes_can_be_waited_for_too(cats: list[Action]) -> None:
    processes = [Process("true").start(), cats[0].processes[0]]

    assert wait_any_actions(processes, DEADLINE) == processes[:1]


def test_waiting_for_nothing_returns_at_once() -> None:
    nothing: list[Action] = []

    assert wait_any_actions(nothing) == []
    assert wait_all_actions(nothing) == []


def test_waiting_in_vain_is_refused_unless_there_is_a_timeout(cats: list[Action]) -> None:
    idle = Local("true")

    with pytest.raises(ValueError, match=r"Local\('true'\) was not started"):
        wait_all_actions([cats[0], idle])
    with pytest.raises(ValueError, match="was not started"):
        wait_any_actions([idle])
    assert wait_all_actions([idle], 0.01) == []
    end(cats[0])
    assert wait_any_actions([idle, cats[0]]) == [cats[0]]


def test_an_action_that_another_thread_starts_meanwhile_counts(cats: list[Action]) -> None:
    late = Local("true")
    threading.Timer(0, late.start).start()

    assert wait_any_actions([cats[0], late]) == [late]


def test_several_threads_may_wait_for_the_same_actions(cats: list[Action]) -> None:
    results: list[list[Action]] = []
    waiters = [threading.Thread(target=lambda: results.append(wait_all_actions(cats, DEADLINE))) for _ in range(4)]
    for waiter in waiters:
        waiter.start()
    for action in cats:
        end(action)
    for waiter in waiters:
        waiter.join(DEADLINE)

    assert results == [cats] * 4


def test_a_blocking_actor_may_wait_and_one_on_the_reactor_is_told_not_to(cats: list[Action]) -> None:
    class Waiter(BlockingActor):
        def on_receive(self, message: Any) -> Any:
            return wait_any_actions(message, DEADLINE)

    class Hasty(Actor):
        def on_receive(self, message: Any) -> Any:
            return wait_any_actions(message, DEADLINE)

    hasty, waiter = Hasty.start(), Waiter.start()
    with pytest.raises(DeadlockError, match="reactor"):
        hasty.ask(cats)
    asked = waiter.ask(cats, block=False)
    end(cats[0])

    assert asked.get(timeout=DEADLINE) == [cats[0]]
    hasty.stop()
    waiter.stop()


def test_waiting_leaves_nothing_behind_on_the_futures(cats: list[Action]) -> None:
    for _ in range(3):
        wait_any_actions(cats, 0.001)

    assert cats[0].future._waiters == []
    assert cats[0].future._done_callbacks == []  # type: ignore[attr-defined]  # of concurrent.futures


def test_bad_hosts_are_those_on_which_a_process_failed() -> None:
    action = Action()
    for address, cmd in (("a", "true"), ("b", "false"), ("a", "true"), ("c", "true"), ("c", "false")):
        process = Process(cmd, nolog_exit_code=True)
        process.host = Host(address)
        action.processes.append(process)
    action.run(DEADLINE)
    root = Host("b", user="root")

    assert filter_bad_hosts(action, ["c", "a", "b", "d", "a", root]) == ["a", "d", "a", root]
    assert filter_bad_hosts(action, [Host("a"), Host("b")]) == [Host("a")]
    assert filter_bad_hosts(action, "b") == []
