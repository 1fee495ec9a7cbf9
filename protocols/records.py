"""Records of an append-only log file: frames that show where a crash cut the file, and where it was damaged.

A record is a header of 16 bytes and a payload::

    4 bytes   magic  c5 52 47 53
    4 bytes   length of the payload, big endian
    4 bytes   CRC-32 of the payload
    4 bytes   CRC-32 of the 12 bytes before

The payload is one msgpack value. msgpack itself carries None, bool, int (64
bits), float, str, bytes, list and dict; tuples, sets, frozensets, larger ints
and the types of `record_values` are extension types, so that they come back as
what they were.

The header has a checksum of its own because a damaged length would otherwise
look like a record that goes on behind the end of the file, and the healthy
records after it would be cut away as a torn tail. So `decode_records` can tell
apart what must not be confused:

- a *torn tail*: the last write did not reach the file whole. Nobody was told
  that it had, so it may be cut off.
- *damage*: a bad record with good ones behind it. Nothing may be cut off.

This format lives on disks: it is independent of the one on the bus (see
`plain`), which may change with every release.
"""

from __future__ import annotations

import functools
import numbers
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from .errors import ProtocolError
from .record_values import make, parts_of

__all__ = [
    "MAX_DEPTH",
    "DamagedRecordError",
    "Records",
    "decode_records",
    "encode_record",
    "pack_value",
    "unpack_value",
]

_MAGIC = b"\xc5RGS"
_HEADER = struct.Struct(">4sIII")
_CHECKED = 12  # bytes of the header that its own checksum, the last four, is over
_TUPLE, _SET, _FROZENSET, _BIGINT, _NAMED = 1, 2, 3, 4, 5
_CONTAINERS: tuple[tuple[Any, int], ...] = ((tuple, _TUPLE), (set, _SET), (frozenset, _FROZENSET))
_MAKERS: dict[int, Callable[[Any], Any]] = {_TUPLE: tuple, _SET: set, _FROZENSET: frozenset}

MAX_DEPTH = 100
"""How many tuples and sets may stand inside each other; what is written must be readable on any stack."""


