"""The options that commands for hosts have in common, and what they come to: hosts, and how to reach them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._errors import CommandError, ExitCode, named_path

if TYPE_CHECKING:
    from ...actors.connection_params import ConnectionParams

__all__ = [
    "USUAL_FANOUT",
    "All",
    "ConnectTimeout",
    "Connector",
    "Exclude",
    "ExcludeGroups",
    "Fanout",
    "Groups",
    "GroupsFile",
    "Nodes",
    "SshOptions",
    "User",
    "connection",
    "seconds",
]

_HOSTS = "Hosts"
_CONNECTION = "How to reach them"
_IDLE = 1.0  # seconds that a connection is kept which has served its command


def _complete_group(incomplete: str) -> list[str]:
    """The groups that the shell may complete *incomplete* to; those of a file that --groups names are not known."""
    from ...actors.exception import ConfigurationError
    from ...actors.host_groups import HostGroups

    try:
        return [name for name in HostGroups.of_user() if name.startswith(incomplete)]
    except (OSError, ConfigurationError):
        return []


Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--nodes",
        "-w",
        metavar="NODES",
        help="On these hosts: node[1-100], @group, several with commas; - reads them from stdin, ^FILE from a file.",
        rich_help_panel=_HOSTS,
        show_default=False,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", "-x", metavar="NODES", help="But not on these.", rich_help_panel=_HOSTS),
]
All = Annotated[bool, typer.Option("--all", "-a", help="On all hosts of the file of groups.", rich_help_panel=_HOSTS)]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        "-g",
        metavar="GROUP",
        help="On the hosts of this group.",
        rich_help_panel=_HOSTS,
        autocompletion=_complete_group,
    ),
]
ExcludeGroups = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude-group",
        "-X",
        metavar="GROUP",
        help="But not on those.",
        rich_help_panel=_HOSTS,
        autocompletion=_complete_group,
    ),
]
GroupsFile = Annotated[
    Path | None,
    typer.Option(
        "--groups",
        metavar="FILE",
        help="The file of groups; default: groups.yaml beside the configuration file.",
        rich_help_panel=_HOSTS,
        parser=named_path,
    ),
]
USUAL_FANOUT = 64
"""Hosts at a time, where nobody says."""

Fanout = Annotated[
    int | None,
    typer.Option(
        "--fanout",
        "-f",
        metavar="N",
        min=1,
        help=f"At most so many at a time.  [default: {USUAL_FANOUT}]",
        rich_help_panel=_HOSTS,
        show_default=False,
    ),
]
User = Annotated[
    str | None, typer.Option("--user", "-l", metavar="USER", help="Log in as this user.", rich_help_panel=_CONNECTION)
]
SshOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="OPTION",
        help="An option for ssh: Port=2222, or words of its command line such as '-p 2222'.",
        rich_help_panel=_CONNECTION,
    ),
]
ConnectTimeout = Annotated[
    str | None,
    typer.Option(
        "--connect-timeout",
        "-t",
        metavar="TIME",
        help="How long it may take to connect. (For a command on this machine the same as -u.)",
        rich_help_panel=_CONNECTION,
    ),
]
Connector = Annotated[
    str | None,
    typer.Option(
        "--connector",
        metavar="WHAT",
        help="openssh, native, or a program that is called as ssh is, such as oarsh.",
        rich_help_panel=_CONNECTION,
    ),
]


def connection(
    user: str | None, options: list[str] | None, connector: str | None, connect_timeout: float | None
) -> ConnectionParams:
    """Return the connection parameters that the options ask for, on top of those of the configuration.

    Raises:
        CommandError: there is no such thing.
        ConfigurationError: the configuration can not be used.
    """
    from ...actors.config import default_connection_params
    from ...actors.connection_params import ConnectionParams
    from ...actors.exception import ConfigurationError

    default_connection_params.fill()
    given: dict[str, Any] = {"idle_timeout": min(_IDLE, default_connection_params["idle_timeout"])}
    if user is not None:
        given["user"] = user
    if options:
        words = [word for option in options for word in _ssh_words(option)]
        given["ssh_options"] = (*words, *(default_connection_params["ssh_options"] or ()))
    if connector in ("openssh", "native"):
        given["connector"] = connector
    elif connector is not None:
        given |= {"connector": "openssh", "ssh": tuple(_split("--connector", connector))}
    if connect_timeout is not None:
        given["connect_timeout"] = connect_timeout
    try:
        return ConnectionParams.of(given)
    except ConfigurationError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


def seconds(option: str, text: str | None) -> float | None:
    """Return the seconds that *text*, the value of an option, means; None for None.

    Raises:
        CommandError: it means none.
    """
    from ...protocols.durations import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}", ExitCode.USAGE) from None


def _ssh_words(option: str) -> list[str]:
    return _split("-o", option) if option.startswith("-") else ["-o", option]


def _split(option: str, text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"{option} {text!r}: {error}", ExitCode.USAGE) from None
    if not words:
        raise CommandError(f"{option}: it is empty", ExitCode.USAGE)
    return words
