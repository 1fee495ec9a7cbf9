"""Commands over trees of TakTuk's that real ssh connects."""

from __future__ import annotations

from typing import Any

import pytest

from hosts import STUB
from processes import DEADLINE, QUIET
from regisseur.actors.taktuk import TaktukRemote
from sshd import Sshd

pytestmark = [pytest.mark.requires_taktuk, pytest.mark.requires_sshd, pytest.mark.usefixtures("stage")]


@pytest.fixture
def by_ssh(sshd: Sshd) -> dict[str, Any]:
    """Parameters for 127.0.0.1 and localhost, by a real server."""
    params = sshd.connection_params
    return {**params, "taktuk_connector_options": params["ssh_options"]}


def test_real_ssh_connects_the_nodes(by_ssh: dict[str, Any]) -> None:
    action = TaktukRemote("echo $SSH_CONNECTION; cat", ["127.0.0.1", "localhost"], by_ssh, QUIET).start()
    action.write("input\n")
    action.close_stdin()
    action.wait(DEADLINE)

    assert [len(text.split()) for text in (process.stdout for process in action.processes)] == [5, 5]
    assert action.ok


def test_all_connections_may_go_over_a_gateway(by_ssh: dict[str, Any]) -> None:
    hosts = ["n1", "n2", "n3"]
    params = {**by_ssh, "taktuk_connector": STUB, "taktuk_connector_options": (), "taktuk_gateway": "127.0.0.1"}
    action = TaktukRemote("echo $STUB_HOST ${SSH_CONNECTION:+by ssh}", hosts, params, QUIET).run(DEADLINE)

    assert [process.stdout for process in action.processes] == [f"{host} by ssh\n" for host in hosts]
