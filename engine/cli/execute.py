"""``regisseur exec``: one command on this machine, its output passed on as it comes, its exit status ours.

The command is a `regisseur.actors.Process`: a session of its own, which ends
with us, whatever happens. `_watch` follows it while it runs; here are the
options, and what its end means for the caller.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ._console import print_json, say, send_logs_to_stderr
from ._errors import CommandError, ExitCode
from ._watch import Request, Watch

if TYPE_CHECKING:
    from ...actors.process import Process

__all__ = ["execute"]

_SHORTAGE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def execute(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Its words are joined by blanks.", show_default=False)
    ],
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", "-t", "-u", metavar="TIME", help="End it after so long: seconds, or HH:MM:SS."),
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
        bool, typer.Option("--shell/--no-shell", help="Run it by /bin/sh; or execute the words as they are.")
    ] = True,
    cwd: Annotated[Path | None, typer.Option("--cwd", metavar="DIR", help="Run it in DIR.")] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", "-i", help="Pass our stdin on to it; without this its stdin is empty.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object when it has ended, with all that it wrote.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing of our own.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how it ends, however that is.")] = False,
) -> int:
    """Run a command on this machine, and pass on what it writes as it comes.

    The exit status is the command's; 128 + N if signal N ended it, 124 after a timeout, 126 if it can not be
    executed, 127 if it is not found.
    """
    from ...actors.config import configuration

    _see_that_it_is_a_directory(cwd)
    limit = None if timeout is None else _seconds("--timeout", timeout)
    force = None if kill_after is None else _seconds("--kill-after", kill_after)
    send_logs_to_stderr()
    configuration.fill()  # now, where a mistake in it can still be told in one line
    if force is not None:
        configuration["kill_timeout"] = force  # which timeouts of processes go by
    request = Request(
        words=command,
        shell=shell,
        cwd=cwd,
        timeout=limit,
        kill_after=configuration["kill_timeout"],
        relays_stdin=stdin,
        keeps_output=as_json,
        quiet=quiet,
    )
    watch = Watch(request)
    try:
        asyncio.run(watch.run())
    except ValueError as error:  # a quotation that is never closed
        raise CommandError(str(error), ExitCode.USAGE) from None
    end = _end_of(watch, request)
    if verbose or (not quiet and not end.is_usual):
        say(end.text, "exec")
    if as_json:
        print_json(_facts(watch.process, request))
    return end.code


def _see_that_it_is_a_directory(cwd: Path | None) -> None:
    if cwd is not None and not cwd.is_dir():
        what = "is not a directory" if cwd.exists() else "does not exist"
        raise CommandError(f"--cwd: {cwd} {what}", ExitCode.USAGE)


def _seconds(option: str, text: str) -> float:
    from ...protocols.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}", ExitCode.USAGE) from None


class _End(NamedTuple):
    """What the end of a command means for the caller."""

    code: int
    text: str
    is_usual: bool = False
    """The command ended by itself: what there is to say, it has said."""


def _end_of(watch: Watch, request: Request) -> _End:
    process, fault = watch.process, watch.fault
    if watch.signal is not None:
        how = "interrupted" if watch.signal == signal.SIGINT else f"ended by {signal.Signals(watch.signal).name}"
        return _End(128 + watch.signal, how)
    if fault is not None:
        if fault.errno == errno.EPIPE:
            return _End(ExitCode.READER_GONE, "ended, since nobody reads its output", is_usual=True)
        return _End(ExitCode.INFRASTRUCTURE, f"stdout can not be written: {fault.strerror}: the command was ended")
    if process.timeouted:
        return _End(ExitCode.TIMEOUT, f"timed out after {request.timeout:g} s, and was ended: {request.line}")
    if process.error:
        return _failed_start(process)
    status = process.exit_code
    assert status is not None, "it has ended, and without an error"
    if status < 0:
        return _End(128 - status, f"ended by {_signal_name(status)}: {request.line}", is_usual=True)
    assert process.end_date is not None
    assert process.start_date is not None
    seconds = process.end_date - process.start_date
    return _End(status, f"ended with {status} after {seconds:.3f} s: {request.line}", is_usual=True)


def _failed_start(process: Process) -> _End:
    reason = process.error_reason
    if not isinstance(reason, OSError):
        return _End(ExitCode.INFRASTRUCTURE, f"failed: {reason}")
    name = reason.filename or process.name
    text = f"can not run {name}: {reason.strerror}"
    if reason.errno == errno.ENOENT:
        return _End(ExitCode.NOT_FOUND, text)
    if reason.errno in _SHORTAGE or reason.errno == errno.ECHILD:
        return _End(ExitCode.INFRASTRUCTURE, text)
    return _End(ExitCode.NOT_EXECUTABLE, text)


def _signal_name(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"


def _facts(process: Process, request: Request) -> dict[str, Any]:
    """What --json tells."""
    status, reason = process.exit_code, process.error_reason
    return {
        "command": request.line,
        "exit_code": status if status is not None and status >= 0 else None,
        "signal": _signal_name(status) if status is not None and status < 0 else None,
        "timed_out": process.timeouted,
        "error": None if reason is None else str(reason),
        "started": process.start_date,
        "ended": process.end_date,
        "stdout": process.stdout_bytes,
        "stderr": process.stderr_bytes,
    }
