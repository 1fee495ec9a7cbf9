"""What a test leaves behind: a plug-in that fails the test that does.

Compared before and after each test: threads, child processes, open descriptors, environment and working directory.
The runtime that starts on first use outlives the test that used it, with its threads (``regisseur-...``), its
guardian process and their descriptors; it is stopped after each file of tests, and then nothing may be left.
A look costs well below a millisecond; only where something seems left, a second one is given, with patience.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Snapshot", "end_default_runtime", "no_leaks", "patiently"]

_PATIENCE = 15.0
"""Seconds that a thread, child or descriptor has to go after the test: ends are seen by other threads."""
_RUNTIME = "regisseur-"
"""How the names of the default runtime's threads begin."""
_REACTOR = "regisseur-reactor"
_GUARDIAN = "_guardian_main"
"""Stands in the command line of a runtime's guardian process."""
_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Children that Python itself keeps for the whole life of the process."""


@dataclass(frozen=True)
class Snapshot:
    """What this process has at one instant."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    descriptors: dict[int, str]
    environment: dict[str, str]
    directory: str

    @classmethod
    def take(cls) -> Snapshot:
        """Look now."""
        return cls(frozenset(threading.enumerate()), _children(), _descriptors(), _environment(), _working_directory())

    def leaks(self) -> list[str]:
        """Say what is there now that was not, one line for each; nothing where all is as before."""
        now = Snapshot.take()
        threads = now.threads - self.threads
        children = {pid: _command(pid) for pid in now.children - self.children}
        # A default runtime that has started or grown since has descriptors of its own, which nobody can tell apart.
        grown = any(_is_of_runtime(thread) for thread in threads) or any(map(_is_guardian, children.values()))
        lines = [f"thread {thread.name}" for thread in threads if not (thread.daemon or _is_of_runtime(thread))]
        reactors = sum(thread.name == _REACTOR for thread in now.threads)
        if reactors > 1 and any(thread.name == _REACTOR for thread in threads):
            lines.append(f"a runtime that was not stopped: there are {reactors} now")
        lines += [
            f"child {pid}: {command or 'ended, but never waited for'}"
            for pid, command in children.items()
            if not _is_guardian(command) and not any(helper in command for helper in _HELPERS)
        ]
        if len(now.descriptors) > len(self.descriptors) and not grown:
            new = sorted(now.descriptors.items() - self.descriptors.items())
            lines += [f"descriptor {number}: {name}" for number, name in new]
        return sorted(lines)

    def restore(self) -> list[str]:
        """Bring environment and working directory back; say what had been changed."""
        changed = []
        if (now := _environment()) != self.environment:
            names = {name for name, _ in now.items() ^ self.environment.items()}
            changed.append(f"environment: {', '.join(sorted(names))}")
            for name in names:
                if name in self.environment:
                    os.environ[name] = self.environment[name]
                else:
                    del os.environ[name]
        if (directory := _working_directory()) != self.directory:
            changed.append(f"working directory: {directory or 'deleted'}")
            os.chdir(self.directory)
        return changed


def patiently(before: Snapshot, patience: float = _PATIENCE) -> list[str]:
    """Return what has leaked since *before*, after up to *patience* seconds in which it may still go."""
    leaked = before.leaks()
    if leaked:
        gc.collect()
        deadline = time.monotonic() + patience
        while (leaked := before.leaks()) and time.monotonic() < deadline:
            time.sleep(0.01)
    return leaked


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves something behind. Set up first, so it ends after the test's other fixtures."""
    before = Snapshot.take()
    yield
    if left := before.restore() + patiently(before):
        pytest.fail("this test leaves behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def end_default_runtime() -> Iterator[None]:
    """Stop the runtime of this process after each file of tests, and see that it leaves nothing."""
    before = Snapshot.take()
    yield
    runtime = sys.modules.get("regisseur.actors.runtime")
    if runtime is not None:
        runtime.stop_runtime()
    _end_guardians()
    left = patiently(before)
    left += [f"thread {thread.name}" for thread in threading.enumerate() if _is_of_runtime(thread)]
    if left:
        pytest.fail("the tests of this file leave behind:\n  " + "\n  ".join(left), pytrace=False)


def _end_guardians() -> None:
    """End the guardians that stay after their runtime, as they do where sessions went on without their leaders.

    They would end with this process; but the next file of tests may count children.
    """
    if any(thread.name == _REACTOR for thread in threading.enumerate()):
        return
    for pid in _children():
        if _is_guardian(_command(pid)):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _is_of_runtime(thread: threading.Thread) -> bool:
    return thread.name.startswith(_RUNTIME)


def _is_guardian(command: str) -> bool:
    return _GUARDIAN in command


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _descriptors() -> dict[int, str]:
    """Return what is open, by number, but for the directory that is open while we look."""
    names = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            names[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return names


def _children() -> frozenset[int]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            children.update(map(int, (task / "children").read_text().split()))
    return frozenset(children)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
