"""Commands over trees of TakTuk's, with the real program, over the stub in place of ssh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB
from processes import DEADLINE, QUIET, run_out_of_time
from regisseur.actors._taktuk_process import TaktukProcess
from regisseur.actors.config import configuration
from regisseur.actors.connection_errors import (
    ConnectionLostError,
    ConnectTimeoutError,
    GatewayLostError,
    RefusedError,
    TaktukMissingError,
)
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host import Host
from regisseur.actors.process import ProcessOutputHandler
from regisseur.actors.remote import Remote
from regisseur.actors.runtime import Runtime, use_runtime
from regisseur.actors.taktuk import TaktukGateway, TaktukRemote
from trees import wait_until

pytestmark = [pytest.mark.requires_taktuk, pytest.mark.usefixtures("stage")]

HOSTS = ["n1", "n2", "n3", "n4", "n5"]
PARAMS: dict[str, Any] = {"taktuk_connector": STUB, "taktuk_connector_options": ()}
CONNECTOR = """#!/bin/sh
# The stub, but for hosts with a fault.
for word; do
    case $word in
        refuse*) echo "ssh: connect to host $word port 22: Connection refused" >&2; exit 255;;
        silent*) exec sleep 1000;;
        busy*)
            if mkdir "$0.$word" 2>/dev/null; then
                echo "kex_exchange_identification: Connection closed by remote host" >&2
                exit 255
            fi;;
        shy*) [ -z "$TAKTUK_RANK$STUB_HOST" ] || { echo "me@$word: Permission denied (publickey)." >&2; exit 255; };;
    esac
