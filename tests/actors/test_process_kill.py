"""Killing processes: early, twice, forced, with their families, by their time limit. With real processes."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, Ears, Stage, run_out_of_time
from regisseur.actors import _proctable
from regisseur.actors._streams import Deadline
from regisseur.actors.config import configuration
from regisseur.actors.process import Process
from regisseur.actors.runtime import current_runtime

STUBBORN = "trap '' TERM INT; echo ready; while :; do sleep 1000; done"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


def ready(process: Process, times: int = 1) -> Process:
    """Start it, and wait until it says so."""
    process.start()
    for _ in range(times):
        assert process.expect("ready", DEADLINE)[0] == 0, process.dump()
    return process


class Watch:
    """Holds a process that is not our child, to see it end."""

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)

    def ended(self, timeout: float = DEADLINE) -> bool:
        return bool(select.select([self.fd], [], [], timeout)[0])

    def close(self) -> None:
        os.close(self.fd)


def children(pid: int | None) -> list[int]:
    assert pid is not None
    return _proctable.descendants(pid)


# -- kill --------------------------------------------------------------------------------------------------------------


def test_a_killed_process_is_ok(stage: Stage) -> None:
    process = stage.process("sleep 1000").start().kill().wait(DEADLINE)

    assert (process.ended, process.killed, process.forced_kill, process.timeouted) == (True, True, False, False)
    assert (process.exit_code, process.ok, process.finished_ok) == (-signal.SIGTERM, True, True)


def test_a_kill_right_after_the_start_is_never_lost(stage: Stage) -> None:
    processes = [stage.process("sleep 1000").start().kill() for _ in range(50)]

    assert all(process.wait(DEADLINE).ended for process in processes)
    assert {(process.killed, process.exit_code) for process in processes} == {(True, -15)}


def test_a_kill_by_another_thread_while_it_starts_is_never_lost(stage: Stage) -> None:
    for _ in range(50):
        process = stage.process("sleep 1000")
        begin = threading.Event()

        def kill(process: Process = process, begin: threading.Event = begin) -> None:
            begin.wait(DEADLINE)
            while not process.started:
                pass
            process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        begin.set()
        process.start()
        killer.join()
        assert process.wait(DEADLINE).killed


def test_a_kill_of_what_was_not_started_is_no_kill(stage: Stage) -> None:
    process = stage.process("cat")
    process.kill()
    assert not process.killed
    process.start().close_stdin()

    assert process.wait(DEADLINE).exit_code == 0


def test_a_kill_after_the_end_is_no_kill(stage: Stage) -> None:
    for process in (stage.process("false").run(DEADLINE), stage.process("/no/such").run(DEADLINE)):
        process.kill().kill(signal.SIGKILL).wait(DEADLINE)
        assert (process.killed, process.ok) == (False, False)


@pytest.mark.parametrize("number", [999, -1, signal.SIGRTMAX + 1, "TERM", None])
def test_what_is_no_signal_is_an_error_of_the_caller(stage: Stage, number: Any) -> None:
    process = stage.process("cat")
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{number!r} is no signal"):
            process.kill(sig=number)
        process.start()
    process.close_stdin()

    assert (process.wait(DEADLINE).exit_code, process.killed) == (0, False)


def test_a_real_time_signal_can_be_sent(stage: Stage) -> None:
    process = stage.process("sleep 1000").start().kill(signal.SIGRTMIN + 1).wait(DEADLINE)

    assert (process.exit_code, process.killed) == (-(signal.SIGRTMIN + 1), True)


def test_to_kill_twice_is_harmless(stage: Stage) -> None:
    process = stage.process("sleep 1000").start().kill().kill().wait(DEADLINE).kill()

    assert (process.killed, process.forced_kill, process.exit_code) == (True, False, -15)


@pytest.mark.parametrize("timeouts", [(1000, 0.05), (0.05, 1000), (None, 0.05), (0.05, None), (False, 0.05)])
def test_to_kill_twice_with_different_patience_forces_it_after_the_shorter(stage: Stage, timeouts: Any) -> None:
    process = ready(stage.shell(STUBBORN))
    for timeout in timeouts:
        process.kill(auto_force_kill_timeout=timeout)

    assert process.wait(DEADLINE).exit_code == -signal.SIGKILL
    assert (process.killed, process.forced_kill, process.ok) == (True, True, True)
    assert stage.process("echo next").run(DEADLINE).stdout == "next\n"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_sigkill_follows_after_the_configured_time(
    stage: Stage, sig: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(configuration, "kill_timeout", 0.05)
    process = ready(stage.shell(STUBBORN)).kill(sig)

    assert process.wait(DEADLINE).exit_code == -signal.SIGKILL
    assert process.forced_kill


def test_other_signals_are_not_followed_by_sigkill(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "kill_timeout", 0)
    process = ready(stage.shell("trap 'echo ready' USR1; echo ready; while :; do read line; done"))
    process.kill(signal.SIGUSR1)
    assert process.expect("ready", DEADLINE)[0] == 0
    assert process.killed
    assert process.kill(signal.SIGUSR1).expect("ready", DEADLINE)[0] == 0

    assert not process.forced_kill
    assert process.kill(signal.SIGKILL).wait(DEADLINE).exit_code == -signal.SIGKILL
    assert not process.forced_kill


@pytest.mark.parametrize("never", [None, False])
def test_a_kill_that_is_not_to_be_forced_is_not(stage: Stage, never: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "kill_timeout", 0)
    process = ready(stage.shell("trap 'echo ready' TERM; echo ready; while :; do read line; done"))
    process.kill(auto_force_kill_timeout=never)
    assert process.expect("ready", DEADLINE)[0] == 0

    assert process.running
    assert not process.forced_kill


def test_signals_come_in_the_order_in_which_they_were_sent(stage: Stage) -> None:
    # To a process that is stopped: they wait, and SIGCONT lets them in. The last one ends it.
    process = ready(stage.shell("trap 'echo usr1' USR1; echo ready; while :; do sleep 0.01; done"))
    process.kill(signal.SIGSTOP).kill(signal.SIGUSR1).kill(signal.SIGCONT)

    assert process.expect("usr1", DEADLINE)[0] == 0


def test_a_script_may_wait_after_a_kill_from_a_handler(stage: Stage) -> None:
    def end(process: Any, stream: int, chunk: str) -> None:
        process.kill()

    process = stage.shell("echo ready; exec sleep 1000", stdout_handlers=[end]).run(DEADLINE)

    assert (process.killed, process.exit_code) == (True, -15)


# -- families ----------------------------------------------------------------------------------------------------------

FAMILY = "sleep 1000 & (sleep 1000 & sleep 1000 & wait) & sh -c 'sleep 1000; :' & echo ready; wait"


@pytest.mark.parametrize(
    ("shell", "kill_subprocesses", "all_end"),
    [(True, None, True), (True, True, True), (False, True, True), (True, False, False), (False, None, False)],
)
def test_a_kill_reaches_the_family_if_it_shall(
    stage: Stage, shell: bool, kill_subprocesses: bool | None, all_end: bool
) -> None:
    cmd: Any = FAMILY if shell else ["sh", "-c", FAMILY]
    process = ready(stage.process(cmd, shell=shell, kill_subprocesses=kill_subprocesses))
    pid = process.pid
    while len(family := children(pid)) < 6:
        assert process.running
    watches = [Watch(member) for member in family]
    try:
        assert process.kill().wait(DEADLINE).exit_code == -15
        if all_end:
            assert all(watch.ended() for watch in watches)
        else:
            assert not any(watch.ended(0) for watch in watches)
    finally:
        for member, watch in zip(family, watches, strict=True):
            if not watch.ended(0):
                os.kill(member, signal.SIGKILL)
            watch.close()


def test_a_kill_reaches_who_lost_its_parent_and_who_left_the_session(stage: Stage) -> None:
    process = ready(stage.shell("(sleep 1000 & echo ready >&2) ; setsid sleep 1001 & echo ready; wait"))
    assert process.expect("ready", DEADLINE, stream=2)[0] == 0
    pid = process.pid
    assert pid is not None
    orphan: set[int] = set()
    while len(orphan) < 1 or not any(b"1001" in cmdline(child) for child in children(pid)):
        table = _proctable.Snapshot.take()
        orphan = {member for member in table.session(pid) if table.entries[member].parent != pid} - {pid}
        orphan = {member for member in orphan if b"sleep" in cmdline(member)}
    watches = [Watch(member) for member in (*orphan, *children(pid))]
    process.kill().wait(DEADLINE)

    assert all(watch.ended() for watch in watches)
    for watch in watches:
        watch.close()


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_shell_that_makes_children_all_the_time_ends_with_them(stage: Stage) -> None:
    script = "echo ready; while :; do sleep 1000 & sleep 0.001; done"
    processes = [ready(stage.shell(script)) for _ in range(5)]
    sessions = {process.pid for process in processes}
    for process in processes:
        process.kill(signal.SIGKILL)
    for process in processes:
        assert process.wait(DEADLINE).exit_code == -signal.SIGKILL

    deadline = Deadline(DEADLINE)
    while left := [e for e in _proctable.Snapshot.take().entries.values() if e.session in sessions and e.alive]:
        assert deadline.left(), left


def test_what_a_handler_of_the_signal_starts_is_left_alone(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is there before we have looked whether anybody was made meanwhile."""
    started, looks = tmp_path / "started", []
    take = _proctable.Snapshot.take

    def take_late() -> _proctable.Snapshot:
        looks.append(1)
        deadline = Deadline(DEADLINE)
        while len(looks) > 1 and not (started.exists() and started.read_text().endswith("\n")):
            assert deadline.left()
        return take()

    handler = f"sleep 1000 & echo $! >{started}; wait; exit 3"
    process = ready(stage.shell(f"trap '{handler}' TERM; sleep 1000 & echo ready; wait"))
    monkeypatch.setattr(_proctable.Snapshot, "take", take_late)
    process.kill()
    deadline = Deadline(DEADLINE)
    while len(looks) < 2:
        assert deadline.left()
    behind = threading.Event()
    current_runtime().bus.call(behind.set)
    assert behind.wait(DEADLINE)
    pid = int(started.read_text())
    os.kill(pid, signal.SIGKILL)  # fails where it has got the signal, and was waited for

    assert process.wait(DEADLINE).exit_code == 3


