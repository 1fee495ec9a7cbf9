"""Every kind of action on twenty hosts at once."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest

from machine import USER, Machine
from processes import DEADLINE, QUIET, Ears
from regisseur.actors.action import (
    ParallelActions,
    Remote,
    RemoteSerial,
    SequentialActions,
    wait_all_actions,
    wait_any_actions,
    wait_multiple_actions,
)
from regisseur.actors.port_forwarder import PortForwarder

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed]


def test_each_host_runs_the_command(names: list[str], params: dict[str, Any]) -> None:
    action = Remote("uname -n; whoami; echo {{{host}}} >&2", names, params).run(DEADLINE)

    assert [process.stdout for process in action.processes] == [f"{name}\n{USER}\n" for name in names]
    assert [process.stderr for process in action.processes] == [f"{name}\n" for name in names]
    assert action.ok


def test_root_may_log_in_too(names: list[str], usual: dict[str, Any]) -> None:
    action = Remote("whoami", names, {**usual, "user": "root"}).run(DEADLINE)

    assert [process.stdout for process in action.processes] == ["root\n"] * len(names)


def test_actions_on_hosts_are_done_one_after_another_or_side_by_side(names: list[str], usual: dict[str, Any]) -> None:
    half = len(names) // 2
    write = ParallelActions([Remote("echo {{{host}}} >file", part, usual) for part in (names[:half], names[half:])])
    read = Remote("cat file; rm file", names, usual)

    both = SequentialActions([write, read]).run(DEADLINE)

    assert both.ok
    assert [process.stdout for process in read.processes] == [f"{name}\n" for name in names]


def test_who_waits_for_actions_is_told_which_have_ended(names: list[str], usual: dict[str, Any]) -> None:
    actions = [Remote("cat", names[begin::4], usual).start() for begin in range(4)]
    actions[2].close_stdin()
    assert wait_any_actions(actions, DEADLINE) == [actions[2]]
    assert wait_multiple_actions(actions, DEADLINE) == [actions[2]]
    assert wait_all_actions(actions, 0.1) == [actions[2]]
    actions[0].close_stdin()
    assert wait_all_actions([actions[0], actions[2]], DEADLINE) == [actions[0], actions[2]]
    for action in (actions[1], actions[3]):
        action.close_stdin()

    assert wait_all_actions(actions, DEADLINE) == actions
    assert all(action.ok for action in actions)


@pytest.mark.requires_socat
def test_serial_ports_of_all_hosts_are_written_and_read(names: list[str], usual: dict[str, Any]) -> None:
    plug = Remote("socat -d -d pty,raw,echo=0,link=/tmp/port exec:cat", names, usual, process_args=QUIET).start()
    assert [index for _, index, _ in plug.expect("starting data", timeout=DEADLINE, stream=2)] == [0] * len(names)

    ports = RemoteSerial(names, "/tmp/port", 115200, usual, process_args=QUIET).start()
    ports.write("echo\n")

    assert [index for _, index, _ in ports.expect("echo\n", timeout=DEADLINE)] == [0] * len(names)
    ports.kill().wait(DEADLINE)
    plug.kill().wait(DEADLINE)
    assert ports.ok


@pytest.mark.requires_socat
def test_ports_of_all_hosts_are_reached_by_forwarding(names: list[str], usual: dict[str, Any]) -> None:
    serve = "socat -d -d tcp-listen:7777,bind=127.0.0.1,reuseaddr,fork exec:'uname -n'"
    servers = Remote(serve, names, usual, process_args=QUIET).start()
    assert [index for _, index, _ in servers.expect("listening", timeout=DEADLINE, stream=2)] == [0] * len(names)
    said = []
    with ExitStack() as stack:
        forwarders = [PortForwarder(name, "localhost", 7777, connection_params=usual, **QUIET) for name in names]
        for forwarder in forwarders:
            forwarder.start()
        for forwarder in forwarders:
            stack.enter_context(forwarder)
        for forwarder in forwarders:
            with socket.create_connection(("127.0.0.1", forwarder.local_port)) as client:
                said.append(client.makefile().read())
    servers.kill().wait(DEADLINE)

    assert said == [f"{name}\n" for name in names]


def test_bytes_come_as_they_were_written(hosts: list[Machine], names: list[str], params: dict[str, Any]) -> None:
    write = (
        "head -c 300000 /dev/urandom | tee /tmp/written; printf '\\036regisseur:\\000\\377' | tee -a /tmp/written >&2"
    )

    action = Remote(write, names, params).run(DEADLINE)

    written = [(host.disk / "tmp/written").read_bytes() for host in hosts]
    assert [
        process.stdout_bytes + process.stderr_bytes == data
        for process, data in zip(action.processes, written, strict=True)
    ] == [True] * len(names)
    assert {process.stderr_bytes for process in action.processes} == {b"\036regisseur:\0\377"}


def test_a_handler_that_raises_for_one_host_disturbs_no_other(names: list[str], params: dict[str, Any]) -> None:
    seen = dict.fromkeys(names, "")

    def handler(process: Any, _stream: int, text: str) -> None:
        if process.host.address == "node-3":
            raise RuntimeError("of the handler")
        seen[process.host.address] += text

    with Ears() as ears:
        action = Remote("seq 10", names, params, process_args={"stdout_handlers": handler}).run(DEADLINE)

    expected = "".join(f"{number}\n" for number in range(1, 11))
    assert {process.stdout for process in action.processes} == {expected}
    assert action.ok
    assert seen == dict.fromkeys(names, expected) | {"node-3": ""}
    assert "node-3" in "".join(ears.all())
