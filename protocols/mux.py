"""The protocol by which a standing connection of OpenSSH is shared: the side of those who ask for sessions.

``ssh -M -S <socket>`` (the "master") listens on a Unix socket. Who connects to
it speaks packets: a uint32 of the length, then a uint32 of the type, then
fields; all numbers big-endian, a string is its uint32 length and its bytes, a
bool is a uint32. Described in PROTOCOL.mux of OpenSSH; version 4, which all
releases since 5.4 speak.

The life of a session, on a connection to the socket of its own:

1. We send `hello` and `new_session` (they may go in one write), then three
   bytes, each with one descriptor in its control message (SCM_RIGHTS): the
   stdin, stdout and stderr that the remote command is to have. Send them
   without delay: the master waits for them, and does nothing else meanwhile.
2. It sends `Hello` and, when the host has taken the session, `SessionOpened`;
   else `Failure` (such as "Session open refused by peer", where the host
   allows no more sessions), and the socket stays open. The descriptors that we
   have sent may be closed on our side as soon as they are sent.
3. When the command has exited it sends `ExitMessage`. Output may still follow,
   for this packet and the output travel separately.
4. When the channel is closed, which is after all output was written to the
   descriptors, it closes them and the socket. Their end may be seen before or
   after that of the socket. A process that the command has left behind and
   that holds its stdout or stderr open delays this, not the `ExitMessage`.

There is no `ExitMessage` where a signal ended the command (the master drops
what the host says about it), nor where the connection is lost: then the end of
the socket is all there is. Closing the socket early closes the session.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ProtocolError

__all__ = [
    "MAX_PACKET",
    "VERSION",
    "Alive",
    "Decoder",
    "ExitMessage",
    "Failure",
    "Hello",
    "MuxError",
    "MuxMessage",
    "Ok",
    "PermissionDenied",
    "SessionOpened",
    "TtyAllocFail",
    "alive_check",
    "hello",
    "new_session",
    "spoken",
    "stop_listening",
    "terminate",
]

VERSION = 4
"""The version of the protocol that is spoken."""
MAX_PACKET = 256 * 1024
"""Bytes of a packet behind its length; the master closes the socket of who sends a longer one."""

_NO_ESCAPE = 0xFFFFFFFF
_HELLO = 0x00000001
_NEW_SESSION, _ALIVE_CHECK, _TERMINATE, _STOP_LISTENING = 0x10000002, 0x10000004, 0x10000005, 0x10000009
_OK, _PERMISSION_DENIED, _FAILURE, _EXIT_MESSAGE = 0x80000001, 0x80000002, 0x80000003, 0x80000004
_ALIVE, _SESSION_OPENED, _TTY_ALLOC_FAIL = 0x80000005, 0x80000006, 0x80000008

_UINT = struct.Struct(">I")


class MuxError(ProtocolError):
    """Bytes that are no packet of this protocol, or values that fit into none; *reason* says what was seen."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"multiplexing protocol of ssh: {self.reason}"


@dataclass(frozen=True, slots=True)
class Hello:
    """The first packet of the master. Its extensions are checked and passed over, for none are defined."""

    version: int


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The host has taken the session."""

    request: int
    """The number that was given to `new_session`."""
    session: int
    """The master's number of the session."""


@dataclass(frozen=True, slots=True)
class ExitMessage:
    """The command has exited. See the module for what may come before and after it."""

    session: int
    status: int
    """0..255."""


@dataclass(frozen=True, slots=True)
class TtyAllocFail:
    """The host gave the session no terminal; the command runs without."""

    session: int


