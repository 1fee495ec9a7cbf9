"""Command lines: from what a script writes to an argv, to a name and to what a log shows.

A command line is a string, or a sequence of words.  Here it is
quoted (str_from_cmdline), split (argv_from_cmdline), named (name_from_cmdline)
and wrapped (prlimit_argv); compact_output shortens what the command printed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import AnyStr, TypeAlias

__all__ = [
    "NAME_LENGTH",
    "RLIMITS",
    "CommandLine",
    "Limit",
    "Word",
    "argv_from_cmdline",
    "compact_output",
    "name_from_cmdline",
    "prlimit_argv",
    "str_from_cmdline",
]

Word: TypeAlias = str | bytes | os.PathLike[str] | int | float
"""One word of a command line; numbers are written in decimal, bytes are decoded as file names are."""

CommandLine: TypeAlias = str | bytes | Sequence[Word]
"""A command line as a script gives it: one text, or its words."""

Limit: TypeAlias = int | str | None
"""One resource limit: a number in the unit of setrlimit(2), "unlimited" (or -1), or None to leave it as it is."""

NAME_LENGTH = 39
"""Characters of the longest name that name_from_cmdline gives."""

RLIMITS = frozenset(
    (
        *("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice"),
        *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
"""The limits that prlimit_argv knows: the names of resource.RLIMIT_*, in lower case."""

_ELISION = "\n[...]\n"


def str_from_cmdline(cmdline: CommandLine) -> str:
    """Return *cmdline* as one text; the words of a sequence are quoted for a shell, a text is returned as it is."""
    if isinstance(cmdline, str):
        return cmdline
    if isinstance(cmdline, bytes):
        return os.fsdecode(cmdline)
    return shlex.join(_word(word) for word in cmdline)


def argv_from_cmdline(cmdline: CommandLine, shell: bool = False) -> tuple[str, ...]:
    """Return the words to execute for *cmdline*.

    Without *shell*, a text is split as a shell would split it (quotes and backslashes, nothing else), and a sequence
    is taken as it is. With *shell*, the result is ``/bin/sh -c`` and the text, where words of a sequence are quoted.

    Raises:
        ValueError: a quotation in *cmdline* is never closed.
    """
    if shell:
        return ("/bin/sh", "-c", str_from_cmdline(cmdline))
    if not isinstance(cmdline, (str, bytes)):
        return tuple(_word(word) for word in cmdline)
    text = str_from_cmdline(cmdline)
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(
            f"cannot split the command {text!r} into words: {str(error).lower()} "
            "(quote it, give it as a list of words, or pass shell=True)"
        ) from error


def name_from_cmdline(cmdline: CommandLine) -> str:
    """Return a short name for *cmdline*: blanks squeezed, at most NAME_LENGTH characters, "..." where it was cut."""
    name = " ".join(str_from_cmdline(cmdline).split())
    if len(name) > NAME_LENGTH:
        name = name[: NAME_LENGTH - 3] + "..."
    return name


def compact_output(text: AnyStr, threshold: int) -> AnyStr:
    """Return *text*, or only its head and its tail when it is longer than *threshold*.

    Args:
        text: characters or bytes.
        threshold: how many characters (bytes) to keep, half of them from each end; 0 keeps everything.
    """
    if threshold <= 0 or len(text) <= threshold:
        return text
    half = threshold // 2
    elision = _ELISION if isinstance(text, str) else _ELISION.encode()
    return text[:half] + elision + text[len(text) - half :]


def prlimit_argv(argv: Sequence[str], rlimits: Mapping[str, Limit | tuple[Limit, Limit]]) -> tuple[str, ...]:
    """Return *argv* wrapped by the ``prlimit`` tool of util-linux, so that it runs under *rlimits*.

    Args:
        argv: the words to execute; the pid stays that of prlimit, which replaces itself by the command.
        rlimits: by name (see RLIMITS), one limit for both the soft and the hard one, or a pair (soft, hard):
            ``{"nofile": 1024, "as": (2**30, None)}``. When it is empty, *argv* is returned as it is.

    Raises:
        ValueError: a limit is unknown, or is not of this form.
    """
    if not rlimits:
        return tuple(argv)
    return ("prlimit", *(_prlimit_option(name, limit) for name, limit in rlimits.items()), "--", *argv)


def _prlimit_option(name: str, limit: Limit | tuple[Limit, Limit]) -> str:
    if name not in RLIMITS:
        raise ValueError(f"unknown resource limit {name!r}: it must be one of {', '.join(sorted(RLIMITS))}")
    pair = tuple(limit) if isinstance(limit, (tuple, list)) else (limit, limit)
    if len(pair) != 2 or pair == (None, None):
        raise ValueError(f"resource limit {name!r}: expected a number or a pair (soft, hard), not {limit!r}")
    return f"--{name}=" + ":".join(_prlimit_value(name, value) for value in pair)


def _prlimit_value(name: str, value: Limit) -> str:
    if value is None:
        return ""
    if value in (-1, "unlimited"):
        return "unlimited"
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"resource limit {name!r}: expected a number >= 0 or 'unlimited', not {value!r}")
    return str(value)


def _word(word: Word) -> str:
    if isinstance(word, str):
        return word
    if isinstance(word, (bytes, os.PathLike)):
        return os.fsdecode(word)
    return str(word)
