"""SshProcess: a command on another host, by ssh or what stands in for it; and `get_process`.

The handle is that of a `Process`. Here stands what is different about the
command line, and what the end of the connector means.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..protocols.command import prlimit_argv, str_from_cmdline
from ..protocols.remote_shell import detached, wrapped
from ..protocols.remote_supervisor import signaller
from ..protocols.ssh_failure import classify
from ._connection import Way
from ._connector_actor import ConnectorActor, Tries
from ._host_actor import host_address
from ._process import Process
from ._process_base import QUIET
from ._remote_actor import SessionActor
from .config import refuse_old_arguments
from .connection_errors import error_for, lost_error
from .connection_params import AnyConnectionParams, ConnectionParams
from .host import Host, HostLike
from .runtime import current_runtime

if TYPE_CHECKING:
    from ._process_actor import ProcessActor
    from ._run import Run

__all__ = ["SshProcess", "get_process"]


_SIGNAL_SECONDS = 10.0
"""For the host to send a signal, beside the time for connecting."""


class SshProcess(Process):
    """A command that runs on another host.

    Args:
        cmd: the command, for the shell of the remote user; the words of a sequence are quoted for it.
        host: where to run it. Its own user, keyfile and port beat the connection parameters.
        connection_params: what differs from default_connection_params, see docs/hosts.md.
        detach: leave the command running there by itself, with nothing for input and output: the process ends at
            once, and its stdout is the pid of the command on the host.
        kwargs: see `Process`. Environment, directory and limits are those of the connector, not of the command;
            *pty* comes from the connection parameters unless it is given.

    Raises:
        ConfigurationError: there is no such connection parameter, or it has no such value.
    """

    host: Host
    """A copy of the host that was given."""
    _wrapped = True
    """Whether `_remote_line` is a wrapped command, which tells how it ends (see protocols/remote_shell.py)."""
    _shown: ClassVar[dict[str, Any]] = {
        "connection_params": None,
        "detach": False,
        **{name: value for name, value in Process._shown.items() if name not in ("shell", "pty")},
    }

    def __init__(
        self,
        cmd: str | Sequence[str],
        host: HostLike,
        connection_params: AnyConnectionParams = None,
        detach: bool = False,
        **kwargs: Any,
    ) -> None:
        refuse_old_arguments(type(self).__name__, kwargs)
        self.remote_cmd = str_from_cmdline(cmd)
        self.host = Host(host)
        self.connection_params = connection_params
        self.detach = detach
        kwargs.setdefault("pty", self._params.for_host(self.host).pty)
        super().__init__("", **kwargs)

    @property
    def connection_params(self) -> AnyConnectionParams:
        """As they were given. May be changed before the start."""
        return self._given_params

    @connection_params.setter
    def connection_params(self, params: AnyConnectionParams) -> None:
        self._params = ConnectionParams.of(params)
        self._given_params = params

    @property
    def cmd(self) -> Sequence[str]:
        """The words of the whole command line: the connector with its options, the address, the command."""
        return self._connector_argv(self.remote_cmd)

    @cmd.setter
    def cmd(self, cmd: str | Sequence[str]) -> None:
        if cmd:  # none is what our constructor gives to that of all processes
            raise AttributeError("the command line is made of remote_cmd, host and connection_params: change these")

    def _own_cmd(self) -> str | Sequence[str]:
        return self.remote_cmd

    def _arguments(self) -> list[str]:
        return [repr(self.remote_cmd), repr(self.host)]

    # -- what runs on this machine ---------------------------------------------------

    def _new_run(self) -> Run:
        self._token = f"{secrets.token_hex(8)}.1"  # another for each run: what is left of one is ended by its token
        return super()._new_run()

    @property
    def _is_multiplexed(self) -> bool:
        """Whether it runs over the standing connection of its host, rather than by a connector of its own."""
        return self._wrapped and not self.detach and not self.rlimits and self._params.is_multiplexed

    def _way(self) -> Way:
        params = self._params
        native = params.connector == "native"
        login = params.for_host(self.host)
        return Way(
            self.host.address,
            login.option_words() if native else login.ssh_words(),
            params.address(self.host),
            connect_timeout=params.connect_timeout,
            window=params.connect_window,
            retries=params.connect_retries,
            idle=params.idle_timeout,
            native=native,
        )

    def _make_actor(self, run: Run) -> ProcessActor:
        if self._is_multiplexed:
            host = host_address(current_runtime(), self._way(), run.spawn["env"], run.spawn["cwd"])
            return SessionActor(run, host, self.remote_cmd, pty=self.pty)
        if self._wrapped and not self.detach:
            run.spawn["token"] = self._token
        # A connector may well be a script, whose shell waits for what it has started; or it runs the command itself.
        run.descendants = self.kill_subprocesses is not False
        return ConnectorActor(run, self._tries() if self._wrapped else None)

    def _tries(self) -> Tries:
        params = self._params
        return Tries(self.host.address, params.connect_window, params.connect_retries, params.connect_timeout)

    def _argv(self) -> Sequence[str]:
        if self._is_multiplexed:
            return self._connector_argv(self.remote_cmd)
        argv = self._connector_argv(self._remote_line())
        return prlimit_argv(argv, self.rlimits) if self.rlimits else argv

    def _connector_argv(self, command: str) -> tuple[str, ...]:
        *words, address = self._params.connector_argv(self.host)
        terminal = ("-tt",) if self.pty else ()
        return (*words, *self._connector_options(), *terminal, address, command)

    def _connector_options(self) -> tuple[str, ...]:
        """Further options of the connector."""
        return ()

    def _remote_line(self) -> str:
        """What the remote user's shell is given."""
        return detached(self.remote_cmd) if self.detach else wrapped(self.remote_cmd, self._token, watch=True)

    def signal_there(self, number: int) -> Process | None:
        """Start what sends a signal to the command over a connection of its own; it ends with 0 if that was done.

        Returns:
            it; None: the connector is to get the signal.
        """
        return _Signaller(
            signaller(self._token, number),
            self.host,
            self._given_params,
            name=f"signal {number} for {self.name}",
            timeout=self._params.connect_timeout + _SIGNAL_SECONDS,
            env=self.env,
            cwd=self.cwd,
            pty=False,
            **QUIET,
        ).start()

    def connection_error(self, said: str, *, ran: bool) -> BaseException | None:
        """Why the connector has ended with 255, and the command has not; None: that is no failure of the connection.

        Args:
            said: the end of what it wrote to stderr.
            ran: whether the command has begun, as far as one can tell by its output.
        """
        if self.killed:
            return None
        name, failure = self.host.address, classify(said)
        # Who can not connect says why. Once connected, the last words may well be those of the command.
        if ran or failure is None:
            return lost_error(name, said)
        return error_for(failure, name, said)


class _Signaller(SshProcess):
    """Sends a signal to the command of another process. Its own go to its connector: else that might go on for ever."""

    def signal_there(self, number: int) -> None:
        return None


def get_process(*args: Any, **kwargs: Any) -> Process:
    """Make an `SshProcess` where the keyword argument *host* is given, else a `Process` of this machine.

    Args:
        host: the host; None: this machine.
        connection_params: for the host; of no meaning on this machine.
        args, kwargs: as for the process.
    """
    refuse_old_arguments("get_process", kwargs)
    if kwargs.get("host") is not None:
        return SshProcess(*args, **kwargs)
    return Process(*args, **{key: value for key, value in kwargs.items() if key not in ("host", "connection_params")})
