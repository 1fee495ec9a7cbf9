"""Colours of a terminal: names of styles, and the ANSI (ECMA-48) sequences that set them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["STYLES", "paint"]

_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")

STYLES = {
    "default": "\033[m",
    "bold": "\033[1m",
    "underline": "\033[4m",
    "blink": "\033[5m",
    "reverse": "\033[7m",
    "concealed": "\033[8m",
    **{color: f"\033[{30 + number}m" for number, color in enumerate(_COLORS)},
    **{f"on_{color}": f"\033[{40 + number}m" for number, color in enumerate(_COLORS)},
}
"""The sequence that begins each style: colours of the letters, of the ground (on_*), and attributes."""


def paint(text: str, styles: Iterable[str]) -> str:
    """Return *text* between the sequences that begin *styles* and the one that ends them all; as it is without any.

    Raises:
        ValueError: a style has no such name.
    """
    names = list(styles)
    unknown = [name for name in names if name not in STYLES]
    if unknown:
        raise ValueError(f"unknown style {unknown[0]!r}: it must be one of {', '.join(sorted(STYLES))}")
    return "".join(STYLES[name] for name in names) + text + STYLES["default"] if names else text
