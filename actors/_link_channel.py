"""A channel: one connection to a peer, with its queue, its bounds and its heartbeat.

Any thread may send; all else happens on the reactor, which takes what was
queued to the wire. How much may be under way is agreed in the greeting: the
receiver says how much of it has left its own queues (`Received`), and the
sender sends no more than so much ahead of it. So the memory that one side can
cost the other is bounded, and a flood is felt by who makes it.

Answers are not held back, since each was asked for; a peer that asks on
without reading them is given up at twice the bound.

Silence is counted in heartbeats of our own, not by the clock: a program that
was stopped for a while does not take its peers for dead when it goes on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from ..protocols.envelope import Envelope, decode, decode_message, seal
from ..protocols.errors import MalformedError, ProtocolError, UnknownVersionError
from ..protocols.links import Goodbye, Hello, Ping, Pong, Received, Refused, Welcome
from ._context import here
from ._link_errors import LinkFullError, PeerLostError
from ._link_wire import BrokenWireError, Wire

if TYPE_CHECKING:
    from ._link_pack import Parts
    from ._link_peer import Peer
    from ._link_settings import LinkSettings
    from ._reactor import Timer
    from .actor import Actor
    from .runtime import Runtime

__all__ = ["Channel", "ChannelOwner"]

_BAD_FRAMES = 3  # then the peer is cut off
_GRACE = 1000  # messages beyond twice the room given, before the peer is taken for hostile
_PONGS = 100  # a heartbeat, at most: who pings without reading must not fill our memory
_REPORTED_BYTES = 256 * 1024  # after so many the peer is told, be it fewer messages than usual
_REPORTED_AFTER = 0.05  # seconds after which it is told in any case
_SLOW = 0.02  # seconds between looks at an actor that is behind
_CONTROL = frozenset(
    ("link.hello", "link.welcome", "link.refused", "link.goodbye", "link.ping", "link.pong", "link.received")
)

logger = logging.getLogger("regisseur.links")


class ChannelOwner(Protocol):
    """Who is told of what a channel can not know itself. All on the reactor."""

    def greeted(self, channel: Channel, hello: Hello | Welcome) -> None:
        """The peer has said who it is."""

    def refused(self, channel: Channel, reason: str) -> None:
        """There can be no link; the channel is lost next."""

    def take(self, channel: Channel, envelope: Envelope, bulk: bytes | None) -> None:
        """A message for an actor, or an answer. Raises ProtocolError where it is none."""

    def lost(self, channel: Channel, reason: str, unsure: int) -> None:
        """Nothing more will come or go. Told once.

        *unsure* messages may not have arrived; some of them may: they are acknowledged in steps.
        """


class Channel:
    """One connection.

    Args:
        label: names the peer in logs and errors, until it has said who it is.
        dialed: whether this node has opened the connection.
    """

    def __init__(
        self, runtime: Runtime, owner: ChannelOwner, settings: LinkSettings, label: str, *, dialed: bool
    ) -> None:
        self.label = label
        self.dialed = dialed
        self.settings = settings
        self.up = False
        self.peer: Peer | None = None
        self.lost_reason = ""
        """Why nothing can be sent any more; empty while something can."""
        self.bad_frames = 0
        self.wire: Wire
        self._runtime = runtime
        self._owner = owner
        self._timers: dict[str, Timer] = {}
        # Reentrant, because a signal handler or a finalizer may send while its thread is sending.
        self._lock = threading.RLock()
        self._outbox: deque[Parts] = deque()
        self._scheduled = False
        self._limit = settings.queue
        self._sizes: deque[int] = deque()  # of what was sent and not yet received
        self._bytes = 0  # their sum
        self._acknowledged = 0
        self._room = threading.Event()
        self._quiet = 0.0
        self._pongs = 0
        self._received = 0
        self._reported = 0
        self._reporting = False
        self._unreported_bytes = 0
        self._withheld: dict[Actor, int] = {}  # received, but still waiting for an actor that is behind

    def open(self, wire: Wire, hello: Hello | None = None) -> None:
        """Begin to live on *wire*; who has dialed says *hello*."""
        self.wire = wire
        if hello is not None:
            self.control(hello)
        self._arm("tick", self.settings.heartbeat, self._tick)

    # -- sending: any thread ---------------------------------------------------

    def send(self, parts: Parts, *, answer: bool = False) -> None:
        """Queue one message.

        Args:
            answer: it was asked for: take it even if there is no room.

        Raises:
            LinkFullError: the peer is behind.
            PeerLostError: the channel is lost.
        """
        size = sum(map(len, parts))
        with self._lock:
            if self.lost_reason:
                raise PeerLostError(self.label, self.lost_reason)
            if not self._has_room(size, 2 if answer else 1):
                if answer:
                    self._runtime.bus.call(lambda: self.lose("it asks on without reading the answers"))
                    return
                self._room.clear()
                raise LinkFullError(
                    self.label, f"{len(self._sizes)} messages ({self._bytes} bytes) are on their way to it already"
                )
            self._sizes.append(size)
            self._bytes += size
            self._outbox.append(parts)
            wake, self._scheduled = not self._scheduled, True
        if wake:
            self._wake()

    def _has_room(self, size: int, share: int) -> bool:
        if len(self._sizes) >= share * self._limit:
            return False
        return not self._sizes or self._bytes + size <= share * self.settings.queue_bytes

    def wait_for_room(self, timeout: float | None) -> bool:
        """Wait until half of the queue is free, or the channel is lost; returns whether that came in time."""
        with self._lock:
            if self.lost_reason or self._is_half_free():
                return True
            self._room.clear()
        return self._room.wait(timeout)

    def _is_half_free(self) -> bool:
        return 2 * len(self._sizes) <= self._limit and 2 * self._bytes <= self.settings.queue_bytes

    def control(self, message: Any) -> None:
        """Queue a message about the link itself, which is not counted."""
        with self._lock:
            if self.lost_reason:
                return
            self._outbox.append((seal(message, ""),))
            wake, self._scheduled = not self._scheduled, True
        if wake:
            self._wake()

    def _wake(self) -> None:
        if here.on_reactor and here.runtime is self._runtime:
            self._runtime.reactor.call_again(self._flush)
        else:
            self._runtime.bus.call(self._flush)

    # -- on the reactor --------------------------------------------------------

    def _flush(self) -> None:
        with self._lock:
            batch, self._outbox = self._outbox, deque()
            self._scheduled = False
        try:
            for parts in batch:
                self.wire.send(parts)
        except BrokenWireError:
            return  # the wire tells us when all has been read that came before it broke
        self.wire.look()

    def receive(self, frame: bytes, bulk: bytes | None, extra: int) -> None:
        """Take one message off the wire; *extra* frames behind it were thrown away."""
        if self.lost_reason:
            return
        self._quiet = 0.0
        try:
            if extra:
                raise MalformedError(f"{extra + 2} frames where two at most belong together")
            envelope = decode(frame)
            if envelope.kind in _CONTROL:
                if bulk is not None:
                    raise MalformedError(f"a second frame behind a message of kind {envelope.kind!r}, which has none")
                self._take_control(decode_message(envelope))
            elif not self.up:
                raise MalformedError("a message before the greeting")
            else:
                self._received += 1
                self._unreported_bytes += len(frame) if bulk is None else len(frame) + len(bulk)
                self._owner.take(self, envelope, bulk)
                self._report()
                if self._received - self._reported > 2 * self.settings.queue + _GRACE:
                    reason = Goodbye("you send more than there is room for")
                    self.lose("it sends more than it was given room for", reason)
        except UnknownVersionError as error:
            if self.up:
                self._blame(error)
            else:
                self.refuse(
                    f"it speaks version {error.version!r} of the protocol, this node speaks {error.known}",
                    f"it speaks version {error.known} of the protocol, this node speaks {error.version!r}",
                )
        except ProtocolError as error:
            self._blame(error)

    def _take_control(self, message: Any) -> None:
        if type(message) is Ping:
            self._pongs += 1
            if self._pongs <= _PONGS:
                self.control(Pong())
        elif type(message) is Received:
            self._acknowledge(message.count)
        elif type(message) is Goodbye:
            self.lose(f"it said goodbye: {message.reason}")
        elif type(message) is not Pong:
            if self.up or self.dialed is (type(message) is Hello):
                raise MalformedError("a greeting out of place")
            if type(message) is Refused:
                self._owner.refused(self, message.reason)
                self.lose(message.reason)
            else:
                self._owner.greeted(self, message)

    def begin(self, peer: Peer, window: int) -> None:
        """The greetings are over: *peer* it is, which takes *window* messages."""
        self.peer = peer
        self.label = peer.label
        self.up = True
        self._limit = min(self._limit, window)

    def refuse(self, reason: str, to_peer: str) -> None:
        """Have no link: *reason* is for us, *to_peer* says it to the other side."""
        self._owner.refused(self, reason)
        self.lose(reason, Refused(to_peer))

    def _blame(self, error: ProtocolError) -> None:
        self.bad_frames += 1
        logger.warning("bad frame no. %d from node %s is dropped: %s", self.bad_frames, self.label, error)
        if self.bad_frames >= _BAD_FRAMES:
            reason = f"{self.bad_frames} bad frames, the last: {error}"
            self.lose(f"it sent {reason}", Goodbye(f"you sent {reason}"))

    def _acknowledge(self, count: int) -> None:
        with self._lock:
            new = count - self._acknowledged
            if not 0 <= new <= len(self._sizes):
                raise MalformedError(f"it claims to have received {count} messages")
            for _ in range(new):
                self._bytes -= self._sizes.popleft()
            self._acknowledged = count
            if self._is_half_free():
                self._room.set()

    def withhold(self, actor: Actor) -> None:
        """Count the message just delivered as received only when *actor*, which is behind, has caught up."""
        if not self._withheld:
            self._arm("slow", _SLOW, self._look_at_slow)
        self._withheld[actor] = self._withheld.get(actor, 0) + 1

    def _look_at_slow(self) -> None:
        for actor in list(self._withheld):
            if actor.actor_stopped.is_set() or 2 * len(actor.actor_inbox.waiting or ()) <= self.settings.backlog:
                del self._withheld[actor]
        self._report()
        if self._withheld:
            self._arm("slow", _SLOW, self._look_at_slow)

    def _report(self, *, all_of_it: bool = False) -> None:
        """Give the peer room, in steps of an eighth of the queue, and what is left of that a little later."""
        left = self._received - (sum(self._withheld.values()) if self._withheld else 0)
        new = left - self._reported
        if not new:
            return
        if all_of_it or 8 * new >= self._limit or self._unreported_bytes >= _REPORTED_BYTES:
            self._reported = left
            self._unreported_bytes = 0
            self.control(Received(left))
        elif not self._reporting:
            self._reporting = True
            self._arm("report", _REPORTED_AFTER, self._report_the_rest)

    def _report_the_rest(self) -> None:
        self._reporting = False
        self._report(all_of_it=True)

    def _tick(self) -> None:
        settings = self.settings
        self._quiet += settings.heartbeat
        self._pongs = 0
        if self._quiet > settings.patience:
            self.lose(f"no sign of life for {settings.patience:g} seconds", Goodbye("you were silent for too long"))
            return
        if self.up and self._quiet > settings.heartbeat:
            self.control(Ping())
        if self.peer is not None:
            self.peer.forget_answered()
        self._arm("tick", settings.heartbeat, self._tick)

    def _arm(self, name: str, delay: float, function: Any) -> None:
        if not self.lost_reason:
            self._timers[name] = self._runtime.reactor.call_later(delay, function)

    def lose(self, reason: str, farewell: Any = None) -> None:
        """End the channel; *farewell* still goes out, behind what was queued."""
        if self.lost_reason:
            return
        if farewell is not None:
            if self.up:
                self._report(all_of_it=True)
            self.control(farewell)
            self._flush()
        with self._lock:
            self.lost_reason = reason
            unsure = 0 if farewell is not None else len(self._sizes)
            self._outbox.clear()
            self._room.set()
        for timer in self._timers.values():
            timer.cancel()
        self.wire.close()
        self._owner.lost(self, reason, unsure)
