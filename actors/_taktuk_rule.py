"""What a tree of TakTuk's is at a moment, as a pure rule: events of `protocols.taktuk` in, effects out.

No clock, no I/O, no thread: `_taktuk_tree` feeds it what TakTuk says, and carries out the effects.

A host is first *sought*; then it is a *node*, or has *failed*; a node may get *lost*. When no host is sought any more,
or those that are nodes have been numbered, the tree *stands*: commands may be sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..protocols.messages import STDERR, STDOUT
from ..protocols.taktuk import (
    Connected,
    ConnectorSaid,
    EngineSaid,
    Event,
    Exited,
    Output,
    Started,
    State,
    StateChanged,
)
from ..protocols.taktuk_tree import SUPERVISOR, number_of

__all__ = [
    "Effect",
    "GatewayGone",
    "NodeFailed",
    "NodeLost",
    "NodeSaid",
    "RunBegun",
    "RunFailed",
    "RunOver",
    "RunSaid",
    "TreeRule",
]

_TAIL = 4096  # bytes of what a connector has said that are kept


@dataclass(slots=True)
class NodeFailed:
    """Effect: *host* could not be connected; the connector *said* why."""

    host: str
    said: str
    by_node: bool
    """Another node has tried, and not the root of the tree."""


@dataclass(slots=True)
class GatewayGone:
    """Effect: the host over which all connections go is lost, or could not be connected."""

    said: str
    was_there: bool


@dataclass(slots=True)
class NodeLost:
    """Effect: *host* is a node no longer, nor are what runs there (`unbegun`, `begun`: processes) ours to follow."""

    host: str
    said: str
    by: str
    """The node whose loss took it away; the host itself, where it was that one."""
    unbegun: list[str]
    """Commands that were sent, and of which nothing was heard."""
    begun: list[str]


@dataclass(slots=True)
class NodeSaid:
    """Effect: the supervisor of a node has written to stdout."""

    rank: int
    data: bytes


@dataclass(slots=True)
class RunBegun:
    """Effect: the command of *process* runs."""

    process: str


@dataclass(slots=True)
class RunSaid:
    """Effect: it has written to a stream."""

    process: str
    stream: int
    data: bytes


@dataclass(slots=True)
class RunOver:
    """Effect: it has ended."""

    process: str
    status: int
    """As of wait(2)."""


@dataclass(slots=True)
class RunFailed:
    """Effect: the node could not start it."""

    process: str


Effect = GatewayGone | NodeFailed | NodeLost | NodeSaid | RunBegun | RunSaid | RunOver | RunFailed


@dataclass(slots=True)
class _Node:
    host: str
    sent: dict[int, str] = field(default_factory=dict)
    """Processes of commands that run or are about to, by their numbers."""
    pids: dict[int, int] = field(default_factory=dict)
    """Numbers of those that run, by their pids there."""


class TreeRule:
    """See the module.

    Args:
        hosts: all different, in the order in which they were given to TakTuk.
        gateway: the host over which all connections go; empty: there is none.
    """

    def __init__(self, hosts: Sequence[str], gateway: str = "") -> None:
        self._gateway = gateway
        self._hosts = dict.fromkeys(hosts)
        self._places = tuple(hosts)
        self._sought = set(hosts)
        self._nodes: dict[int, _Node] = {}
        self._ranks: dict[str, int] = {}
        self._said: dict[str, bytes] = {}
        self._engine = b""
        self._is_over = False  # the gateway is gone
        self._count = -1  # nodes, as TakTuk has counted them
        self.stands = False
        """Commands may be sent to nodes."""

    @property
    def ranks(self) -> dict[str, int]:
        """The nodes: the rank of each host that is one."""
        return self._ranks

    @property
    def is_used(self) -> bool:
        """Whether any command runs, or is about to."""
        return any(node.sent for node in self._nodes.values())

    def said(self, host: str = "") -> str:
        """The end of what the connector to *host* has said, and TakTuk itself."""
        return (self._engine + self._said.get(host, b"")).decode(errors="replace").strip()

    def sent(self, number: int, rank: int, process: str) -> None:
        """Command *number* of *process* has been sent to a node."""
        self._nodes[rank].sent[number] = process

    def take(self, events: Iterable[Event]) -> list[Effect]:
        """Let *events* happen, and return what is to be done about them, in order."""
        effects: list[Effect] = []
        outputs: dict[tuple[int, int, bool], list[bytes]] = {}
        for event in events:
            kind = type(event)
            if kind is Output:
                assert isinstance(event, Output)
                outputs.setdefault((event.rank, event.pid, event.is_error), []).append(event.data)
                continue
            if kind is Exited and outputs:
                self._flush(outputs, effects)
            _RULES[kind](self, event, effects)
        self._flush(outputs, effects)
        self._look(effects)
        return effects

    def _flush(self, outputs: dict[tuple[int, int, bool], list[bytes]], effects: list[Effect]) -> None:
        for (rank, pid, is_error), chunks in outputs.items():
            node = self._nodes.get(rank)
            number = None if node is None else node.pids.get(pid)
            if node is None or number is None:
                continue
            if number == SUPERVISOR:
                effects.append(NodeSaid(rank, b"".join(chunks)))
            elif number in node.sent:
                effects.append(RunSaid(node.sent[number], STDERR if is_error else STDOUT, b"".join(chunks)))
        outputs.clear()

    # -- nodes -------------------------------------------------------------------------

    def _connected(self, event: Connected, effects: list[Effect]) -> None:
        self._count = event.count
        place = event.position.rpartition(".")[2]
        if event.rank > 0 and place.isdigit() and 0 < int(place) <= len(self._places):
            host = self._places[int(place) - 1]
            if host in self._sought and event.rank not in self._nodes:
                self._sought.discard(host)
                self._nodes[event.rank] = _Node(host)
                self._ranks[host] = event.rank

    def _look(self, effects: list[Effect]) -> None:
        """Whether all is decided."""
        if self.stands or self._is_over:
            return
        if not self._sought or 0 <= self._count <= len(self._nodes):
            self.stands = True
            for host in [host for host in self._hosts if host in self._sought]:  # nobody has told what became of them
                self._fail(host, effects)

    def _fail(self, host: str, effects: list[Effect], by: str = "") -> None:
        self._sought.discard(host)
        effects.append(NodeFailed(host, self.said(host), by in self._hosts))

    def _changed(self, event: StateChanged, effects: list[Effect]) -> None:
        if event.state in (State.CONNECTION_FAILED, State.CONNECTION_LOST) and event.peer == self._gateway:
            self._is_over = True
            effects.append(GatewayGone(self.said(event.peer), event.state is State.CONNECTION_LOST))
        elif event.state is State.CONNECTION_FAILED:
            if event.peer in self._sought:
                self._fail(event.peer, effects, event.host)
        elif event.state is State.CONNECTION_LOST:
            for host in (event.peer, *event.given):
                self._lose(host, event.peer, effects)
        elif event.state is State.COMMAND_FAILED:
            node, number = self._nodes.get(event.rank), number_of(event.command)
            if node is not None and number in node.sent:
                effects.append(RunFailed(node.sent.pop(number)))

    def _lose(self, host: str, by: str, effects: list[Effect]) -> None:
        if host in self._sought:
            self._sought.discard(host)
            effects.append(NodeLost(host, self.said(by), by, [], []))
        rank = self._ranks.pop(host, None)
        if rank is None:
            return
        node = self._nodes.pop(rank)
        running = set(node.pids.values())
        effects.append(
            NodeLost(
                host,
                self.said(by),
                by,
                [process for number, process in node.sent.items() if number not in running],
                [process for number, process in node.sent.items() if number in running],
            )
        )

    def _connector_said(self, event: ConnectorSaid, effects: list[Effect]) -> None:
        line = event.line.rstrip(b"\n") + b"\n"
        self._said[event.peer] = (self._said.get(event.peer, b"") + line)[-_TAIL:]

    def _engine_said(self, event: EngineSaid, effects: list[Effect]) -> None:
        self.note(b"taktuk on %s: %s\n" % (event.host.encode(errors="surrogateescape"), event.line))

    def note(self, said: bytes) -> None:
        """TakTuk has said something that is no event."""
        self._engine = (self._engine + said)[-_TAIL:]

    # -- commands ----------------------------------------------------------------------

    def _started(self, event: Started, effects: list[Effect]) -> None:
        node = self._nodes.get(event.rank)
        if node is None:
            return
        number = number_of(event.command)
        if number is None:
            node.pids[event.pid] = SUPERVISOR  # its line is the only one that has no number
        elif number in node.sent:
            node.pids[event.pid] = number
            effects.append(RunBegun(node.sent[number]))

    def _exited(self, event: Exited, effects: list[Effect]) -> None:
        node = self._nodes.get(event.rank)
        number = None if node is None else node.pids.pop(event.pid, None)
        if node is not None and number is not None and number in node.sent:
            effects.append(RunOver(node.sent.pop(number), event.status))


_RULES: dict[type, Any] = {
    Connected: TreeRule._connected,
    StateChanged: TreeRule._changed,
    ConnectorSaid: TreeRule._connector_said,
    EngineSaid: TreeRule._engine_said,
    Started: TreeRule._started,
    Exited: TreeRule._exited,
}