done
exec STUB "$@"
""".replace('STUB "', f'{STUB} "')


def remote(cmd: Any, hosts: Any = HOSTS, params: Any = PARAMS, process_args: Any = None, **kwargs: Any) -> TaktukRemote:
    return TaktukRemote(cmd, hosts, params, {**QUIET, **(process_args or {})}, **kwargs)


def said(action: Remote) -> list[str]:
    return [process.stdout.strip() for process in action.processes]


def errors(action: Remote) -> list[type[Any]]:
    return [type(process.error_reason) for process in action.processes]


def wait_until_gone(pids: Iterable[str]) -> None:
    """Wait until there is none of these processes."""
    paths = [Path("/proc", pid) for pid in pids]
    wait_until(lambda: not any(path.exists() for path in paths))


@pytest.fixture
def faulty(tmp_path: Path) -> dict[str, Any]:
    """Parameters by which some hosts can not be connected."""
    path = tmp_path / "connector"
    path.write_text(CONNECTOR)
    path.chmod(0o755)
    return {**PARAMS, "taktuk_connector": str(path), "connect_retries": 2}


# -- commands ----------------------------------------------------------------------------------------------------------


def test_a_command_in_bytes_is_text() -> None:
    assert said(remote(b"echo \xc3\xa9 {{{host}}}", ["n1"]).run(DEADLINE)) == ["é n1"]


def test_each_host_runs_its_own_command_and_its_outputs_and_status_are_its_own() -> None:
    action = remote("echo {{{host}}} $STUB_HOST; echo {{range(5)}} >&2; exit {{[3, 0, 7, 0, 255]}}").run(DEADLINE)

    assert said(action) == [f"{host} {host}" for host in HOSTS]
    assert [process.stderr for process in action.processes] == [f"{number}\n" for number in range(5)]
    assert [process.exit_code for process in action.processes] == [3, 0, 7, 0, 255]
    assert [process.ok for process in action.processes] == [False, True, False, True, False]
    assert errors(action) == [type(None)] * 5


def test_a_host_that_is_there_twice_runs_the_command_twice() -> None:
    action = remote("echo $STUB_HOST", ["n1", "n2", "n1"]).run(DEADLINE)

    assert said(action) == ["n1", "n2", "n1"]


def test_any_bytes_go_through_and_come_back() -> None:
    data = bytes(range(256)) * 300 + b"\n3:abc,\n" * 100 + b"]\1\2\3" * 50 + b"x" * 100_000 + b"\0 no end"
    action = remote("cat; cat >&2 </dev/null").start()
    action.write(data)
    action.close_stdin()
    action.wait(DEADLINE)

    assert [process.stdout_bytes == data for process in action.processes] == [True] * 5
    assert [process.stderr_bytes for process in action.processes] == [b""] * 5
    assert action.ok


def test_what_is_written_to_one_process_comes_to_no_other() -> None:
    action = remote("cat").start()
    for number, process in enumerate(action.processes):
        process.write(f"only {number}\n")
    action.close_stdin()

    assert said(action.wait(DEADLINE)) == [f"only {number}" for number in range(5)]


def test_a_command_may_hold_whatever_a_shell_can_read() -> None:
    assert (
        said(remote("printf '%s\\n' 'a!b' \"[c]\" '\\n' \"it's\" ';'; # ] end").run(DEADLINE))
        == ["a!b\n[c]\n\\n\nit's\n;"] * 5
    )


def test_later_commands_use_the_tree_that_stands_whatever_hosts_of_it_they_are_for() -> None:
    engines = said(remote("echo $PPID").run(DEADLINE))

    assert said(remote("echo $PPID", HOSTS[1:4]).run(DEADLINE)) == engines[1:4]
    assert said(remote("echo $PPID", [*HOSTS, "n6"]).run(DEADLINE))[:5] == engines
    assert said(remote("echo $PPID", ["n6", "n2"]).run(DEADLINE))[1] == engines[1]
    single = TaktukProcess("echo $PPID", "n3", PARAMS).run(DEADLINE)
    assert single.stdout.strip() == engines[2]


def test_hosts_with_other_parameters_are_in_another_tree() -> None:
    first = remote("echo $PPID", ["n1"]).run(DEADLINE)
    other = remote("echo $PPID", [Host("n1", user="other")]).run(DEADLINE)

    assert first.ok
    assert other.ok
    assert said(first) != said(other)


def test_commands_run_side_by_side_on_all_nodes_and_on_some() -> None:
    long = remote("echo begun; cat").start()
    assert len(list(long.expect("begun", timeout=DEADLINE))) == 5
    short = remote("echo {{{host}}}", HOSTS[2:]).run(DEADLINE)
    long.close_stdin()
    long.wait(DEADLINE)

    assert said(short) == HOSTS[2:]
    assert long.ok


def test_a_fan_out_runs_so_many_at_a_time(tmp_path: Path) -> None:
    action = remote(f"mkdir {tmp_path}/running && rmdir {tmp_path}/running", fanout=1).run(DEADLINE)

    assert action.ok


def test_a_detached_command_goes_on_by_itself(tmp_path: Path) -> None:
    mark = tmp_path / "go on"
    os.mkfifo(mark)
    action = remote(f"read x <'{mark}'; echo $x >'{mark}.too'", ["n1"], process_args={"detach": True}).run(DEADLINE)
    assert action.ok
    assert int(action.processes[0].stdout) > 1
    with mark.open("w") as pipe:
        pipe.write("yes\n")

    wait_until(lambda: Path(f"{mark}.too").exists() and Path(f"{mark}.too").read_text() == "yes\n")


# -- the end of commands -----------------------------------------------------------------------------------------------


def test_the_signal_that_ends_a_command_is_its_exit_code() -> None:
    action = remote("kill -{{[15, 9, 11, 1, 2]}} $$").run(DEADLINE)

    assert [process.exit_code for process in action.processes] == [-15, -9, -11, -1, -2]


def test_a_kill_ends_all_that_a_command_has_started_and_nothing_else() -> None:
    others = remote("echo begun; cat").start()
    action = remote("sleep 1000 & setsid sleep 1000 & echo $! $PPID; wait", HOSTS[:3]).start()
    assert len(list(action.expect("[0-9]+ [0-9]+", timeout=DEADLINE))) == 3
    assert len(list(others.expect("begun", timeout=DEADLINE))) == 5
    action.kill().wait(DEADLINE)

    assert [process.exit_code for process in action.processes] == [-15] * 3
    wait_until_gone(text.split()[0] for text in said(action))
    others.close_stdin()
    assert others.wait(DEADLINE).ok


def test_a_kill_in_the_moment_of_the_start_is_never_lost() -> None:
    actions = [remote("exec sleep 1000").start().kill() for _ in range(5)]

    for action in actions:
        assert action.wait(DEADLINE).ended
        assert {process.exit_code for process in action.processes} == {-15}
        assert errors(action) == [type(None)] * 5


def test_the_end_of_the_runtime_kills_commands() -> None:
    with Runtime("other") as runtime, use_runtime(runtime):
        action = remote("echo begun; sleep 1000").start()
        assert len(list(action.expect("begun", timeout=DEADLINE))) == 5

    assert {(process.ended, process.killed, process.error) for process in action.processes} == {(True, True, False)}


def test_a_timeout_ends_what_ignores_sigterm_by_sigkill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "kill_timeout", 0.5)
    remote("true").run(DEADLINE)
    action = remote("trap '' TERM; echo up; while :; do sleep 1000; done", process_args={"timeout": 1000}).start()
    assert len(list(action.expect("up", timeout=DEADLINE))) == 5
    for process in action.processes:
        run_out_of_time(process)
    action.wait(DEADLINE)

    assert {(process.timeouted, process.forced_kill) for process in action.processes} == {(True, True)}
    assert [process.exit_code for process in action.processes] == [-9] * 5


def test_a_slow_handler_holds_up_no_other_process() -> None:
    gate = threading.Event()
    taken: list[int] = []

    class Slow(ProcessOutputHandler):
        def read(self, process: Any, stream: int, string: Any, eof: bool, error: bool) -> None:
            gate.wait(DEADLINE)
            taken.append(len(string))

    slow = TaktukProcess("head -c 20000000 /dev/zero", "n1", PARAMS, stdout_handlers=[Slow()]).start()
    assert said(remote("echo $STUB_HOST").run(DEADLINE)) == HOSTS
    assert not slow.ended
    gate.set()

    assert slow.wait(DEADLINE).ok
    assert sum(taken) == 20_000_000
    assert len(slow.stdout_bytes) == 20_000_000


def test_it_gives_no_terminal() -> None:
    with pytest.raises(ConfigurationError, match="terminal"):
        TaktukProcess("true", "n1", PARAMS, pty=True)
    assert TaktukProcess("true", "n1", {**PARAMS, "pty": True}).run(DEADLINE).ok


# -- hosts that fail ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hosts_that_can_not_be_connected_fail_by_their_own_error_and_no_other(faulty: dict[str, Any]) -> None:
    hosts = ["n1", "refuse-1", "n2", "silent-1", "n3", "busy-1"]
    action = remote("echo $STUB_HOST", hosts, {**faulty, "connect_timeout": 10}).run(DEADLINE)

    assert errors(action) == [type(None), RefusedError, type(None), ConnectTimeoutError, type(None), type(None)]
    assert [process.ok for process in action.processes] == [True, False, True, False, True, True]
    assert [process.error for process in action.processes] == [False, True, False, True, False, False]


def test_a_host_that_other_nodes_may_not_enter_is_connected_from_here(faulty: dict[str, Any]) -> None:
    hosts = [f"shy-{number}" for number in range(8)]
    chain = {**faulty, "taktuk_options": ("-s", "-d", "1")}  # so that all but one are left to nodes

    assert said(remote("echo $STUB_HOST", hosts, chain).run(DEADLINE)) == hosts


def test_a_node_that_dies_fails_only_its_own_processes_and_comes_back() -> None:
    params = {**PARAMS, "taktuk_options": ("-s", "-d", "-1")}  # so that none is behind another
    engines = said(remote("echo $PPID", params=params).run(DEADLINE))
    action = remote("echo begun; cat", params=params).start()
    assert len(list(action.expect("begun", timeout=DEADLINE))) == 5
    os.kill(int(engines[2]), signal.SIGKILL)
    lost = action.processes[2].wait(DEADLINE)
    assert (lost.error, lost.exit_code, type(lost.error_reason)) == (True, None, ConnectionLostError)
    again = remote("echo $PPID", params=params).run(DEADLINE)
    action.close_stdin()
    action.wait(DEADLINE)

    assert again.ok
    assert [one == other for one, other in zip(said(again), engines, strict=True)] == [True, True, False, True, True]
    assert [process.ok for process in action.processes] == [True, True, False, True, True]


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_lost_node_had_not_begun_is_run_again_only_if_that_is_wanted(restart: bool) -> None:
    params = {**PARAMS, "taktuk_options": ("-s", "-d", "-1")}
    engines = said(remote("echo $PPID", params=params).run(DEADLINE))
    os.kill(int(engines[2]), signal.SIGSTOP)
    action = remote("echo $STUB_HOST", params=params, restart_unstarted=restart).start()
    stuck = action.processes[2]
    for process in action.processes:
        if process is not stuck:
            assert process.wait(DEADLINE).ok
    os.kill(int(engines[2]), signal.SIGKILL)
    action.wait(DEADLINE)

    assert stuck.ok is restart
    assert (type(stuck.error_reason), stuck.stdout) == ((type(None), "n3\n") if restart else (ConnectionLostError, ""))


def test_those_behind_a_lost_node_are_connected_again_by_themselves() -> None:
    chain = {**PARAMS, "taktuk_options": ("-s", "-d", "1")}
    with TaktukGateway(HOSTS, chain) as gateway:
        assert gateway.connected == [Host(host) for host in HOSTS]
        engines = remote("echo $PPID $TAKTUK_RANK", params=chain).run(DEADLINE)
        top = next(process for process in engines.processes if process.stdout.split()[1] == "1")
        action = remote("echo begun; cat", params=chain).start()
        assert len(list(action.expect("begun", timeout=DEADLINE))) == 5
        os.kill(int(top.stdout.split()[0]), signal.SIGKILL)
        action.wait(DEADLINE)
        assert errors(action) == [ConnectionLostError] * 5

        assert remote("true", params=chain).run(DEADLINE).ok


def test_the_loss_of_the_root_ends_all_by_one_error_and_the_next_use_deploys_anew() -> None:
    remote("true").run(DEADLINE)
    action = remote("echo begun; cat").start()
    assert len(list(action.expect("begun", timeout=DEADLINE))) == 5
    root = action.processes[0].pid
    assert root is not None
    os.kill(root, signal.SIGKILL)
    action.wait(DEADLINE)

    assert errors(action) == [GatewayLostError] * 5
    assert remote("true").run(DEADLINE).ok


def test_a_gateway_that_can_not_be_reached_is_named_by_the_error(faulty: dict[str, Any]) -> None:
    params = {**faulty, "taktuk_gateway": "refuse-1", "ssh": faulty["taktuk_connector"]}
    action = remote("true", params=params).run(DEADLINE)

    assert errors(action) == [RefusedError] * 5
    assert str(action.processes[0].error_reason).startswith("refuse-1: ")


def test_without_the_program_the_error_says_what_to_install() -> None:
    action = remote("true", params={**PARAMS, "taktuk": "no-such-taktuk"}).run(DEADLINE)

    assert errors(action) == [TaktukMissingError] * 5
    assert "package taktuk" in str(action.processes[0].error_reason)


def test_a_name_that_a_shell_would_take_apart_is_refused() -> None:
    action = remote("true", ["n1;reboot"]).run(DEADLINE)

    assert "as the name of a host" in str(action.processes[0].error_reason)


# -- gateways ----------------------------------------------------------------------------------------------------------


def test_a_gateway_knows_which_hosts_are_connected_and_why_others_are_not(faulty: dict[str, Any]) -> None:
    with TaktukGateway(["n1", "refuse-1", "n2"], {**faulty, "taktuk_idle_timeout": 0}) as gateway:
        assert gateway.wait(DEADLINE).connected == [Host("n1"), Host("n2")]
        assert {host: type(error) for host, error in gateway.unreachable.items()} == {Host("refuse-1"): RefusedError}
        first = said(remote("echo $PPID", ["n1"], {**faulty, "taktuk_idle_timeout": 0}).run(DEADLINE))
        assert said(remote("echo $PPID", ["n1"], {**faulty, "taktuk_idle_timeout": 0}).run(DEADLINE)) == first
    wait_until_gone(first)


def test_a_tree_that_nobody_uses_is_closed_after_its_time() -> None:
    engines = said(remote("echo $PPID", params={**PARAMS, "taktuk_idle_timeout": 0.05}).run(DEADLINE))

    wait_until_gone(engines)


def test_a_remote_to_so_many_hosts_goes_by_taktuk_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "taktuk_from", 5)

    assert all(isinstance(process, TaktukProcess) for process in Remote("true", HOSTS, PARAMS).run(DEADLINE).processes)
    assert not any(isinstance(process, TaktukProcess) for process in Remote("true", HOSTS[1:], PARAMS).processes)


_CONTROLLER = """
import sys
from regisseur.actors.taktuk import TaktukRemote
params = eval(sys.argv[1])
action = TaktukRemote("trap '' TERM HUP; setsid sleep 1000 & echo $! $$ $PPID; while :; do sleep 1000; done",
                      ["n1", "n2", "n3"], params, {"stdout_handlers": [1]}).start()
action.wait()
"""


def test_nothing_is_left_of_a_program_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _CONTROLLER, repr(PARAMS)], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        pids = [pid.decode() for _ in range(3) for pid in program.stdout.readline().split()]
        assert len(pids) == 9
        program.kill()

    wait_until_gone(pids)
