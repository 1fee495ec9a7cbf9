"""TaktukTree: one tree of TakTuk's, from its deployment to its end.

Owns: the process ``taktuk``, the root of the tree; what is known of the nodes (`_taktuk_rule`).
Takes: from the I/O actor what becomes of that process; calls of its gateway, on the reactor.
Tells: process actors what the I/O actor tells those of local processes, `BrokenOff` and `Withdrawn`; its gateway, by
calls, which hosts are nodes and which are not.
Dies of: the end of taktuk.

What is to be sent in one turn of the reactor is sent together: the same command for many nodes, the same input and
the same signal are one command of TakTuk's each. Each node runs a supervisor (`protocols.remote_supervisor`), started
with its first command: signals go through it, and when the node dies or loses the tree, it ends what runs there.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import signal
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.errors import ProtocolError
from ..protocols.messages import (
    STDERR,
    CloseInput,
    OutputRead,
    ProcessExited,
    ProcessSpawned,
    SignalProcess,
    SpawnFailed,
    SpawnProcess,
    WriteInput,
)
from ..protocols.remote_supervisor import SupervisorReader
from ..protocols.shell_line import CommandError
from ..protocols.ssh_failure import Failure, classify
from ..protocols.taktuk import EventReader, close_input, execute, rank_set, send_input
from ..protocols.taktuk_tree import SUPERVISOR, node_command, node_order, node_supervisor, node_token
from ._process_rule import BrokenOff, KillWanted, Withdrawn
from ._signals import ENDING
from ._taktuk_rule import (
    Effect,
    GatewayGone,
    NodeFailed,
    NodeLost,
    NodeSaid,
    RunBegun,
    RunFailed,
    RunOver,
    RunSaid,
    TreeRule,
)
from .actor import Actor
from .connection_errors import GatewayLostError, TaktukMissingError, error_for, lost_error, session_error
from .journal import current_journal

if TYPE_CHECKING:
    from ._taktuk_gateway import TaktukGatewayActor

__all__ = ["NodeNews", "RunOnNode", "TaktukTree", "why_failed"]

_OVERDUE = "timeouted"  # so TakTuk says that a connector took too long
_CHUNK = 1 << 14  # bytes of input in one command of TakTuk's, which reads 32 KiB at a time
_QUIT = b"quit\x02"
_GRACE = 5.0  # seconds that taktuk gets to end by itself
_UNHEARD = 0.1  # seconds until an order is given again for a command that was not there yet
_HUNG = 5.0  # seconds after SIGKILL until a node that does not react is given up


@dataclass(frozen=True, slots=True)
class RunOnNode:
    """Run a command on a node. To: a gateway. Answer, to *process*: as for OpenSession.

    Not a registered message: it stays inside this process.
    """

    process: str
    """Address of the process actor."""
    host: str
    """As TakTuk knows it."""
    name: str
    """As the user calls it."""
    command: str
    detach: bool
    restart: bool
    """If the node is lost before the command is heard of, send it again to another connection of the host."""
    group: object = None
    """Commands of one group, which may differ from each other, can be given the same input as one; None: of none."""


class NodeNews:
    """What has become of a command, as several messages to its process actor, in order.

    Not a registered message: it stays inside this process.
    """

    __slots__ = ("messages",)

    def __init__(self, messages: list[Any]) -> None:
        self.messages = messages


@dataclass(slots=True)
class _Running:
    request: RunOnNode
    number: int
    rank: int
    written: int = 0
    killed: bool = False


class TaktukTree(Actor):
    """See the module.

    Args:
        gateway: whose tree this is.
        argv: the words that deploy it, of `protocols.taktuk_tree.deployment`.
        names: what the user calls the hosts, in the order of *argv*.
        via: the host over which all connections go, or nothing.
        environment, directory: of taktuk, see SpawnProcess.
    """

    hidden = True

    def __init__(
        self,
        gateway: TaktukGatewayActor,
        argv: tuple[str, ...],
        names: Mapping[str, str],
        via: str,
        environment: bytes | None,
        directory: bytes | None,
    ) -> None:
        super().__init__()
        self.rule = TreeRule(tuple(names), via)
        self._via = via
        self.pid = 0
        self.over = False
        self.closing = False
        self.idle_stamp: object = None
        """Its gateway's: since when nobody uses it."""
        self._gateway = gateway
        self._argv = argv
        self._names = names
        self._environment = environment
        self._directory = directory
        self._token = secrets.token_hex(8)
        self._reader = EventReader()
        self._stderr = EventReader()
        self._numbers = SUPERVISOR
        self._shared: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()  # numbers of groups
        self._running: dict[str, _Running] = {}
        self._by_node: dict[tuple[int, int], str] = {}  # the same by rank and number
        self._supervised: dict[int, SupervisorReader] = {}
        self._flushing = False
        self._requests: list[RunOnNode] = []  # to be sent
        self._input: dict[int, dict[int, list[bytes]]] = {}  # by number and rank; b"" is the end
        self._orders: dict[tuple[int, int], set[int]] = {}  # ranks, by signal and number
        self._news: dict[str, list[Any]] = {}  # what is to be told to processes
        self._given_up: BaseException | None = None

    @property
    def is_used(self) -> bool:
        """Whether a command runs there, or is about to."""
        return bool(self._running or self._requests)

    def begin(self) -> None:
        """Deploy it."""
        argv = tuple(map(os.fsencode, self._argv))
        try:
            self._tell_io(
                SpawnProcess(self.actor_address, argv, env=self._environment, cwd=self._directory, internal=True)
            )
        except ProtocolError as error:  # with so many hosts the words do not fit
            self._spawn_failed(SpawnFailed(errno.E2BIG, str(error), None, time.time()))
        else:
            self._log("taktuk.deploying", hosts=len(self._names))

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        handler = _HANDLERS.get(type(message))
        if handler is not None:
            handler(self, message)

    def on_failure(self, *error: Any) -> None:
        """Leave nobody waiting, nor the tree to itself."""
        self._given_up = error[1]
        self._end("")
        self._tell_io(SignalProcess(self.actor_address, signal.SIGKILL, descendants=True))

    # -- the root ----------------------------------------------------------------------

    def _spawned(self, message: ProcessSpawned) -> None:
        self.pid = message.pid

    def _spawn_failed(self, message: SpawnFailed) -> None:
        said = message.reason if message.filename is None else f"{message.filename}: {message.reason}"
        self._given_up = TaktukMissingError(self._argv[0], said)
        self._end(said)

    def _output(self, message: OutputRead) -> None:
        if message.stream == STDERR:
            self._diagnostics(message.bulk)
            return
        try:
            events = self._reader.feed(message.bulk)
        except ProtocolError as error:
            self._given_up = error
            self._tell_io(SignalProcess(self.actor_address, signal.SIGKILL, descendants=True))
            return
        stood = self.rule.stands
        for effect in self.rule.take(events):
            _EFFECTS[type(effect)](self, effect)
        self._tell_news()
        if self.rule.stands and not stood:
            self._log("taktuk.deployed", nodes=len(self.rule.ranks))
            self._gateway.tree_stands(self)
            self._flush_soon()

    def _diagnostics(self, data: bytes) -> None:
        """What TakTuk says of itself has our format there, too; Perl's own words have none."""
        try:
            self.rule.take(self._stderr.feed(data))
        except ProtocolError:
            self._stderr = EventReader()
            self.rule.note(data)

    def _exited(self, message: ProcessExited) -> None:
        self._end("" if message.status in (0, None) else f"taktuk has ended with status {message.status}")

    def _end(self, said: str) -> None:
        """It is no more: so nothing of what ran over it can be followed."""
        if self.over:
            return
        self.over = True
        error = self._given_up or GatewayLostError("taktuk", f"{self.rule.said()}\n{said}".strip())
        running, self._running = self._running, {}
        self._by_node.clear()
        requests, self._requests = self._requests, []
        for process in (*running, *(request.process for request in requests)):
            if self.actor_runtime.running:
                self._break_off(process, error)
            else:  # it ends us, and all that it has started
                self._tell(process, KillWanted(signal.SIGTERM, None, sent=True))
                self._tell(process, Withdrawn(time.time()))
        self._log("taktuk.ended" if self.closing else "taktuk.lost", error=str(error))
        self._gateway.tree_over(self, error)
        self.actor_runtime.bus.retire(self)

    def close(self) -> None:
        """Nobody needs it any more: end it."""
        self.closing = True
        self._tell_io(WriteInput(self.actor_address, _QUIT))
        self._tell_io(CloseInput(self.actor_address))
        self._later(_GRACE, lambda: self._tell_io(SignalProcess(self.actor_address, signal.SIGTERM, descendants=True)))

    # -- nodes -------------------------------------------------------------------------

    def _gateway_gone(self, effect: GatewayGone) -> None:
        if effect.was_there:
            self._given_up = GatewayLostError(self._via, effect.said)
        else:
            self._given_up = error_for(why_failed(effect.said), self._via, effect.said)
        self._tell_io(SignalProcess(self.actor_address, signal.SIGKILL, descendants=True))

    def _node_failed(self, effect: NodeFailed) -> None:
        self._gateway.host_failed(self, effect)

    def _node_lost(self, effect: NodeLost) -> None:
        name = self._names[effect.host]
        error = lost_error(name, effect.said)
        for process in effect.begun:
            self._broken(process, error)
        again = []
        for process in effect.unbegun:
            run = self._running.get(process)
            if run is not None and run.request.restart and not run.killed:
                self._forget(process)
                again.append(run.request)
            else:
                self._broken(process, error)
        again += self.take_requests(effect.host)
        self._log("taktuk.node-lost", level="warning", host=name, by=self._names.get(effect.by, effect.by))
        self._gateway.host_lost(self, effect.host, again, alone=effect.by == effect.host, error=error)

    def _node_said(self, effect: NodeSaid) -> None:
        reader = self._supervised.get(effect.rank)
        for answer in reader.feed(effect.data) if reader is not None else ():
            if not answer.is_ready and answer.count == 0 and answer.token.isdigit():
                self._repeat(effect.rank, int(answer.token), answer.signal)

    def _repeat(self, rank: int, number: int, signal_number: int) -> None:
        """The command was not there: it has not begun yet, or has ended. Give the order again, unless it has."""
        if (rank, number) in self._by_node:
            self._later(_UNHEARD, lambda: self._order(rank, number, signal_number))

    # -- commands ----------------------------------------------------------------------

    def run(self, request: RunOnNode) -> None:
        """Run a command, as soon as the tree stands."""
        self._requests.append(request)
        self._flush_soon()

    def take_requests(self, host: str) -> list[RunOnNode]:
        """Commands for *host* that have not been sent: they are the gateway's again."""
        taken = [request for request in self._requests if request.host == host]
        if taken:
            self._requests = [request for request in self._requests if request.host != host]
        return taken

    def write(self, process: str, data: bytes) -> None:
        """Write to the stdin of a command; empty: close it."""
        run = self._running.get(process)
        if run is None:
            return
        run.written += len(data)
        self._input.setdefault(run.number, {}).setdefault(run.rank, []).append(data)
        self._flush_soon()

    def signal(self, process: str, number: int) -> None:
        """Send a signal to a command."""
        run = self._running.get(process)
        if run is not None:
            run.killed = run.killed or number in ENDING
            self._order(run.rank, run.number, number)
            if number == signal.SIGKILL:
                self._later(_HUNG, lambda: self._give_up(process))
        elif number in ENDING:
            for request in self._requests:
                if request.process == process:
                    self._requests.remove(request)
                    self._gateway.run_over(process)
                    self._tell(process, Withdrawn(time.time()))
                    return

    def _order(self, rank: int, number: int, signal_number: int) -> None:
        self._orders.setdefault((signal_number, number), set()).add(rank)
        self._flush_soon()

    def _give_up(self, process: str) -> None:
        run = self._running.get(process)
        if run is not None:
            self._broken(process, lost_error(run.request.name, "it does not react to SIGKILL"))

    def _broken(self, process: str, error: BaseException) -> None:
        if self._forget(process) is not None:
            self._break_off(process, error)

    def _forget(self, process: str) -> _Running | None:
        run = self._running.pop(process, None)
        if run is not None:
            del self._by_node[run.rank, run.number]
        return run

    def _break_off(self, process: str, error: BaseException) -> None:
        self._gateway.run_over(process)
        self._tell_news()  # it comes before
        self._tell(process, BrokenOff(time.time(), error))

    # -- what becomes of commands ------------------------------------------------------

    def _run_begun(self, effect: RunBegun) -> None:
        run = self._running.get(effect.process)
        if run is not None:
            self._note(effect.process, ProcessSpawned(self.pid, time.time()))

    def _run_said(self, effect: RunSaid) -> None:
        if effect.process in self._running:
            self._note(effect.process, OutputRead(effect.stream, effect.data))

    def _run_over(self, effect: RunOver) -> None:
        run = self._forget(effect.process)
        if run is None:
            return
        self._gateway.run_over(effect.process)
        status = os.waitstatus_to_exitcode(effect.status)
        self._note(effect.process, ProcessExited(status, time.time(), run.written))

    def _note(self, process: str, message: Any) -> None:
        self._news.setdefault(process, []).append(message)

    def _run_failed(self, effect: RunFailed) -> None:
        run = self._running.get(effect.process)
        if run is not None:
            self._broken(effect.process, session_error(run.request.name, self.rule.said()))

    # -- sending -----------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._flushing and self.rule.stands and not self.over:
            self._flushing = True
            self.actor_runtime.reactor.call_when_idle(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.over:
            return
        data = b"".join([*self._new_commands(), *self._new_input(), *self._new_orders()])
        if data:
            self._tell_io(WriteInput(self.actor_address, data))

    def _new_commands(self) -> list[bytes]:
        requests, self._requests = self._requests, []
        groups: dict[tuple[str, bool, object], list[dict[int, RunOnNode]]] = {}
        for request in requests:
            rank = self.rule.ranks.get(request.host)
            if rank is None:  # it was lost or failed just now
                self._gateway.send_back(request)
                continue
            of_command = groups.setdefault((request.command, request.detach, request.group), [])
            for group in of_command:
                if rank not in group:
                    group[rank] = request
                    break
            else:
                of_command.append({rank: request})
        commands = [command for of_command in groups.values() for command in map(self._send_group, of_command)]
        return self._new_supervisors(groups.values()) + commands

    def _new_supervisors(self, groups: Any) -> list[bytes]:
        ranks = {rank for of_command in groups for group in of_command for rank in group} - self._supervised.keys()
        if not ranks:
            return []
        for rank in ranks:
            self._supervised[rank] = SupervisorReader(node_token(self._token, rank))
        return [execute(rank_set(ranks), SUPERVISOR, node_supervisor(self._token))]

    def _send_group(self, group: dict[int, RunOnNode]) -> bytes:
        first = next(iter(group.values()))
        number = self._number(first.group, group)
        try:
            line = node_command(self._token, number, first.command, detach=first.detach)
        except CommandError as error:
            for request in group.values():
                self._break_off(request.process, error)
            return b""
        for rank, request in group.items():
            self._running[request.process] = _Running(request, number, rank)
            self._by_node[rank, number] = request.process
            self.rule.sent(number, rank, request.process)
        return execute(rank_set(group), number, line)

    def _number(self, group: object, ranks: Iterable[int]) -> int:
        """The number of a new command; those of a *group* have the same, as far as they are on different nodes."""
        shared = None if group is None else self._shared.get(group)
        if shared is not None and not any((rank, shared) in self._by_node for rank in ranks):
            return shared
        self._numbers += 1
        if group is not None:
            self._shared[group] = self._numbers
        return self._numbers

    def _new_input(self) -> list[bytes]:
        given, self._input = self._input, {}
        said = []
        for number, by_rank in given.items():
            alike: dict[tuple[bytes, ...], list[int]] = {}
            for rank, pieces in by_rank.items():
                alike.setdefault(tuple(pieces), []).append(rank)
            for same, ranks in alike.items():
                there = [rank for rank in ranks if (rank, number) in self._by_node]
                if there:
                    said += _input_of(rank_set(there), number, same)
        return said

    def _new_orders(self) -> list[bytes]:
        orders, self._orders = self._orders, {}
        said = []
        for (signal_number, number), ranks in orders.items():
            there = [rank for rank in ranks if (rank, number) in self._by_node]
            if there:
                said.append(send_input(rank_set(there), SUPERVISOR, node_order(signal_number, number)))
        return said

    # -- helpers -----------------------------------------------------------------------

    def _later(self, delay: float, function: Callable[[], None]) -> None:
        def call() -> None:
            if not self.over:
                function()

        self.actor_runtime.call_later(delay, call)

    def _tell_news(self) -> None:
        """Tell processes what has become of them, each all of it at once."""
        news, self._news = self._news, {}
        for process, messages in news.items():
            self._tell(process, messages[0] if len(messages) == 1 else NodeNews(messages))

    def _tell(self, process: str, message: Any) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_runtime.bus.tell(process, message)

    def _tell_io(self, message: Any) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_runtime.bus.tell(self.actor_runtime.io_address, message)

    def _log(self, event: str, level: str = "info", **facts: Any) -> None:
        journal = current_journal()
        if journal is not None:
            journal.event(event, level=level, actor=self.actor_address, child=self.pid, at=time.time(), **facts)


def why_failed(said: str) -> Failure:
    """Why a connection could not be made, by what its connector has said."""
    return Failure.TIMEOUT if said.endswith(_OVERDUE) else classify(said) or Failure.OTHER


def _input_of(ranks: bytes, number: int, pieces: tuple[bytes, ...]) -> list[bytes]:
    """What is written, one piece after the other; an empty one is the end."""
    said = []
    for is_end, group in itertools.groupby(pieces, lambda piece: not piece):
        if is_end:
            said.append(close_input(ranks, number))
        else:
            data = b"".join(group)
            said += [send_input(ranks, number, data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)]
    return said


_HANDLERS: dict[type, Any] = {
    ProcessSpawned: TaktukTree._spawned,
    SpawnFailed: TaktukTree._spawn_failed,
    OutputRead: TaktukTree._output,
    ProcessExited: TaktukTree._exited,
}

_EFFECTS: dict[type[Effect], Any] = {
    GatewayGone: TaktukTree._gateway_gone,
    NodeFailed: TaktukTree._node_failed,
    NodeLost: TaktukTree._node_lost,
    NodeSaid: TaktukTree._node_said,
    RunBegun: TaktukTree._run_begun,
    RunSaid: TaktukTree._run_said,
    RunOver: TaktukTree._run_over,
    RunFailed: TaktukTree._run_failed,
}
