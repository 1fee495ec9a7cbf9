"""ProcessActor: one run of one process.

Owns: the `ProcessLife` (its rule) and the streams of that run.
Takes: from the I/O actor the facts of `protocols.messages`; from its handle
`KillWanted`, `Write`, `CloseStdin`, `Feed`; its own timers; from a worker `Drained`.
Tells the I/O actor: SignalProcess, WriteInput, CloseInput, PauseOutput,
ResumeOutput, Divert (its handle has sent SpawnProcess). Sets the future of the run when it is over,
and all that is to be told of it has been told to the log.
Dies of: its end. Whatever happens, the future is set.

Lives on the reactor. Handlers run in the worker pool (`HandlerQueue`); with
handlers, the run is over when they have seen all output.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.messages import (
    STDERR,
    STDOUT,
    CloseInput,
    InputFailed,
    OutputEnded,
    OutputRead,
    OutputSpooled,
    PauseOutput,
    ProcessExited,
    ProcessSpawned,
    ResumeOutput,
    SignalProcess,
    SpawnFailed,
    SpawnProcess,
    WriteInput,
)
from ._context import here
from ._handlers import HandlerQueue
from ._io import Divert
from ._process_log import end_takes_long, log_end, log_failed, log_started, log_unstarted
from ._process_rule import (
    BrokenOff,
    Connecting,
    Effect,
    Ended,
    ForceDue,
    InputSent,
    KillWanted,
    Send,
    SetTimer,
    TimeoutDue,
    Withdrawn,
)
from ._process_text import warn, worth_a_warning
from .actor import Actor
from .journal import current_journal
from .shared_input import Feed

if TYPE_CHECKING:
    from ._reactor import Timer
    from ._run import Run
    from ._streams import Stream

__all__ = ["CloseStdin", "ProcessActor", "Write", "call_hook"]

logger = logging.getLogger("regisseur")


class Write:
    """The user writes *data* to stdin; *facts* is what the log is to say of it."""

    __slots__ = ("data", "facts")

    def __init__(self, data: bytes, facts: dict[str, Any] | None) -> None:
        self.data = data
        self.facts = facts


class CloseStdin:
    """The user closes stdin."""

    __slots__ = ()


class Drained:
    """The handlers have caught up."""

    __slots__ = ()


class ProcessActor(Actor):
    """See the module."""

    hidden = True

    def __init__(self, run: Run) -> None:
        super().__init__()
        run.address = self.actor_address
        run.runtime = self.actor_runtime
        self._run = run
        if run.lifecycle or run.streams[STDOUT].handlers or run.streams[STDERR].handlers:
            run.queue = HandlerQueue(self.actor_runtime.pool, self._drained)
        self._queue = run.queue
        self._early: list[Any] | None = []  # what was written before the process was there
        self._timers: list[Timer] = []

    def begin_run(self) -> None:
        """Have the process started. In the thread of who starts it.

        Raises:
            ProtocolError, TypeError: it can not travel to the I/O actor.
        """
        self._tell_io(SpawnProcess(self.actor_address, **self._run.spawn))

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        _HANDLERS[type(message)](self, message)

    def on_failure(self, *error: Any) -> None:
        """Never leave anybody waiting, even when this actor breaks, nor the process to itself."""
        self._run.break_off(error[1])
        self._tell_io(SignalProcess(self.actor_address, signal.SIGKILL, self._run.descendants))

    def on_stop(self) -> None:
        """The runtime has ended before this run did, or before its handlers did."""
        if self._run.life.ended:
            self._run.done.offer(self._run.process)
        else:
            self._run.break_off(pykka.ActorDeadError(self.actor_runtime.why_closed()))

    def on_fork(self) -> None:
        """This is a fork: the run is the business of the parent."""
        self._run.break_off_in_fork(pykka.ActorDeadError(self.actor_runtime.why_closed()))

    # -- facts ---------------------------------------------------------------------

    def _spawned(self, message: ProcessSpawned) -> None:
        run = self._run
        effects = run.life.take(message)
        journal = current_journal()
        if journal is not None:
            log_started(journal, run)
        run.tell_spawned()
        early, self._early = self._early, None
        for request in early or ():
            self.on_receive(request)
        if run.lifecycle:
            self._call_lifecycle("start")
        if effects:
            self._do(effects)

    def _connecting(self, message: Connecting) -> None:
        self._do(self._run.life.take(message))

    def _spawn_failed(self, message: SpawnFailed) -> None:
        run = self._run
        effects = run.life.take(message)
        journal = current_journal()
        if journal is not None:
            log_failed(journal, run, message)
        self._early = None
        if run.unread:
            run.life.take(InputFailed(errno.EPIPE))
        if run.lifecycle:
            self._call_lifecycle("start")
        self._do(effects)

    def _output(self, message: OutputRead) -> None:
        stream = self._run.streams[message.stream]
        data = message.bulk
        stream.append(data)
        handlers = stream.handlers
        if handlers is not None and self._queue is not None:
            full = self._queue.submit(lambda: handlers.feed(data, eof=False), len(data))
            if full and not stream.paused:
                stream.paused = True
                self._tell_io(PauseOutput(self.actor_address, message.stream))
        elif stream.keep and stream.output.spooled and not stream.diverted:
            # Nobody looks at the bytes as they come: let them go straight into the file.
            stream.diverted = True
            self._tell_io(Divert(self.actor_address, message.stream, stream.output))

    def _output_spooled(self, message: OutputSpooled) -> None:
        self._run.streams[message.stream].spooled(message.size)

    def _output_ended(self, message: OutputEnded) -> None:
        self._run.life.take(message)
        self._end_stream(self._run.streams[message.stream], error=message.errno != 0)

    def _end_stream(self, stream: Stream, *, error: bool = False) -> None:
        handlers = stream.handlers
        if handlers is not None and self._queue is not None and not stream.ended:
            self._queue.submit(lambda: handlers.feed(b"", eof=True, error=error))
        stream.end()

    def _drained(self) -> None:
        """In a worker: tell myself, who alone knows which streams were paused, and when."""
        with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped meanwhile
            self.actor_runtime.bus.tell(self.actor_address, Drained())

    def _read_on(self, _: Drained) -> None:
        for number, stream in self._run.streams.items():
            if stream.paused:
                stream.paused = False
                self._tell_io(ResumeOutput(self.actor_address, number))

    def _input_failed(self, message: InputFailed) -> None:
        self._run.life.take(message)
        journal = current_journal()
        if journal is not None:
            reason = os.strerror(message.errno)
            journal.event("process.write-failed", level="warning", actor=self.actor_address, error=reason)

    def _exited(self, message: ProcessExited) -> None:
        life = self._run.life
        effects = life.take(self._judged(message))
        if self._run.unread:
            life.take(InputFailed(errno.EPIPE))
        self._do(effects)

    def _judged(self, message: ProcessExited) -> ProcessExited | BrokenOff:
        """What its end means: that of a connector to another host may tell of the connection (`_remote_actor`)."""
        return message

    def _broken_off(self, message: BrokenOff | Withdrawn) -> None:
        run = self._run
        ran = run.life.pid is not None
        effects = run.life.take(message)
        journal = current_journal()
        if journal is not None and effects and not ran:
            log_unstarted(journal, run, message)
        if run.lifecycle and effects and self._early is not None:
            self._call_lifecycle("start")
        if run.unread:
            run.life.take(InputFailed(errno.EPIPE))
        self._early = None
        self._do(effects)

    # -- wishes and timers -----------------------------------------------------------

    def _kill(self, message: KillWanted) -> None:
        journal = current_journal()
        if journal is not None and not self._run.life.ended:
            journal.event("process.kill", actor=self.actor_address, signal=message.signal)
        self._do(self._run.life.take(message))

    def _timer(self, message: TimeoutDue | ForceDue) -> None:
        effects = self._run.life.take(message)
        journal = current_journal()
        if journal is not None and effects:
            what = "process.timeout" if type(message) is TimeoutDue else "process.force-kill"
            journal.event(what, level="warning", actor=self.actor_address)
        self._do(effects)

    def _write(self, message: Write) -> None:
        if self._early is not None:
            self._early.append(message)
            return
        run = self._run
        run.unread.pop()
        journal = current_journal()
        if journal is not None and message.facts is not None:
            journal.event("process.write", actor=self.actor_address, **message.facts)
        run.life.take(InputSent(len(message.data)))
        self._tell_io(WriteInput(self.actor_address, message.data))

    def _close_stdin(self, message: CloseStdin) -> None:
        if self._early is not None:
            self._early.append(message)
            return
        journal = current_journal()
        if journal is not None:
            journal.event("process.close-stdin", actor=self.actor_address)
        self._tell_io(CloseInput(self.actor_address))

    def _pass_feed(self, message: Feed) -> None:
        if self._early is None:
            self._tell_io(message)
        else:
            self._early.append(message)

    # -- effects ---------------------------------------------------------------------

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Ended:
                self._end_run()
            elif type(effect) is Send:
                self._send_signal(effect.signal)
            elif type(effect) is SetTimer:
                self._timers.append(self.actor_later(effect.delay, effect.event))

    def _send_signal(self, number: int) -> None:
        self._tell_io(SignalProcess(self.actor_address, number, self._run.descendants))

    def _end_run(self) -> None:
        run = self._run
        for timer in self._timers:
            timer.cancel()
        for stream in run.streams.values():
            self._end_stream(stream)
        run.tell_spawned()
        if self._queue is not None:
            self._queue.submit(self._finish)
            if run.lifecycle:
                self._call_lifecycle("end")
        elif current_journal() is not None and end_takes_long(run):
            self.actor_runtime.pool.submit(self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        """Tell everybody that it is over. On the reactor, or in a worker when that takes long."""
        run = self._run
        warning = worth_a_warning(run)
        journal = current_journal()
        try:
            if journal is not None and run.life.pid is not None:
                log_end(journal, run, warning=warning)
            if warning and self.actor_runtime.running:  # else it ends because the program does
                self.actor_runtime.pool.submit(functools.partial(warn, run))
        except Exception:
            logger.exception("the end of %s could not be told", run.process)
        finally:
            if here.on_reactor:
                self.actor_runtime.reactor.call_when_idle(self._tell_done)
            else:
                self._tell_done()

    def _tell_done(self) -> None:
        self.actor_runtime.bus.retire(self)
        self._run.done.offer(self._run.process)

    def _call_lifecycle(self, hook: str) -> None:
        assert self._queue is not None
        for handler in self._run.lifecycle:
            self._queue.submit(functools.partial(call_hook, handler, hook, self._run.process))

    def _tell_io(self, message: Any) -> None:
        runtime = self.actor_runtime
        runtime.bus.tell(runtime.io_address, message)


def call_hook(handler: Any, hook: str, process: Any) -> None:
    """Call a method of a lifecycle handler; what it raises is logged."""
    try:
        getattr(handler, hook)(process)
    except Exception:
        logger.exception("a lifecycle handler of %s failed on %s", process, hook)


_HANDLERS: dict[type, Callable[[ProcessActor, Any], None]] = {
    ProcessSpawned: ProcessActor._spawned,
    SpawnFailed: ProcessActor._spawn_failed,
    OutputRead: ProcessActor._output,
    OutputSpooled: ProcessActor._output_spooled,
    OutputEnded: ProcessActor._output_ended,
    Drained: ProcessActor._read_on,
    InputFailed: ProcessActor._input_failed,
    ProcessExited: ProcessActor._exited,
    KillWanted: ProcessActor._kill,
    TimeoutDue: ProcessActor._timer,
    ForceDue: ProcessActor._timer,
    Write: ProcessActor._write,
    CloseStdin: ProcessActor._close_stdin,
    Feed: ProcessActor._pass_feed,
    Connecting: ProcessActor._connecting,
    BrokenOff: ProcessActor._broken_off,
    Withdrawn: ProcessActor._broken_off,
}
