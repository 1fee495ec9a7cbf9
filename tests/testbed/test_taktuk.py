"""Trees of TakTuk's over real hosts, and what becomes of commands when hosts fail under them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from alert import ALERT, SOON
from bed import Bed
from controller import kill_at_random
from machine import Machine
from marks import SLOW_ON_THE_BED
from processes import DEADLINE, QUIET
from regisseur.actors.action import TaktukGet, TaktukPut
from regisseur.actors.connection_errors import ConnectionLostError, GatewayLostError
from regisseur.actors.remote import Remote
from regisseur.actors.taktuk import TaktukGateway, TaktukRemote

pytestmark = [*SLOW_ON_THE_BED, pytest.mark.requires_taktuk]

_SLOTS = 5
"""Further names of each host, for trees of more nodes than there are hosts."""
_PLACE = "echo begun $TAKTUK_RANK $TAKTUK_CHILD_MIN $TAKTUK_CHILD_MAX; cat"


@pytest.fixture
def tree_params(bed: Bed, hosts: list[Machine], usual: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Parameters by which hosts connect others: they have the key, and know all names."""
    config, key = tmp_path / "tree_config", tmp_path / "tree_id"
    original = bed.ssh_config.read_text()
    (identity,) = {line.split()[1] for line in original.splitlines() if line.split()[:1] == ["IdentityFile"]}
    shutil.copy(identity, key)
    slots = (f"Host slot-*-{host.name}\n  HostName {host.address}\n" for host in hosts)
    config.write_text("".join(slots) + original.replace(identity, str(key)))
    for host in hosts:
        place = host.disk / tmp_path.relative_to("/")
        place.mkdir(parents=True)
        for file in (config, key):
            copy = Path(shutil.copy(file, place))
            os.chown(copy, (host.disk / "home/tester").stat().st_uid, -1)
        for directory in [place, *list(place.parents)[: len(tmp_path.parts) - 3]]:
            directory.chmod(0o755)
    options = ("-F", str(config), "-o", "BatchMode=yes")
    return {**usual, "ssh_options": options, "taktuk_connector_options": options}


def begin(names: list[str], params: dict[str, Any], cmd: str = _PLACE) -> TaktukRemote:
    """A command that runs on all of them until its stdin is closed."""
    action = TaktukRemote(cmd, names, params, QUIET).start()
    assert {index for _, index, _ in action.expect("begun", timeout=2 * DEADLINE)} == {0}
    return action


def inner(action: Remote) -> int:
    """The index of a node that has connected others, but not all of them."""
    places = [tuple(map(int, process.stdout.split()[1:4])) for process in action.processes]
    count = [most - least + 1 if least > 0 else 0 for _, least, most in places]
    return max((index for index in range(len(places)) if count[index] < len(places) // 2), key=count.__getitem__)


def test_a_tree_of_many_nodes_runs_commands_on_each(names: list[str], tree_params: dict[str, Any]) -> None:
    slots = [f"slot-{number}-{name}" for number in range(_SLOTS) for name in names]
    action = TaktukRemote("uname -n; cat", slots, tree_params, QUIET).start()
    action.write("for all\n")
    action.close_stdin()
    action.wait(4 * DEADLINE)

    assert [process.error_reason for process in action.processes if not process.ok] == []
    assert [process.stdout for process in action.processes] == [f"{name}\nfor all\n" for name in names] * _SLOTS


def test_files_go_to_all_hosts_and_back(names: list[str], tree_params: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_bytes(os.urandom(3_000_000))
    put = TaktukPut(names, [file], "copies/{{{host}}}", tree_params, create_dirs=True).run(2 * DEADLINE)
    back = str(tmp_path / "back" / "{{{host}}}")
    get = TaktukGet(names, "copies/{{{host}}}/a file", back, tree_params, create_dirs=True).run(2 * DEADLINE)

    assert [process.error_reason for process in (*put.processes, *get.processes) if not process.ok] == []
    for name in names:
        assert (tmp_path / "back" / name / "a file").read_bytes() == file.read_bytes()


def test_a_leaf_that_crashes_or_hangs_fails_alone(
    hosts: list[Machine], names: list[str], tree_params: dict[str, Any]
) -> None:
    action = begin(names, {**tree_params, **ALERT, "taktuk_options": ("-s", "-d", "-1")})
    hosts[3].crash()
    hosts[8].hang()
    since = time.monotonic()
    lost = [action.processes[index].wait(DEADLINE) for index in (3, 8)]
    took = time.monotonic() - since
    action.write("still there\n")
    action.close_stdin()
    action.wait(DEADLINE)

    assert [type(process.error_reason) for process in lost] == [ConnectionLostError] * 2
    assert took < SOON
    assert {process.ok for process in action.processes if process not in lost} == {True}
    for host in (hosts[3], hosts[8]):
        host.heal()
    again = TaktukRemote("uname -n", names, {**tree_params, "taktuk_options": ("-s", "-d", "-1")}).run(DEADLINE)
    assert [process.stdout for process in again.processes] == [f"{name}\n" for name in names]


def test_those_behind_an_inner_node_that_crashes_are_connected_again_and_the_others_go_on(
    hosts: list[Machine], names: list[str], tree_params: dict[str, Any]
) -> None:
    params = {**tree_params, **ALERT, "taktuk_options": ("-s", "-d", "2")}
    action = begin(names, params)
    top = inner(action)
    hosts[top].crash()
    assert action.processes[top].wait(DEADLINE).error
    others = [name for name in names if name != names[top]]
    again = TaktukRemote("uname -n", others, params, QUIET).run(2 * DEADLINE)
    action.close_stdin()
    action.wait(DEADLINE)

    assert [process.stdout for process in again.processes] == [f"{name}\n" for name in others]
    failed = [process for process in action.processes if not process.ok]
    assert {type(process.error_reason) for process in failed} == {ConnectionLostError}
    assert 1 < len(failed) < len(names)


def test_hosts_that_can_not_be_reached_are_named_and_hold_up_nobody_for_longer_than_the_limit(
    hosts: list[Machine], names: list[str], tree_params: dict[str, Any]
) -> None:
    hosts[5].crash()
    hosts[13].crash()
    params = {**tree_params, "connect_timeout": 10}

    with TaktukGateway(names, params) as gateway:
        assert {host.address for host in gateway.unreachable} == {names[5], names[13]}
        connected = [host.address for host in gateway.connected]
        assert TaktukRemote("true", gateway.connected, params).run(DEADLINE).ok
    assert connected == [name for name in names if name not in (names[5], names[13])]


def test_when_the_gateways_host_crashes_all_end_by_an_error_and_it_is_deployed_anew_when_it_is_back(
    hosts: list[Machine], names: list[str], tree_params: dict[str, Any]
) -> None:
    params = {**tree_params, **ALERT, "taktuk_gateway": names[0]}
    action = begin(names[1:], params)
    hosts[0].crash()
    action.wait(DEADLINE)
    assert {type(process.error_reason) for process in action.processes} <= {ConnectionLostError, GatewayLostError}
    assert not any(process.ok for process in action.processes)

    hosts[0].heal()
    again = TaktukRemote("uname -n", names[1:], params).run(2 * DEADLINE)
    assert [process.stdout for process in again.processes] == [f"{name}\n" for name in names[1:]]


def test_nothing_is_left_of_a_program_that_was_killed_at_a_random_moment(
    hosts: list[Machine], tree_params: dict[str, Any]
) -> None:
    kill_at_random("TaktukRemote", hosts, tree_params, 8)
