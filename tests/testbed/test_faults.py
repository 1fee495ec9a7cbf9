"""What becomes of commands when hosts and networks fail under them, and of those on the other hosts: nothing."""

from __future__ import annotations

import time
from typing import Any

from alert import ALERT, SOON
from machine import Machine, until
from marks import SLOW_ON_THE_BED
from processes import DEADLINE, QUIET
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.connection_errors import ConnectionLostError, HostKeyChangedError
from regisseur.actors.known_hosts import forget_host_keys
from regisseur.actors.remote import Remote

pytestmark = SLOW_ON_THE_BED


def test_hosts_that_crash_or_hang_or_are_unplugged_are_lost_soon_and_no_other(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    action = Remote("echo begun; cat", names, {**params, **ALERT}, process_args=QUIET).start()
    assert [index for _, index, _ in action.expect("begun", timeout=DEADLINE)] == [0] * len(hosts)
    failing = {2: Machine.crash, 7: Machine.hang, 11: Machine.unplug}
    since = time.monotonic()
    for index, fail in failing.items():
        fail(hosts[index])
    lost = [action.processes[index].wait(DEADLINE) for index in failing]
    took = time.monotonic() - since
    action.write("still there\n")
    action.close_stdin()
    action.wait(DEADLINE)

    assert [type(process.error_reason) for process in lost] == [ConnectionLostError] * 3
    assert [(process.error, process.exit_code) for process in lost] == [(True, None)] * 3
    assert took < SOON
    others = [process for index, process in enumerate(action.processes) if index not in failing]
    assert {(process.ok, process.stdout) for process in others} == {(True, "begun\nstill there\n")}

    for index in failing:
        hosts[index].heal()
    again = Remote("uname -n", names, params).run(DEADLINE)
    assert [process.stdout for process in again.processes] == [f"{name}\n" for name in names]


def test_output_arrives_whole_where_packets_are_lost_in_the_middle_of_it(
    hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    halves = ["".join(f"{number}\n" for number in part) for part in (range(30000), range(30000, 60000))]
    action = Remote("seq 0 29999; read go; seq 30000 59999", names, usual).start()
    assert [index for _, index, _ in action.expect("29999\n", timeout=DEADLINE)] == [0] * len(hosts)
    for host in hosts[::7]:
        host.lose(20)
    action.write("go\n")
    action.wait(3 * DEADLINE)  # by chance a packet may be lost several times, each time it is waited for twice as long
    assert action.ended

    assert [process.error_reason for process in action.processes if not process.ok] == []
    assert {process.stdout for process in action.processes} == {"".join(halves)}


def test_a_command_goes_on_when_the_server_is_restarted_and_new_ones_find_the_new_server(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    action = Remote("echo begun; cat", names, params).start()
    assert [index for _, index, _ in action.expect("begun", timeout=DEADLINE)] == [0] * len(hosts)
    for host in hosts[:3]:
        host.restart_sshd()

    assert Remote("true", names, params).run(DEADLINE).ok
    action.close_stdin()
    assert action.wait(DEADLINE).ok


def test_only_what_ran_over_connections_that_the_host_drops_has_failed(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    action = Remote("echo begun; cat", names, params, process_args=QUIET).start()
    assert [index for _, index, _ in action.expect("begun", timeout=DEADLINE)] == [0] * len(hosts)
    for host in hosts[:3]:
        host.restart_sshd(connections=True)
    lost = [process.wait(DEADLINE) for process in action.processes[:3]]

    assert [type(process.error_reason) for process in lost] == [ConnectionLostError] * 3
    assert Remote("true", names, params).run(DEADLINE).ok
    action.close_stdin()
    action.wait(DEADLINE)
    assert all(process.ok for process in action.processes[3:])


def test_refusals_of_a_busy_host_are_not_seen_as_failures_of_commands(
    hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    for host in hosts[:2]:
        host.limit(MaxStartups=3, MaxSessions=2)
    many = [names[0], names[1]] * 8 + names

    action = Remote("echo hi", many, usual).run(DEADLINE)

    assert [process.error_reason for process in action.processes if not process.ok] == []
    assert {process.stdout for process in action.processes} == {"hi\n"}


def test_a_host_that_was_deployed_anew_is_refused_until_its_key_is_forgotten(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    params = {**params, "idle_timeout": 0}
    assert Remote("true", names, params).run(DEADLINE).ok
    anew = hosts[4:6]
    for host in anew:
        until(lambda host=host: host.connections() == 0, f"nobody is on {host}")  # type: ignore[misc]  # called at once
        host.redeploy()

    action = Remote("true", names, params, process_args=QUIET).run(DEADLINE)

    refused = [name for name, process in zip(names, action.processes, strict=True) if not process.ok]
    assert refused == [host.name for host in anew]
    assert {type(process.error_reason) for process in action.processes} == {HostKeyChangedError, type(None)}
    assert forget_host_keys(refused, params) == len(anew)
    assert Remote("true", names, params).run(DEADLINE).ok


def test_a_host_that_was_restarted_between_two_uses_is_connected_to_anew(
    hosts: list[Machine], params: dict[str, Any]
) -> None:
    host = hosts[9]
    assert SshProcess("true", host.name, params).run(DEADLINE).ok
    host.crash()
    host.boot()

    process = SshProcess("uname -n", host.name, params).run(DEADLINE)

    assert (process.error_reason, process.stdout) == (None, f"{host.name}\n")
