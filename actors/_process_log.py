"""What the journal is told of a process: all that steered it, and all that it answered.

====================  ==========================================================
event                 fields, besides ``actor``: the run
====================  ==========================================================
process.started       name, argv, child (its pid), at; host, cwd, env, pty,
                      timeout where they were given
process.failed        the same without child, and error: it could not start
process.write         size; text, or sha256 and path where it is long
process.close-stdin
process.write-failed  error: not all could be written
process.kill          signal
process.timeout       it is killed because of its timeout
process.force-kill    SIGKILL had to follow
process.ended         exit_code, at; timeouted, killed, forced_kill, write_error,
                      expect_fail where they are true; error; stdout and stderr
====================  ==========================================================

An output is left out where nothing was written; short, it is text (bytes in base64 where it is no UTF-8); long, it is
size, sha256 and path. Of one that was not kept, size and (where handlers saw it) sha256 are told. What of a kept one
is lost for lack of space is counted as ``lost``.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from ..protocols.messages import STDERR, STDOUT
from ._output_store import INLINE_LIMIT
from ._spool import log_file

if TYPE_CHECKING:
    from ..protocols.messages import SpawnFailed
    from ._process_rule import BrokenOff, Withdrawn
    from ._run import Run
    from ._streams import Stream
    from .journal import Journal

__all__ = ["end_takes_long", "input_facts", "log_end", "log_failed", "log_started", "log_unstarted"]

_FLAGS = ("timeouted", "killed", "forced_kill", "write_error")
_STREAMS = (("stdout", STDOUT), ("stderr", STDERR))


def _facts(run: Run) -> dict[str, Any]:
    """What is said of a process that starts."""
    spawn, process = run.spawn, run.process
    facts: dict[str, Any] = {"name": process.name, "argv": [os.fsdecode(word) for word in spawn["argv"]]}
    if process.host is not None:
        facts["host"] = process.host.address
    if spawn["pty"]:
        facts["pty"] = True
    if run.life.timeout is not None:
        facts["timeout"] = run.life.timeout
    return facts | _given(process)


def _given(process: Any) -> dict[str, Any]:
    """What was given of directory and environment."""
    facts = {}
    if getattr(process, "cwd", None) is not None:
        facts["cwd"] = os.fspath(process.cwd)
    if getattr(process, "env", None) is not None:
        facts["env"] = dict(process.env)
    return facts


def log_started(journal: Journal, run: Run) -> None:
    """It runs."""
    journal.event("process.started", actor=run.address, child=run.life.pid, at=run.life.start_date, **_facts(run))


def log_failed(journal: Journal, run: Run, message: SpawnFailed) -> None:
    """It could not start."""
    reason = f"{message.reason} ({errno.errorcode.get(message.errno, message.errno)})"
    journal.event("process.failed", level="warning", actor=run.address, error=reason, at=message.at, **_facts(run))


def log_unstarted(journal: Journal, run: Run, message: BrokenOff | Withdrawn) -> None:
    """There was no connection to its host, or it was killed before there was one."""
    error = {} if not hasattr(message, "error") else {"level": "warning", "error": str(message.error)}
    journal.event("process.failed", actor=run.address, at=message.at, **error, **_facts(run))


def input_facts(journal: Journal, run: Run, data: bytes) -> dict[str, Any]:
    """What is said of *data* for its stdin. Blocks while it is stored where it is long."""
    if len(data) <= INLINE_LIMIT:
        return {"size": len(data), "text": data}
    return journal.store_output(f"{run.address}.stdin", data)


def end_takes_long(run: Run) -> bool:
    """Whether `log_end` has to store an output, so that a worker should do it."""
    return any(stream.keep and stream.size > INLINE_LIMIT for stream in run.streams.values())


def log_end(journal: Journal, run: Run, *, warning: bool) -> None:
    """It is over. Blocks while outputs are stored that are too large for the log."""
    life = run.life
    facts: dict[str, Any] = {"level": "warning"} if warning else {}
    facts |= {"actor": run.address, "exit_code": life.exit_code, "at": life.end_date}
    for flag in _FLAGS:
        if getattr(life, flag):
            facts[flag] = True
    if run.expect_fail:
        facts["expect_fail"] = True
    if life.error:
        facts["error"] = str(life.error_reason)
    for name, number in _STREAMS:
        stream = run.streams[number]
        if stream.size:
            facts[name] = _output_facts(journal, f"{run.address}.{name}", stream)
    journal.event("process.ended", **facts)


def _output_facts(journal: Journal, name: str, stream: Stream) -> Any:
    output = stream.output
    if not stream.keep:
        digest = stream.handlers.digest if stream.handlers is not None else None
        return {"size": stream.size} if digest is None else {"size": stream.size, "sha256": digest.hexdigest()}
    if output.path is not None:
        facts = log_file(journal, name, output.path)
    elif len(output) > INLINE_LIMIT or output.error is not None:
        facts = journal.store_output(name, output.read())
    else:
        return output.read()
    return facts if output.error is None else {**facts, "error": str(output.error), "lost": output.lost}
