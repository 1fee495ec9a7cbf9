"""cli: the command ``regisseur``.

A room for each command (`run`, `execute`, `transfer`, `log`, `sweep`, `demo`,
`config`, `version`), and what they share: `_app` puts them together, `_errors`
has the exit codes and what the user is told, `_console` the streams,
`_selection` which combinations of a sweep are meant. For commands on hosts
`_options` and `_targets` say where, `_watching` follows them while they run,
`_screen` has what they write, and `_outcome` what became of them.
``docs/cli.md`` is the manual.

Signal handlers are installed by ``exec``, ``put`` and ``get`` alone, and only while they run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line *argv* (without the program's name) says; None: that of this process.

    Returns:
        the exit status; what there was to say was said.

    Raises:
        SystemExit: the shell's completion was asked for, or a script that ``run`` has started ends by it.
    """
    try:
        return _main(argv)
    except KeyboardInterrupt:  # before a command had begun
        return _INTERRUPTED


def _main(argv: Sequence[str] | None) -> int:
    from ._console import fill_standard_descriptors

    fill_standard_descriptors()
    from typer import Abort
    from typer.main import get_command

    from ._app import app, usage_error
    from ._errors import ExitCode, report

    _let_help_be_in_colour()
    try:
        code = get_command(app).main(args=argv, prog_name="regisseur", standalone_mode=False)
    except usage_error as error:
        code = _tell_usage(error)
    except Abort:
        code = ExitCode.INTERRUPTED
    except OSError as error:  # the parser's own output, such as the help, can not be written
        code = report(error, None)
        _forget_stdout()
    return _flushed(int(code or 0))


def _let_help_be_in_colour() -> None:
    """Rich knows NO_COLOR and terminals, but not CLICOLOR_FORCE."""
    from ._console import wants_colour

    if "CLICOLOR_FORCE" in os.environ and wants_colour(None):
        import typer.rich_utils

        typer.rich_utils.FORCE_TERMINAL = True


def _tell_usage(error: Exception) -> int:
    from ._console import say
    from ._errors import ExitCode

    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "regisseur"
    text = getattr(error, "format_message", lambda: str(error))().rstrip(".")
    say(f"{text}; see '{path} --help'", path.removeprefix("regisseur").strip() or None)
    return ExitCode.USAGE


def _flushed(code: int) -> int:
    """Write out what is still in the buffer; return *code*, or why that can not be done."""
    from ._console import write_out
    from ._errors import report

    try:
        write_out()
    except OSError as error:
        code = report(error, None)
        _forget_stdout()
    return code


def _forget_stdout() -> None:
    """Let what is in the buffer go nowhere, or the interpreter would try again at its end, and complain."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
