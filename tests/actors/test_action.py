"""Actions over real processes: how they start, end, are killed, waited for and told of."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE
from regisseur.actors import action as door
from regisseur.actors.action import Action, ActionLifecycleHandler, Local
from regisseur.actors.journal import Journal, set_journal
from regisseur.actors.process import STDERR, ExpectOutputHandler, Process
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import current_runtime

LONG = "sleep 1000"


QUIET: dict[str, Any] = {"nolog_exit_code": True, "nolog_expect_fail": True}


class Stage:
    """Makes actions, and ends them all with the test."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def action(self, *processes: str | Process, **kwargs: Any) -> Action:
        """An action of these processes; texts are commands."""
        action = Action(**kwargs)
        action.processes = [Process(p, **QUIET) if isinstance(p, str) else p for p in processes]
        self.actions.append(action)
        return action


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for action in made.actions:
        if action.running:
            action.kill().wait(DEADLINE)
            assert action.ended


class Gate(Process):
    """A process whose start waits until the test opens the gate."""

    def __init__(self, cmd: str) -> None:
        super().__init__(cmd, nolog_exit_code=True)
        self.reached = threading.Event()
        self.open = threading.Event()

    def start(self) -> Gate:
        self.reached.set()
        assert self.open.wait(DEADLINE)
        return super().start()


class Watched(Process):
    """A process which tells when somebody begins to wait for its output."""

    def __init__(self, cmd: str) -> None:
        super().__init__(cmd, nolog_expect_fail=True)
        self.waited_for = threading.Event()

    def expect(self, regexes: Any, timeout: Any = False, *args: Any, **kwargs: Any) -> Any:
        if timeout != 0:
            self.waited_for.set()
        return super().expect(regexes, timeout, *args, **kwargs)