class DamagedRecordError(ProtocolError):
    """The record at byte *offset* is damaged, and it is not the end of a write that a crash cut short."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"damaged record at byte {self.offset}: {self.reason}"


class Records(NamedTuple):
    """What was found in a string of bytes."""

    values: list[Any]
    """The values of the whole records, in their order."""
    offsets: list[int]
    """The byte at which each of them begins."""
    end: int
    """The byte behind the last whole record."""
    torn: str
    """Empty if nothing follows; else what is wrong with the bytes from *end* on, which a crash left."""


def pack_value(value: Any) -> bytes:
    """The bytes of *value*, which may hold any plain data, and what `record_values` knows.

    Instances of subclasses of dict, list, tuple, str, bytes, int and float, and numbers of other
    libraries (NumPy's), are written as the plain value that they are equal to.

    Raises:
        TypeError: it holds something that is not plain data, or is nested too deep; the text names it.
    """
    return _pack(value, _default)


def _pack(value: Any, default: Callable[[Any], Any]) -> bytes:
    try:
        # One level deeper than asked for: msgpack writes one level more than it reads.
        packed: bytes = msgpack.packb([value], default=default, strict_types=True, unicode_errors="surrogatepass")
    except (ValueError, RecursionError, OverflowError) as error:
        raise TypeError(f"not plain data: {error}") from None
    return packed[1:]


def _default(value: Any, depth: int = 0) -> Any:
    """Give msgpack an extension type, or an equal plain value, for what it can not carry itself."""
    if isinstance(value, dict):
        return dict(value)
    for container, code in _CONTAINERS:
        if isinstance(value, container):
            if depth == MAX_DEPTH:
                raise TypeError(f"not plain data: more than {MAX_DEPTH} tuples and sets inside each other")
            # Each container is packed by itself, so its depth has to be carried along by hand.
            return msgpack.ExtType(code, _pack(list(value), functools.partial(_default, depth=depth + 1)))
    plain: Any
    for plain in (str, bytes, list):
        if isinstance(value, plain):
            return plain(value)
    number = _plain_number(value)
    if number is None:
        return _named(value, depth)
    if type(number) is int and not -(2**63) <= number < 2**64:
        return msgpack.ExtType(_BIGINT, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    return number


def _named(value: Any, depth: int) -> msgpack.ExtType:
    parts = parts_of(value)
    if parts is None:
        raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not plain data: {value!r:.80}")
    return msgpack.ExtType(_NAMED, _pack(parts, functools.partial(_default, depth=depth + 1)))


def _plain_number(value: Any) -> int | float | bool | None:
    """The int, float or bool that *value* is equal to (NumPy's scalars, IntEnum, Fraction(1, 2), ...)."""
    plain: Any
    for abstract, plain in ((numbers.Integral, int), (numbers.Real, float)):
        if isinstance(value, abstract) and plain(value) == value:
            return plain(value)  # type: ignore[no-any-return]  # it is an int or a float
    if type(value).__name__ in ("bool", "bool_") and value in (True, False):
        return bool(value)  # NumPy's bool is no number to Python, and is equal to ours
    return None


def unpack_value(data: bytes, make_dict: Callable[[dict[Any, Any]], Any] | None = None) -> Any:
    """The value that `pack_value` packed; each dict in it is given to *make_dict*.

    Raises:
        ProtocolError: the bytes are not such a value.
    """
    try:
        return _unpacker(make_dict)(data)
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"not a value: {str(error) or type(error).__name__}") from None


@functools.lru_cache(maxsize=8)
def _unpacker(make_dict: Callable[[dict[Any, Any]], Any] | None) -> Callable[[bytes], Any]:
    """A ready-made unpacking function: the options cost more to give than a small record costs to unpack."""

    def extension(code: int, data: bytes) -> Any:
        if code == _BIGINT:
            return int.from_bytes(data, "big", signed=True)
        if code == _NAMED:
            return make(unpack(data))
        if code not in _MAKERS:
            raise ValueError(f"unknown extension type {code}")
        return _MAKERS[code](unpack(data))

    unpack: Callable[[bytes], Any] = functools.partial(
        msgpack.unpackb,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        object_hook=make_dict,
        ext_hook=extension,
    )
    return unpack


def encode_record(value: Any) -> bytes:
    """The frame of one record that holds *value*.

    Raises: as `pack_value`.
    """
    payload = pack_value(value)
    header = _HEADER.pack(_MAGIC, len(payload), zlib.crc32(payload), 0)[:_CHECKED]
    return b"".join((header, zlib.crc32(header).to_bytes(4, "big"), payload))


def decode_records(data: bytes, *, start: int = 0, make_dict: Callable[[dict[Any, Any]], Any] | None = None) -> Records:
    """Take the records out of *data*, which is a log from byte *start* on to its end.

    All offsets in the answer, and in errors, are counted from the beginning of the log.

    Raises:
        DamagedRecordError: a record is bad, and a good one follows it; or its checksum is right and
            its payload is no value all the same (another program wrote it).
    """
    unpack = _unpacker(make_dict)
    values: list[Any] = []
    offsets: list[int] = []
    at = 0
    while at < len(data):
        payload = _payload(data, at)
        if isinstance(payload, str):
            if _good_record_after(data, at):
                raise DamagedRecordError(start + at, payload)
            return Records(values, offsets, start + at, payload)
        try:
            values.append(unpack(payload))
        except (ValueError, TypeError, RecursionError, OverflowError, MemoryError) as error:
            raise DamagedRecordError(start + at, f"not a value: {str(error) or type(error).__name__}") from None
        offsets.append(start + at)
        at += _HEADER.size + len(payload)
    return Records(values, offsets, start + at, "")


def _payload(data: bytes, at: int) -> bytes | str:
    """The payload of the record at *at*, or what is wrong with it."""
    body = at + _HEADER.size
    if body > len(data):
        return f"cut off after {len(data) - at} bytes of its header"
    magic, length, checksum, check = _HEADER.unpack_from(data, at)
    if magic != _MAGIC or zlib.crc32(data[at : at + _CHECKED]) != check:
        return "its header is wrong"
    payload = data[body : body + length]
    if len(payload) < length:
        return f"cut off after {len(payload)} of {length} bytes"
    if zlib.crc32(payload) != checksum:
        return f"the checksum of its {length} bytes is wrong"
    return payload


def _good_record_after(data: bytes, bad: int) -> bool:
    """Whether a whole record stands anywhere behind the bad one at *bad*."""
    at = bad + 1
    if bad + _HEADER.size <= len(data):
        magic, length, _, check = _HEADER.unpack_from(data, bad)
        if magic == _MAGIC and zlib.crc32(data[bad : bad + _CHECKED]) == check:
            at = bad + _HEADER.size + length  # its length is right, so what lies inside is its own data
    while (at := data.find(_MAGIC, at)) >= 0:
        if type(_payload(data, at)) is bytes:
            return True
        at += 1
    return False
