"""A command of ``exec`` on this machine: run it, and say what its end means for the caller.

`_watch` follows it while it runs.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from ._console import print_json, say
from ._errors import CommandError, ExitCode
from ._outcome import signal_name
from ._watch import Request, Watch

if TYPE_CHECKING:
    from ...actors.process import Process

__all__ = ["run_here"]

_SHORTAGE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def run_here(request: Request, *, as_json: bool, verbose: bool) -> int:
    """Run it to its end, and return the exit code.

    Raises:
        CommandError: the command can not be split into words.
    """
    watch = Watch(request)
    try:
        asyncio.run(watch.run())
    except ValueError as error:  # a quotation that is never closed
        raise CommandError(str(error), ExitCode.USAGE) from None
    end = _end_of(watch, request)
    if verbose or (not request.quiet and not end.is_usual):
        say(end.text, "exec")
    if as_json:
        print_json(_facts(watch.process, request))
    return end.code


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
        return _End(128 - status, f"ended by {signal_name(status)}: {request.line}", is_usual=True)
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


def _facts(process: Process, request: Request) -> dict[str, Any]:
    """What --json tells."""
    status, reason = process.exit_code, process.error_reason
    return {
        "command": request.line,
        "exit_code": status if status is not None and status >= 0 else None,
        "signal": signal_name(status) if status is not None and status < 0 else None,
        "timed_out": process.timeouted,
        "error": None if reason is None else str(reason),
        "started": process.start_date,
        "ended": process.end_date,
        "stdout": process.stdout_bytes,
        "stderr": process.stderr_bytes,
    }
