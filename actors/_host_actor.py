"""HostActor: one host, as one user in one way: it owns the connections to it, and the commands that wait for one.

Takes: from process actors OpenSession and SignalSession; from its connections
`Ready`, `Over`, SessionOpened, SessionRefused and SessionEnded.
Tells the process actors `BrokenOff` and `Withdrawn` (all else the I/O actor
tells them), and its connections OpenSession, SignalSession and `Close`.
Lives as long as its runtime; a host that nobody uses costs nothing but memory.

Commands wait until a connection is there and has room. A connection takes as
many sessions as the host's sshd allows (MaxSessions, 10 by default), which is
found out: those refused wait for another connection, and are never seen to
fail. A host that refuses connections because it is busy is asked again, later
and later; one that is lost is connected to anew for those that wait. Only what
ran over it has failed.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.messages import OpenSession, SessionEnded, SessionOpened, SessionRefused, SignalSession
from ..protocols.ssh_failure import Failure, classify, is_worth_a_retry
from ._connect_window import connect_window, pause_before
from ._connection import Close, ConnectionActor, Over, Ready, Way
from ._control_sockets import ControlSockets
from ._process_rule import BrokenOff, Withdrawn
from ._signals import ENDING
from .actor import Actor
from .connection_errors import error_for, lost_error, session_error, unreported_error

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["HostActor", "host_address"]

_FIRST_FLIGHT = 8  # sessions that are asked for before the first is there
_MOST_REFUSALS = 20  # in a row, by a connection that has taken sessions before
_AT_ONCE = 4  # connections to one host that are being made at once
_FAREWELL = 0.5  # seconds in which the end of a connection becomes known, where a session has ended without a word


@dataclass(slots=True)
class _Line:
    """One connection, as its host knows it."""

    connection: ConnectionActor
    opening: dict[str, OpenSession] = field(default_factory=dict)
    """Sessions that were asked for."""
    open: set[str] = field(default_factory=set)
    """Sessions that run."""
    room: int | None = None
    """How many sessions it takes, where that is known."""
    most: int = 0
    """How many it had at once."""
    refusals: int = 0
    """How many it has refused since it took one."""
    taken: bool = False
    """It has been ready."""
    over: bool = False
    error: BaseException | None = None
    """Why it is over."""

    def has_room(self) -> bool:
        """Whether another session may be asked for now."""
        there, asked = len(self.open), len(self.opening)
        if self.room is not None:
            return there + asked < self.room
        return asked < max(_FIRST_FLIGHT, there)

    @property
    def is_used(self) -> bool:
        """Whether somebody needs it."""
        return bool(self.open or self.opening)


class HostActor(Actor):
    """See the module.

    Args:
        way: how it is reached.
        environment, directory: for the connector, see SpawnProcess.
    """

    hidden = True

    def __init__(self, way: Way, environment: bytes | None, directory: bytes | None) -> None:
        super().__init__()
        self._way = way
        self._environment = environment
        self._directory = directory
        self._waiting: deque[OpenSession] = deque()
        self._lines: dict[str, _Line] = {}
        self._where: dict[str, _Line] = {}  # by the address of the process actor
        self._signals: dict[str, list[int]] = {}  # for sessions that are being opened
        self._connecting = 0  # connections that are being made, or wait to be
        self._tries = 0
        self._room: int | None = None  # for sessions in a connection, where that is known

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        _HANDLERS[type(message)](self, message)

    def on_failure(self, *error: Any) -> None:
        """Leave nobody waiting."""
        for message in self._waiting:
            self._tell_process(message.process, BrokenOff(time.time(), error[1]))

    # -- commands --------------------------------------------------------------

    def _open(self, message: OpenSession) -> None:
        self._waiting.append(message)
        self._serve()

    def _serve(self) -> None:
        """Give those that wait to connections that have room; see that there is one."""
        for line in self._lines.values():
            while self._waiting and not line.over and line.connection.ready and line.has_room():
                message = self._waiting.popleft()
                line.opening[message.process] = message
                self._where[message.process] = line
                self._tell(line.connection, message)
        if self._waiting and not self._is_opening():
            wanted = 1 if not self._room else -(-len(self._waiting) // self._room)
            while self._connecting < min(wanted, _AT_ONCE):
                self._connect()

    def _is_opening(self) -> bool:
        """Whether a connection that stands may still take more than was asked of it."""
        return any(line.opening and line.room is None and not line.over for line in self._lines.values())

    def _signal(self, message: SignalSession) -> None:
        line = self._where.get(message.process)
        if line is None:
            if message.signal in ENDING:
                self._withdraw(message.process)
            else:
                self._signals.setdefault(message.process, []).append(message.signal)
        elif message.process in line.opening:
            self._signals.setdefault(message.process, []).append(message.signal)
        else:
            self._tell(line.connection, message)

    def _withdraw(self, process: str) -> None:
        for waiting in self._waiting:
            if waiting.process == process:
                self._waiting.remove(waiting)
                self._signals.pop(process, None)
                self._tell_process(process, Withdrawn(time.time()))
                return

    def _opened(self, message: SessionOpened) -> None:
        line = self._where[message.process]
        line.opening.pop(message.process, None)
        line.open.add(message.process)
        line.most = max(line.most, len(line.open))
        line.refusals = 0
        for number in self._signals.pop(message.process, ()):
            self._tell(line.connection, SignalSession(message.process, number))
        if self._waiting:
            self._serve()

    def _refused(self, message: SessionRefused) -> None:
        line = self._where.pop(message.process)
        request = line.opening.pop(message.process)
        line.refusals += 1
        ending = [number for number in self._signals.get(message.process, ()) if number in ENDING]
        if ending:
            self._signals.pop(message.process, None)
            self._tell_process(message.process, Withdrawn(time.time()))
        elif line.over or line.open or (line.most and line.refusals <= _MOST_REFUSALS):
            if not line.over:  # those that were in its way may have ended meanwhile
                self._room = line.room = line.most
            self._waiting.appendleft(request)
        elif line.opening:  # others are under way: what becomes of them tells how much room there is
            self._waiting.appendleft(request)
        else:
            error = session_error(self._way.name, message.reason)
            self._tell_process(message.process, BrokenOff(time.time(), error))
        self._serve()

    def _ended(self, message: SessionEnded) -> None:
        line = self._where.pop(message.process)
        line.open.discard(message.process)
        if not message.known:
            self._tell_unknown_end(message.process, line)
        self._after_session(line)

    def _after_session(self, line: _Line) -> None:
        if self._waiting:
            self._serve()
        if not line.is_used and not line.over:
            self.actor_runtime.call_later(self._way.idle, lambda: self._close_if_idle(line))

    def _tell_unknown_end(self, process: str, line: _Line) -> None:
        """It has ended without a word: either its connection is lost, or a signal has ended it and all around it."""

        def judge() -> None:
            name = self._way.name
            error = line.error or lost_error(name, "") if line.over else unreported_error(name)
            self._tell_process(process, BrokenOff(time.time(), error))

        if line.over:
            judge()
        else:
            self.actor_runtime.call_later(_FAREWELL, judge)

    # -- connections -----------------------------------------------------------

    def _connect(self) -> None:
        self._connecting += 1
        _of(self.actor_runtime).window.enter(self._way.window, self._connect_now)

    def _connect_now(self) -> None:
        runtime = self.actor_runtime
        if not self._waiting or not runtime.running:
            self._connecting -= 1
            _of(runtime).window.leave()
            return
        try:
            connection = self._new_connection()
        except OSError as error:
            self._connecting -= 1
            _of(runtime).window.leave()
            self._fail_waiting(error)
            return
        runtime.bus.launch(connection, begin=False)
        self._lines[connection.actor_address] = _Line(connection, room=self._room)
        connection.begin()

    def _new_connection(self) -> ConnectionActor:
        if self._way.native:
            from ._native import NativeConnection  # here: few programs have one

            return NativeConnection(self.actor_address, self._way)
        socket = _of(self.actor_runtime).sockets.new_path()
        return ConnectionActor(self.actor_address, self._way, socket, self._environment, self._directory)

    def _ready(self, message: Ready) -> None:
        self._lines[message.connection.actor_address].taken = True
        self._connecting -= 1
        self._tries = 0
        _of(self.actor_runtime).window.leave()
        message.connection.log("connection.opened")
        self._serve()

    def _over(self, message: Over) -> None:
        connection = message.connection
        line = self._lines.pop(connection.actor_address)
        line.over = True
        if connection.was_ready:
            line.error = lost_error(self._way.name, message.said)
            if line.is_used:
                connection.log("connection.lost", level="warning", error=str(line.error), sessions=len(line.open))
            else:
                connection.log("connection.closed")
            self._serve()
            return
        if not line.taken:
            self._connecting -= 1
            _of(self.actor_runtime).window.leave()
        failure = Failure.TIMEOUT if message.overdue else message.failure or classify(message.said) or Failure.OTHER
        self._tries += 1
        if is_worth_a_retry(failure) and self._tries <= self._way.retries:
            self._connect_later()
            return
        if any(not other.over for other in self._lines.values()):
            return  # those that wait will have their turn on the connections there are
        self._tries = 0
        error = line.error = error_for(failure, self._way.name, message.said, status=message.status)
        connection.log("connection.failed", level="warning", error=str(error))
        self._fail_waiting(error)

    def _connect_later(self) -> None:
        self._connecting += 1

        def again() -> None:
            self._connecting -= 1
            self._serve()

        self.actor_runtime.call_later(pause_before(self._tries), again)

    def _fail_waiting(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            self._signals.pop(message.process, None)
            self._tell_process(message.process, BrokenOff(time.time(), error))

    def _close_if_idle(self, line: _Line) -> None:
        if not line.is_used and not line.over:
            line.over = True
            self._tell(line.connection, Close())

    # -- helpers ---------------------------------------------------------------

    def _tell(self, connection: ConnectionActor, message: Any) -> None:
        self.actor_runtime.bus.tell(connection.actor_address, message)

    def _tell_process(self, process: str, message: Any) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_runtime.bus.tell(process, message)


_HANDLERS: dict[type, Any] = {
    OpenSession: HostActor._open,
    SignalSession: HostActor._signal,
    SessionOpened: HostActor._opened,
    SessionRefused: HostActor._refused,
    SessionEnded: HostActor._ended,
    Ready: HostActor._ready,
    Over: HostActor._over,
}


class _Hosts:
    """The host actors of one runtime, and what they share."""

    def __init__(self, runtime: Runtime) -> None:
        self.addresses: dict[Way, str] = {}
        self.lock = threading.Lock()
        self.window = connect_window(runtime)
        self.sockets = ControlSockets()
        runtime.on_stop(self.sockets.remove)


_all: weakref.WeakKeyDictionary[Runtime, _Hosts] = weakref.WeakKeyDictionary()
_all_lock = threading.Lock()


def _of(runtime: Runtime) -> _Hosts:
    hosts = _all.get(runtime)
    if hosts is None:
        with _all_lock:
            hosts = _all.get(runtime) or _all.setdefault(runtime, _Hosts(runtime))
    return hosts


def host_address(runtime: Runtime, way: Way, environment: bytes | None, directory: bytes | None) -> str:
    """The address of the actor of the host that is reached by *way*; it is started where there is none. Thread-safe.

    Args:
        environment, directory: of ssh, where it is started now.
    """
    hosts = _of(runtime)
    address = hosts.addresses.get(way)
    if address is None:
        with hosts.lock:
            address = hosts.addresses.get(way)
            if address is None:
                actor = HostActor(way, environment, directory)
                runtime.bus.launch(actor, begin=False)
                address = hosts.addresses[way] = actor.actor_address
    return address
