"""What stands around a command of a transfer over TakTuk: real Perl, over a socket as TakTuk gives one."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processes import DEADLINE
from regisseur.protocols.shell_line import sh
from regisseur.protocols.taktuk_transfer import GRANT_UNIT, TOOK_UNIT, TookReader, Untapped, fed, tapped


class Running:
    """A command whose stdin and stdout are a socket."""

    def __init__(self, line: str, shell: str = "/bin/sh") -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE)
        with theirs:
            fd = theirs.fileno()
            self.process = subprocess.Popen([shell, "-c", line], stdin=fd, stdout=fd, stderr=subprocess.PIPE)

    def said(self) -> bytes:
        """All that it writes, to the end."""
        return b"".join(iter(lambda: self.socket.recv(1 << 16), b""))

    def end(self) -> tuple[int, bytes]:
        """Its exit status, as of subprocess, and what it has written to stderr."""
        errors = self.process.communicate(timeout=DEADLINE)[1]
        self.socket.close()
        return self.process.returncode, errors


@pytest.fixture(params=["/bin/sh", "/bin/bash"])
def shell(request: pytest.FixtureRequest) -> str:
    path: str = request.param
    return path


def took(said: bytes) -> list[bytes]:
    return [line for line in said.split(b"\n") if line.startswith(b"took ")]


# -- fed ---------------------------------------------------------------------------------------------------------------


def test_a_fed_command_reads_what_comes_and_tells_how_much(shell: str) -> None:
    data = os.urandom(2 * TOOK_UNIT + 17)
    running = Running(fed(sh('cksum; printf "it is %s" "$1"; exit 3', "name", "a b")), shell)
    running.socket.sendall(data)
    running.socket.shutdown(socket.SHUT_WR)
    said = running.said()

    sums = subprocess.run(["cksum"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert said.endswith(sums + b"it is a b")
    assert [int(line.split()[1]) // TOOK_UNIT for line in took(said)] == [1, 2]
    assert running.end() == (3, b"")


def test_what_a_fed_command_has_not_taken_it_does_not_tell() -> None:
    running = Running(fed(sh("head -c 1500000 >/dev/null; echo stopped; read x; cat >/dev/null", "n")))
    running.socket.sendall(b"\n" * 1_500_000)
    said = b""
    while b"stopped" not in said:
        said += running.socket.recv(1 << 16)

    assert TookReader().feed(said) in range(TOOK_UNIT, TOOK_UNIT + 65536)
    running.socket.sendall(b"\n" * 1_500_000)
    running.socket.shutdown(socket.SHUT_WR)
    assert TookReader().feed(said + running.said()) in range(2 * TOOK_UNIT, 3 * TOOK_UNIT)
    assert running.end() == (0, b"")


def test_a_fed_command_may_end_before_its_input(shell: str) -> None:
    running = Running(fed(sh("exit 4", "name")), shell)  # and its copier with it, so that the socket is closed

    assert running.said() == b""
    assert running.end() == (4, b"")


def test_a_signal_ends_a_fed_command_as_it_would_end_it_alone() -> None:
    running = Running(fed(sh("kill -TERM $$", "name")))

    assert running.said() == b""
    assert running.end() == (-signal.SIGTERM, b"")


def test_a_fed_command_cleans_up_when_its_input_breaks_off() -> None:
    running = Running(fed(sh('trap "echo cleaned" 0; cat >/dev/null', "name")))
    running.socket.sendall(b"some")
    running.socket.shutdown(socket.SHUT_WR)

    assert running.said() == b"cleaned\n"
    assert running.end() == (0, b"")


@given(cuts=st.lists(st.integers(0, 60)), noise=st.binary(max_size=30))
def test_what_was_taken_is_found_however_it_is_cut(cuts: list[int], noise: bytes) -> None:
    stream = b"at d\ntook 1048576\n" + noise + b"\ntook 2097152\n"
    reader = TookReader()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    found = [reader.feed(stream[low:high]) for low, high in itertools.pairwise(places)]
    assert [count for count in found if count is not None][-1] == 2 * TOOK_UNIT


def test_half_a_line_tells_nothing() -> None:
    reader = TookReader()

    assert reader.feed(b"took 104") is None
    assert reader.feed(b"8576\nx") == 1048576
    assert reader.feed(b"took 1\n" + b"x" * 100) == 1


# -- tapped ------------------------------------------------------------------------------------------------------------


def test_what_a_tapped_command_writes_comes_as_it_was_in_long_lines(shell: str, tmp_path: Path) -> None:
    data = b"".join([b"=\n=e=n\\\0" * 100, os.urandom(300_000), b"\n" * 50_000, b"=" * 50_000, b"no end"])
    (tmp_path / "data").write_bytes(data)
    running = Running(tapped(sh('exec cat "$1"', "name", str(tmp_path / "data"))), shell)
    said = running.said()

    assert Untapped().feed(said) == data
    assert max(map(len, said.split(b"\n"))) <= 1 << 15
    assert running.end() == (0, b"")


def test_a_tapped_command_is_not_far_ahead_of_who_reads() -> None:
    running = Running(tapped(sh("exec head -c 1000000 /dev/zero", "name")))
    reader, said = Untapped(), b""
    while len(said) < 4 * GRANT_UNIT:
        said += reader.feed(running.socket.recv(1 << 16))
    running.socket.sendall(b"..")
    while len(said) < 6 * GRANT_UNIT:
        said += reader.feed(running.socket.recv(1 << 16))
    running.socket.shutdown(socket.SHUT_WR)  # so it will never be told
    said += reader.feed(running.said())

    assert len(said) < 7 * GRANT_UNIT  # what it had read when it was time to wait goes out
    assert running.end() == (-signal.SIGPIPE, b"")


def test_the_end_of_a_tapped_command_is_its_own(shell: str) -> None:
    running = Running(tapped(sh("echo a; exit 66", "name")), shell)
    assert Untapped().feed(running.said()) == b"a\n"
    assert running.end() == (66, b"")


@given(data=st.text("=en\nx").map(str.encode), cuts=st.lists(st.integers(0, 60)))
def test_any_output_is_untapped_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    escaped = data.replace(b"=", b"=e").replace(b"\n", b"=n") + b"\n"
    reader = Untapped()
    places = [0, *sorted(min(cut, len(escaped)) for cut in cuts), len(escaped)]

    assert b"".join(reader.feed(escaped[low:high]) for low, high in itertools.pairwise(places)) == data
