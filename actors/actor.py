"""Actors: pykka's, but without a thread for each.

`Actor` is a subclass of `pykka.Actor`. Where its messages are handled is one
class attribute: in the reactor's thread, where it must never block
(``blocking = False``: processes, hosts, groups, gateways), or in a thread of
the worker pool, one message at a time (``blocking = True``: HTTP, code of the
user's). `ThreadingActor` is the second kind under pykka's name, so that a
script written for pykka runs unchanged.

Takes: any object. Registered message types travel as msgpack, others are
handed over by reference. Stops when told `stop`, or when handling a message
that was told (not asked) raises.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import pykka
from pykka import messages

from ._context import here
from .future import Future
from .ref import ActorRef
from .registry import ActorRegistry

if TYPE_CHECKING:
    from ._reactor import Timer
    from .runtime import Runtime

__all__ = ["Actor", "BlockingActor", "ThreadingActor"]

logger = logging.getLogger("regisseur.actors")

_numbers = itertools.count(1)
_LONGEST_REASON = 2000  # characters


class StopFlag:
    """A `threading.Event` that costs a fiftieth of its memory until somebody waits for it."""

    __slots__ = ("_event", "_set", "failure")
    # Of all flags, and held for the time of two assignments. Reentrant for the sake of signal handlers.
    _lock: ClassVar[threading.RLock] = threading.RLock()

    failure: str | None
    """Why the actor failed, such as ``ValueError: no such host``; None while it lives, and where it was stopped."""

    def __init__(self) -> None:
        self._set = False
        self._event: threading.Event | None = None
        self.failure = None

    @classmethod
    def renew_lock(cls) -> None:
        """In a forked child, where the thread that held the lock may be missing."""
        cls._lock = threading.RLock()

    def is_set(self) -> bool:
        """Whether the actor has stopped."""
        return self._set

    def set(self) -> None:
        """Say that the actor has stopped."""
        with self._lock:
            self._set = True
            event = self._event
        if event is not None:
            event.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the actor has stopped, at most *timeout* seconds; returns whether it has."""
        with self._lock:
            if self._event is None:
                self._event = threading.Event()
            event = self._event
            if self._set:
                event.set()
        return event.wait(timeout)


_NOTHING_WAITS: deque[Delivery] = deque(maxlen=0)


class Inbox:
    """The messages that wait for a blocking actor; those of the others wait on the bus itself.

    Not bounded: who floods a blocking actor is an actor of the same program,
    and to drop or to block would turn a slow program into a wrong one.
    """

    __slots__ = ("_address", "_bus", "scheduled", "waiting")

    def __init__(self, actor: Actor) -> None:
        self._bus = actor.actor_runtime.bus
        self._address = actor.actor_address
        # Most actors live on the reactor and need none: they share an empty one.
        self.waiting: deque[Delivery] = deque() if actor.blocking else _NOTHING_WAITS
        self.scheduled = False

    def put(self, message: Any, /) -> None:
        """Send *message* to the actor, by way of the bus."""
        self._bus.tell(self._address, message)

    def get(self) -> Any:
        """The next waiting message. For the actor alone."""
        if not self.waiting:
            raise LookupError("no message waits")
        return self.waiting.popleft().message

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self.waiting


class Delivery:
    """A message on its last steps, from the bus to the actor's hand."""

    __slots__ = ("cause", "correlation", "message", "sender")

    def __init__(self, message: Any, sender: str, correlation: int, cause: int) -> None:
        self.message = message
        self.sender = sender
        self.correlation = correlation
        self.cause = cause


