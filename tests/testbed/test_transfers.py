"""Files to and from twenty hosts, some of which fail meanwhile."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path
from typing import Any

import pytest

from alert import ALERT
from machine import Machine, until
from marks import SLOW_ON_THE_BED
from processes import DEADLINE, QUIET
from regisseur.actors._transfer_process import TransferProcess
from regisseur.actors.connection_errors import HostConnectionError
from regisseur.actors.transfer import Get, Put

pytestmark = SLOW_ON_THE_BED


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files, one of them with many bytes."""
    tree = tmp_path / "a tree"
    (tree / "below").mkdir(parents=True)
    for number in range(50):
        (tree / "below" / f"file {number}").write_bytes(os.urandom(number))
    (tree / "large").write_bytes(os.urandom(3_000_000))
    return tree


def is_same(one: Path, other: Path) -> bool:
    seen = filecmp.dircmp(one, other)
    below = filecmp.dircmp(one / "below", other / "below")
    return not any(each.left_only or each.right_only or each.diff_files or each.funny_files for each in (seen, below))


def done(action: Put, index: int) -> int:
    process = action.processes[index]
    assert isinstance(process, TransferProcess)
    return process.progress.done


def test_a_tree_comes_to_all_hosts_and_back_as_it_was(
    tree: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any], tmp_path: Path
) -> None:
    put = Put(names, tree, "/tmp", usual, checksum=True).run(DEADLINE)
    get = Get(names, "/tmp/a tree", tmp_path / "{{{host}}}", usual, create_dirs=True).run(DEADLINE)

    assert (put.ok, get.ok) == (True, True)
    assert all(is_same(tree, tmp_path / name / "a tree") for name in names)
    for host in hosts:
        host.run("rm", "-r", "/tmp/a tree")


def test_a_full_disk_is_told_and_the_other_hosts_get_their_files(
    tree: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    full = hosts[6]
    places = ["/tmp"] * len(names)
    places[6] = full.small_disk(2_000_000)

    action = Put(names, tree, "{{places}}", usual, process_args=QUIET).run(DEADLINE)

    assert [process.ok for process in action.processes] == [host is not full for host in hosts]
    assert "No space left on device" in action.processes[6].stderr + str(action.processes[6].error_reason)
    assert full.run("ls", "-A", places[6]) == ""
    for host in hosts:
        host.run("rm", "-rf", "/tmp/a tree")


def test_a_transfer_goes_on_over_a_new_connection_and_only_a_host_that_is_gone_fails(
    tree: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    gone, back = hosts[3], hosts[8]
    for host in (gone, back):
        host.shape("1mbit")  # so that it does not have all before it fails
    params = {**usual, **ALERT, "connect_timeout": 10}
    action = Put(names, tree, "/tmp", params, retries=3, checksum=True, process_args=QUIET).start()
    until(lambda: min(done(action, 3), done(action, 8)) > 0, "files are on their way", DEADLINE)
    gone.crash()
    back.restart_sshd(connections=True)
    back.shape("")
    action.wait(3 * DEADLINE)  # it is tried several times to connect to the one that is gone

    assert [process.ok for process in action.processes] == [host is not gone for host in hosts]
    assert isinstance(action.processes[3].error_reason, HostConnectionError)
    assert is_same(tree, back.disk / "tmp/a tree")
    gone.boot()
    for host in hosts:
        host.run("sh", "-c", "rm -rf /tmp/* /tmp/.[!.]*")
