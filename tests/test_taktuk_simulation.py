"""The simulation behind a table of the docs: where one can reckon by hand, it says the same."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

_PATH = Path(__file__).parents[1] / "benchmarks" / "taktuk_simulation.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """The module, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("taktuk_simulation", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["taktuk_simulation"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_node_takes_what_its_steps_take(simulation: ModuleType) -> None:
    costs = simulation.SSH
    tree = simulation.Tree(1, costs)

    steps = costs.connect + costs.login + costs.start + 2 * costs.latency
    assert tree.deployed == pytest.approx(steps, rel=0.01)
    assert (tree.connected, tree.failed, tree.depth) == (1, 0, 1)


def test_a_root_that_connects_all_is_as_fast_as_its_processor_or_its_window(simulation: ModuleType) -> None:
    costs = simulation.Costs(connect=0.01, start=0.05, message=0, pack=0, run=0, ours=0)
    tree = simulation.Tree(200, costs, arity=-1)
    by_processor = 200 * costs.connect + costs.start

    assert tree.deployed == pytest.approx(by_processor, rel=0.05)
    assert tree.depth == 1


def test_a_limit_of_connections_is_kept_and_all_are_connected_all_the_same(simulation: ModuleType) -> None:
    tree = simulation.Tree(500, simulation.SSH, arity=2)

    assert tree.connected == 500
    assert tree.depth >= math.log2(500) - 1
    level = [tree.root]
    while level:
        assert all(len(node.children) <= 2 for node in level)
        level = [child for node in level for child in node.children]


def test_with_shared_processors_no_work_is_done_for_nothing(simulation: ModuleType) -> None:
    costs = simulation.Costs(connect=0.01, start=0.03, message=0, pack=0, run=0, ours=0)
    tree = simulation.Tree(100, costs, processors=2)

    assert tree.deployed >= 100 * 0.04 / 2
    assert tree.deployed == pytest.approx(100 * 0.04 / 2, rel=0.2)


def test_hosts_that_do_not_answer_are_given_up_after_the_limit_of_time(simulation: ModuleType) -> None:
    tree = simulation.Tree(100, simulation.SSH, failing=0.1)

    assert tree.connected + tree.failed == 100
    assert tree.failed > 0
    assert tree.deployed >= simulation.TIMEOUT


def test_a_command_on_all_nodes_is_bounded_by_the_messages_of_the_root(simulation: ModuleType) -> None:
    costs = simulation.SSH
    tree = simulation.Tree(2000, costs)

    assert tree.command() >= 2000 * 3 * costs.message