class Actor(pykka.Actor):
    """Base of all actors; see `pykka.Actor` for the hooks, and the module for the two kinds.

    ``__init__`` runs in the thread that calls `start`; ``on_start``,
    ``on_receive``, ``on_stop``, ``on_failure`` and proxied calls run in the
    reactor's thread or, for a blocking actor, in a worker, never two at once.
    """

    blocking: ClassVar[bool] = False
    """True: messages are handled in a worker and may block. False: on the reactor, and must not."""
    hidden: ClassVar[bool] = False
    """True: not in the `ActorRegistry`: for actors that belong to the runtime."""

    actor_inbox: Inbox
    actor_runtime: Runtime
    """The runtime in which this actor lives."""
    actor_address: str
    """The name under which the bus finds this actor, such as ``Counter-3``."""
    actor_waits_for: Future[Any] | None = None
    """The future this actor is blocked on, if any."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor in the current runtime; the arguments go to ``__init__``."""
        actor = cls(*args, **kwargs)
        if getattr(actor, "_actor_ref", None) is None:
            raise TypeError(f"{cls.__name__}.__init__ must call super().__init__()")
        logger.debug("Starting %s", actor)
        return cast("ActorRef[Self]", actor.actor_runtime.bus.launch(actor))

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # pykka's own __init__ would cost a uuid and an Event for each of 100,000 actors.
        from .runtime import current_runtime

        runtime = here.runtime or current_runtime()
        number = next(_numbers)
        self.actor_runtime = runtime
        self.actor_urn = f"urn:regisseur:{runtime.node}:{number}"
        self.actor_address = f"{type(self).__name__}-{number}"
        self.actor_inbox = Inbox(self)
        self.actor_stopped = StopFlag()  # type: ignore[assignment]  # an Event in what it can do
        self._actor_ref = ActorRef(self)

    def __str__(self) -> str:
        return f"{type(self).__name__} ({self.actor_urn})"

    @property
    def actor_ref(self) -> ActorRef[Self]:
        """The reference to this actor."""
        return cast("ActorRef[Self]", self._actor_ref)

    def actor_later(self, delay: float, message: Any) -> Timer:
        """Send *message* to this actor after *delay* seconds; ``cancel()`` of the result takes it back. Thread-safe."""
        return self.actor_runtime.call_later(delay, lambda: self._tell_if_alive(message))

    def actor_watch(self, ref: ActorRef[Any]) -> None:
        """Have this actor told `ActorEnded` when the actor of *ref* has ended; at once if it has already."""
        from .supervision import watch

        watch(ref, self.actor_ref)

    def actor_unwatch(self, ref: ActorRef[Any]) -> None:
        """Take an `actor_watch` back."""
        from .supervision import unwatch

        unwatch(ref, self.actor_ref)

    def _tell_if_alive(self, message: Any) -> None:
        if not self.actor_stopped.is_set():
            self.actor_runtime.bus.tell(self.actor_address, message)

    # -- called by the bus, in the thread of this actor ---------------------------

    def _begin(self) -> None:
        here.actor, here.cause = self, 0
        try:
            self.on_start()
        except BaseException as error:
            self._handle_failure(*sys.exc_info())
            self._tell_end(error)
        finally:
            here.actor = None

    def _take(self, message: Any, sender: str, correlation: int, cause: int) -> None:
        """Handle one message, reply, and deal with what it raises as pykka does.

        The bus resets ``here.actor`` when it has handed out all there was.
        """
        bus = self.actor_runtime.bus
        here.actor, here.cause = self, cause
        try:
            response = self._handle_receive(message) if type(message) in _PYKKA_MESSAGES else self.on_receive(message)
        except Exception as error:
            if correlation:
                logger.info("Exception returned from %s to caller:", self, exc_info=True)
                bus.reply_error(sender, correlation, error)
            else:
                self._fail(error)
        except BaseException as error:
            logger.debug("%r in %s. Stopping all actors.", error, self)
            self._stop(error)
            if correlation:
                bus.reply_error(sender, correlation, error)
            ActorRegistry.stop_all(block=False)
        else:
            if correlation:
                bus.reply(sender, correlation, response)

    def _fail(self, error: Exception) -> None:
        """End this actor because of *error*, which is being handled."""
        self._handle_failure(*sys.exc_info())
        try:
            self.on_failure(*sys.exc_info())
        except BaseException:
            self._handle_failure(*sys.exc_info())
        self._tell_end(error)

    # -- what pykka's Actor calls -------------------------------------------------

    def _stop(self, failure: BaseException | None = None) -> bool:  # type: ignore[override]  # pykka's returns None: its ref makes the True of it
        self._mark_stopped()
        try:
            self.on_stop()
        except BaseException as error:
            failure = error
            self._handle_failure(*sys.exc_info())
        self._tell_end(failure)
        return True

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        runtime = self.actor_runtime
        logger.error(
            "Unhandled exception in %s; its last messages: %s",
            self,
            ", ".join(runtime.bus.last_messages(self.actor_address)) or "none",
            exc_info=(exception_type, exception_value, traceback),  # type: ignore[arg-type]  # as sys.exc_info gives them
        )
        self._mark_stopped()

    def _mark_stopped(self) -> None:
        """From now on nobody can send to this actor. Before its last hooks, as with pykka."""
        if not self.actor_stopped.is_set():
            ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
            logger.debug("Stopped %s", self)

    def _tell_end(self, failure: BaseException | None) -> None:
        """Tell those who watch this actor. After its last hooks, so that what it held is free when they hear of it."""
        if failure is not None:
            self.actor_stopped.failure = _reason_of(failure)  # type: ignore[attr-defined]  # a StopFlag
        self.actor_runtime.bus.ended(self)

    @staticmethod
    def _create_actor_inbox() -> Any:
        raise NotImplementedError("the inbox is made by Actor.__init__")

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        raise NotImplementedError("an actor has no loop of its own: the bus runs it")


def _reason_of(failure: BaseException) -> str:
    """An exception as text that can travel, whatever it says of itself."""
    try:
        text = f"{type(failure).__name__}: {failure}"
    except Exception:
        text = type(failure).__name__
    return text[:_LONGEST_REASON].encode(errors="backslashreplace").decode()


_PYKKA_MESSAGES = frozenset({messages.ProxyCall, messages.ProxyGetAttr, messages.ProxySetAttr, messages._ActorStop})


class BlockingActor(Actor):
    """An actor whose code may block: it is run by the worker pool, one message at a time."""

    blocking = True


class ThreadingActor(BlockingActor):
    """`BlockingActor` under the name that pykka's scripts use."""

    use_daemon_thread: ClassVar[bool] = False
    """Accepted for pykka's sake; it has no effect."""
