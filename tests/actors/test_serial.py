"""Serial: a port of this machine as a process. Pairs of ports are made by socat."""

from __future__ import annotations

import os
import select
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import DEADLINE, QUIET
from regisseur.actors._proctable import session_members
from regisseur.actors.process import Process
from regisseur.actors.serial import Serial, serial_command


class Pair:
    """Two ports with a line between them: *near* is for the process, *far* for the test."""

    def __init__(self, directory: Path) -> None:
        self.near, self.far = directory / "near port", directory / "far"
        ends = [f"pty,raw,echo=0,link={str(end).replace(' ', chr(92) + ' ')}" for end in (self.near, self.far)]
        self.socat = Process(["socat", "-d", "-d", *ends], **QUIET).start()
        assert self.socat.expect("starting data transfer loop", DEADLINE, stream=2)[0] == 0, self.socat.dump()
        self.fd = os.open(self.far, os.O_RDWR | os.O_NOCTTY)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            assert select.select([self.fd], [], [], DEADLINE)[0], data
            data += os.read(self.fd, size)
        return data

    def unplug(self) -> None:
        self.socat.kill(9).wait(DEADLINE)

    def close(self) -> None:
        os.close(self.fd)
        self.unplug()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


@pytest.fixture
def port(pair: Pair) -> Iterator[Serial]:
    made = Serial(str(pair.near), 115200, **QUIET).start()
    yield made
    made.kill().wait(DEADLINE)
    assert made.ended


def greet(port: Serial, pair: Pair) -> None:
    """Wait until the port is set up and read: before, what comes may be lost, as on a real one."""
    port.write("hello\n")
    assert pair.read(6) == b"hello\n"
    os.write(pair.fd, b"ready\n")
    assert port.expect("ready\n", DEADLINE)[0] == 0


@pytest.mark.requires_socat
def test_what_is_written_goes_to_the_port_and_what_comes_is_stdout(port: Serial, pair: Pair) -> None:
    greet(port, pair)
    for n in range(10):
        port.write(f"question {n}\n")
        assert pair.read(len(f"question {n}\n")).decode() == f"question {n}\n"
        os.write(pair.fd, f"answer {n}\n".encode())
        _, match = port.expect(r"answer (\d)\n", DEADLINE)
        assert match is not None
        assert match.group(1) == str(n)


@pytest.mark.requires_socat
def test_all_bytes_pass_as_they_are(port: Serial, pair: Pair) -> None:
    greet(port, pair)
    data = bytes(range(256)) * 8
    port.write(data)
    assert pair.read(len(data)) == data
    os.write(pair.fd, data + b"end")
    assert port.expect("end", DEADLINE)[0] == 0

    assert port.stdout_bytes == b"ready\n" + data + b"end"


@pytest.mark.requires_socat
def test_the_port_has_the_speed_and_the_form_that_were_asked_for(port: Serial, pair: Pair) -> None:
    greet(port, pair)
    near = os.open(pair.near, os.O_RDWR | os.O_NOCTTY)
    _, _, control, local, speed_in, speed_out, _ = termios.tcgetattr(near)
    os.close(near)

    assert (speed_in, speed_out) == (termios.B115200, termios.B115200)
    assert control & (termios.CSIZE | termios.PARENB | termios.CSTOPB | termios.CLOCAL) == termios.CS8 | termios.CLOCAL
    assert local & (termios.ICANON | termios.ECHO | termios.ISIG) == 0


@pytest.mark.requires_socat
def test_after_the_end_of_its_input_it_goes_on_reading(port: Serial, pair: Pair) -> None:
    greet(port, pair)
    port.write("last\n")
    port.close_stdin()
    assert pair.read(5) == b"last\n"
    os.write(pair.fd, b"still there\n")

    assert port.expect("still there", DEADLINE)[0] == 0
    assert port.running


@pytest.mark.requires_socat
def test_it_ends_when_the_device_is_unplugged(port: Serial, pair: Pair) -> None:
    greet(port, pair)
    pair.unplug()

    assert port.wait(DEADLINE).ended
    assert not port.killed


@pytest.mark.requires_socat
def test_a_kill_ends_all_of_it_and_frees_the_port(port: Serial, pair: Pair) -> None:
    greet(port, pair)
    pid = port.pid
    assert pid is not None
    assert len(session_members(pid)) == 3
    assert port.kill().wait(DEADLINE).ok
    while session_members(pid):
        pass

    with Serial(str(pair.near), 9600, **QUIET).start() as again:
        greet(again, pair)
    again.wait(DEADLINE)


def test_a_port_that_is_not_there_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    port = Serial(str(tmp_path / "missing"), 9600, **QUIET).run(DEADLINE)

    assert (port.ended, port.ok) == (True, False)
    assert str(tmp_path / "missing") in port.stderr


def test_a_speed_that_does_not_exist_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    port = Serial("/dev/ptmx", 12345, **QUIET).run(DEADLINE)

    assert not port.ok
    assert "12345" in port.stderr


def test_what_is_no_number_is_no_speed() -> None:
    with pytest.raises(ValueError, match="fast"):
        Serial("/dev/null", "fast")  # type: ignore[arg-type]  # that is the point


def test_names_are_quoted_for_the_shell() -> None:
    command = serial_command("/dev/it's; rm -rf $HOME", 9600)

    assert subprocess.run(["sh", "-n", "-c", command], check=True).returncode == 0
    assert "'/dev/it'\"'\"'s; rm -rf $HOME'" in command


def test_repr_is_the_call_that_makes_it() -> None:
    assert repr(Serial("/dev/ttyUSB0", 9600)) == "Serial('/dev/ttyUSB0', 9600)"
    assert repr(Serial("/dev/x", 1200, timeout=5, nolog_timeout=True)) == (
        "Serial('/dev/x', 1200, timeout=5.0, nolog_timeout=True)"
    )
