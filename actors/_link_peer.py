"""A peer: another node, as the bus sees it.

Owns the questions that were sent there and are not answered: they end when
the channel by which they went is lost, whatever becomes of the node. There
may be two channels, when two nodes have dialed each other in the same moment;
messages go by the older one, so that they keep their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.envelope import Envelope
from ..protocols.errors import FieldError, ProtocolError, UnknownKindError
from ..protocols.links import (
    Call,
    Data,
    DescribeActor,
    Failure,
    GetAttribute,
    Reply,
    SetAttribute,
    StopActor,
)
from ..protocols.message import is_message
from ._link_channel import Channel
from ._link_errors import LinkError, PeerLostError, error_of, failure_of
from ._link_exports import Exports, check_path, describe
from ._link_pack import pack_message, unpack_message

if TYPE_CHECKING:
    from .ref import ActorRef
    from .runtime import Runtime

__all__ = ["Loopback", "Peer"]

logger = logging.getLogger("regisseur.links")


class Peer:
    """Another node. `tell`, `answer` and `wait_for_room` are thread-safe; all else belongs to the reactor.

    Args:
        node: its 16 hex digits.
        name: the name under which it listens, if any.
        exports: what it may reach here.
        address_of: gives the address under which a reference is valid elsewhere.
        ref_for: gives the reference for an address.
    """

    def __init__(
        self,
        runtime: Runtime,
        node: str,
        name: str | None,
        pid: int,
        exports: Exports,
        address_of: Callable[[pykka.ActorRef[Any]], str],
        ref_for: Callable[[str], Any],
    ) -> None:
        self.node = node
        self.name = name
        self.pid = pid
        self.label = f"{name or node!r} (process {pid})"
        self.channels: list[Channel] = []
        self.lost_reason = ""
        self._runtime = runtime
        self._bus = runtime.bus
        self._exports = exports
        self._address_of = address_of
        self._ref_for = ref_for
        self._asked: dict[int, Channel] = {}

    # -- sending: any thread ---------------------------------------------------

    def tell(self, to: str, message: Any, sender: str, correlation: int, cause: int) -> None:
        """Send *message* to the actor that is published as *to* there.

        Raises:
            PeerLostError, LinkFullError: it was not sent.
            TypeError, ProtocolError: it can not travel.
        """
        parts = pack_message(message, to, sender, correlation, cause, self._address_of)
        channel = self._channel()
        if not correlation:
            channel.send(parts)
            return
        self._asked[correlation] = channel  # before it is sent: should the channel be lost meanwhile, the question ends
        try:
            channel.send(parts)
        except LinkError:
            self._asked.pop(correlation, None)
            raise

    def answer(self, correlation: int, value: Any, error: BaseException | None) -> None:
        """Answer the peer's question with *value*, or with *error* if that is not None. Never fails."""
        if error is not None:
            answer: Any = failure_of(error)
        else:
            answer = value if is_message(value) else Reply(value)
        try:
            try:
                parts = self._pack_answer(answer, correlation)
            except (TypeError, ValueError) as wrong:
                kind = ProtocolError if isinstance(wrong, ProtocolError) else TypeError
                answer = failure_of(kind(f"the answer can not travel: {wrong}"))
                parts = self._pack_answer(answer, correlation)
            self._channel().send(parts, answer=True)
        except pykka.ActorDeadError:
            self._bus.dead_letters += 1  # whoever asked is gone

    def _pack_answer(self, answer: Any, correlation: int) -> tuple[bytes, ...]:
        return pack_message(answer, "", "", correlation, 0, self._address_of)

    def _channel(self) -> Channel:
        channels = self.channels
        if not channels:
            raise PeerLostError(self.label, self.lost_reason)
        return channels[0]

    @property
    def linked(self) -> bool:
        """Whether something can be sent."""
        return bool(self.channels)

    def wait_for_room(self, timeout: float | None) -> bool:
        """As `Channel.wait_for_room`. Raises PeerLostError."""
        return self._channel().wait_for_room(timeout)

    # -- receiving -------------------------------------------------------------

    def take(self, envelope: Envelope, bulk: bytes | None, channel: Channel) -> None:
        """Deliver what came by *channel*.

        Raises:
            ProtocolError: it is no message.
        """
        if not envelope.to:  # the kind tells no answer: a message may be one, and so may one with references
            self._take_answer(envelope, bulk)
            return
        asked = envelope.correlation
        try:
            message = unpack_message(envelope, bulk, self._ref_for)
        except ProtocolError as error:
            if asked:
                self.answer(asked, None, error)
            if isinstance(error, UnknownKindError):  # well-formed: the peer knows messages that we do not
                self._bus.dead_letters += 1
                logger.warning("a message from node %s is dropped: %s", self.label, error)
                return
            raise
        try:
            self._deliver(envelope, message, channel)
        except ProtocolError:
            raise
        except Exception as error:  # no such actor, not for others, or what the actor's class raises when looked at
            if asked:
                self.answer(asked, None, error)
            else:
                self._bus.dead_letters += 1
                logger.warning("a message from node %s is dropped: %s", self.label, error)

    def _deliver(self, envelope: Envelope, message: Any, channel: Channel) -> None:
        ref = self._exports.find(envelope.to)
        actor = None if ref is None else ref._actor_weakref()
        if ref is None or actor is None:
            raise pykka.ActorDeadError(
                f"no living actor is published as {envelope.to!r} by node {self._runtime.node} (process "
                f"{self._runtime.pid})"
            )
        if type(message) is DescribeActor:
            self.answer(envelope.correlation, describe(actor), None)
            return
        if type(message) in (Call, GetAttribute, SetAttribute):
            check_path(actor, message.path)
        local = _as_sent(message)
        sender = f"{envelope.sender}@{self.node}"
        # The cause is a number of the other node's: here this message is where things begin.
        self._bus.deliver(ref.actor_address, local, sender, envelope.correlation, 0)
        if actor.blocking and len(actor.actor_inbox.waiting or ()) > channel.settings.backlog:
            channel.withhold(actor)

    def _take_answer(self, envelope: Envelope, bulk: bytes | None) -> None:
        number = envelope.correlation
        if self._asked.pop(number, None) is None:
            return  # it comes too late, or was never asked for
        try:
            answer = unpack_message(envelope, bulk, self._ref_for)
        except ProtocolError as error:
            self._bus.reply_error("", number, error)
            raise
        if type(answer) is Failure:
            self._bus.reply_error("", number, error_of(answer, self.label))
        else:
            self._bus.reply("", number, answer.value if type(answer) is Reply else answer)

    # -- the link --------------------------------------------------------------

    def drop(self, channel: Channel, reason: str) -> None:
        """*channel* is lost: end the questions that went by it."""
        self.lost_reason = self.lost_reason or reason
        self.channels = [c for c in self.channels if c is not channel]
        error = PeerLostError(self.label, reason)
        for number, by in self._asked.copy().items():
            if by is channel and self._asked.pop(number, None) is not None:
                self._bus.reply_error("", number, error)

    def forget_answered(self) -> None:
        """Forget questions whose askers have given up."""
        for number in self._asked.copy():
            if not self._bus.waits(number):
                self._asked.pop(number, None)


