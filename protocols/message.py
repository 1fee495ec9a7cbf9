"""Message types: small frozen dataclasses, registered under a stable kind.

::

    @message("thermometer.read")
    class ReadThermometer:
        '''Sent to a thermometer; answered with the temperature.'''
        unit: str = "K"

The decorator makes a frozen, slotted dataclass of the class and registers it.
On the wire a message is its kind and the list of its field values in order of
definition. So a later release may add fields with defaults at the end: who
does not know them ignores them, and who misses them takes the default.

Fields may have the types ``bool int float str bytes None``, unions of them,
``tuple[X, ...]``, ``dict[X, Y]`` and `Any` (then: plain data, see `plain`).
"""

from __future__ import annotations

import dataclasses
import operator
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, dataclass_transform

from .errors import FieldError, UnknownKindError

__all__ = [
    "MessageType",
    "is_message",
    "message",
    "message_type",
    "message_types",
    "type_of",
    "types_by_class",
    "types_by_kind",
]

C = TypeVar("C")

_ABSENT: Any = object()


class MessageType:
    """How messages of one class travel: made by `message`, found by `message_type`."""

    __slots__ = ("bulk", "checks", "cls", "kind", "rebuild", "required", "shared", "typed", "values")

    kind: str
    """The stable name on the wire, such as ``process.exited``."""
    cls: type
    """The dataclass."""
    bulk: bool
    """True: a second frame of raw bytes travels behind the envelope."""
    shared: bool
    """All fields are numbers or bytes: to pack and unpack a message makes an equal one, unless it is ill-typed."""
    typed: bool
    """True: no field is `Any`, so that tuples may travel as arrays and are restored by the field's type."""
    rebuild: Callable[..., Any]
    """As `build`, for field values that this process itself has packed: without the checks."""
    values: Callable[[Any], tuple[Any, ...]]
    """The field values of a message as a tuple, in order."""

    def __init__(self, kind: str, cls: type, *, bulk: bool) -> None:
        self.kind = kind
        self.cls = cls
        self.bulk = bulk
        fields = [f for f in dataclasses.fields(cls) if f.name != "bulk"] if bulk else list(dataclasses.fields(cls))
        hints = typing.get_type_hints(cls)
        self.checks = tuple((f.name, *_checker(hints[f.name])) for f in fields)
        # Nothing to restore where all fields are scalars: the class itself rebuilds the message.
        scalars = all(convert is None or float in fast for _, fast, convert in self.checks)
        self.rebuild = _splat(cls) if scalars and not bulk else self.build
        self.shared = not bulk and all(hints[f.name] in _SHARED for f in fields)
        self.typed = not any("typing.Any" in repr(hints[f.name]) for f in fields)
        self.required = sum(1 for f in fields if f.default is f.default_factory is dataclasses.MISSING)
        self.values = _values_of([f.name for f in fields])

    def fits(self, message: Any) -> bool:
        """Whether all fields have the types that the class says, without a need to convert one."""
        return all(type(value) in fast for value, (_, fast, _) in zip(self.values(message), self.checks, strict=True))

    def build(self, body: Sequence[Any], bulk: bytes | None = None) -> Any:
        """Make the message from its field values as they came from the wire.

        Values behind the last known field are ignored: a newer release sent them.

        Raises:
            FieldError: a field is missing or ill-typed, or the bulk frame is missing.
        """
        if len(body) < self.required:
            raise FieldError(self.kind, self.checks[len(body)][0], "is missing")
        values = []
        for value, (name, fast, convert) in zip(body, self.checks, strict=False):
            if type(value) in fast:
                values.append(value)
            elif convert is None or (restored := convert(value)) is _ABSENT:
                raise FieldError(self.kind, name, f"is of type {type(value).__name__}: {_short(value)}")
            else:
                values.append(restored)
        if not self.bulk:
            return self.cls(*values)
        if bulk is None:
            raise FieldError(self.kind, "bulk", "is missing: no second frame came with the envelope")
        if type(bulk) is not bytes:
            raise FieldError(self.kind, "bulk", f"is of type {type(bulk).__name__}, not bytes")
        return self.cls(*values, bulk=bulk)


_by_kind: dict[str, MessageType] = {}
_by_class: dict[type, MessageType] = {}

types_by_class: Mapping[type, MessageType] = _by_class
"""The message types by class, for those who look one up for every message."""
types_by_kind: Mapping[str, MessageType] = _by_kind
"""The message types by kind."""


