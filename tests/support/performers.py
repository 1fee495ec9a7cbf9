"""Performers: actors for the tests of the core, and what a test and an actor tell each other by."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from deadline import DEADLINE
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.ref import ActorRef

__all__ = ["DEADLINE", "Asker", "Events", "Gate", "Performer", "in_worker", "wait_for_end"]

A = TypeVar("A", bound=Actor)


class Events:
    """What happened in an actor, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._seen: dict[str, threading.Event] = {}

    def _event(self, name: str) -> threading.Event:
        return self._seen.setdefault(name, threading.Event())

    def add(self, name: str) -> None:
        self.names.append(name)
        self._event(name).set()

    def wait(self, name: str) -> None:
        assert self._event(name).wait(DEADLINE), f"{name} did not happen, only {self.names}"


class Gate:
    """Held by a test: an actor that passes it waits, if it is one that may."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._open.wait(DEADLINE)

    def open(self) -> None:
        self._open.set()


class Performer(Actor):
    """Does what it is told: a message is a callable that gets the actor."""

    greeting = "hello"

    def __init__(self, events: Events | None = None) -> None:
        super().__init__()
        self.events = Events() if events is None else events
        self.created_in = threading.current_thread().name

    def on_start(self) -> None:
        self.events.add("on_start")

    def on_stop(self) -> None:
        self.events.add("on_stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert exception_value is None or isinstance(exception_value, exception_type or object)
        self.events.add(f"on_failure: {exception_value!r}")

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else super().on_receive(message)

    def thread(self) -> str:
        return threading.current_thread().name

    def add(self, first: int, second: int = 0) -> int:
        return first + second

    def fail(self, text: str) -> None:
        raise ValueError(text)


def in_worker(cls: type[A]) -> type[A]:
    """The blocking kind of *cls*."""
    return type(cls.__name__, (cls, BlockingActor), {"blocking": True})


def wait_for_end(ref: ActorRef[Any]) -> None:
    """Wait until the actor has stopped."""
    assert ref.actor_stopped.wait(DEADLINE)


class Asker(BlockingActor):
    """Asks other actors on behalf of those who ask it."""

    def on_receive(self, message: Callable[[Asker], Any]) -> Any:
        return message(self)
