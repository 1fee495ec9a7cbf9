"""TaktukGatewayActor: all hosts that are reached by TakTuk in one way, and the trees that hold them.

Takes: from process actors `RunOnNode`, `NodeInput` and SignalSession; from actions and handles `Reach` and `Release`;
calls of its trees, on the reactor.
Tells process actors `BrokenOff` and `Withdrawn`; all else the trees tell them.
Lives as long as its runtime.

A host is in one tree at most. Those that are wanted and in none are put into a new one, all that are wanted at the
same time together; so a later command finds its hosts connected, whatever set of them it is for. A host that failed,
or was lost, is connected anew when it is wanted again, those behind a lost node at once. A tree that nobody has used
for a while, and nobody holds, is closed.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.messages import SignalSession
from ..protocols.ssh_failure import is_worth_a_retry
from ..protocols.taktuk_tree import deployment
from ._process_rule import BrokenOff, Withdrawn
from ._signals import ENDING
from ._taktuk_rule import NodeFailed
from ._taktuk_tree import RunOnNode, TaktukTree, why_failed
from .actor import Actor
from .connection_errors import error_for

if TYPE_CHECKING:
    from .future import Future
    from .runtime import Runtime

__all__ = ["NodeInput", "Reach", "Release", "TaktukGatewayActor", "TreeWay", "gateway_address"]

_FLAT = ("-d", "-1")  # options with which the root connects all hosts itself
_GATHER = 0.02  # seconds in which hosts that are wanted one by one come together into one tree
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between two tries to connect, before they are made unequal


@dataclass(frozen=True, slots=True)
class TreeWay:
    """How hosts are reached: those with equal ways may be in one tree."""

    taktuk: tuple[str, ...]
    options: tuple[str, ...]
    connector: tuple[str, ...]
    timeout: float
    """Seconds for a connection."""
    gateway: tuple[tuple[str, ...], str] | None
    """The words that connect to the host over which all connections go, and that host."""
    retries: int
    """How often a busy host is tried again."""
    idle: float
    """Seconds that a tree is kept which nobody uses."""


class NodeInput:
    """Write *data* to the stdin of each command of *processes*; empty: close it."""

    __slots__ = ("data", "processes")

    def __init__(self, processes: Iterable[str], data: bytes) -> None:
        self.processes = processes
        self.data = data


class Reach:
    """Have *hosts*, with what the user calls them, connected.

    *future*, if there is one, gets a dict when all of that is decided: why each could not be, or None. With *hold*,
    trees are kept until a `Release`.
    """

    __slots__ = ("future", "hold", "hosts")

    def __init__(
        self,
        hosts: Mapping[str, str],
        future: Future[dict[str, BaseException | None]] | None = None,
        *,
        hold: bool = False,
    ) -> None:
        self.hosts = hosts
        self.future = future
        self.hold = hold


class Release:
    """A `Reach` with *hold* is over."""

    __slots__ = ()


class TaktukGatewayActor(Actor):
    """See the module.

    Args:
        way: how its hosts are reached.
        environment, directory: for taktuk, see SpawnProcess.
    """

    hidden = True

    def __init__(self, way: TreeWay, environment: bytes | None, directory: bytes | None) -> None:
        super().__init__()
        self._way = way
        self._environment = environment
        self._directory = directory
        self._names: dict[str, str] = {}
        self._trees: dict[str, TaktukTree] = {}  # by host
        self._wanted: dict[str, None] = {}  # hosts for the next tree, in order
        self._waiting: dict[str, list[RunOnNode]] = {}  # for those, or for a new try to connect
        self._where: dict[str, TaktukTree] = {}  # by process
        self._errors: dict[str, BaseException] = {}  # why hosts are in no tree
        self._tries: dict[str, int] = {}
        self._pausing: set[str] = set()
        self._direct: set[str] = set()  # hosts that only the root of a tree is to connect
        self._gathering = False
        self._holds = 0
        self._reaches: list[Reach] = []

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        _HANDLERS[type(message)](self, message)

    def on_failure(self, *error: Any) -> None:
        """Leave nobody waiting."""
        for requests in self._waiting.values():
            self._break_off(requests, error[1])
        for tree in set(self._trees.values()):
            tree.close()

    # -- commands ----------------------------------------------------------------------

    def _run(self, request: RunOnNode) -> None:
        tree = self._trees.get(request.host)
        if tree is None:
            self._names.setdefault(request.host, request.name)
            self._wait(request)
        else:
            self._where[request.process] = tree
            tree.run(request)

    def _wait(self, request: RunOnNode) -> None:
        self._waiting.setdefault(request.host, []).append(request)
        if request.host not in self._pausing:
            self._want(request.host)

    def _input(self, message: NodeInput) -> None:
        for process in message.processes:
            tree = self._where.get(process)
            if tree is not None:
                tree.write(process, message.data)

    def _signal(self, message: SignalSession) -> None:
        tree = self._where.get(message.process)
        if tree is not None:
            tree.signal(message.process, message.signal)
        elif message.signal in ENDING:
            for requests in self._waiting.values():
                for request in requests:
                    if request.process == message.process:
                        requests.remove(request)
                        self._tell(message.process, Withdrawn(time.time()))
                        return

    def run_over(self, process: str) -> None:
        """A tree has nothing more to do with a process."""
        tree = self._where.pop(process, None)
        if tree is not None and not tree.is_used:
            self._close_later(tree)

    def send_back(self, request: RunOnNode) -> None:
        """A tree cannot run it: the host is no node of it any more."""
        self._where.pop(request.process, None)
        self._run(request)

    # -- trees -------------------------------------------------------------------------

    def _reach(self, message: Reach) -> None:
        self._names.update(message.hosts)
        self._holds += message.hold
        for host in message.hosts:
            if host not in self._trees and host not in self._pausing:
                self._wanted[host] = None
        self._deploy()
        if message.future is not None:
            self._reaches.append(message)
            self._tell_reached()

    def _release(self, _: Release) -> None:
        self._holds -= 1
        if not self._holds:
            for tree in set(self._trees.values()):
                if not tree.is_used:
                    self._close_later(tree)

    def _want(self, host: str) -> None:
        self._wanted[host] = None
        if not self._gathering:
            self._gathering = True
            self.actor_runtime.call_later(_GATHER, self._deploy)

    def _deploy(self) -> None:
        self._gathering = False
        wanted, self._wanted = self._wanted, {}
        hosts = [host for host in wanted if host not in self._trees]
        self._plant([host for host in hosts if host not in self._direct], ())
        self._plant([host for host in hosts if host in self._direct], _FLAT)

    def _plant(self, hosts: list[str], shape: tuple[str, ...]) -> None:
        """Deploy a tree, if there are any hosts for it."""
        if not hosts:
            return
        names = {host: self._names.get(host, host) for host in hosts}
        way = self._way
        options = (*way.options, *shape)
        try:
            argv = deployment(way.taktuk, options, way.connector, hosts, timeout=way.timeout, gateway=way.gateway)
        except ValueError as error:
            for host in hosts:
                self._fail_host(host, error)
            return
        via = "" if way.gateway is None else way.gateway[1]
        tree = TaktukTree(self, argv, names, via, self._environment, self._directory)
        self.actor_runtime.bus.launch(tree, begin=False)
        for host in hosts:
            self._trees[host] = tree
            self._errors.pop(host, None)
            for request in self._waiting.pop(host, ()):
                self._run(request)
        tree.begin()

    def tree_stands(self, tree: TaktukTree) -> None:
        """All hosts of *tree* are nodes, or have failed."""
        for host in tree.rule.ranks:
            self._tries.pop(host, None)
        self._tell_reached()
        if not tree.rule.ranks:
            self._close(tree)
        elif not tree.is_used:
            self._close_later(tree)

    def host_failed(self, tree: TaktukTree, failed: NodeFailed) -> None:
        """A host could not be connected."""
        host, said = failed.host, failed.said
        self._trees.pop(host, None)
        self._waiting.setdefault(host, []).extend(self._taken_back(tree, host))
        failure = why_failed(said)
        if failed.by_node and host not in self._direct:
            # Our keys, and ways to hosts, may not be those of the node that has tried.
            self._direct.add(host)
            self._want(host)
            return
        self._tries[host] = tries = self._tries.get(host, 0) + 1
        if is_worth_a_retry(failure) and tries <= self._way.retries:
            self._pausing.add(host)
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)
            self.actor_runtime.call_later(pause, lambda: self._try_again(host))
        else:
            self._fail_host(host, error_for(failure, self._names.get(host, host), said))

    def _try_again(self, host: str) -> None:
        self._pausing.discard(host)
        self._want(host)

    def _fail_host(self, host: str, error: BaseException) -> None:
        self._tries.pop(host, None)
        self._errors[host] = error
        self._break_off(self._waiting.pop(host, ()), error)
        self._tell_reached()

    def _taken_back(self, tree: TaktukTree, host: str) -> list[RunOnNode]:
        requests = tree.take_requests(host)
        for request in requests:
            self._where.pop(request.process, None)
        return requests

    def host_lost(
        self, tree: TaktukTree, host: str, again: Iterable[RunOnNode], *, alone: bool, error: BaseException
    ) -> None:
        """*host* is no node of *tree* any more; *alone*: it was not since another one is gone."""
        if self._trees.get(host) is tree:
            del self._trees[host]
        self._errors[host] = error
        for request in again:
            self._where.pop(request.process, None)
            self._wait(request)
        if not alone and not tree.closing:
            self._want(host)
        self._tell_reached()

    def tree_over(self, tree: TaktukTree, error: BaseException) -> None:
        """*tree* is no more, and has told all that it ran."""
        for host in [host for host, other in self._trees.items() if other is tree]:
            del self._trees[host]
            self._errors[host] = error
        self._where = {process: other for process, other in self._where.items() if other is not tree}
        self._tell_reached()

    def _close_later(self, tree: TaktukTree) -> None:
        stamp = tree.idle_stamp = object()

        def close() -> None:
            if tree.idle_stamp is stamp and not tree.is_used and not self._holds:
                self._close(tree)

        self.actor_runtime.call_later(self._way.idle, close)

    def _close(self, tree: TaktukTree) -> None:
        if not tree.over and not tree.closing:
            for host in [host for host, other in self._trees.items() if other is tree]:
                del self._trees[host]
            tree.close()

    # -- those who wait for hosts ------------------------------------------------------

    def _tell_reached(self) -> None:
        for reach in list(self._reaches):
            if all(self._is_decided(host) for host in reach.hosts):
                self._reaches.remove(reach)
                assert reach.future is not None
                reach.future.offer({host: self._why_not(host) for host in reach.hosts})

    def _is_decided(self, host: str) -> bool:
        tree = self._trees.get(host)
        if tree is not None:
            return tree.rule.stands
        return host not in self._wanted and host not in self._pausing

    def _why_not(self, host: str) -> BaseException | None:
        return None if host in self._trees else self._errors.get(host)

    # -- helpers -----------------------------------------------------------------------

    def _break_off(self, requests: Iterable[RunOnNode], error: BaseException) -> None:
        for request in requests:
            self._tell(request.process, BrokenOff(time.time(), error))

    def _tell(self, process: str, message: Any) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_runtime.bus.tell(process, message)


_HANDLERS: dict[type, Any] = {
    RunOnNode: TaktukGatewayActor._run,
    NodeInput: TaktukGatewayActor._input,
    SignalSession: TaktukGatewayActor._signal,
    Reach: TaktukGatewayActor._reach,
    Release: TaktukGatewayActor._release,
}

_all: weakref.WeakKeyDictionary[Runtime, dict[TreeWay, str]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def gateway_address(runtime: Runtime, way: TreeWay, environment: bytes | None, directory: bytes | None) -> str:
    """The address of the actor of all hosts that are reached by *way*; it is started where there is none. Thread-safe.

    Args:
        environment, directory: of taktuk, where it is started now.
    """
    with _lock:
        gateways = _all.get(runtime)
        if gateways is None:
            gateways = _all[runtime] = {}
        address = gateways.get(way)
        if address is None:
            actor = TaktukGatewayActor(way, environment, directory)
            runtime.bus.launch(actor, begin=False)
            address = gateways[way] = actor.actor_address
    return address