@dataclass(frozen=True, slots=True)
class PermissionDenied:
    """The user of the master has refused a request."""

    request: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A request could not be fulfilled."""

    request: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ok:
    """A request was fulfilled."""

    request: int


@dataclass(frozen=True, slots=True)
class Alive:
    """The answer to `alive_check`."""

    request: int
    pid: int
    """Of the master."""


MuxMessage: TypeAlias = Hello | SessionOpened | ExitMessage | TtyAllocFail | PermissionDenied | Failure | Ok | Alive
"""What a master says."""


# -- what we say ---------------------------------------------------------------


def hello() -> bytes:
    """The first packet, once per connection to the socket."""
    return _packet(_HELLO, VERSION)


def new_session(
    command: bytes, *, tty: bool = False, subsystem: bool = False, terminal: str = "", request: int = 0
) -> bytes:
    """Ask for a session that runs *command*; the three descriptors are sent after it.

    Args:
        command: for the shell of the remote user; the name of the subsystem where *subsystem* is set.
        tty: it gets a terminal, with the modes of the descriptor that is sent as stdin if that is one.
        terminal: the value of TERM that goes with *tty*.
        request: comes back in the answer.

    Raises:
        MuxError: a null byte, which the master takes for the end, or a packet of more than MAX_PACKET bytes.
    """
    name = terminal.encode(errors="surrogateescape")
    for what, data in (("command", command), ("terminal type", name)):
        if b"\0" in data:
            raise MuxError(f"the {what} has a null byte at position {data.index(0)}")
    flags = (int(tty), 0, 0, int(subsystem), _NO_ESCAPE)  # the zeros: no X11, no agent
    return _packet(_NEW_SESSION, request, b"", *flags, name, command)


def alive_check(request: int = 0) -> bytes:
    """Ask whether the master works; the answer is `Alive`."""
    return _packet(_ALIVE_CHECK, request)


def terminate(request: int = 0) -> bytes:
    """End the master and all its sessions, at once; the answer, `Ok`, mostly gets lost."""
    return _packet(_TERMINATE, request)


def stop_listening(request: int = 0) -> bytes:
    """Have the master remove its socket; it ends when its sessions have. The answer is `Ok`."""
    return _packet(_STOP_LISTENING, request)


def spoken(message: SessionOpened | ExitMessage | Failure) -> bytes:
    """The packet of *message*: for who stands in for the master."""
    match message:
        case SessionOpened(request, session):
            return _packet(_SESSION_OPENED, request, session)
        case ExitMessage(session, status):
            return _packet(_EXIT_MESSAGE, session, status)
        case Failure(request, reason):
            return _packet(_FAILURE, request, reason.encode(errors="replace"))


def _packet(*fields: int | bytes) -> bytes:
    parts = [_UINT.pack(field) if isinstance(field, int) else _UINT.pack(len(field)) + field for field in fields]
    body = b"".join(parts)
    if len(body) > MAX_PACKET:
        raise MuxError(f"a packet of {len(body)} bytes, where ssh takes {MAX_PACKET}: shorten the command")
    return _UINT.pack(len(body)) + body


# -- what the master says ------------------------------------------------------


class Decoder:
    """Takes the bytes that come from the master, in whatever pieces, and returns its messages.

    A packet that is longer than it should be is accepted, as ssh itself does; one that is too short is not.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[MuxMessage]:
        """The messages that *data* completes.

        Raises:
            MuxError: it is not this protocol. Messages before the bad packet are lost, and nothing can follow.
        """
        data = self._rest + data
        messages: list[MuxMessage] = []
        at = 0
        while len(data) - at >= _UINT.size:
            (length,) = _UINT.unpack_from(data, at)
            if not _UINT.size <= length <= MAX_PACKET:
                raise MuxError(f"a packet claims to have {length} bytes")
            end = at + _UINT.size + length
            if end > len(data):
                break
            messages.append(_decode(data[at + _UINT.size : end]))
            at = end
        self._rest = data[at:]
        return messages


class _Body:
    """The fields of one packet, from left to right."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def uint(self) -> int:
        if self.left < _UINT.size:
            raise MuxError(f"a packet of {len(self._data)} bytes ends within a number")
        (value,) = _UINT.unpack_from(self._data, self._at)
        self._at += _UINT.size
        return int(value)

    def string(self) -> str:
        length = self.uint()
        if self.left < length:
            raise MuxError(f"a string of {length} bytes in a packet that has {self.left} more")
        value = self._data[self._at : self._at + length]
        self._at += length
        return value.decode(errors="replace")


def _decode(packet: bytes) -> MuxMessage:
    body = _Body(packet)
    kind = body.uint()
    read = _READERS.get(kind)
    if read is None:
        raise MuxError(f"a packet of the unknown type {kind:#010x}")
    return read(body)


def _read_hello(body: _Body) -> Hello:
    version = body.uint()
    if version != VERSION:
        raise MuxError(f"the master speaks version {version}, this program {VERSION}")
    while body.left:
        body.string()
        body.string()
    return Hello(version)


_READERS: dict[int, Callable[[_Body], MuxMessage]] = {
    _HELLO: _read_hello,
    _OK: lambda body: Ok(body.uint()),
    _PERMISSION_DENIED: lambda body: PermissionDenied(body.uint(), body.string()),
    _FAILURE: lambda body: Failure(body.uint(), body.string()),
    _EXIT_MESSAGE: lambda body: ExitMessage(body.uint(), body.uint()),
    _ALIVE: lambda body: Alive(body.uint(), body.uint()),
    _SESSION_OPENED: lambda body: SessionOpened(body.uint(), body.uint()),
    _TTY_ALLOC_FAIL: lambda body: TtyAllocFail(body.uint()),
}
