"""ActionActor: one run of one action.

Owns: the `ActionLife` (its rule) of that run.
Takes: the events of `_action_rule`; from its handle `BatchStarted`, `StartFailed`
and `KillWanted`, from the futures of its parts `PartEnded`.
Tells nobody: it starts and kills its parts by their handles, and sets the future
of the run when it is over.
Dies of: its end. Whatever happens, the future is set.

Lives on the reactor. The first batch of parts is started by the thread that
starts the action, so that errors reach the caller; those after it by workers,
since a handle of the user's making may block. Lifecycle handlers run in workers;
when the last of them has been told of the end, all who wait for it are.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pykka

from ._action_rule import (
    ActionLife,
    BatchStarted,
    Effect,
    Ended,
    KillParts,
    KillWanted,
    PartEnded,
    StartFailed,
    StartParts,
)
from ._collector import collector_paused
from .actor import Actor
from .future import Future
from .journal import current_journal

if TYPE_CHECKING:
    from ._action_base import Action
    from .runtime import Runtime

__all__ = ["ActionActor", "ActionRun", "Part"]

logger = logging.getLogger("regisseur")


class Part(Protocol):
    """What an action is made of: a process, or another action."""

    @property
    def started(self) -> bool:
        """It was told to start."""

    @property
    def future(self) -> Future[Any]:
        """Set when it has ended."""

    def start(self) -> Any:
        """Start it, and return at once."""

    def kill(self) -> Any:
        """Have it end, and return at once."""

    def reset(self) -> Any:
        """Return it to the state before the start."""


class ActionRun:
    """One run of an action: made by its handle, changed by its actor alone, read by everybody."""

    __slots__ = ("action", "address", "done", "life", "lifecycle", "over", "parent", "parts", "permit", "runtime")

    def __init__(self, action: Action, life: ActionLife) -> None:
        self.action = action
        self.life = life
        self.parts: Sequence[Part] = ()
        """The parts, as they were at the start."""
        self.lifecycle: list[Any] = []
        """Lifecycle handlers, as they were at the start."""
        self.done: Future[Any] = Future(cancellable=False)
        """Set to the handle when the run is over; or will never begin, as the action that should start it has ended."""
        self.over = self.done
        """Where there are lifecycle handlers, a future of their own, set before they are told of the end."""
        self.permit = [True]
        """To start it. Whoever pops it may; popping is atomic, so of two threads one may."""
        self.parent: str | None = None
        """Address of the running action that has started it or will."""
        self.runtime: Runtime
        self.address = ""
        """Of its actor."""

    def tell(self, event: Any) -> None:
        """Let the actor take *event*. Where the runtime has stopped, nobody is left who could: the future is set."""
        try:
            self.runtime.bus.tell(self.address, event)
        except pykka.ActorDeadError:
            self.give_up()

    def give_up(self) -> None:
        """Nobody is left who could tell of the end: let nobody wait for it."""
        self.over.offer(self.action)
        self.done.offer(self.action)

    def start_parts(self, batch: range) -> None:
        """Start a batch, and have the actor told of it and of all ends. In the thread of who starts, or a worker.

        Raises:
            BaseException: what a part raised; the actor was told.
        """
        with collector_paused(len(batch)):
            for index in batch:
                self._start_part(index)
        self.tell(BatchStarted(time.time()))

    def _start_part(self, index: int) -> None:
        part = self.parts[index]
        try:
            part.start()
        except BaseException as error:  # KeyboardInterrupt too: what has been started must not go on unattended
            begun = index
            if part.started:
                self._watch(part, index)
                begun += 1
            self.tell(StartFailed(time.time(), begun, error))
            raise
        self._watch(part, index)

    def _watch(self, part: Part, index: int) -> None:
        part.future.add_done_callback(functools.partial(self._part_ended, index))

    def _part_ended(self, index: int, _: object) -> None:
        self.tell(PartEnded(time.time(), index))

    def begin(self) -> None:
        """Tell the log and the handlers that it starts. In the thread of who starts it."""
        journal = current_journal()
        if journal is not None:
            action = self.action
            facts: dict[str, Any] = {"kind": type(action).__name__, "name": action.name, "parts": len(self.parts)}
            if self.parent is not None:
                facts["part_of"] = self.parent
            journal.event("action.started", actor=self.address, at=self.life.start_date, **facts)
        if self.lifecycle:
            self.over = Future()
            self.action._call_handlers(self.lifecycle, "start", self.runtime)

    def finish(self, retire: Callable[[], None]) -> None:
        """Tell the log and the handlers that it is over, and then everybody else.

        On the reactor; in the thread of who starts it if there are no parts.

        Args:
            retire: is called at the very end, on the reactor or in a worker.
        """
        action = self.action
        journal = current_journal()
        if journal is not None:
            facts: dict[str, Any] = {"ok": action.ok, "at": self.life.end_date}
            if self.life.error_reason is not None:
                facts["error"] = self.life.error_reason
            journal.event("action.ended", actor=self.address, **facts, **action._facts_of_parts(self.parts))
        if self.lifecycle:
            self.over.offer(action)
            action._call_handlers(self.lifecycle, "end", self.runtime, then=functools.partial(self._finished, retire))
        else:
            self._finished(retire)

    def _finished(self, retire: Callable[[], None]) -> None:
        """Tell all who wait."""
        retire()
        self.done.offer(self.action)
        self.action._let_go(self.parts)


class ActionActor(Actor):
    """See the module."""

    hidden = True

    def __init__(self, run: ActionRun) -> None:
        super().__init__()
        run.address = self.actor_address
        self._run = run

    def on_receive(self, event: Any) -> None:
        """Let the event happen."""
        life = self._run.life
        if type(event) is KillWanted and not life.ended:
            journal = current_journal()
            if journal is not None:
                journal.event("action.killed", actor=self.actor_address)
        effects = life.take(event)
        if effects:
            self._do(effects)

    def on_failure(self, *_: Any) -> None:
        """Never leave anybody waiting, even when this actor breaks."""
        self._run.give_up()

    def on_stop(self) -> None:
        """Nor when it is stopped from outside."""
        self._run.give_up()

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is StartParts:
                self._start_batch(effect.parts)
            elif type(effect) is KillParts:
                for index in effect.parts:
                    self._kill_part(self._run.parts[index])
            elif type(effect) is Ended:
                self._run.finish(functools.partial(self.actor_runtime.bus.retire, self))

    def _start_batch(self, batch: range) -> None:
        runtime = self.actor_runtime
        if runtime.running:
            runtime.pool.submit(lambda: self._start_in_worker(batch))
        else:  # the runtime is being stopped, which has killed the part before; to start another would keep it alive
            life = self._run.life
            self._do(life.take(KillWanted()))
            error = pykka.ActorDeadError(runtime.why_closed())
            self._do(life.take(StartFailed(time.time(), batch.start, error)))

    def _start_in_worker(self, batch: range) -> None:
        try:
            self._run.start_parts(batch)
        except Exception:
            logger.exception("%s could not start a part of it; it goes on with the next", self._run.action)

    def _kill_part(self, part: Part) -> None:
        try:
            part.kill()
        except Exception:
            logger.exception("%s could not kill %s", self._run.action, part)
