"""``regisseur log``: the log of a run, for people, while it is being written or after."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ._console import print_json, print_line, reader_is_gone, say, wants_colour, write_out
from ._errors import CommandError, ExitCode, named_path

__all__ = ["log"]


def log(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run directory, or a log.jsonl.", show_default=False, parser=named_path),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until the run has ended.")] = False,
    actor: Annotated[
        str | None, typer.Option("--actor", "-a", metavar="NAME", help="Only of this actor; 'Process*' is a pattern.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option("--level", "-l", metavar="LEVEL", help="This level and above: debug, info, ..."),
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", "-e", metavar="NAME", help="Only this event; 'process.*' is a pattern.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Lines of JSON, as they stand in the log.")] = False,
) -> int:
    """Show the log of a run: one line for each event, with its time, level, name and values."""
    from ..logfile import TornLine, format_record, level_number, read_log

    if level is not None:
        try:
            level_number(level)
        except ValueError as error:
            raise CommandError(str(error), ExitCode.USAGE) from None
    path = _log_file(run)
    ended = _end_of(path) if follow else None
    colour = wants_colour(sys.stdout)

    def tell(torn: TornLine) -> None:
        say(str(torn), "log")

    try:
        for record in read_log(path, follow=follow, ended=ended, actor=actor, level=level, event=event, on_torn=tell):
            if as_json:
                print_json(record.to_dict())
            else:
                print_line(format_record(record, colour=colour))
            if follow:
                write_out()
    except KeyboardInterrupt:
        if not follow:
            raise
        return ExitCode.INTERRUPTED  # how one stops to follow: nothing to be told
    return ExitCode.OK


def _log_file(run: Path) -> Path:
    """The log that *run*, a directory or the log itself, means."""
    if not run.is_dir():
        if not run.exists():
            raise CommandError(f"there is no run {run}", ExitCode.NOTHING)
        return run
    path = run / "log.jsonl"
    if not path.exists():
        raise CommandError(f"{run} is not the directory of a run: there is no log.jsonl in it", ExitCode.NOTHING)
    return path


def _end_of(path: Path) -> Callable[[], bool]:
    """Return what says whether it is of use to wait for more in the log *path*."""
    from ..rundir import RunDirectory

    run = RunDirectory.open(path.parent) if (path.parent / "run.yaml").exists() else None
    if run is None:
        say(f"there is no run.yaml beside {path} to tell the end of the run: Ctrl-C ends this", "log")
    elif run.outcome == "unknown":
        host = run.sessions[-1].facts["process"].get("host")
        say(f"the run is on {host}: if it is killed there, this does not end by itself, but by Ctrl-C", "log")

    def ended() -> bool:
        return reader_is_gone() or (run is not None and run.outcome not in ("running", "unknown"))

    return ended
