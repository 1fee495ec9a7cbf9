"""The collector of cycles is paused while very many objects are made, and only then."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from regisseur.actors._collector import collector_paused


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_is_paused_for_many_things_and_goes_on_when_the_last_pause_ends() -> None:
    with collector_paused(99):
        assert gc.isenabled()
    with collector_paused(100):
        assert not gc.isenabled()
        with collector_paused(1000):
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="one"), collector_paused(100):
        raise ValueError("one")
    assert gc.isenabled()


def test_who_has_disabled_it_finds_it_so() -> None:
    gc.disable()
    with collector_paused(100):
        pass
    assert not gc.isenabled()


def test_a_fork_in_the_middle_has_it_again() -> None:
    with collector_paused(100):
        pid = os.fork()
        if not pid:
            os._exit(0 if gc.isenabled() else 1)
    _, status = os.waitpid(pid, 0)

    assert status == 0
