"""The command lines of ssh, scp and of what stands in for them (oarsh, oarcp, a wrapper script).

Values in, words out: nothing is run. A tool is a program, or a program and its first words; options and
authentication follow it, then the destination.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import TypeAlias

__all__ = [
    "Words",
    "auth_options",
    "checked_address",
    "connection_options",
    "rewrite_address",
    "scp_location",
    "ssh_argv",
    "tool_argv",
    "words",
]

Words: TypeAlias = str | Sequence[str] | None
"""Words of a command line: one word as a text, several as a sequence, or none."""


_STRICTNESS = {"accept-new": "accept-new", "strict": "yes", "off": "no"}


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


def connection_options(
    host_keys: str,
    known_hosts: str | None,
    *,
    connect_timeout: float = 0,
    alive_interval: float = 0,
    lab_network: bool = False,
) -> tuple[str, ...]:
    """Return the options about host keys and time, to stand behind those of the user: ssh takes the first it sees.

    Args:
        host_keys: "accept-new": the key of a host that is not in *known_hosts* is put there, and must stay the same;
            "strict": it must be there; "off": nothing is checked.
        known_hosts: path of the file of keys; None: the user's own files (with "strict").
        connect_timeout: seconds for the connection of TCP, and then for the first words of the server; 0: no limit.
        alive_interval: seconds of silence after which the server is asked whether it is there; after the third
            question the connection is lost; 0: it is never asked.
        lab_network: prefer curve25519-sha256 for the exchange of keys.

    Raises:
        ValueError: *host_keys* is none of the three.
    """
    if host_keys not in _STRICTNESS:
        raise ValueError(f"host_keys must be one of {', '.join(_STRICTNESS)}, not {host_keys!r}")
    options = [f"StrictHostKeyChecking={_STRICTNESS[host_keys]}"]
    if host_keys == "off":
        options.append("UserKnownHostsFile=/dev/null")
    elif known_hosts is not None:
        options.append(f"UserKnownHostsFile={_quoted(known_hosts)}")
    if host_keys == "accept-new":
        options.append("HashKnownHosts=no")  # people read it; and to look up a hashed name takes time with each key
    if connect_timeout:
        options.append(f"ConnectTimeout={math.ceil(connect_timeout)}")
    if alive_interval:
        options += [f"ServerAliveInterval={math.ceil(alive_interval)}", "ServerAliveCountMax=3"]
    if lab_network:
        options.append("KexAlgorithms=^curve25519-sha256")
    options.append("LogLevel=ERROR")  # else a key that is new, and the server's banner, are told on stderr
    return tuple(word for option in options for word in ("-o", option))


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
    return (*tool, checked_address(address), command)


def scp_location(address: str, path: str) -> str:
    """Return "address:path", as scp reads it; an IPv6 address is put in brackets.

    Raises:
        ValueError: *address* would be taken for an option, or is empty.
    """
    checked_address(address)
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


def checked_address(address: str) -> str:
    """Return *address*.

    Raises:
        ValueError: it would be taken for an option, or is empty.
    """
    if not address or address.startswith("-"):
        raise ValueError(f"cannot use {address!r} as the address of a host: it is empty or looks like an option")
    return address


def _quoted(path: str) -> str:
    """*path* as the value of an option that takes several, and expands what begins with a percent sign."""
    path = path.replace("%", "%%")
    return f'"{path}"' if re.search(r"\s", path) else path
