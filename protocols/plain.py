"""Plain data: the Python values that may travel inside a message, and how.

msgpack itself carries None, bool, int (64 bits), float, str, bytes, list and
dict. Tuples, sets, frozensets and larger ints travel as msgpack extension
types, so that they arrive as what they were sent. Nothing else travels: no
classes, no functions, nothing that would have to be evaluated.
"""

from __future__ import annotations

import functools
from typing import Any

import msgpack

from .errors import MalformedError, OversizedError, ProtocolError, TextError, TrailingDataError, TruncatedError

__all__ = ["LIMIT", "MAX_DEPTH", "pack_fields", "pack_plain", "unpack_plain"]

LIMIT = 16 * 1024 * 1024
"""Bytes of one message, its bulk frame not counted."""

MAX_DEPTH = 200
"""How deep lists and dicts may stand in each other (the packer's own bound is 511)."""

_TUPLE, _SET, _FROZENSET, _BIGINT = 1, 2, 3, 4
_MAX_INT_BYTES = 4096


def _default(value: Any) -> Any:
    """Give msgpack an extension type for what it can not carry itself."""
    if type(value) is tuple:
        return msgpack.ExtType(_TUPLE, pack_plain(list(value)))
    if type(value) is set or type(value) is frozenset:
        code = _SET if type(value) is set else _FROZENSET
        return msgpack.ExtType(code, pack_plain(list(value)))
    if type(value) is int:
        return msgpack.ExtType(_BIGINT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    raise TypeError(f"{type(value).__name__} is not plain data and can not leave this process: {value!r:.80}")


def pack_fields(items: Any) -> bytes:
    """Pack values of known types: faster than `pack_plain`, but tuples travel as arrays.

    Raises:
        TypeError, ProtocolError: as `pack_plain`.
    """
    try:
        packed: bytes = msgpack.packb(items, default=_default)
    except UnicodeEncodeError as error:
        raise TextError(str(error)) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise MalformedError(f"can not be packed: {error}") from None
    return packed


def pack_plain(value: Any) -> bytes:
    """Pack plain data.

    Raises:
        TypeError: *value* holds something that is not plain data; the text names it.
        ProtocolError: it is nested too deep, or holds text that is not Unicode.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_default, strict_types=True, use_bin_type=True)
    except UnicodeEncodeError as error:
        raise TextError(str(error)) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise MalformedError(f"can not be packed: {error}") from None
    return packed


def _ext_hook(depth: int, code: int, data: bytes) -> Any:
    if code == _BIGINT:
        if len(data) > _MAX_INT_BYTES:
            raise MalformedError(f"an int of {len(data)} bytes")
        return int.from_bytes(data, "big", signed=True)
    if code not in (_TUPLE, _SET, _FROZENSET):
        raise MalformedError(f"unknown extension type {code}")
    if depth >= MAX_DEPTH:
        raise MalformedError("nested too deep")
    items = unpack_plain(data, _depth=depth + 1)
    if type(items) is not list:
        raise MalformedError("an extension type that holds no list")
    if code == _TUPLE:
        return tuple(items)
    return set(items) if code == _SET else frozenset(items)


_hook = functools.partial(_ext_hook, 0)


def unpack_plain(data: bytes | memoryview, *, limit: int = LIMIT, _depth: int = 0) -> Any:
    """Unpack what `pack_plain` packed. Never trusts the bytes.

    Raises:
        ProtocolError: whatever is wrong with them.
    """
    if len(data) > limit:
        raise OversizedError(len(data), limit)
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            use_list=True,
            ext_hook=_hook if _depth == 0 else functools.partial(_ext_hook, _depth),
        )
    except ProtocolError:
        raise
    except UnicodeDecodeError as error:
        raise TextError(str(error)) from None
    except msgpack.ExtraData:
        raise TrailingDataError(len(data)) from None
    except msgpack.StackError:
        raise MalformedError("nested too deep") from None
    except (msgpack.FormatError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise MalformedError(str(error) or type(error).__name__) from None  # TypeError: unhashable key of a map
    except ValueError as error:
        if "incomplete" in str(error):
            raise TruncatedError(len(data)) from None
        raise MalformedError(str(error)) from None
