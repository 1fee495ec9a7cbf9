"""Commands on twenty hosts at once."""

from __future__ import annotations

from typing import Any

import pytest

from machine import USER
from processes import DEADLINE
from regisseur.actors.remote import Remote

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed]


def test_each_host_runs_the_command(names: list[str], params: dict[str, Any]) -> None:
    action = Remote("uname -n; whoami", names, params).run(DEADLINE)

    assert [process.stdout for process in action.processes] == [f"{name}\n{USER}\n" for name in names]
    assert action.ok