def _as_sent(message: Any) -> Any:
    """What the sender passed to `tell` or `ask`, out of the message that carried it."""
    if type(message) is Data:
        return message.value
    if type(message) is Call:
        if type(message.args) not in (list, tuple):
            raise FieldError("link.call", "args", f"is of type {type(message.args).__name__}")
        return pykka.messages.ProxyCall(message.path, tuple(message.args), message.kwargs)
    if type(message) is GetAttribute:
        return pykka.messages.ProxyGetAttr(message.path)
    if type(message) is SetAttribute:
        return pykka.messages.ProxySetAttr(message.path, message.value)
    if type(message) is StopActor:
        return pykka.messages._ActorStop()  # pykka has no public name for it
    return message


class Loopback:
    """This node itself, for messages to an address that names it."""

    def __init__(self, runtime: Runtime, exports: Exports) -> None:
        self._bus = runtime.bus
        self._node = runtime.node
        self._exports = exports

    def tell(self, to: str, message: Any, sender: str, correlation: int, cause: int) -> None:
        """Pass *message* to a published actor of this node. Raises pykka.ActorDeadError."""
        ref: ActorRef[Any] | None = self._exports.find(to)
        if ref is None:
            raise pykka.ActorDeadError(f"no living actor is published as {to!r} by this node, {self._node}")
        self._bus.tell(ref.actor_address, message, correlation=correlation)

    def answer(self, correlation: int, value: Any, error: BaseException | None) -> None:
        """Nothing asks this way."""

    linked = True

    def wait_for_room(self, timeout: float | None) -> bool:
        """There always is."""
        return True
