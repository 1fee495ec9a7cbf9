"""How long a tree of TakTuk's takes to be deployed, and a command over it, for more nodes than anybody has at hand.

A simulation by discrete events of what TakTuk 3.7.7 does (its package ``scheduler``): each node makes so many
connections at once, its window; a node that has no hosts left to connect asks the one that connected it for some, gets
one, then two, then four, but never more than half of what is there. Processor time is queued for: each node has a
processor of its own, or all share those of one machine, which is how the simulation is checked against real trees.

What the steps cost is measured on this machine (`measured`), by real trees; see docs/taktuk.md.

usage: taktuk_simulation.py check    measure the costs, and compare with real trees of 20, 100 and 300 nodes here
       taktuk_simulation.py table    the table in the docs, with the costs that stand in `COSTS`
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import itertools
import math
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Costs:
    """Seconds. Those of processors first."""

    connect: float
    """To begin a connection, for the node that makes it, with its connector."""
    start: float
    """To become a node: Perl, and the program that is sent along; with its end of the connection."""
    message: float
    """For a message that a node takes or passes on."""
    pack: float
    """For a host that is handed to another node to be connected there, for each of the two."""
    run: float
    """To run a command, on its node."""
    ours: float
    """For each node and command, in the program that has it run."""
    login: float = 0.0
    """That a connection takes besides: what is waited for."""
    latency: float = 0.0
    """Of a message, on its way."""


COSTS = Costs(connect=0.0060, start=0.0400, message=0.00004, pack=0.00001, run=0.0047, ours=0.0001)
"""Measured here, with a connector that costs nothing."""
SSH = dataclasses.replace(COSTS, connect=0.0180, start=0.0520, login=0.15, latency=0.0002)
"""The same with ssh in a cluster: what its ends cost by curve25519, and a login of 150 ms."""
WINDOW = 10
_TOLD = 3  # things that a node tells of its connection, and of a command
TIMEOUT = 20.0


class Processors:
    """Some processors with one queue."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count

    def run(self, now: float, seconds: float) -> float:
        """Return when work of so many seconds that is given to them now is done."""
        end = max(now, self._free[0]) + seconds
        heapq.heapreplace(self._free, end)
        return end


@dataclass(slots=True, eq=False)
class Node:
    """One node."""

    parent: Node | None
    processors: Processors
    limit: int
    hosts: deque[bool] = field(default_factory=deque)
    """Those it is to connect: whether each can be."""
    making: int = 0
    """Connections."""
    children: list[Node] = field(default_factory=list)
    given: int = 0
    """How many hosts it got the last time."""
    has_asked: bool = False
    thieves: deque[Node] = field(default_factory=deque)


