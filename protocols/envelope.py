"""The envelope: what stands around every message on the bus.

On the wire an envelope is one msgpack array of seven items

    [version, to, sender, correlation, cause, kind, body]

in a frame of at most `LIMIT` bytes; the body is the array of the message's
field values (see `message`). A message type may declare that raw bytes travel
in a second frame behind it (process output does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import FieldError, MalformedError, OversizedError, UnknownVersionError
from .message import message_type, type_of
from .plain import LIMIT, pack_fields, pack_plain, unpack_plain

__all__ = ["VERSION", "Envelope", "decode", "decode_message", "encode", "envelope_of", "seal"]

VERSION = 1
"""Of the protocol; a peer of another version is refused."""


class Envelope(NamedTuple):
    """A message with its address."""

    to: str
    """Name of the actor it is for: ``name``, or ``name@node`` from another process."""
    sender: str
    """Name of the actor, or node, that sent it; empty where nobody can be answered."""
    correlation: int
    """Number by which the reply finds the question; 0: no reply is expected."""
    cause: int
    """Number of the call from outside which this message came of in the end; 0: none."""
    kind: str
    """The kind under which the message type is registered."""
    body: Sequence[Any]
    """The values of its fields."""
    version: int = VERSION


_FIELDS = (("version", int), ("to", str), ("sender", str), ("correlation", int), ("cause", int), ("kind", str))
_TYPES = [int, str, str, int, int, str, list]
_NUMBERS = 1 << 64
_new_envelope = tuple.__new__  # the bus decodes every message: half the cost of Envelope(...)


def envelope_of(message: Any, to: str, sender: str = "", correlation: int = 0, cause: int = 0) -> Envelope:
    """Put *message*, an instance of a registered message type, into an envelope.

    Raises:
        TypeError: its class is not a message type.
    """
    known = type_of(message)
    return Envelope(to, sender, correlation, cause, known.kind, known.values(message))


def encode(envelope: Envelope) -> bytes:
    """The frame of *envelope*, whose body may be of a kind that is not known here.

    Raises:
        OversizedError: it would be larger than `LIMIT`.
        ProtocolError: a text is not Unicode, or data is nested too deep.
        TypeError: the body holds something that is not plain data.
    """
    to, sender, correlation, cause, kind, body, version = envelope
    return _within_limit(pack_plain([version, to, sender, correlation, cause, kind, list(body)]))


def seal(message: Any, to: str, sender: str = "", correlation: int = 0, cause: int = 0) -> bytes:
    """The frame of *message* with its address: ``encode(envelope_of(...))`` in one step, for the bus.

    Raises: as `envelope_of` and `encode`.
    """
    known = type_of(message)
    pack = pack_fields if known.typed else pack_plain
    return _within_limit(pack([VERSION, to, sender, correlation, cause, known.kind, [*known.values(message)]]))


def _within_limit(frame: bytes) -> bytes:
    if len(frame) > LIMIT:
        raise OversizedError(len(frame), LIMIT)
    return frame


def decode(frame: bytes | memoryview) -> Envelope:
    """Take an envelope out of *frame*, which may come from anywhere.

    The body is checked by `decode_message`, not here.

    Raises:
        ProtocolError: whatever is wrong with the bytes.
    """
    items = unpack_plain(frame)
    if type(items) is not list or not items:
        raise MalformedError(f"an array was expected, not {type(items).__name__}")
    if type(items[0]) is not int or items[0] != VERSION:
        raise UnknownVersionError(items[0] if type(items[0]) in (int, str) else type(items[0]).__name__, VERSION)
    if [*map(type, items)] != _TYPES:
        _blame(items)
    version, to, sender, correlation, cause, kind, body = items
    for name, number in (("correlation", correlation), ("cause", cause)):
        if not 0 <= number < _NUMBERS:
            raise FieldError("", name, "is not a number of 64 bits")
    return _new_envelope(Envelope, (to, sender, correlation, cause, kind, body, version))


def _blame(items: list[Any]) -> None:
    """Say which header field is wrong; a frame with more items than we know is refused too."""
    for index, (name, expected) in enumerate([*_FIELDS, ("body", list)]):
        if index >= len(items):
            raise FieldError("", name, "is missing")
        if type(items[index]) is not expected:
            raise FieldError("", name, f"is of type {type(items[index]).__name__}, not {expected.__name__}")
    raise MalformedError(f"an array of {len(items)} items, not {len(_TYPES)}")


def decode_message(envelope: Envelope, bulk: bytes | None = None) -> Any:
    """The message inside *envelope*, as an instance of its registered class.

    Raises:
        UnknownKindError: no class is registered for its kind.
        FieldError: a field is missing or ill-typed.
    """
    return message_type(envelope.kind).build(envelope.body, bulk)
