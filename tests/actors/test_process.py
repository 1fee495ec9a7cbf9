"""Process: what it is given, what it shows, when it is ok, and how to wait for it. With real processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, QUIET, Ears, Stage, run_script
from regisseur.actors import process as door
from regisseur.actors._process_rule import InputSent, KillWanted, Start, TimeoutDue
from regisseur.actors._process_text import worth_a_warning
from regisseur.actors.config import configuration
from regisseur.actors.process import Process
from regisseur.actors.runtime import Runtime, use_runtime
from regisseur.protocols.messages import ProcessExited, ProcessSpawned, SpawnFailed


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


def words(process: Process) -> list[str]:
    return process.run(DEADLINE).stdout.split()


# -- commands ----------------------------------------------------------------------------------------------------------


def test_the_door_lists_all_it_has() -> None:
    own = {name for name, value in vars(door).items() if getattr(value, "__module__", "") == door.__name__}

    assert {name for name in own if not name.startswith("_")} <= set(door.__all__)
    assert all(hasattr(door, name) for name in door.__all__)


@pytest.mark.parametrize(
    ("cmd", "shell", "expected"),
    [
        ("printf '%s|' a 'b c' d\\ e $HOME", False, "a|b c|d e|$HOME|"),
        ("printf '%s|' a 'b c'; echo $((1+1))", True, "a|b c|2\n"),
        (["printf", "%s|", "a b", "$HOME", "*"], False, "a b|$HOME|*|"),
        (["printf", "%s|", "a b", "$HOME", "; exit 1"], True, "a b|$HOME|; exit 1|"),
        (("printf", "%s|", "tuple"), False, "tuple|"),
        ("printf '%s' é", False, "é"),
    ],
)
def test_a_command_is_words_or_a_line_for_the_shell(stage: Stage, cmd: Any, shell: bool, expected: str) -> None:
    process = stage.process(cmd, shell=shell).run(DEADLINE)

    assert (process.stdout, process.stderr, process.ok) == (expected, "", True)


def test_a_quotation_that_is_never_closed_is_an_error_of_the_caller(stage: Stage) -> None:
    process = stage.process("echo 'a")

    with pytest.raises(ValueError, match="cannot split the command"):
        process.start()
    assert not process.started
    with pytest.raises(ValueError, match="was not started"):
        process.wait()


def test_arguments_that_do_not_fit_into_a_message_are_an_error_of_the_process(stage: Stage) -> None:
    process = stage.process(["true", *["x" * 65536] * 300]).run(DEADLINE)

    assert isinstance(process.error_reason, OSError)
    assert process.error_reason.errno == errno.E2BIG


# -- what it shows -----------------------------------------------------------------------------------------------------


def test_before_the_start_nothing_has_happened() -> None:
    process = Process("true")

    flags = ["started", "running", "ended", "error", "timeouted", "killed", "forced_kill"]
    flags += ["expect_fail", "write_error", "stdout_ioerror", "stderr_ioerror", "finished_ok"]
    assert {name: getattr(process, name) for name in flags} == dict.fromkeys(flags, False)
    for name in ("host", "start_date", "end_date", "timeout", "timeout_date", "error_reason", "exit_code", "pid"):
        assert getattr(process, name) is None
    assert (process.stdout, process.stderr, process.stdout_bytes, process.stderr_bytes) == ("", "", b"", b"")
    assert process.ok
    assert not process.started_event.is_set()
    assert not process.ended_event.is_set()


def test_the_arguments_are_attributes() -> None:
    handler = door.ProcessOutputHandler()
    given: dict[str, Any] = {
        "timeout": 5.0,
        **{f"{p}{f}": True for f in ("exit_code", "timeout", "error", "expect_fail", "write_error") for p in PREFIXES},
        "default_expect_timeout": 7.0,
        "default_stdout_handler": False,
        "default_stderr_handler": False,
        "lifecycle_handlers": [door.ProcessLifecycleHandler()],
        "stdout_handlers": [handler],
        "stderr_handlers": [handler, "file"],
        "name": "a name",
        "output_limit": 1,
        "shell": True,
        "pty": True,
        "kill_subprocesses": False,
        "env": {"A": "b"},
        "cwd": "/",
        "rlimits": {"nofile": 10},
    }
    process = Process("true", **given)

    assert {name: getattr(process, name) for name in given} == given
    assert process.cmd == "true"


PREFIXES = ("ignore_", "nolog_")


@pytest.mark.parametrize("duration", [10, 10.0, "10", "0:0:10", "00:00:10.0", timedelta(seconds=10)])
def test_durations_come_in_many_forms(duration: Any) -> None:
    process = Process("true", timeout=duration, default_expect_timeout=duration)

    assert (process.timeout, process.default_expect_timeout) == (10.0, 10.0)


def test_a_run_from_start_to_end_is_dated(stage: Stage) -> None:
    before = time.time()
    process = stage.process("cat", timeout=1000).start()
    assert (process.started, process.ended, process.running) == (True, False, True)
    pid = process.pid
    assert pid is not None
    assert Path(f"/proc/{pid}/comm").exists()
    process.close_stdin()
    process.wait(DEADLINE)

    assert (process.started, process.ended, process.running) == (True, True, False)
    assert process.start_date is not None
    assert process.end_date is not None
    assert before <= process.start_date <= process.end_date <= time.time()
    assert process.timeout_date == process.start_date + 1000
    assert (process.exit_code, process.ok, process.finished_ok, process.pid) == (0, True, True, pid)


@pytest.mark.parametrize(
    ("cmd", "name"),
    [
        ("echo   a \t b\n", "echo a b"),
        (["echo", "a b"], "echo 'a b'"),
        ("x" * 39, "x" * 39),
        ("x" * 40, "x" * 36 + "..."),
    ],
)
def test_the_name_is_the_command_in_short(cmd: Any, name: str) -> None:
    assert Process(cmd).name == name


def test_the_name_can_be_given_and_changed() -> None:
    process = Process("true", name="first")
    assert process.name == "first"
    process.name = "second"
    assert (process.name, process.stats()["name"]) == ("second", "second")


def test_what_old_scripts_ask_for_says_what_to_use() -> None:
    process = Process("true")

    for name in ("process", "stdin_fd", "stdout_fd", "stderr_fd", "connexion_params"):
        with pytest.raises(AttributeError, match=f"Process has no attribute '{name}': "):
            getattr(process, name)
    with pytest.raises(AttributeError, match=r"Process has no attribute 'rubbish'$"):
        _ = process.rubbish  # type: ignore[attr-defined]  # that is the point


def test_events_and_conditions_tell_of_start_and_end(stage: Stage) -> None:
    process = stage.process("cat")
    started, ended = process.started_event, process.ended_event
    notified = threading.Event()
    waits = threading.Event()

    def wait_for_end() -> None:
        with process.ended_condition:
            waits.set()
            while not process.ended:
                process.ended_condition.wait(DEADLINE)
        notified.set()

    waiter = threading.Thread(target=wait_for_end)
    waiter.start()
    assert waits.wait(DEADLINE)
    process.start()
    assert started.wait(DEADLINE)
    assert not ended.is_set()
    process.close_stdin()
    assert ended.wait(DEADLINE)
    assert notified.wait(DEADLINE)
    waiter.join()
    assert process.started_event is started
    assert process.started_condition is not process.ended_condition


def test_they_tell_of_a_start_that_failed_too(stage: Stage) -> None:
    process = stage.process("/no/such").start()

    assert process.started_event.wait(DEADLINE)
    assert process.ended_event.wait(DEADLINE)
    assert process.started_event.is_set()


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_every_exit_status_is_told_as_it_is(stage: Stage) -> None:
    processes = [stage.process(["sh", "-c", f"exit {code}"]).start() for code in range(256)]

    assert [process.wait(DEADLINE).exit_code for process in processes] == list(range(256))


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "KILL", "TERM", "USR1", "SEGV", "PIPE"])
def test_a_signal_is_told_as_a_negative_number(stage: Stage, name: str) -> None:
    process = stage.shell(f"ulimit -c 0; kill -{name} $$").run(DEADLINE)

    assert process.exit_code == -signal.Signals[f"SIG{name}"]
    assert (process.killed, process.error, process.ok) == (False, False, False)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A directory of files that are no good as programs."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    for name, text in (("bad", "#!/no/such/interpreter\n"), ("fine", "#!/bin/sh\npwd\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("cmd", "number", "name"),
    [
        ("no-such-program-anywhere x", errno.ENOENT, "no-such-program-anywhere"),
        ("/no/such/program", errno.ENOENT, "/no/such/program"),
        ("./plain", errno.EACCES, "./plain"),
        ("./bad", errno.ENOENT, "./bad"),
        ("./", errno.EACCES, "./"),
        ("./fine/x", errno.ENOTDIR, "./fine/x"),
        ("", errno.EINVAL, None),
        (["a\0b"], errno.EINVAL, "'a\\x00b'"),
    ],
)
def test_a_command_that_can_not_start_is_an_error_and_raises_nothing(
    stage: Stage, odd: Path, cmd: Any, number: int, name: str | None
) -> None:
    process = stage.process(cmd, cwd=odd).run(DEADLINE)

    assert (process.started, process.ended, process.error, process.ok) == (True, True, True, False)
    assert process.exit_code is process.pid is None
    assert isinstance(process.error_reason, OSError)
    assert (process.error_reason.errno, process.error_reason.filename) == (number, name)
    assert process.start_date is not None
    assert process.end_date is not None


def test_a_directory_that_does_not_exist_is_an_error_that_names_it(stage: Stage) -> None:
    process = stage.process("true", cwd="/no/such/directory").run(DEADLINE)

    assert isinstance(process.error_reason, FileNotFoundError)
    assert process.error_reason.filename == "/no/such/directory"


def test_an_error_leaves_the_next_process_unharmed(stage: Stage) -> None:
    bad = [stage.process("/no/such").start() for _ in range(20)]
    good = [stage.process("echo fine").start() for _ in range(20)]

    assert all(process.wait(DEADLINE).error for process in bad)
    assert [process.wait(DEADLINE).stdout for process in good] == ["fine\n"] * 20


# -- ok, and what is worth a warning ----------------------------------------------------------------------------------

FLAGS = ("exit_code", "timeout", "error", "expect_fail", "write_error")


def ended(what: str, **kwargs: Any) -> Process:
    """A process that has gone wrong in the way of *what*."""
    process = Process("true", **kwargs)
    life = process._run.life
    life.take(Start(1.0))
    if what == "error":
        life.take(SpawnFailed(errno.ENOENT, "missing", None, 2.0))
        return process
    life.take(ProcessSpawned(42, 2.0))
    if what == "killed":
        life.take(KillWanted(signal.SIGTERM, None))
    elif what == "timeout":
        life.take(TimeoutDue())
    elif what == "write_error":
        life.take(InputSent(1))
    elif what == "expect_fail":
        process.expect_fail = True
    status = {"exit_code": 3, "killed": -15, "timeout": -15, "stolen": None}.get(what, 0)
    life.take(ProcessExited(status, 3.0))
    return process


@pytest.mark.parametrize("what", [*FLAGS, "killed", "stolen", "nothing"])
def test_one_thing_makes_it_not_ok_unless_just_that_is_ignored(what: str) -> None:
    cause = "error" if what == "stolen" else what
    for ignored in ("", *FLAGS):
        process = ended(what, **{f"ignore_{ignored}": True} if ignored else {})
        expected = what in ("killed", "nothing") or ignored == cause
        assert (process.ok, process.finished_ok) == (expected, expected), ignored
        everything_else = {f"ignore_{flag}": flag != cause for flag in FLAGS}
        assert ended(what, **everything_else).ok is (what in ("killed", "nothing"))


@pytest.mark.parametrize("what", [*FLAGS, "killed", "stolen", "nothing"])
def test_one_thing_is_worth_a_warning_unless_just_that_is_not_to_be_logged(what: str) -> None:
    cause = "error" if what == "stolen" else what
    for silenced in ("", *FLAGS):
        process = ended(what, **{f"nolog_{silenced}": True} if silenced else {})
        assert worth_a_warning(process._run) is (what not in ("killed", "nothing") and silenced != cause), silenced


@pytest.mark.parametrize("what", FLAGS)
def test_to_ignore_and_not_to_log_are_two_things(what: str) -> None:
    assert worth_a_warning(ended(what, **{f"ignore_{what}": True})._run)
    assert not ended(what, **{f"nolog_{what}": True}).ok


def test_a_running_process_is_ok_until_something_went_wrong() -> None:
    process = Process("true")
    process._run.life.take(Start(1.0))
    assert process.ok
    assert not process.finished_ok
    process.expect_fail = True
    assert not process.ok
    process.ignore_expect_fail = True
    assert process.ok


def test_each_failure_is_logged_once_with_what_it_wrote() -> None:
    with Ears() as ears:
        with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
            process = Process("echo out; echo err >&2; exit 3", shell=True).run(DEADLINE)
        heard = ears.all()

    assert len(heard) == 1
    assert heard[0] == f"terminated: {process.dump()}"
    assert re.search(r"exit_code=3, ok=False, pid=\d+\)>\nstdout:\nout\n\nstderr:\nerr\n$", heard[0])


def test_the_output_in_a_warning_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "compact_output_threshold", 20)
    with Ears() as ears:
        with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
            Process("seq 1000; exit 1", shell=True).run(DEADLINE)
        heard = ears.all()

    assert len(heard) == 1
    assert heard[0].endswith("stdout:\n1\n2\n3\n4\n5\n\n[...]\n\n999\n1000\n\nstderr:\n")


def test_what_is_to_be_logged_is_logged_and_nothing_else() -> None:
    with Ears() as ears:
        with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
            Process("true").run(DEADLINE)
            Process("false", nolog_exit_code=True).run(DEADLINE)
            Process("false", ignore_exit_code=True, name="ignored").run(DEADLINE)
            Process("/no/such", nolog_error=True).run(DEADLINE)
            Process("/no/such", nolog_exit_code=True, name="missing").run(DEADLINE)
            Process("sleep 100").start().kill().wait(DEADLINE)
            Process("sleep 100", timeout=0.01, nolog_timeout=True).run(DEADLINE)
            Process("sleep 100", timeout=0.01, nolog_exit_code=True, name="late").run(DEADLINE)
        heard = ears.all()

    names = [re.search("name=([^,]*),", text) for text in heard]
    assert sorted(name.group(1) for name in names if name) == ["ignored", "late", "missing"]


def test_the_last_failure_of_a_program_is_logged_too() -> None:
    script = "from regisseur.actors import Process\nProcess('exit 3', shell=True).run()"

    for _ in range(5):
        assert "WARNING: terminated: <Process('exit 3', " in run_script(script)


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_methods_can_be_chained(stage: Stage) -> None:
    process = stage.process("cat")

    assert process.start() is process
    assert process.kill() is process
    assert process.wait() is process
    assert process.reset() is process
    assert stage.process("true").run() is not None


@pytest.mark.parametrize("timeout", [0.01, "0.01", timedelta(milliseconds=10), 0])
def test_a_wait_that_times_out_leaves_the_process_running(stage: Stage, timeout: Any) -> None:
    process = stage.process("cat").start()

    assert process.wait(timeout) is process
    assert process.run(timeout) is process
    assert process.running
    process.close_stdin()
    assert process.wait(DEADLINE).finished_ok


def test_to_wait_for_what_was_not_started_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"Process\('true'\) was not started"):
        Process("true").wait()


def test_to_start_twice_starts_once(stage: Stage, tmp_path: Path) -> None:
    process = stage.shell(f"echo once >> {tmp_path}/log")
    process.start().start().run(DEADLINE).start().wait(DEADLINE)

    assert (tmp_path / "log").read_text() == "once\n"


def test_threads_that_start_it_together_start_it_once(stage: Stage, tmp_path: Path) -> None:
    for _ in range(20):
        process = stage.shell(f"echo once >> {tmp_path}/log")
        barrier = threading.Barrier(4)

        def start(process: Process = process, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            assert process.run(DEADLINE).ended

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (tmp_path / "log").read_text() == "once\n" * 20


def test_many_threads_may_wait(stage: Stage) -> None:
    process = stage.process("cat").start()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(process.wait, DEADLINE) for _ in range(8)]
        process.close_stdin()

        assert all(wait.result(DEADLINE) is process for wait in waits)


def test_a_context_kills_at_its_end_and_does_not_wait(stage: Stage) -> None:
    with stage.shell("trap '' TERM; echo ready; while :; do sleep 1000; done").start() as process:
        assert process.expect("ready", DEADLINE)[0] == 0

    assert process.running
    assert process.kill(signal.SIGKILL).wait(DEADLINE).killed


def test_its_future_is_one_for_concurrent_futures(stage: Stage) -> None:
    fast, slow = stage.process("true").start(), stage.process("cat").start()

    done, pending = concurrent.futures.wait(
        [fast.future, slow.future], timeout=DEADLINE, return_when=concurrent.futures.FIRST_COMPLETED
    )

    assert (done, pending) == ({fast.future}, {slow.future})
    assert fast.future.result() is fast
    assert not slow.future.cancel()
    slow.close_stdin()
    assert next(concurrent.futures.as_completed([slow.future], DEADLINE)).result() is slow


def test_its_future_is_there_before_the_start(stage: Stage) -> None:
    process = stage.process("/no/such")
    future = process.future
    assert not future.done()
    process.start()

    assert future.result(DEADLINE) is process


def test_it_can_be_awaited_and_is_started_if_need_be(stage: Stage) -> None:
    async def main() -> list[str]:
        started = stage.process("echo started").start()
        done = [await started, await stage.process("echo awaited")]
        done += await asyncio.gather(*[_awaited(stage.process(f"echo {n}")) for n in range(5)])
        return [process.stdout for process in done]

    assert asyncio.run(main()) == ["started\n", "awaited\n", *[f"{n}\n" for n in range(5)]]


async def _awaited(process: Process) -> Process:
    return await process


def test_to_await_does_not_block_the_loop_and_giving_up_ends_only_the_wait(stage: Stage) -> None:
    process = stage.process("cat")

    async def main() -> str:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_awaited(process), 0.02)
        assert process.running
        waiting = asyncio.ensure_future(_awaited(process))
        await asyncio.sleep(0)
        process.close_stdin()
        return "ended" if (await waiting).ended else "running"

    assert asyncio.run(main()) == "ended"
    assert process.finished_ok


# -- reset -------------------------------------------------------------------------------------------------------------


def test_a_reset_process_is_as_new_and_can_start_again(stage: Stage) -> None:
    process = stage.shell("echo $$; exit 3", name="twice", timeout=100).run(DEADLINE)
    first = process.stdout
    assert process.reset() is process

    assert (process.started, process.ended, process.exit_code, process.stdout) == (False, False, None, "")
    assert (process.start_date, process.end_date, process.pid, process.ok) == (None, None, None, True)
    assert (process.name, process.timeout) == ("twice", 100.0)
    assert process.run(DEADLINE).exit_code == 3
    assert process.stdout != first


def test_reset_ends_a_running_process(stage: Stage) -> None:
    process = stage.process("sleep 1000").start()
    pid = process.pid
    process.reset()

    assert not process.started
    assert not Path(f"/proc/{pid}").exists()


def test_reset_of_a_new_process_changes_nothing(stage: Stage) -> None:
    assert stage.process("echo new").reset().run(DEADLINE).stdout == "new\n"


def test_reset_forgets_flags_and_positions(stage: Stage) -> None:
    process = stage.process("echo text").run(DEADLINE)
    assert process.expect("text", 0)[0] == 0
    assert process.expect("more", DEADLINE)[0] is None
    process.write("late")
    assert (process.expect_fail, process.write_error) == (True, True)
    process.reset()
    assert (process.expect_fail, process.write_error) == (False, False)

    assert process.run(DEADLINE).expect("text", 0)[0] == 0


# -- as text -----------------------------------------------------------------------------------------------------------


def test_repr_is_the_call_that_makes_it() -> None:
    assert repr(Process("sleep 1")) == "Process('sleep 1')"
    process = Process(
        ["a", "b c"], shell=True, pty=True, kill_subprocesses=False, timeout=5, nolog_error=True, ignore_timeout=True,
        default_expect_timeout=3, default_stderr_handler=False, cwd="/", env={"A": "1"}, rlimits={"nofile": 9},
        output_limit=7,
    )  # fmt: skip

    made = eval(repr(process), {"Process": Process})
    assert repr(made) == repr(process)
    for name, value in vars(process).items():
        if name != "_run":
            assert getattr(made, name) == value


def test_str_tells_all_about_it(stage: Stage) -> None:
    process = stage.shell("exit 3", name="n").run(DEADLINE)

    text = str(process)
    assert text.startswith("<Process('exit 3', name=n, started=True, start_date=20")
    facts = dict(re.findall(r"(\w+)=([^,)]*)", text))
    assert {k: facts[k] for k in ("ended", "killed", "forced_kill", "error", "error_reason", "timeouted")} == {
        "ended": "True", "killed": "False", "forced_kill": "False", "error": "False", "error_reason": "None",
        "timeouted": "False",
    }  # fmt: skip
    assert {k: facts[k] for k in ("expect_fail", "write_error", "exit_code", "ok", "pid")} == {
        "expect_fail": "False", "write_error": "False", "exit_code": "3", "ok": "False", "pid": str(process.pid),
    }  # fmt: skip


def test_str_tells_why_it_could_not_start(stage: Stage) -> None:
    text = str(stage.process("/no/such").run(DEADLINE))

    assert "error_reason=[Errno 2] No such file or directory: '/no/such'" in text


def test_text_is_coloured_where_that_is_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process("it's \\here")
    plain = (str(process), repr(process), process.dump())
    monkeypatch.setitem(configuration, "color_mode", True)

    coloured = (str(process), repr(process), process.dump())
    assert all("\x1b[" in text for text in coloured)
    assert tuple(re.sub(r"\x1b\[[0-9;]*m", "", text) for text in coloured) == plain


def test_a_dump_shows_what_is_kept_and_nothing_else(stage: Stage) -> None:
    process = stage.shell("echo out; echo err >&2", default_stderr_handler=False).run(DEADLINE)

    assert process.dump() == f"{process}\nstdout:\nout\n"


def test_stats_count_one_process(stage: Stage) -> None:
    nothing: dict[str, Any] = {
        "name": "n", "start_date": None, "end_date": None, "num_processes": 1, "num_started": 0, "num_ended": 0,
        "num_errors": 0, "num_timeouts": 0, "num_forced_kills": 0, "num_non_zero_exit_codes": 0, "num_expect_fail": 0,
        "num_write_error": 0, "num_ok": 1, "num_finished_ok": 0, "sub_stats": [],
    }  # fmt: skip
    assert Process("true", name="n").stats() == nothing
    done = stage.process("true", name="n").run(DEADLINE)
    dates = {"start_date": done.start_date, "end_date": done.end_date}
    assert done.stats() == nothing | dates | {"num_started": 1, "num_ended": 1, "num_finished_ok": 1}


@pytest.mark.parametrize(
    ("what", "key"),
    [
        ("exit_code", "num_non_zero_exit_codes"),
        ("timeout", "num_timeouts"),
        ("error", "num_errors"),
        ("expect_fail", "num_expect_fail"),
        ("write_error", "num_write_error"),
    ],
)
def test_stats_count_what_went_wrong(what: str, key: str) -> None:
    stats = ended(what).stats()

    assert (stats[key], stats["num_ok"], stats["num_finished_ok"]) == (1, 0, 0)
    failures = {"num_non_zero_exit_codes", "num_timeouts", "num_errors", "num_expect_fail", "num_write_error"}
    wrong = {name for name in failures if stats[name]} - ({"num_non_zero_exit_codes"} if what == "timeout" else set())
    assert wrong == {key}


# -- where it runs -----------------------------------------------------------------------------------------------------


def test_the_environment_is_that_of_the_program_or_the_one_that_is_given(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "é \udc80")
    assert b"OURS=\xc3\xa9 \x80\n" in stage.process("env").run(DEADLINE).stdout_bytes

    given = words(stage.process("/usr/bin/env", env={"ONLY": "this"}))
    assert [word for word in given if not word.startswith("REGISSEUR_")] == ["ONLY=this"]


def test_a_program_is_looked_up_in_the_path_it_gets(stage: Stage, odd: Path) -> None:
    assert words(stage.process("fine", env={"PATH": f"/no:{odd}"}, cwd="/")) == ["/"]
    assert stage.process("fine").run(DEADLINE).error


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "a\0b"}])
def test_an_impossible_variable_is_an_error_of_the_caller(stage: Stage, env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        stage.process("true", env=env).start()


def test_environment_and_directory_are_those_of_the_moment_of_the_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    processes = []
    for n in range(50):
        (tmp_path / str(n)).mkdir()
        monkeypatch.chdir(tmp_path / str(n))
        monkeypatch.setenv("NUMBER", str(n))
        processes.append(stage.shell("echo $NUMBER; basename $(pwd); pwd").start())
        processes.append(stage.shell("pwd", cwd="..").start())

    for n in range(50):
        assert processes[2 * n].wait(DEADLINE).stdout.split() == [str(n), str(n), f"{tmp_path}/{n}"]
        assert processes[2 * n + 1].wait(DEADLINE).stdout.split() == [str(tmp_path)]


def test_a_directory_that_is_gone_is_no_hindrance(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert stage.process("echo here").run(DEADLINE).stdout == "here\n"
    assert stage.process("pwd", cwd="/").run(DEADLINE).stdout == "/\n"
    monkeypatch.chdir(tmp_path)


def test_limits_are_those_of_the_child_alone(stage: Stage) -> None:
    script = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -St; ulimit -Ht"

    process = stage.shell(script, rlimits={"nofile": (50, 60), "core": 0, "cpu": (100, None)})

    hard = stage.shell("ulimit -Ht").run(DEADLINE).stdout.split()
    assert words(process) == ["50", "60", "0", "100", *hard]
    assert words(stage.shell("ulimit -Sn")) != ["50"]


def test_an_unknown_limit_is_an_error_of_the_caller(stage: Stage) -> None:
    with pytest.raises(ValueError, match="unknown resource limit 'files'"):
        stage.process("true", rlimits={"files": 3}).start()


def test_it_leads_a_session_of_its_own(stage: Stage) -> None:
    process = stage.process("cat /proc/self/stat").run(DEADLINE)

    pid, _, _, parent, group, session, terminal = process.stdout.split()[:7]
    assert int(pid) == int(group) == int(session) == process.pid
    assert (int(parent), terminal) == (os.getpid(), "0")


def test_it_gets_no_descriptor_but_the_first_three(stage: Stage, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        others = [stage.process("cat").start() for _ in range(5)]
        process = stage.process("ls -l /proc/self/fd").run(DEADLINE)

    found = re.findall(r" (\d+) -> (\S+)", process.stdout)
    assert [(number, name.partition(":")[0]) for number, name in found[:3]] == [(n, "pipe") for n in "012"]
    assert len(found) == 4  # and the directory that ls lists
    assert all(other.pid for other in others)


@pytest.mark.parametrize("pty", [False, True])
def test_it_gets_an_empty_signal_mask_and_no_ignored_signals(stage: Stage, pty: bool) -> None:
    status = stage.process("cat /proc/self/status", pty=pty).run(DEADLINE).stdout

    masks = dict(re.findall(r"Sig(Blk|Ign|Cgt):\s*(\w+)", status))
    below = (1 << 31) - 1  # 32 and 33 are the C library's own
    assert [int(masks[name], 16) & below for name in ("Blk", "Ign", "Cgt")] == [0, 0, 0]


# -- beside the rest of the program ------------------------------------------------------------------------------------


def test_a_script_may_use_subprocess_and_sigchld_beside_ours() -> None:
    script = """
