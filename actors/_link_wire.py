"""The sockets of links: all that is known of ZeroMQ here.

`Endpoint` is the socket on which a node listens, a ROUTER with one `Wire` for
each peer that came in; `DialedWire` is the DEALER with which it dials. They
live on the reactor: every function here belongs to its thread, but for
`abandon`, which runs in a forked child.

ZeroMQ reconnects, queues and drops by itself; all of that is turned off. A
wire that breaks stays broken, so that what was sent to one process never
reaches the next one under the same name. How much may be queued is counted
above (see `_link_channel`), so the sockets themselves have no bound for
sending.

ZeroMQ's descriptors tell of changes only. So a socket is read until nothing is
left, and looked at again after each time something was sent.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket as sockets
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import zmq

from ._context import here
from ._reactor import READABLE

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["BULK_LIMIT", "BrokenWireError", "DialedWire", "Endpoint", "Receiver", "Sender", "Wire"]

BULK_LIMIT = 256 * 1024 * 1024
"""Bytes of one frame; a peer that sends a larger one is cut off by ZeroMQ."""

_BATCH = 500  # messages before other descriptors get their turn
_LAST_WORDS = 0.05  # seconds before a peer is cut off
_LINGER = 200  # milliseconds in which a closed socket may still send its last words
_ENDED = "its process ended, or it closed the connection"
_GREETING = 5000  # milliseconds for ZeroMQ's own greeting
_NEVER = 24 * 3600 * 1000  # milliseconds before ZeroMQ reconnects. With -1 it would drop what came but was not read
_OPENED = (zmq.EVENT_LISTENING, zmq.EVENT_ACCEPTED, zmq.EVENT_CONNECTED)
_EVENTS = sum((*_OPENED, zmq.EVENT_ACCEPT_FAILED, zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED))  # bits

logger = logging.getLogger("regisseur.links")


class BrokenWireError(Exception):
    """The connection is gone."""


class Sender(NamedTuple):
    """The process at the other end, as the kernel knows it."""

    uid: int
    pid: int


class Receiver(Protocol):
    """Who reads a wire: a channel."""

    def receive(self, frame: bytes, bulk: bytes | None, extra: int) -> None:
        """Take one message; *extra* frames behind it were thrown away."""

    def lose(self, reason: str) -> None:
        """The connection is gone."""


class Wire(Protocol):
    """One connection. Frames go out in order, or the wire breaks."""

    sender: Sender | None
    """Who is at the other end; None where the platform does not tell, or before the first frame came."""

    def send(self, parts: Iterable[bytes]) -> None:
        """Send one message. Raises BrokenWireError."""

    def look(self) -> None:
        """After sending: see whether something has come meanwhile."""

    def close(self) -> None:
        """Close it; what was sent may still get through for a moment."""


def _sender_of(frame: zmq.Frame) -> Sender | None:
    """Who sent *frame*: ZeroMQ notes SO_PEERCRED of the connection with each, as ``...:uid:gid:pid``."""
    with contextlib.suppress(ValueError, zmq.ZMQError):
        _, uid, _, pid = str(frame.get("Peer-Address")).rsplit(":", 3)
        return Sender(int(uid), int(pid))
    return None


def _number(socket: zmq.Socket[bytes], option: int) -> int:
    value = socket.get(option)
    assert isinstance(value, int)
    return value


class _Reader:
    """A socket that the reactor reads, and the monitor that tells of its connections."""

    def __init__(self, runtime: Runtime, kind: int, path: Path) -> None:
        self.path = path
        """Of the socket at which the connections are made."""
        self._runtime = runtime
        try:
            self._socket: zmq.Socket[bytes] = runtime.bus.make_socket(kind)
        except zmq.ZMQError as error:  # too many
            raise OSError(error.errno, f"no socket for a link: {error.strerror}", str(path)) from None
        self._socket.linger = _LINGER
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.RECONNECT_IVL, _NEVER)
        self._socket.set(zmq.MAXMSGSIZE, BULK_LIMIT)
        self._socket.set(zmq.HANDSHAKE_IVL, _GREETING)
        self._monitor = self._socket.get_monitor_socket(_EVENTS, f"inproc://monitor-{id(self)}")
        self._fds: set[int] = set()
        self._closed = False
        # The plain functions: those of pyzmq's Socket class add options we do not use, and half the cost.
        self._send = functools.partial(zmq.backend.Socket.send, self._socket)
        self._receive: Callable[..., bytes] = functools.partial(zmq.backend.Socket.recv, self._socket)
        self._next: Callable[..., bytes] = self._receive
        """Gives the first frame of the next message."""
        runtime.reactor.watch(_number(self._socket, zmq.FD), READABLE, self._drain)
        runtime.reactor.watch(_number(self._monitor, zmq.FD), READABLE, self._drain_monitor)
        runtime.reactor.call_again(self._drain_again)

    def look(self) -> None:
        """Have the socket read if sending has eaten the signal that something came."""
        if not self._closed and _number(self._socket, zmq.EVENTS) & zmq.POLLIN:
            self._runtime.reactor.call_again(self._drain_again)

    def _drain_again(self) -> None:
        self._drain_monitor(0)
        self._drain(0)

    def _drain(self, _events: int) -> None:
        for _ in range(_BATCH):
            if self._closed:
                break
            try:
                first = self._next(zmq.NOBLOCK)
            except (zmq.Again, zmq.ContextTerminated):
                self._drained()
                break
            try:
                self._take(first)
            except Exception:
                logger.exception("a message from another node could not be handled")
        else:
            self._runtime.reactor.call_again(self._drain_again)
        here.actor = None

    def _take(self, first: bytes) -> None:
        raise NotImplementedError

    def _drained(self) -> None:
        """Nothing is left to read."""

    def _rest(self) -> tuple[bytes | None, int]:
        """The bulk frame behind the one just read, and how many frames stood behind that."""
        get = self._socket.get
        if not get(zmq.RCVMORE):
            return None, 0
        bulk, extra = self._receive(), 0
        while get(zmq.RCVMORE):
            self._receive()
            extra += 1
        return bulk, extra

    def _drain_monitor(self, _events: int) -> None:
        while not self._closed:
            try:
                event, value = struct.unpack("=Hi", self._monitor.recv(zmq.NOBLOCK))
                self._monitor.recv()
            except (zmq.Again, zmq.ContextTerminated):
                return
            if event in _OPENED:
                self._fds.add(value)
            elif event == zmq.EVENT_DISCONNECTED:
                self._fds.discard(value)
            self._heard(event, value)

    def _heard(self, event: int, fd: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket and its monitor."""
        if self._closed:
            return
        self._closed = True
        for each in (self._socket, self._monitor):
            self._runtime.reactor.forget(_number(each, zmq.FD))
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()

    def abandon(self) -> None:
        """In a forked child: close our copies of the connections; the socket itself stays with the parent."""
        for fd in self._fds:
            with contextlib.suppress(OSError):
                # The parent may have closed it and opened another file, unseen by us.
                if _is_at(fd, self.path):
                    os.close(fd)


