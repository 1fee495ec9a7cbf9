"""The I/O actor: starts all child processes of a runtime and multiplexes their pipes.

Owns: every child, its pipes and its pidfd; the guardian. No other part of the
program starts a process that belongs to an experiment.
Takes: SpawnProcess, SignalProcess, WriteInput, CloseInput, PauseOutput,
ResumeOutput, `Divert`, `Redirect`, `Feed`, AttachSession, DetachSession.
Tells the process actor: ProcessSpawned, SpawnFailed, CommandBegun, OutputRead, OutputSpooled,
OutputEnded, InputFailed, ProcessExited; and, when it ends all of them by itself,
`KillWanted` and `ForceDue`.
Lives on the reactor and never blocks, but for the moment in which a child is
made (the C library suspends the caller until the child runs its program; the
interpreter lock is free meanwhile).
Does not die: all processes hang on it, so what goes wrong with one is logged.

A process has ended when its pidfd says so; what is left in its pipes then is
read, and the pipes are closed, whoever else may hold them. When descriptors
run out, it makes room (`_room`); when that is not enough, or processes run
out, starts wait until another process has ended: that is not a failure of the
command.

Read on: `_child` (what it knows of each), `_maker` (how they are made), `_signals`, `_missed` (how they are ended),
`_guard`, `_inputs` (what they read), `_sessions` (commands on other hosts), `_lost` (what lost its connection to this
machine).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..protocols.messages import (
    STDOUT,
    AttachSession,
    CloseInput,
    CommandBegun,
    DetachSession,
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
from ._child import CLOSED, PARKED, RUNNING, Child
from ._context import here
from ._guard import Guard
from ._inputs import Inputs
from ._lost import Lost
from ._maker import Maker
from ._missed import Missed
from ._process_rule import ForceDue, KillWanted
from ._reactor import READABLE, WRITABLE
from ._redirect import Redirect
from ._room import Room
from ._sessions import AttachNative, Sessions
from ._signals import Signals, signal_sessions
from .actor import Actor
from .shared_input import Feed

if TYPE_CHECKING:
    from ._output import Output
    from ._reactor import Reactor
    from .runtime import Runtime

__all__ = ["Divert", "IoActor"]

logger = logging.getLogger("regisseur.io")

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_STARTS_PER_TURN = 2
_RETRY = 0.5  # seconds until the next try after a shortage: others than we may have ended something
_LAST_READS = 64  # chunks read of a stream after the exit; a grandchild may go on writing for ever
_GRACE = 0.3  # seconds between SIGTERM and SIGKILL when the runtime stops


class Divert:
    """From now on move what *stream* brings straight into *output*'s spool file.

    Not a registered message: it hands over an object, inside this process.
    """

    __slots__ = ("output", "process", "stream")

    def __init__(self, process: str, stream: int, output: Output) -> None:
        self.process = process
        self.stream = stream
        self.output = output


class IoActor(Actor):
    """See the module."""

    hidden = True

    def __init__(self) -> None:
        super().__init__()
        self._children: dict[str, Child] = {}
        self._sessions = Sessions(self)
        self._waiting: deque[SpawnProcess] = deque()
        self._redirects: weakref.WeakValueDictionary[str, Redirect] = weakref.WeakValueDictionary()
        self._starting = False  # the reactor was asked to start those that wait
        self._short = False  # something has run out: starts wait for an exit
        self._room = Room()
        self._inputs = Inputs(self, self._children, self._room)
        self._guard = Guard(lambda: [child.pid for child in self._children.values() if child.is_local])
        self._maker = Maker(self._room, self._guard)
        self._signals = Signals(self._children, self._hang_up)
        self._missed = Missed(self._children)
        self._lost = Lost()
        self._leave: Callable[[], None] | None = None
        self._spare = False  # the program ends, and what its user has started does not

    @classmethod
    def start_in(cls, runtime: Runtime) -> IoActor:
        """Start the I/O actor of *runtime*."""
        previous, here.runtime = here.runtime, runtime
        try:
            actor = cls()
        finally:
            here.runtime = previous
        runtime.on_fork(actor._abandon)
        runtime.on_stop(actor._clean_up)
        runtime.bus.launch(actor)
        return actor

    @property
    def reactor(self) -> Reactor:
        """Of the runtime that this actor is of."""
        return self.actor_runtime.reactor

    def on_receive(self, message: Any) -> None:
        """Do what a process actor wants done."""
        try:
            _HANDLERS[type(message)](self, message)
        except Exception:
            logger.exception("what %s wants could not be done; the others go on", getattr(message, "process", message))

    # -- starting --------------------------------------------------------------

    def _spawn(self, message: SpawnProcess) -> None:
        if self._leave is not None:
            self._refuse(message)
            return
        self._waiting.append(message)
        if not self._short:
            self._start_soon()

    def _refuse(self, message: SpawnProcess) -> None:
        """The runtime is being stopped."""
        self.tell(message.process, SpawnFailed(errno.ECANCELED, "the runtime has been stopped", None, time.time()))

    def _start_soon(self) -> None:
        if not self._starting:
            self._starting = True
            self.reactor.call_again(self._start_some)

    def _start_some(self) -> None:
        """Start a few of those that wait, and let the reactor look at its descriptors before the next.

        So a burst of starts holds up nobody; and a child costs less to make
        while those before it, which have ended, do not hold descriptors.
        """
        self._starting = False
        for _ in range(_STARTS_PER_TURN):
            if not self._waiting:
                return
            message = self._waiting.popleft()
            if not self._try_spawn(message):
                self._waiting.appendleft(message)
                self._short = True
                self.reactor.call_later(_RETRY, self._try_again)
                return
        if self._waiting:
            self._start_soon()

    def _try_again(self) -> None:
        """There may be enough again of what had run out."""
        if self._short:
            self._short = False
            self._start_soon()

    def _try_spawn(self, message: SpawnProcess) -> bool:
        """Start the process and tell its actor how that went; False: nothing done, something has run out."""
        while True:
            try:
                redirect = self.redirect_of(message.process)
                child = self._maker.make(message, self.reactor, redirect, spare_reserve=bool(self._children))
            except OSError as error:
                if error.errno == errno.EMFILE and self._room.make(self._children.values()):
                    continue
                if error.errno in _SHORTAGE and self._children:
                    return False
                self.tell(message.process, self._maker.failure(error))
            except Exception as error:  # such as a configuration that can not be read: the next must not hang on it
                self.tell(message.process, self._maker.failure(error))
            else:
                self._take_on(child)
            return True

    def _take_on(self, child: Child) -> None:
        """Watch *child*, a process of this machine, from now on."""
        self.tell(child.address, ProcessSpawned(child.pid, time.time()))
        self._children[child.address] = child
        self._guard.started(child.pid)
        if child.pidfd == CLOSED:
            self._end_child(child, None)
        else:
            self.reactor.watch(child.pidfd, READABLE, lambda _: self.take_exit(child))
            self._watch_outputs(child)

    def _watch_outputs(self, child: Child) -> None:
        watch = self.reactor.watch
        for stream, fd in child.outputs.items():
            if child.terminal and stream == STDOUT:
                watch(fd, READABLE, lambda events: self._inputs.serve_terminal(child, events))
            else:
                watch(fd, READABLE, lambda _, s=stream: self.read(child, s))  # type: ignore[misc]  # binds early

    def _redirect(self, message: Redirect) -> None:
        self._redirects[message.process] = message

    def redirect_of(self, process: str) -> Redirect | None:
        """The files that *process* is to have in place of pipes."""
        return self._redirects.get(process) if self._redirects else None

    # -- output ----------------------------------------------------------------

    def read(self, child: Child, stream: int) -> None:
        """Tell what has come on *stream*, or that it has ended."""
        fd = child.outputs.get(stream, CLOSED)
        if fd == CLOSED:
            return
        told: OutputRead | OutputSpooled
        try:
            if child.diverted is not None and stream in child.diverted:
                output = child.diverted[stream]
                if output is None:
                    return
                size = output.splice_from(fd, child.chunk)
                told = OutputSpooled(stream, size)
            else:
                data = os.read(fd, child.chunk)
                size = len(data)
                told = OutputRead(stream, data)
        except BlockingIOError:
            return
        except OSError as error:
            # A pseudo terminal says EIO when the last one who had it open has closed it.
            self._end_stream(child, stream, fd, 0 if error.errno == errno.EIO and child.terminal else error.errno or 0)
            return
        if not size:
            self._end_stream(child, stream, fd, 0)
            return
        if size == child.chunk:
            child.enlarge(fd)
        if child.trailer is not None and type(told) is OutputRead:
            self._pass_on(child, stream, told.bulk)
        else:
            self.tell(child.address, told)

    def _pass_on(self, child: Child, stream: int, data: bytes) -> None:
        """Tell the output of a remote command, without the trailer."""
        child.seen += 1
        if stream == child.trailer_stream:
            assert child.trailer is not None
            data = child.trailer.feed(data)
            if child.trailer.begun and not child.begun:
                child.begun = True
                self.tell(child.address, CommandBegun(child.trailer.is_here))
        if data:
            self.tell(child.address, OutputRead(stream, data))

    def _end_stream(self, child: Child, stream: int, fd: int, error: int) -> None:
        self._close_output(child, stream, fd)
        if error or not self.take_exit(child):  # mostly its streams have ended because it has
            self.tell(child.address, OutputEnded(stream, error))

    def _close_output(self, child: Child, stream: int, fd: int) -> None:
        del child.outputs[stream]
        if child.trailer is not None and stream == child.trailer_stream:
            rest, child.reported = child.trailer.finish()
            if rest:
                self.tell(child.address, OutputRead(stream, rest))
        self.reactor.forget(fd)
        if fd != child.stdin:  # a terminal is closed when its input is
            os.close(fd)

    def _pause(self, message: PauseOutput) -> None:
        child = self._children.get(message.process)
        if child is not None:
            child.paused = {*child.paused, message.stream}
            self.watch_output(child, message.stream)

    def _resume(self, message: ResumeOutput) -> None:
        child = self._children.get(message.process)
        if child is not None:
            child.paused = {*child.paused} - {message.stream}
            self.watch_output(child, message.stream)

    def watch_output(self, child: Child, stream: int) -> None:
        """Wait for what is to be waited for now on the descriptor of *stream*."""
        fd = child.outputs.get(stream, CLOSED)
        if fd != CLOSED:
            events = 0 if stream in child.paused else READABLE
            if child.terminal and stream == STDOUT and child.pending:
                events |= WRITABLE
            self.reactor.change(fd, events)

    def _divert(self, message: Divert) -> None:
        child = self._children.get(message.process)
        if child is None or (child.trailer is not None and message.stream == child.trailer_stream):
            return  # who looks for the trailer has to see all
        if message.stream not in (child.diverted or ()):
            # What was read before is still on its way to the process actor, and comes first: read nothing until then.
            child.diverted = {**(child.diverted or {}), message.stream: None}
            self.actor_runtime.bus.call(lambda: self._divert_now(child, message))

    def _divert_now(self, child: Child, message: Divert) -> None:
        if child.diverted is not None:  # else it has ended meanwhile
            child.diverted[message.stream] = message.output

    # -- signals -------------------------------------------------------------------

    def _signal(self, message: SignalProcess) -> None:
        self._signals.send(message, self.reactor)
        child = self._children.get(message.process)
        if child is not None:
            self._missed.add(child, message.signal, self.reactor)

    def _hang_up(self, child: Child) -> None:
        """Close the terminal of a process that runs as another user (sudo): then the kernel sends it SIGHUP."""
        fd = child.outputs.get(STDOUT, CLOSED)
        if fd != CLOSED:
            self._close_output(child, STDOUT, fd)
            self.tell(child.address, OutputEnded(STDOUT, 0))
        if child.pending:
            child.pending.clear()
            self.tell(child.address, InputFailed(errno.EPIPE))
        child.input_watched = False
        self._inputs.close_now(child)

    # -- the end -------------------------------------------------------------------

    def take_exit(self, child: Child) -> bool:
        """If *child* has ended, take its exit status and what is left in its pipes. Returns whether it has."""
        status = child.reap()
        if status == RUNNING:
            return False
        self.reactor.forget(child.pidfd)
        os.close(child.pidfd)
        child.pidfd = CLOSED
        self._end_child(child, status)
        return True

    def _end_child(self, child: Child, status: int | None) -> None:
        for stream, fd in list(child.outputs.items()):
            self._read_rest(child, stream, fd)
            self._close_output(child, stream, fd)
        if child.stdin == PARKED:
            self._room.forget(child)
        elif child.stdin != CLOSED:
            if child.input_watched and not child.terminal:
                self.reactor.forget(child.stdin)
            os.close(child.stdin)
        child.diverted = child.pending = None  # whoever still holds the child shall not hold its output
        del self._children[child.address]
        if child.is_local:
            goes_on = self._guard.ended(child.pid)
            if goes_on and child.trailer is not None and status is not None and status < 0:
                self._lost.add(child.pid, self.reactor)
            self.tell_exit(child, status)
        else:
            self._sessions.ended(child, status)
        if self._short:
            self._try_again()
        if self._leave is not None:
            self._leave_if_alone()

    def tell_exit(self, child: Child, status: int | None) -> None:
        """Tell the process of *child* how it has ended: as the host reported, or else by the *status* known here."""
        reported = child.reported is not None
        told = child.reported if reported else status
        self.tell(child.address, ProcessExited(told, time.time(), child.written, reported))

    def _read_rest(self, child: Child, stream: int, fd: int) -> None:
        os.set_blocking(fd, False)
        for _ in range(_LAST_READS):
            try:
                data = os.read(fd, child.chunk)
            except OSError:
                return
            if not data:
                return
            if child.trailer is None:
                self.tell(child.address, OutputRead(stream, data))
            else:
                self._pass_on(child, stream, data)

    # -- sessions: for `_sessions` ---------------------------------------------------

    def session(self, process: str) -> Child | None:
        """The session that *process* runs in, if there is one."""
        child = self._children.get(process)
        return None if child is None or child.is_local else child

    def take_in(self, session: Child) -> None:
        """From now on *session* is a child like the others; who hears of its end is already seen to."""
        self._children[session.address] = session
        self._watch_outputs(session)

    def cut_off(self, session: Child, status: int | None) -> None:
        """End *session* here, whatever its control socket may still say."""
        self.reactor.forget(session.pidfd)
        os.close(session.pidfd)
        session.pidfd = CLOSED
        self._end_child(session, status)

    def drop(self, session: Child) -> None:
        """Close what belongs to *session*, and forget it."""
        del self._children[session.address]
        for fd in (session.pidfd, *session.outputs.values()):
            self.reactor.forget(fd)
            self.close_fd(fd)
        if session.stdin == PARKED:
            self._room.forget(session)
        elif session.stdin != CLOSED:
            self.reactor.forget(session.stdin)
            self.close_fd(session.stdin)

    def make_room(self) -> None:
        """Descriptors have run out."""
        self._room.make(self._children.values())

    @staticmethod
    def close_fd(fd: int) -> None:
        """Close *fd* if it is one."""
        if fd >= 0:
            os.close(fd)

    def shut_down(self, done: Callable[[], None], *, spare: bool = False) -> None:
        """End all processes, with their sessions, and call *done* when they have ended. The reactor's thread.

        Args:
            spare: leave alone what the user has started on this machine, and what was to be started.
        """
        while spare and self._waiting and self._try_spawn(self._waiting[0]):
            self._waiting.popleft()
        for message in self._waiting:
            self._refuse(message)
        self._waiting.clear()
        self._leave, self._spare = done, spare
        self._sessions.close([child for child in self._children.values() if not child.is_local])
        if self._leave_if_alone():
            return
        self._end_all(signal.SIGTERM, KillWanted(signal.SIGTERM, None, sent=True))
        self.reactor.call_later(_GRACE, lambda: self._end_all(signal.SIGKILL, ForceDue()))

    def _leave_if_alone(self) -> bool:
        """If all have ended that are to end, say so, once. Returns whether they have."""
        if any(map(self._is_to_end, self._children.values())):
            return False
        assert self._leave is not None
        leave, self._leave = self._leave, _nothing
        leave()
        return True

    def _is_to_end(self, child: Child) -> bool:
        return child.internal or not self._spare

    def _end_all(self, number: int, told: KillWanted | ForceDue) -> None:
        ending = [child for child in self._children.values() if self._is_to_end(child)]
        for child in ending:
            self.tell(child.address, told)
        signal_sessions({child.pid for child in ending if child.is_local}, number)

    def _clean_up(self) -> None:
        """The runtime ends."""
        self._room.close()
        self._guard.dismiss(spare=self._spare)

    def _abandon(self) -> None:
        """In a forked child: close our copies of the parent's descriptors, and have nobody wait for its children."""
        children = [*self._children.values(), *self._sessions.opening()]
        fds = {fd for child in children for fd in (child.pidfd, child.stdin, *child.outputs.values()) if fd >= 0}
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._children.clear()
        self._room.close()
        self._guard.abandon()
        for actor in list(self.actor_runtime.bus._actors.values()):
            if hasattr(actor, "on_fork"):
                actor.on_fork()

    def tell(self, process: str, message: Any) -> None:
        """Send *message* to the actor of a process."""
        self.actor_runtime.bus.tell(process, message)


def _nothing() -> None:
    """To do."""


_HANDLERS: dict[type, Callable[[IoActor, Any], None]] = {
    SpawnProcess: IoActor._spawn,
    SignalProcess: IoActor._signal,
    WriteInput: lambda io, message: io._inputs.write(message),
    CloseInput: lambda io, message: io._inputs.close(message),
    PauseOutput: IoActor._pause,
    ResumeOutput: IoActor._resume,
    Divert: IoActor._divert,
    Redirect: IoActor._redirect,
    Feed: lambda io, message: io._inputs.feed(message),
    AttachSession: lambda io, message: io._sessions.attach(message),
    AttachNative: lambda io, message: io._sessions.attach(message),
    DetachSession: lambda io, message: io._sessions.detach(message),
}
