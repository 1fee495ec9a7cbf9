"""NativeConnection: one standing connection to a host that this program makes itself, without a process of ssh.

Owns: a `NativeLink`, which is the same connection in the asyncio thread (see `_native_link`).
Takes: from that `Connected`, SupervisorAnswer and `LinkOver`; all else as a `ConnectionActor`.
Tells its host actor what that one tells.
Dies of: the end of the connection, when its sessions have ended, too.

To the host actor, and to those who wait for commands, it is the same as a connection of OpenSSH.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.remote_supervisor import SupervisorAnswer, kill_order
from ..protocols.ssh_failure import Failure
from ._connection import _GRACE, Close, ConnectionActor, Over, Ready, Way
from ._native_loop import native_loop
from ._native_messages import Connected, LinkOver
from ._sessions import AttachNative

if TYPE_CHECKING:
    from ._native_link import NativeLink

__all__ = ["NativeConnection"]


class NativeConnection(ConnectionActor):
    """See the module.

    Args:
        host: address of its host actor.
        way: how to connect; its words are the options that ssh would have.
    """

    def __init__(self, host: str, way: Way) -> None:
        super().__init__(host, way, socket="", environment=None, directory=None)
        self._pid = os.getpid()
        self._loop = native_loop(self.actor_runtime)
        self._link: NativeLink  # the asyncio thread's; there is none where asyncssh is missing

    def begin(self) -> None:
        """Connect. On the reactor."""
        tell = functools.partial(self.actor_runtime.bus.tell, self.actor_address)
        self._loop.call(lambda: self._begin_there(tell))
        if self.way.connect_timeout:
            self._later(self.way.connect_timeout + _GRACE, self._take_too_long)

    def _begin_there(self, tell: Any) -> None:
        def tell_if_there(message: Any) -> None:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime ends
                tell(message)

        try:
            from ._native_link import NativeLink  # here: it loads asyncssh, and that takes time
        except ImportError as error:
            said = f"the native connector needs asyncssh: pip install 'regisseur[native]' ({error})"
            tell_if_there(LinkOver(Failure.PROGRAM_MISSING, said, None))
        else:
            self._link = NativeLink(self._loop, self.way, self._token, tell_if_there)

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            super().on_receive(message)
        else:
            handler(self, message)

    # -- the connection ----------------------------------------------------------

    def _connected(self, _: Connected) -> None:
        self.ready = True
        self._tell_host(Ready(self))

    def _answered(self, answer: SupervisorAnswer) -> None:
        if answer.is_ready:
            self.was_ready = True
            self._cancel_timers()
        elif answer.count == 0:
            self._repeat(answer.token, answer.signal)

    def _take_too_long(self) -> None:
        self._loop.call(lambda: self._link.give_up(Failure.TIMEOUT, "it does not start commands in time"))

    def _link_over(self, message: LinkOver) -> None:
        self.was_ready = self.was_ready or (self.ready and not message.unstarted)
        self.ready = False
        self._cancel_timers()
        self._be_over(Over(self, message.said, message.status, overdue=False, failure=message.failure))

    def _close(self, _: Close) -> None:
        self.ready = False
        self._loop.call(lambda: self._link.close())
        self._later(_GRACE, lambda: self._loop.call(lambda: self._link.abort()))

    # -- sessions ------------------------------------------------------------------

    def _attach(self, process: str, command: bytes, token: str, *, pty: bool) -> None:
        def take(control: int, theirs: list[int]) -> None:
            self._loop.call(lambda: self._link.open(control, theirs, command, pty=pty))

        self._tell_io(AttachNative(process, self.actor_address, self._pid, token, pty, take))

    def _order(self, number: int, token: str) -> None:
        line = kill_order(number, token)
        self._loop.call(lambda: self._link.order(line))


_HANDLERS: dict[type, Any] = {
    Connected: NativeConnection._connected,
    SupervisorAnswer: NativeConnection._answered,
    LinkOver: NativeConnection._link_over,
    Close: NativeConnection._close,
}