class DialedWire(_Reader):
    """A connection that this node has opened.

    Args:
        path: of the socket on which the other node listens.
        receiver: told of frames and of the end.
    """

    def __init__(self, runtime: Runtime, path: Path, receiver: Receiver) -> None:
        super().__init__(runtime, zmq.DEALER, path)
        self.sender: Sender | None = None
        self._receiver = receiver
        self._gone = ""
        self._next = self._first
        self._socket.connect(f"ipc://{path}")

    def send(self, parts: Iterable[bytes]) -> None:
        """Send one message. Raises BrokenWireError."""
        *first, last = parts
        try:
            for part in first:
                self._send(part, zmq.SNDMORE | zmq.NOBLOCK)
            self._send(last, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise BrokenWireError("the connection was closed") from error

    def _take(self, first: bytes) -> None:
        self._receiver.receive(first, *self._rest())

    def _first(self, flags: int) -> bytes:
        """The first message, with which comes who is at the other end."""
        frame = self._socket.recv(flags, copy=False)
        self.sender = _sender_of(frame)
        self._next = self._receive
        return frame.bytes

    def _drained(self) -> None:
        if self._gone:
            self._receiver.lose(self._gone)

    def _heard(self, event: int, fd: int) -> None:
        if event == zmq.EVENT_DISCONNECTED:
            self._gone = _ENDED
        elif event == zmq.EVENT_CLOSED and not self._gone:
            self._gone = f"nobody listens at {self.path}"
        if self._gone:  # but first read what it had sent before
            self._runtime.reactor.call_again(lambda: self._drain(0))


class Endpoint(_Reader):
    """The socket on which this node listens.

    Args:
        path: where; nothing may be there yet.
        meet: called with the wire of each new peer; gives the channel that will read it.
    """

    def __init__(self, runtime: Runtime, path: Path, meet: Callable[[Wire], Receiver]) -> None:
        super().__init__(runtime, zmq.ROUTER, path)
        self._meet = meet
        self._receivers: dict[bytes, Receiver] = {}
        self._names: dict[int, bytes] = {}  # by the descriptor of the connection
        self._gone: list[bytes] = []
        self.foreigners = 0
        """How many connections of other users were refused."""
        self._socket.set(zmq.ROUTER_MANDATORY, 1)
        with contextlib.suppress(zmq.ZMQError, AttributeError):  # not on every platform; the first frame is checked too
            self._socket.set(zmq.IPC_FILTER_UID, os.geteuid())
        try:
            self._socket.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, f"a node can not listen here: {error.strerror}", str(path)) from None

    def _take(self, first: bytes) -> None:
        receiver = self._receivers.get(first)
        if receiver is not None:
            receiver.receive(self._receive(), *self._rest())
            return
        frame = self._socket.recv(copy=False)
        rest = self._rest()
        # The connection of a dead peer may have had the same descriptor: hear of its end before we note the new one.
        self._drain_monitor(0)
        fd = frame.get(zmq.SRCFD)
        assert isinstance(fd, int)
        self._names[fd] = first
        receiver = self._receivers[first] = self._meet(_AcceptedWire(self, first, fd, _sender_of(frame)))
        receiver.receive(frame.bytes, *rest)

    def _heard(self, event: int, fd: int) -> None:
        if event == zmq.EVENT_DISCONNECTED:
            name = self._names.pop(fd, None)
            if name is not None:
                self._gone.append(name)
                self._runtime.reactor.call_again(self._drain_again)  # first read what it had sent before
        elif event == zmq.EVENT_ACCEPT_FAILED:
            self.foreigners += 1
            if self.foreigners <= 3 or self.foreigners % 1000 == 0:
                logger.warning("refused connection no. %d to %s: it is of another user", self.foreigners, self.path)

    def _drained(self) -> None:
        gone, self._gone = self._gone, []
        for name in gone:
            receiver = self._receivers.pop(name, None)
            if receiver is not None:
                receiver.lose(_ENDED)

    def send(self, name: bytes, parts: Iterable[bytes]) -> None:
        """Send one message to the peer *name*. Raises BrokenWireError."""
        *first, last = parts
        try:
            self._send(name, zmq.SNDMORE | zmq.NOBLOCK)
            for part in first:
                self._send(part, zmq.SNDMORE | zmq.NOBLOCK)
            self._send(last, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise BrokenWireError("the connection was closed") from error

    def cut(self, name: bytes, fd: int, sender: Sender | None) -> None:
        """Close the connection of one peer, for which ZeroMQ has no function: shut down its socket under it."""
        if self._closed or self._names.get(fd) != name:
            return
        with contextlib.suppress(OSError), sockets.socket(fileno=os.dup(fd)) as copy:
            # Should the descriptor be somebody else's by now, then leave it alone.
            if _is_at(fd, self.path) and (sender is None or _peer_of(copy) == sender):
                copy.shutdown(sockets.SHUT_RDWR)

    def later(self, function: Callable[[], None]) -> None:
        """Call *function* when what was sent has had time to get through."""
        self._runtime.reactor.call_later(_LAST_WORDS, function)


def _is_at(fd: int, path: Path) -> bool:
    """Whether *fd* is a socket that listens at *path*, or one end of a connection made there. Raises OSError."""
    with sockets.socket(fileno=os.dup(fd)) as copy:
        if copy.family != sockets.AF_UNIX:
            return False
        names = [copy.getsockname()]
        with contextlib.suppress(OSError):  # it listens
            names.append(copy.getpeername())
    return os.fsencode(path) in [os.fsencode(name) for name in names]


def _peer_of(connection: sockets.socket) -> Sender:
    pid, uid, _ = struct.unpack("iII", connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12))
    return Sender(uid, pid)


class _AcceptedWire:
    """A connection that another node has opened to ours."""

    def __init__(self, endpoint: Endpoint, name: bytes, fd: int, sender: Sender | None) -> None:
        self.sender = sender
        self._endpoint = endpoint
        self._name = name
        self._fd = fd

    def send(self, parts: Iterable[bytes]) -> None:
        self._endpoint.send(self._name, parts)

    def look(self) -> None:
        self._endpoint.look()

    def close(self) -> None:
        self._endpoint.later(lambda: self._endpoint.cut(self._name, self._fd, self.sender))
