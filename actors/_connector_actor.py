"""ConnectorActor: one run of a process that is a connector of its own to another host (``ssh host command``).

Owns, besides what every process actor does: what the connector has said, and
what it was given, until it is known that the command runs.
Takes, besides: from the I/O actor CommandBegun; from itself `_Enter` and
`_Patience`.

A host that is busy refuses connections (sshd's MaxStartups). That is no failure
of the command, so the connector is started anew, later and later, and nobody
sees anything but a process that takes its time: one start, what was written to
its stdin, and only the output of the last connector. How many are being made
at once, of all hosts, is limited too (`_connect_window`).

It is known that the command runs when the wrapper says so, or the first output
comes. A connector that hides both (it may be any program) is believed to have
connected when the time for that is over.

A signal for the connector would end that, and the command only with the connection. So a signal for a command that
runs elsewhere, and has said so, goes there over another connection; where that can not be had, one that is to end the
command goes to the connector after all. SIGKILL always does.

::

    waiting --let in--> starting --ProcessSpawned--> trying --CommandBegun, output, time over--> connected --> ended
       ^                                               |
       +---- pause <--------- refused by the host -----+---- failed in another way --> ended

The handle, an `SshProcess`, knows how to read what the connector says
(`connection_error`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pykka

from ..protocols.errors import ProtocolError
from ..protocols.messages import (
    STDERR,
    STDOUT,
    CloseInput,
    CommandBegun,
    InputFailed,
    OutputEnded,
    OutputRead,
    ProcessExited,
    ProcessSpawned,
    SpawnFailed,
    SpawnProcess,
    WriteInput,
)
from ..protocols.ssh_failure import classify, is_worth_a_retry
from ._connect_window import connect_window, pause_before
from ._process_actor import ProcessActor
from ._process_rule import BrokenOff, Connecting, Withdrawn
from ._signals import ENDING
from .connection_errors import HostBusyError
from .shared_input import Feed

if TYPE_CHECKING:
    from ._reactor import Timer
    from ._run import Run
    from ._ssh_process import SshProcess

__all__ = ["MOST_INPUT", "ConnectorActor", "Tries"]

logger = logging.getLogger("regisseur")

_CONNECTION_FAILED = 255
"""With this ssh ends when it could not connect, or has lost the connection."""
_TAIL = 8192  # bytes of stderr that are looked at
MOST_INPUT = 16 << 20
"""Bytes for stdin that are kept for a further try."""
_MOST_SAID = 1 << 16  # bytes of stderr that are held back


@dataclass(frozen=True, slots=True)
class Tries:
    """How a connector is tried; see the connection parameters."""

    host: str
    """Its address, as the user gives it."""
    window: int
    retries: int
    timeout: float
    """Seconds."""


class _Enter:
    """A connector may be started as soon as there is room. To itself."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _SignalLost:
    """A signal could not be sent to the command over another connection. To itself."""

    signal: int


class _Patience:
    """The connector has had the time it has for connecting. To itself."""

    __slots__ = ()


