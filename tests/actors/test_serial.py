"""Serial ports, played by a pair of pseudo terminals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regisseur.actors import Process, Serial

DEADLINE = 10.0


@pytest.mark.requires_socat
def test_a_serial_port_carries_bytes_both_ways(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    pair = Process(["socat", "-d", "-d", f"pty,raw,echo=0,link={here}", f"pty,raw,echo=0,link={there}"]).start()
    try:
        assert pair.expect("starting data transfer loop", timeout=DEADLINE, stream=2)[0] == 0
        port = Serial(str(here), 115200).start()
        device = os.open(there, os.O_RDWR | os.O_NOCTTY)
        try:
            port.write("to the device\n")
            assert os.read(device, 100) == b"to the device\n"
            os.write(device, b"from the device\n")
            assert port.expect("from the device", timeout=DEADLINE)[0] == 0
        finally:
            os.close(device)
        port.kill().wait(DEADLINE)
        assert port.ok
    finally:
        pair.kill().wait(DEADLINE)


def test_a_port_that_is_not_there_fails() -> None:
    port = Serial("/dev/nowhere", 9600, nolog_exit_code=True).run(DEADLINE)

    assert port.ended
    assert not port.ok
    assert "/dev/nowhere" in port.stderr