class Diary(ActionLifecycleHandler):
    """Notes what it is told, and in which thread."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.threads: set[str] = set()

    def _note(self, note: str) -> None:
        self.notes.append(note)
        self.threads.add(threading.current_thread().name)

    def start(self, action: Any) -> None:
        self._note("start")

    def end(self, action: Any) -> None:
        self._note(f"end {action.ended}")

    def reset(self, action: Any) -> None:
        self._note("reset")


def all_ended(processes: Iterable[Process]) -> bool:
    return all(process.ended for process in processes)


# -- start and end -----------------------------------------------------------------------------


def test_an_action_starts_all_its_processes_and_ends_when_all_have(stage: Stage) -> None:
    action = stage.action("echo one", "cat", "echo two")

    assert not action.started
    assert action.start() is action
    assert (action.started, action.running, action.ended) == (True, True, False)
    action.processes[1].close_stdin()
    assert action.wait(DEADLINE) is action
    assert (action.started, action.running, action.ended) == (True, False, True)
    assert [p.stdout for p in action.processes] == ["one\n", "", "two\n"]
    assert action.ok
    assert action.finished_ok
    assert action.start_date is not None
    assert action.end_date is not None
    assert action.start_date <= action.end_date


def test_an_action_without_processes_ends_at_once_and_is_ok(stage: Stage) -> None:
    diary = Diary()
    action = stage.action(lifecycle_handlers=[diary]).start()

    assert action.ended
    assert action.finished_ok
    assert action.wait(DEADLINE).future.done()
    assert diary.notes == ["start", "end True"]
    assert action.reset().run().ended


def test_an_action_can_not_be_started_twice(stage: Stage) -> None:
    action = stage.action("true").run(DEADLINE)

    with pytest.raises(ValueError, match=r"Action\(\) was started already"):
        action.start()


def test_of_several_threads_that_start_an_action_one_does(stage: Stage) -> None:
    action = stage.action("true")
    barrier = threading.Barrier(8)

    def start() -> bool:
        barrier.wait(DEADLINE)
        try:
            action.start()
        except ValueError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        started = [f.result(DEADLINE) for f in [pool.submit(start) for _ in range(8)]]

    assert sum(started) == 1
    assert action.wait(DEADLINE).finished_ok


def test_waiting_ends_with_the_timeout_and_the_action_goes_on(stage: Stage) -> None:
    action = stage.action(LONG)

    assert action.run(0.01) is action
    assert action.running
    assert action.wait("00:00:00.01").running


def test_waiting_for_an_action_that_was_not_started_is_refused(stage: Stage) -> None:
    with pytest.raises(ValueError, match="was not started: call start"):
        stage.action("true").wait()


def test_an_action_is_ok_when_all_its_processes_are(stage: Stage) -> None:
    assert not stage.action("true", "false").run(DEADLINE).ok
    assert stage.action(Process("false", ignore_exit_code=True, nolog_exit_code=True)).run(DEADLINE).finished_ok
    assert stage.action("true").ok
    assert not stage.action("true").finished_ok


def test_a_process_that_runs_already_is_waited_for(stage: Stage) -> None:
    process = Process("cat").start()
    ended = Process("true").run(DEADLINE)
    action = stage.action(process, ended).start()
    process.close_stdin()

    assert action.wait(DEADLINE).finished_ok


def test_when_a_process_can_not_start_the_caller_is_told_and_the_others_are_killed(stage: Stage) -> None:
    action = stage.action(LONG, "echo 'unclosed", LONG)

    with pytest.raises(ValueError, match="unclosed"):
        action.start()
    assert action.wait(DEADLINE).ended
    assert [p.started for p in action.processes] == [True, False, False]
    assert all_ended(action.processes[:1])
    assert not action.ok
    assert isinstance(action.error_reason, ValueError)
    assert action.reset().ok


def test_a_command_that_does_not_exist_is_data(stage: Stage) -> None:
    action = stage.action(Process("/no/such/program", nolog_error=True), "true").run(DEADLINE)

    assert action.ended
    assert not action.ok
    assert action.stats()["num_errors"] == 1


# -- kill ----------------------------------------------------------------------------------------


def test_a_kill_right_after_the_start_is_never_lost(stage: Stage) -> None:
    for _ in range(10):
        action = stage.action(LONG, LONG).start().kill()

        assert action.wait(DEADLINE).ended
        assert [p.killed for p in action.processes] == [True, True]
        assert action.killed
        assert action.ok


def test_a_kill_while_another_thread_still_starts_processes_reaches_all(stage: Stage) -> None:
    gate = Gate(LONG)
    action = stage.action(LONG, gate, LONG)
    starter = threading.Thread(target=action.start)
    starter.start()
    assert gate.reached.wait(DEADLINE)
    assert action.started
    action.kill()
    gate.open.set()
    starter.join(DEADLINE)

    assert action.wait(DEADLINE).ended
    assert all_ended(action.processes)


def test_killing_twice_or_without_need_is_harmless(stage: Stage) -> None:
    action = stage.action(LONG)

    assert action.kill() is action
    assert not action.killed
    action.start().kill().kill().wait(DEADLINE)
    assert action.kill().kill().finished_ok
    ended = stage.action("true").run(DEADLINE)
    assert not ended.kill().killed


def test_leaving_the_context_kills(stage: Stage) -> None:
    with stage.action(LONG, LONG).start() as action:
        assert action.running

    assert action.wait(DEADLINE).ended


@pytest.mark.slow
def test_hundreds_of_processes_need_no_threads_and_are_killed_at_once(stage: Stage) -> None:
    before = threading.active_count()
    groups = [stage.action(*[LONG] * 30) for _ in range(10)]
    for action in groups:
        action.start()

    assert threading.active_count() <= before + 10  # the runtime's own
    for action in groups:
        action.kill()
    assert all(action.wait(DEADLINE).finished_ok for action in groups)


# -- reset ---------------------------------------------------------------------------------------


def test_an_action_that_was_reset_runs_again(stage: Stage) -> None:
    action = stage.action("echo again", "false").run(DEADLINE)
    first = action.future

    assert action.reset() is action
    assert (action.started, action.ended, action.ok, action.start_date) == (False, False, True, None)
    assert [p.started for p in action.processes] == [False, False]
    assert action.run(DEADLINE).processes[0].stdout == "again\n"
    assert first is not action.future


def test_resetting_a_running_action_kills_it(stage: Stage) -> None:
    action = stage.action(LONG).start()
    run = action.future

    assert not action.reset().started
    assert run.done()


# -- futures ---------------------------------------------------------------------------------------


def test_the_future_of_an_action_is_set_to_the_action(stage: Stage) -> None:
    action = stage.action("true").start()

    assert action.future.result(DEADLINE) is action
    assert action.future.get(timeout=DEADLINE) is action
    done, _ = concurrent.futures.wait([action.future, stage.action("false").start().future], DEADLINE)
    assert [f.result() for f in done if f.result().ok] == [action]


def test_giving_up_a_wait_does_not_end_the_action(stage: Stage) -> None:
    action = stage.action("cat").start()

    assert not action.future.cancel()
    action.processes[0].close_stdin()
    assert action.wait(DEADLINE).finished_ok


def test_an_action_can_be_awaited_and_the_loop_keeps_running(stage: Stage) -> None:
    action = stage.action("cat")

    async def main() -> Action:
        waiter = asyncio.ensure_future(_await(action))
        await asyncio.sleep(0)  # lets the waiter begin; it gives the loop back while the action runs
        action.processes[0].write("hello")
        action.processes[0].close_stdin()
        return await asyncio.wait_for(waiter, DEADLINE)

    assert asyncio.run(main()) is action
    assert action.processes[0].stdout == "hello"


async def _await(action: Action) -> Action:
    return await action


# -- handlers --------------------------------------------------------------------------------------


def test_lifecycle_handlers_are_called_in_order_in_workers_and_at_reset_here(stage: Stage) -> None:
    diary = Diary()
    action = stage.action("true", lifecycle_handlers=[diary])
    for _ in range(3):
        action.run(DEADLINE)
        assert all("worker" in name for name in diary.threads)
        action.reset()
        assert threading.current_thread().name in diary.threads
        diary.threads.clear()

    assert diary.notes == ["start", "end True", "reset"] * 3


def test_who_waits_goes_on_when_the_handlers_know_of_the_end(stage: Stage) -> None:
    leave = threading.Event()

    class Slow(ActionLifecycleHandler):
        def end(self, action: Any) -> None:
            assert leave.wait(DEADLINE)

    diary = Diary()
    action = stage.action("true", lifecycle_handlers=[Slow(), diary]).start()
    action.wait(0.05)

    assert not action.future.done()
    leave.set()
    assert action.wait(DEADLINE).finished_ok
    assert diary.notes == ["start", "end True"]


def test_a_handler_may_wait_for_its_own_action(stage: Stage) -> None:
    seen: list[tuple[str, bool]] = []

    class Patient(ActionLifecycleHandler):
        def start(self, action: Any) -> None:
            seen.append(("start", action.wait(DEADLINE).ended))

        def end(self, action: Any) -> None:
            seen.append(("end", action.wait(DEADLINE).ended))

    stage.action("true", lifecycle_handlers=[Patient()]).run(DEADLINE)

    assert seen == [("start", True), ("end", True)]


def test_a_handler_that_raises_or_blocks_stops_no_other_action(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    leave = threading.Event()

    class Bad(ActionLifecycleHandler):
        def start(self, action: Any) -> None:
            assert leave.wait(DEADLINE)
            raise RuntimeError("out of order")

    diary = Diary()
    blocked = stage.action("true", lifecycle_handlers=[Bad(), diary], name="mine").start()

    assert stage.action("true").run(DEADLINE).finished_ok
    leave.set()
    assert blocked.wait(DEADLINE).finished_ok
    assert diary.notes == ["start", "end True"]
    assert [record.getMessage().partition(",")[0] for record in caplog.records if record.exc_info] == [
        "a lifecycle handler of <Action(name=mine"
    ]


# -- what it tells -----------------------------------------------------------------------------------


def test_stats_tell_of_all_processes_together(stage: Stage) -> None:
    action = stage.action("true", "false", Process("/no/such/program", nolog_error=True), name="three")
    action.run(DEADLINE)
    action.processes[0].expect_fail = True
    stats = action.stats()

    assert stats["name"] == "three"
    assert stats["sub_stats"] == []
    counts = {key: value for key, value in stats.items() if key.startswith("num_")}
    assert counts == {
        "num_processes": 3,
        "num_started": 3,
        "num_ended": 3,
        "num_errors": 1,
        "num_timeouts": 0,
        "num_forced_kills": 0,
        "num_non_zero_exit_codes": 1,
        "num_expect_fail": 1,
        "num_write_error": 0,
        "num_ok": 0,
        "num_finished_ok": 0,
    }
    assert stats["start_date"] <= stats["end_date"]


def test_stats_count_write_errors(stage: Stage) -> None:
    process = Process("true", nolog_write_error=True).run(DEADLINE)
    process.write("too late")

    assert stage.action(process).run(DEADLINE).stats()["num_write_error"] == 1


def test_an_action_says_what_it_is(stage: Stage) -> None:
    local = Local("echo   hello", process_args={"nolog_exit_code": True})
    stage.actions.append(local)

    assert local.name == "echo hello"
    assert repr(local) == "Local('echo   hello')"
    assert repr(stage.action(name="mine")) == "Action(name='mine')"
    assert stage.action().name.startswith("Action 0x")
    local.name = "greeting"
    assert local.name == "greeting"
    text = str(local.run(DEADLINE))
    assert text.startswith("<Local('echo   hello', name=greeting, started=True, ended=True, killed=False, ")
    assert text.endswith("num_ok=1, num_finished_ok=1, ok=True)>")


def test_a_local_substitutes_nothing(stage: Stage) -> None:
    local = Local(["echo", "{{[1]}}", "{{{host}}}"], process_args={"name": "p"})
    stage.actions.append(local)

    assert local.run(DEADLINE).processes[0].stdout == "{{[1]}} {{{host}}}\n"
    assert [p.name for p in local.processes] == ["p"]


def test_actions_are_actors_that_are_not_in_the_way(stage: Stage) -> None:
    action = stage.action(LONG).start()

    assert current_runtime().bus.find(action._run.address) is not None
    assert ActorRegistry.get_by_class_name("ActionActor") == []
    action.kill().wait(DEADLINE)
    gone = threading.Event()
    current_runtime().bus.call(gone.set)  # handled behind the end of the action
    assert gone.wait(DEADLINE)
    assert current_runtime().bus.find(action._run.address) is None


def test_the_journal_tells_of_start_kill_and_end(stage: Stage, tmp_path: Path) -> None:
    with Journal(tmp_path / "log.jsonl") as journal:
        previous = set_journal(journal)
        try:
            action = stage.action(LONG, name="long").start().kill().wait(DEADLINE)
        finally:
            set_journal(previous)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = {line["event"]: line for line in lines if line.get("actor") == action._run.address}

    assert list(told) == ["action.started", "action.killed", "action.ended"]
    assert {"kind": "Action", "name": "long", "parts": 1}.items() <= told["action.started"].items()
    assert told["action.ended"]["ok"] is True
    assert told["action.ended"]["processes"] == [line["actor"] for line in lines if line["event"] == "process.started"]


def test_the_public_module_hands_on_exactly_its_names() -> None:
    public = {name for name in vars(door) if not name.startswith("_") and name != "annotations"}

    assert sorted(public) == sorted(door.__all__)
    assert door.wait_multiple_actions is door.wait_any_actions


# -- expect --------------------------------------------------------------------------------------------


def test_expect_gives_the_match_of_each_process_in_order(stage: Stage) -> None:
    action = stage.action("echo two", "cat", "echo one").start()
    action.processes[1].write("nothing\n")
    action.processes[1].close_stdin()
    found = action.expect(["one", "two"], timeout=DEADLINE)

    assert [(p, i, m and m.group()) for p, i, m in found] == [
        (action.processes[0], 1, "two"),
        (action.processes[1], None, None),
        (action.processes[2], 0, "one"),
    ]
    assert [p.expect_fail for p in action.processes] == [False, True, False]


@pytest.mark.slow
def test_expect_has_one_deadline_for_all_processes(stage: Stage) -> None:
    action = stage.action(*[LONG] * 20, default_expect_timeout=1).start()
    begin = time.monotonic()
    found = action.expect("never")

    assert 1 <= time.monotonic() - begin < 20
    assert [match for _, _, match in found] == [None] * 20
    assert all(p.expect_fail for p in action.processes)


def test_expect_with_timeout_0_looks_once_and_is_no_failure(stage: Stage) -> None:
    action = stage.action("echo here", LONG).start()
    action.processes[0].wait(DEADLINE)
    found = action.expect("here", timeout=0)

    assert [index for _, index, _ in found] == [0, None]
    assert not any(p.expect_fail for p in action.processes)


def test_expect_without_backtrack_misses_nothing_that_comes_while_it_waits_for_another(stage: Stage) -> None:
    first, second = Watched("cat"), Watched("cat")
    action = stage.action(first, second).start()
    second.write("old\n")
    second.expect("old", timeout=DEADLINE)
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.extend(action.expect("old|new", DEADLINE, backtrack=False)))
    waiter.start()
    assert first.waited_for.wait(DEADLINE)
    second.write("new\n")
    second.expect("new", timeout=DEADLINE)
    first.write("new\n")
    waiter.join(DEADLINE)

    assert [match.group() for _, _, match in found] == ["new", "new"]


def test_expect_looks_at_the_stream_it_is_told(stage: Stage) -> None:
    action = stage.action(Process("echo oops >&2", shell=True)).start()

    assert action.expect("oops", DEADLINE, STDERR)[0][1] == 0


def test_expect_by_a_handler_that_was_given_to_nobody_finds_all_processes_as_well(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    action = stage.action(*[Process(f"echo {word}; cat", shell=True) for word in ("a1", "a2", "b")]).start()
    found = action.expect(r"a\d|b", DEADLINE, expect_output_handler=handler)
    for process in action.processes:
        process.write("more\n")

    assert [match.group() for _, _, match in found if match] == ["a1", "a2", "b"]
    assert [index for _, index, _ in action.expect("more", DEADLINE, expect_output_handler=handler)] == [0] * 3


def test_expect_by_a_handler_finds_all_processes(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    processes = [Process(f"echo {word}; cat", shell=True, stdout_handlers=[handler]) for word in ("a1", "a2", "b")]
    action = stage.action(*processes).start()
    found = action.expect(r"a\d|b", DEADLINE, expect_output_handler=handler)

    assert [match.group() for _, _, match in found if match] == ["a1", "a2", "b"]
    again = action.expect("more", 0.01, expect_output_handler=handler)
    assert [index for _, index, _ in again] == [None] * 3
    assert all(p.expect_fail for p in processes)
