"""TransferActor: one run of the transfer to one host, which may take several commands there.

Owns: the course of it (its rule), and the command that runs at the moment, an `SshProcess` of its own.
Takes: what a process actor takes from its handle; what becomes of the command, as a call of the reactor.
Dies of: its end. Whatever happens, the future is set.

Lives on the reactor. Files are looked at, read and written by workers, or by the connections themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.messages import STDERR, OutputRead, ProcessExited, ProcessSpawned
from ..protocols.transfer import (
    NO_TAR,
    PART_UNIT,
    Answers,
    Target,
    answers,
    ask_step,
    discard_step,
    pack_step,
    part_step,
)
from ._process_actor import ProcessActor
from ._process_rule import BrokenOff, Connecting, Withdrawn
from ._redirect import FileInput, Redirect
from ._transfer_rule import Ask, CommandEnded, Discard, Effect, Finish, Pause, PutCourse, Send, UseScp
from ._transfer_source import Pack, Part, Plan, Spool
from .connection_errors import CommandLostError, ConnectionFailedError, ConnectionLostError, GatewayLostError
from .future import Future
from .journal import current_journal

if TYPE_CHECKING:
    from ._process import Process
    from ._run import Run
    from ._transfer_process import PutProcess, TransferProcess

__all__ = ["LOST", "PutActor", "TransferActor"]

LOST: tuple[type[BaseException], ...] = (ConnectionLostError, GatewayLostError, CommandLostError)
"""After these a transfer goes on where it was."""
_DISCARD_LIMIT = 10.0
"""Seconds that it may take to remove what is half done."""


class TransferActor(ProcessActor):
    """What all transfers have in common: see the module."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        transfer: TransferProcess = run.process  # type: ignore[assignment]  # made by that class
        self._transfer = transfer
        self._command: Process | None = None
        self._told: set[bytes] = set()  # lines of stderr

    def begin_run(self) -> None:
        """Begin. In the thread of who starts it."""
        self.actor_runtime.bus.tell(self.actor_address, Connecting(time.time()))
        self.actor_runtime.bus.call(self._guarded(self.begin_transfer))

    def begin_transfer(self) -> None:
        """Begin. On the reactor."""
        raise NotImplementedError

    def _guarded(self, function: Callable[[], None]) -> Callable[[], None]:
        """*function*, whose errors end the transfer, and which does nothing when that has ended."""

        def call() -> None:
            if self._run.life.ended:
                return
            try:
                function()
            except Exception as error:
                self.failed(error)

        return call

    def failed(self, error: Exception) -> None:
        """It can not go on, because of something here."""
        self.finish(None, error)

    def when_done(self, future: Future[Any], function: Callable[[Any], None]) -> None:
        """Have *function* called with the result of *future*, on the reactor; with an error of it, `failed`."""
        guarded = self._guarded(lambda: function(future.result(0)))

        def tell(_: object) -> None:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped
                self.actor_runtime.bus.call(guarded)

        future.add_done_callback(tell)

    # -- commands on the host -----------------------------------------------------------

    def run_command(self, command: Process, ended: Callable[[Process], None]) -> None:
        """Run *command*, and have *ended* called with it."""
        self._command = command
        command.start()
        if self._run.life.pid is None:
            self.when_done(command._run.spawned, self._begun)
        self.when_done(command.future, functools.partial(self._ended, ended))

    def _begun(self, pid: int | None) -> None:
        if pid is not None and self._run.life.state == "connecting":
            self._spawned(ProcessSpawned(pid, time.time()))

    def _ended(self, ended: Callable[[Process], None], command: Process) -> None:
        self._command = None
        lines = command.stderr_bytes.splitlines(keepends=True)
        news = b"".join([line for line in lines if line not in self._told])  # a further try says the same again
        self._told.update(lines)
        if news:
            self._output(OutputRead(STDERR, news))
        ended(command)

    def _send_signal(self, number: int) -> None:
        if self._command is not None:
            self._command.kill(number, None)
        self.killed()

    def killed(self) -> None:
        """It is to end; the command that runs, if one does, has been told."""
        raise NotImplementedError

    def use_scp(self) -> None:
        """The host has no tar: have the program scp do all of it."""
        if self._transfer.transfer == "tar":
            self._output(OutputRead(STDERR, f"regisseur: there is no tar on {self._transfer.host.address}\n".encode()))
            self.finish(NO_TAR)
            return
        self.tell_journal("transfer.scp")
        self.run_command(self._transfer._scp(), self._scp_ended)

    def _scp_ended(self, command: Process) -> None:
        if command.exit_code == 0:
            self._transfer._note(self._transfer.progress.total)
        reason = command.error_reason
        self.finish(command.exit_code, reason if isinstance(reason, BaseException) else None)

    def pause(self, seconds: float, then: Callable[[], None]) -> None:
        """Have *then* called after some seconds."""
        self._timers.append(self.actor_runtime.call_later(seconds, self._guarded(then)))

    def tell_journal(self, event: str, **facts: Any) -> None:
        """Tell the log."""
        journal = current_journal()
        if journal is not None:
            journal.event(event, actor=self.actor_address, host=self._transfer.host.address, **facts)

    # -- the end ---------------------------------------------------------------------------

    def finish(self, status: int | None, error: BaseException | None = None) -> None:
        """It is over."""
        if self._command is not None:
            self._command.kill()
        now = time.time()
        if error is not None:
            self._broken_off(BrokenOff(now, error))
        elif status is not None:
            self._exited(ProcessExited(status, now))
        else:
            self._broken_off(Withdrawn(now))

    def on_failure(self, *error: Any) -> None:
        """Leave neither anybody waiting nor the command to itself."""
        super().on_failure(*error)
        if self._command is not None:
            self._command.kill()


