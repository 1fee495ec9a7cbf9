"""What can be wrong with bytes that claim to be a message.

::

    ProtocolError (ValueError)
     +-- TruncatedError        fewer bytes than a whole message
     +-- TrailingDataError     a whole message, and bytes behind it
     +-- OversizedError        more bytes than the limit
     +-- MalformedError        not msgpack, or not an envelope
     +-- UnknownVersionError   an envelope of another protocol version
     +-- UnknownKindError      no message type is registered under this kind
     +-- FieldError            a field is missing or has the wrong type
     +-- TextError             a text field is not UTF-8

Who decodes bytes from outside catches `ProtocolError`; nothing else is ever
raised by decoding, whatever the bytes. Every error keeps its facts as
attributes and in ``args``, so that it pickles.
"""

from __future__ import annotations

__all__ = [
    "FieldError",
    "MalformedError",
    "OversizedError",
    "ProtocolError",
    "TextError",
    "TrailingDataError",
    "TruncatedError",
    "UnknownKindError",
    "UnknownVersionError",
]


class ProtocolError(ValueError):
    """Bytes, or values, which the protocol does not allow."""


class TruncatedError(ProtocolError):
    """The message ends too early; *size* is the number of bytes that were there."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size

    def __str__(self) -> str:
        return f"message cut off after {self.size} bytes"


class TrailingDataError(ProtocolError):
    """There are bytes behind a whole message; *size* is the number of all bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size

    def __str__(self) -> str:
        return f"{self.size} bytes hold more than one message"


class OversizedError(ProtocolError):
    """A message of *size* bytes is larger than *limit* bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"message of {self.size} bytes is over the limit of {self.limit}; send bulk data in a frame of its own"


class MalformedError(ProtocolError):
    """The bytes are not msgpack, or not of the shape of an envelope; *reason* says what was seen."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not a message: {self.reason}"


class UnknownVersionError(ProtocolError):
    """The envelope has *version*, and this program speaks *known*."""

    def __init__(self, version: object, known: int) -> None:
        super().__init__(version, known)
        self.version = version
        self.known = known

    def __str__(self) -> str:
        return (
            f"message of protocol version {self.version!r:.40}, this program speaks {self.known}: use the same release"
        )


class UnknownKindError(ProtocolError):
    """No message type is registered under *kind*."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"unknown kind of message {self.kind!r:.80}: import the module that defines it, or use the same release"


class FieldError(ProtocolError):
    """Field *field* of a message of *kind* is missing or has the wrong type; *reason* says what was seen."""

    def __init__(self, kind: str, field: str, reason: str) -> None:
        super().__init__(kind, field, reason)
        self.kind = kind
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.kind or 'envelope'}: field {self.field!r} {self.reason}"


class TextError(ProtocolError):
    """A text of the message is not UTF-8; *reason* names the byte."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"text that is not UTF-8: {self.reason}"
