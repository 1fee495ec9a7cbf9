"""What we say to TakTuk, and what it says: commands on its stdin, events on its stdout.

TakTuk (taktuk(1), written for 3.7.7) reads commands from its stdin, and writes each thing that happens in a format
which we give it: a Perl expression for each of its streams. Ours writes every field with its length before it, as a
netstring (``5:hello,``), and a newline behind the last; so no output, whatever its bytes are, can be taken for
anything else. The words of commands are separated by control characters, and those are escaped where they are a part
of a word; so any bytes may be sent, too.

A node has a *rank* in the tree, a number from 1 on, which it gets when all connections are made; 0 is the root, our
end, and is none of ours. Commands have a *target*, a number of ours; TakTuk tells which process (*pid*) it became when
it starts, and that pid with all that comes of it.

Pure: text and bytes in, events and bytes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from .errors import MalformedError, OversizedError

__all__ = [
    "ARGUMENTS",
    "LIMIT",
    "Connected",
    "ConnectorSaid",
    "EngineSaid",
    "Event",
    "EventReader",
    "Exited",
    "Output",
    "Started",
    "State",
    "StateChanged",
    "close_input",
    "execute",
    "rank_set",
    "send_input",
    "send_signal",
    "word",
]

_OPTION, _COMMAND, _ESCAPE = b"\x01", b"\x02", b"\x03"
_SPECIAL = re.compile(rb"[\x01\x02\x03\]]")

LIMIT = 1 << 24
"""Bytes that a record may have; TakTuk itself cuts lines at 32 KiB."""

_ENDED = 8  # State.COMMAND_TERMINATED
_TAG = 48
"""Bytes of a command line that come with its start."""


def _template(*fields: str) -> str:
    return f'join("",map{{(defined$_?length($_).":$_":"0:").","}}({",".join(fields)}))."\\n"'


_STREAMS = {
    "output": _template('"o"', "$rank", "$pid", "$line.$eol"),
    "error": _template('"e"', "$rank", "$pid", "$line.$eol"),
    "status": _template('"x"', "$rank", "$pid", "$line", "$start_date", "$stop_date"),
    "state": f"$line=={_ENDED}?'':" + _template(  # the stream "status" has told of it already, just before
        '"s"', "$rank", "$host", "$line", "$peer", "$count", "$position", "$pid", f"substr($command,0,{_TAG})",
        "$peers_given",
    ),
    "connector": _template('"c"', "$host", "$peer", "$line"),
    "taktuk": _template('"t"', "$host", "$level_name", "$line"),
}  # fmt: skip

ARGUMENTS: tuple[str, ...] = (
    *("-E", _ESCAPE.decode(), "-C", _COMMAND.decode(), "-O", _OPTION.decode()),
    *(word for stream, template in _STREAMS.items() for word in ("-o", f"{stream}={template}")),
    *("-o", "info", "-o", "message"),
)
"""Options of taktuk for all of this; they stand before those for the deployment."""


# -- what we say -------------------------------------------------------------------------------------------------------


def word(text: bytes) -> bytes:
    """*text* as a parameter of a command, between its brackets."""
    return _OPTION.join((b"[", _SPECIAL.sub(b"\x03\\g<0>", text), b"]"))


def rank_set(ranks: Iterable[int]) -> bytes:
    """*ranks* as a set of TakTuk's: ``1-3/7``.

    Raises:
        ValueError: there are none, or one is not positive.
    """
    parts: list[list[int]] = []
    for rank in sorted(set(ranks)):
        if parts and parts[-1][1] == rank - 1:
            parts[-1][1] = rank
        else:
            parts.append([rank, rank])
    if not parts or parts[0][0] < 1:
        raise ValueError("a set of nodes has positive ranks, and at least one")
    return "/".join(str(low) if low == high else f"{low}-{high}" for low, high in parts).encode()


def execute(nodes: bytes, target: int, command_line: bytes) -> bytes:
    """Have *nodes*, a `rank_set`, run *command_line* by their shells, as *target*.

    Raises:
        ValueError: *command_line* is empty, which TakTuk cannot take.
    """
    if not command_line.strip():
        raise ValueError("there is no command")
    return _command(nodes, b"exec", b"target", b"%d" % target, word(command_line))


def send_input(nodes: bytes, target: int, data: bytes) -> bytes:
    """Write *data* to the stdin of *target* on *nodes*; nothing for no data."""
    return _command(nodes, b"input", b"target", b"%d" % target, b"data", word(data)) if data else b""


def close_input(nodes: bytes, target: int) -> bytes:
    """Close the stdin of *target* on *nodes*."""
    return _command(nodes, b"input", b"target", b"%d" % target, b"close")


def send_signal(nodes: bytes, target: int, number: int) -> bytes:
    """Send a signal to the process group of *target* on *nodes*."""
    return _command(nodes, b"kill", b"target", b"%d" % target, b"%d" % number)


def _command(*words: bytes) -> bytes:
    return _OPTION.join((b"synchronize", *words)) + _COMMAND


# -- what it says ------------------------------------------------------------------------------------------------------


class State(IntEnum):
    """Codes of the stream "state"."""

    READY = 0
    NUMBERED = 1
    TERMINATED = 2
    CONNECTION_FAILED = 3
    CONNECTION_BEGUN = 4
    CONNECTION_LOST = 5
    COMMAND_STARTED = 6
    COMMAND_FAILED = 7
    COMMAND_TERMINATED = 8
    UPDATE_FAILED = 9
    INPUT_STARTED = 10
    INPUT_FAILED = 11
    INPUT_TERMINATED = 12
    RECEPTION_STARTED = 13
    RECEPTION_FAILED = 14
    RECEPTION_TERMINATED = 15
    SEND_FAILED = 16
    INVALID_TARGET = 17
    NO_TARGET = 18
    DELIVERED = 19
    INVALID_DESTINATION = 20
    DESTINATION_GONE = 21
    WAIT_COMPLETE = 22
    WAIT_REDUCE_COMPLETE = 23


@dataclass(frozen=True, slots=True)
class Output:
    """A line that a command has written, or a part of a long one, with its newline if it has one."""

    rank: int
    pid: int
    is_error: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """A command runs."""

    rank: int
    pid: int
    command: bytes
    """The beginning of its line."""


@dataclass(frozen=True, slots=True)
class Exited:
    """A command has ended."""

    rank: int
    pid: int
    status: int
    """As of wait(2)."""
    began: float | None
    """Seconds since 1970, by the clock of the node; None: it does not know."""
    ended: float | None


@dataclass(frozen=True, slots=True)
class Connected:
    """A node has its rank: now commands can be sent to it."""

    rank: int
    host: str
    """As it was given."""
    position: str
    """Where it was given: the number on the command line, from 1 on; of the root 0."""
    count: int
    """Nodes that have one, in all, without the root."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """What else happens to a node."""

    state: State
    rank: int
    """Of the node that tells it; -1: it has none yet."""
    host: str
    """The same node."""
    peer: str
    """The host at the other end of a connection, where it is about one."""
    pid: int
    """Of the command that it is about."""
    given: tuple[str, ...] = ()
    """Hosts that were to be connected by a peer that is lost."""
    command: bytes = b""
    """The beginning of the line of the command that it is about."""


@dataclass(frozen=True, slots=True)
class ConnectorSaid:
    """A line that the connector to *peer* has written to stderr, on *host*."""

    host: str
    peer: str
    line: bytes


@dataclass(frozen=True, slots=True)
class EngineSaid:
    """A diagnostic of TakTuk's own."""

    host: str
    level: str
    line: bytes


