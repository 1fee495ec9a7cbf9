"""What two nodes of the bus say to each other about their link, and what carries the messages of their actors.

A link opens with a greeting: the one who dials says `Hello`, the other
`Welcome` or `Refused`. Then both send at will: messages for actors, answered
with `Reply` or `Failure` where the envelope has a correlation; `Received`,
which gives the sender room for more; and `Ping`, answered with `Pong`. A link
closes with `Goodbye`, or by silence.

Any registered message may be sent to an actor as it is. What is plain data
but no message type travels in `Data`, what a proxy does in `Call`,
`GetAttribute` and `SetAttribute`, and a message that holds references to
actors in `WithRefs`.
"""

from __future__ import annotations

from typing import Any

from .message import message

__all__ = [
    "Call",
    "Data",
    "DescribeActor",
    "Failure",
    "GetAttribute",
    "Goodbye",
    "Hello",
    "Ping",
    "Pong",
    "Received",
    "Refused",
    "Reply",
    "SetAttribute",
    "StopActor",
    "Welcome",
    "WithRefs",
]


@message("link.hello")
class Hello:
    """The first message of the node that dials. Answer: `Welcome` or `Refused`."""

    node: str
    """16 hex digits, new for every runtime."""
    name: str | None
    """The name under which that node can be dialed itself, if any."""
    pid: int
    window: int
    """Number of messages for actors that it takes ahead of its `Received`."""


@message("link.welcome")
class Welcome:
    """The answer to `Hello`: the link is up. The fields are those of `Hello`."""

    node: str
    name: str | None
    pid: int
    window: int


@message("link.refused")
class Refused:
    """The answer to `Hello` of a node that is not wanted. Nothing follows."""

    reason: str


@message("link.goodbye")
class Goodbye:
    """The sender closes the link, on purpose. Nothing follows."""

    reason: str


@message("link.ping")
class Ping:
    """Are you there? Answer: `Pong`, at once."""


@message("link.pong")
class Pong:
    """I am there."""


@message("link.received")
class Received:
    """So many messages of this link have left the queues of the sender of this."""

    count: int
    """Since the link is up; `Hello`, `Ping` and their kind are not counted."""


@message("link.data")
class Data:
    """A message to an actor that is plain data."""

    value: Any


@message("link.refs")
class WithRefs:
    """A message of another kind, some of whose texts stand for references to actors."""

    kind: str
    body: Any
    """The list of its field values."""
    refs: dict[str, str]
    """The addresses, as ``name@node``, by the texts that stand for them: random, so that no other text is mistaken."""


@message("link.call")
class Call:
    """Call a method of an actor. Answer: what it returns or raises."""

    path: tuple[str, ...]
    """Attribute names from the actor to the method."""
    args: Any
    """A list or tuple."""
    kwargs: dict[str, Any]


@message("link.get")
class GetAttribute:
    """Read an attribute of an actor. Answer: its value."""

    path: tuple[str, ...]


@message("link.set")
class SetAttribute:
    """Set an attribute of an actor. Answer: None."""

    path: tuple[str, ...]
    value: Any


@message("link.stop")
class StopActor:
    """Stop an actor when it has handled what came before. Answer: True."""


@message("link.describe")
class DescribeActor:
    """What is this actor? The node answers, without disturbing the actor.

    Answer: (its URN, the name of its class, list of (path, is it callable,
    is it traversable) of its public attributes).
    """


@message("link.reply")
class Reply:
    """The answer to the message with the correlation of this one's envelope, which is addressed to nobody.

    An answer that is a registered message travels as itself.
    """

    value: Any


@message("link.failure")
class Failure:
    """The same where there is no answer, but an exception."""

    type_name: str
    """Name of its class."""
    text: str
    code: str = ""
    """Where both sides know the class: the name under which they do; else empty."""
    args: Any = ()
    """With a code: what the class is to be called with, a tuple of plain data."""
