"""A chain through twenty hosts, some of which fail meanwhile."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alert import ALERT
from machine import Machine, until
from marks import SLOW_ON_THE_BED
from processes import DEADLINE, QUIET
from regisseur.actors import _chain_leader
from regisseur.actors._chain_leader import ChainLeader
from regisseur.actors._chain_process import ChainProcess
from regisseur.actors.chain_put import ChainPut
from regisseur.actors.connection_errors import HostConnectionError
from regisseur.actors.runtime import Runtime
from regisseur.actors.transfer import TransferError

pytestmark = SLOW_ON_THE_BED

SIZE = 24_000_000
RATE = "64mbit"
PATIENCE = 2 * DEADLINE
_OURS = r"regisseur-(watcher|supervisor)|^sleep [0-9.]{1,2}$"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that takes three seconds by a cable of the hosts."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def slow_cables(hosts: list[Machine]) -> Iterator[None]:
    """All have them, and at the end nothing of the tests' files is on any host."""
    for host in hosts:
        host.shape(RATE)
    yield
    for host in hosts:
        host.heal()
        host.run("sh", "-c", "rm -rf /tmp/* /tmp/.[!.]*")


class End:
    """The last of what is sent, behind the file: nobody gets it, so that none has all, until it is let go."""

    def __init__(self, stage: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stage = stage
        self._wanted: list[Callable[[], None]] | None = []  # None: it is let go; only the reactor looks
        give = ChainLeader._when_there

        def when_there(leader: ChainLeader, number: int, then: Callable[..., None]) -> None:
            if number < len(leader._plan.steps) - 1 or self._wanted is None:
                give(leader, number, then)
            else:
                self._wanted.append(functools.partial(give, leader, number, then))

        monkeypatch.setattr(ChainLeader, "_when_there", when_there)

    def let_go(self) -> None:
        self._stage.bus.call(self._let_go)

    def _let_go(self) -> None:
        wanted, self._wanted = self._wanted, None
        for give in wanted or ():
            give()


@pytest.fixture
def end(stage: Runtime, monkeypatch: pytest.MonkeyPatch) -> End:
    return End(stage, monkeypatch)


def came(action: ChainPut, index: int, percent: int) -> bool:
    process = action.processes[index]
    assert isinstance(process, ChainProcess)
    return action.ended or process.progress.done >= SIZE * percent // 100


def sources(action: ChainPut, index: int) -> list[str]:
    process = action.processes[index]
    assert isinstance(process, ChainProcess)
    return process.hop.sources


def in_tmp(host: Machine) -> list[str]:
    return host.run("ls", "-A", "/tmp").split()


def check(action: ChainPut, hosts: list[Machine], file: Path, failed: list[Machine]) -> None:
    """All have the file, and nothing else, but those that have failed, which are named."""
    content = file.read_bytes()
    assert [host.name for host, process in zip(hosts, action.processes, strict=True) if not process.ok] == [
        host.name for host in failed
    ]
    for host in hosts:
        if host not in failed:
            assert (host.disk / "tmp" / "file").read_bytes() == content
            assert in_tmp(host) == ["file"]


@pytest.mark.usefixtures("slow_cables")
def test_a_file_goes_from_host_to_host_in_hardly_more_than_the_time_of_one(
    file: Path, hosts: list[Machine], names: list[str], params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_chain_leader, "_SILENCE", DEADLINE)  # none takes from another because this machine is busy
    action = ChainPut(names, file, "/tmp", params, checksum=True).run(PATIENCE)

    check(action, hosts, file, [])
    assert sum(sources(action, index)[0] == "head" for index in range(len(hosts))) == 1


@pytest.mark.usefixtures("slow_cables")
@pytest.mark.parametrize("percent", [10, 50, 90])
def test_a_host_that_crashes_is_cut_out(
    percent: int, file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any], end: End
) -> None:
    action = ChainPut(names, file, "/tmp", {**usual, **ALERT}, retries=0, process_args=QUIET).start()
    until(lambda: came(action, 7, percent), "it has come so far", PATIENCE)
    hosts[7].crash()
    end.let_go()
    action.wait(PATIENCE)

    check(action, hosts, file, [hosts[7]])
    assert isinstance(action.processes[7].error_reason, (TransferError, HostConnectionError))


@pytest.mark.usefixtures("slow_cables")
def test_two_that_follow_each_other_and_the_first_of_all_may_crash(
    file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any], end: End
) -> None:
    action = ChainPut(names, file, "/tmp", {**usual, **ALERT}, retries=0, process_args=QUIET).start()
    until(lambda: all(came(action, index, 20) for index in range(len(hosts))), "it has come to all", PATIENCE)
    first = next(index for index in range(len(hosts)) if sources(action, index)[0] == "head")
    follower = next(index for index in range(len(hosts)) if sources(action, index)[0] == names[first])
    dead = [hosts[index] for index in sorted((first, follower))]
    for host in dead:
        host.crash()
    end.let_go()
    action.wait(PATIENCE)

    check(action, hosts, file, dead)


