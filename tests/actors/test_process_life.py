"""Processes: starting, ending, killing, and what they show of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from regisseur.actors import Process, Report
from regisseur.actors.process import ProcessLifecycleHandler

DEADLINE = 10.0
STUBBORN = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"]


def run_script(source: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run *source* as a program of its own."""
    code = textwrap.dedent(source)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, check=False)


def test_a_process_shows_its_whole_story() -> None:
    process = Process("sh -c 'echo out; echo err >&2; exit 3'", nolog_exit_code=True)
    assert (process.started, process.ended, process.running, process.ok, process.pid) == (
        False,
        False,
        False,
        True,
        None,
    )

    assert process.run() is process

    assert (process.started, process.ended, process.running) == (True, True, False)
    assert (process.exit_code, process.ok, process.finished_ok) == (3, False, False)
    assert (process.stdout, process.stderr) == ("out\n", "err\n")
    assert process.start_date is not None
    assert process.end_date is not None
    assert process.start_date <= process.end_date
    assert (process.error, process.timeouted, process.killed, process.forced_kill) == (False, False, False, False)


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_exit_code_is_that_of_the_shell(status: int) -> None:
    assert Process(f"exit {status}", shell=True, nolog_exit_code=True).run().exit_code == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_the_exit_code_of_a_signalled_process_is_the_negative_signal(number: signal.Signals) -> None:
    assert Process(f"kill -{int(number)} $$", shell=True, nolog_exit_code=True).run().exit_code == -number


def test_starting_returns_at_once_and_twice_is_harmless() -> None:
    process = Process("sleep 1000").start()

    assert process.start() is process
    assert process.running
    assert process.pid is not None
    process.kill().wait(DEADLINE)


def test_waiting_for_what_never_started_is_an_error() -> None:
    with pytest.raises(ValueError, match="was not started"):
        Process("true").wait()


def test_a_wait_that_is_too_short_leaves_the_process_alone() -> None:
    process = Process("sleep 1000").start()

    assert process.wait(0.01) is process
    assert process.running
    process.kill().wait(DEADLINE)


@pytest.mark.parametrize(
    ("command", "reason"),
    [(["/nowhere/program"], FileNotFoundError), (["/etc"], PermissionError), (["/etc/passwd"], PermissionError)],
)
def test_a_program_that_can_not_run_is_an_error_and_raises_nothing(command: list[str], reason: type) -> None:
    process = Process(command, nolog_error=True).run(DEADLINE)

    assert (process.started, process.ended, process.error, process.exit_code) == (True, True, True, None)
    assert isinstance(process.error_reason, reason)
    assert not process.ok
    process.ignore_error = True
    assert process.ok


def test_a_working_directory_that_is_missing_is_an_error() -> None:
    process = Process("true", cwd="/nowhere", nolog_error=True).run(DEADLINE)

    assert isinstance(process.error_reason, OSError)
    assert "/nowhere" in str(process.error_reason)


def test_killing_is_ok_and_a_timeout_is_not() -> None:
    killed = Process("sleep 1000").start().kill().wait(DEADLINE)
    late = Process("sleep 1000", timeout=0.05, nolog_timeout=True).run(DEADLINE)

    assert (killed.killed, killed.exit_code, killed.ok) == (True, -15, True)
    assert (late.timeouted, late.killed, late.exit_code, late.ok) == (True, True, -15, False)
    late.ignore_timeout = True
    assert late.ok


def test_a_kill_right_after_the_start_is_never_lost() -> None:
    processes = [Process("sleep 1000").start().kill() for _ in range(50)]

    assert all(process.wait(DEADLINE).ended and process.killed for process in processes)


def test_killing_what_has_not_started_or_has_ended_does_nothing() -> None:
    unstarted, ended = Process("true").kill(), Process("true").run().kill()

    assert (unstarted.killed, ended.killed) == (False, False)


def test_a_process_that_ignores_sigterm_gets_sigkill_after_the_given_time() -> None:
    process = Process(STUBBORN).start()
    process.expect("deaf", timeout=DEADLINE)

    process.kill(auto_force_kill_timeout=0.05).wait(DEADLINE)

    assert (process.forced_kill, process.exit_code, process.ok) == (True, -9, True)


def test_killing_twice_with_different_times_is_harmless() -> None:
    process = Process(STUBBORN).start()
    process.expect("deaf", timeout=DEADLINE)

    process.kill(auto_force_kill_timeout=None).kill(auto_force_kill_timeout=0.05).kill(auto_force_kill_timeout=500)

    assert process.wait(DEADLINE).exit_code == -9
    assert Process("true").run(DEADLINE).ok


def test_other_signals_are_sent_as_they_are() -> None:
    process = Process("trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.02; done", shell=True).start()
    process.expect("up", timeout=DEADLINE)

    process.kill(signal.SIGUSR1).wait(DEADLINE)

    assert (process.exit_code, process.stdout) == (5, "up\ngot\n")
    assert process.ok


