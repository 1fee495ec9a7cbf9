"""What became of a command on one host, and of all together: the line at the end, and the exit code."""

from __future__ import annotations

import signal
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ...protocols.gathering import SHORT_NAME, with_placeholders
from ...protocols.substitutions import HOST
from ._errors import ExitCode

if TYPE_CHECKING:
    from ...actors.process import Process

__all__ = ["Outcome", "Status", "Tally", "host_facts", "outcome_of", "signal_name"]

_SSH_FAILED = 255
"""With -S an unreachable host counts as this: so ssh, pdsh and clush tell it."""


class Status(Enum):
    """How it went; in the order in which they are told."""

    OK = "ok"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    LOST = "lost"
    """The connection broke while the command ran."""
    TIMED_OUT = "timed out"
    KILLED = "killed"
    """By us, since the user wanted an end."""
    NOT_STARTED = "not started"


class Outcome(NamedTuple):
    """What became of the command on one host."""

    host: str
    status: Status
    text: str = ""
    """How it ended; the same for hosts on which it ended in the same way."""
    code: int = 0
    """Its part in the exit code with -S."""
    more: tuple[str, ...] = ()
    """Further texts, if one does not say it all."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them."""
        return (self.text, *self.more)


def outcome_of(process: Process, timeout: float | None, *, stopped: bool = False) -> Outcome:
    """Return what became of *process*, which runs no more.

    Args:
        timeout: its limit, in seconds.
        stopped: all were to end.
    """
    from ...actors.connection_errors import CommandLostError, ConnectionLostError

    assert process.host is not None
    host = process.host.address
    if not process.started:
        return Outcome(host, Status.NOT_STARTED, "not started")
    if process.running:
        return Outcome(host, Status.KILLED, "does not answer: it was left alone, and should end by itself", _SSH_FAILED)
    if process.timeouted:
        assert timeout is not None
        return Outcome(host, Status.TIMED_OUT, f"timed out after {timeout:g} s, and was ended", ExitCode.TIMEOUT)
    if process.killed and stopped:
        return Outcome(host, Status.KILLED, "killed")
    if process.error:
        reason = process.error_reason
        if isinstance(reason, (CommandLostError, ConnectionLostError)):
            return Outcome(host, Status.LOST, _reason(host, reason), _SSH_FAILED)
        return Outcome(host, Status.UNREACHABLE, _reason(host, reason), _SSH_FAILED)
    status = process.exit_code
    assert status is not None, "it has ended, and without an error"
    if status == 0:
        return Outcome(host, Status.OK, "ended with 0")
    if status < 0:
        return Outcome(host, Status.FAILED, f"ended by {signal_name(status)}", 128 - status)
    return Outcome(host, Status.FAILED, f"ended with {status}", status)


def signal_name(status: int) -> str:
    """Return the name of the signal that ended a process with the negative *status*."""
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"


def host_facts(process: Process, outcome: Outcome) -> dict[str, Any]:
    """Return what --json tells of one host."""
    status, reason = process.exit_code, process.error_reason
    return {
        "host": outcome.host,
        "status": outcome.status.value,
        "exit_code": status if status is not None and status >= 0 else None,
        "signal": signal_name(status) if status is not None and status < 0 else None,
        "error": None if reason is None else str(reason),
        "started": process.start_date,
        "ended": process.end_date,
        "stdout": process.stdout_bytes,
        "stderr": process.stderr_bytes,
    }


def _reason(host: str, error: BaseException | str | None) -> str:
    """Return *error* as text, without the name of its host, which stands elsewhere."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename} can not be started: {error.strerror}" if error.filename else error.strerror
    return with_placeholders(host, text.removeprefix(f"{host}: "))


class Tally:
    """What became of all of them."""

    def __init__(self) -> None:
        self._counts: Counter[Status] = Counter()
        self._bad: dict[tuple[Status, str], list[str]] = {}
        self._largest = 0

    def add(self, outcome: Outcome) -> None:
        """Count one in."""
        self._counts[outcome.status] += 1
        self._largest = max(self._largest, outcome.code)
        if outcome.status is not Status.OK:
            for text in outcome.texts:
                self._bad.setdefault((outcome.status, text), []).append(outcome.host)

    @property
    def done(self) -> int:
        """How many have ended."""
        return self._counts.total()

    @property
    def bad(self) -> int:
        """How many of them did not end well."""
        return self._counts.total() - self._counts[Status.OK]

    def failures(self) -> list[str]:
        """Return a line for each way in which it did not go well: the hosts, folded, and how it ended there."""
        from ...actors.nodeset import fold

        order = list(Status)
        found = sorted(self._bad.items(), key=lambda item: (order.index(item[0][0]), -len(item[1]), min(item[1])))
        lines = []
        for (_, text), hosts in found:
            shown = text if len(hosts) > 1 else text.replace(HOST, hosts[0]).replace(SHORT_NAME, hosts[0].split(".")[0])
            lines.append(f"{fold(hosts)}: {shown}")
        return lines

    def summary(self) -> str:
        """Return how many ended in which way."""
        counts = [f"{self._counts[status]} {status.value}" for status in Status if self._counts[status]]
        return ", ".join(counts)

    def facts(self) -> dict[str, Any]:
        """Return the same for programs; all ways are there."""
        return {status.value.replace(" ", "_"): self._counts[status] for status in Status}

    def exit_code(self, *, largest: bool) -> int:
        """Return the exit code.

        Args:
            largest: the largest of all commands (-S), rather than one that says what went wrong.
        """
        if largest:
            return self._largest
        if self._counts[Status.UNREACHABLE] or self._counts[Status.LOST]:
            return ExitCode.INFRASTRUCTURE
        if self._counts[Status.TIMED_OUT]:
            return ExitCode.TIMEOUT
        return ExitCode.FAILED if self.bad else ExitCode.OK
