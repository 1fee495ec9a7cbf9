"""ChainActor: one host of a `ChainPut`. Its process is led as that of a `Put`, but what runs there is a hop.

Owns: the command that is the hop, and those that feed it. Its `ChainLeader` says what the hop is to do.

Where there can be no hop, for want of python3, all goes on as a `Put`; but if there is a program by which the host can
connect to a hop, it is a leaf: each step of the `Put` then fetches its stream from one. A step that fails so is done
again with another hop, and with the connection of commands when there is none.

Lives on the reactor, as its leader does.
"""

from __future__ import annotations

import dataclasses
import functools
import secrets
from typing import TYPE_CHECKING, Any

from ..protocols.chain_leaf import LEAF_COMMAND, leaf_input
from ..protocols.transfer import NO_PYTHON, NO_TAR, Answers, Target, answers, feed_step, hop_step, pack_step
from ._chain_leader import Lines, order, write_unlogged
from ._chain_program import BOOT, program_input
from ._redirect import Redirect
from ._transfer_actor import LOST, PutActor
from ._transfer_errors import TransferError
from ._transfer_rule import CommandEnded, Finish, Send, UseScp
from ._transfer_source import Part

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
        self._tools: list[str] = []
        self._is_leaf = False
        self._upstreams: list[Any] | None = None  # of a leaf; None: it has not begun
        self._taken: Any = None  # the upstream that its step takes from

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

    def tool_told(self, name: str) -> None:
        """The host has a program by which it could be a leaf."""
        self._tools.append(name)

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
        if command.exit_code == NO_PYTHON and self._tools and not self._run.life.killed:
            self._become_leaf()  # before the leader thinks that nobody more is to come
        self._leader.leave(number)
        self._end_feed()
        reason = command.error_reason
        error = reason if isinstance(reason, BaseException) else None
        if self._chain_process.hop.placed and not self._run.life.killed:
            self._carry_out(Finish(0))
        elif command.exit_code == NO_PYTHON:
            self._is_put = True
            if self._is_leaf:
                self._leader.said(self._number, {"say": "ready", "address": "", "port": 0, "client": ""})
            else:
                self._chain_process.hop.kind = "put"
                self._carry_out(self._course.begin())
        elif command.exit_code == NO_TAR:
            self._chain_process.hop.kind = "scp"
            self._carry_out(UseScp())
        else:
            self._went(CommandEnded(command.exit_code, error, lost=isinstance(error, LOST)))

    def _become_leaf(self) -> None:
        process = self._chain_process
        process.hop.kind = self._tools[0]
        self._is_leaf = True
        host = process.host.address
        self._number = self._leader.enter(self, process.rank, host, self._plan, self.actor_runtime, leaf=True)

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
        if self._is_leaf:
            self._order_leaf(words)
            return
        if command is None:
            return
        if words["do"] == "go":
            scripts = {
                name: pack_step(self._target, self._place, keep=True, last=name == "last") for name in ("pack", "last")
            }
            words = {**words, **scripts}
        order(command, words)

    def _order_leaf(self, words: dict[str, Any]) -> None:
        if words["do"] not in ("follow", "feed"):
            return
        begun, self._upstreams = self._upstreams is not None, list(words.get("upstreams", []))
        if not begun:
            self._carry_out(self._course.begin())
        elif self._taken is not None and self._taken not in self._upstreams and self._command is not None:
            self._command.kill()

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

    # -- a leaf ----------------------------------------------------------------------------

    def _send(self, effect: Send) -> None:
        if not self._upstreams or effect.offset:
            if self._is_leaf:
                self._tell_source("connection")
            super()._send(effect)
            return
        step, upstream = self._plan.steps[effect.step], self._upstreams[0]
        self._process._note(sum(done.size for done in self._plan.steps[: effect.step]))
        number, address, port = upstream
        self._tell_source(self._leader.name(number))
        self._taken = upstream
        command = self._process._command(LEAF_COMMAND, None)
        self.run_command(command, functools.partial(self._leaf_ended, effect))
        script = self._part_script(step, 0) if isinstance(step, Part) else self._pack_script(step, effect)
        write_unlogged(command, leaf_input(self._leader.key, self._tools[0], address, port, effect.step, script))
        command.close_stdin()

    def _leaf_ended(self, effect: Send, command: Process) -> None:
        upstream, self._taken = self._taken, None
        if command.exit_code == 0 or command.error or self._run.life.killed:
            self._command_ended(command)
            return
        if self._upstreams and self._upstreams[0] == upstream:
            del self._upstreams[0]
        self._leader.said(self._number, {"say": "lost", "upstream": upstream[0]})
        if not self._upstreams:
            self._leader.said(self._number, {"say": "dry", "segment": effect.step, "total": 0})
        self._carry_out(Send(effect.step, again=True))

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
        if string.startswith("tool "):
            self._runtime.bus.call(functools.partial(self._actor.tool_told, string[5:]))
            return
        said = answers(string.encode(errors="surrogateescape") + b"\n")
        if said.place:
            self._runtime.bus.call(lambda: self._actor.place_told(said))
        else:
            super().read_line(process, stream, string)
