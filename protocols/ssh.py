"""The command lines of ssh, scp and of what stands in for them (oarsh, oarcp, a wrapper script).

Values in, words out: nothing is run. A tool is a program, or a program and its first words; options and
authentication follow it, then the destination.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Words", "auth_options", "rewrite_address", "scp_location", "ssh_argv", "tool_argv", "words"]

Words: TypeAlias = str | Sequence[str] | None
"""Words of a command line: one word as a text, several as a sequence, or none."""


def words(value: Words) -> tuple[str, ...]:
    """Return *value* as a tuple of words. A text is one word: blanks in it do not part it."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    return tuple(value)


def auth_options(
    user: str | None = None, keyfile: str | os.PathLike[str] | None = None, port: int | str | None = None
) -> tuple[str, ...]:
    """Return the options that name the user, the private key file and the port, for ssh and scp alike.

    ``-o User=`` and ``-o Port=`` are used, since ``-l`` and ``-p`` mean other things to scp.
    """
    options: list[str] = []
    if user is not None:
        options += ["-o", f"User={user}"]
    if keyfile is not None:
        options += ["-i", os.fspath(keyfile)]
    if port is not None:
        options += ["-o", f"Port={port}"]
    return tuple(options)


def tool_argv(tool: Words, options: Words = None, auth: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the words that come before the destination: the tool, its options, then those of auth_options."""
    return (*words(tool), *words(options), *auth)


def ssh_argv(tool: Sequence[str], address: str, command: str) -> tuple[str, ...]:
    """Return the words that run *command*, a text for the shell of the remote user, on the host at *address*.

    Args:
        tool: from tool_argv.

    Raises:
        ValueError: *address* would be taken for an option, or is empty.
    """
    return (*tool, _checked(address), command)


def scp_location(address: str, path: str) -> str:
    """Return "address:path", as scp reads it; an IPv6 address is put in brackets.

    Raises:
        ValueError: *address* would be taken for an option, or is empty.
    """
    _checked(address)
    host = f"[{address}]" if ":" in address and not address.startswith("[") else address
    return f"{host}:{path}"


def rewrite_address(address: str, pattern: str, replacement: str) -> str:
    r"""Return *address* with each match of *pattern* replaced: ``rewrite_address("h", r"^[^.]+$", r"\g<0>.net")``.

    Raises:
        ValueError: *pattern* is not a regular expression, or *replacement* does not fit it.
    """
    try:
        return re.sub(pattern, replacement, address)
    except (re.error, IndexError) as error:
        raise ValueError(f"cannot rewrite addresses with {pattern!r} -> {replacement!r}: {error}") from error


def _checked(address: str) -> str:
    if not address or address.startswith("-"):
        raise ValueError(f"cannot use {address!r} as the address of a host: it is empty or looks like an option")
    return address
