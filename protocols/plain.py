"""Plain data: the Python values that may travel inside a message, and how.

msgpack itself carries None, bool, int (64 bits), float, str, bytes, list and
dict. Tuples, sets, frozensets and larger ints travel as msgpack extension
types, so that they arrive as what they were sent. Nothing else travels: no
classes, no functions, nothing that would have to be evaluated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import msgpack

from .errors import MalformedError, OversizedError, ProtocolError, TextError, TrailingDataError, TruncatedError

__all__ = ["LIMIT", "MAX_DEPTH", "pack_fields", "pack_plain", "unpack_plain"]

LIMIT = 16 * 1024 * 1024
"""Bytes of one message, its bulk frame not counted."""

MAX_DEPTH = 32
"""How deep tuples and sets may stand in each other: each level takes 40 kB of the C stack to unpack.

Lists and dicts may stand in each other 1,024 deep: that is the bound of msgpack itself.
"""

_TUPLE, _SET, _FROZENSET, _BIGINT = 1, 2, 3, 4
_CODES: dict[type, int] = {tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}
_MAX_INT_BYTES = 4096
_TOO_DEEP = f"tuples and sets nested deeper than {MAX_DEPTH}"
_TIMESTAMP = re.compile(rb"[\x04\x08\x0c\xd6\xd7]\xff")  # how an extension of msgpack's own type -1 may begin


def _pack_extension(depth: int, value: Any) -> Any:
    """Give msgpack an extension type for what it can not carry itself, which stands in *depth* others."""
    code = _CODES.get(type(value))
    if code is not None:
        if depth >= MAX_DEPTH:
            raise MalformedError(_TOO_DEEP)
        return msgpack.ExtType(code, pack_plain(list(value), _default=functools.partial(_pack_extension, depth + 1)))
    if type(value) is int:
        size = value.bit_length() // 8 + 1
        if size > _MAX_INT_BYTES:
            raise MalformedError(f"an int of {size} bytes")
        return msgpack.ExtType(_BIGINT, value.to_bytes(size, "big", signed=True))
    raise TypeError(f"{type(value).__name__} is not plain data and can not leave this process: {value!r:.80}")


_outermost = functools.partial(_pack_extension, 0)


def pack_fields(items: Any) -> bytes:
    """Pack values of known types: faster than `pack_plain`, but tuples travel as arrays.

    Raises:
        TypeError, ProtocolError: as `pack_plain`.
    """
    try:
        packed: bytes = msgpack.packb(items, default=_outermost)
    except ProtocolError:
        raise
    except UnicodeEncodeError as error:
        raise TextError(str(error)) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise MalformedError(f"can not be packed: {error}") from None
    return packed


def pack_plain(value: Any, *, _default: Callable[[Any], Any] = _outermost) -> bytes:
    """Pack plain data.

    Raises:
        TypeError: *value* holds something that is not plain data; the text names it.
        ProtocolError: it is nested too deep, or holds text that is not Unicode.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_default, strict_types=True, use_bin_type=True)
    except ProtocolError:
        raise
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
        raise MalformedError(_TOO_DEEP)
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
        value = msgpack.unpackb(
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
        if "incomplete" in str(error) or "exceeds max_" in str(error):  # its limits are the number of bytes there are
            raise TruncatedError(len(data)) from None
        raise MalformedError(str(error)) from None
    if _TIMESTAMP.search(data) and _holds_timestamp(value):
        raise MalformedError("a timestamp is not plain data: send the number")
    return value


def _holds_timestamp(value: Any) -> bool:
    """Whether msgpack, which has no switch for it, has made one of its timestamps somewhere in *value*."""
    unseen = [value]
    while unseen:
        item = unseen.pop()
        if type(item) is msgpack.Timestamp:
            return True
        if type(item) is dict:
            unseen.extend(item)
            unseen.extend(item.values())
        elif type(item) is list or type(item) in _CODES:
            unseen.extend(item)
    return False
