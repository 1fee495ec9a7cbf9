"""The actors of processes on other hosts: what is different from those of this machine.

`ConnectorActor`: the process is a connector of its own (``ssh host command``);
its end may tell of the connection rather than of the command.
`SessionActor`: the command runs over a connection that its host's actor holds;
there is no process of this machine.

The handle, an `SshProcess`, knows how to read what the connector says
(`connection_error`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..protocols.messages import STDERR, STDOUT, OpenSession, OutputRead, ProcessExited, SignalSession
from ._process_actor import ProcessActor
from ._process_rule import BrokenOff, Connecting

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["ConnectorActor", "SessionActor"]

_CONNECTION_FAILED = 255
"""With this ssh ends when it could not connect, or has lost the connection."""
_TAIL = 8192  # bytes of stderr that are looked at


class ConnectorActor(ProcessActor):
    """See the module."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._said = b""  # the end of its stderr, whether the user wants it kept or not

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        if type(message) is OutputRead and message.stream == STDERR:
            self._said = (self._said + message.bulk)[-_TAIL:]
        super().on_receive(message)

    def _judged(self, message: ProcessExited) -> ProcessExited | BrokenOff:
        run = self._run
        if message.status != _CONNECTION_FAILED or message.reported:
            return message
        said = self._said.decode(errors="replace")
        error = run.process.connection_error(said, ran=run.streams[STDOUT].size > 0)  # type: ignore[attr-defined]  # an SshProcess
        return message if error is None else BrokenOff(message.at, error)


class SessionActor(ProcessActor):
    """See the module.

    Args:
        host: address of the actor of its host.
        command: for the shell of the remote user.
    """

    def __init__(self, run: Run, host: str, command: str, *, pty: bool) -> None:
        super().__init__(run)
        self._host = host
        self._command = command
        self._pty = pty

    def begin_run(self) -> None:
        """Have the host open a session."""
        bus = self.actor_runtime.bus
        bus.tell(self.actor_address, Connecting(time.time()))
        bus.tell(self._host, OpenSession(self.actor_address, self._command, self._pty))

    def _send_signal(self, number: int) -> None:
        self.actor_runtime.bus.tell(self._host, SignalSession(self.actor_address, number))