class PutActor(TransferActor):
    """Sends files to one host."""

    def __init__(self, run: Run, target: Target) -> None:
        super().__init__(run)
        process: PutProcess = run.process  # type: ignore[assignment]  # made by that class
        self._process = process
        self._target = target
        self._plan = Plan((), 0)
        self._course = PutCourse((), 0)
        self._place = ""  # what the host has told of it
        self._given: FileInput | None = None  # what the command reads
        self._discarding = False
        process.source.enter()
        run.done.add_done_callback(self._over)

    def begin_transfer(self) -> None:
        """Have the files looked at."""
        self.when_done(self._process.source.plan(self.actor_runtime.pool), self._planned)

    def _planned(self, plan: Plan) -> None:
        self._plan = plan
        self._process._note(total=plan.size)
        self._course = PutCourse([isinstance(step, Part) for step in plan.steps], self._process.retries)
        if self._run.life.killed:
            self.finish(None)
        elif self._process.transfer == "scp":
            self._carry_out(UseScp())
        else:
            self._set_out()

    def _set_out(self) -> None:
        """The files have been looked at."""
        self._carry_out(self._course.begin())

    def _over(self, _: object) -> None:
        """However it has ended."""
        self._close_input()
        self._process.source.leave()

    def failed(self, error: Exception) -> None:
        """Leave nothing half done there."""
        self._went(CommandEnded(error=error))

    def _send_signal(self, number: int) -> None:
        # What removes what is half done is not to be stopped by who is impatient and kills twice.
        if not self._discarding or number == signal.SIGKILL:
            super()._send_signal(number)

    def killed(self) -> None:
        """Nothing half done is to stay there."""
        effect = self._course.kill()
        if effect is not None:
            self._carry_out(effect)

    # -- effects -------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Ask():
                step = self._plan.steps[effect.step]
                assert isinstance(step, Part)
                self._run_script(ask_step(self._target, self._place, step.number, step.member.name))
            case Pause():
                self.tell_journal("transfer.broken", step=self._course.step, pause=effect.seconds)
                self.pause(effect.seconds, self._go_on)
            case Discard():
                self._discarding = True
                self._run_script(discard_step(self._target), timeout=_DISCARD_LIMIT)
            case UseScp():
                self.use_scp()
            case Finish():
                self._finish_put(effect)

    def _go_on(self) -> None:
        effect = self._course.go_on()
        if effect is not None:
            self._carry_out(effect)

    def _send(self, effect: Send) -> None:
        step = self._plan.steps[effect.step]
        before = sum(done.size for done in self._plan.steps[: effect.step])
        self._process._note(before + effect.offset)
        if isinstance(step, Part):
            member = step.member
            os.stat(member.path)  # where it has gone meanwhile, let it be known here and not from the connection
            given = FileInput(member.path, effect.offset)
            self._process._note(before + effect.offset, given, 1.0)
            self._run_script(self._part_script(step, effect.offset), given)
            return
        future = self._process.source.pack(effect.step, step, self.actor_runtime.pool)
        self.when_done(future, lambda spool: self._send_pack(step, effect, before, spool))

    def _send_pack(self, step: Pack, effect: Send, before: int, spool: Spool) -> None:
        if self._run.life.killed:
            self._went(CommandEnded())
            return
        script = self._pack_script(step, effect)
        given = spool.input()
        if given is None:  # others were so far ahead that it has been dropped just now
            self._send(effect)
            return
        self._process._note(before, given, step.size / spool.size)
        self._run_script(script, given)

    def _part_script(self, part: Part, offset: int) -> str:
        member, mode = part.member, part.member.mode & 0o7777
        place, units = self._place, offset // PART_UNIT
        return part_step(self._target, place, part.number, member.name, size=member.size, mode=mode, units=units)

    def _pack_script(self, pack: Pack, effect: Send) -> str:
        if effect.again and not self._course.keeps:
            self._target = dataclasses.replace(self._target, id=secrets.token_hex(8))
        return pack_step(self._target, self._place, keep=self._course.keeps, last=pack.last, again=effect.again)

    def _finish_put(self, effect: Finish) -> None:
        if effect.status == 0:
            self._process._note(self._plan.size)
        self.finish(effect.status, effect.error)

    # -- commands --------------------------------------------------------------------------

    def _run_script(self, script: str, given: FileInput | None = None, timeout: float | None = None) -> None:
        command = self._process._command(script, timeout)
        if given is not None:
            command._redirect = Redirect(stdin=given)
            self._given = given
        self.run_command(command, self._command_ended)

    def _close_input(self) -> None:
        given, self._given = self._given, None
        if given is not None:
            given.close()

    def _command_ended(self, command: Process) -> None:
        self._close_input()
        said: Answers = answers(command.stdout_bytes)
        self._place = said.place or self._place
        error = command.error_reason
        # A host that is starting again refuses, or does not answer, for a while.
        kinds = (*LOST, ConnectionFailedError) if self._course.was_lost else LOST
        self._went(
            CommandEnded(
                command.exit_code,
                error if isinstance(error, BaseException) else None,
                lost=isinstance(error, kinds),
                has=said.has,
            )
        )

    def _went(self, event: CommandEnded) -> None:
        self._carry_out(self._course.take(event))
