"""Remote: one command on many hosts, as one action; `RemoteSerial`: a serial port of many hosts.

In the command, and in the file names among the handlers, ``{{{host}}}`` stands for the address of each host, and
``{{expression}}`` for its item of a sequence: see `substitutions`. They are evaluated when the action is made, and
again when it is reset, in the scope of whoever has made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from ..protocols.command import name_from_cmdline, str_from_cmdline
from ..protocols.substitutions import has_substitutions
from ._action_base import Action
from ._collector import collector_paused
from ._process import Process
from ._sinks import listed
from ._ssh_process import SshProcess
from ._taktuk_process import TaktukProcess, reach_hosts
from .config import configuration, refuse_old_arguments
from .connection_params import AnyConnectionParams, ConnectionParams
from .host import Host, Hosts, get_hosts_list
from .serial import SerialSsh
from .substitutions import get_caller_context, remote_substitute

__all__ = ["Remote", "RemoteSerial"]

_SHOWN = 5  # hosts in the repr of an action
_BUILDERS = ("get_remote", "get_fileput", "get_fileget")
"""Functions that make actions for others: expressions are evaluated where these were called."""
_HANDLERS = ("stdout_handlers", "stderr_handlers")


class Remote(Action):
    """The same command on each of *hosts*, at once. With no hosts it ends at once, and is ok.

    Args:
        cmd: the command, for the shell of the remote user; a sequence of words is quoted for it.
        hosts: one or several, as texts or `Host` objects; copied, in their order, each as often as it is there.
        connection_params: what differs from default_connection_params, see docs/hosts.md.
        process_args: keyword arguments for each `SshProcess`.
        kwargs: see `Action`. The default name is the command's.

    Raises:
        Exception: what evaluating a substitution raises.
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        hosts: Hosts,
        connection_params: AnyConnectionParams = None,
        process_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_old_arguments(type(self).__name__, kwargs)
        super().__init__(**kwargs)
        self.cmd = cmd
        self.connection_params = connection_params
        self.process_args = {} if process_args is None else dict(process_args)
        self._context = get_caller_context(_BUILDERS)
        self._make_processes(get_hosts_list(hosts))

    @property
    def hosts(self) -> list[Host]:
        """Where it runs; one process for each. To set it makes new processes.

        Raises:
            ValueError: (when set) it was started, and not reset since.
        """
        return self._hosts

    @hosts.setter
    def hosts(self, hosts: Hosts) -> None:
        if self.started:
            raise ValueError(f"{self!r} was started already: call reset() before you change its hosts")
        self._make_processes(get_hosts_list(hosts))

    def _make_processes(self, hosts: list[Host]) -> None:
        params = ConnectionParams.of(self.connection_params)  # checked once, and not for each of thousands
        made: list[Process] = []
        with collector_paused(len(hosts)):
            for index in range(len(hosts)):
                process = self._make_process(hosts, index, params, self._arguments_of_process(hosts, index))
                process._given_params = self.connection_params
                made.append(process)
        self._hosts = hosts
        self.processes = made

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> SshProcess:
        kind = TaktukProcess if self._by_taktuk(hosts, arguments) else SshProcess
        return kind(self._substituted_cmd(hosts, index), hosts[index], params, **arguments)

    def _by_taktuk(self, hosts: Sequence[Host], arguments: Mapping[str, Any]) -> bool:
        """Whether there are so many hosts that TakTuk is to reach them."""
        least = configuration["taktuk_from"]
        return least is not None and len(hosts) >= least and not arguments.get("pty")

    def start(self) -> Self:
        """Start it, and return at once; see `Action.start`."""
        if not self.started:
            reach_hosts(self.processes)
        return super().start()

    # -- substitutions -----------------------------------------------------------------

    def _substituted(self, text: str, hosts: Sequence[Host], index: int) -> str:
        return remote_substitute(text, hosts, index, self._context)

    def _substituted_cmd(self, hosts: Sequence[Host], index: int) -> str | Sequence[str]:
        if isinstance(self.cmd, (str, bytes)):
            return self._substituted(str_from_cmdline(self.cmd), hosts, index)
        return [self._substituted(word, hosts, index) if isinstance(word, str) else word for word in self.cmd]

    def _arguments_of_process(self, hosts: Sequence[Host], index: int) -> dict[str, Any]:
        arguments = dict(self.process_args)
        for key in _HANDLERS:
            if arguments.get(key) is not None:
                arguments[key] = [
                    self._substituted(handler, hosts, index) if isinstance(handler, str) else handler
                    for handler in listed(arguments[key])
                ]
        return arguments

    def reset(self) -> Self:
        """Kill it and wait if it runs, then return it and all its processes to the state before the start."""
        super().reset()
        for index, process in enumerate(self.processes):
            if index < len(self._hosts):
                self._substitute_again(process, index)
        return self

    def _substitute_again(self, process: Any, index: int) -> None:
        self._give_command(process, index)
        for key in _HANDLERS:
            handlers = getattr(process, key)
            for place, handler in enumerate(listed(self.process_args.get(key))[: len(handlers)]):
                if isinstance(handler, str) and has_substitutions(handler):
                    handlers[place] = self._substituted(handler, self._hosts, index)

    def _give_command(self, process: Any, index: int) -> None:
        process.remote_cmd = str_from_cmdline(self._substituted_cmd(self._hosts, index))

    # -- input -------------------------------------------------------------------------

    def write(self, s: str | bytes | bytearray | memoryview) -> None:
        """Write to the stdin of all its processes; return at once. ``print(..., file=remote)`` works too.

        Raises:
            ValueError: it was never started.
            TypeError: *s* is neither text nor bytes.
        """
        for process in self.processes:
            process.write(s)

    def flush(self) -> None:
        """For `print`; what was written is on its way already."""

    def close_stdin(self) -> None:
        """Let all its processes see the end of their stdin, when they have read what was written."""
        for process in self.processes:
            process.close_stdin()

    # -- as text -----------------------------------------------------------------------

    def _default_name(self) -> str:
        return name_from_cmdline(self.cmd)

    def _arguments(self) -> list[str]:
        given = [
            f"{key}={getattr(self, key)!r}"
            for key in ("connection_params", "process_args", "fanout")
            if getattr(self, key)
        ]
        return [*self._main_arguments(), *given]

    def _main_arguments(self) -> list[str]:
        return [repr(self.cmd), self._shown_hosts()]

    def _shown_hosts(self) -> str:
        shown = [repr(host) for host in self._hosts[:_SHOWN]]
        if len(self._hosts) > _SHOWN:
            shown.append(f"... {len(self._hosts) - _SHOWN} more")
        return f"[{', '.join(shown)}]"


class RemoteSerial(Remote):
    """The serial port *device* of each of *hosts*: what is written to the action goes to all of them.

    Args:
        hosts, connection_params, process_args: as for `Remote`.
        device: path of the port on the hosts, such as ``/dev/ttyUSB0``; with substitutions.
        speed: baud.
        kwargs: see `Action`.
    """

    def __init__(
        self,
        hosts: Hosts,
        device: str,
        speed: int,
        connection_params: AnyConnectionParams = None,
        process_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.device = device
        self.speed = speed
        super().__init__("", hosts, connection_params, process_args, **kwargs)

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> SshProcess:
        return SerialSsh(hosts[index], self._substituted(self.device, hosts, index), self.speed, params, **arguments)

    def _give_command(self, process: Any, index: int) -> None:
        process.connect_to(self._substituted(self.device, self._hosts, index))

    def _default_name(self) -> str:
        return f"RemoteSerial to {len(self._hosts)} hosts"

    def _main_arguments(self) -> list[str]:
        return [self._shown_hosts(), repr(self.device), repr(self.speed)]
