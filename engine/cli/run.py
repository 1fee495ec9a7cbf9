"""``regisseur run``: a Python script as an experiment, recorded in a run directory.

The script runs in this process, as ``python SCRIPT`` would run it. Around it
stand a run directory and a journal (see `_recording`), so what it starts with
`regisseur.actors` is in the log without a line of its own. Where it starts an
`Engine`, that makes the run directory, and ours gives way.
"""

from __future__ import annotations

import contextlib
import functools
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import reader_is_gone, say
from ._errors import CommandError, ExitCode, named_path, report

if TYPE_CHECKING:
    from ._recording import Recording

__all__ = ["run"]


def run(
    script: Annotated[
        Path, typer.Argument(metavar="SCRIPT", help="A Python file.", show_default=False, parser=named_path)
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="For the script.", show_default=False)
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",
            metavar="DIR",
            help="Record in DIR; a run that is there is continued. Without it: a new directory, named by the time.",
            show_default=False,
            parser=named_path,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--continue", "-C", help="Record in the newest run directory of this script here, if any."),
    ] = False,
) -> int:
    """Run a Python script, and record what it does in a run directory.

    A script with an Engine has a run directory of the engine's, and --run-dir and --continue are its -c and -C.
    The exit status is the script's; 1 if it raised.
    """
    if run_dir is not None and resume:
        raise CommandError("--run-dir names the directory to continue in: leave out --continue", ExitCode.USAGE)
    _see_that_it_can_be_read(script)
    from ...actors.config import configuration
    from ._recording import Recording

    configuration.fill()  # now, where a mistake in it can still be told in one line
    recording = Recording.begin(script, arguments or [], run_dir, resume)
    for_engine = ["-c", str(run_dir)] if run_dir is not None else ["-C"] if resume else []
    with recording, _engines_take_over(recording, for_engine), _as_program(script, arguments or []):
        code = _run_script(script, recording)
    if run_dir is None and recording.is_kept:
        say(f"recorded in {recording.directory}", "run")
    return code


def _see_that_it_can_be_read(script: Path) -> None:
    program = script / "__main__.py" if script.is_dir() else script
    try:
        program.open("rb").close()
    except FileNotFoundError:
        raise CommandError(f"there is no script {program}", ExitCode.NOTHING) from None


def _run_script(script: Path, recording: Recording) -> int:
    """Run *script*, tell of its end to *recording* and to the user, and return the exit status."""
    owner = os.getpid()
    try:
        with recording.watching():
            runpy.run_path(str(script), run_name="__main__")
    except SystemExit as error:
        code = _exit_status(error)
    except KeyboardInterrupt as error:
        code = report(error, "run")
    except BaseException as error:
        code = _tell(error, script)
    else:
        code = ExitCode.OK
    if os.getpid() != owner:
        sys.exit(code)  # the child of a fork of the script's: what follows is the parent's
    return code


def _exit_status(error: SystemExit) -> int:
    """What `sys.exit` makes of its argument."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    if sys.stderr is not None:
        print(error.code, file=sys.stderr)
    return ExitCode.FAILED


def _tell(error: BaseException, script: Path) -> int:
    """Show the user what the script raised, as Python does; return the exit status."""
    from ...actors.exception import ConfigurationError
    from ..rundir import RunDirectoryError

    if isinstance(error, (ConfigurationError, RunDirectoryError)):
        return report(error, "run")  # what our own parts say of their surroundings is no fault of the script
    if isinstance(error, BrokenPipeError) and reader_is_gone():
        return report(error, "run")
    error.__traceback__ = _without_ours(error.__traceback__, str(script))
    sys.excepthook(type(error), error, error.__traceback__)
    return ExitCode.FAILED


def _without_ours(trace: TracebackType | None, script: str) -> TracebackType | None:
    """Return *trace* from the script's own first frame on; None where it never came to run."""
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(script):
        trace = trace.tb_next
    return trace


@contextlib.contextmanager
def _as_program(script: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Let ``sys.argv`` and ``sys.path`` be what they would be after ``python SCRIPT ARGS``."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [str(script), *arguments]
    if script.is_file() and not sys.flags.safe_path:
        sys.path[:1] = [str(script.resolve().parent)]  # in the place of the directory of the command `regisseur`
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path


@contextlib.contextmanager
def _engines_take_over(recording: Recording, options: list[str]) -> Iterator[None]:
    """While a script runs: have the start of an `Engine` end *recording*, and give the engine *options*."""
    from ..engine import Engine

    start = Engine.start

    @functools.wraps(start)
    def start_instead(engine: Engine, engineargs: Sequence[str] | None = None) -> None:
        recording.withdraw()
        arguments = sys.argv[1:] if engineargs is None else engineargs
        start(engine, [*options, *arguments])

    setattr(Engine, "start", start_instead)  # noqa: B010  # a plain assignment to a method is an error for mypy
    try:
        yield
    finally:
        setattr(Engine, "start", start)  # noqa: B010  # as above
