"""The I/O actor: starts all child processes of a runtime and multiplexes their pipes.

Owns: every child, its pipes and its pidfd; the guardian. No other part of the
program starts a process that belongs to an experiment.
Takes: SpawnProcess, SignalProcess, WriteInput, CloseInput, PauseOutput,
ResumeOutput, `Divert`.  Tells the process actor: ProcessSpawned, SpawnFailed,
OutputRead, OutputSpooled, OutputEnded, InputFailed, ProcessExited.
Lives on the reactor and never blocks, but for the moment in which a child is
made (the C library suspends the caller until the child runs its program; the
interpreter lock is free meanwhile).

A process has ended when its pidfd says so; what is left in its pipes then is
read, and the pipes are closed, whoever else may hold them. When descriptors
run out, the limit is raised as far as it goes, then the inputs that nobody
writes to are parked (`_parking`); when that is not enough, or processes run
out, starts wait until another process has ended: that is not a failure of the
command.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..protocols.messages import (
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
from . import _proctable
from ._child import CLOSED, PARKED, Child, Pipes
from ._context import here
from ._guardian import Guardian
from ._parking import Parking
from ._reactor import READABLE, WRITABLE
from ._spawn import spawn
from .actor import Actor
from .config import configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._output import Output
    from .runtime import Runtime

__all__ = ["Divert", "IoActor"]

logger = logging.getLogger("regisseur.io")

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_STARTS_PER_TURN = 2
_PARK = 100  # inputs parked at a time when descriptors run out
_GUARDIAN_DELAY = 0.005  # seconds
_LAST_READS = 64  # chunks read of a stream after the exit; a grandchild may go on writing for ever
_FAMILY_LOOKS = 5  # at the process table, for those that were made while we were killing
_GRACE = 0.3  # seconds between SIGTERM and SIGKILL when the runtime stops


class Divert:
    """From now on move what *stream* brings straight into *output*'s spool file; None: read it again.

    Not a registered message: it hands over an object, inside this process.
    """

    __slots__ = ("output", "process", "stream")

    def __init__(self, process: str, stream: int, output: Output | None) -> None:
        self.process = process
        self.stream = stream
        self.output = output


class IoActor(Actor):
    """See the module."""

    hidden = True

    def __init__(self) -> None:
        super().__init__()
        self._children: dict[str, Child] = {}
        self._waiting: deque[SpawnProcess] = deque()
        self._guardian: Guardian | None = None
        self._flushing = False
        self._cookie: dict[str, str] | None = None
        self._parking = Parking()
        self._families: list[tuple[Child, int]] = []
        self._short = False  # something has run out: starts wait for an exit
        self._leave: Callable[[], None] | None = None

    @classmethod
    def start_in(cls, runtime: Runtime) -> IoActor:
        """Start the I/O actor of *runtime*."""
        previous, here.runtime = here.runtime, runtime
        try:
            actor = cls()
        finally:
            here.runtime = previous
        runtime.on_fork(actor._abandon)
        runtime.on_stop(actor._dismiss_guardian)
        runtime.bus.launch(actor)
        return actor

    def on_receive(self, message: Any) -> None:
        """Do what a process actor wants done."""
        _HANDLERS[type(message)](self, message)

    # -- starting --------------------------------------------------------------

    def _spawn(self, message: SpawnProcess) -> None:
        if self._leave is not None:
            self._refuse(message)
            return
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self.actor_runtime.reactor.call_again(self._start_some)

    def _start_some(self) -> None:
        """Start a few of those that wait, and let the reactor look at its descriptors before the next.

        So a burst of starts holds up nobody; and a child costs less to make
        while those before it, which have ended, do not hold descriptors.
        """
        for _ in range(_STARTS_PER_TURN):
            if not self._waiting or not self._try_spawn(self._waiting[0]):
                return
            self._waiting.popleft()
        if self._waiting:
            self.actor_runtime.reactor.call_again(self._start_some)

    def _try_spawn(self, message: SpawnProcess) -> bool:
        """Start the process and tell its actor how that went; False: nothing done, something has run out."""
        try:
            child = self._make_child(message)
        except OSError as error:
            if error.errno in _SHORTAGE:
                if _raise_descriptor_limit(error) or self._park_idle_inputs(error):
                    return self._try_spawn(message)
                if self._children:
                    self._short = True
                    return False
            self._tell(
                message.process,
                SpawnFailed(error.errno or 0, _why(error), _text(error.filename), time.time()),
            )
            return True
        self._tell(message.process, ProcessSpawned(child.pid, time.time()))
        self._children[message.process] = child
        reactor = self.actor_runtime.reactor
        reactor.watch(child.pidfd, READABLE, lambda _: self._take_exit(child))
        for stream, fd in child.outputs.items():
            reactor.watch(fd, READABLE, lambda _, s=stream: self._read(child, s))  # type: ignore[misc]  # binds early
        return True

    def _park_idle_inputs(self, error: OSError) -> bool:
        """Make room among our open files: nobody writes to most processes. Returns whether there is more now."""
        if error.errno != errno.EMFILE:
            return False
        parked = 0
        for child in self._children.values():
            if parked == _PARK:
                break
            if child.stdin >= 0 and not child.pending and child.stdin not in child.outputs.values():
                if not self._parking.park(child.pid, child.stdin):
                    break
                child.stdin = PARKED
                parked += 1
        return parked > 0

    def _unpark_input(self, child: Child) -> None:
        """Get the stdin of *child* back if it is parked.

        Raises:
            OSError: there is no place for it.
        """
        if child.stdin == PARKED:
            child.stdin = self._parking.take(child.pid)

    def _make_child(self, message: SpawnProcess) -> Child:
        if self._guardian is None:
            self._start_guardian()
        pipes = Pipes(use_pty=message.pty)
        try:
            stdin, stdout, stderr = pipes.theirs
            pid = spawn(
                message.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=None if message.env is None else {os.fsdecode(k): os.fsdecode(v) for k, v in message.env.items()},
                extra_env=self._cookie,
                cwd=None if message.cwd is None else os.fsdecode(message.cwd),
                terminal=pipes.terminal,
            )
        except BaseException:
            pipes.close_ours()
            raise
        finally:
            pipes.close_theirs()
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor left for it: undo the start
            pipes.close_ours()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        if self._guardian is not None:
            self._guardian.watch(pid)
            self._tell_guardian_soon()
        return Child(message.process, pid, pidfd, pipes)

    # -- output ----------------------------------------------------------------

    def _read(self, child: Child, stream: int) -> None:
        fd = child.outputs.get(stream, -1)
        if fd < 0:
            return
        if child.diverted is not None and stream in child.diverted:
            self._splice(child, stream, fd)
            return
        try:
            data = os.read(fd, child.chunk)
        except BlockingIOError:
            return
        except OSError as error:
            # A pseudo terminal says EIO when the last one who had it open has closed it.
            self._end_stream(child, stream, fd, 0 if error.errno == errno.EIO else error.errno or 0)
            return
        if not data:
            self._end_stream(child, stream, fd, 0)
            return
        if len(data) == child.chunk:
            child.enlarge(fd)
        self._tell(child.address, OutputRead(stream, data))

    def _splice(self, child: Child, stream: int, fd: int) -> None:
        assert child.diverted is not None
        try:
            size = child.diverted[stream].splice_from(fd, child.chunk)
        except BlockingIOError:
            return
        except OSError as error:
            self._end_stream(child, stream, fd, error.errno or 0)
            return
        if size:
            self._tell(child.address, OutputSpooled(stream, size))
        else:
            self._end_stream(child, stream, fd, 0)

    def _end_stream(self, child: Child, stream: int, fd: int, error: int) -> None:
        if not error and self._take_exit(child):
            return  # the usual case: its streams ended because it did
        self._close_output(child, stream, fd)
        self._tell(child.address, OutputEnded(stream, error))

    def _close_output(self, child: Child, stream: int, fd: int) -> None:
        del child.outputs[stream]
        self.actor_runtime.reactor.forget(fd)
        if fd != child.stdin:  # a terminal is closed when its input is
            os.close(fd)

    def _pause(self, message: PauseOutput) -> None:
        self._wait_for(message.process, message.stream, 0)

    def _resume(self, message: ResumeOutput) -> None:
        self._wait_for(message.process, message.stream, READABLE)

    def _wait_for(self, process: str, stream: int, events: int) -> None:
        child = self._children.get(process)
        if child is not None and stream in child.outputs:
            fd = child.outputs[stream]
            if fd == child.stdin and child.pending:
                events |= WRITABLE
            self.actor_runtime.reactor.change(fd, events)

    def _divert(self, message: Divert) -> None:
        child = self._children.get(message.process)
        if child is None or message.stream not in child.outputs:
            return
        diverted = child.diverted or {}
        if message.output is None:
            diverted.pop(message.stream, None)
        else:
            diverted[message.stream] = message.output
        child.diverted = diverted or None

    # -- input -----------------------------------------------------------------

    def _write(self, message: WriteInput) -> None:
        child = self._children.get(message.process)
        if child is None or child.stdin == CLOSED or child.closing_input:
            self._tell(message.process, InputFailed(errno.EPIPE))
            return
        try:
            self._unpark_input(child)
        except OSError as error:
            self._tell(message.process, InputFailed(error.errno or 0))
            return
        if child.pending is None:
            os.set_blocking(child.stdin, False)
            child.pending = deque()
        child.pending.append(memoryview(message.bulk))
        if len(child.pending) == 1:
            self._write_some(child, watched=False)

    def _write_some(self, child: Child, *, watched: bool) -> None:
        reactor = self.actor_runtime.reactor
        terminal = child.stdin in child.outputs.values()
        try:
            done = child.write_some()
        except OSError as error:
            assert child.pending is not None
            child.pending.clear()
            self._tell(child.address, InputFailed(error.errno or 0))
            done = child.closing_input = not terminal
        if terminal:
            reactor.change(child.stdin, READABLE | (0 if done else WRITABLE))
        elif done and watched:
            reactor.forget(child.stdin)
        elif not done and not watched:
            reactor.watch(child.stdin, WRITABLE, lambda _: self._write_some(child, watched=True))
        if done and child.closing_input:
            self._close_input_now(child)

    def _close_input(self, message: CloseInput) -> None:
        child = self._children.get(message.process)
        if child is None or child.stdin == CLOSED:
            return
        try:
            self._unpark_input(child)
        except OSError:
            self._parking.forget(child.pid)  # no place to get it back to: it closes with the others parked there
            child.stdin = CLOSED
            return
        child.closing_input = True
        if not child.pending:
            self._close_input_now(child)

    def _close_input_now(self, child: Child) -> None:
        if child.stdin in child.outputs.values():
            # A terminal can not be closed one way: end of file is what a user would type at the line's begin.
            with contextlib.suppress(OSError):
                os.write(child.stdin, b"\x04")
            child.closing_input = False
        else:
            os.close(child.stdin)
            child.stdin = CLOSED

    # -- signals and the end -----------------------------------------------------

    def _signal(self, message: SignalProcess) -> None:
        child = self._children.get(message.process)
        if child is None:
            return
        if message.descendants:
            # One look at the process table serves all who are killed in this turn.
            self._families.append((child, message.signal))
            if len(self._families) == 1:
                self.actor_runtime.reactor.call_again(self._signal_families)
        else:
            _send(child, message.signal)

    def _signal_families(self) -> None:
        """Signal children with all their descendants, and with those that were made while we did so.

        The first look finds the descendants, before any of them can die and
        leave its children to others; later ones find what is new in the sessions.
        """
        families, self._families = self._families, []
        families = [(child, number) for child, number in families if self._children.get(child.address) is child]
        table = _proctable.Snapshot.take()
        new = [(child, number, table.descendants(child.pid)) for child, number in families]
        done = {child.pid for child, _ in families}
        for child, number in families:
            _send(child, number)
        for _ in range(_FAMILY_LOOKS):
            for _, number, pids in new:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
                done.update(pids)
            table = _proctable.Snapshot.take()
            new = [(c, n, [pid for pid in table.session(c.pid) if pid not in done]) for c, n in families]
            if not any(pids for _, _, pids in new):
                return

    def _take_exit(self, child: Child) -> bool:
        """If *child* has ended, take its exit status and what is left in its pipes. Returns whether it has."""
        status = _reap(child.pidfd)
        if status == _RUNNING:
            return False
        reactor = self.actor_runtime.reactor
        reactor.forget(child.pidfd)
        os.close(child.pidfd)
        for stream, fd in list(child.outputs.items()):
            self._read_rest(child, stream, fd)
            self._close_output(child, stream, fd)
        if child.stdin == PARKED:
            self._parking.forget(child.pid)
        elif child.stdin != CLOSED:
            if child.pending:
                reactor.forget(child.stdin)
            os.close(child.stdin)
        del self._children[child.address]
        if self._guardian is not None:
            self._guardian.ended(child.pid)
            self._tell_guardian_soon()
        self._tell(child.address, ProcessExited(status, time.time()))
        if self._short and self._waiting:
            self._short = False
            reactor.call_again(self._start_some)
        if self._leave is not None and not self._children:
            self._leave()
        return True

    def _read_rest(self, child: Child, stream: int, fd: int) -> None:
        os.set_blocking(fd, False)
        if child.diverted is not None and stream in child.diverted:
            del child.diverted[stream]
        for _ in range(_LAST_READS):
            try:
                data = os.read(fd, child.chunk)
            except OSError:
                return
            if not data:
                return
            self._tell(child.address, OutputRead(stream, data))

    def shut_down(self, done: Callable[[], None]) -> None:
        """End all processes, with their sessions, and call *done* when they have ended. The reactor's thread."""
        self._leave = done
        for message in self._waiting:
            self._refuse(message)
        self._waiting.clear()
        if not self._children:
            done()
            return
        self._end_all(signal.SIGTERM)
        self.actor_runtime.reactor.call_later(_GRACE, lambda: self._end_all(signal.SIGKILL))

    def _refuse(self, message: SpawnProcess) -> None:
        reason = "the runtime was stopped before it could start"
        self._tell(message.process, SpawnFailed(errno.ECANCELED, reason, None, time.time()))

    def _end_all(self, sig: int) -> None:
        pids = {child.pid for child in self._children.values()}
        sessions = _proctable.Snapshot.take() if pids else None
        for pid in pids:
            assert sessions is not None
            for member in {pid, *sessions.session(pid)}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(member, sig)
                    os.kill(member, signal.SIGCONT)

    # -- the guardian --------------------------------------------------------------

    def _start_guardian(self, after: Guardian | None = None) -> None:
        if not configuration["kill_childs_at_end"]:
            return
        self._guardian = Guardian(watch=[child.pid for child in self._children.values()], after=after)
        name, value = self._guardian.cookie
        self._cookie = {name: value}
        self.actor_runtime.reactor.watch(self._guardian.pidfd, READABLE, lambda _: self._guardian_ended())

    def _guardian_ended(self) -> None:
        """The guardian itself has died: start another, and tell it all that runs."""
        guardian, self._guardian = self._guardian, None
        assert guardian is not None
        self.actor_runtime.reactor.forget(guardian.pidfd)
        guardian.reap()
        logger.warning("the guardian process has died unexpectedly; starting another")
        self._start_guardian(after=guardian)

    def _dismiss_guardian(self) -> None:
        """The runtime ends: the guardian is needed only where sessions go on without their leaders."""
        self._parking.close()
        guardian, self._guardian = self._guardian, None
        if guardian is None:
            return
        self.actor_runtime.reactor.forget(guardian.pidfd)
        guardian.flush()
        if guardian.lingers:
            guardian.abandon()  # it ends them when this program does
        else:
            guardian.dismiss()

    def _tell_guardian_soon(self) -> None:
        """Let the guardian know of starts and ends, several at a time: each write wakes it up.

        What starts in between is not lost if we die: the guardian knows it by its cookie.
        """
        if not self._flushing:
            self._flushing = True
            self.actor_runtime.reactor.call_later(_GUARDIAN_DELAY, self._tell_guardian)

    def _tell_guardian(self) -> None:
        self._flushing = False
        if self._guardian is not None:
            self._guardian.flush()

    def _abandon(self) -> None:
        """In a forked child: close our copies of the parent's descriptors, and nothing else."""
        fds = {fd for c in self._children.values() for fd in (c.pidfd, c.stdin, *c.outputs.values()) if fd >= 0}
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._children.clear()
        self._parking.close()
        if self._guardian is not None:
            self._guardian.abandon()
            self._guardian = None

    def _tell(self, process: str, message: Any) -> None:
        self.actor_runtime.bus.tell(process, message)


