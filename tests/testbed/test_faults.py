"""What becomes of commands when hosts and networks fail under them, and of those on the other hosts: nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from machine import Machine
from processes import DEADLINE, QUIET
from regisseur.actors.connection_errors import ConnectionLostError
from regisseur.actors.remote import Remote

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed, pytest.mark.slow]

_SOON = 3 * 1 + 2.0
"""Seconds until a host that is gone is lost: three times the alive_interval, and what a busy machine needs."""


def test_hosts_that_crash_or_hang_or_are_unplugged_are_lost_soon_and_no_other(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    action = Remote("echo begun; cat", names, params, process_args=QUIET).start()
    assert [index for _, index, _ in action.expect("begun", timeout=DEADLINE)] == [0] * len(hosts)
    failing = {2: Machine.crash, 7: Machine.hang, 11: Machine.unplug}
    since = time.monotonic()
    for index, fail in failing.items():
        fail(hosts[index])
    lost = [action.processes[index].wait(DEADLINE) for index in failing]
    took = time.monotonic() - since
    action.write("still there\n")
    action.close_stdin()
    action.wait(DEADLINE)

    assert [type(process.error_reason) for process in lost] == [ConnectionLostError] * 3
    assert [(process.error, process.exit_code) for process in lost] == [(True, None)] * 3
    assert took < _SOON
    others = [process for index, process in enumerate(action.processes) if index not in failing]
    assert {(process.ok, process.stdout) for process in others} == {(True, "begun\nstill there\n")}

    for index in failing:
        hosts[index].heal()
    again = Remote("uname -n", names, params).run(DEADLINE)
    assert [process.stdout for process in again.processes] == [f"{name}\n" for name in names]