def test_the_families_of_many_are_looked_for_together(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    take = _proctable.Snapshot.take

    def counted() -> _proctable.Snapshot:
        looks.append(1)
        return take()

    processes = [ready(stage.shell("echo ready; sleep 1000; :")) for _ in range(40)]
    monkeypatch.setattr(_proctable.Snapshot, "take", counted)

    def kill_all() -> None:
        for process in processes:
            process.kill()

    current_runtime().bus.call(kill_all)
    for process in processes:
        process.wait(DEADLINE)

    assert len(looks) <= 10


# -- the time limit ----------------------------------------------------------------------------------------------------


def test_a_process_that_takes_too_long_is_killed_and_not_ok(stage: Stage) -> None:
    process = stage.process("sleep 1000", timeout=0.05).run(DEADLINE)

    assert (process.timeouted, process.killed, process.forced_kill) == (True, True, False)
    assert (process.exit_code, process.ok) == (-15, False)
    assert process.start_date is not None
    assert process.end_date is not None
    assert process.end_date - process.start_date >= 0.05


def test_sigkill_follows_the_time_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "kill_timeout", 0.05)
    process = ready(stage.shell(STUBBORN, timeout=1000))
    run_out_of_time(process)
    process.wait(DEADLINE)

    assert (process.timeouted, process.forced_kill, process.exit_code, process.ok) == (True, True, -9, False)


