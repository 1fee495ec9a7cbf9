"""The process table: what a line of /proc says, and that a signal reaches whom it is meant for and no other."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from regisseur.actors._proctable import (
    ProcessEntry,
    Snapshot,
    descendants,
    end_session,
    read_entry,
    send,
    session_members,
    ticks,
)

Shell = subprocess.Popen[str]


@pytest.fixture
def shell() -> Iterator[Shell]:
    """A shell with job control: two jobs in groups of their own and a grandchild; it says their pids."""
    text = "set -m; sleep 1000 & echo $!; bash -c 'sleep 1000 & echo $!; wait' & echo $!; wait"
    process = subprocess.Popen(["bash", "-c", text], stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        yield process
        while end_session(process.pid, signal.SIGKILL):  # again: one may just have started another
            pass


def pids(shell: Shell) -> set[int]:
    assert shell.stdout is not None
    return {int(shell.stdout.readline()) for _ in range(3)}


def wait_for_end(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        assert select.select([descriptor], [], [], 10)[0], f"process {pid} did not end"
    finally:
        os.close(descriptor)


def test_the_line_of_this_process_is_read() -> None:
    entry = read_entry(os.getpid())

    assert entry is not None
    assert (os.getpid(), os.getppid()) == (entry.pid, entry.parent)
    assert (os.getpgrp(), os.getsid(0)) == (entry.group, entry.session)
    assert entry.alive
    assert 0 < entry.started <= ticks()


def test_a_process_that_does_not_exist_has_no_line() -> None:
    assert read_entry(2**22) is None


def test_a_name_with_parentheses_and_blanks_is_no_obstacle(tmp_path: Path) -> None:
    program = tmp_path / "x) Z 1 (y"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "1000"]) as process:
        entry = read_entry(process.pid)
        process.kill()

    assert entry is not None
    assert os.getpid() == entry.parent


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen(["true"]) as process:
        wait_for_end(process.pid)
        entry = read_entry(process.pid)

        assert entry is not None
        assert entry.state == "Z"
        assert not entry.alive
        assert process.pid not in session_members(entry.session)


def test_a_zombie_with_running_threads_is_alive() -> None:
    assert ProcessEntry(1, "Z", 0, 0, 0, threads=2, started=0).alive
    assert not ProcessEntry(1, "Z", 0, 0, 0, threads=1, started=0).alive


def test_session_members_are_found_whatever_their_process_group(shell: Shell) -> None:
    jobs = pids(shell)

    assert {shell.pid} | jobs == set(session_members(shell.pid))
    assert len({os.getpgid(pid) for pid in session_members(shell.pid)}) == 3


def test_descendants_are_found_parents_first(shell: Shell) -> None:
    jobs = pids(shell)
    found = descendants(shell.pid)
    grandchild = next(pid for pid in jobs if os.getpgid(pid) != pid)

    assert jobs == set(found)
    assert found[-1] == grandchild
    assert jobs < set(Snapshot.take().descendants(os.getpid()))


def test_a_snapshot_answers_from_the_moment_it_was_taken(shell: Shell) -> None:
    jobs = pids(shell)
    snapshot = Snapshot.take()
    end_all_and_wait(shell, jobs)

    assert {shell.pid} | jobs == set(snapshot.session(shell.pid))
    assert not session_members(shell.pid)


def test_end_session_reaches_every_process_group(shell: Shell) -> None:
    jobs = pids(shell)
    reached = end_all_and_wait(shell, jobs)

    assert {shell.pid} | jobs == set(reached)


def end_all_and_wait(shell: Shell, jobs: set[int]) -> list[int]:
    holders = [os.pidfd_open(pid) for pid in (shell.pid, *jobs)]
    try:
        reached = end_session(shell.pid, signal.SIGKILL)
        for holder in holders:
            assert select.select([holder], [], [], 10)[0]
    finally:
        for holder in holders:
            os.close(holder)
    return reached


def test_end_session_wakes_a_stopped_process_up_to_take_the_signal() -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)

        assert end_session(process.pid, signal.SIGTERM) == [process.pid]
        assert process.wait() == -signal.SIGTERM


def test_a_signal_never_reaches_a_process_that_has_the_number_of_another(shell: Shell) -> None:
    pids(shell)
    entry = read_entry(shell.pid)
    assert entry is not None
    older = ProcessEntry(entry.pid, "S", 1, 1, 1, threads=1, started=entry.started - 1)

    assert not send(older, signal.SIGKILL)
    assert shell.poll() is None
    assert send(entry, signal.SIGKILL)
    assert shell.wait() == -signal.SIGKILL
    assert not send(entry, signal.SIGKILL)
