"""The words that deploy a tree of TakTuk's, and what its nodes are to run.

A node knows its rank by a variable, so that one command line, sent to many nodes at once, is another process on each:
its token (see `remote_supervisor`) is that of the tree with the rank behind it, and the number of the command.

Pure: values in, words and text out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from .remote_shell import detached
from .remote_supervisor import supervisor
from .shell_line import MAX_LINE, CommandError
from .taktuk import ARGUMENTS

__all__ = ["SUPERVISOR", "deployment", "node_command", "node_order", "node_supervisor", "node_token", "number_of"]

SUPERVISOR = 0
"""The target of the supervisor of each node; those of commands are positive."""

_GRANULARITY = "0.1"
"""Seconds after which a node looks for ended commands if nothing else happens; by itself TakTuk takes 1. Mostly it sees
the end of the outputs just before the system tells of that of the process, and then waits for so long."""
_TAG = re.compile(rb": ([0-9]{1,10});")
_PLAIN_HOST = re.compile(r"[^\s\[\],/'\"\\$`;&|<>()*?!#~\x00-\x1f-][^\s\[\],/'\"\\$`;&|<>()*?!#~\x00-\x1f]*")


def deployment(
    taktuk: Sequence[str],
    options: Sequence[str],
    connector: Sequence[str],
    hosts: Sequence[str],
    *,
    timeout: float,
    gateway: tuple[Sequence[str], str] | None = None,
) -> tuple[str, ...]:
    """The words of a command that connects *hosts*, and then takes commands on its stdin.

    The n-th host has the position n; with a gateway ``1.n``.

    Args:
        taktuk: the program.
        options: of it, for the deployment, which beat ours.
        connector: the program that connects to a host, and its options; on the gateway, if there is one.
        timeout: seconds for a connection; 0: no limit.
        gateway: the words that connect to a host over which all connections go, and that host; it is no node itself.

    Raises:
        ValueError: the name of a host has characters that TakTuk or a shell would not take as they are.
    """
    for host in (*hosts, *(() if gateway is None else (gateway[1],))):
        if _PLAIN_HOST.fullmatch(host) is None:
            raise ValueError(f"TakTuk cannot take {host!r} as the name of a host")
    nodes = ["-c", shlex.join(connector)]
    for host in hosts:
        nodes += ("-m", host)
    if gateway is not None:
        words, name = gateway
        nodes = ["-c", shlex.join(words), "-G", name, "-[", *nodes, "-]"]
    limit = ("-t", f"{timeout:g}") if timeout else ()
    return (*taktuk, *ARGUMENTS, "-g", _GRANULARITY, *limit, *options, *nodes)


def node_supervisor(tree: str) -> bytes:
    """The command line of the supervisor of a node; it takes `node_order`, and answers as the one of `node_token`.

    Args:
        tree: hexadecimal digits.
    """
    line = supervisor(tree).removesuffix(f"'{tree}'")
    return f'{line}"{tree}$TAKTUK_RANK"'.encode()


def node_token(tree: str, rank: int) -> str:
    """What the supervisor of a node calls itself."""
    return f"{tree}{rank}"


def node_command(tree: str, number: int, command: str, *, detach: bool = False) -> bytes:
    """The command line that has a node run *command* by the login shell of its user, as the command *number*.

    Args:
        detach: leave it running by itself, see `detached`.

    Raises:
        CommandError: it has a null byte, or is too long: more than some 120 kB.
    """
    if "\0" in command:
        raise CommandError(f"it has a null byte at position {command.index(chr(0))}")
    if detach:
        run = detached(command)
    else:
        token = f'export REGISSEUR_REMOTE="{tree}$TAKTUK_RANK.{number};"'
        run = f'{token};exec "${{SHELL:-/bin/sh}}" -c {shlex.quote(command)}'
    line = f": {number};{run}".encode(errors="surrogateescape")
    if len(line) > MAX_LINE:
        raise CommandError(f"with what is around it, it is {len(line)} bytes long: put it in a file")
    return line


def number_of(command: bytes) -> int | None:
    """The number of a command, by the beginning of its line as TakTuk tells it; None: it is none of `node_command`."""
    found = _TAG.match(command)
    return None if found is None else int(found[1])


def node_order(signal_number: int, number: int) -> bytes:
    """The line that has the supervisor of a node send a signal to all processes of the command *number*."""
    return b"%d %d\n" % (signal_number, number)
