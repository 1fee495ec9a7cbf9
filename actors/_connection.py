"""ConnectionActor: one standing connection to a host, held by a process of ssh that others share (its "master").

Owns: that process, whose own session runs the supervisor (`protocols.remote_shell`).
Takes: from the I/O actor what becomes of it, and of the sessions opened over it
(SessionOpened, SessionRefused, SessionEnded); from its host actor OpenSession,
SignalSession and `Close`.
Tells its host actor: `Ready`, `Over`, and what it hears of sessions.
Dies of: the end of the process.

Lives on the reactor. It decides nothing: when to connect again, and what an end
means for those who wait, is the host actor's business.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.messages import (
    STDERR,
    STDOUT,
    AttachSession,
    CloseInput,
    DetachSession,
    OpenSession,
    OutputEnded,
    OutputRead,
    ProcessExited,
    ProcessSpawned,
    SessionEnded,
    SessionOpened,
    SessionRefused,
    SignalProcess,
    SignalSession,
    SpawnFailed,
    SpawnProcess,
    WriteInput,
)
from ..protocols.remote_shell import wrapped
from ..protocols.remote_supervisor import SupervisorReader, kill_order, supervisor
from ._process_rule import BrokenOff
from .actor import Actor
from .journal import current_journal

if TYPE_CHECKING:
    from ..protocols.ssh_failure import Failure
    from ._reactor import Timer

__all__ = ["Close", "ConnectionActor", "Over", "Ready", "Way"]

_TAIL = 8192  # bytes of stderr that are kept to tell why it has ended
_UNHEARD = 0.1  # seconds until an order is given again for a command that was not there yet
_HUNG = 5.0  # seconds after SIGKILL until a host that does not react is given up
_GRACE = 5.0  # seconds that ssh gets to keep its own limit of time, and then to end


@dataclass(frozen=True, slots=True)
class Way:
    """How a host is reached: two equal ways may share a connection."""

    name: str
    """The host, as the user calls it."""
    words: tuple[str, ...]
    """ssh and its options."""
    address: str
    """Where it connects to."""
    connect_timeout: float
    """Seconds."""
    window: int
    """How many connections may be being made at once."""
    retries: int
    """How often to try again where a busy host refuses."""
    idle: float
    """Seconds that a connection is kept which nobody uses."""
    native: bool = False
    """This program connects itself; then the words are the options only."""


class Ready:
    """The host takes commands over *connection*."""

    __slots__ = ("connection",)

    def __init__(self, connection: ConnectionActor) -> None:
        self.connection = connection


class Over:
    """*connection* has ended. *said* is the end of what ssh wrote to stderr."""

    __slots__ = ("connection", "failure", "overdue", "said", "status")

    def __init__(
        self,
        connection: ConnectionActor,
        said: str,
        status: int | None,
        *,
        overdue: bool,
        failure: Failure | None = None,
    ) -> None:
        self.connection = connection
        self.said = said
        self.status = status
        self.overdue = overdue
        """It was ended since it took too long to connect."""
        self.failure = failure
        """What has failed, where that need not be read from what was said."""


class Close:
    """Nobody needs the connection any more."""

    __slots__ = ()


class ConnectionActor(Actor):
    """See the module.

    Args:
        host: address of its host actor.
        way: how to connect.
        socket: path for the control socket.
        environment: of ssh, see SpawnProcess.
        directory: in which it runs.
    """

    hidden = True

    def __init__(self, host: str, way: Way, socket: str, environment: bytes | None, directory: bytes | None) -> None:
        super().__init__()
        self.way = way
        self.ready = False
        self.was_ready = False
        self.sessions: dict[str, str] = {}
        """Token of each session, by the address of its process actor."""
        self._host = host
        self._socket = socket
        self._environment = environment
        self._directory = directory
        self._token = secrets.token_hex(8)
        self._numbers = 0
        self._reader = SupervisorReader(self._token)
        self._said = b""
        self._pid = 0
        self._timers: list[Timer] = []
        self._overdue = False
        self._over = False

    def begin(self) -> None:
        """Connect. On the reactor."""
        way = self.way
        options = ("-M", "-S", self._socket, "-T", "-o", "ControlPersist=no", "-o", "RemoteCommand=none")
        argv = (*way.words, *options, way.address, supervisor(self._token))
        message = SpawnProcess(
            self.actor_address,
            tuple(map(os.fsencode, argv)),
            env=self._environment,
            cwd=self._directory,
            internal=True,
        )
        self._tell_io(message)
        self._later(way.connect_timeout + _GRACE, self._take_too_long)

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        handler = _HANDLERS.get(type(message))
        if handler is not None:  # else it is of no concern, such as the wish that all processes end
            handler(self, message)

    # -- the process that holds it ---------------------------------------------

    def _spawned(self, message: ProcessSpawned) -> None:
        self._pid = message.pid

    def _spawn_failed(self, message: SpawnFailed) -> None:
        self._said = message.reason.encode()
        if message.filename is not None:
            self._said += b": " + os.fsencode(message.filename)
        self._end(None)

    def _output(self, message: OutputRead) -> None:
        if message.stream == STDERR:
            self._said = (self._said + message.bulk)[-_TAIL:]
            return
        assert message.stream == STDOUT
        for answer in self._reader.feed(message.bulk):
            if answer.is_ready:
                self._become_ready()
            elif answer.count == 0:
                self._repeat(answer.token, answer.signal)

    def _become_ready(self) -> None:
        self.ready = self.was_ready = True
        self._cancel_timers()
        self._tell_host(Ready(self))

    def _take_too_long(self) -> None:
        self._overdue = True
        self._tell_io(SignalProcess(self.actor_address, signal.SIGKILL, descendants=True))

    def _exited(self, message: ProcessExited) -> None:
        self._end(message.status)

    def _end(self, status: int | None) -> None:
        self._cancel_timers()
        self.ready = False
        with contextlib.suppress(OSError):  # ssh removes it where it ends in peace
            os.unlink(self._socket)
        said = self._said.decode(errors="replace")
        self._be_over(Over(self, said, status, overdue=self._overdue))

    def _be_over(self, message: Over) -> None:
        self._over = True
        self._tell_host(message)
        self._retire_if_unused()

    def _retire_if_unused(self) -> None:
        """Stay until the host has heard of the end of all sessions."""
        if self._over and not self.sessions:
            self.actor_runtime.bus.retire(self)

    def _close(self, _: Close) -> None:
        """The supervisor's stdin ends, so it ends, and so does ssh."""
        self.ready = False
        self._tell_io(CloseInput(self.actor_address))
        self._later(_GRACE, lambda: self._tell_io(SignalProcess(self.actor_address, signal.SIGTERM, descendants=False)))

    # -- sessions --------------------------------------------------------------

    def _open(self, message: OpenSession) -> None:
        self._numbers += 1
        token = self.sessions[message.process] = f"{self._token}.{self._numbers}"
        try:
            command = os.fsencode(wrapped(message.command, token))
        except ValueError as error:  # too long, or with a null byte
            del self.sessions[message.process]
            self._tell_host(SessionOpened(message.process))
            self.actor_runtime.bus.tell(message.process, BrokenOff(time.time(), error))
            self._tell_host(SessionEnded(message.process, known=True))
            return
        self._attach(message.process, command, token, pty=message.pty)

    def _attach(self, process: str, command: bytes, token: str, *, pty: bool) -> None:
        self._tell_io(AttachSession(process, self.actor_address, self._pid, self._socket, command, token, pty))

    def _opened(self, message: SessionOpened) -> None:
        self._tell_host(message)

    def _session_gone(self, message: SessionEnded | SessionRefused) -> None:
        self.sessions.pop(message.process, None)
        self._tell_host(message)
        self._retire_if_unused()

    def _signal(self, message: SignalSession) -> None:
        token = self.sessions.get(message.process)
        if token is not None:
            self._order(message.signal, token)
            if message.signal == signal.SIGKILL:
                self._later(_HUNG, lambda: self._give_up(message.process))

    def _order(self, number: int, token: str) -> None:
        self._tell_io(WriteInput(self.actor_address, kill_order(number, token)))

    def _repeat(self, token: str, number: int) -> None:
        """The command was not there: it has not begun yet, or has ended. Give the order again, unless it has."""
        if token in self.sessions.values():
            self._later(_UNHEARD, lambda: self._order(number, token) if token in self.sessions.values() else None)

    def _give_up(self, process: str) -> None:
        if process in self.sessions:
            self._tell_io(DetachSession(process))

    # -- helpers ---------------------------------------------------------------

    def _later(self, delay: float, function: Any) -> None:
        self._timers = [timer for timer in self._timers if timer.function is not None]
        self._timers.append(self.actor_runtime.call_later(delay, function))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _tell_io(self, message: Any) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_runtime.bus.tell(self.actor_runtime.io_address, message)

    def _tell_host(self, message: Any) -> None:
        self.actor_runtime.bus.tell(self._host, message)

    def log(self, event: str, **facts: Any) -> None:
        """Tell the journal."""
        journal = current_journal()
        if journal is not None:
            facts = {"host": self.way.name, "child": self._pid, "at": time.time(), **facts}
            journal.event(event, actor=self.actor_address, **facts)


_HANDLERS: dict[type, Any] = {
    ProcessSpawned: ConnectionActor._spawned,
    SpawnFailed: ConnectionActor._spawn_failed,
    OutputRead: ConnectionActor._output,
    OutputEnded: lambda _actor, _message: None,
    ProcessExited: ConnectionActor._exited,
    OpenSession: ConnectionActor._open,
    SignalSession: ConnectionActor._signal,
    SessionOpened: ConnectionActor._opened,
    SessionRefused: ConnectionActor._session_gone,
    SessionEnded: ConnectionActor._session_gone,
    Close: ConnectionActor._close,
}