Event = Output | Started | Exited | Connected | StateChanged | ConnectorSaid | EngineSaid


class EventReader:
    """Reads events from TakTuk's stdout, however it is cut into pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that *data* completes.

        Raises:
            MalformedError: it is not in our format; what comes later cannot be read either.
            OversizedError: a record is longer than `LIMIT`.
        """
        data = self._rest + data
        events: list[Event] = []
        start = 0
        while True:
            record, end = _record(data, start)
            if record is None:
                break
            events.append(_event(record))
            start = end
        self._rest = data[start:]
        if len(self._rest) > LIMIT:
            raise OversizedError(len(self._rest), LIMIT)
        return events

    @property
    def is_between(self) -> bool:
        """Whether nothing is left of a record that has not come whole."""
        return not self._rest


_NUMBER = re.compile(rb"([0-9]{1,9}):")


def _record(data: bytes, start: int) -> tuple[list[bytes] | None, int]:
    """The fields of the record that begins at *start*, and where it ends; None: it has not come whole."""
    fields: list[bytes] = []
    length = len(data)
    while start < length:
        if fields and data[start] == 10:
            return fields, start + 1
        found = _NUMBER.match(data, start)
        if found is None:
            if length - start < 10 and data[start:].isdigit():
                break
            raise MalformedError(f"a field of TakTuk's has no length: {data[start : start + 40]!r}")
        begin = found.end()
        end = begin + int(found[1])
        if end >= length:
            break
        if data[end] != 44:
            raise MalformedError(f"a field of TakTuk's does not end where it should: {data[start : start + 40]!r}")
        fields.append(data[begin:end])
        start = end + 1
    return None, start


def _event(fields: Sequence[bytes]) -> Event:
    try:
        match fields:
            case [b"o" | b"e" as kind, rank, pid, line]:
                return Output(int(rank), int(pid), kind == b"e", line)
            case [b"x", rank, pid, status, began, ended]:
                return Exited(int(rank), int(pid), int(status), _date(began), _date(ended))
            case [b"s", rank, host, code, peer, count, position, pid, command, given]:
                state = State(int(code))
                if state is State.NUMBERED:
                    return Connected(int(rank), _text(host), _text(position), int(count))
                if state is State.COMMAND_STARTED:
                    return Started(int(rank), int(pid), command)
                hosts = tuple(each.partition(":")[0] for each in _text(given).split())
                return StateChanged(state, int(rank), _text(host), _text(peer), int(pid or 0), hosts, command)
            case [b"c", host, peer, line]:
                return ConnectorSaid(_text(host), _text(peer), line)
            case [b"t", host, level, line]:
                return EngineSaid(_text(host), _text(level), line)
    except ValueError as error:
        raise MalformedError(f"a record of TakTuk's has a wrong field ({error}): {list(fields)!r:.200}") from None
    raise MalformedError(f"a record of TakTuk's is of no known kind: {list(fields)!r:.200}")


def _date(field: bytes) -> float | None:
    return float(field) if field else None


def _text(field: bytes) -> str:
    return field.decode(errors="surrogateescape")
