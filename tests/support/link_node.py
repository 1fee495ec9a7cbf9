"""A node for the tests of links: run it as a program with a name and, as JSON, what its LinkSettings differ in.

It listens, publishes its actors, says "ready", and lives until its stdin ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import pykka

from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.links import LinkSettings, connect, listen, publish
from regisseur.protocols.message import message


@message("test-links.note")
class Note:
    """A registered message, as the tests define it too."""

    text: str
    number: int


@message("test-links.blob", bulk=True)
class Blob:
    """One with a bulk frame."""

    name: str
    bulk: bytes


class UnknownThereError(Exception):
    """A class that the asker does not know."""


@pykka.traversable
class Clock:
    """An attribute that shows what it has."""

    hour = 12

    def tick(self) -> int:
        """Advance the clock."""
        self.hour += 1
        return self.hour


class Box:
    """An attribute that is not traversable."""

    def tick(self) -> None:
        """Not for others."""


class Counter(Actor):
    """Counts, echoes, fails."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.has_spoken = False
        self.clock = Clock()
        self.hidden_box = Box()
        self._secret = "s"
        self.received: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        """Echo."""
        self.count += 1
        if isinstance(message, Blob):
            return [message.name, len(message.bulk)]
        if isinstance(message, Note):
            return Note(message.text.upper(), message.number + 1)
        return message

    def add(self, amount: int, *, twice: bool = False) -> int:
        """Add to the count."""
        self.count += amount * (2 if twice else 1)
        return self.count

    def fail(self, how: str) -> None:
        """Raise."""
        if how == "os":
            raise FileNotFoundError(2, "No such file or directory", "/nowhere")
        if how == "unknown":
            raise UnknownThereError("what is this")
        raise {"value": ValueError, "key": KeyError, "dead": pykka.ActorDeadError}[how]("the reason")

    def secret(self) -> Any:
        """Return what can not travel."""
        return threading.Lock()

    def tell_me(self, ref: Any, text: str) -> str:
        """Use a reference that came in a message."""
        ref.tell({"from": os.getpid(), "text": text})
        return str(ref)

    def child(self) -> Any:
        """Return a reference to an actor that nobody has published."""
        return Counter.start()

    def last_words(self) -> str:
        """Answer, and remember it."""
        self.has_spoken = True
        return "last words"

    def pid(self) -> int:
        """Tell the process."""
        return os.getpid()


class Silent(Actor):
    """Keeps the reactor's thread of its node busy, or never answers."""

    def on_receive(self, message: Any) -> Any:
        """Block the whole node, as no actor should."""
        threading.Event().wait(message)


class Slow(BlockingActor):
    """Handles nothing until it is let go."""

    gate = threading.Event()
    seen = 0

    def on_receive(self, message: Any) -> Any:
        """Wait for the gate."""
        self.gate.wait(60)
        Slow.seen += 1
        return Slow.seen


class Gatekeeper(Actor):
    """Lets `Slow` go, and tells how much waits for it."""

    def __init__(self, slow: Any) -> None:
        super().__init__()
        self._slow = slow

    def waiting(self) -> int:
        """Tell the length of its inbox."""
        return len(self._slow.actor_inbox.waiting)

    def open(self) -> None:
        """Let it go."""
        Slow.gate.set()


def main() -> None:
    """Be a node."""
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    dials = settings.pop("dials", None)
    listen(name=name, settings=LinkSettings(**settings))
    publish(Counter.start(), "counter")
    publish(Silent.start(), "silent")
    slow = Slow.start()
    publish(slow, "slow")
    publish(Gatekeeper.start(slow), "gate")
    Counter.start()  # never published
    if dials:
        connect(dials, settings=LinkSettings(**settings))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