import os, signal, subprocess, sys
from regisseur.actors import Process
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append(1))
for n in range(10):
    ours = [Process(f"sh -c 'exit {n}'", nolog_exit_code=True).start() for _ in range(5)]
    theirs = [subprocess.Popen(["sh", "-c", f"exit {n}"]) for _ in range(5)]
    assert os.waitstatus_to_exitcode(os.system(f"exit {n}")) == n
    assert subprocess.run(["echo", "x"], capture_output=True, check=True).stdout == b"x\\n"
    assert [p.wait(30).exit_code for p in ours] == [n] * 5
    assert [p.wait(30) for p in theirs] == [n] * 5
assert heard
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_a_script_that_waits_for_any_child_does_not_hang_us() -> None:
    script = """
import os, threading
from regisseur.actors import Process

def wait_for_any():
    while True:
        try:
            os.wait()
        except ChildProcessError:
            pass

threading.Thread(target=wait_for_any, daemon=True).start()
processes = [Process("echo out", nolog_error=True).start() for _ in range(100)]
for process in processes:
    assert process.wait(30).ended, process
    assert process.error != (process.exit_code == 0), process
    assert process.stdout == "out\\n", process
    assert not process.error or "other code of this program" in str(process.error_reason)
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_a_signal_handler_that_raises_a_timeout_ends_the_wait_with_it() -> None:
    script = """
