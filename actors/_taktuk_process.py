"""TaktukProcess: a command on a host that is reached by TakTuk; and its actor.

The handle is that of an `SshProcess`. Its command travels the standing tree of its host's gateway (see
`_taktuk_gateway`); there is no process of this machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..protocols.messages import (
    CloseInput,
    OutputRead,
    PauseOutput,
    ProcessExited,
    ResumeOutput,
    SignalProcess,
    SignalSession,
    WriteInput,
)
from ..protocols.taktuk_tree import deployment
from ._environment import environment_block
from ._process_actor import ProcessActor
from ._process_rule import BrokenOff, Connecting, Withdrawn
from ._ssh_process import SshProcess
from ._taktuk_gateway import NodeInput, Reach, TreeWay, gateway_address
from ._taktuk_tree import NodeNews, RunOnNode
from .exception import ConfigurationError
from .runtime import current_runtime

if TYPE_CHECKING:
    from ._process import Process
    from ._run import Run
    from .connection_params import AnyConnectionParams, ConnectionParams
    from .host import Host, HostLike

__all__ = ["NodeActor", "ReachedByTaktuk", "TaktukProcess", "reach_hosts", "tree_way"]

_BLOCK = 1 << 18  # bytes of held back output that are let go at a time


def tree_way(params: ConnectionParams, host: Host) -> TreeWay:
    """How *host* is reached by TakTuk."""
    login = params.for_host(host)
    via = params.taktuk_gateway
    return TreeWay(
        login.taktuk_words(),
        params.taktuk_options,
        login.taktuk_connector_words(),
        params.connect_timeout,
        None if via is None else (login.ssh_words(), params.address(via)),
        params.connect_retries,
        params.taktuk_idle_timeout,
    )


class _Dam:
    """Output of one stream that is held back, since its handlers are behind: it comes over a tree which others share.

    In a file, so that memory is bounded.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._taken = 0
        self._size = 0
        self.closed = True
        """Nothing is to be let go."""

    @property
    def is_empty(self) -> bool:
        return self._taken == self._size

    def add(self, data: bytes) -> None:
        self._file.seek(self._size)
        self._file.write(data)
        self._size += len(data)

    def take(self) -> bytes:
        self._file.seek(self._taken)
        data = self._file.read(_BLOCK)
        self._taken += len(data)
        return data

    def close(self) -> None:
        self._file.close()


class NodeActor(ProcessActor):
    """One run of a process on a node.

    Args:
        gateway: address of the actor of its gateway.
        host: as TakTuk knows it.
        restart: see `TaktukProcess`.
    """

    def __init__(self, run: Run, gateway: str, host: str, *, restart: bool) -> None:
        super().__init__(run)
        process: TaktukProcess = run.process  # type: ignore[assignment]  # made by that class
        self._gateway = gateway
        self._request = RunOnNode(
            self.actor_address, host, process.host.address, process.remote_cmd, process.detach, restart
        )
        self._dams: dict[int, _Dam] = {}
        self._end: Any = None  # held until what is dammed up has been seen

    def begin_run(self) -> None:
        """Have the gateway run it."""
        bus = self.actor_runtime.bus
        bus.tell(self.actor_address, Connecting(time.time()))
        bus.tell(self._gateway, self._request)

    def on_failure(self, *error: Any) -> None:
        """Leave neither anybody waiting nor the command to itself."""
        super().on_failure(*error)
        self._close_dams()

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        for each in message.messages if type(message) is NodeNews else (message,):
            _HANDLERS.get(type(each), ProcessActor.on_receive)(self, each)

    # -- to the host -------------------------------------------------------------------

    def _send_signal(self, number: int) -> None:
        self.actor_runtime.bus.tell(self._gateway, SignalSession(self.actor_address, number))

    def _tell_io(self, message: Any) -> None:
        """Its I/O is on the node."""
        match message:
            case WriteInput():
                self.actor_runtime.bus.tell(self._gateway, NodeInput((self.actor_address,), message.bulk))
            case CloseInput():
                self.actor_runtime.bus.tell(self._gateway, NodeInput((self.actor_address,), b""))
            case SignalProcess():
                self._send_signal(message.signal)
            case PauseOutput():
                if message.stream not in self._dams:
                    self._dams[message.stream] = _Dam()
                self._dams[message.stream].closed = True
            case ResumeOutput():
                self._dams[message.stream].closed = False
                self._let_go(message.stream)

    # -- output that is held back ------------------------------------------------------

    def _take_output(self, message: OutputRead) -> None:
        dam = self._dams.get(message.stream)
        if dam is None or (dam.is_empty and not dam.closed):
            self._output(message)
        else:
            dam.add(message.bulk)

    def _let_go(self, stream: int) -> None:
        dam = self._dams[stream]
        while not dam.closed and not dam.is_empty:
            self._output(OutputRead(stream, dam.take()))  # which may close it again
        if self._end is not None and all(each.is_empty for each in self._dams.values()):
            end, self._end = self._end, None
            self.on_receive(end)

    def _take_end(self, end: Any) -> None:
        """Keep it for later, where there is output to be seen before."""
        if all(dam.is_empty for dam in self._dams.values()):
            self._close_dams()
            super().on_receive(end)
        else:
            self._end = end

    def _close_dams(self) -> None:
        for dam in self._dams.values():
            dam.close()
        self._dams.clear()


