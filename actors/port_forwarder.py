"""PortForwarder: a port of this machine that leads to one that another host can reach."""

from __future__ import annotations

import errno
import re
import threading
from typing import Any, Self

from ._handlers import ProcessOutputHandler
from ._ssh_process import SshProcess
from .connection_params import AnyConnectionParams, ConnectionParams
from .exception import ProcessesFailed
from .host import Host, HostLike
from .utils import get_port

__all__ = ["PortForwarder"]

_LISTENS = "forwarding"
_COMMAND = f"echo {_LISTENS}; exec cat"
"""ssh listens before it has the host run this; and it runs for as long as the connection stands."""
_LOOPBACK = "127.0.0.1"


class PortForwarder(SshProcess):
    """Forwards connections to a port of this machine to *remote_port* of *remote_host*, by way of *host*.

    It is a process like any other: `start` it, `kill` it. As a context manager it waits until the port listens::

        with PortForwarder("gateway", "www.example.org", 80) as forwarder:
            socket.create_connection(("127.0.0.1", forwarder.local_port))

    It has a connection of its own, made by the program *ssh* of the connection parameters.

    Args:
        host: where the way goes through.
        remote_host: the target, as *host* calls it: "localhost" is *host* itself.
        remote_port: of the target.
        local_port: of this machine; None: a free one, see `get_port`.
        bind_address: address of this machine where it listens; None: 127.0.0.1, which only programs here can reach.
        connection_params: what differs from default_connection_params; forwarding_timeout is of use here.
        kwargs: see `SshProcess`.
    """

    forwarding: threading.Event
    """Set when the port listens."""
    _wrapped = False  # the command needs nobody to end it: its stdin ends with the connection

    def __init__(
        self,
        host: HostLike,
        remote_host: HostLike,
        remote_port: int,
        local_port: int | None = None,
        bind_address: str | None = None,
        connection_params: AnyConnectionParams = None,
        **kwargs: Any,
    ) -> None:
        self.remote_host = Host(remote_host).address
        self.remote_port = int(remote_port)
        self.local_port = get_port() if local_port is None else int(local_port)
        self.bind_address = bind_address or _LOOPBACK
        self.forwarding = threading.Event()
        self._settled = threading.Event()
        kwargs.setdefault("name", f"forward {self._from} to {self._to}")
        super().__init__(_COMMAND, host, connection_params, **kwargs)
        self.stdout_handlers.insert(0, _Ear(self))

    @property
    def _from(self) -> str:
        return f"{_bracketed(self.bind_address)}:{self.local_port}"

    @property
    def _to(self) -> str:
        return f"{_bracketed(self.remote_host)}:{self.remote_port}"

    def _arguments(self) -> list[str]:
        given = (self.host, self.remote_host, self.remote_port, self.local_port, self.bind_address)
        return [repr(argument) for argument in given]

    # -- the connection ----------------------------------------------------------------

    def _connector_options(self) -> tuple[str, ...]:
        # A connection that the user shares must not be asked to listen: it would go on when this process ends.
        own = ("-o", "ExitOnForwardFailure=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none")
        return (*own, "-L", f"{self._from}:{self._to}")

    def _remote_line(self) -> str:
        return self.remote_cmd

    def connection_error(self, said: str, *, ran: bool) -> BaseException | None:
        """Tell a port that can not be listened on from other failures. See `SshProcess`."""
        if self.killed:
            return None
        refused = re.search(
            r"^bind [^\n]*: ([^:\n]+)$|^(channel_setup_fwd\w+: cannot listen[^\n]*)$", said, re.MULTILINE
        )
        if refused is None:
            return super().connection_error(said, ran=ran)
        reason = (refused[1] or refused[2]).strip()
        number = errno.EADDRINUSE if "in use" in reason else errno.EADDRNOTAVAIL
        return OSError(number, f"can not listen on {self._from}: {reason}")

    # -- its life ----------------------------------------------------------------------

    def tell_forwarding(self) -> None:
        """The port listens."""
        self.forwarding.set()
        self._settled.set()

    def reset(self) -> Self:
        """Kill it and wait if it runs, then return to the state before the start; returns the process."""
        super().reset()
        self.forwarding.clear()
        self._settled.clear()
        return self

    def __enter__(self) -> Self:
        """Start it, and wait until the port listens.

        Raises:
            ProcessesFailed: it has ended, or does not listen forwarding_timeout seconds later; then it is killed.
        """
        timeout = ConnectionParams.of(self.connection_params).forwarding_timeout
        self.start()
        self.future.add_done_callback(lambda _: self._settled.set())
        try:
            if not self._settled.wait(timeout):
                late = TimeoutError(f"{self.host.address}: {self._from} does not listen {timeout:g} s after the start")
                raise ProcessesFailed([self]) from late
            if not self.forwarding.is_set():
                raise ProcessesFailed([self])
        except BaseException:
            self.kill()
            raise
        return self


class _Ear(ProcessOutputHandler):
    """Hears that the host runs the command, which it does when ssh listens."""

    def __init__(self, forwarder: PortForwarder) -> None:
        self._forwarder = forwarder

    def read_line(self, process: Any, stream: int, string: str) -> None:
        if string.strip() == _LISTENS:
            self._forwarder.tell_forwarding()


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
