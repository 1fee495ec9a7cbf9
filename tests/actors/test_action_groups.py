"""Actions made of actions: in parallel and in sequence, one within the other."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE
from regisseur.actors.action import (
    Action,
    ActionLifecycleHandler,
    Local,
    ParallelActions,
    SequentialActions,
    wait_all_actions,
)
from regisseur.actors.journal import Journal, set_journal
from regisseur.actors.report import Report
from regisseur.actors.runtime import Runtime, use_runtime

LONG = "sleep 1000"


@pytest.fixture
def cast() -> Iterator[list[Action]]:
    """The groups of a test, which end with it."""
    groups: list[Action] = []
    yield groups
    for group in groups:
        if group.running:
            group.kill().wait(DEADLINE)
            assert group.ended


def local(cmd: str, **kwargs: Any) -> Local:
    return Local(cmd, {"nolog_exit_code": True}, **kwargs)


def shell(cmd: str) -> Local:
    return Local(cmd, {"nolog_exit_code": True, "shell": True})


def parallel(cast: list[Action], *actions: Action, **kwargs: Any) -> ParallelActions:
    group = ParallelActions(actions, **kwargs)
    cast.append(group)
    return group


def sequence(cast: list[Action], *actions: Action, **kwargs: Any) -> SequentialActions:
    group = SequentialActions(actions, **kwargs)
    cast.append(group)
    return group


class Gate(Action):
    """An action whose start waits until the test opens the gate; its process runs for long."""

    def __init__(self) -> None:
        super().__init__()
        self.processes = local(LONG).processes
        self.reached = threading.Event()
        self.open = threading.Event()

    def start(self) -> Gate:
        self.reached.set()
        assert self.open.wait(DEADLINE)
        return super().start()


# -- parallel ----------------------------------------------------------------------------------


def test_parallel_actions_end_when_all_of_them_have(cast: list[Action]) -> None:
    group = parallel(cast, local("echo 1"), local("cat"), Action())

    assert group.name == "ParallelActions 3 actions"
    assert [a.started for a in group.actions] == [False] * 3
    group.start()
    assert [a.started for a in group.actions] == [True] * 3
    group.actions[0].wait(DEADLINE)
    assert not group.ended
    group.processes[1].close_stdin()
    assert group.wait(DEADLINE).finished_ok
    assert [p.stdout for p in group.processes] == ["1\n", ""]


def test_a_kill_right_after_the_start_reaches_all_actions_at_any_depth(cast: list[Action]) -> None:
    for _ in range(5):
        group = parallel(cast, local(LONG), parallel(cast, local(LONG), sequence(cast, local(LONG), local(LONG))))
        group.start().kill()

        assert group.wait(DEADLINE).ended
        assert [p.killed for p in group.processes] == [True, True, True, False]
        assert [p.started for p in group.processes] == [True, True, True, False]


@pytest.mark.parametrize("kind", [ParallelActions, SequentialActions])
def test_groups_without_actions_end_at_once(kind: type[ParallelActions | SequentialActions]) -> None:
    group = kind([]).start()

    assert group.ended
    assert group.finished_ok
    assert group.processes == []


def test_a_group_of_empty_actions_ends(cast: list[Action]) -> None:
    assert parallel(cast, Action(), Action()).run(DEADLINE).finished_ok
    assert sequence(cast, *[Action() for _ in range(50)]).run(DEADLINE).finished_ok


# -- sequence ------------------------------------------------------------------------------------


def test_a_sequence_goes_one_after_the_other_and_on_after_a_failure(cast: list[Action], tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    group = sequence(
        cast,
        shell(f"echo a >> {notes}"),
        shell(f"echo b >> {notes}; exit 3"),
        parallel(cast, local("true"), shell(f"echo c >> {notes}")),
        shell(f"echo d >> {notes}"),
    )

    assert group.name == "SequentialActions 4 actions"
    assert [a.started for a in group.start().actions[2:]] == [False, False]
    assert group.wait(DEADLINE).ended
    assert notes.read_text() == "a\nb\nc\nd\n"
    assert not group.ok
    assert [p.exit_code for p in group.processes] == [0, 3, 0, 0, 0]


def test_killing_a_sequence_ends_it(cast: list[Action]) -> None:
    group = sequence(cast, local("true"), local(LONG), local(LONG)).start()
    group.actions[0].wait(DEADLINE)
    group.kill()

    assert group.wait(DEADLINE).ended
    assert not group.actions[2].started
    assert not group.actions[2].ended
    assert group.ok


def test_killing_only_the_present_action_has_the_next_one_start(cast: list[Action]) -> None:
    group = sequence(cast, local(LONG), local("echo next")).start()
    group.actions[0].kill()

    assert group.wait(DEADLINE).finished_ok
    assert group.processes[1].stdout == "next\n"


def test_a_kill_between_two_actions_is_not_lost(cast: list[Action]) -> None:
    gate = Gate()
    group = sequence(cast, local("true"), gate, local(LONG)).start()
    assert gate.reached.wait(DEADLINE)
    group.kill()
    gate.open.set()

    assert group.wait(DEADLINE).ended
    assert [p.killed for p in group.processes] == [False, True, False]
    assert not group.actions[2].started


def test_an_action_that_blocks_as_it_starts_in_a_sequence_holds_up_nobody(cast: list[Action]) -> None:
    gate = Gate()
    sequence(cast, local("true"), gate).start()
    assert gate.reached.wait(DEADLINE)

    assert local("true").run(DEADLINE).finished_ok
    gate.open.set()


def test_later_actions_of_a_sequence_can_be_waited_for_before_they_start(cast: list[Action]) -> None:
    group = sequence(cast, local("cat"), parallel(cast, local("echo deep"))).start()
    deep = group.actions[1]._parts()[0]
    assert isinstance(deep, Local)
    waiter = threading.Thread(target=deep.wait, args=(DEADLINE,))
    waiter.start()
    group.processes[0].close_stdin()
    waiter.join(DEADLINE)

    assert deep.ended


def test_who_waits_for_an_action_that_its_killed_sequence_never_starts_is_released(cast: list[Action]) -> None:
    deep = local(LONG)
    group = sequence(cast, local(LONG), parallel(cast, deep)).start()
    waiters = [threading.Thread(target=lambda a=a: a.wait()) for a in (deep, group.actions[1])]
    waiters += [threading.Thread(target=lambda: wait_all_actions(group.actions))]
    for waiter in waiters:
        waiter.start()
    group.kill()
    for waiter in waiters:
        waiter.join(DEADLINE)

    assert [waiter.is_alive() for waiter in waiters] == [False] * 3
    assert not deep.started
    deep.start()  # it can still be started by itself
    assert deep.running
    assert deep.kill().wait(DEADLINE).ended


def test_a_sequence_can_be_awaited(cast: list[Action]) -> None:
    group = sequence(cast, local("echo 1"), local("echo 2"))

    async def main() -> None:
        assert await group is group
        assert await group.actions[1] is group.actions[1]

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert [p.stdout for p in group.processes] == ["1\n", "2\n"]


def test_a_long_sequence_needs_no_deep_stack(cast: list[Action]) -> None:
    group = sequence(cast, *[local("true") if n % 100 == 0 else Action() for n in range(1000)])

    assert group.run(DEADLINE * 3).finished_ok


# -- what is refused, and what can not start --------------------------------------------------------


@pytest.mark.parametrize("kind", [ParallelActions, SequentialActions])
def test_a_group_with_an_action_that_was_started_starts_nothing(kind: Any, cast: list[Action]) -> None:
    used = local("true").run(DEADLINE)
    group = kind([local("true"), ParallelActions([used])])

    with pytest.raises(ValueError, match=r"can not start Local\('true'\), which was started already"):
        group.start()
    assert not group.started
    assert not group.actions[0].started
    used.reset()
    assert group.run(DEADLINE).finished_ok


def test_a_group_holds_each_action_once(cast: list[Action]) -> None:
    twice = local("true")

    with pytest.raises(ValueError, match="in it twice"):
        parallel(cast, twice, sequence(cast, twice)).start()
    assert not twice.started


def test_when_the_first_action_can_not_start_the_caller_is_told(cast: list[Action]) -> None:
    for group in (sequence(cast, Local("echo 'x"), local("true")), parallel(cast, local(LONG), Local("echo 'x"))):
        with pytest.raises(ValueError, match="echo 'x"):
            group.start()
        assert group.wait(DEADLINE).ended
        assert not group.ok


def test_when_a_later_action_can_not_start_the_sequence_goes_on_and_is_not_ok(cast: list[Action]) -> None:
    group = sequence(cast, local("true"), Local("echo 'x"), local("echo last")).run(DEADLINE)

    assert group.ended
    assert group.processes[2].stdout == "last\n"
    assert not group.ok
    assert isinstance(group.error_reason, ValueError)


def test_the_processes_of_a_group_are_those_of_its_actions(cast: list[Action]) -> None:
    group = parallel(cast, local("a"), sequence(cast, local("b"), local("c")), local("d"))

    assert [p.cmd for p in group.processes] == ["a", "b", "c", "d"]
    with pytest.raises(AttributeError, match="change `actions`"):
        group.processes = []


# -- reset, handlers, numbers, text, log ------------------------------------------------------------


def test_a_group_that_was_reset_runs_again_also_after_a_kill(cast: list[Action]) -> None:
    group = sequence(cast, local("cat"), parallel(cast, local("echo in"), local("echo out")))
    group.start().kill().wait(DEADLINE)

    assert group.reset() is group
    assert [a.started for a in group.actions] == [False, False]
    assert group.start().running
    group.processes[0].close_stdin()
    assert group.wait(DEADLINE).finished_ok
    assert [p.stdout for p in group.processes] == ["", "in\n", "out\n"]


def test_a_group_and_its_actions_tell_their_own_handlers_before_it_goes_on(cast: list[Action]) -> None:
    notes: list[str] = []

    class Note(ActionLifecycleHandler):
        def start(self, action: Any) -> None:
            notes.append(f"start {action.name}")

        def end(self, action: Any) -> None:
            notes.append(f"end {action.name}")

    note = Note()
    steps = [local("true", name=name, lifecycle_handlers=[note]) for name in ("a", "b")]
    sequence(cast, *steps, name="all", lifecycle_handlers=[note]).run(DEADLINE)

    assert sorted(notes) == ["end a", "end all", "end b", "start a", "start all", "start b"]
    assert [note for note in notes if "all" not in note] == ["start a", "end a", "start b", "end b"]
    assert notes[-1] == "end all"


def test_stats_tell_of_each_action_and_of_all(cast: list[Action]) -> None:
    group = parallel(cast, local("true"), local("false"), name="group").run(DEADLINE)
    stats = group.stats()

    assert (stats["name"], stats["num_processes"], stats["num_ok"]) == ("group", 2, 1)
    assert [(part["name"], part["num_ok"]) for part in stats["sub_stats"]] == [("true", 1), ("false", 0)]
    group.hide_subactions = True
    assert group.stats() == {**stats, "sub_stats": []}
    assert Report([group]).stats()["num_non_zero_exit_codes"] == 1


def test_a_group_that_never_started_an_action_has_no_end_date_in_its_stats(cast: list[Action]) -> None:
    group = sequence(cast, local(LONG), local(LONG)).start().kill().wait(DEADLINE)

    assert group.stats()["end_date"] is None
    assert group.stats()["num_started"] == 1
    assert group.end_date is not None


def test_a_group_says_what_it_is_in_short(cast: list[Action]) -> None:
    assert repr(parallel(cast, Local("a"), Local("b"))) == "ParallelActions([Local('a'), Local('b')])"
    assert repr(sequence(cast, *[Local("x")] * 5000)).endswith("Local('x'), ... 4995 more])")


def test_the_journal_tells_of_which_action_another_is_a_part(cast: list[Action], tmp_path: Path) -> None:
    with Journal(tmp_path / "log.jsonl") as journal:
        previous = set_journal(journal)
        try:
            sequence(cast, local("true", name="a"), local("true", name="b"), name="s").run(DEADLINE)
        finally:
            set_journal(previous)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    starts = {line["name"]: line for line in lines if line["event"] == "action.started"}

    assert starts["a"]["part_of"] == starts["b"]["part_of"] == starts["s"]["actor"]
    assert "part_of" not in starts["s"]
    ends = [line["actor"] for line in lines if line["event"] == "action.ended"]
    assert ends == [starts[name]["actor"] for name in ("a", "b", "s")]


def test_a_runtime_that_stops_ends_a_sequence_without_starting_more() -> None:
    with Runtime("stage") as runtime, use_runtime(runtime):
        group = SequentialActions([local(LONG), local(LONG)]).start()
        assert group.processes[0].started_event.wait(DEADLINE)

    assert group.wait(DEADLINE).ended
    assert [p.started for p in group.processes] == [True, False]