class Tree:
    """One deployment.

    Args:
        count: of hosts.
        arity: connections that a node makes at most; 0: any number; negative: the root makes all.
        failing: part of the hosts that do not answer.
        processors: that all nodes share; None: each has its own.
    """

    def __init__(
        self,
        count: int,
        costs: Costs,
        *,
        arity: int = 0,
        failing: float = 0.0,
        processors: int | None = None,
        seed: int = 0,
    ) -> None:
        rng = random.Random(seed)
        self._costs = costs
        self._shared = None if processors is None else Processors(processors)
        self._arity = arity
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self.connected = 0
        self.failed = 0
        self.root = self._node(None)
        self.root.hosts.extend(rng.random() >= failing for _ in range(count))
        self._connect(self.root, 0.0)
        self.deployed = 0.0
        """When the last connection was made or given up, and then: when all nodes have been counted, too."""
        while self._events:
            now, _, function = heapq.heappop(self._events)
            function(now)
        assert self.connected + self.failed == count
        told = _TOLD * self.connected * costs.message  # to the root, meanwhile
        self.deployed = max(self.deployed, told) + self._spread(dataclasses.replace(costs, run=0.0), 1)

    def _node(self, parent: Node | None) -> Node:
        return Node(parent, self._shared or Processors(1), max(self._arity, 0))

    def _at(self, when: float, function: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), function))

    def _connect(self, node: Node, now: float) -> None:
        """Make as many connections as may be; or ask for hosts."""
        while node.hosts and node.making < WINDOW and not self._is_full(node):
            node.making += 1
            if node.hosts.popleft():
                child = self._node(node)
                node.children.append(child)
                begun = node.processors.run(now, self._costs.connect)
                self._at(begun + self._costs.login, lambda now, child=child: self._begin(child, now))
            else:
                self._at(now + TIMEOUT, lambda now: self._give_up(node, now))
        if self._may_steal(node):
            self._ask(node, now)

    def _may_steal(self, node: Node) -> bool:
        if node.parent is None or self._arity < 0 or node.has_asked or node.hosts:
            return False
        return node.making < WINDOW and not self._is_full(node)

    def _is_full(self, node: Node) -> bool:
        return node.limit > 0 and len(node.children) >= node.limit

    def _begin(self, child: Node, now: float) -> None:
        self._at(child.processors.run(now, self._costs.start), lambda now: self._connected(child, now))

    def _connected(self, child: Node, now: float) -> None:
        parent = child.parent
        assert parent is not None
        self.connected += 1
        self.deployed = now
        parent.making -= 1
        self._connect(parent, now)
        self._connect(child, now)

    def _give_up(self, node: Node, now: float) -> None:
        self.failed += 1
        self.deployed = now
        node.making -= 1
        self._connect(node, now)

    def _ask(self, node: Node, now: float) -> None:
        assert node.parent is not None
        node.has_asked = True
        self._send(node, node.parent, now, lambda now: self._asked(node, now))

    def _send(self, sender: Node, taker: Node, now: float, then: Callable[[float], None]) -> None:
        sent = sender.processors.run(now, self._costs.message) + self._costs.latency
        self._at(sent, lambda now: self._at(taker.processors.run(now, self._costs.message), then))

    def _asked(self, thief: Node, now: float) -> None:
        giver = thief.parent
        assert giver is not None
        if not giver.hosts:
            giver.thieves.append(thief)
            if giver.parent is not None and not giver.has_asked:
                self._ask(giver, now)
            return
        thief.given = min(max(1, 2 * thief.given), math.ceil(len(giver.hosts) / 2))
        taken = [giver.hosts.popleft() for _ in range(thief.given)]
        packing = len(taken) * self._costs.pack
        packed = giver.processors.run(now, packing)
        self._send(giver, thief, packed, lambda now: self._got(thief, taken, thief.processors.run(now, packing)))

    def _got(self, node: Node, hosts: list[bool], now: float) -> None:
        node.hosts.extend(hosts)
        node.has_asked = False
        self._connect(node, now)
        while node.thieves and node.hosts:
            self._asked(node.thieves.popleft(), now)
        if node.thieves and not node.has_asked:
            self._ask(node, now)

    # -- a command ---------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """How many connections the farthest node is away."""
        depth, level = -1, [self.root]
        while level:
            depth, level = depth + 1, [child for node in level for child in node.children]
        return depth

    def command(self) -> float:
        """How long a command takes on all nodes."""
        return self._spread(self._costs, _TOLD)

    def _spread(self, costs: Costs, records: int) -> float:
        """How long it takes that something reaches all nodes, and each tells so many things of it."""
        self._refresh()
        shared = self._shared
        events: list[tuple[float, int, Node, bool]] = []
        numbers = itertools.count()
        end = 0.0

        def down(node: Node, now: float) -> None:
            for child in node.children:
                now = node.processors.run(now, costs.message)
                heapq.heappush(events, (now + costs.latency, next(numbers), child, True))

        down(self.root, 0.0)
        while events:
            now, _, node, is_order = heapq.heappop(events)
            if is_order:
                down(node, node.processors.run(now, costs.message))
                done = node.processors.run(now, costs.run)
                assert node.parent is not None
                heapq.heappush(events, (done + costs.latency, next(numbers), node.parent, False))
            else:
                now = node.processors.run(now, records * costs.message)
                if node.parent is not None:
                    heapq.heappush(events, (now + costs.latency, next(numbers), node.parent, False))
                else:
                    end = max(end, now)
        ours = (shared or Processors(1)).run(0.0, costs.ours * self.connected)
        return max(end, ours)

    def _refresh(self) -> None:
        """All processors are idle, and the clock is at 0."""
        shared = None if self._shared is None else Processors(len(self._shared._free))
        self._shared = shared
        level = [self.root]
        while level:
            for node in level:
                node.processors = shared or Processors(1)
            level = [child for node in level for child in node.children]


