"""Supervision: who is told when an actor ends, and who restarts it.

`watch` is for who wants to know; a `Supervisor` is for who wants it running::

    workers = Supervisor.start([
        Child("reader", Reader.start),
        Child("writer", Writer.start, RestartPolicy(restart="permanent")),
    ])
    workers.proxy().child("reader").get().tell(...)

The children start left to right and stop right to left. One that fails is
restarted after a delay that grows; when it fails too often the supervisor
stops the others and fails itself, which whoever watches it is told.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pykka

from ..protocols.message import message
from ._supervision_rule import ChildEnded, GiveUp, RestartAfter, RestartPolicy, RestartRule
from .actor import Actor
from .ref import ActorRef

__all__ = ["ActorEnded", "Child", "RestartPolicy", "SupervisionError", "Supervisor", "unwatch", "watch"]

logger = logging.getLogger("regisseur.actors")


@message("actor.ended")
class ActorEnded:
    """An actor has ended. From: the runtime. To: whoever watches it. Sent once, and nothing about it follows."""

    urn: str
    address: str
    actor_class: str
    """Name of its class."""
    failed: bool
    """True: an exception ended it; False: it stopped."""
    reason: str
    """The exception as text; empty where there is none."""


class SupervisionError(RuntimeError):
    """A supervisor gave up: *child* failed more than *restarts* times within *period* seconds."""

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


Watcher = ActorRef[Any] | Callable[[ActorEnded], object]


def watch(ref: ActorRef[Any], watcher: Watcher) -> None:
    """Have *watcher* told once when the actor of *ref* has ended; at once if it has already. Thread-safe.

    Args:
        ref: an actor of this process.
        watcher: an actor, which gets an `ActorEnded`; or a function of one, called on the
            reactor, where it must not block.
    """
    if not ref._bus.watch(ref.actor_address, _Watch(ref, watcher)):
        ref._bus.call(lambda: _tell(watcher, ref))


def unwatch(ref: ActorRef[Any], watcher: Watcher) -> None:
    """Undo `watch`; harmless where there was none. What was sent already arrives nevertheless. Thread-safe."""
    ref._bus.unwatch(ref.actor_address, _Watch(ref, watcher))


@dataclass(frozen=True, slots=True)
class _Watch:
    """What the bus calls: equal for the same actor and watcher, so that it can be taken back."""

    ref: ActorRef[Any]
    watcher: Watcher

    def __call__(self, _: Actor) -> None:
        _tell(self.watcher, self.ref)


def _tell(watcher: Watcher, ref: ActorRef[Any]) -> None:
    failure: str | None = getattr(ref.actor_stopped, "failure", None)
    end = ActorEnded(ref.actor_urn, ref.actor_address, ref.actor_class.__name__, failure is not None, failure or "")
    if not isinstance(watcher, pykka.ActorRef):
        watcher(end)
    elif watcher.is_alive():
        watcher.tell(end)


@dataclass(frozen=True, slots=True)
class Child:
    """What a supervisor keeps running."""

    name: str
    start: Callable[[], ActorRef[Any]]
    """Starts it and returns its reference; called on the reactor, so it must not block."""
    policy: RestartPolicy = field(default_factory=RestartPolicy)


class _RestartDue:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Supervisor(Actor):
    """Keeps its children running; see the module. Lives on the reactor.

    Args:
        children: started in this order.

    Raises:
        ValueError: two children have one name.
    """

    def __init__(self, children: Iterable[Child]) -> None:
        super().__init__()
        listed = list(children)
        self._children = {child.name: child for child in listed}
        if len(self._children) < len(listed):
            raise ValueError("two children of a supervisor have one name")
        self._rules = {name: RestartRule(child.policy) for name, child in self._children.items()}
        self._running: dict[str, ActorRef[Any]] = {}
        self._names: dict[str, str] = {}

    def on_start(self) -> None:
        """Start the children, left to right."""
        for name in self._children:
            self._start_child(name)

    def child(self, name: str) -> ActorRef[Any] | None:
        """The reference of a child as it runs now; None while it does not.

        Raises:
            KeyError: there is no such child.
        """
        if name not in self._children:
            raise KeyError(f"no child {name!r}; there are {', '.join(self._children) or 'none'}")
        return self._running.get(name)

    def on_receive(self, message: Any) -> None:
        """Deal with the end of a child, or restart it."""
        if isinstance(message, ActorEnded):
            name = self._names.pop(message.urn, None)
            if name is not None:
                self._running.pop(name, None)
                self._child_ended(name, message.failed, message.reason)
        elif isinstance(message, _RestartDue):
            self._start_child(message.name)

    def _start_child(self, name: str) -> None:
        try:
            ref = self._children[name].start()
        except Exception as error:
            logger.exception("%s can not start its child %r", self, name)
            self._child_ended(name, True, f"{type(error).__name__}: {error}")
            return
        self._running[name] = ref
        self._names[ref.actor_urn] = name
        watch(ref, self.actor_ref)

    def _child_ended(self, name: str, failed: bool, reason: str) -> None:
        effect = self._rules[name].take(ChildEnded(failed, time.monotonic(), random.random()))
        if isinstance(effect, RestartAfter):
            logger.warning("%s restarts its child %r in %.2f s: %s", self, name, effect.delay, reason or "it stopped")
            self.actor_later(effect.delay, _RestartDue(name))
        elif isinstance(effect, GiveUp):
            self._stop_children()
            raise SupervisionError(name, effect.restarts, self._rules[name].policy.period, reason)

    def on_stop(self) -> None:
        """Stop the children, right to left."""
        self._stop_children()

    def _stop_children(self) -> None:
        self._names.clear()
        for name in reversed(self._children):
            ref = self._running.pop(name, None)
            if ref is not None:
                unwatch(ref, self.actor_ref)
                ref.stop(block=False)
