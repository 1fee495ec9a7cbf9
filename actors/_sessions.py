"""Sessions: the commands on other hosts that run over standing connections. The I/O actor's; the reactor's thread.

A session is opened over the control socket of its connection (`_session`).
From then on it is a child like the others to the I/O actor: pipes to read and
write, back-pressure, an end. What is different is here: how it begins, and who
is told of its end, for a session that ends without a status says that either
its connection is gone or a signal has ended it, and the connection knows which.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..protocols.messages import ProcessSpawned, SessionEnded, SessionOpened, SessionRefused
from ._child import CLOSED, RUNNING, Child
from ._process_rule import KillWanted, Withdrawn
from ._reactor import READABLE, WRITABLE

if TYPE_CHECKING:
    from ..protocols.messages import AttachSession, DetachSession
    from ._child import Pipes
    from ._io import IoActor
    from ._session import Session

__all__ = ["AttachNative", "Sessions"]

_RETRY = 0.02  # seconds until the next try where a control socket or the descriptors have no room
_LINGER = 1.0  # seconds of silence after the exit status, while something in the background holds the output open


@dataclass(frozen=True, slots=True)
class AttachNative:
    """As AttachSession, for a connection that this program makes itself.

    Not a registered message: it hands over a function, inside this process.
    """

    process: str
    connection: str
    pid: int
    token: str
    pty: bool
    take: Callable[[int, list[int]], None]
    """Takes over the other end of the control socket, and those of the pipes; and opens the session. Thread-safe."""


class Sessions:
    """See the module.

    Args:
        io: whose part this is.
    """

    def __init__(self, io: IoActor) -> None:
        self._io = io
        self._opening: dict[str, tuple[Session, Pipes]] = {}
        self._closed = False

    def opening(self) -> Iterable[Child]:
        """Those that have not been opened yet."""
        return [session for session, _ in self._opening.values()]

    # -- the beginning ---------------------------------------------------------

    def attach(self, message: AttachSession | AttachNative) -> None:
        """Open a session."""
        from ._session import open_session

        if self._closed:
            return
        io = self._io
        try:
            session, pipes = open_session(message, io.redirect_of(message.process))
        except BlockingIOError:  # as many as the socket takes are knocking at it
            io.reactor.call_later(_RETRY, lambda: self.attach(message))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                io.make_room()
                io.reactor.call_later(_RETRY, lambda: self.attach(message))
            else:
                what = os.fsdecode(error.filename or "its control socket")
                io.tell(message.connection, SessionRefused(message.process, f"{what}: {error.strerror}"))
        else:
            self._opening[message.process] = session, pipes
            session.on_opened = lambda: self._opened(session)
            session.on_exit_value = lambda: self._linger_soon(session)
            io.reactor.watch(session.pidfd, READABLE, lambda _: self._news(session))
            self._send(session, pipes)

    def _send(self, session: Session, pipes: Pipes) -> None:
        try:
            done = session.send_some()
        except OSError as error:
            self._refuse(session, f"its control socket: {error.strerror}")
            return
        if done:
            pipes.close_theirs()
            pipes.theirs.clear()
        elif pipes.theirs:
            self._io.reactor.change(session.pidfd, READABLE | WRITABLE)

    def _news(self, session: Session) -> None:
        """The control socket says something, or can take more."""
        if session.opened:
            self._io.take_exit(session)
            return
        pipes = self._opening[session.address][1]
        if pipes.theirs:
            self._send(session, pipes)
            if pipes.theirs or session.pidfd == CLOSED:
                return
            self._io.reactor.change(session.pidfd, READABLE)
        status = session.reap()
        if session.opened:
            if status != RUNNING:
                self._io.take_exit(session)
        elif status != RUNNING:
            self._refuse(session, session.refused or "the connection was closed")
        elif session.refused is not None:
            self._refuse(session, session.refused)

    def _opened(self, session: Session) -> None:
        """The host has taken the command."""
        io = self._io
        del self._opening[session.address]
        io.tell(session.address, ProcessSpawned(session.pid, time.time()))
        io.tell(session.connection, SessionOpened(session.address))
        io.take_in(session)

    def _refuse(self, session: Session, reason: str) -> None:
        pipes = self._opening.pop(session.address)[1]
        io = self._io
        io.reactor.forget(session.pidfd)
        for fd in {session.pidfd, session.stdin, *session.outputs.values()}:
            io.close_fd(fd)
        session.pidfd = CLOSED
        pipes.close_theirs()
        pipes.theirs.clear()
        io.tell(session.connection, SessionRefused(session.address, reason))

    # -- the end ---------------------------------------------------------------

    def _linger_soon(self, session: Session) -> None:
        """The command has ended; mostly its output does too, at once."""
        session.last_seen = session.progress
        self._io.reactor.call_later(_LINGER, lambda: self._linger(session))

    def _linger(self, session: Session) -> None:
        """End it where something that the command has left in the background holds its output, and says nothing."""
        if session.pidfd == CLOSED:
            return
        if not session.opened or session.paused or not session.fell_silent():
            self._linger_soon(session)
        else:
            self._io.cut_off(session, session.exit_value)

    def detach(self, message: DetachSession) -> None:
        """Wait no longer for the end of a session."""
        session = self._io.session(message.process)
        if session is not None:
            self._io.cut_off(session, None)
        elif message.process in self._opening:
            self._refuse(self._opening[message.process][0], "the host does not react")

    def ended(self, child: Child, status: int | None) -> None:
        """Told by the I/O actor: *child*, a session, is over; its descriptors are closed."""
        session: Any = child
        known = status is not None or child.reported is not None
        if known:
            self._io.tell_exit(child, status)
        self._io.tell(session.connection, SessionEnded(child.address, known))

    def close(self, sessions: Iterable[Child]) -> None:
        """The runtime ends, and with it all connections; what they have started is ended on the hosts."""
        self._closed = True
        for session, _ in list(self._opening.values()):
            self._refuse(session, "the runtime has been stopped")
        for child in list(sessions):
            self._io.tell(child.address, KillWanted(signal.SIGTERM, None, sent=True))
            self._io.tell(child.address, Withdrawn(time.time()))
            self._io.drop(child)
