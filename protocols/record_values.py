"""Values beside plain data that records can hold: those of the standard library that stand for one thing for ever.

Each is written as a name and plain arguments of a function that makes it again, from a fixed list: what is read from a
disk never chooses what is called. Only the very types count; an instance of a subclass would come back as another.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import ipaddress
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["add_kind", "make", "parts_of"]


class _Kind(NamedTuple):
    name: str
    take_apart: Callable[[Any], list[Any]]
    make: Callable[..., Any]


_OF_TYPE: dict[type, _Kind] = {}
_OF_NAME: dict[str, _Kind] = {}


def add_kind(kind: type, name: str, take_apart: Callable[[Any], list[Any]], make: Callable[..., Any]) -> None:
    """Let records hold values of the type *kind*.

    Args:
        name: what is written for the type; never to be changed.
        take_apart: gives the arguments, plain data, with which *make* makes an equal value.
    """
    _OF_TYPE[kind] = _OF_NAME[name] = _Kind(name, take_apart, make)


def parts_of(value: Any) -> list[Any] | None:
    """The name and the arguments that are written for *value*; None: it is of no such type."""
    kind = _OF_TYPE.get(type(value))
    return None if kind is None else [kind.name, *kind.take_apart(value)]


def make(parts: Any) -> Any:
    """The value of which `parts_of` gave *parts*.

    Raises:
        ValueError: they are none; other errors where the arguments are wrong.
    """
    if not (isinstance(parts, list) and parts and isinstance(parts[0], str) and parts[0] in _OF_NAME):
        raise ValueError(f"unknown kind of value {parts!r:.80}")
    return _OF_NAME[parts[0]].make(*parts[1:])


def _text(value: Any) -> list[Any]:
    return [str(value)]


def _iso(value: Any) -> list[Any]:
    return [value.isoformat()]


def _datetime(value: datetime.datetime) -> list[Any]:
    text = value.isoformat()
    if datetime.datetime.fromisoformat(text) != value:
        raise TypeError(f"{value!r} is a time that its zone has twice, or not at all: give it in UTC")
    return [text]


def _decimal(value: decimal.Decimal) -> list[Any]:
    if value.is_nan():
        raise TypeError("NaN is not equal to itself, so it can not be found again")
    return [str(value)]


add_kind(datetime.date, "date", _iso, datetime.date.fromisoformat)
add_kind(datetime.datetime, "datetime", _datetime, datetime.datetime.fromisoformat)
add_kind(datetime.time, "time", _iso, datetime.time.fromisoformat)
add_kind(datetime.timedelta, "timedelta", lambda v: [v.days, v.seconds, v.microseconds], datetime.timedelta)
add_kind(decimal.Decimal, "decimal", _decimal, decimal.Decimal)
add_kind(fractions.Fraction, "fraction", lambda v: [v.numerator, v.denominator], fractions.Fraction)
add_kind(range, "range", lambda v: [v.start, v.stop, v.step], range)
add_kind(uuid.UUID, "uuid", _text, uuid.UUID)
for _address in (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network):
    add_kind(_address, _address.__name__.lower(), _text, _address)
