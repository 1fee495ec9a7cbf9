"""Parking: descriptors that stay open without a place among the open files."""

from __future__ import annotations

import errno
import os

import pytest

from regisseur.actors._parking import Parking


def is_open_somewhere(read_end: int) -> bool:
    """Whether anybody holds the other end of the pipe *read_end*."""
    os.set_blocking(read_end, False)
    try:
        return os.read(read_end, 1) != b""
    except BlockingIOError:
        return True


def test_a_parked_descriptor_uses_no_place_and_stays_open() -> None:
    parking = Parking()
    read_end, write_end = os.pipe()

    assert parking.park(7, write_end)

    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(write_end)
    assert is_open_somewhere(read_end)
    back = parking.take(7)
    os.write(back, b"still here")
    assert os.read(read_end, 100) == b"still here"
    os.close(back)
    os.close(read_end)
    parking.close()


def test_any_of_many_can_be_taken_back_and_the_others_stay() -> None:
    parking = Parking()
    pipes = [os.pipe() for _ in range(700)]
    before = len(os.listdir("/proc/self/fd"))

    assert all(parking.park(tag, write_end) for tag, (_, write_end) in enumerate(pipes))

    assert before - len(os.listdir("/proc/self/fd")) > 690
    assert len(parking) == 700
    for tag in (0, 699, 350, 351):
        back = parking.take(tag)
        os.write(back, b"x")
        assert os.read(pipes[tag][0], 1) == b"x"
        os.close(back)
        assert not is_open_somewhere(pipes[tag][0])
    assert is_open_somewhere(pipes[1][0])
    parking.close()
    assert not is_open_somewhere(pipes[1][0])
    for read_end, _ in pipes:
        os.close(read_end)


def test_what_is_forgotten_is_closed_when_the_last_of_its_company_is() -> None:
    parking = Parking()
    pipes = [os.pipe() for _ in range(3)]
    for tag, (_, write_end) in enumerate(pipes):
        parking.park(tag, write_end)

    for tag in range(3):
        parking.forget(tag)
    parking.forget(99)

    assert len(parking) == 0
    assert not any(is_open_somewhere(read_end) for read_end, _ in pipes)
    with pytest.raises(KeyError):
        parking.take(1)
    for read_end, _ in pipes:
        os.close(read_end)
    parking.close()
