"""The bus: carries every message between actors.

Inside a process all messages go to the reactor's thread, which hands each to
its actor: at once to one that lives on the reactor, by the worker pool to one
that may block. They wait in a queue, and a ZeroMQ PUSH/PULL pair over inproc
wakes the reactor for them where it rests. What the reactor's own thread sends
waits in a queue of its own for the next turn; it is packed there too, unless it
holds nothing but numbers and bytes. So messages of one sender arrive in the
order in which they were sent. What is addressed to ``name@node`` goes to the
node's link (see `links`).

A message of a registered type is packed; any other object stays in a table
here and only its number travels. Replies do not go through an inbox: they set
the future of the one who asked.

The inproc queue has no bound: its senders are the program itself, and a
sender on the reactor that would block could never be unblocked. What comes
from outside is bounded where it enters: pipes are not read while their reader
is behind, and links to other processes have bounded queues.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgpack
import pykka
import zmq
from pykka import messages

from ..protocols.envelope import VERSION, decode, decode_message, seal
from ..protocols.errors import MalformedError, OversizedError
from ..protocols.message import types_by_class, types_by_kind
from ..protocols.plain import LIMIT
from ._context import here
from ._link_errors import PeerLostError
from ._reactor import READABLE
from .actor import Actor, Delivery
from .future import Future
from .registry import ActorRegistry

if TYPE_CHECKING:
    from ._reactor import Reactor
    from .ref import ActorRef
    from .runtime import Runtime

__all__ = ["Bus", "Link"]

_BATCH = 500  # messages handled before descriptors and timers get their turn
_REMEMBERED = 256  # last messages kept for the story of a failed actor
_ROUND = 100  # messages of one blocking actor in a row, before its worker takes another task

_OBJECT = ""  # the kind of an envelope whose body is the number of an object in the table
_KNOCK = b""  # tells the reactor that there are messages
_CALL = "!"  # the same, and the object is a function for the reactor to call

logger = logging.getLogger("regisseur.bus")


class Link(Protocol):
    """The way to another node; see `links`. Thread-safe."""

    @property
    def linked(self) -> bool:
        """Whether something can be sent there now."""

    def tell(self, to: str, message: Any, sender: str, correlation: int, cause: int) -> None:
        """Send to actor *to* of that node. Raises where that is not possible."""

    def answer(self, correlation: int, value: Any, error: BaseException | None) -> None:
        """Answer the question *correlation* of that node with *value*, or with *error* if that is not None."""

    def wait_for_room(self, timeout: float | None) -> bool:
        """Wait until there is room for messages; returns whether that came within *timeout* seconds."""


class Bus:
    """The bus of one runtime. Methods are thread-safe unless they say otherwise."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._context = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        self._push = self._context.socket(zmq.PUSH)
        for socket in (self._pull, self._push):
            socket.set_hwm(0)
            socket.linger = 0
        address = f"inproc://{runtime.node}"
        self._pull.bind(address)
        self._push.connect(address)
        # Reentrant, because a signal handler or a finalizer may send while its thread is sending.
        self._lock = threading.RLock()
        # The plain send: the one of pyzmq's Socket class adds options we do not use, and half the cost.
        self._send: Callable[..., Any] = functools.partial(zmq.backend.Socket.send, self._push)
        self._pack = msgpack.Packer().pack
        # Frames on their way, and whether the reactor looks at them without being woken. To send each by the socket
        # would offer Python's own lock to the thread that is waking, which takes longer than to take it back: that is
        # half of the cost of a message.
        self._waiting: deque[tuple[bytes, bytes | None]] = deque()
        self._awake = False
        # What the reactor has sent to itself in this turn.
        self._own: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._objects: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        self._actors: dict[str, Actor] = {}
        self._asked: dict[int, tuple[Future[Any], str]] = {}
        self._last: deque[tuple[str, type, int]] = deque(maxlen=_REMEMBERED)
        self._closed = False
        self.links: dict[str, Link] = {}
        """Links to other nodes, by the node's digits and name."""
        self._keeper: Any = None
        self.dead_letters = 0
        """How many messages found no actor."""
        self._watchers: dict[str, dict[Callable[[Actor], None], None]] = {}  # the inner ones serve as ordered sets

    # -- sending ---------------------------------------------------------------

    def tell(self, to: str, message: Any, *, correlation: int = 0) -> None:
        """Send *message* to the actor with address *to*.

        Raises:
            pykka.ActorDeadError: the runtime has stopped.
            ProtocolError, TypeError: the message can not travel.
        """
        actor = here.actor
        if actor is None:
            sender, cause = "", next(self._numbers)
        else:
            sender, cause = actor.actor_address, here.cause or next(self._numbers)
        known = types_by_class.get(type(message))
        if "@" in to:
            self._tell_node(to, message, sender, correlation, cause)
        elif known is None:
            self._send_object(_OBJECT, message, to, sender, correlation, cause)
        elif known.shared and here.on_reactor and here.runtime is self._runtime and known.fits(message):
            if self._closed:
                self._raise_closed()
            self._queue(self.deliver, to, message, sender, correlation, cause)
        elif known.typed:
            with self._lock:
                if self._closed:
                    self._raise_closed()
                try:
                    frame = self._pack((VERSION, to, sender, correlation, cause, known.kind, known.values(message)))
                except (UnicodeEncodeError, ValueError, OverflowError) as error:
                    raise MalformedError(f"{known.kind}: can not be packed: {error}") from None
                if len(frame) > LIMIT:
                    raise OversizedError(len(frame), LIMIT)
                self._send_frame(frame, _raw(message.bulk) if known.bulk else None)
        else:
            frame = seal(message, to, sender, correlation, cause)
            with self._lock:
                self._send_frame(frame)

    def ask(self, to: str, message: Any, actor: Actor | None = None, *, timeout: float | None = None) -> Future[Any]:
        """Send *message* to the actor with address *to* and return the future of its reply.

        Args:
            actor: the actor itself where it is known, for the search for circles.
            timeout: seconds after which the future ends with `Timeout`; None: never.
        """
        future: Future[Any] = Future()
        future.awaited_actor = actor
        future.asked_by = here.actor
        number = next(self._numbers)
        self._asked[number] = (future, to)
        try:
            self.tell(to, message, correlation=number)
        except BaseException:
            self._asked.pop(number, None)  # a link that was lost meanwhile has ended it already
            raise
        if timeout is not None:
            self._runtime.call_later(timeout, lambda: self._give_up(number, timeout))
        return future

    def call(self, function: Callable[[], None]) -> None:
        """Have the reactor call *function*, in order with the messages."""
        self._send_object(_CALL, function, "", "", 0, 0)

    def _send_object(self, kind: str, value: Any, to: str, sender: str, correlation: int, cause: int) -> None:
        number = next(self._numbers)
        with self._lock:
            if self._closed:
                self._raise_closed()
            self._objects[number] = value
            self._send_frame(self._pack((VERSION, to, sender, correlation, cause, kind, (number,))))

    def _send_frame(self, frame: bytes, bulk: bytes | None = None) -> None:
        """Send a frame, and with it one of raw bytes; the lock is held."""
        if self._closed:
            self._raise_closed()
        if here.on_reactor and here.runtime is self._runtime:
            self._queue(self._hand_over, frame, bulk)
            return
        # In this order an interruption of this very thread between any two steps, by a signal handler that sends and
        # waits for a reply or by one that raises, keeps nobody waiting: what is in the queue comes with the next knock.
        self._waiting.append((frame, bulk))
        if not self._awake:
            self._send(_KNOCK)
            self._awake = True  # the reactor can not rest meanwhile: it needs the lock for that

    def _queue(self, step: Callable[..., None], *arguments: Any) -> None:
        self._own.append((step, arguments))
        if len(self._own) == 1:
            self._reactor.call_again(self._drain_own)

    def _raise_closed(self) -> NoReturn:
        raise pykka.ActorDeadError(self._runtime.why_closed())

    def _tell_node(self, to: str, message: Any, sender: str, correlation: int, cause: int) -> None:
        if self._closed:
            self._raise_closed()
        name, _, node = to.rpartition("@")
        link = self.links.get(node)
        if link is None:
            raise PeerLostError(repr(node), "there is no link to it: connect to it first")
        link.tell(name, message, sender, correlation, cause)

    def keep_links(self, make: Callable[[], Any]) -> Any:
        """The keeper of the links of this runtime, a `Links`; *make* makes it when it is first wanted."""
        with self._lock:
            if self._keeper is None:
                self._keeper = make()
            return self._keeper

    def make_socket(self, kind: int) -> zmq.Socket[bytes]:
        """A socket for links. Who asks for it closes it; the reactor's thread."""
        return self._context.socket(kind)

    # -- replies ---------------------------------------------------------------

    def reply(self, to: str, correlation: int, value: Any) -> None:
        """Give *value* to who asked under *correlation*."""
        asked = self._asked.pop(correlation, None) if "@" not in to else None
        if asked is not None:
            asked[0].offer(value)
        elif "@" in to:
            self._reply_node(to, correlation, value, None)

    def reply_error(self, to: str, correlation: int, error: BaseException) -> None:
        """End the future of who asked under *correlation* with *error*."""
        asked = self._asked.pop(correlation, None) if "@" not in to else None
        if asked is not None:
            asked[0].offer_exception(error)
        elif "@" in to:
            self._reply_node(to, correlation, None, error)

    def _reply_node(self, to: str, correlation: int, value: Any, error: BaseException | None) -> None:
        link = self.links.get(to.rpartition("@")[2])
        if link is None or self._closed:
            self.dead_letters += 1  # whoever asked is gone
        else:
            link.answer(correlation, value, error)

    def waits(self, correlation: int) -> bool:
        """Whether somebody still waits for the reply to question *correlation*; forgets it if nobody does."""
        asked = self._asked.get(correlation)
        if asked is not None and asked[0].done():
            self._asked.pop(correlation, None)
            return False
        return asked is not None

    def _give_up(self, number: int, timeout: float) -> None:
        from .future import Timeout

        asked = self._asked.pop(number, None)
        if asked is not None:
            asked[0].offer_exception(Timeout(f"no reply from {asked[1]} after {timeout} seconds"))

    # -- actors ----------------------------------------------------------------

    def launch(self, actor: Actor, *, begin: bool = True) -> ActorRef[Any]:
        """Register *actor* and have its life begin.

        Args:
            begin: call its ``on_start``; False for one that has none, which saves a message.
        """
        if self._closed:
            self._raise_closed()
        self._actors[actor.actor_address] = actor
        if not actor.hidden:
            ActorRegistry.register(actor.actor_ref)
        try:
            if actor.blocking:
                self.call(lambda: self._schedule(actor, Delivery(_BEGIN, "", 0, 0)))
            elif begin:
                self.call(actor._begin)
        except pykka.ActorDeadError:
            self._actors.pop(actor.actor_address, None)
            ActorRegistry.unregister(actor.actor_ref)
            raise
        return actor.actor_ref

    def find(self, address: str) -> ActorRef[Any] | None:
        """The ref of the actor of this node with this *address*, or None."""
        actor = self._actors.get(address)
        return None if actor is None else actor.actor_ref

    def watch(self, address: str, watcher: Callable[[Actor], None]) -> bool:
        """Have *watcher* called, once and on the reactor, when the actor with this *address* has ended.

        A watcher that equals one there is already takes its place.

        Returns:
            False if it has ended already: then *watcher* is not called. Nor is it where the whole runtime ends.
        """
        with self._lock:
            if address not in self._actors:
                return False
            self._watchers.setdefault(address, {})[watcher] = None
            return True

    def unwatch(self, address: str, watcher: Callable[[Actor], None]) -> None:
        """Take back a `watch`; harmless when there is none."""
        with self._lock:
            watchers = self._watchers.get(address, {})
            watchers.pop(watcher, None)
            if not watchers:
                self._watchers.pop(address, None)

    def watchers(self, address: str) -> list[Callable[[Actor], None]]:
        """Who watches the actor with this *address*, the first to come first."""
        with self._lock:
            return list(self._watchers.get(address, ()))

    def ended(self, actor: Actor) -> None:
        """Told by *actor* in its own thread: it has stopped, and its last hook is done."""
        with self._lock:
            self._actors.pop(actor.actor_address, None)
            watchers = self._watchers.pop(actor.actor_address, ()) if self._watchers else ()
        for watcher in watchers:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime ends, and all watchers with it
                self.call(functools.partial(watcher, actor))

    def retire(self, actor: Actor) -> None:
        """Take *actor* off the bus, whose work is done: no message may be waiting for it. The reactor's thread."""
        actor.actor_stopped.set()
        self.ended(actor)

    def last_messages(self, address: str) -> list[str]:
        """Types of the last messages for *address*, the newest last."""
        return [cls.__name__ for to, cls, _ in list(self._last) if to == address]

    # -- receiving: the reactor's thread ---------------------------------------

    def attach(self, reactor: Reactor) -> None:
        """Have *reactor* read this bus."""
        self._reactor = reactor
        reactor.watch(int(self._pull.get(zmq.FD)), READABLE, self._drain)
        reactor.call_again(self._drain_again)

    def _drain_again(self) -> None:
        self._drain(0)

    def _drain(self, _events: int) -> None:
        """Hand out what has come."""
        # ZeroMQ's descriptor tells of a change only, so the socket is read until nothing is left; and before the queue,
        # for what is put there later is followed by another knock.
        with contextlib.suppress(zmq.Again, zmq.ContextTerminated):
            while True:
                self._pull.recv(zmq.NOBLOCK)
        waiting, hand_over = self._waiting, self._hand_over
        for _ in range(_BATCH):
            try:
                frame, bulk = waiting.popleft()
            except IndexError:
                break
            try:
                hand_over(frame, bulk)
            except BaseException:  # SystemExit too, of a callback: the reactor must go on
                logger.exception("a message could not be handled")
        here.actor = None
        if not self._rests():
            self._reactor.call_again(self._drain_again)

    def _rests(self) -> bool:
        """Have the next message wake the reactor, if none is waiting; return whether that is so.

        The lock is not waited for: it may be held by a thread whose signal handler waits for a reply.
        """
        if self._waiting or not self._lock.acquire(blocking=False):
            return False
        self._awake = bool(self._waiting)
        self._lock.release()
        return not self._awake

    def _drain_own(self) -> None:
        """Hand out what the reactor has sent to itself; what is sent meanwhile comes in the next turn."""
        own, self._own = self._own, []
        for step, arguments in own:
            self._safely(step, *arguments)
        here.actor = None

    @staticmethod
    def _safely(step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except BaseException:  # SystemExit too, of a callback: the reactor must go on
            logger.exception("a message could not be handled")

    def _hand_over(self, frame: bytes, bulk: bytes | None) -> None:
        """Open a frame of our own, which needs no checks, and deliver its message."""
        _, to, sender, correlation, cause, kind, body = msgpack.unpackb(frame, strict_map_key=False)
        known = types_by_kind.get(kind)
        if known is None:
            message = self._objects.pop(body[0])
            if kind == _CALL:
                here.actor = None
                message()
                return
        else:
            try:
                if bulk is not None:
                    message = known.build(body, bulk)
                elif known.typed:
                    message = known.rebuild(body)
                else:
                    message = decode_message(decode(frame))
            except Exception as error:  # a field of another type than the class says, which nobody has checked so far
                logger.exception("a message for %s could not be opened", to)
                if correlation:
                    self.reply_error(sender, correlation, error)
                return
        self.deliver(to, message, sender, correlation, cause)

    def deliver(self, to: str, message: Any, sender: str, correlation: int, cause: int) -> None:
        """Give *message* to the actor with address *to*. The reactor's thread."""
        actor = self._actors.get(to)
        self._last.append((to, message.__class__, cause))
        if actor is None:
            self._dead_letter(to, sender, correlation, message)
        elif actor.blocking:
            self._schedule(actor, Delivery(message, sender, correlation, cause))
        elif not (correlation and self._is_withdrawn(correlation, sender)):
            actor._take(message, sender, correlation, cause)

    def _is_withdrawn(self, correlation: int, sender: str) -> bool:
        """Whether who asked has cancelled the future of the reply: then nobody is to handle the message."""
        asked = self._asked.get(correlation)
        if asked is None or not asked[0].withdrawn or "@" in sender:
            return False
        self._asked.pop(correlation, None)
        return True

    def _dead_letter(self, to: str, sender: str, correlation: int, message: Any) -> None:
        if correlation:
            if type(message) is messages._ActorStop:
                self.reply(sender, correlation, True)  # it was being stopped when the message was sent
            else:
                error = pykka.ActorDeadError(f"{to} stopped before handling the message")
                self.reply_error(sender, correlation, error)
        elif type(message) is not messages._ActorStop:
            with self._lock:
                self.dead_letters += 1
                number = self.dead_letters
            if number <= 10 or number % 1000 == 0:
                logger.info("dead letter no. %d: %s for %s", number, type(message).__name__, to)

    def _schedule(self, actor: Actor, delivery: Delivery) -> None:
        """Put a message into the inbox of a blocking actor, and see that a worker comes."""
        inbox = actor.actor_inbox
        inbox.waiting.append(delivery)
        if not inbox.scheduled:
            inbox.scheduled = True
            self._runtime.pool.submit(lambda: self._work(actor))

    def _work(self, actor: Actor) -> None:
        """Handle the waiting messages of a blocking actor. A worker's thread."""
        waiting = actor.actor_inbox.waiting
        try:
            for _ in range(_ROUND):
                if not waiting:
                    break
                delivery = waiting.popleft()
                if delivery.message is _BEGIN:
                    actor._begin()
                elif actor.actor_stopped.is_set():
                    self._dead_letter(actor.actor_address, delivery.sender, delivery.correlation, delivery.message)
                elif not (delivery.correlation and self._is_withdrawn(delivery.correlation, delivery.sender)):
                    actor._take(delivery.message, delivery.sender, delivery.correlation, delivery.cause)
        finally:  # whatever a callback of a reply raised: the messages behind it must not wait for ever
            here.actor = None
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime ends
                self.call(lambda: self._reschedule(actor))

    def _reschedule(self, actor: Actor) -> None:
        if actor.actor_inbox.waiting:
            self._runtime.pool.submit(lambda: self._work(actor))
        else:
            actor.actor_inbox.scheduled = False

    # -- the end ---------------------------------------------------------------

    def activity(self) -> int:
        """A number that grows by one with each call, and by more where messages were sent in between."""
        return next(self._numbers)

    def stop_actors(self) -> None:
        """Have every actor that is left stop, the last started first, with its on_stop. The reactor's thread."""
        for actor in list(self._actors.values())[::-1]:
            if actor.blocking:
                self._schedule(actor, Delivery(messages._ActorStop(), "", 0, 0))
            else:
                actor._take(messages._ActorStop(), "", 0, 0)
        here.actor = None

    def shut(self) -> None:
        """Send nothing more, and end every future that waits."""
        with self._lock:
            self._closed = True
        reason = self._runtime.why_closed()
        for number in list(self._asked):
            asked = self._asked.pop(number, None)
            if asked is not None:
                asked[0].offer_exception(pykka.ActorDeadError(reason))

    def forget_actors(self) -> None:
        """Mark those actors as stopped that are left: they are stuck. After `shut`."""
        for actor in list(self._actors.values()):
            ActorRegistry.unregister(actor.actor_ref)
            actor.actor_stopped.set()
        self._actors.clear()
        self._watchers.clear()

    def close(self) -> None:
        """Close the sockets. After `shut`, and when the reactor has ended."""
        self._objects.clear()
        self._context.destroy(linger=0)

    def abandon(self) -> None:
        """In a forked child: refuse to send, and touch nothing that the parent still uses."""
        self._lock = threading.RLock()
        self._closed = True


_BEGIN = object()  # the first delivery of a blocking actor: its on_start


def _raw(bulk: Any) -> bytes:
    return bulk if type(bulk) is bytes else bytes(memoryview(bulk))  # raises here what is not bytes