import signal
from regisseur.actors import Local, Process
def ring(number, frame):
    raise TimeoutError("of the script")
signal.signal(signal.SIGALRM, ring)
process, action = Process("sleep 1000").start(), Local("sleep 1000").start()
for wait in (process.wait, lambda: process.wait(1000), action.wait, action.future.get):
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        print("no error but", wait())
    except TimeoutError as error:
        print(error)
"""
    assert run_script(script) == "of the script\n" * 4


def test_ignored_sigchld_does_not_hang_us() -> None:
    script = """
import signal
from regisseur.actors import Process
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
process = Process("echo out", nolog_error=True).run(30)
assert process.ended and process.error and process.stdout == "out\\n", process
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_a_handle_that_came_with_a_fork_says_whose_it_is(stage: Stage) -> None:
    script = """
import os, sys, pykka
from regisseur.actors import Process, ExpectOutputHandler

running = Process("cat").start()
pid = running.pid
ended = Process("echo before").run()
new = Process("echo after")
child = os.fork()
if child == 0:
    uses = {
        "wait": lambda: running.wait(30), "future": lambda: running.future.result(30), "kill": running.kill,
        "write": lambda: running.write("x"), "close_stdin": running.close_stdin, "lines": running.lines,
        "expect": lambda: running.expect("x", 30),
    }
    for name, use in uses.items():
        try:
            use()
            print("no error from", name)
        except pykka.ActorDeadError as error:
            assert "fork" in str(error), error
    with running:
        pass
    assert (running.pid, ended.wait().stdout, ended.ok) == (pid, "before\\n", True)
    assert new.run(30).stdout == "after\\n"
    assert Process("echo own").run(30).stdout == "own\\n"
    print("child ok", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert running.running
running.close_stdin()
assert running.wait(30).ok
print("parent ok")
"""
    assert run_script(script) == "child ok\nparent ok\n"


