"""Turning any Python value into what JSON can say, without ever failing.

=========================  ====================================================
value                      in the log
=========================  ====================================================
None, bool, str, float     themselves; NaN and the infinities become null
int                        itself; as text beyond 64 bits
list, tuple                list
dict, Mapping              object; keys that are no text become text
set, frozenset             list, sorted if it can be
bytes                      text if it is UTF-8, else ``{"bytes": base64}``
path                       text
named tuple, dataclass     object of its fields
exception                  ``{"type": name, "text": str()}``
date, time, UUID, Enum     as `orjson` writes them (ISO 8601, text, the value)
timedelta                  seconds
numpy scalar or array      number or list
anything else              its ``repr()``, cut at `LONGEST_REPR` characters
=========================  ====================================================

`Renderer.render` is the fast way: `orjson` does the common types itself and
asks `_translate` for the rest. What orjson refuses (odd keys, lone surrogates,
huge ints, cycles) is walked by `_Walk` first.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import os
import reprlib
import uuid
from collections.abc import Callable, Mapping, Set
from typing import Any

import orjson

from ._mask import clean_text

__all__ = ["LONGEST_REPR", "MAX_DEPTH", "MAX_VALUES", "Hide", "Renderer", "bytes_to_loggable"]

LONGEST_REPR = 4096
"""Characters of the ``repr()`` of an object without a better form."""

MAX_DEPTH = 60
"""How deep odd values may stand in each other; what lies deeper is shown as its ``repr()``."""

MAX_VALUES = 100_000
"""How many values of one odd event are walked; what comes later is shown as its ``repr()``."""

Hide = Callable[[bytes], bytes]
"""Removes secrets from bytes: base64 would carry them past a later search of the text."""

_BY_ORJSON = (datetime.datetime, datetime.date, datetime.time, uuid.UUID)

_LIMITED = reprlib.Repr()
_LIMITED.maxlevel = 8
_LIMITED.maxlist = _LIMITED.maxtuple = _LIMITED.maxdict = _LIMITED.maxset = _LIMITED.maxfrozenset = 100
_LIMITED.maxstring = _LIMITED.maxlong = _LIMITED.maxother = LONGEST_REPR


class Renderer:
    """Renders events; *hide* removes secrets from bytes before they are encoded. Thread-safe."""

    def __init__(self, hide: Hide) -> None:
        self._hide = hide

    def render(self, fields: Mapping[str, Any]) -> bytes:
        """Return *fields* as one JSON object in UTF-8 without a newline, whatever the values are."""
        try:
            return orjson.dumps(fields, self.known)
        except TypeError:  # orjson's error for each value that it can not write
            return orjson.dumps(_Walk(self).plain(dict(fields)))

    def known(self, value: Any) -> Any:
        """Return *value*, of a type that orjson does not know, in terms of types that it may know."""
        try:
            return _translate(value, self._hide)
        except Exception:  # the value's own methods raised, and an event must not fail because of what it tells
            return _repr(value)


def bytes_to_loggable(data: bytes, hide: Hide) -> str | dict[str, str]:
    """Return *data* as text if it is UTF-8, else as ``{"bytes": base64}``."""
    data = hide(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"bytes": base64.b64encode(data).decode()}


def _translate(value: Any, hide: Hide) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes_to_loggable(bytes(value), hide)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "text": str(value)}
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return _in_order(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return float(value) if isinstance(value, float) else _repr(value)


def _in_order(values: Set[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _repr(value: Any) -> str:
    """Return ``repr(value)``, or where that fails or is long something like it."""
    try:
        text = _LIMITED.repr(value)
    except Exception as error:  # a repr() may raise anything
        text = f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"
    return clean_text(text[:LONGEST_REPR])


class _Walk:
    """One walk over an odd value, making it of only the types that every JSON writer takes."""

    def __init__(self, renderer: Renderer) -> None:
        self._known = renderer.known
        self._path: set[int] = set()  # identities of the containers around the present value
        self._left = MAX_VALUES

    def plain(self, value: Any) -> Any:
        self._left -= 1
        if value is None or isinstance(value, (bool, float, *_BY_ORJSON)):
            return value
        if isinstance(value, str):
            return clean_text(str.__str__(value))
        if isinstance(value, int):
            return int(value) if -(1 << 63) <= value < 1 << 64 else _repr(int(value))
        # A structure which holds itself would be walked for ever.
        if id(value) in self._path or len(self._path) >= MAX_DEPTH or self._left < 0:
            return _repr(value)
        self._path.add(id(value))
        try:
            return self._inside(value)
        finally:
            self._path.discard(id(value))

    def _inside(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return self.plain(value.value)
        if isinstance(value, dict):
            return self._members(value)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
            return [self.plain(item) for item in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._members({f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)})
        return self.plain(self._known(value))

    def _members(self, members: dict[Any, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in members.items():
            name = clean_text(str.__str__(key)) if isinstance(key, str) else _repr(key)
            while name in plain:  # 1 and "1" are two keys, and both have something to tell
                name += "'"
            plain[name] = self.plain(value)
        return plain