def test_the_time_limit_reaches_the_family(stage: Stage) -> None:
    process = stage.shell("sleep 1000 & echo $!; wait", timeout=1000).start()
    watch = Watch(int(process.expect(r"(\d+)\n", DEADLINE)[1].group(1)))  # type: ignore[union-attr]  # it matches
    run_out_of_time(process)
    process.wait(DEADLINE)

    assert watch.ended()
    watch.close()


def test_who_ends_in_time_is_not_touched_by_the_limit(stage: Stage) -> None:
    short = [stage.process("true", timeout=1e6).start() for _ in range(20)]
    long = ready(stage.shell("echo ready; exec sleep 1000", timeout=1e6))
    for process in short:
        process.wait(DEADLINE)

    def limits() -> int:
        """How many limits of these processes will be looked at."""
        timers = current_runtime().reactor._timers
        return sum(timer.function is not None and due > time.monotonic() + 1e5 for due, _, timer in timers)

    assert limits() == 1
    run_out_of_time(long)
    assert long.wait(DEADLINE).timeouted
    assert limits() == 0
    assert {(p.timeouted, p.killed, p.ok) for p in short} == {(False, False, True)}


def test_limits_that_are_over_at_the_same_time_are_all_kept(stage: Stage) -> None:
    processes = [stage.process("sleep 1000", timeout=0.1).start() for _ in range(30)]

    assert all(process.wait(DEADLINE).timeouted for process in processes)


def test_a_limit_changed_before_the_start_counts(stage: Stage) -> None:
    process = stage.process("sleep 1000")
    process.timeout = "00:00:00.05"  # type: ignore[assignment]  # as old scripts do

    assert process.run(DEADLINE).timeouted


# -- other users' processes --------------------------------------------------------------------------------------------


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every process ran as another user, as after sudo."""

    def refuse(fd: int, number: int, *_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)


@pytest.mark.usefixtures("forbidden")
def test_a_process_of_another_user_loses_its_terminal(stage: Stage) -> None:
    process = ready(stage.shell("echo ready; read line; echo $?", pty=True, kill_subprocesses=False))

    assert process.kill().wait(DEADLINE).exit_code == -signal.SIGHUP
    assert process.killed


@pytest.mark.usefixtures("forbidden")
def test_a_process_of_another_user_without_a_terminal_is_told_of(stage: Stage) -> None:
    process = ready(stage.process(["sh", "-c", "echo ready; cat"]))
    with Ears("regisseur.io") as ears:
        process.kill()
        assert ears.next() == f"process {process.pid} runs as another user: signal 15 can not be sent to it"

    process.close_stdin()
    assert process.wait(DEADLINE).exit_code == 0
