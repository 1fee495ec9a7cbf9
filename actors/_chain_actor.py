"""ChainActor: one host of a `ChainPut`. Its process is led as that of a `Put`, but what runs there is a hop.

Owns: the command that is the hop, and those that feed it. Its `ChainLeader` says what the hop is to do. Where there
can be no hop, for want of python3, all goes on as a `Put`.

Lives on the reactor, as its leader does.
"""

from __future__ import annotations

import dataclasses
import functools
import secrets
from typing import TYPE_CHECKING, Any

from ..protocols.transfer import NO_PYTHON, NO_TAR, Answers, Target, answers, feed_step, hop_step, pack_step
from ._chain_leader import Lines, order
from ._chain_program import BOOT, program_input
from ._redirect import Redirect
from ._transfer_actor import LOST, PutActor
from ._transfer_errors import TransferError
from ._transfer_rule import CommandEnded, Finish, UseScp

if TYPE_CHECKING:
    from ._chain_process import ChainProcess
    from ._process import Process
    from ._redirect import FileInput
    from ._run import Run

__all__ = ["ChainActor"]


class ChainActor(PutActor):
    """See the module."""

    def __init__(self, run: Run, target: Target) -> None:
        super().__init__(run, target)
        process: ChainProcess = run.process  # type: ignore[assignment]  # made by that class
        self._chain_process = process
        self._leader = process.leader
        self._number = -1
        self._feeder: Process | None = None
        self._is_put = False

    # -- the hop -------------------------------------------------------------------------

    def _set_out(self) -> None:
        if self._plan.steps:
            self._course.begin()
            self._start_hop()
        else:
            super()._set_out()

    def _start_hop(self) -> None:
        host = self._process.host.address
        self._number = self._leader.enter(self, self._chain_process.rank, host, self._plan, self.actor_runtime)
        command = self._process._command(hop_step(self._target, BOOT), None)
        command.stdout_handlers = [_HopLines(self, self._number)]
        command.default_stdout_handler = False
        self.run_command(command, functools.partial(self._hop_ended, self._number))
        order(command, self._leader.setup(), program_input())

    def place_told(self, said: Answers) -> None:
        """The host has told where files go."""
        self._place = said.place or self._place

    def said(self, number: int, words: dict[str, Any]) -> None:
        """The hop has said something."""
        if number != self._number or self._run.life.ended:
            return
        match words["say"]:
            case "at" | "complete":
                self._process._note(words["bytes"])
            case "from":
                self._tell_source(self._leader.name(words["upstream"]))
            case "lost":
                name = self._leader.name(words["upstream"])
                self.tell_journal("chain.lost", upstream=name, reason=words["reason"])
            case "feed":
                self._tell_source("connection")
                self._feed(words)
            case "placed":
                self._chain_process.hop.placed = True
                self._process._note(self._plan.size)
        self._leader.said(number, words)

    def _tell_source(self, name: str) -> None:
        sources = self._chain_process.hop.sources
        if sources[-1:] != [name]:  # who is fed is so for each pack and large file
            sources.append(name)
            self.tell_journal("chain.from", upstream=name)

    def _hop_ended(self, number: int, command: Process) -> None:
        self._leader.leave(number)
        self._end_feed()
        reason = command.error_reason
        error = reason if isinstance(reason, BaseException) else None
        if self._chain_process.hop.placed and not self._run.life.killed:
            self._carry_out(Finish(0))
        elif command.exit_code == NO_PYTHON:
            self._chain_process.hop.kind = "put"
            self._is_put = True
            self._carry_out(self._course.begin())
        elif command.exit_code == NO_TAR:
            self._chain_process.hop.kind = "scp"
            self._carry_out(UseScp())
        else:
            self._went(CommandEnded(command.exit_code, error, lost=isinstance(error, LOST)))

    def _go_on(self) -> None:
        """After a connection that has broken: there is no telling when the hop before will have removed what it had."""
        if self._is_put:
            super()._go_on()
        elif self._course.go_on() is not None:
            self._target = dataclasses.replace(self._target, id=secrets.token_hex(8))
            self._start_hop()

    def _over(self, future: object) -> None:
        super()._over(future)
        self._end_feed()
        self._leader.leave(self._number)

    # -- what the leader wants ------------------------------------------------------------

    def order(self, **words: Any) -> None:
        """Tell the hop."""
        command = self._command
        if command is None:
            return
        if words["do"] == "go":
            scripts = {
                name: pack_step(self._target, self._place, keep=True, last=name == "last") for name in ("pack", "last")
            }
            words = {**words, **scripts}
        order(command, words)

    def give_up(self, reason: str) -> None:
        """Nothing more can be expected of the hop."""
        advice = "The other hosts have gone on without it; is it up, and is its network?"
        self.fail(TransferError(self._process.host.address, reason, advice))

    def fail(self, error: BaseException) -> None:
        """The files can not be had."""
        if not self._run.life.ended:
            self.finish(None, error)

    def remark(self, text: str) -> None:
        """Have the report say this."""
        self._chain_process.hop.remarks.append(text)
        self.tell_journal("chain.remark", text=text)

    # -- feeding it ------------------------------------------------------------------------

    def _feed(self, words: dict[str, Any]) -> None:
        self._end_feed()
        then = functools.partial(self._feed_from, words["pipe"])
        self._leader.feed_input(self._number, words["segment"], words["bytes"], then)

    def _feed_from(self, pipe: str, given: FileInput) -> None:
        command = self._process._command(feed_step(self._target, self._place, pipe), None)
        command._redirect = Redirect(stdin=given)
        command.future.add_done_callback(lambda _: given.close())
        self._feeder = command
        command.start()

    def _end_feed(self) -> None:
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            feeder.kill()


class _HopLines(Lines):
    """What the hop of *actor* with *number* says; the script before it says where files go."""

    def __init__(self, actor: ChainActor, number: int) -> None:
        super().__init__(actor.actor_runtime, lambda words: actor._guarded(lambda: actor.said(number, words))())
        self._actor = actor

    def read_line(self, process: Any, stream: int, string: str) -> None:
        """In a worker."""
        said = answers(string.encode(errors="surrogateescape") + b"\n")
        if said.place:
            self._runtime.bus.call(lambda: self._actor.place_told(said))
        else:
            super().read_line(process, stream, string)