# -- real trees --------------------------------------------------------------------------------------------------------


def measured(count: int) -> dict[str, float]:
    """Deploy a tree of so many nodes on this machine, and run two commands: seconds of each, and of processors."""
    from regisseur.actors import Process, TaktukGateway, TaktukRemote
    from regisseur.actors.runtime import Runtime, use_runtime

    connector = str(Path(__file__).with_name("cases") / "taktuk_connector.sh")
    params: dict[str, Any] = {"taktuk_connector": connector, "taktuk_connector_options": (), "connect_timeout": 600}
    hosts = [f"host-{number}" for number in range(count)]
    figures: dict[str, float] = {}
    with Runtime("measured") as runtime, use_runtime(runtime):
        Process("/bin/true").run()
        before, began = _busy(), time.monotonic()
        gateway = TaktukGateway(hosts, params).start().wait()
        assert len(gateway.connected) == count, gateway.unreachable
        figures["deploy"] = time.monotonic() - began
        figures["deploy_cpu"] = _busy() - before
        first = TaktukRemote("true", hosts, params).run()  # which starts the supervisors
        root = first.processes[0].pid
        before, began, root_before = _busy(), time.monotonic(), _used(root)
        second = TaktukRemote("true", hosts, params).run()
        assert second.ok
        figures["command"] = time.monotonic() - began
        figures["command_cpu"] = _busy() - before
        figures["root_cpu"] = _used(root) - root_before
        gateway.stop()
    return figures


def _busy() -> float:
    """Processor seconds that this machine, which has nothing else to do, has been busy."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return sum(int(fields[number]) for number in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")


def _settle() -> None:
    """Wait until what was started on the nodes has gone: supervisors look around a last time."""
    while any(b"regisseur-supervisor" in line for line in _command_lines()):
        time.sleep(0.1)


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            yield path.read_bytes()


def _used(pid: int | None) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def check() -> None:
    """Print what real trees and simulated ones take."""
    real = {}
    for count in (20, 100, 300):
        real[count] = measured(count)
        _settle()
    used = [real[count]["deploy_cpu"] / count for count in real]
    print("processor seconds of a node's connection:", *(f"{seconds:.4f}" for seconds in used))
    ran = [real[count]["command_cpu"] / count for count in real]
    print("of a command on it:", *(f"{seconds:.4f}" for seconds in ran))
    roots = [real[count]["root_cpu"] / count for count in real]
    print("of the root for that:", *(f"{seconds:.4f}" for seconds in roots))
    each = sorted(used)[1]
    share = COSTS.connect / (COSTS.connect + COSTS.start)
    records = 3 * 2  # each is taken and passed on at least once
    costs = dataclasses.replace(
        COSTS,
        connect=each * share,
        start=each * (1 - share),
        run=max(0.0, sorted(ran)[1] - records * COSTS.message - COSTS.ours),
    )
    print("| nodes | deployed: real | simulated | command: real | simulated |")
    print("| --- | --- | --- | --- | --- |")
    for count, figures in real.items():
        tree = Tree(count, costs, processors=os.cpu_count())
        row = (figures["deploy"], tree.deployed, figures["command"], tree.command())
        print(f"| {count} |", " | ".join(f"{seconds:.2f} s" for seconds in row), "|")


def table() -> None:
    """Print the table of the docs."""
    print("| nodes | arity | not answering | deployed | depth | command |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in (100, 1000, 10_000, 100_000):
        for arity, failing in ((0, 0.0), (2, 0.0), (10, 0.0), (-1, 0.0), (0, 0.01), (0, 0.1)):
            tree = Tree(count, SSH, arity=arity, failing=failing)
            name = {0: "any", -1: "the root connects all"}.get(arity, str(arity))
            print(f"| {count:,} | {name} | {failing:.0%} | {tree.deployed:,.1f} s", end=" ")
            print(f"| {tree.depth} | {tree.command():,.2f} s |")


if __name__ == "__main__":
    {"check": check, "table": table}[sys.argv[1]]()
