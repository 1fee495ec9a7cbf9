"""Commands with a connection of their own each: what is made of refusals, of the window, and of what is not ssh."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB, STUB_PARAMS
from processes import DEADLINE, QUIET, run_out_of_time, run_script
from regisseur.actors import _connector_actor, _lost
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.connection_errors import ConnectionFailedError, ConnectionLostError, HostBusyError
from regisseur.actors.process import ProcessLifecycleHandler
from regisseur.actors.remote import Remote
from regisseur.actors.shared_input import SharedInput
from shells import marked, wait_for_death
from sshd import Sshd

pytestmark = pytest.mark.usefixtures("stage")

REFUSAL = "kex_exchange_identification: Connection closed by remote host"
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def refusing(tmp_path: Path) -> Make:
    """Makes connection parameters with a connector that the host refuses *times* times, and then is the stub.

    *first* is what the connector does besides when it is refused.
    """

    def make(times: int, first: str = "", said: str = REFUSAL, **params: Any) -> dict[str, Any]:
        program = tmp_path / "connector"
        count = tmp_path / "count"
        count.touch()
        program.write_text(
            f'#!/bin/sh\necho x >> {count}\nif [ "$(wc -l < {count})" -le {times} ]; then\n'
            f"{first}\necho '{said}' >&2; exit 255; fi\nexec {STUB} \"$@\"\n"
        )
        program.chmod(0o755)
        return {**STUB_PARAMS, "ssh": str(program), **params}

    return make


def tries(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text().split())


class Heard(ProcessLifecycleHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, process: Any) -> None:
        self.calls.append("start")

    def end(self, process: Any) -> None:
        self.calls.append("end")


def test_refusals_of_a_busy_host_are_seen_by_nobody(refusing: Make, tmp_path: Path) -> None:
    heard, lines = Heard(), []
    process = SshProcess(
        "cat; echo mine >&2",
        "h1",
        refusing(2),
        lifecycle_handlers=[heard],
        stderr_handlers=[lambda process, stream, line: lines.append(line)],
        **QUIET,
    ).start()
    process.write("given\n")
    process.close_stdin()
    process.wait(DEADLINE)

    assert (process.ok, process.stdout, process.stderr) == (True, "given\n", "mine\n")
    assert (process.write_error, process.error_reason) == (False, None)
    assert heard.calls == ["start", "end"]
    assert "".join(lines) == "mine\n"
    assert tries(tmp_path) == 3


def test_what_was_taken_by_a_connector_that_was_refused_is_given_to_the_next(refusing: Make, tmp_path: Path) -> None:
    process = SshProcess("cat", "h1", refusing(1, first="read -r x"), **QUIET).start()
    process.write("one\n")
    process.write("two\n")
    process.close_stdin()

    assert process.wait(DEADLINE).stdout == "one\ntwo\n"
    assert tries(tmp_path) == 2


def test_a_connector_that_closes_its_streams_before_it_is_refused_leaves_no_trace(refusing: Make) -> None:
    params = refusing(1, first="exec <&- >&-")
    process = SshProcess("cat", "h1", params, **QUIET).start()
    process.write("x" * 1_000_000)
    process.close_stdin()
    process.wait(DEADLINE)

    assert (process.ok, len(process.stdout), process.write_error, process.stdout_ioerror) == (
        True,
        1_000_000,
        False,
        False,
    )


def test_a_shared_input_is_read_from_its_beginning_again(refusing: Make) -> None:
    shared = SharedInput()
    shared.append(b"all of it\n")
    shared.end()
    process = SshProcess("cat", "h1", refusing(1, first="read -r x"), **QUIET).start()
    shared.feed(process)

    assert process.wait(DEADLINE).stdout == "all of it\n"
    shared.close()


def test_more_input_than_is_kept_makes_a_further_try_impossible(
    refusing: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_connector_actor, "MOST_INPUT", 1 << 20)
    process = SshProcess("cat", "h1", refusing(1, first="head -c 1048577 >/dev/null"), **QUIET).start()
    process.write("x" * ((1 << 20) + 1))
    process.wait(DEADLINE)

    assert isinstance(process.error_reason, HostBusyError)
    assert process.error_reason.too_much_input == 1 << 20
    assert "not tried again: more than 1 MiB" in str(process.error_reason)
    assert tries(tmp_path) == 1


def test_a_host_that_stays_busy_is_an_error_with_what_the_last_connector_said(refusing: Make, tmp_path: Path) -> None:
    process = SshProcess("true", "h1", refusing(9, connect_retries=2), **QUIET).run(DEADLINE)

    assert isinstance(process.error_reason, HostBusyError)
    assert (process.error, process.exit_code, process.stderr) == (True, None, f"{REFUSAL}\n")
    assert tries(tmp_path) == 3


@pytest.mark.parametrize(
    "said", ["no ssh at all: try again later", "ssh: connect to host h1 port 22: No route to host"]
)
def test_what_is_no_refusal_is_not_tried_again(refusing: Make, tmp_path: Path, said: str) -> None:
    process = SshProcess("true", "h1", refusing(1, said=said), **QUIET).run(DEADLINE)

    assert isinstance(process.error_reason, ConnectionFailedError)
    assert process.stderr == f"{said}\n"
    assert tries(tmp_path) == 1


def test_words_of_a_refusal_by_the_command_are_its_own(refusing: Make, tmp_path: Path) -> None:
    process = SshProcess(f"echo '{REFUSAL}' >&2; exit 255", "h1", refusing(0), **QUIET).run(DEADLINE)

    assert (process.exit_code, process.error, process.stderr) == (255, False, f"{REFUSAL}\n")
    assert tries(tmp_path) == 1


def test_a_command_that_has_begun_is_never_started_twice(refusing: Make, tmp_path: Path) -> None:
    params = refusing(0)
    text = f"echo x >> {tmp_path}/count\n{STUB} \"$@\" 2>&1 | cat >&2\necho '{REFUSAL}' >&2\nexit 255"
    (tmp_path / "connector").write_text(f"#!/bin/sh\n{text}\n")
    process = SshProcess("echo", "h1", params, **QUIET).run(DEADLINE)

    assert isinstance(process.error_reason, ConnectionLostError)
    assert tries(tmp_path) == 1


def test_what_a_connector_says_is_seen_when_the_command_begins(refusing: Make, tmp_path: Path) -> None:
    process = SshProcess("cat", "h1", STUB_PARAMS, **QUIET)
    (tmp_path / "connector").write_text(f'#!/bin/sh\necho Welcome >&2\nexec {STUB} "$@"\n')
    (tmp_path / "connector").chmod(0o755)
    process.connection_params = {**STUB_PARAMS, "ssh": str(tmp_path / "connector")}
    process.start()

    assert process.expect("Welcome", DEADLINE, stream=2)[0] == 0
    process.close_stdin()
    assert process.wait(DEADLINE).stderr == "Welcome\n"


def test_a_connector_that_hides_the_beginning_is_believed_when_its_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "connector").write_text("#!/bin/sh\necho by itself >&2\nexec cat >/dev/null\n")
    (tmp_path / "connector").chmod(0o755)
    params = {**STUB_PARAMS, "ssh": str(tmp_path / "connector"), "connect_timeout": 0.2}
    process = SshProcess("ignored", "h1", params, **QUIET).start()

    assert process.expect("by itself", DEADLINE, stream=2)[0] == 0
    process.close_stdin()
    assert process.wait(DEADLINE).ok


@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_a_kill_or_a_timeout_between_two_tries_ends_it_at_once(
    refusing: Make, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def pause_before(retry: int) -> float:
        pauses.append(retry)
        os.close(write)
        return 1e6

    read, write = os.pipe()
    monkeypatch.setattr(_connector_actor, "pause_before", pause_before)
    process = SshProcess("true", "h1", refusing(1), **QUIET, timeout=1000).start()
    assert select.select([read], [], [], DEADLINE)[0]
    assert os.read(read, 1) == b""  # it is in the pause now
    os.close(read)
    if how == "kill":
        process.kill()
    else:
        run_out_of_time(process)
    process.wait(DEADLINE)

    assert pauses == [1]
    assert (process.ended, process.killed, process.error, process.exit_code) == (True, True, False, -signal.SIGTERM)
    assert (process.timeouted, process.ok) == (how == "timeout", how == "kill")


def test_a_kill_of_a_connector_that_is_refused_meanwhile_ends_it(refusing: Make, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    params = refusing(
        9, first=f"trap 'echo \"{REFUSAL}\" >&2; exit 255' TERM; echo > {go}; while :; do sleep 0.05; done"
    )
    process = SshProcess("true", "h1", params, **QUIET).start()
    go.read_bytes()
    process.kill().wait(DEADLINE)

    assert (process.killed, process.error, process.stderr) == (True, False, "")
    assert tries(tmp_path) == 1


def test_no_more_connectors_than_the_window_has_are_connecting(tmp_path: Path) -> None:
    """Each waits until it is let go; those behind are not there before."""
    gate, seen = tmp_path / "gate", tmp_path / "seen"
    for fifo in (gate, seen):
        os.mkfifo(fifo)
    with open(gate, "r+b", 0) as opening, open(seen, "r+b", 0) as there:
        (tmp_path / "connector").write_text(f'#!/bin/sh\necho > {seen}; read -r x < {gate}\nexec {STUB} "$@"\n')
        (tmp_path / "connector").chmod(0o755)
        params = {**STUB_PARAMS, "ssh": str(tmp_path / "connector"), "connect_window": 2}
        processes = [SshProcess("echo done", "h1", params, **QUIET).start() for _ in range(5)]
        late = processes.pop().kill().wait(DEADLINE)
        assert [there.read(1), there.read(1)] == [b"\n", b"\n"]

        assert (late.killed, late.exit_code, late.pid) == (True, -signal.SIGTERM, None)  # it was never started
        assert [process._run.life.state for process in processes] == ["running", "running", "connecting", "connecting"]
        opening.write(b"\n" * 4)
        assert {process.wait(DEADLINE).stdout for process in processes} == {"done\n"}


@pytest.mark.requires_sshd
def test_many_at_once_are_all_let_in_by_a_server_that_takes_three(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd(MaxStartups="3:100:3")
    params = {**server.connection_params, "multiplex": False}
    remote = Remote("echo hi", [server.address] * 25, params, process_args=QUIET).run(DEADLINE)

    assert [each.error_reason for each in remote.processes if not each.ok] == []
    assert {(each.stdout, each.stderr) for each in remote.processes} == {("hi\n", "")}


def test_signals_for_a_connector_that_is_still_being_started_reach_it(refusing: Make) -> None:
    process = SshProcess("sleep 1000", "h1", refusing(0), **QUIET).start().kill(signal.SIGINT).wait(DEADLINE)

    assert process.killed


# -- connectors to this very machine -----------------------------------------------------------------------------------


def connector(text: str) -> dict[str, Any]:
    """Connection parameters with a connector that runs the command, which is its last argument, by *text*."""
    # No program of its own: one that was written just now may be busy, as long as another thread makes a process.
    return {**STUB_PARAMS, "ssh": ("sh", "-c", f"while [ $# -gt 1 ]; do shift; done; {text}", "connector")}


EXEC, CHILD = 'exec sh -c "$1"', 'sh -c "$1"; exit $?'


def watchers(process: SshProcess) -> list[int]:
    return marked("regisseur-watcher", process._token.partition(".")[0])


@pytest.mark.parametrize("text", [EXEC, CHILD])
@pytest.mark.parametrize("pty", [False, True])
def test_no_watcher_runs_or_stays_where_the_connector_runs_commands_on_this_machine(text: str, pty: bool) -> None:
    processes = [SshProcess("echo up; read -r x", "h1", connector(text), pty=pty, **QUIET).start() for _ in range(3)]
    for process in processes:
        assert process.expect("up", DEADLINE)[0] == 0
    assert [pid for process in processes for pid in watchers(process)] == []

    for process in processes:
        process.write("\n")

    assert [process.wait(DEADLINE).exit_code for process in processes] == [0, 0, 0]
    assert [pid for process in processes for pid in watchers(process)] == []


def test_a_connector_that_passes_no_environment_on_has_a_watcher() -> None:
    params = connector('exec env -i PATH="$PATH" sh -c "$1"')
    process = SshProcess("echo up; exec sleep 1000", "h1", params, **QUIET).start()
    assert process.expect("up", DEADLINE)[0] == 0
    until = time.monotonic() + DEADLINE
    while not (found := watchers(process)):
        assert time.monotonic() < until

    process.kill().wait(DEADLINE)

    for pid in found:
        wait_for_death(pid)


ELSEWHERE = 'unset REGISSEUR_HERE; exec sh -c "$1"'


def started(
    params: dict[str, Any], cmd: str = "trap 'echo usr' USR1; echo up; while :; do read -r x; done"
) -> SshProcess:
    process = SshProcess(cmd, "h1", params, **QUIET).start()
    assert process.expect("up", DEADLINE)[0] == 0
    return process


def test_a_signal_for_a_command_elsewhere_goes_there_over_another_connection(tmp_path: Path) -> None:
    process = started(connector(f"echo x >> {tmp_path}/made; {ELSEWHERE}"))
    process.kill(signal.SIGUSR1)

    assert process.expect("usr", DEADLINE)[0] == 0
    assert process.kill().wait(DEADLINE).exit_code == -signal.SIGTERM
    assert (tmp_path / "made").read_text() == "x\n" * 3
    assert not process.forced_kill


def test_where_no_other_connection_can_be_had_the_connector_gets_the_signal(tmp_path: Path) -> None:
    refuse = 'echo "h1: Permission denied (publickey)." >&2; exit 255'
    process = started(connector(f"mkdir {tmp_path}/once 2>/dev/null || {{ {refuse}; }}; {ELSEWHERE}"))

    assert process.kill().wait(DEADLINE).exit_code == -signal.SIGTERM
    assert (process.killed, process.error) == (True, False)


def test_a_connector_that_ends_with_255_for_a_signal_is_told_as_ended_by_it() -> None:
    process = started(connector('trap "kill $!; exit 255" TERM; sh -c "$1" & wait'))

    assert process.kill().wait(DEADLINE).exit_code == -signal.SIGTERM


def test_a_signal_that_ends_nothing_does_not_end_the_connector_where_it_can_not_be_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = started(connector(f"mkdir {tmp_path}/once 2>/dev/null || exit 1; {ELSEWHERE}"))
    caplog.set_level("WARNING")
    process.kill(signal.SIGUSR1)
    until = time.monotonic() + DEADLINE
    while "signal 10 could not be sent" not in caplog.text:
        assert time.monotonic() < until

    assert process.running
    process.kill(signal.SIGKILL).wait(DEADLINE)


@pytest.mark.parametrize("text", [EXEC, CHILD])
def test_what_a_connector_to_this_machine_was_running_ends_when_that_is_killed(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what ignores SIGTERM."""
    monkeypatch.setattr(_lost, "_PAUSE", 0.05)
    stubborn = "trap '' TERM HUP; sleep 1000 & echo $$ $! up; wait"
    process = SshProcess(stubborn, "h1", connector(text), **QUIET).start()
    assert process.expect("up", DEADLINE)[0] == 0
    assert process.pid is not None

    os.kill(process.pid, signal.SIGKILL)

    process.wait(DEADLINE)
    for word in process.stdout.split()[:2]:
        wait_for_death(int(word))


@pytest.mark.parametrize("text", [EXEC, CHILD])
def test_what_a_command_leaves_in_the_background_of_this_machine_ends_with_the_program(text: str) -> None:
    script = """
import os, sys
from regisseur.actors._ssh_process import SshProcess
process = SshProcess("sleep 1000 >/dev/null 2>&1 & echo $!", "h1", {"ssh": sys.argv[1:], "multiplex": False}).run(60)
os.kill(int(process.stdout), 0)
print(process.stdout)
"""
    wait_for_death(int(run_script(script, *connector(text)["ssh"])))