def test_workers_of_multiprocessing_have_processes_of_their_own() -> None:
    script = """
import multiprocessing, warnings
from regisseur.actors import Process
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: that a program with threads forks

def work(n):
    return Process(f"echo {n}").run(30).stdout

if __name__ == "__main__":
    assert work(0) == "0\\n"
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(work, range(20)) == [f"{n}\\n" for n in range(20)]
    print("ok")
"""
    assert run_script(script) == "ok\n"


def test_importing_starts_nothing() -> None:
    script = """
import os, sys, threading, signal
fds = os.listdir("/proc/self/fd")
import regisseur.actors
from regisseur.actors import *
assert threading.active_count() == 1, threading.enumerate()
assert os.listdir("/proc/self/fd") == fds
assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
print("ok")
"""
    assert run_script(script) == "no child\nok\n"


def test_the_first_process_may_be_started_in_any_thread() -> None:
    script = """
import threading
from regisseur.actors import Process
out = []
thread = threading.Thread(target=lambda: out.append(Process("echo thread").run(30).stdout))
thread.start(); thread.join()
assert out == ["thread\\n"]
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_a_program_ends_with_running_processes_at_once_and_leaves_none() -> None:
    script = """
import sys, time
from regisseur.actors import Process
processes = [Process("sleep 1000").start() for _ in range(20)]
processes.append(Process("trap '' TERM; echo up; while :; do sleep 1000; done", shell=True).start())
processes[-1].expect("up", 30)
print(*[process.pid for process in processes], flush=True)
print(time.monotonic())
"""
    pids, then = run_script(script).splitlines()
    took = time.monotonic() - float(then)

    assert not [pid for pid in pids.split() if Path(f"/proc/{pid}").exists()]
    assert took < DEADLINE, took


def test_a_runtime_that_stops_ends_its_processes_and_they_are_killed_not_failed() -> None:
    with Ears() as ears:
        with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
            processes = [Process("sleep 1000").start() for _ in range(5)]
            stubborn = Process("trap '' TERM; echo up; while :; do sleep 1000; done", shell=True).start()
            assert stubborn.expect("up", DEADLINE)[0] == 0
            waiting = concurrent.futures.ThreadPoolExecutor(1)
            wait = waiting.submit(processes[0].wait)

        assert wait.result(DEADLINE) is processes[0]
        waiting.shutdown()
        assert ears.all() == []
    assert [(p.ended, p.killed, p.exit_code, p.ok) for p in processes] == [(True, True, -15, True)] * 5
    assert (stubborn.ended, stubborn.forced_kill, stubborn.exit_code) == (True, True, -9)


def test_when_the_runtime_has_been_stopped_a_new_one_is_used(stage: Stage) -> None:
    with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
        process = stage.process("cat").start()
    process.kill()
    with pytest.raises(ValueError, match="not started"):
        stage.process("cat").write("x")
    process.write("x")

    assert process.write_error
    assert stage.process("echo again").run(DEADLINE).stdout == "again\n"


@pytest.mark.slow
def test_all_processes_are_gone_soon_after_the_controller_is_killed() -> None:
    script = """
