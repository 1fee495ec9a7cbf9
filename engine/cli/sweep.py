"""``regisseur sweep``: what became of the combinations of a sweep, and which of them are to be done.

``status`` and ``list`` only look, also while experiments run. ``cancel`` and
``skip`` change what is not in the hands of a live process; ``--force`` takes
it out of them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._console import clean, print_json, print_line, say, send_logs_to_stderr
from ._errors import CommandError, ExitCode, named_path
from ._selection import Selection, show_combination

if TYPE_CHECKING:
    from .._store_table import Table
    from ..sweeper import CombinationStatus, ParamSweeper

__all__ = ["app", "cancel", "import_store", "list_combinations", "skip", "status"]

app = typer.Typer(help="Show the combinations of a sweep, take them back, skip them.")

_STATES = ("remaining", "inprogress", "done", "skipped")
_LOCK_TIMEOUT = 30.0  # seconds to wait for others in the store
_SHOWN = 3  # combinations named in a message

_Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="The directory of the sweeper, or a run directory with it in sweep/.",
        show_default=False,
        parser=named_path,
    ),
]
_Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WHICH", help="Numbers as 'list' shows them (3 or 3-7), or factor=level.", show_default=False
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_All = Annotated[bool, typer.Option("--all", help="All combinations.")]
_Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, to be kept in the sweep.")]
_Force = Annotated[bool, typer.Option("--force", help="Also those that a live process has in progress.")]


@app.command()
def status(directory: _Directory, as_json: _Json = False) -> int:
    """Show how many combinations are remaining, in progress, done and skipped."""
    from .._store import StoreReader
    from ..sweeper import SweepView

    store = _store(directory)
    counts = SweepView(store).counts()
    table = StoreReader(store).table
    is_saved, owners = bool(table.saved), _owners(table)
    if as_json:
        print_json({"directory": store, **counts, "is_saved": is_saved, "owners": owners})
        return ExitCode.OK
    print_line(f"{'sweep':10} {store}")
    note = "" if is_saved else "  (those that were taken so far: the sweep itself was not saved here)"
    print_line(f"{'total':10} {counts['total']}{note}")
    for state in _STATES:
        print_line(f"{state:10} {counts[state]}")
        for owner in owners if state == "inprogress" else ():
            fate = "" if owner["alive"] else ", which is gone: they are given back when the sweep goes on"
            print_line(f"{'':10} {owner['inprogress']} by {owner['owner']}{fate}")
    return ExitCode.OK


@app.command("list")
def list_combinations(
    directory: _Directory,
    which: _Words = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", "-s", metavar="STATE", help=f"Only those {', '.join(_STATES)}; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Lines of JSON, one for each combination.")] = False,
) -> int:
    """List combinations: number, state, levels, and who has them in progress or why they were skipped."""
    unknown = [name for name in state or () if name not in _STATES]
    if unknown:
        raise CommandError(f"--state: no state {unknown[0]!r}: use {', '.join(_STATES)}", ExitCode.USAGE)
    for number, found in _select(_store(directory), _parsed(which or [])):
        if state and found.state not in state:
            continue
        if as_json:
            print_json({"number": number, **found._asdict()})
        else:
            print_line(_line(number, found))
    return ExitCode.OK


@app.command()
def cancel(
    directory: _Directory,
    which: _Words = None,
    everything: _All = False,
    reason: _Reason = None,
    force: _Force = False,
    as_json: _Json = False,
) -> int:
    """Let combinations be done again that are in progress or skipped.

    What a process that is gone had in progress comes back by itself when the sweep goes on.
    """
    store, selection = _store(directory), _selection(which, everything)
    sweeper = _open(store)
    chosen = _changeable(store, selection, ("inprogress", "skipped"), force)
    sweeper.cancel_batch([found.combination for _, found in chosen], reason)
    _tell_change("cancelled", chosen, as_json)
    return ExitCode.OK


@app.command()
def skip(
    directory: _Directory,
    which: _Words = None,
    everything: _All = False,
    reason: _Reason = None,
    force: _Force = False,
    as_json: _Json = False,
) -> int:
    """Let combinations never be done that are remaining; 'cancel' takes that back."""
    store, selection = _store(directory), _selection(which, everything)
    sweeper = _open(store)
    chosen = _changeable(store, selection, ("remaining", "inprogress"), force)
    if not force:
        # Taken first, so that none is skipped which somebody else has taken since we looked.
        wanted = [found.combination for _, found in chosen]
        taken = set(sweeper.get_next_batch(len(wanted), lambda remaining: wanted))
        chosen = [(number, found) for number, found in chosen if found.combination in taken]
    sweeper.skip_batch([found.combination for _, found in chosen], reason)
    _tell_change("skipped", chosen, as_json)
    return ExitCode.OK


@app.command("import")
def import_store(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A storage directory of Execo's ParamSweeper.", show_default=False, parser=named_path
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Make the new store there, and leave the old one as it is.", parser=named_path
        ),
    ] = None,
    as_json: _Json = False,
) -> int:
    """Convert a sweep of Execo; its pickles are read without executing them.

    The old files are kept, with '.execo' behind their names. What was in progress is to do again, since nobody is
    known to work on it.
    """
    from .._store_errors import SweepStoreMissingError
    from ..execo_store import import_execo_store

    _see_that_it_is_a_directory(directory)
    try:
        done = import_execo_store(directory, to)
    except SweepStoreMissingError:
        raise CommandError(
            f"there is no sweep of Execo in {directory}: no pickles done, inprogress or sweeps", ExitCode.NOTHING
        ) from None
    for path, size in done.torn.items():
        say(f"the last record of {path} was cut short by a crash: {size} bytes could not be read", "sweep")
    if as_json:
        print_json(done._asdict())
        return ExitCode.OK
    back = len(done.given_back)
    print_line(f"{done.destination}: {done.done} done, {back} given back, {done.sweeps} in the sweep as it was saved")
    print_line(f"the old files: {', '.join(done.kept)}")
    return ExitCode.OK


def _store(directory: Path) -> str:
    """The directory of the store that *directory*, it or that of its run, means."""
    _see_that_it_is_a_directory(directory)
    inside = directory / "sweep"
    return str(inside if not (directory / "sweep.log").exists() and inside.is_dir() else directory)


def _see_that_it_is_a_directory(directory: Path) -> None:
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise CommandError(f"{directory} {what}", ExitCode.NOTHING)


def _owners(table: Table) -> list[dict[str, Any]]:
    """Who has combinations in progress, and whether they can still be working on them."""
    from .._lease import is_gone

    now = time.time()
    return [
        {
            "owner": str(holder.owner),
            "inprogress": len(holder.claims),
            "alive": not is_gone(holder.owner, holder.seen, now),
        }
        for holder in table.holders
        if holder.claims
    ]


def _line(number: int, found: CombinationStatus) -> str:
    parts = [f"{number:>4}  {found.state:10}  {show_combination(found.combination)}"]
    if found.owner is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.since))
        parts.append(f"({found.owner} since {since})")
    elif found.reason is not None:
        parts.append(f"({clean(found.reason)})")
    return "  ".join(parts)


def _select(store: str, selection: Selection) -> list[tuple[int, CombinationStatus]]:
    """The combinations that *selection* means, with their numbers."""
    from ..sweeper import SweepView

    known = SweepView(store).statuses()
    beyond = selection.beyond(len(known))
    if beyond is not None:
        last = f"the last is {len(known) - 1}" if known else "there are none"
        raise CommandError(f"there is no combination {beyond} in {store}: {last}", ExitCode.NOTHING)
    selected = [(number, found) for number, found in enumerate(known) if selection.takes(number, found.combination)]
    if known and not selected:
        raise CommandError(f"no combination in {store} is meant by that", ExitCode.NOTHING)
    return selected


def _parsed(words: list[str]) -> Selection:
    try:
        return Selection(words)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


# -- changing ------------------------------------------------------------------------


def _selection(which: list[str] | None, everything: bool) -> Selection:
    """What the words mean; a command that changes something wants some, or --all."""
    if which and everything:
        raise CommandError("--all means all combinations: leave it out, or the others", ExitCode.USAGE)
    if not which and not everything:
        raise CommandError("say which combinations: numbers, factor=level, or --all", ExitCode.USAGE)
    return _parsed(which or [])


def _open(store: str) -> ParamSweeper:
    """Open *store* for changes; what processes had that are gone is given back by that."""
    from ..sweeper import ParamSweeper, SweepView

    send_logs_to_stderr()
    known = SweepView(store).get_sweeps()  # fails where there is no store: a sweeper would make one
    return ParamSweeper(store, known, lock_timeout=_LOCK_TIMEOUT)


def _changeable(
    store: str, selection: Selection, states: tuple[str, str], force: bool
) -> list[tuple[int, CombinationStatus]]:
    """Those of the selected that are in one of *states*, none of which anybody works on, unless *force*."""
    selected = _select(store, selection)
    chosen = [(number, found) for number, found in selected if found.state in states]
    if not chosen:
        there = ", ".join(sorted({found.state for _, found in selected}))
        raise CommandError(
            f"nothing to do: of the {len(selected)} selected none is {' or '.join(states)}; they are {there}",
            ExitCode.NOTHING,
        )
    held = [(number, found) for number, found in chosen if found.state == "inprogress"]
    if held and not force:
        names = ", ".join(str(number) for number, _ in held[:_SHOWN]) + (", ..." if len(held) > _SHOWN else "")
        raise CommandError(
            f"{len(held)} of the selected are in progress ({names}), the first by {held[0][1].owner}: nothing was "
            "changed; wait, end that process, or take them from it by --force",
            ExitCode.INFRASTRUCTURE,
        )
    return chosen


def _tell_change(what: str, chosen: list[tuple[int, CombinationStatus]], as_json: bool) -> None:
    if as_json:
        print_json({what: [{"number": number, "combination": found.combination} for number, found in chosen]})
        return
    for number, found in chosen:
        print_line(f"{what} {number}: {show_combination(found.combination)}")
