"""ProcessActor: one run of one process.

Owns: the `ProcessLife` (its rule) and the streams of that run.
Takes: from the I/O actor the facts of `protocols.messages`; from its handle
`KillWanted`, `Write`, `CloseStdin`; its own timers.
Tells the I/O actor: SpawnProcess, SignalProcess, WriteInput, CloseInput,
PauseOutput, ResumeOutput, Divert. Sets the future of the run when it is over.
Dies of: its end. Whatever happens, the future is set.

Lives on the reactor. Handlers run in the worker pool (`HandlerQueue`); with
handlers, the run is over when they have seen all output.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
from ._handlers import HandlerQueue
from ._io import Divert
from ._process_rule import Ended, ForceDue, KillWanted, Send, SetTimer, TimeoutDue
from .actor import Actor
from .journal import current_journal

if TYPE_CHECKING:
    from ._reactor import Timer
    from ._run import Run
    from ._streams import Stream

__all__ = ["CloseStdin", "ProcessActor", "Write"]

_INLINE = 4096  # bytes of output that go into the log itself


class Write:
    """The user writes *data* to stdin."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class CloseStdin:
    """The user closes stdin."""

    __slots__ = ()


class ProcessActor(Actor):
    """See the module."""

    hidden = True

    def __init__(self, run: Run) -> None:
        super().__init__()
        run.address = self.actor_address
        self._run = run
        self._queue: HandlerQueue | None = None
        self._early: list[Any] | None = []  # what was written before the process was there
        self._timers: list[Timer] = []
        self._over = False

    def on_start(self) -> None:
        """Have the process spawned."""
        run = self._run
        if run.lifecycle or any(s.handlers for s in run.streams.values()):
            self._queue = HandlerQueue(self.actor_runtime.pool, self._drained)
        self._tell_io(SpawnProcess(self.actor_address, **run.spawn))

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        _HANDLERS[type(message)](self, message)

    def on_stop(self) -> None:
        """Never leave anybody waiting: not when the runtime stops, nor when this actor breaks."""
        self._run.spawned.offer(None)
        self._run.done.offer(self._run.process)

    def on_failure(self, *_: Any) -> None:
        """See `on_stop`."""
        self.on_stop()

    # -- facts ---------------------------------------------------------------------

    def _spawned(self, message: ProcessSpawned) -> None:
        run = self._run
        effects = run.life.take(message)
        journal = current_journal()
        if journal is not None:
            journal.event(
                "process.started", actor=self.actor_address, child=message.pid, at=message.at, **self._facts()
            )
        run.spawned.offer(message.pid)
        early, self._early = self._early, None
        for request in early or ():
            self.on_receive(request)
        if self._queue is not None and run.lifecycle:
            self._call_lifecycle("start")
        if effects:
            self._do(effects)

    def _spawn_failed(self, message: SpawnFailed) -> None:
        run = self._run
        journal = current_journal()
        if journal is not None:
            reason = f"{message.reason} ({errno.errorcode.get(message.errno, message.errno)})"
            journal.event(
                "process.failed",
                level="warning",
                actor=self.actor_address,
                error=reason,
                at=message.at,
                **self._facts(),
            )
        self._early = None
        if self._queue is not None and run.lifecycle:
            self._call_lifecycle("start")
        self._do(run.life.take(message))

    def _facts(self) -> dict[str, Any]:
        """What the log says of a process that starts."""
        spawn, process = self._run.spawn, self._run.process
        facts: dict[str, Any] = {"name": process.name, "argv": [os.fsdecode(a) for a in spawn["argv"]]}
        if process.host is not None:
            facts["host"] = process.host.address
        for key in ("cwd", "pty"):
            if spawn.get(key):
                facts[key] = spawn[key] if key == "pty" else os.fsdecode(spawn[key])
        if spawn.get("env"):
            facts["env"] = {os.fsdecode(k): os.fsdecode(v) for k, v in spawn["env"].items()}
        return facts

    def _output(self, message: OutputRead) -> None:
        stream = self._run.streams[message.stream]
        data = message.bulk
        stream.append(data)
        handlers = stream.handlers
        if handlers is not None and self._queue is not None:
            if self._queue.submit(lambda: handlers.feed(data, eof=False), len(data)):
                self._tell_io(PauseOutput(self.actor_address, message.stream))
        elif stream.keep and stream.output.spooled:
            # Nobody looks at the bytes as they come: let the kernel move them into the file.
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
        """The handlers have caught up (called in a worker): read on."""
        for number in self._run.streams:
            self._tell_io(ResumeOutput(self.actor_address, number))

    def _input_failed(self, message: InputFailed) -> None:
        self._run.life.take(message)
        journal = current_journal()
        if journal is not None:
            reason = os.strerror(message.errno)
            journal.event("process.write-failed", level="warning", actor=self.actor_address, error=reason)

    def _exited(self, message: ProcessExited) -> None:
        self._do(self._run.life.take(message))

    # -- wishes and timers -----------------------------------------------------------

    def _kill(self, message: KillWanted) -> None:
        journal = current_journal()
        if journal is not None and self._run.life.state != "ended":
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
        journal = current_journal()
        if journal is not None:
            text = message.data[:_INLINE].decode(errors="backslashreplace")
            journal.event("process.write", actor=self.actor_address, size=len(message.data), text=text)
        self._tell_io(WriteInput(self.actor_address, message.data))

    def _close_stdin(self, message: CloseStdin) -> None:
        if self._early is not None:
            self._early.append(message)
        else:
            self._tell_io(CloseInput(self.actor_address))

    # -- effects ---------------------------------------------------------------------

    def _do(self, effects: list[Any]) -> None:
        for effect in effects:
            if type(effect) is Ended:
                self._end_run()
            elif type(effect) is Send:
                self._tell_io(SignalProcess(self.actor_address, effect.signal, self._run.descendants))
            elif type(effect) is SetTimer:
                self._timers.append(self.actor_later(effect.delay, effect.event))

    def _end_run(self) -> None:
        run = self._run
        for timer in self._timers:
            timer.cancel()
        for stream in run.streams.values():
            self._end_stream(stream)
        run.spawned.offer(run.life.pid)
        if self._queue is None:
            self._finish()
        else:
            self._queue.submit(self._finish)
            if run.lifecycle:
                self._call_lifecycle("end")
        self.actor_runtime.bus.retire(self)

    def _finish(self) -> None:
        """Tell everybody that it is over. On the reactor, or in a worker when the handlers have seen all."""
        run = self._run
        journal = current_journal()
        if journal is not None and not run.life.error:
            self._log_end(run, journal)
        run.done.offer(run.process)
        if run.process._worth_a_warning() and self.actor_runtime.running:  # else it ends because the program does
            self.actor_runtime.pool.submit(run.process._warn)

    def _log_end(self, run: Run, journal: Any) -> None:
        life = run.life
        facts: dict[str, Any] = {"exit_code": life.exit_code, "at": life.end_date}
        for flag in ("timeouted", "killed", "forced_kill", "write_error"):
            if getattr(life, flag):
                facts[flag] = True
        large = []
        for name, stream in (("stdout", run.streams[STDOUT]), ("stderr", run.streams[STDERR])):
            if not stream.keep or not stream.size:
                if stream.size:
                    facts[name] = {"size": stream.size}
            elif stream.size <= _INLINE:
                facts[name] = stream.output.text()
            else:
                large.append((name, stream))
        if large:
            self.actor_runtime.pool.submit(lambda: self._log_large(journal, facts, large))
        else:
            journal.event("process.ended", actor=self.actor_address, **facts)

    def _log_large(self, journal: Any, facts: dict[str, Any], large: list[tuple[str, Stream]]) -> None:
        """Store outputs that are too large for the log, then tell of the end. In a worker."""
        for name, stream in large:
            output = stream.output
            source = output.path if output.spooled else output.read()
            facts[name] = journal.store_output(f"{self.actor_address}.{name}", source)
        journal.event("process.ended", actor=self.actor_address, **facts)

    def _call_lifecycle(self, hook: str) -> None:
        assert self._queue is not None
        for handler in self._run.lifecycle:
            self._queue.submit(lambda h=handler: getattr(h, hook)(self._run.process))  # type: ignore[misc]  # binds early

    def _tell_io(self, message: Any) -> None:
        runtime = self.actor_runtime
        runtime.bus.tell(runtime.io_address, message)


_HANDLERS: dict[type, Callable[[ProcessActor, Any], None]] = {
    ProcessSpawned: ProcessActor._spawned,
    SpawnFailed: ProcessActor._spawn_failed,
    OutputRead: ProcessActor._output,
    OutputSpooled: ProcessActor._output_spooled,
    OutputEnded: ProcessActor._output_ended,
    InputFailed: ProcessActor._input_failed,
    ProcessExited: ProcessActor._exited,
    KillWanted: ProcessActor._kill,
    TimeoutDue: ProcessActor._timer,
    ForceDue: ProcessActor._timer,
    Write: ProcessActor._write,
    CloseStdin: ProcessActor._close_stdin,
}