import time
from regisseur.actors import Process
stubborn = "trap '' TERM HUP INT; echo up; while :; do sleep 1000; done"
processes = [Process(stubborn, shell=True).start() for _ in range(3)]
processes.append(Process(f"({stubborn}) & wait", shell=True).start())
processes.append(Process(f"setsid sh -c \\"{stubborn}\\" & wait", shell=True).start())
jobs = "set -m; (trap \\"\\" TERM HUP; echo up; sleep 1000) & wait"
processes.append(Process(["bash", "--norc", "-i", "-c", jobs], pty=True).start())
for process in processes:
    assert process.expect("up", 30)[0] == 0
print(*[process.pid for process in processes], flush=True)
time.sleep(1000)
"""
    controller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert controller.stdout is not None
        pids = [int(pid) for pid in controller.stdout.readline().split()]
        assert len(pids) == 6
        sessions = members(set(pids))
        assert len(sessions) >= 12
    finally:
        controller.kill()
        controller.communicate()
    killed = time.monotonic()
    while left := {pid for pid in sessions if alive(pid)}:
        assert time.monotonic() - killed < DEADLINE, left
    print(f"gone after {time.monotonic() - killed:.2f} s")


def members(leaders: set[int]) -> set[int]:
    """The processes of these sessions, and what descends from them."""
    from regisseur.actors._proctable import Snapshot

    table = Snapshot.take()
    return {pid for leader in leaders for pid in (*table.session(leader), *table.descendants(leader))}


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_quiet_processes_are_those_of_the_tests() -> None:
    assert set(QUIET) == {f"nolog_{flag}" for flag in FLAGS}