class ConnectorActor(ProcessActor):
    """See the module.

    Args:
        tries: None: it is started once, and all that it says is told at once.
    """

    def __init__(self, run: Run, tries: Tries | None = None) -> None:
        super().__init__(run)
        self._tries = tries
        self._stage: Literal["waiting", "starting", "trying", "connected"] = "connected" if tries is None else "waiting"
        self._said = b""  # the end of its stderr, whether the user wants it kept or not
        self._begun = False  # the command has, for certain
        self._held: list[Any] = []  # what the connector has told
        self._held_size = 0
        self._input: list[Any] = []  # what it was given
        self._input_size = 0
        self._signals: list[int] = []  # for the connector that is being started
        self._ending = False  # one of them is to end it
        self._is_elsewhere = False  # the command runs for certain, and not on this machine
        self._ended_by = 0  # the signal that the connector got to end it
        self._is_inside = False  # the window
        self._patience: Timer | None = None
        self._refusals = 0
        self._refusals_in_a_row = 0  # while no other command got to the host
        self._arrivals = 0  # at the host, when it refused

    def begin_run(self) -> None:
        """Have the connector started when its turn comes."""
        if self._tries is None:
            super().begin_run()
        else:
            self.actor_runtime.bus.tell(self.actor_address, _Enter())

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            super().on_receive(message)
        else:
            handler(self, message)

    def on_failure(self, *error: Any) -> None:
        """Leave nobody waiting, also for the place in the window."""
        self._leave_window()
        super().on_failure(*error)

    # -- starting ------------------------------------------------------------------

    def _enter(self, _: _Enter) -> None:
        if self._ending or self._run.life.ended:
            return
        assert self._tries is not None
        connect_window(self.actor_runtime).enter(self._tries.window, self._start_connector)
        if not self._is_inside and not self._run.life.ended:
            self._connecting(Connecting(time.time()))

    def _start_connector(self) -> None:
        self._is_inside = True
        if self._ending or self._run.life.ended:
            self._leave_window()
            return
        assert self._tries is not None
        self._stage = "starting"
        self._said = b""
        try:
            super()._tell_io(SpawnProcess(self.actor_address, **self._run.spawn))
        except (ProtocolError, TypeError) as error:  # it can not travel, see `Run.launch`
            reason = f"{os.strerror(errno.E2BIG)}: {error}"
            self._tell_myself(SpawnFailed(errno.E2BIG, reason, None, time.time()))
        except pykka.ActorDeadError:  # the runtime is being stopped, and breaks this run off
            self._leave_window()
        self._patience = self.actor_later(self._tries.timeout, _Patience())
        self._timers.append(self._patience)

    def _take_spawned(self, message: ProcessSpawned) -> None:
        if self._stage == "starting":
            self._stage = "trying"
        if self._early is not None:
            self._spawned(message)
        else:  # all have been told that it has started
            self._run.life.take(message)
            for given in self._input:
                if isinstance(given, Feed):
                    given.source.begin_anew()
                super()._tell_io(given)
        numbers, self._signals = self._signals, []
        for number in numbers:
            super()._send_signal(number)

    def _take_failure(self, message: SpawnFailed) -> None:
        self._leave_window()
        self._stage = "connected"
        if self._early is None:
            self._broken_off(BrokenOff(message.at, OSError(message.errno, message.reason, message.filename)))
        else:
            self._spawn_failed(message)

    # -- what it says until the command begins -----------------------------------------

    def _take_output(self, message: OutputRead) -> None:
        if message.stream == STDERR:
            self._said = (self._said + message.bulk)[-_TAIL:]
            if self._stage != "connected":
                self._held_size += len(message.bulk)
                self._hold(message)
                if self._held_size > _MOST_SAID:
                    self._let_through()
                return
        elif self._stage != "connected":
            self._take_beginning(None)
        self._output(message)

    def _hold(self, message: Any) -> None:
        if self._stage == "connected":
            super().on_receive(message)
        else:
            self._held.append(message)

    def _take_beginning(self, message: CommandBegun | None) -> None:
        self._begun = True
        self._is_elsewhere = message is not None and not message.is_here
        if self._tries is not None:
            connect_window(self.actor_runtime).arrivals[self._tries.host] += 1
        self._let_through()

    def _let_through(self, _: _Patience | None = None) -> None:
        """It is no longer a try."""
        if self._stage != "trying":
            return
        self._stage = "connected"
        self._leave_window()
        held, self._held = self._held, []
        for message in held:
            super().on_receive(message)
        self._input = []

    def _leave_window(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._is_inside:
            self._is_inside = False
            connect_window(self.actor_runtime).leave()

    # -- the end of a try -----------------------------------------------------------

    def _take_exit(self, message: ProcessExited) -> None:
        if self._stage == "trying" and self._is_refusal(message):
            if self._ending:  # it was to end, and has never begun
                self._held = []
                self._leave_window()
                self._broken_off(Withdrawn(message.at))
                return
            if self._may_try_again():
                self._try_later()
                return
        self._let_through()
        self._exited(message)

    def _is_refusal(self, message: ProcessExited) -> bool:
        if message.status != _CONNECTION_FAILED or message.reported:
            return False
        failure = classify(self._last_words)
        return failure is not None and is_worth_a_retry(failure)

    def _may_try_again(self) -> bool:
        """Whether the host, or the user, has not had enough of it.

        A host that lets others in meanwhile is busy with them: our turn will come.
        """
        assert self._tries is not None
        arrivals = connect_window(self.actor_runtime).arrivals[self._tries.host]
        if arrivals != self._arrivals:
            self._arrivals = arrivals
            self._refusals_in_a_row = 0
        self._refusals += 1
        self._refusals_in_a_row += 1
        return self._refusals_in_a_row <= self._tries.retries and self._input_size <= MOST_INPUT

    def _try_later(self) -> None:
        self._stage = "waiting"
        self._held = []
        self._held_size = 0
        self._leave_window()
        self._timers.append(self.actor_later(pause_before(self._refusals), _Enter()))

    def _judged(self, message: ProcessExited) -> ProcessExited | BrokenOff:
        run = self._run
        if message.status != _CONNECTION_FAILED or message.reported:
            return message
        if self._ended_by:
            return replace(message, status=-self._ended_by)
        ran = self._begun or run.streams[STDOUT].size > 0
        error = run.process.connection_error(self._last_words, ran=ran)  # type: ignore[attr-defined]  # an SshProcess
        return message if error is None else BrokenOff(message.at, self._explained(error))

    @property
    def _last_words(self) -> str:
        return self._said.decode(errors="replace")

    def _explained(self, error: BaseException) -> BaseException:
        """Say why it was not tried again, where that is our doing."""
        if isinstance(error, HostBusyError) and self._input_size > MOST_INPUT:
            return HostBusyError(error.host, error.said, too_much_input=MOST_INPUT)
        return error

    # -- to the connector ------------------------------------------------------------

    def _send_signal(self, number: int) -> None:
        if self._stage in ("trying", "connected"):
            self._ending = self._ending or number in ENDING
            if self._is_elsewhere and number != signal.SIGKILL:
                self._signal_there(number)
            else:
                self._signal_connector(number)
            return
        if self._stage == "starting" or number not in ENDING:
            self._signals.append(number)
        elif not self._ending:
            self._tell_myself(Withdrawn(time.time()))
        self._ending = self._ending or number in ENDING

    def _signal_connector(self, number: int) -> None:
        if number in ENDING:
            self._ended_by = number
        super()._send_signal(number)

    def _signal_there(self, number: int) -> None:
        process: SshProcess = self._run.process  # type: ignore[assignment]
        sender = process.signal_there(number)
        if sender is None:
            self._signal_connector(number)
            return

        def look(_: object) -> None:
            if sender.exit_code != 0 and not self._run.life.ended:
                self._tell_myself(_SignalLost(number))

        sender.future.add_done_callback(look)

    def _take_signal_lost(self, message: _SignalLost) -> None:
        if message.signal in ENDING:
            self._signal_connector(message.signal)
        else:
            logger.warning("signal %d could not be sent to %s", message.signal, self._run.process)

    def _tell_io(self, message: Any) -> None:
        if self._stage != "connected" and isinstance(message, (WriteInput, CloseInput, Feed)):
            self._keep(message)
            if self._stage != "trying":
                return  # it is given when there is a connector
        super()._tell_io(message)

    def _keep(self, message: WriteInput | CloseInput | Feed) -> None:
        if isinstance(message, WriteInput):
            self._input_size += len(message.bulk)
        if self._input_size <= MOST_INPUT:
            self._input.append(message)
            return
        self._input = []
        if self._stage == "waiting":  # a further try could no longer be given all
            self._ending = True
            error = HostBusyError(self._run.process.host.address, self._last_words, too_much_input=MOST_INPUT)  # type: ignore[union-attr]  # it has one
            self._tell_myself(BrokenOff(time.time(), error))

    def _tell_myself(self, message: Any) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_runtime.bus.tell(self.actor_address, message)


_HANDLERS: dict[type, Callable[[Any, Any], None]] = {
    _Enter: ConnectorActor._enter,
    _Patience: ConnectorActor._let_through,
    _SignalLost: ConnectorActor._take_signal_lost,
    CommandBegun: ConnectorActor._take_beginning,
    InputFailed: ConnectorActor._hold,
    OutputEnded: ConnectorActor._hold,
    OutputRead: ConnectorActor._take_output,
    ProcessExited: ConnectorActor._take_exit,
    ProcessSpawned: ConnectorActor._take_spawned,
    SpawnFailed: ConnectorActor._take_failure,
}
