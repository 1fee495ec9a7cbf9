"""``regisseur put`` and ``regisseur get``: files to and from many hosts.

Here are the options; `_transfers` follows the `Put` or `Get` of the actors while it runs. Which hosts, how to reach
them, signals and exit codes are as for ``exec``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import send_logs_to_stderr
from ._errors import CommandError, ExitCode
from ._options import (
    USUAL_FANOUT,
    All,
    Connector,
    ConnectTimeout,
    Exclude,
    ExcludeGroups,
    Fanout,
    Groups,
    GroupsFile,
    Nodes,
    SshOptions,
    User,
    connection,
    seconds,
)
from ._targets import Targets, see_that_each_has_its_name

if TYPE_CHECKING:
    from ._watching import Manner

__all__ = ["get", "put"]

_HOST = "{{{host}}}"

_CreateDirs = Annotated[
    bool, typer.Option("--create-dirs", "-p", help="The place is a directory; make it where it is not there.")
]
_Checksum = Annotated[bool, typer.Option("--checksum", help="Compare the content of what has arrived, too.")]
_Retries = Annotated[
    int, typer.Option("--retries", metavar="N", min=0, help="Go on so often after a connection has broken.")
]
_Timeout = Annotated[
    str | None, typer.Option("--timeout", "-u", metavar="TIME", help="End it on a host after so long.")
]
_Chain = Annotated[
    bool, typer.Option("--chain", help="Have each host take the files from the one before it; for large ones.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON object for each host when it has ended.")]
_Progress = Annotated[bool, typer.Option("--progress", "-P", help="Show how far it is.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what failed.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say how it ends on each host.")]


def put(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE... PLACE", help="Files and directories, and where they go.", show_default=False),
    ],
    nodes: Nodes = None,
    exclude: Exclude = None,
    everything: All = False,
    groups: Groups = None,
    exclude_groups: ExcludeGroups = None,
    groups_file: GroupsFile = None,
    fanout: Fanout = None,
    user: User = None,
    options: SshOptions = None,
    connector: Connector = None,
    connect_timeout: ConnectTimeout = None,
    chain: _Chain = False,
    create_dirs: _CreateDirs = False,
    checksum: _Checksum = False,
    retries: _Retries = 2,
    timeout: _Timeout = None,
    as_json: _Json = False,
    progress: _Progress = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> int:
    """Copy files and directories to hosts, with their modes and times.

    PLACE is on the hosts, relative to the home directory there. A single file takes this name, unless that is a
    directory; several go into it. {{{host}}} in any name stands for that of the host.

    With --chain all hosts take part at once, whatever --fanout says; what goes from host to host is not encrypted.
    """
    sources, place = _parted(files)
    for source in sources:
        if _HOST not in source and not Path(source).exists():
            raise CommandError(f"{source}: there is no such file", ExitCode.USAGE)
    targets = _named(Targets(nodes or [], exclude or [], everything, groups or [], exclude_groups or [], groups_file))
    manner = _manner(timeout, as_json, progress, quiet, verbose)
    params = connection(user, options, connector, seconds("--connect-timeout", connect_timeout))
    from ._transfers import run_put

    settings = {"create_dirs": create_dirs, "checksum": checksum, "retries": retries}
    if not chain:
        settings["fanout"] = fanout or USUAL_FANOUT
    return run_put(targets.hosts(), sources, place, params, manner, settings, chain=chain)


def get(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... DIR", help="Files and directories of the hosts, and where they go.", show_default=False
        ),
    ],
    nodes: Nodes = None,
    exclude: Exclude = None,
    everything: All = False,
    groups: Groups = None,
    exclude_groups: ExcludeGroups = None,
    groups_file: GroupsFile = None,
    fanout: Fanout = None,
    user: User = None,
    options: SshOptions = None,
    connector: Connector = None,
    connect_timeout: ConnectTimeout = None,
    checksum: _Checksum = False,
    retries: _Retries = 2,
    timeout: _Timeout = None,
    as_json: _Json = False,
    progress: _Progress = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> int:
    """Copy files and directories from hosts, with their modes and times: those of each host into DIR/HOST.

    Names are relative to the home directory there, and may be patterns of the shell. If there is a {{{host}}} in DIR,
    it stands for the name of the host, and the files go there.
    """
    sources, place = _parted(files)
    if _HOST not in place:
        place = f"{place}/{_HOST}"
    targets = _named(Targets(nodes or [], exclude or [], everything, groups or [], exclude_groups or [], groups_file))
    manner = _manner(timeout, as_json, progress, quiet, verbose)
    params = connection(user, options, connector, seconds("--connect-timeout", connect_timeout))
    from ._transfers import run_get

    settings = {"create_dirs": True, "checksum": checksum, "retries": retries, "fanout": fanout or USUAL_FANOUT}
    hosts = targets.hosts()
    see_that_each_has_its_name(hosts, "get")
    return run_get(hosts, sources, place, params, manner, settings)


def _parted(files: list[str]) -> tuple[list[str], str]:
    """Return what is to be copied, and where to."""
    from ...protocols.substitutions import Expression, parse

    *sources, place = files
    if not sources:
        raise CommandError("name files, and behind them the place where they go", ExitCode.USAGE)
    for name in files:
        if not name:
            raise CommandError("a name is empty: of a file, or of the place where they go", ExitCode.USAGE)
        if any(isinstance(part, Expression) for part in parse(name)):
            raise CommandError(f"{name}: double braces would be taken for an expression", ExitCode.USAGE)
    return sources, place


def _named(targets: Targets) -> Targets:
    if not targets.are_named:
        raise CommandError("name hosts by -w, -a or -g", ExitCode.USAGE)
    return targets


def _manner(timeout: str | None, as_json: bool, progress: bool, quiet: bool, verbose: bool) -> Manner:
    """Return what the user is to be told; everything is ready then for actions to be made."""
    limit = seconds("--timeout", timeout)
    send_logs_to_stderr()
    from ...actors.config import configuration
    from ._watching import Manner

    configuration.fill()  # now, where a mistake in it can still be told in one line
    return Manner(limit, as_json, progress, quiet, verbose)