_HANDLERS: dict[type, Any] = {
    OutputRead: NodeActor._take_output,
    ProcessExited: NodeActor._take_end,
    BrokenOff: NodeActor._take_end,
    Withdrawn: NodeActor._take_end,
}


class ReachedByTaktuk(SshProcess):
    """What processes have in common whose hosts are reached by TakTuk. Not to be made itself."""

    _gateway: str | None = None
    """The address of the actor of the gateway, where that is known."""

    @property
    def tree_way(self) -> TreeWay:
        """How its host is reached: the same for all that can share a tree."""
        return tree_way(self._params, self.host)  # where its file of host keys is may change until the start

    @property
    def _node(self) -> str:
        """The host, as TakTuk knows it."""
        return self._params.address(self.host)


class TaktukProcess(ReachedByTaktuk):
    """A command that runs on a host which is reached by TakTuk, over a tree of connections that stays for the next.

    Several commands at once share a tree, and those of one `TaktukRemote` are sent together. What is different from
    an `SshProcess`: its stdin and stdout are a socket, never a terminal; and it has ended when all that it has left in
    the background has closed its outputs, too.

    Args:
        cmd, host, connection_params, detach: see `SshProcess`; docs/taktuk.md has the parameters.
        restart_unstarted: if the host is lost before anything was heard of the command, run it again when the host is
            connected anew: it may then have been started twice. Else it ends with an error.
        kwargs: see `Process`.

    Raises:
        ConfigurationError: there is no such connection parameter, or it has no such value; or a terminal is wanted.
    """

    _shown: ClassVar[dict[str, Any]] = {**SshProcess._shown, "restart_unstarted": False}

    def __init__(
        self,
        cmd: str | Sequence[str],
        host: HostLike,
        connection_params: AnyConnectionParams = None,
        detach: bool = False,
        restart_unstarted: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("pty"):
            raise ConfigurationError(type(self).__name__, "TakTuk gives no terminal: use an SshProcess", "pty")
        self.restart_unstarted = restart_unstarted
        super().__init__(cmd, host, connection_params, detach, **{**kwargs, "pty": False})

    @property
    def cmd(self) -> Sequence[str]:
        """The words that would run the command by TakTuk alone."""
        way = self.tree_way
        words = deployment(way.taktuk, way.options, way.connector, (), timeout=0, gateway=None)
        return (words[0], *way.options, *words[-2:], "-m", self._node, "broadcast", "exec", f"[ {self.remote_cmd} ]")

    @cmd.setter
    def cmd(self, cmd: str | Sequence[str]) -> None:
        if cmd:  # none is what the constructor of all processes gives
            raise AttributeError("the command line is made of remote_cmd, host and connection_params: change these")

    def _argv(self) -> Sequence[str]:
        return ()

    def _directory(self) -> bytes | None:
        """Only for who starts the gateway."""
        return None if self._gateway is not None else super()._directory()

    def _make_actor(self, run: Run) -> ProcessActor:
        return self._make_node_actor(run, self._take_gateway(run))

    def _take_gateway(self, run: Run) -> str:
        gateway, self._gateway = self._gateway, None  # by the next start, it may be another
        return gateway or gateway_address(current_runtime(), self.tree_way, run.spawn["env"], run.spawn["cwd"])

    def _make_node_actor(self, run: Run, gateway: str) -> ProcessActor:
        return NodeActor(run, gateway, self._node, restart=self.restart_unstarted)


def reach_hosts(processes: Iterable[Process]) -> None:
    """Have the hosts of those that go by TakTuk connected, all together: they are just about to start."""
    ways: dict[Any, TreeWay] = {}
    groups: dict[TreeWay, list[ReachedByTaktuk]] = {}
    for process in processes:
        if isinstance(process, ReachedByTaktuk):
            host = process.host
            key = id(process._params), host.user, host.keyfile, host.port
            way = ways.get(key)
            if way is None:
                way = ways[key] = process.tree_way
            groups.setdefault(way, []).append(process)
    for way, group in groups.items():
        runtime = current_runtime()
        address = gateway_address(runtime, way, environment_block(group[0].env), group[0]._directory())
        runtime.bus.tell(address, Reach({process._node: process.host.address for process in group}))
        for process in group:
            process._gateway = address
