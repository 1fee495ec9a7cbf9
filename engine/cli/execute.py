"""``regisseur exec``: one command, on this machine or on many hosts, its output passed on as it comes.

Here are the options. On this machine (`_here`) the command is a `Process`, and its exit status is ours; on hosts
(`_many`) it is an `SshProcess` for each. They end with us, whatever happens.
"""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ._console import send_logs_to_stderr, wants_colour
from ._errors import CommandError, ExitCode, named_path
from ._here import run_here
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
from ._watch import Request

__all__ = ["execute"]


class Colour(StrEnum):
    """When to colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


_OUTPUT = "Output of hosts"


def execute(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Its words are joined by blanks.", show_default=False)
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
    gather: Annotated[
        bool,
        typer.Option(
            "--gather", "-b", help="Show equal outputs once, under the hosts that wrote them.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    gather_all: Annotated[
        bool, typer.Option("--gather-all", "-B", help="The same, stderr too.", rich_help_panel=_OUTPUT)
    ] = False,
    by_line: Annotated[
        bool,
        typer.Option(
            "--by-line",
            "-L",
            help="In the order of hosts, without heads; with -b or -B gather line by line.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what differs from what most hosts wrote.", rich_help_panel=_OUTPUT)
    ] = False,
    no_prefix: Annotated[
        bool, typer.Option("--no-prefix", "-N", help="Without the names of hosts.", rich_help_panel=_OUTPUT)
    ] = False,
    outdir: Annotated[
        Path | None,
        typer.Option(
            "--outdir", metavar="DIR", help="Keep stdout in DIR/HOST, too.", rich_help_panel=_OUTPUT, parser=named_path
        ),
    ] = None,
    errdir: Annotated[
        Path | None,
        typer.Option(
            "--errdir", metavar="DIR", help="Keep stderr in DIR/HOST, too.", rich_help_panel=_OUTPUT, parser=named_path
        ),
    ] = None,
    colour: Annotated[
        Colour | None,
        typer.Option("--color", "--colour", help="Names in colour.  [default: auto]", rich_help_panel=_OUTPUT),
    ] = None,
    progress: Annotated[
        bool, typer.Option("--progress", "-P", help="Show how far it is.", rich_help_panel=_OUTPUT)
    ] = False,
    largest_code: Annotated[
        bool,
        typer.Option(
            "--largest-code", "-S", help="Exit with the largest code of the commands.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", "-u", metavar="TIME", help="End it after so long: seconds, or HH:MM:SS."),
    ] = None,
    kill_after: Annotated[
        str | None,
        typer.Option(
            "--kill-after",
            "-k",
            metavar="TIME",
            help="Send SIGKILL so long after a signal that did not end it; default: the configured kill_timeout.",
        ),
    ] = None,
    shell: Annotated[
        bool, typer.Option("--shell/--no-shell", help="Run it by a shell; or execute the words as they are.")
    ] = True,
    cwd: Annotated[
        Path | None, typer.Option("--cwd", metavar="DIR", help="Run it in DIR (on this machine).", parser=named_path)
    ] = None,
    stdin: Annotated[
        bool | None,
        typer.Option(
            "--stdin/--nostdin",
            "-i/-n",
            help="Pass our stdin on to it, or not. Default: to hosts where it is no terminal, here not.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object when it has ended, with all that it wrote.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing of our own, but what failed on hosts.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how it ends, however that is.")] = False,
) -> int:
    """Run a command on hosts, or on this machine, and pass on what it writes as it comes.

    Here, the exit status is the command's; 128 + N if signal N ended it, 124 after a timeout, 126 if it can not be
    executed, 127 if it is not found.

    On hosts (-w, -a, -g) it is 0 if all went well, 1 if a command failed, 124 if one timed out, 4 if a host could not
    be reached.
    """
    from ...actors.config import configuration

    targets = Targets(nodes or [], exclude or [], everything, groups or [], exclude_groups or [], groups_file)
    limit = seconds("--timeout", timeout)
    connect_limit = seconds("--connect-timeout", connect_timeout)
    force = seconds("--kill-after", kill_after)
    send_logs_to_stderr()
    configuration.fill()  # now, where a mistake in it can still be told in one line
    if force is not None:
        configuration["kill_timeout"] = force  # which timeouts of processes go by
    if not targets.are_named:
        _refuse(
            "is for hosts: name some by -w, -a or -g",
            {"-x": exclude, "-X": exclude_groups, "--groups": groups_file, "-l": user, "-o": options},
            {"--connector": connector, "-b": gather, "-B": gather_all, "-L": by_line, "--diff": diff},
            {"-N": no_prefix, "--outdir": outdir, "--errdir": errdir, "-P": progress, "-S": largest_code},
            {"-f": fanout, "--color": colour},
        )
        _see_that_it_is_a_directory(cwd)
        request = Request(
            words=command,
            shell=shell,
            cwd=cwd,
            timeout=connect_limit if limit is None else limit,
            kill_after=configuration["kill_timeout"],
            relays_stdin=bool(stdin),
            keeps_output=as_json,
            quiet=quiet,
        )
        return run_here(request, as_json=as_json, verbose=verbose)
    _refuse("is for a command on this machine: on hosts, begin the command with 'cd DIR &&'", {"--cwd": cwd})
    if outdir is not None and errdir is not None and outdir.resolve() == errdir.resolve():
        raise CommandError(f"--outdir and --errdir: both name {outdir}: give each its own", ExitCode.USAGE)
    from ._many import Manner, ManyRequest, View, run_on_hosts

    reads_stdin = _broadcasts(stdin, targets)
    hosts = targets.hosts()
    if outdir is not None or errdir is not None:
        see_that_each_has_its_name(hosts, "--outdir and --errdir")
    many = ManyRequest(
        words=shlex.split(command[0]) if not shell and len(command) == 1 else command,
        shell=shell,
        hosts=hosts,
        params=connection(user, options, connector, connect_limit),
        fanout=fanout or USUAL_FANOUT,
        reads_stdin=reads_stdin,
        view=View(
            gather=gather or gather_all,
            both=gather_all,
            by_line=by_line,
            diff=diff,
            prefix=not no_prefix,
            colour=_is_wanted(colour),
            outdir=_made(outdir),
            errdir=_made(errdir),
        ),
        manner=Manner(limit, as_json, progress, quiet, verbose, largest_code),
    )
    return run_on_hosts(many)


def _refuse(why: str, *options: dict[str, object]) -> None:
    """Raise if one of *options* was given, which the command could only pass over."""
    for name, value in (item for some in options for item in some.items()):
        if value:
            raise CommandError(f"{name} {why}", ExitCode.USAGE)


def _see_that_it_is_a_directory(cwd: Path | None) -> None:
    if cwd is not None and not cwd.is_dir():
        what = "is not a directory" if cwd.exists() else "does not exist"
        raise CommandError(f"--cwd: {cwd} {what}", ExitCode.USAGE)


def _broadcasts(stdin: bool | None, targets: Targets) -> bool:
    """Whether our stdin is for the commands on hosts."""
    if targets.read_stdin:
        if stdin:
            raise CommandError("-i: stdin holds the hosts (-w -), and can not be for the commands too", ExitCode.USAGE)
        return False
    if stdin is None:
        return sys.stdin is not None and not os.isatty(0)
    return stdin


def _is_wanted(colour: Colour | None) -> bool:
    return wants_colour(sys.stdout) if colour in (None, Colour.AUTO) else colour is Colour.ALWAYS


def _made(directory: Path | None) -> Path | None:
    """Return *directory*, which is there now."""
    if directory is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{directory}: {error.strerror}", ExitCode.USAGE) from None
    return directory
