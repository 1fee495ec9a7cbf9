"""Signals that a command on this machine has missed: it gets them once more, others do not. With real processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from processes import DEADLINE
from regisseur.actors._missed import Missed
from shells import wait_for_death


class Clock:
    """A reactor whose timers ring when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def ring(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start() -> Iterator[Callable[[str], Any]]:
    """Starts what stands for a child whose wrapper runs a command, which says its pid, and of what it has started."""
    programs: list[subprocess.Popen[str]] = []

    def begin(command: str, number: int = 1) -> Any:
        argv = ["sh", "-c", f"{command}; exit 0", f"regisseur:ab.{number};"]
        program = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        programs.append(program)
        assert program.stdout is not None
        pids = [int(word) for word in program.stdout.readline().split()]
        return SimpleNamespace(address="a", pid=program.pid, token="ab.1", is_local=True, said=pids, program=program)

    yield begin
    for program in programs:
        with program:
            subprocess.run(["pkill", "-KILL", "-s", str(program.pid)], check=False)


def test_a_command_that_a_signal_would_have_ended_gets_it_again(start: Any, clock: Clock) -> None:
    child = start("sh -c 'echo $$; exec sleep 1000'")
    Missed({"a": child}).add(child, signal.SIGTERM, clock)  # type: ignore[arg-type]  # all of a reactor that it uses
    clock.ring()

    assert child.program.wait(DEADLINE) == 0  # the wrapper goes on behind its command
    assert clock.calls == []


@pytest.mark.parametrize("command", ["trap : TERM", 'trap "" TERM'])
def test_a_command_that_may_have_got_it_does_not(command: str, start: Any, clock: Clock) -> None:
    child = start(f"sh -c '{command}; sleep 1000 & echo $$ $!; wait $!; echo $?'")
    Missed({"a": child}).add(child, signal.SIGTERM, clock)  # type: ignore[arg-type]  # all of a reactor that it uses
    clock.ring()

    assert clock.calls == []
    os.kill(child.said[1], signal.SIGKILL)
    assert child.program.stdout.read() == f"{128 + signal.SIGKILL}\n"  # nor did it, or what it waits for, get SIGTERM


def test_what_is_no_command_of_the_child_does_not_and_is_looked_at_again(start: Any, clock: Clock) -> None:
    child = start("sh -c 'echo $$; exec sleep 1000'", number=2)  # the wrapper of another
    missed = Missed({"a": child})
    missed.add(child, signal.SIGTERM, clock)  # type: ignore[arg-type]  # all of a reactor that it uses
    for _ in range(10):
        assert len(clock.calls) == 1
        clock.ring()

    assert clock.calls == []
    assert child.program.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGSTOP])
def test_signals_that_end_nothing_or_can_not_be_missed_are_sent_once(number: int, start: Any, clock: Clock) -> None:
    child = start("sh -c 'echo $$; exec sleep 1000'")
    Missed({"a": child}).add(child, number, clock)  # type: ignore[arg-type]  # all of a reactor that it uses

    assert clock.calls == []


def test_who_has_ended_meanwhile_is_not_looked_at(start: Any, clock: Clock) -> None:
    child = start("sh -c 'echo $$; exec sleep 1000'")
    Missed({}).add(child, signal.SIGTERM, clock)  # type: ignore[arg-type]  # all of a reactor that it uses
    clock.ring()

    assert child.program.poll() is None
    child.program.kill()
    wait_for_death(child.pid)
