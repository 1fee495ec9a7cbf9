"""The syntax of substitutions in a command for many hosts: ``{{{host}}}`` and ``{{expression}}``.

parse(text) cuts a text into parts, apply(parts, ...) writes them for one host, unparse(parts) gives the text back.
What an expression is worth is the business of a callback: nothing is evaluated here.

The rules, which are those of Execo, so that its scripts run unchanged:
- ``{{{host}}}`` is the address of the host, everywhere, also inside an expression: ``{{names['{{{host}}}']}}``;
- ``{{`` begins an expression, which goes to the next ``}}`` of the same line and is not empty;
- everything else, single braces and unclosed double ones too, is left as it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["HOST", "Address", "Expression", "Part", "apply", "has_substitutions", "parse", "unparse"]

HOST = "{{{host}}}"
"""What stands for the address of the host."""


@dataclass(frozen=True, slots=True)
class Address:
    """The place of the address of the host."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The place of the value of an expression."""

    text: str
    """What stands between the braces; it may hold HOST."""


Part: TypeAlias = str | Address | Expression
"""A piece of a parsed text; a str stands for itself."""


@functools.lru_cache(maxsize=256)  # the same command is applied to each of thousands of hosts
def parse(text: str) -> tuple[Part, ...]:
    """Return the parts of *text*, in order. Every text is valid."""
    # The address comes first and may stand inside an expression, so it is replaced by one character that the text
    # does not have before expressions are looked for: one that no expression can be confused with.
    mark = next(character for code in range(0xF0000, 0x110000) if (character := chr(code)) not in text)
    marked = text.replace(HOST, mark)
    parts: list[Part] = []
    # Outer pieces alternate: text, expression, text, ...
    for number, piece in enumerate(re.split(r"\{\{((?:(?!\}\}).)+)\}\}", marked)):
        if number % 2:
            parts.append(Expression(piece.replace(mark, HOST)))
            continue
        for rank, literal in enumerate(piece.split(mark)):
            if rank:
                parts.append(Address())
            if literal:
                parts.append(literal)
    return tuple(parts)


def unparse(parts: Iterable[Part]) -> str:
    """Return the text that has these parts: ``unparse(parse(text)) == text``."""
    return "".join(_written(part) for part in parts)


def apply(parts: Iterable[Part], address: str, evaluate: Callable[[str], str]) -> str:
    """Return the text for the host at *address*.

    Args:
        parts: from parse.
        address: replaces each ``{{{host}}}``, those inside expressions too.
        evaluate: gives the text that replaces an expression; what it raises is not caught.
    """
    return "".join(_applied(part, address, evaluate) for part in parts)


def has_substitutions(text: str) -> bool:
    """Tell whether *text* may differ from host to host."""
    return any(not isinstance(part, str) for part in parse(text))


def _written(part: Part) -> str:
    if isinstance(part, str):
        return part
    return HOST if isinstance(part, Address) else f"{{{{{part.text}}}}}"


def _applied(part: Part, address: str, evaluate: Callable[[str], str]) -> str:
    if isinstance(part, str):
        return part
    return address if isinstance(part, Address) else evaluate(part.text.replace(HOST, address))
