"""A session of a standing connection, for the I/O actor: pipes like those of a child, but no process of this machine.

The process that holds the connection (ssh's master) is asked over its control
socket to run a command, and is handed the other ends of our pipes; what it
reads and writes there are the streams of the remote command. The socket tells
the exit status, and is closed when the channel is. `protocols.mux` has the
format and the order of events.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..protocols.messages import STDOUT
from ..protocols.mux import (
    Decoder,
    ExitMessage,
    Failure,
    MuxError,
    PermissionDenied,
    SessionOpened,
    hello,
    new_session,
)
from ._child import RUNNING, Child, Pipes
from ._sessions import AttachNative

if TYPE_CHECKING:
    from ..protocols.messages import AttachSession
    from ._redirect import Redirect

__all__ = ["SIGNALLED", "Session", "open_session"]

_RECEIVE = 1 << 16
SIGNALLED = 256
"""What is added to the number of the signal where that is told in place of an exit status: not by ssh's master."""


class Session(Child):
    """One running remote command, as the I/O actor knows it.

    In place of a pidfd it has the control socket: readable when there are news.
    """

    __slots__ = (
        "_decoder",
        "_to_send",
        "connection",
        "exit_value",
        "last_seen",
        "on_exit_value",
        "on_opened",
        "opened",
        "redirect",
        "refused",
    )

    def __init__(
        self, message: AttachSession | AttachNative, control: int, pipes: Pipes, request: bytes | None = None
    ) -> None:
        super().__init__(message.process, message.pid, control, pipes)
        self.connection = message.connection
        """Address of the connection actor."""
        self.opened = False
        """The host has taken the command."""
        self.refused: str | None = None
        """Why it was not opened."""
        self.redirect: Redirect | None = None
        """Files in place of pipes."""
        self.last_seen = 0
        """How much output there was when it was looked the last time."""
        self.on_opened: Callable[[], None] = lambda: None
        self.on_exit_value: Callable[[], None] = lambda: None
        """Called when the command has ended; some of its output may still be on its way."""
        self.look_for_trailer(message.token)
        if message.pty:
            self.trailer_stream = STDOUT
        self._decoder = Decoder()
        self.exit_value: int | None = None
        """The exit status; None: it runs, or has ended without one."""
        # Each descriptor travels with a byte of its own, as ssh receives them one by one.
        self._to_send: deque[tuple[bytes, int | None]] = deque()
        if request is not None:
            self._to_send.append((request, None))
            self._to_send.extend((b"\0", fd) for fd in pipes.theirs)

    @property
    def is_local(self) -> bool:
        """It is no process of this machine."""
        return False

    def send_some(self) -> bool:
        """Send what the socket takes of the request; returns whether nothing is left.

        Raises:
            OSError: the connection is gone.
        """
        while self._to_send:
            data, fd = self._to_send[0]
            rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            with socket.socket(fileno=os.dup(self.pidfd)) as control:
                try:
                    count = control.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except BlockingIOError:
                    return False
            if count < len(data):
                self._to_send[0] = data[count:], None
            else:
                self._to_send.popleft()
        return True

    def reap(self) -> int | None:
        """What the control socket tells: see `Child.reap`. None: it has ended without a word."""
        while True:
            try:
                data = os.read(self.pidfd, _RECEIVE)
            except BlockingIOError:
                return RUNNING
            except OSError:
                data = b""
            if not data:
                return self.exit_value
            try:
                for packet in self._decoder.feed(data):
                    self._take(packet)
            except MuxError as error:
                self.refused = self.refused or str(error)
                return self.exit_value

    def _take(self, packet: object) -> None:
        if isinstance(packet, SessionOpened):
            self.opened = True
            self.on_opened()
        elif isinstance(packet, ExitMessage):
            status = packet.status
            self.exit_value = status if status < SIGNALLED else SIGNALLED - status
            self.on_exit_value()
        elif isinstance(packet, (Failure, PermissionDenied)):
            self.refused = packet.reason

    @property
    def progress(self) -> int:
        """Grows with each output."""
        stdout = self.redirect.stdout if self.redirect is not None else None
        return self.seen if stdout is None else self.seen + stdout.taken

    def fell_silent(self) -> bool:
        """Whether nothing has come since `last_seen` was noted."""
        return self.last_seen == self.progress


def open_session(message: AttachSession | AttachNative, redirect: Redirect | None = None) -> tuple[Session, Pipes]:
    """Connect to the control socket, and make the pipes; nothing is sent yet.

    The request of an AttachNative is on its way, with their ends of the pipes.

    Raises:
        BlockingIOError: too many others are connecting to it at this moment.
        OSError: there is no such connection any more, or there are no descriptors.
    """
    if isinstance(message, AttachNative):
        return _open_native(message, redirect)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        control.connect(message.socket)
        pipes = Pipes(use_pty=False, redirect=redirect)
    except OSError:
        control.close()
        raise
    request = hello() + new_session(message.command, tty=message.pty, terminal=os.environ.get("TERM", "dumb"))
    session = Session(message, control.detach(), pipes, request)
    session.redirect = redirect
    return session, pipes


def _open_native(message: AttachNative, redirect: Redirect | None) -> tuple[Session, Pipes]:
    ours, theirs = socket.socketpair()
    try:
        pipes = Pipes(use_pty=False, redirect=redirect)
    except OSError:
        ours.close()
        theirs.close()
        raise
    ours.setblocking(False)
    session = Session(message, ours.detach(), pipes)
    session.redirect = redirect
    message.take(theirs.detach(), list(pipes.theirs))
    pipes.theirs.clear()
    return session, pipes