_HANDLERS: dict[type, Callable[[IoActor, Any], None]] = {
    SpawnProcess: IoActor._spawn,
    SignalProcess: IoActor._signal,
    WriteInput: IoActor._write,
    CloseInput: IoActor._close_input,
    PauseOutput: IoActor._pause,
    ResumeOutput: IoActor._resume,
    Divert: IoActor._divert,
}


_RUNNING = 1000  # no exit status


def _send(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(child.pidfd, number)


def _reap(pidfd: int) -> int | None:
    """The exit status of the child of *pidfd*: 0..255, or minus the signal; None: others took it; or `_RUNNING`."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # other code waits for any child, or SIGCHLD is ignored
        return None
    if result is None:
        return _RUNNING
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _raise_descriptor_limit(error: OSError) -> bool:
    """Raise our own limit of open files as far as it goes; returns whether there is more room now."""
    if error.errno != errno.EMFILE:
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft >= hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logger.info("raised the limit of open files from %d to %d", soft, hard)
    return True


def _why(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"{error.strerror}: {limit} descriptors are open (raise the hard limit of open files, ulimit -Hn)"
    return error.strerror or str(error)


def _text(name: Any) -> str | None:
    """A file name as text that can travel."""
    return None if name is None else os.fsencode(name).decode(errors="backslashreplace")
