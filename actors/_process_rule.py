"""The life of a process as a pure rule: event in, effects out.

No clock, no I/O, no thread: the process actor feeds it the messages of the
I/O actor, the wishes of the user and the timers that came due, and carries out
the effects. The live run, the replay and the property tests use the same rule.

::

    new --Start--> starting --ProcessSpawned--> running --ProcessExited, BrokenOff--> ended
                     | |                           ^ |
                     | +--SpawnFailed--> ended     | +-- KillWanted, TimeoutDue, ForceDue
                     |                             |
                     +--Connecting--> connecting --+--BrokenOff, Withdrawn--> ended

Only a process on another host is ever connecting: it may be killed, and time out, while its connection is being made.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..protocols.messages import (
    STDOUT,
    InputFailed,
    OutputEnded,
    ProcessExited,
    ProcessSpawned,
    SpawnFailed,
)

__all__ = [
    "BrokenOff",
    "Connecting",
    "Effect",
    "Ended",
    "ForceDue",
    "InputSent",
    "KillWanted",
    "ProcessLife",
    "Send",
    "SetTimer",
    "Start",
    "TimeoutDue",
    "Withdrawn",
]


@dataclass(frozen=True, slots=True)
class Start:
    """The user wants it started."""

    at: float


@dataclass(frozen=True, slots=True)
class Connecting:
    """A connection to its host is sought."""

    at: float


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """There is no connection to its host, or no longer: how it ended, if it has begun, will not be known."""

    at: float
    error: BaseException


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """It was killed before it began."""

    at: float


@dataclass(frozen=True, slots=True)
class KillWanted:
    """The user wants a signal sent."""

    signal: int
    force_after: float | None
    """Seconds until SIGKILL follows; None: never."""
    sent: bool = False
    """It was sent to a process that runs already: nothing is left to do but to know of it."""


@dataclass(frozen=True, slots=True)
class InputSent:
    """*size* bytes for stdin were given to the I/O actor."""

    size: int


@dataclass(frozen=True, slots=True)
class TimeoutDue:
    """The process has run as long as it may."""


@dataclass(frozen=True, slots=True)
class ForceDue:
    """It has been asked to end, and still runs."""


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send *signal* to the process."""

    signal: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Effect: let *event* happen after *delay* seconds."""

    delay: float
    event: TimeoutDue | ForceDue


@dataclass(frozen=True, slots=True)
class Ended:
    """Effect: it is over; tell everybody."""


Effect = Send | SetTimer | Ended
_NONE: list[Effect] = []
_ENDED: list[Effect] = [Ended()]


class ProcessLife:
    """What is known of one run of a process; only `take` changes it.

    The attributes are those that `Process` shows, see there.

    Args:
        timeout: seconds from the start until it is killed; None: never.
        kill_timeout: seconds from the timeout's SIGTERM to SIGKILL; None: never.
    """

    __slots__ = (
        "end_date",
        "ended",
        "error",
        "error_reason",
        "exit_code",
        "forced_kill",
        "input_sent",
        "kill_timeout",
        "killed",
        "kills_wanted",
        "last_signal",
        "pid",
        "start_date",
        "started",
        "state",
        "stderr_ioerror",
        "stdout_ioerror",
        "timeout",
        "timeout_date",
        "timeouted",
        "write_error",
    )

    def __init__(self, timeout: float | None = None, kill_timeout: float | None = None) -> None:
        self.state: Literal["new", "starting", "connecting", "running", "ended"] = "new"
        self.timeout = timeout
        self.kill_timeout = kill_timeout
        self.started = False
        self.ended = False
        self.start_date: float | None = None
        self.end_date: float | None = None
        self.timeout_date: float | None = None
        self.pid: int | None = None
        self.error = False
        self.error_reason: BaseException | str | None = None
        self.exit_code: int | None = None
        self.timeouted = False
        self.killed = False
        self.forced_kill = False
        self.write_error = False
        self.stdout_ioerror = False
        self.stderr_ioerror = False
        self.input_sent = 0
        """Bytes for stdin that were given to the I/O actor."""
        self.kills_wanted: tuple[KillWanted, ...] = ()
        """What came before the process was there, in order."""
        self.last_signal = 0

    def take(self, event: Any) -> list[Effect]:
        """Let *event* happen, and return what is to be done about it.

        Events that come too late, such as a timer after the end, change nothing.
        """
        return _RULES[type(event)](self, event)

    def _start(self, event: Start) -> list[Effect]:
        if self.state == "new":
            self.state = "starting"
            self.started = True
            self.start_date = event.at
        return _NONE

    def _connecting(self, event: Connecting) -> list[Effect]:
        if self.state != "starting":
            return _NONE
        self.state = "connecting"
        return self._begin(event.at)

    def _begin(self, at: float) -> list[Effect]:
        """From now on its time runs, and it can be killed."""
        effects: list[Effect] = []
        if self.timeout is not None:
            self.timeout_date = at + self.timeout
            effects.append(SetTimer(self.timeout, TimeoutDue()))
        wanted, self.kills_wanted = self.kills_wanted, ()
        for kill in wanted:
            effects += self._kill(kill)
        return effects

    def _spawned(self, event: ProcessSpawned) -> list[Effect]:
        if self.state == "running":  # a connector was refused, and is followed by another
            self.pid = event.pid
        if self.state not in ("starting", "connecting"):
            return _NONE
        before, self.state = self.state, "running"
        self.pid = event.pid
        if before == "connecting":
            return _NONE
        self.start_date = event.at
        return self._begin(event.at)

    def _broken_off(self, event: BrokenOff) -> list[Effect]:
        if self.state == "ended":
            return _NONE
        self.error = True
        self.error_reason = event.error
        return self._end(event.at)

    def _withdrawn(self, event: Withdrawn) -> list[Effect]:
        if self.state == "ended":
            return _NONE
        if self.killed:  # it ends as one does that has just begun
            self.exit_code = -self.last_signal
        return self._end(event.at)

    def _spawn_failed(self, event: SpawnFailed) -> list[Effect]:
        if self.state == "ended":
            return _NONE
        if event.filename is None:
            self.error_reason = OSError(event.errno, event.reason)
        else:
            self.error_reason = OSError(event.errno, event.reason, event.filename)
        self.error = True
        return self._end(event.at)

    def _kill(self, event: KillWanted) -> list[Effect]:
        if self.state == "starting":
            self.kills_wanted += (event,)
            return _NONE
        if self.state not in ("connecting", "running"):
            return _NONE
        self.killed = True
        self.last_signal = event.signal
        effects: list[Effect] = [] if event.sent else [Send(event.signal)]
        if event.force_after is not None and event.signal != signal.SIGKILL:
            effects.append(SetTimer(event.force_after, ForceDue()))
        return effects

    def _timeout(self, event: TimeoutDue) -> list[Effect]:
        if self.state not in ("connecting", "running"):
            return _NONE
        self.timeouted = True
        return self._kill(KillWanted(signal.SIGTERM, self.kill_timeout))

    def _force(self, event: ForceDue) -> list[Effect]:
        if self.state not in ("connecting", "running") or self.forced_kill:
            return _NONE
        self.killed = self.forced_kill = True
        self.last_signal = signal.SIGKILL
        return [Send(signal.SIGKILL)]

    def _output_ended(self, event: OutputEnded) -> list[Effect]:
        if event.errno:
            if event.stream == STDOUT:
                self.stdout_ioerror = True
            else:
                self.stderr_ioerror = True
        return _NONE

    def _input_sent(self, event: InputSent) -> list[Effect]:
        self.input_sent += event.size
        return _NONE

    def _input_failed(self, event: InputFailed) -> list[Effect]:
        self.write_error = True
        return _NONE

    def _exited(self, event: ProcessExited) -> list[Effect]:
        if self.state == "ended":
            return _NONE
        self.exit_code = event.status
        if event.status is None:
            self.error_reason = OSError(
                errno.ECHILD, f"the exit status was taken by other code of this program ({os.strerror(errno.ECHILD)})"
            )
            self.error = True
        if event.written < self.input_sent:
            self.write_error = True
        return self._end(event.at)

    def _end(self, at: float) -> list[Effect]:
        self.started = True
        if self.start_date is None:  # told of by somebody who was not told to start it
            self.start_date = at
        self.kills_wanted = ()
        self.state = "ended"
        self.end_date = at
        self.ended = True  # the last of all: who sees it, in any thread, sees the rest
        return _ENDED


_RULES: dict[type, Callable[[ProcessLife, Any], list[Effect]]] = {
    Start: ProcessLife._start,
    Connecting: ProcessLife._connecting,
    BrokenOff: ProcessLife._broken_off,
    Withdrawn: ProcessLife._withdrawn,
    ProcessSpawned: ProcessLife._spawned,
    SpawnFailed: ProcessLife._spawn_failed,
    KillWanted: ProcessLife._kill,
    TimeoutDue: ProcessLife._timeout,
    ForceDue: ProcessLife._force,
    OutputEnded: ProcessLife._output_ended,
    InputSent: ProcessLife._input_sent,
    InputFailed: ProcessLife._input_failed,
    ProcessExited: ProcessLife._exited,
}
