"""The supervisor of a connection, as it runs on a host: real shells, real process trees."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadline import DEADLINE
from regisseur.protocols.remote_shell import wrapped
from regisseur.protocols.remote_supervisor import SupervisorAnswer, SupervisorReader, kill_order, supervisor
from shells import SHELLS, Hosted, Shell, is_alive, read_line, wait_for_death

CONNECTION = f"{os.getpid():016x}"  # another test run on this machine has another
OTHER = f"{os.getpid() + (1 << 40):016x}"


class Host(Hosted):
    """A host whose /bin/sh is *shell*, with a supervisor."""

    def __init__(self, shell: Shell, **environ: str) -> None:
        super().__init__()
        self.shell = shell
        self.stdin, theirs = socket.socketpair()  # as sshd does it
        line = shell.line(supervisor(CONNECTION))
        self.supervisor = self.start("sh", "-c", line, stdin=theirs, env={**os.environ, **environ})
        theirs.close()
        self._reader = SupervisorReader(CONNECTION)
        assert self.answers(1) == [SupervisorAnswer(is_ready=True)]

    def answers(self, count: int) -> list[SupervisorAnswer]:
        """The next answers."""
        got: list[SupervisorAnswer] = []
        while len(got) < count:
            got += self._reader.feed(read_line(self.supervisor.stdout))
        return got

    def order(self, number: int, token: str) -> int:
        """Give an order; return how many got the signal."""
        self.stdin.sendall(kill_order(number, token))
        (answer,) = self.answers(1)
        assert (answer.signal, answer.token) == (number, token)
        return answer.count

    def run(
        self, number: int, command: str, *, connection: str = CONNECTION
    ) -> tuple[subprocess.Popen[bytes], list[int]]:
        """Run a command which prints pids in its first line."""
        process = self.start("sh", "-c", self.shell.line(wrapped(command, f"{connection}.{number}")))
        pids = list(map(int, read_line(process.stdout).split()))
        self.pids += pids
        return process, pids

    def close(self) -> None:
        self.stdin.close()
        super().close()


@pytest.fixture(params=SHELLS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    made = Host(Shell(request.param, tmp_path))
    yield made
    made.close()


STUBBORN = 'trap "" TERM; setsid sleep 1001 & a=$!; sleep 1002 & echo $$ $a $!; wait'


# -- orders --------------------------------------------------------------------


def test_an_order_reaches_the_command_and_its_wrapper_reports(host: Host) -> None:
    process, (pid,) = host.run(1, "echo $$; exec sleep 1000")

    assert host.order(signal.SIGTERM, f"{CONNECTION}.1") == 1
    wait_for_death(pid)
    assert process.wait(DEADLINE) == 143


def test_sigkill_reaches_all_that_the_command_has_started(host: Host) -> None:
    process, pids = host.run(2, STUBBORN)

    assert host.order(signal.SIGKILL, f"{CONNECTION}.2") == 3
    for pid in pids:
        wait_for_death(pid)
    assert process.wait(DEADLINE) == 137


def test_a_program_with_another_environment_is_reached_by_its_session(host: Host) -> None:
    process, (pid,) = host.run(3, "env -i sh -c 'echo $$; exec sleep 1000'; exit 7")

    assert host.order(0, f"{CONNECTION}.3") == 2
    os.kill(pid, signal.SIGTERM)
    assert process.wait(DEADLINE) == 7


def test_an_order_reaches_nothing_of_other_commands(host: Host) -> None:
    _, (pid,) = host.run(1, "echo $$; exec sleep 1000")
    host.run(11, "echo $$; exec sleep 1000")
    host.run(1, "echo $$; exec sleep 1000", connection=OTHER)

    assert host.order(0, f"{CONNECTION}.1") == 1
    assert is_alive(pid)


def test_an_order_for_what_is_not_there_reaches_nobody(host: Host) -> None:
    assert host.order(signal.SIGKILL, f"{CONNECTION}.99") == 0


def test_strangers_in_the_same_session_are_left_alone(host: Host) -> None:
    """Where a connector does not give each command a session of its own."""
    line = host.shell.line(wrapped("echo $$; exec sleep 1000", f"{CONNECTION}.4"))
    session = host.start("sh", "-c", 'sleep 1000 & echo $!; sh -c "$1"; wait', "session", line)
    stranger, pid = int(read_line(session.stdout)), int(read_line(session.stdout))
    host.pids += [stranger]

    assert host.order(signal.SIGKILL, f"{CONNECTION}.4") == 1
    wait_for_death(pid)
    assert is_alive(stranger)


def test_a_thousand_orders_at_once_are_all_answered(host: Host) -> None:
    host.run(1, "echo $$; exec sleep 1000")

    host.stdin.sendall(b"".join(kill_order(0, f"{CONNECTION}.{number}") for number in range(1000)))
    counts = [answer.count for answer in host.answers(1000)]

    assert [0, 1, *[0] * 998] == counts


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_wrapper_forks_while_the_supervisor_looks_is_not_taken_for_the_command(
    shell: str, tmp_path: Path
) -> None:
    """Between its two looks, at the sessions and at what the processes are."""
    between, go_on, begin, there = fifos = [tmp_path / name for name in ("between", "go_on", "begin", "there")]
    for fifo in fifos:
        os.mkfifo(fifo)
    for name in ("cat", "head"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\nPATH=${{PATH#*:}}; {name} "$@"; status=$?\n'
            f"if mkdir {tmp_path}/looked 2>&-; then echo >{between}; read -r x <{go_on}; fi; exit $status\n"
        )
        program.chmod(0o755)
    host = Host(Shell(shell, tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}")
    try:
        line = host.shell.line(wrapped("echo $$; exec sleep 1000", f"{CONNECTION}.1"))
        line = line.replace("regisseur_t=; traps;", f"regisseur_t=; traps; read -r x <{begin};")
        process = host.start("sh", "-c", line.replace("await() {", f"await() {{ echo >{there};"))
        host.stdin.sendall(kill_order(signal.SIGTERM, f"{CONNECTION}.1"))
        between.read_bytes()
        begin.write_bytes(b"\n")
        there.read_bytes()
        pid = int(read_line(process.stdout))
        host.pids.append(pid)
        go_on.write_bytes(b"\n")

        (answer,) = host.answers(1)
        assert answer.count == 0
        assert host.order(signal.SIGTERM, f"{CONNECTION}.1") == 1
        assert process.wait(DEADLINE) == 143
    finally:
        host.close()


def test_an_order_in_two_pieces_is_one_order(host: Host) -> None:
    order = kill_order(0, f"{CONNECTION}.1")
    host.stdin.sendall(order[:5])
    host.stdin.sendall(order[5:])

    assert host.answers(1) == [SupervisorAnswer(token=f"{CONNECTION}.1")]


def test_signals_do_not_end_the_supervisor(host: Host) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGUSR1):
        os.killpg(host.supervisor.pid, number)

    assert host.order(0, f"{CONNECTION}.1") == 0


# -- the end -------------------------------------------------------------------


@pytest.mark.slow
def test_all_of_the_connection_ends_with_the_stdin(host: Host) -> None:
    polite, (first,) = host.run(1, "echo $$; exec sleep 1000")
    stubborn, others = host.run(2, STUBBORN)
    _, (left_behind,) = host.run(3, "setsid sleep 1003 >/dev/null 2>&1 & echo $!")
    _, (foreign,) = host.run(1, "echo $$; exec sleep 1000", connection=OTHER)

    host.stdin.close()

    for pid in (first, *others, left_behind):
        wait_for_death(pid)
    assert host.supervisor.wait(DEADLINE) == 0
    assert polite.wait(DEADLINE) == 143
    stubborn.wait(DEADLINE)  # its wrapper may have been killed with it
    assert is_alive(foreign)


def test_a_command_whose_login_shell_is_still_starting_when_the_stdin_ends_never_runs(
    host: Host, tmp_path: Path
) -> None:
    slow, ran = tmp_path / "slow", tmp_path / "ran"
    slow.write_text("/bin/sh -c 'echo $$; exec sleep 1000'\n")
    line = host.shell.line(wrapped(f"touch {ran}", f"{CONNECTION}.1"))
    login = host.start("bash", "-c", line, env={**os.environ, "BASH_ENV": str(slow)})
    host.pids.append(int(read_line(login.stdout)))

    host.stdin.close()

    assert login.wait(DEADLINE) == -signal.SIGTERM
    assert not ran.exists()


def test_an_order_reaches_nothing_that_the_login_shell_runs_before_the_command(host: Host, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("/bin/sh -c 'echo $$; exec sleep 1000'; echo over\n")
    line = host.shell.line(wrapped("echo $$; exec sleep 1000", f"{CONNECTION}.1"))
    login = host.start("bash", "-c", line, env={**os.environ, "BASH_ENV": str(slow), "SHELL": "/bin/sh"})
    helper = int(read_line(login.stdout))
    host.pids.append(helper)

    assert host.order(signal.SIGTERM, f"{CONNECTION}.1") == 0
    os.kill(helper, signal.SIGTERM)
    assert read_line(login.stdout) == b"over\n"
    read_line(login.stdout)
    assert host.order(signal.SIGTERM, f"{CONNECTION}.1") == 1
    assert login.wait(DEADLINE) == 143


def test_sigkill_ends_a_login_shell_that_does_not_come_to_the_command(host: Host, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("/bin/sh -c 'echo $$; exec sleep 1000'\n")
    line = host.shell.line(wrapped("echo ran", f"{CONNECTION}.1"))
    login = host.start("bash", "-c", line, env={**os.environ, "BASH_ENV": str(slow)})
    helper = int(read_line(login.stdout))
    host.pids.append(helper)

    assert host.order(signal.SIGKILL, f"{CONNECTION}.1") == 2
    wait_for_death(helper)
    assert login.wait(DEADLINE) == -signal.SIGKILL
    assert login.stdout is not None
    assert login.stdout.read() == b""


def test_it_ends_soon_where_nothing_is_left(host: Host) -> None:
    host.stdin.close()

    assert host.supervisor.wait(DEADLINE) == 0


# -- its words -----------------------------------------------------------------


ready = b"regisseur 0a ready\n"
killed = b"regisseur 0a killed 15 0a.7 3\n"
words = [SupervisorAnswer(is_ready=True), SupervisorAnswer(token="0a.7", signal=15, count=3)]


@given(st.lists(st.integers(0, len(ready + killed))))
def test_answers_come_out_however_the_bytes_are_cut(cuts: list[int]) -> None:
    data = ready + killed
    cuts = sorted(cuts)
    reader = SupervisorReader("0a")

    got = [a for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) for a in reader.feed(data[start:end])]

    assert words == got


@given(st.binary())
def test_noise_of_start_up_files_says_nothing(noise: bytes) -> None:
    reader = SupervisorReader("0a")

    assert words == reader.feed(noise + b"\n" + ready) + reader.feed(killed)


@pytest.mark.parametrize(
    "line",
    [
        b"regisseur 0b ready",
        b"regisseur 0a",
        b"motd: regisseur 0a ready",
        b"regisseur 0a killed",
        b"regisseur 0a killed 15 0a.7 many",
        b"x" * 10_000 + b"regisseur 0a ready",
    ],
)
def test_what_only_looks_like_an_answer_is_none(line: bytes) -> None:
    reader = SupervisorReader("0a")

    assert [answer for start in range(0, len(line), 5000) for answer in reader.feed(line[start : start + 5000])] == []
    assert reader.feed(b"\n") == []


@pytest.mark.parametrize(
    ("number", "token"), [(-1, "0a.1"), (65, "0a.1"), (9, "0a"), (9, "0a.1\n9 0a.2"), (9, "0a.1 ")]
)
def test_an_order_is_one_signal_for_one_process(number: int, token: str) -> None:
    with pytest.raises(ValueError, match="for the process"):
        kill_order(number, token)
