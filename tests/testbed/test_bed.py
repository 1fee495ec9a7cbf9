"""The test bed itself: what its hosts are, and that nothing is left of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from machine import Machine, until
from processes import DEADLINE

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed]

HERE = Path(__file__).parent


def test_each_host_has_its_own_name_processes_and_files(hosts: list[Machine]) -> None:
    for host in hosts[:2]:
        assert host.run("uname", "-n") == f"{host.name}\n"
        assert host.run("sh", "-c", "echo /tmp/*") == "/tmp/*\n"
        host.run("touch", "/tmp/of-its-own")
    hosts[0].wait_idle(DEADLINE)
    assert hosts[2].run("sh", "-c", "echo /tmp/*") == "/tmp/*\n"
    for host in hosts[:2]:
        host.run("rm", "/tmp/of-its-own")


@pytest.mark.slow
def test_nothing_is_left_of_a_bed_whose_owner_is_killed() -> None:
    owner = subprocess.Popen([sys.executable, str(HERE), "2", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        owner.stdin.write(b"up\n")
        owner.stdin.flush()
        assert owner.stdout.readline() == b"up\n"  # said by cat, which runs when the hosts do
        children = Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()
        (keeper,) = (pid for pid in children if b"unshare" in Path(f"/proc/{pid}/cmdline").read_bytes())
        hosts = _descendants(int(keeper))
        assert len([pid for pid in hosts if b"boot.sh" in _command(pid)]) == 4  # two shells, and who has started them
        owner.send_signal(signal.SIGKILL)

    until(lambda: not any(_command(pid) for pid in hosts), "all is gone", DEADLINE)


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        children += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [*children, *(further for child in children for further in _descendants(child))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
