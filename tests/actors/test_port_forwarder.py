"""PortForwarder: when it says that it listens, it does; and it says why it does not."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET
from regisseur.actors.config import configuration
from regisseur.actors.exception import ProcessesFailed
from regisseur.actors.host import Host
from regisseur.actors.port_forwarder import PortForwarder


class Forwarders:
    """Makes forwarders, and ends them all with the test."""

    def __init__(self) -> None:
        self.made: list[PortForwarder] = []

    def __call__(self, *args: Any, **kwargs: Any) -> PortForwarder:
        self.made.append(PortForwarder(*args, **{"connection_params": STUB_PARAMS, **QUIET, **kwargs}))
        return self.made[-1]


@pytest.fixture
def forwarder() -> Iterator[Forwarders]:
    made = Forwarders()
    yield made
    for process in made.made:
        if process.running:
            assert process.kill(auto_force_kill_timeout=0.5).wait(DEADLINE).ended


def script(directory: Path, text: str) -> dict[str, Any]:
    """Connection parameters with a connector that does as *text* says."""
    connector = directory / "connector"
    connector.write_text(f"#!/bin/sh\n{text}\n")
    connector.chmod(0o755)
    return {**STUB_PARAMS, "ssh": str(connector)}


def test_its_command_line_asks_to_listen_or_to_end() -> None:
    cmd = PortForwarder("h1", "::1", 80, 5000, "::").cmd

    assert cmd == PortForwarder("h1", Host("::1", user="u"), 80, 5000, "::").cmd
    assert cmd[cmd.index("-L") + 1] == "[::]:5000:[::1]:80"
    assert "ExitOnForwardFailure=yes" in cmd
    assert cmd[-2] == "h1"


def test_it_listens_on_a_free_port_of_the_loopback_interface_by_default() -> None:
    first, end = configuration["port_range"]

    made = PortForwarder("h1", "r", 80)

    assert made.bind_address == "127.0.0.1"
    assert first <= made.local_port < end
    assert made.name == f"forward 127.0.0.1:{made.local_port} to r:80"
    assert repr(made) == f"PortForwarder(Host('h1'), 'r', 80, {made.local_port}, '127.0.0.1')"
    assert (made.remote_host, made.remote_port, made.host) == ("r", 80, Host("h1"))


def test_it_is_entered_when_it_listens_and_killed_when_left(forwarder: Forwarders) -> None:
    with forwarder("h1", "r", 80) as made:
        assert made.forwarding.is_set()
        assert made.running
    made.wait(DEADLINE)

    assert (made.killed, made.ok) == (True, True)
    made.reset()
    assert not made.forwarding.is_set()
    with made:
        assert made.forwarding.is_set()


def test_the_event_serves_who_starts_it_without_a_context(forwarder: Forwarders) -> None:
    made = forwarder("h1", "r", 80).start()

    assert made.forwarding.wait(DEADLINE)


def test_what_ends_before_it_listens_raises(forwarder: Forwarders, tmp_path: Path) -> None:
    made = forwarder("h1", "r", 80, connection_params=script(tmp_path, "echo the reason >&2; exit 1"))

    with pytest.raises(ProcessesFailed, match="the reason") as caught, made:
        pass

    assert caught.value.processes == [made]
    assert not made.forwarding.is_set()


def test_what_takes_too_long_to_listen_is_killed_and_raises(forwarder: Forwarders, tmp_path: Path) -> None:
    params = script(tmp_path, "exec sleep 100") | {"forwarding_timeout": 0.1}
    made = forwarder("h1", "r", 80, 5000, connection_params=params)

    with pytest.raises(ProcessesFailed) as caught, made:
        pass

    assert str(caught.value.__cause__) == "h1: 127.0.0.1:5000 does not listen 0.1 s after the start"
    assert made.wait(DEADLINE).killed


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("bind [127.0.0.1]:5000: Address already in use\r\nCould not request local forwarding.\r\n", errno.EADDRINUSE),
        ("bind [10.1.1.1]:5000: Cannot assign requested address\r\n", errno.EADDRNOTAVAIL),
        ("channel_setup_fwd_listener_tcpip: cannot listen to port: 5000\r\n", errno.EADDRNOTAVAIL),
    ],
)
def test_a_port_that_can_not_be_listened_on_is_told(said: str, number: int) -> None:
    error = PortForwarder("h1", "r", 80, 5000).connection_error(said, ran=False)

    assert isinstance(error, OSError)
    assert error.errno == number
    assert "can not listen on 127.0.0.1:5000: " in str(error)
