"""What the value of a setting may be: functions that check and convert one out of a YAML file or a variable.

Each returns the value to use, or raises ValueError or TypeError; the Setting that has it says what was expected.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ..protocols.ansi import STYLES

__all__ = [
    "at_least_one",
    "choice",
    "flag",
    "host_key_policy",
    "level",
    "one_of",
    "optional",
    "port_range",
    "positive",
    "program",
    "rewrite",
    "seconds",
    "style_table",
    "text",
    "whole",
    "words",
]


def whole(value: Any) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def seconds(value: Any) -> float:
    """A number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return value


def at_least_one(value: Any) -> int:
    """A whole number, 1 or more."""
    return whole(value) or _refuse(value)


def positive(value: Any) -> float:
    """A number of seconds, more than 0."""
    return seconds(value) or _refuse(value)


def flag(value: Any) -> bool:
    """True or false; 1 or 0, as one writes them in a variable."""
    if value not in (True, False):
        raise ValueError(value)
    return bool(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def words(value: Any) -> tuple[str, ...]:
    """Words of a command line: a list of texts, one text that is split as a shell would, or nothing."""
    if value is None:
        return ()
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(map(text, _listed(value)))


def program(value: Any) -> str | tuple[str, ...]:
    """A program: its name, or a list of the name and the first words."""
    return text(value) if isinstance(value, str) else tuple(map(text, _listed(value, least=1)))


def port_range(value: Any) -> tuple[int, int]:
    """The first port, and the one after the last."""
    first, end = map(whole, _listed(value, least=2))
    if not 0 < first < end <= 65536:
        raise ValueError(value)
    return first, end


def rewrite(value: Any) -> str | tuple[str, str]:
    """A pattern and its replacement, or a function as "module:function"."""
    if isinstance(value, str):
        module, _, function = value.partition(":")
        if not module or not function:
            raise ValueError(value)
        return value
    pattern, replacement = map(text, _listed(value, least=2))
    return pattern, replacement


def optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """None, or what *convert* takes."""
    return lambda value: None if value is None else convert(value)


def one_of(*names: str) -> Callable[[Any], str]:
    """One of *names*."""

    def convert(value: Any) -> str:
        return text(value) if value in names else _refuse(value)

    return convert


def host_key_policy(value: Any) -> str:
    """What is made of the keys of hosts. YAML reads ``off`` as false, so that means it too."""
    return "off" if value is False else one_of("accept-new", "strict", "off")(value)


def choice(names: Mapping[str, int]) -> Callable[[Any], int]:
    """One of *names*, in upper or lower case, or one of their numbers."""

    def convert(value: Any) -> int:
        number = names.get(value.upper()) if isinstance(value, str) else whole(value)
        if number is None or number not in names.values():
            raise ValueError(value)
        return number

    return convert


def level(names: Mapping[str, int]) -> Callable[[Any], int]:
    """One of the levels of logging in *names*, in upper or lower case, or any number."""
    return lambda value: choice(names)(value) if isinstance(value, str) else whole(value)


def style_table(levels: Mapping[str, int]) -> Callable[[Any], dict[Any, tuple[str, ...]]]:
    """Styles (a text, or a list) by name; the name of a level stands for its number."""

    def convert(value: Any) -> dict[Any, tuple[str, ...]]:
        if not isinstance(value, Mapping):
            raise TypeError(value)
        table = {
            levels.get(name, name) if isinstance(name, str) else name: words(style) for name, style in value.items()
        }
        if any(style not in STYLES for styles in table.values() for style in styles):
            raise ValueError(value)
        return table

    return convert


def _refuse(value: Any) -> NoReturn:
    raise ValueError(value)


def _listed(value: Any, least: int = 0) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) < least:
        raise TypeError(value)
    return list(value)
