"""Supervision: who is told of the end of an actor, and who starts it again.

`watch` has an actor or a function told once when an actor has ended, however
it ended. A `Supervisor` starts children, watches them, and restarts those that
end, by a policy that is data::

    supervisor = Supervisor.start([
        Child("gateway", lambda: Gateway.start("frontend"), RestartPolicy(restart="transient")),
        Child("watcher", JobWatcher.start),
    ]).proxy()
    supervisor.child("gateway").get().tell(...)

It is an actor itself, so a supervisor may be the child of another.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pykka
from pykka import messages

from ..protocols.message import message
from ._context import here
from ._supervision_rule import (
    Abandon,
    Begin,
    CancelRestart,
    Effect,
    Ended,
    Event,
    Over,
    RestartDue,
    RestartLater,
    RestartPolicy,
    StartChild,
    Started,
    StopChild,
    StopOverdue,
    StopWanted,
    SupervisorLife,
)
from .actor import Actor
from .ref import ActorRef

if TYPE_CHECKING:
    from ._reactor import Timer

__all__ = ["ActorEnded", "Child", "RestartPolicy", "SupervisionError", "Supervisor", "unwatch", "watch"]


@message("actor.ended")
class ActorEnded:
    """An actor has ended. From: the runtime. To: whoever watches it. Sent once, and nothing about it follows."""

    urn: str
    address: str
    actor_class: str
    """Name of its class."""
    failed: bool
    """True: an exception ended it; False: it was stopped, or has stopped itself."""
    reason: str
    """The exception, such as ``ValueError: no such host``; empty where there is none."""


Watcher = ActorRef[Any] | Callable[[ActorEnded], None]

_SWEEP = 64  # watchers of one actor, from which on the dead among them are looked for

logger = logging.getLogger("regisseur.supervision")


def watch(ref: ActorRef[Any], watcher: Watcher) -> None:
    """Have *watcher* told `ActorEnded` once, when the actor of *ref* has ended. Thread-safe.

    Where it has ended already, *watcher* is told at once. To watch an actor twice is to watch it once. Nobody is
    told when the whole runtime stops.

    Args:
        ref: an actor of this process.
        watcher: the reference of an actor, which gets the message; or a function, which is called with it in a
            worker thread and may block.

    Raises:
        TypeError: *ref* is no actor of this process.
    """
    if not isinstance(ref, ActorRef):
        raise TypeError(f"only an actor of this process can be watched, not {ref!r}")
    teller = _Teller(ref, watcher)
    if not ref._bus.watch(ref.actor_address, teller):
        teller.tell()
        return
    others = ref._bus.watchers(ref.actor_address)
    if len(others) >= _SWEEP and len(others) & (len(others) - 1) == 0:  # a power of two: now and then
        for other in others:
            if isinstance(other, _Teller) and other.deaf:
                ref._bus.unwatch(ref.actor_address, other)


def unwatch(ref: ActorRef[Any], watcher: Watcher) -> None:
    """Take back a `watch`; harmless where there is none. What is on its way already still comes. Thread-safe."""
    ref._bus.unwatch(ref.actor_address, _Teller(ref, watcher))


class _Teller:
    """Tells one watcher of the end of one actor; equal to another that tells the same one."""

    __slots__ = ("_ref", "_watcher")

    def __init__(self, ref: ActorRef[Any], watcher: Watcher) -> None:
        self._ref = ref
        self._watcher = watcher

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Teller) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> object:
        return self._watcher.actor_urn if isinstance(self._watcher, pykka.ActorRef) else self._watcher

    @property
    def deaf(self) -> bool:
        """Whether the watcher has ended itself."""
        return isinstance(self._watcher, pykka.ActorRef) and not self._watcher.is_alive()

    def __call__(self, _actor: Actor) -> None:
        self.tell()

    def tell(self) -> None:
        """Tell the watcher, if it still lives."""
        ref, watcher = self._ref, self._watcher
        reason: str | None = ref.actor_stopped.failure  # type: ignore[attr-defined]  # it is a StopFlag
        ended = ActorEnded(
            ref.actor_urn, ref.actor_address, ref.actor_class.__name__, failed=reason is not None, reason=reason or ""
        )
        if isinstance(watcher, pykka.ActorRef):
            with contextlib.suppress(pykka.ActorDeadError):
                watcher.tell(ended)
        else:
            with contextlib.suppress(RuntimeError):  # the runtime stops, and with it all that could be told
                ref._bus._runtime.pool.submit(lambda: watcher(ended))


@dataclass(frozen=True, slots=True)
class Child:
    """What a supervisor has to know of a child."""

    name: str
    """Unlike the names of its siblings."""
    start: Callable[[], ActorRef[Any]]
    """Starts the child and returns its reference. Called on the reactor: it must not block, and what is slow belongs
    into the ``on_start`` of a `BlockingActor`. What it raises counts as a failure of the child."""
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    """When to restart it."""
    shutdown: float = 5.0
    """Seconds that it has to stop, before its siblings to the left are stopped without it."""


class SupervisionError(RuntimeError):
    """A supervisor gave up: *child* ended again after *restarts* restarts within *period* seconds."""

    def __init__(self, child: str, restarts: int, period: float, reason: str) -> None:
        super().__init__(child, restarts, period, reason)
        self.child = child
        self.restarts = restarts
        self.period = period
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"child {self.child!r} failed again after {self.restarts} restarts within {self.period:g} s, "
            f"the last time of {self.reason or 'nothing that is known'}: supervision ends"
        )


class Supervisor(Actor):
    """Starts its children from left to right, and restarts those that end as their policies say.

    Owns: its children.  Takes: `ActorEnded` of its children, and its own timers.
    Dies of: a child that ends more often than its policy bears. Then it stops all children from right to left, each
    when the one before has ended, and fails itself with a `SupervisionError`; who watches it is told.
    Told to stop, it stops its children the same way, and has stopped when they have.

    Args:
        children: from left to right: who needs another stands to the right of it.

    Raises:
        ValueError: two children have the same name.
    """

    def __init__(self, children: Iterable[Child]) -> None:
        super().__init__()
        children = list(children)
        self._children = {child.name: child for child in children}
        if len(self._children) < len(children):
            raise ValueError(f"two children have one name: {', '.join(child.name for child in children)}")
        self._life = SupervisorLife((child.name, child.policy) for child in children)
        self._refs: dict[str, ActorRef[Any]] = {}
        self._names: dict[str, str] = {}
        """Names of the running children by URN."""
        self._reasons: dict[str, str] = {}
        self._timers: dict[str, Timer] = {}
        """One for each child: to restart it, or to give up waiting for its stop."""
        self._askers: list[tuple[str, int]] = []
        """Sender and correlation of those who have told it to stop."""

    def child(self, name: str) -> ActorRef[Any] | None:
        """The reference of a child as it runs now, another one after each restart; None while it does not run.

        Raises:
            KeyError: there is no such child.
        """
        if name not in self._children:
            raise KeyError(f"no child {name!r}; there are {', '.join(self._children) or 'none'}")
        return self._refs.get(name)

    def on_start(self) -> None:
        """Start the children."""
        self._take_event(Begin())

    def on_receive(self, message: Any) -> Any:
        """Hear of the end of a child, or of a timer."""
        if type(message) is ActorEnded:
            if message.urn in self._names:  # else it is one that was left behind, and has stopped after all
                self._child_ended(message)
        elif type(message) in (RestartDue, StopOverdue):
            self._take_event(message)
        else:
            return super().on_receive(message)
        return None

    def on_failure(self, *_: Any) -> None:
        """Leave no child behind, even when this actor breaks."""
        for ref in reversed(self._refs.values()):
            ref.stop(block=False)

    def _take(self, message: Any, sender: str, correlation: int, cause: int) -> None:
        """Put off a stop, and the answer to it, until the children have stopped."""
        if type(message) is not messages._ActorStop or self._life.over or not self.actor_runtime.running:
            super()._take(message, sender, correlation, cause)
            return
        here.actor, here.cause = self, cause
        self._askers.append((sender, correlation))
        self._take_event(StopWanted())

    # -- the rule and its effects --------------------------------------------------

    def _take_event(self, event: Event) -> None:
        effects = deque(self._life.take(event))
        while effects:
            following = self._do(effects.popleft())
            if following is not None:
                effects.extend(self._life.take(following))

    def _do(self, effect: Effect) -> Event | None:
        """Run one effect; returns what it led to at once."""
        match effect:
            case StartChild(name):
                return self._start_child(name)
            case RestartLater(name, delay):
                logger.info("%s restarts child %r in %.3g s: %s", self, name, delay, self._reasons[name] or "stopped")
                self._timers[name] = self.actor_later(delay, RestartDue(name))
            case CancelRestart(name):
                self._timers.pop(name).cancel()
            case StopChild(name):
                self._timers[name] = self.actor_later(self._children[name].shutdown, StopOverdue(name))
                self._refs[name].stop(block=False)
            case Abandon(name):
                logger.warning("%s: child %r has not stopped, and is left behind: %s", self, name, self._refs[name])
                self._forget(name)
            case Over():
                self._finish(effect)
        return None

    def _start_child(self, name: str) -> Event:
        self._timers.pop(name, None)
        try:
            ref = self._children[name].start()
            self._refs[name] = ref
            self._names[ref.actor_urn] = name
            self.actor_watch(ref)
        except Exception as error:
            logger.exception("%s could not start child %r", self, name)
            self._forget(name)
            return self._end_of(name, f"{type(error).__name__}: {error}", failed=True)
        return Started(name, time.monotonic())

    def _child_ended(self, message: ActorEnded) -> None:
        name = self._names[message.urn]
        self._forget(name)
        if name in self._timers:
            self._timers.pop(name).cancel()
        self._take_event(self._end_of(name, message.reason, failed=message.failed))

    def _end_of(self, name: str, reason: str, *, failed: bool) -> Event:
        self._reasons[name] = reason
        return Ended(name, failed, reason, time.monotonic(), random.random())

    def _forget(self, name: str) -> None:
        ref = self._refs.pop(name, None)
        if ref is not None:
            self._names.pop(ref.actor_urn, None)

    def _finish(self, over: Over) -> None:
        if over.failed is None:
            self._stop()
        else:
            policy = self._children[over.failed].policy
            try:
                raise SupervisionError(over.failed, policy.intensity, policy.period, over.reason)
            except SupervisionError as error:
                self._fail(error)
        for sender, correlation in self._askers:
            if correlation:
                self.actor_runtime.bus.reply(sender, correlation, True)
