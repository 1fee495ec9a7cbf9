"""SessionActor: one run of a command over a connection that its host's actor holds.

There is no process of this machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..protocols.messages import STDERR, OpenSession, OutputRead, SignalSession
from ._process_actor import ProcessActor
from ._process_rule import BrokenOff, Connecting
from .connection_errors import HostConnectionError

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["SessionActor"]


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

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        if type(message) is BrokenOff and isinstance(message.error, HostConnectionError):
            self._pass_on(message.error.said.strip())
        super().on_receive(message)

    def _pass_on(self, said: str) -> None:
        """What the connection said last goes to stderr, as the words of a connector of its own do."""
        if said and not self._run.life.ended:
            self._output(OutputRead(STDERR, f"{said}\n".encode(errors="surrogateescape")))

    def _send_signal(self, number: int) -> None:
        self.actor_runtime.bus.tell(self._host, SignalSession(self.actor_address, number))