@dataclass_transform(frozen_default=True)
def message(kind: str, *, bulk: bool = False) -> Callable[[type[C]], type[C]]:
    """Make a message type of a class with annotated fields, and register it under *kind*.

    Args:
        kind: the name on the wire; it must never change its meaning.
        bulk: the message has a field ``bulk: bytes``, defined last, which
            travels in a frame of its own and has no size limit.

    Raises:
        ValueError: *kind* is taken by another class.
        TypeError: a field has a type that can not travel.
    """

    def register(cls: type[C]) -> type[C]:
        made: type[C] = dataclasses.dataclass(frozen=True, slots=True)(cls)
        known = _by_kind.get(kind)
        if known is not None and (known.cls.__module__, known.cls.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"kind {kind!r} is taken by {known.cls.__module__}.{known.cls.__qualname__}")
        _by_kind[kind] = _by_class[made] = MessageType(kind, made, bulk=bulk)
        return made

    return register


def message_type(kind: str) -> MessageType:
    """The message type registered under *kind*.

    Raises:
        UnknownKindError: none is.
    """
    try:
        return _by_kind[kind]
    except KeyError:
        raise UnknownKindError(kind) from None


def type_of(message: Any) -> MessageType:
    """The message type of *message*.

    Raises:
        TypeError: its class is not a message type.
    """
    try:
        return _by_class[type(message)]
    except KeyError:
        name = type(message).__name__
        raise TypeError(f"{name} is not a message type: decorate the class with @message(kind)") from None


def is_message(value: Any) -> bool:
    """Whether *value* is an instance of a message type."""
    return type(value) in _by_class


def message_types() -> Iterator[MessageType]:
    """All registered message types."""
    return iter(list(_by_kind.values()))


def _splat(cls: type) -> Callable[[Sequence[Any]], Any]:
    return lambda body: cls(*body)


def _values_of(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        name = names[0]
        return lambda m: (getattr(m, name),)
    return operator.attrgetter(*names)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# A checker is (types accepted as they are, function that restores the rest or gives _ABSENT).
_Checker = tuple[frozenset[type], Callable[[Any], Any] | None]

_SHARED = frozenset({bool, int, bytes, float, int | None, float | None, bytes | None})

_PLAIN: frozenset[type] = frozenset({bool, int, float, str, bytes, type(None), list, dict, tuple, set, frozenset})


def _checker(hint: Any) -> _Checker:
    if hint is Any:
        return _PLAIN, None
    if hint is None:
        return frozenset({type(None)}), None
    if hint in (bool, int, str, bytes, type(None)):
        return frozenset({hint}), None
    if hint is float:
        return frozenset({float}), lambda v: float(v) if type(v) is int else _ABSENT
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union_checker([_checker(a) for a in args])
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return frozenset(), _tuple_restorer(_checker(args[0]))
    if origin is dict:
        key = _checker(args[0])
        if not key[0]:
            raise TypeError(f"the keys of a field of type dict are numbers, text or bytes, not {args[0]!r}")
        return frozenset(), _dict_restorer(key, _checker(args[1]))
    raise TypeError(f"a message field can not be of type {hint!r}")


def _restore(checker: _Checker, value: Any) -> Any:
    fast, convert = checker
    if type(value) in fast:
        return value
    return _ABSENT if convert is None else convert(value)


def _union_checker(parts: list[_Checker]) -> _Checker:
    fast = frozenset().union(*(p[0] for p in parts))
    slow = [p[1] for p in parts if p[1] is not None]

    def convert(value: Any) -> Any:
        for attempt in slow:
            if (restored := attempt(value)) is not _ABSENT:
                return restored
        return _ABSENT

    return fast, convert if slow else None


def _tuple_restorer(item: _Checker) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if type(value) is not list and type(value) is not tuple:
            return _ABSENT
        restored = tuple(_restore(item, v) for v in value)
        return _ABSENT if any(v is _ABSENT for v in restored) else restored

    return convert


def _dict_restorer(key: _Checker, item: _Checker) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if type(value) is not dict:
            return _ABSENT
        restored = {_restore(key, k): _restore(item, v) for k, v in value.items()}
        if len(restored) < len(value) or _ABSENT in restored or any(v is _ABSENT for v in restored.values()):
            return _ABSENT
        return restored

    return convert
