"""A process as text: for people, in logs and on the prompt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..protocols.command import str_from_cmdline
from ..protocols.messages import STDERR, STDOUT
from .config import configuration
from .log import style
from .time_utils import format_date
from .utils import compact_output

if TYPE_CHECKING:
    from ._process_base import ProcessBase
    from ._run import Run
    from ._streams import Stream

__all__ = ["FLAGS", "describe", "dump", "given_arguments", "warn", "worth_a_warning"]

logger = logging.getLogger("regisseur")

FLAGS = ("exit_code", "timeout", "error", "expect_fail", "write_error")
"""What may go wrong; for each there is an argument ignore_... and one nolog_..."""


def given_arguments(process: ProcessBase, defaults: dict[str, Any]) -> list[str]:
    """The arguments that are not the *defaults*, as they would be written in a call."""
    given = [(name, getattr(process, name)) for name in defaults]
    return [f"{name}={value!r}" for name, value in given if value != defaults[name]]


def describe(run: Run) -> str:
    """One run of a process in one line."""
    process, life = run.process, run.life
    own_cmd = process._own_cmd()
    command = style.command(repr(str_from_cmdline(own_cmd)))
    facts = [f"name={process.name}"]
    if process.host is not None:
        facts.append(f"host={style.host(process.host.address)}")
    facts += [f"started={life.started}", f"start_date={format_date(life.start_date)}"]
    facts += [f"ended={life.ended}", f"end_date={format_date(life.end_date)}"]
    facts += [f"{key}={getattr(life, key)}" for key in ("killed", "forced_kill", "error", "error_reason", "timeouted")]
    facts += [f"expect_fail={run.expect_fail}", f"write_error={life.write_error}"]
    for name, number in (("stdout", STDOUT), ("stderr", STDERR)):
        error = run.streams[number].output.error
        if error is not None:
            facts.append(f"{name}_error={error}")
    facts += [f"exit_code={life.exit_code}", f"ok={process._ok(run)}", f"pid={life.pid}"]
    if own_cmd is not process.cmd:
        facts.append(f"real cmd={str_from_cmdline(process.cmd)!r}")
    return f"<{style.object_repr(type(process).__name__)}({command}, {', '.join(facts)})>"


def dump(run: Run) -> str:
    """`describe`, and both outputs, as far as they are shown by the process."""
    process = run.process
    parts = [describe(run)]
    for name, number in (("stdout", STDOUT), ("stderr", STDERR)):
        if getattr(process, f"default_{name}_handler"):
            parts.append(f"{style.emph(name + ':')}\n{_compact(run.streams[number])}")
    return "\n".join(parts)


def _compact(stream: Stream) -> str:
    output = stream.output
    threshold = configuration["compact_output_threshold"]
    try:
        if threshold <= 0 or len(output) <= 4 * threshold:  # a character has at most 4 bytes
            return compact_output(output.text())
        half = 2 * threshold + 4
        return compact_output((output.head(half) + output.tail(half)).decode(errors="replace"))
    except OSError as error:
        return f"({error})"


def worth_a_warning(run: Run) -> bool:
    """Whether something went wrong that the process does not say to pass over in silence."""
    life, streams = run.life, run.streams
    lost = streams[STDOUT].output.error is not None or streams[STDERR].output.error is not None
    if life.exit_code == 0 and not (life.timeouted or life.write_error or run.expect_fail or lost):
        return False  # the usual case
    process = run.process
    return bool(
        lost
        or (life.error and not process.nolog_error)
        or (life.timeouted and not process.nolog_timeout)
        or (run.expect_fail and not process.nolog_expect_fail)
        or (life.write_error and not process.nolog_write_error)
        or (life.exit_code not in (0, None) and not life.killed and not process.nolog_exit_code)
    )


def warn(run: Run) -> None:
    """Log how it ended. In a worker: whoever reads our stdout may be slow."""
    logger.warning("%s", style.emph("terminated: ") + dump(run))