@pytest.mark.usefixtures("slow_cables")
def test_a_host_that_hangs_is_given_up_and_removes_what_it_had_when_it_wakes(
    file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any], end: End
) -> None:
    action = ChainPut(names, file, "/tmp", {**usual, **ALERT}, retries=0, process_args=QUIET).start()
    until(lambda: came(action, 7, 30), "it has come so far", PATIENCE)
    hosts[7].hang()
    assert action.processes[7].wait(PATIENCE).ended
    until(lambda: all(came(action, index, 100) for index in range(len(hosts)) if index != 7), "it goes on", PATIENCE)
    hosts[7].thaw()
    until(lambda: in_tmp(hosts[7]) == [], "nothing half done is there", DEADLINE)
    end.let_go()  # not before: its kernel has taken what was sent to it meanwhile, and that must not be all
    action.wait(PATIENCE)

    check(action, hosts, file, [hosts[7]])
    assert isinstance(action.processes[7].error_reason, (TransferError, HostConnectionError))


@pytest.mark.usefixtures("slow_cables")
def test_a_full_disk_is_told_and_the_others_get_the_file(
    file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    places = ["/tmp"] * len(names)
    places[7] = hosts[7].small_disk(10_000_000)
    action = ChainPut(names, file, "{{places}}", usual, process_args=QUIET).run(PATIENCE)

    check(action, hosts, file, [hosts[7]])
    assert "No space left on device" in action.processes[7].stderr
    assert hosts[7].run("ls", "-A", places[7]) == ""


@pytest.mark.usefixtures("slow_cables")
def test_a_host_whose_connection_breaks_gets_all_by_a_new_one(
    file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any], end: End
) -> None:
    action = ChainPut(names, file, "/tmp", usual, process_args=QUIET).start()
    until(lambda: came(action, 7, 30), "it has come so far", PATIENCE)
    hosts[7].restart_sshd(connections=True)
    end.let_go()
    action.wait(PATIENCE)

    check(action, hosts, file, [])
    assert len(sources(action, 7)) >= 2


@pytest.mark.usefixtures("slow_cables")
@pytest.mark.parametrize("first", [True, False], ids=["first", "middle"])
def test_nobody_waits_for_a_host_that_is_slow(
    first: bool, file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    file.write_bytes(os.urandom(3 * SIZE))
    few = hosts[:6]
    action = ChainPut(names[:6], file, "/tmp", usual, process_args=QUIET).start()
    reports = [process.hop for process in action.processes if isinstance(process, ChainProcess)]
    until(lambda: all(came(action, index, 2) for index in range(6)), "it has come to all", PATIENCE)
    # Which one comes last in the chain is not known before, and nobody would wait for that one.
    followed = {report.sources[0] for report in reports}
    slow = next(
        index for index in range(6) if names[index] in followed and (reports[index].sources[0] == "head") == first
    )
    hosts[slow].shape("4mbit")
    until(lambda: sum(report.placed for report in reports) == 5, "the others have it", PATIENCE)

    assert not reports[slow].placed
    assert reports[slow].remarks == ["it receives slowly: no other host waits for it"]
    action.kill().wait(PATIENCE)
    for host in few:
        assert in_tmp(host) == ([] if host is hosts[slow] else ["file"])


@pytest.mark.usefixtures("slow_cables")
def test_hosts_that_can_not_connect_to_each_other_get_it_over_their_connections_of_commands(
    file: Path, hosts: list[Machine], names: list[str], usual: dict[str, Any]
) -> None:
    rules = (  # nothing but ssh
        "table inet closed {\nchain in {\ntype filter hook input priority 0\ntcp dport != 22 ct state new drop\n}\n}"
    )
    for host in hosts[:3]:
        host.run("nft", rules)
    try:
        action = ChainPut(names[:3], file, "/tmp", usual, head="ssh", process_args=QUIET).run(PATIENCE)
    finally:
        for host in hosts[:3]:
            host.run("nft", "delete table inet closed")

    check(action, hosts[:3], file, [])
    assert [sources(action, index) for index in range(3)] == [["connection"]] * 3


_CONTROLLER = """
import sys, time
from regisseur.actors import ChainPut
from regisseur.actors._chain_leader import ChainLeader
names, file, params = eval(sys.argv[1])
give = ChainLeader._when_there
def when_there(leader, number, then):
    if number < len(leader._plan.steps) - 1:  # nobody gets the last, so that none has all
        give(leader, number, then)
ChainLeader._when_there = when_there
action = ChainPut(names, file, "/tmp", params).start()
while min(process.progress.done for process in action.processes) < 2_000_000 and not action.ended:
    time.sleep(0.01)
print("under way", flush=True)
action.wait()
"""


@pytest.mark.usefixtures("slow_cables")
def test_nothing_is_left_of_a_program_that_is_killed(
    file: Path, hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    argv = [sys.executable, "-c", _CONTROLLER, repr((names, str(file), params))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"under way\n"
        program.kill()

    assert program.returncode == -signal.SIGKILL
    for host in hosts:
        host.wait_idle(DEADLINE, besides=_OURS)
        assert in_tmp(host) == []
