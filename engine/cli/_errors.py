"""What ends a command: exit codes, and the border where errors become one line and a code.

::

    0    ok
    1    the experiment failed (the script raised, or ended with 1)
    2    the command line is wrong
    3    nothing is there: no such file, run, sweep or combination; nothing to do where something was asked
    4    something around the experiment can not be used: in use, damaged, of another kind, no permission,
         full disk, wrong configuration; a host can not be reached
    70   a fault in Regisseur itself
    124  timeout
    130  Ctrl-C (and 128 + the number of another signal)
    141  nobody reads stdout any more

``exec`` on this machine ends as its command did: 0 to 255, 128 + the number of the signal that ended it, 126 if it
can not be executed, 127 if it is not found. On hosts it has the codes above: see `_outcome`.
"""

from __future__ import annotations

import os
import traceback
from enum import IntEnum
from pathlib import Path

from ._console import say

__all__ = ["CommandError", "ExitCode", "explain", "named_path", "report"]


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOTHING = 3
    INFRASTRUCTURE = 4
    BUG = 70
    TIMEOUT = 124
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    READER_GONE = 141


class CommandError(Exception):
    """A command can not do what was asked: *text* is for the user, *code* for the caller."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text, code)
        self.text = text
        self.code = code

    def __str__(self) -> str:
        return self.text


def named_path(text: str) -> Path:
    """Return *text* as a path; an empty one, mostly of a variable that is not set, is none."""
    if not str(text):
        raise CommandError("an empty text is no name of a file or directory", ExitCode.USAGE)
    return Path(text)


def report(error: BaseException, command: str | None) -> int:
    """Tell the user of *error*, which ended *command*, and return the exit code.

    With REGISSEUR_DEBUG set (not to 0) the traceback comes first.
    """
    if os.environ.get("REGISSEUR_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        return ExitCode.READER_GONE  # without a word, as all filters do: `| head` is no mistake
    if isinstance(error, KeyboardInterrupt):
        say("interrupted", command)
        return ExitCode.INTERRUPTED
    text, code = explain(error)
    say(text, command)
    return code


def explain(error: BaseException) -> tuple[str, ExitCode]:
    """Return what to tell the user of *error*, and the exit code."""
    # Here, so that a command that goes well does not wait for them.
    from ...actors.exception import ConfigurationError
    from .._store_errors import SweepStoreError, SweepStoreMissingError
    from ..logfile import LogError
    from ..rundir import RunDirectoryError

    if isinstance(error, CommandError):
        return error.text, error.code
    if isinstance(error, SweepStoreMissingError):
        return str(error), ExitCode.NOTHING
    if isinstance(error, (ConfigurationError, LogError, RunDirectoryError, SweepStoreError)):
        return str(error), ExitCode.INFRASTRUCTURE
    if isinstance(error, OSError):
        missing = isinstance(error, FileNotFoundError)
        return _system_error(error), ExitCode.NOTHING if missing else ExitCode.INFRASTRUCTURE
    return (
        f"this is a fault in Regisseur: {type(error).__name__}: {error}; "
        "please report it with what REGISSEUR_DEBUG=1 shows"
    ), ExitCode.BUG


def _system_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    return ": ".join([*names, reason])