def test_killing_a_shell_reaches_all_that_it_started() -> None:
    process = Process("sleep 1001 & sleep 1002 & echo $!; wait", shell=True).start()
    _, match = process.expect(r"(\d+)", timeout=DEADLINE)
    assert match is not None
    child = os.pidfd_open(int(match.group(1)))

    process.kill().wait(DEADLINE)

    poll = select.poll()
    poll.register(child, select.POLLIN)
    assert poll.poll(DEADLINE * 1000)
    os.close(child)


def test_a_grandchild_that_keeps_the_pipes_does_not_delay_the_end() -> None:
    process = Process("sleep 1000 & echo $!", shell=True).run(DEADLINE)

    assert process.ended
    os.kill(int(process.stdout), signal.SIGKILL)


def test_every_process_leads_a_session_of_its_own() -> None:
    process = Process([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"]).run()

    assert process.stdout == "True\n"


def test_no_descriptor_is_inherited_not_even_an_inheritable_one() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        process = Process("ls /proc/self/fd").run()
    finally:
        os.close(read_end)
        os.close(write_end)

    assert process.stdout.split()[:3] == ["0", "1", "2"]
    assert len(process.stdout.split()) == 4  # and the directory itself


def test_environment_directory_and_limits_reach_the_process(tmp_path: Path) -> None:
    process = Process(
        "echo $PLACE $(pwd) $(ulimit -n) $(ulimit -c)",
        shell=True,
        env={"PLACE": "stage", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        rlimits={"nofile": (50, 60), "core": 0},
    ).run()

    assert process.stdout.split() == ["stage", str(tmp_path), "50", "0"]


def test_a_pty_is_the_controlling_terminal_and_ends_lines_with_cr_lf() -> None:
    process = Process("tty; echo through > /dev/tty; echo apart >&2", shell=True, pty=True).run(DEADLINE)

    assert process.ok
    assert process.stdout.startswith("/dev/pts/")
    assert process.stdout.endswith("through\r\n")
    assert process.stderr == "apart\n"


def test_closing_the_input_of_a_pty_is_its_end_of_file() -> None:
    process = Process("cat", pty=True).start()
    process.write("line\n")
    process.expect("line\r\nline", timeout=DEADLINE)

    process.close_stdin()

    assert process.wait(DEADLINE).exit_code == 0


@pytest.mark.parametrize("flag", ["exit_code", "error", "timeout"])
def test_ignoring_and_not_logging_are_independent(flag: str, caplog: pytest.LogCaptureFixture) -> None:
    command = {"exit_code": "false", "error": "/nowhere", "timeout": "sleep 1000"}[flag]
    limit = 0.05 if flag == "timeout" else None

    def warned(**flags: bool) -> tuple[bool, bool]:
        caplog.clear()
        seen = threading.Event()
        handler = logging.Handler()
        handler.emit = lambda record: seen.set()  # type: ignore[method-assign]  # a listener in one line
        logging.getLogger("regisseur").addHandler(handler)
        try:
            process = Process(command, timeout=limit, **flags).run(DEADLINE)  # type: ignore[arg-type]  # flags are bools
            return process.ok, seen.wait(0.0 if flags.get(f"nolog_{flag}") else DEADLINE)
        finally:
            logging.getLogger("regisseur").removeHandler(handler)

    assert warned() == (False, True)
    assert warned(**{f"ignore_{flag}": True}) == (True, True)
    assert warned(**{f"nolog_{flag}": True}) == (False, False)


def test_the_warning_shows_the_command_and_what_it_wrote(caplog: pytest.LogCaptureFixture) -> None:
    seen = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.text = record.getMessage()
            seen.set()

    listener = Listener()
    logging.getLogger("regisseur").addHandler(listener)
    try:
        Process("sh -c 'echo before the fall; echo why >&2; exit 4'").run()
        assert seen.wait(DEADLINE)
    finally:
        logging.getLogger("regisseur").removeHandler(listener)

    assert "terminated: " in listener.text
    for part in ("exit_code=4", "before the fall", "why", "sh -c"):
        assert part in listener.text


def test_a_reset_process_can_run_again() -> None:
    resets = []

    class Resets(ProcessLifecycleHandler):
        def reset(self, process: Process) -> None:
            resets.append(process)

    process = Process("echo once", lifecycle_handlers=[Resets()]).run()
    assert process.reset() is process
    assert (process.started, process.ended, process.stdout, process.exit_code) == (False, False, "", None)
    assert process.run().stdout == "once\n"

    running = Process("sleep 1000").start()
    assert not running.reset().started
    assert resets == [process]


def test_leaving_the_context_kills_without_waiting() -> None:
    with Process("sleep 1000").start() as process:
        assert process.running

    assert process.wait(DEADLINE).killed


def test_lifecycle_handlers_are_told_in_order_also_of_an_error() -> None:
    told: list[str] = []

    class Teller(ProcessLifecycleHandler):
        def start(self, process: Process) -> None:
            told.append(f"start {process.cmd}")

        def end(self, process: Process) -> None:
            told.append(f"end {process.cmd} {process.ended}")
            if len(told) == 4:
                ended.set()

    ended = threading.Event()
    Process("true", lifecycle_handlers=[Teller()]).run()
    Process("/nowhere", lifecycle_handlers=[Teller()], nolog_error=True).run()

    assert ended.wait(DEADLINE)
    assert told == ["start true", "end true True", "start /nowhere", "end /nowhere True"]


def test_text_forms_name_the_command_and_the_story() -> None:
    process = Process(["sh", "-c", "exit 0"], timeout=5, ignore_exit_code=True).run()

    assert repr(process) == "Process(['sh', '-c', 'exit 0'], timeout=5.0, ignore_exit_code=True)"
    assert str(process).startswith("<Process(")
    assert all(part in str(process) for part in ("exit_code=0", "ok=True", f"pid={process.pid}"))
    assert process.dump().startswith(str(process))


def test_names_are_the_squeezed_command_or_the_given_one() -> None:
    assert Process("echo   a    b").name == "echo a b"
    assert len(Process("x" * 100).name) == 39
    assert Process("true", name="mine").name == "mine"


def test_the_numbers_of_a_process_go_into_a_report() -> None:
    processes = [Process("true").run(), Process("false", nolog_exit_code=True).run()]

    stats = Report(processes).stats()

    assert (stats["num_processes"], stats["num_ended"], stats["num_ok"]) == (2, 2, 1)
    assert stats["num_non_zero_exit_codes"] == 1


def test_futures_work_with_concurrent_futures_and_asyncio() -> None:
    processes = [Process("true").start() for _ in range(5)]
    done, not_done = concurrent.futures.wait([p.future for p in processes], DEADLINE)
    assert (len(done), len(not_done)) == (5, 0)
    assert {f.result() for f in done} == set(processes)

    async def main() -> tuple[bool, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        process = await Process("sleep 0.05")
        ticking.cancel()
        return process.ok, ticks

    ok, ticks = asyncio.run(main())
    assert ok
    assert ticks > 10


def test_cancelling_a_wait_does_not_cancel_the_process() -> None:
    async def main() -> Process:
        process = Process("sleep 1000").start()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(_awaited(process)), 0.02)
        return process

    async def _awaited(process: Process) -> None:
        await process

    process = asyncio.run(main())
    assert process.running
    assert not process.future.cancel()
    process.kill().wait(DEADLINE)


def test_the_scripts_own_children_and_sigchld_handler_are_left_alone() -> None:
    done = run_script(
        """
        import os, signal, subprocess
        from regisseur.actors import Process
        seen = []
        signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
        ours = [Process("true").start() for _ in range(20)]
        theirs = [subprocess.Popen(["sh", "-c", f"exit {n}"]) for n in range(20)]
        assert [p.wait() for p in theirs] == list(range(20))
        assert os.system("exit 7") == 7 << 8
        assert all(p.wait().ok for p in ours)
        assert seen
        print("fine")
        """
    )

    assert done.stdout == "fine\n", done.stderr


def test_who_waits_for_any_child_takes_the_status_and_nothing_hangs() -> None:
    done = run_script(
        """
        import os
        from regisseur.actors import Process
        process = Process("sleep 0.1", nolog_error=True).start()
        assert process.pid
        while os.wait()[0] != process.pid:
            pass
        process.wait(20)
        print(process.ended, process.exit_code in (0, None))
        """
    )

    assert done.stdout == "True True\n", done.stderr


@pytest.mark.slow
def test_more_processes_than_descriptors_take_turns() -> None:
    done = run_script(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 256))
        from regisseur.actors import Process
        processes = [Process("sh -c 'sleep 0.02; echo done'").start() for _ in range(200)]
        print(all(p.wait(50).ok and p.stdout == "done\\n" for p in processes))
        """
    )

    assert done.stdout == "True\n", done.stderr


def test_the_limit_of_open_files_is_raised_only_when_needed() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    Process("true").run()

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft


def test_a_handle_of_the_parent_is_useless_in_a_forked_child_and_says_so() -> None:
    done = run_script(
        """
        import os
        from regisseur.actors import Process
        process = Process("sleep 1000").start()
        assert process.pid
        pid = os.fork()
        if pid == 0:
            try:
                process.kill()
            except Exception as error:
                ok = "fork" in str(error)
                fresh = Process("echo fresh").run(20).stdout == "fresh\\n"
                os._exit(0 if ok and fresh else 1)
            os._exit(2)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), process.running)
        process.kill().wait(20)
        print(process.exit_code)
        """
    )

    assert done.stdout == "0 True\n-15\n", done.stderr


def test_a_program_that_ends_takes_its_processes_along() -> None:
    done = run_script(
        """
        from regisseur.actors import Process
        process = Process(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]).start()
        process.expect("up", timeout=20)
        print(process.pid)
        """
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.slow
def test_a_killed_program_takes_its_processes_along() -> None:
    source = """
        import sys
        from regisseur.actors import Process
        process = Process(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]).start()
        process.expect("up", timeout=20)
        print(process.pid, flush=True)
        sys.stdin.read()
        """
    script = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert script.stdout is not None
    assert script.stdin is not None
    pidfd = os.pidfd_open(int(script.stdout.readline()))
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)

    script.kill()
    script.wait()

    assert poll.poll(DEADLINE * 1000)
    os.close(pidfd)
    script.stdout.close()
    script.stdin.close()
