"""Fixtures for tests on real hosts. After each test all hosts are well again, and nothing may be left on any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bed import Bed
from deadline import DEADLINE
from machine import Machine
from regisseur.actors.runtime import Runtime, use_runtime
from sshd import WAYS, params_of

_COUNT = 20
_OURS = r"regisseur-(watcher|supervisor)|^sleep [0-9.]{1,2}$"
"""What watches a connection on its host. It ends by itself; test_left_behind.py sees that it does."""


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """The hosts of all tests, booted for the first one."""
    with Bed(_COUNT, tmp_path_factory.mktemp("testbed")) as bed:
        yield bed


@pytest.fixture
def hosts(bed: Bed) -> Iterator[list[Machine]]:
    """The hosts, node-1 to node-20."""
    yield bed.hosts
    for host in bed.hosts:
        host.heal()
    for host in bed.hosts:
        host.wait_idle(DEADLINE, besides=_OURS)


@pytest.fixture
def names(hosts: list[Machine]) -> list[str]:
    """What the hosts are called."""
    return [host.name for host in hosts]


@pytest.fixture
def stage(hosts: list[Machine]) -> Iterator[Runtime]:
    """A runtime for one test. It ends before it is looked what is left on the hosts."""
    with Runtime("stage") as runtime, use_runtime(runtime):
        yield runtime


@pytest.fixture
def usual(bed: Bed, stage: Runtime, tmp_path: Path) -> dict[str, Any]:
    """Connection parameters for the hosts, whose keys may change between tests. For those that crash, see `alert`."""
    return {**bed.connection_params, "known_hosts": str(tmp_path / "known_hosts")}


@pytest.fixture(params=WAYS)
def params(request: pytest.FixtureRequest, usual: dict[str, Any]) -> dict[str, Any]:
    """The same, for each way to connect."""
    return {**usual, **params_of(request.param)}
