"""TakTuk: commands on very many hosts, over trees of connections that stay.

`TaktukRemote` is a `Remote` whose commands go by TakTuk. The tree that connects its hosts stays for those that come
after it, as long as `taktuk_idle_timeout` says; or as long as a `TaktukGateway` holds it, which also tells which hosts
could be connected, and why others could not. docs/taktuk.md has more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from ._environment import environment_block
from ._taktuk_gateway import Reach, Release, TreeWay, gateway_address
from ._taktuk_process import TaktukProcess, tree_way
from .connection_params import AnyConnectionParams, ConnectionParams
from .future import Future
from .host import Host, Hosts, get_unique_hosts_list
from .remote import Remote
from .runtime import Runtime, current_runtime

__all__ = ["TaktukGateway", "TaktukProcess", "TaktukRemote"]


class TaktukRemote(Remote):
    """The same command on each of *hosts*, at once, by TakTuk.

    Hosts that a tree with the same connection parameters holds already are reached over that; the others are connected
    by a new one.

    Args:
        restart_unstarted: see `TaktukProcess`.
        cmd, hosts, connection_params, process_args, kwargs: see `Remote`; the processes are `TaktukProcess` objects.
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        hosts: Hosts,
        connection_params: AnyConnectionParams = None,
        process_args: Mapping[str, Any] | None = None,
        *,
        restart_unstarted: bool = False,
        **kwargs: Any,
    ) -> None:
        self.restart_unstarted = restart_unstarted
        super().__init__(cmd, hosts, connection_params, process_args, **kwargs)

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> TaktukProcess:
        arguments = {"restart_unstarted": self.restart_unstarted, **arguments}
        return TaktukProcess(self._substituted_cmd(hosts, index), hosts[index], params, **arguments)


class TaktukGateway:
    """Holds the trees that connect *hosts*, from `start` to `stop`; a context manager which does both.

    Args:
        hosts: one or several, as for `Remote`.
        connection_params: as for `Remote`; a `TaktukRemote` with the same finds the hosts connected.

    Raises:
        ConfigurationError: there is no such connection parameter, or it has no such value.
    """

    def __init__(self, hosts: Hosts, connection_params: AnyConnectionParams = None) -> None:
        self.hosts = get_unique_hosts_list(hosts)
        self.connection_params = connection_params
        self._held: list[tuple[Runtime, str]] = []
        self._futures: list[tuple[dict[str, Host], Future[dict[str, BaseException | None]]]] = []

    def start(self) -> Self:
        """Have all hosts connected, and kept so; return at once. Once more: those that are not are tried again."""
        params = ConnectionParams.of(self.connection_params)
        by_way: dict[TreeWay, dict[str, Host]] = {}
        for host in self.hosts:
            by_way.setdefault(tree_way(params, host), {})[params.address(host)] = host
        runtime = current_runtime()
        held, self._futures = bool(self._held), []
        for way, hosts in by_way.items():
            address = gateway_address(runtime, way, environment_block(None), None)
            future: Future[dict[str, BaseException | None]] = Future(cancellable=False)
            names = {node: host.address for node, host in hosts.items()}
            runtime.bus.tell(address, Reach(names, future, hold=not held))
            self._futures.append((hosts, future))
            if not held:
                self._held.append((runtime, address))
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it is known of each host whether it is connected.

        Args:
            timeout: seconds, for each way in which hosts are reached; None: as long as it takes.

        Raises:
            Timeout: it is not known yet.
            ValueError: it was not started.
        """
        if not self._futures:
            raise ValueError("the gateway was not started: call start()")
        for _, future in self._futures:
            future.result(timeout)
        return self

    @property
    def connected(self) -> list[Host]:
        """The hosts that could be connected; waits until that is known."""
        failed = self.unreachable
        return [host for host in self.hosts if host not in failed]

    @property
    def unreachable(self) -> dict[Host, BaseException]:
        """Why the others could not, each a `HostConnectionError`; waits until that is known."""
        self.wait()
        return {
            hosts[node]: error
            for hosts, future in self._futures
            for node, error in future.result(0).items()
            if error is not None
        }

    def stop(self) -> None:
        """Let go of the trees: each is closed when nobody has used it for the time in the connection parameters."""
        held, self._held = self._held, []
        self._futures = []
        for runtime, address in held:
            if runtime.running:
                runtime.bus.tell(address, Release())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"TaktukGateway({len(self.hosts)} hosts)"
