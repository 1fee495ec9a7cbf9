"""References: the only way in which one actor, or a script, holds another actor.

An `ActorRef` has the methods of pykka's. Its messages travel on the bus, so
the same calls work for a `RemoteRef`, whose actor lives in another process.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import pykka
from pykka import messages

from .future import Future

if TYPE_CHECKING:
    from .actor import Actor

__all__ = ["ActorRef"]

A = TypeVar("A", bound="Actor")


class ActorRef(pykka.ActorRef[A], Generic[A]):
    """Reference to an actor of this process. Thread-safe; may be passed around freely.

    `Actor.start` returns one; an actor finds its own at ``self.actor_ref``.
    """

    actor_address: str
    """The name under which the bus finds the actor, such as ``Counter-3``."""

    def __init__(self, actor: A) -> None:
        self._actor_weakref = weakref.ref(actor)
        self.actor_class = actor.__class__
        self.actor_urn = actor.actor_urn
        self.actor_address = actor.actor_address
        self.actor_inbox = actor.actor_inbox
        self.actor_stopped = actor.actor_stopped
        self._bus = actor.actor_runtime.bus

    def tell(self, message: Any) -> None:
        """Send *message*; do not wait.

        A message of a registered type travels as msgpack; any other object is
        handed over as it is, so do not change it afterwards.

        Raises:
            pykka.ActorDeadError: the actor has stopped.
        """
        if self.actor_stopped.is_set():
            raise pykka.ActorDeadError(f"{self} not found")
        self._bus.tell(self.actor_address, message)

    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = None) -> Future[Any]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any | Future[Any]: ...

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any | Future[Any]:
        """Send *message* and get the reply.

        Args:
            message: as for `tell`.
            block: wait for the reply and return it; else return its future,
                which is set in the thread that handles the message.
            timeout: seconds to wait; None: as long as it takes.

        Raises:
            Timeout: no reply in time.
            pykka.ActorDeadError: the actor has stopped, or stopped before it handled the message.
            DeadlockError: an actor asks itself, or actors ask each other in a circle.
            Exception: what the actor raised while it handled the message.
        """
        try:
            if self.actor_stopped.is_set():
                raise pykka.ActorDeadError(f"{self} not found")
            future = self._bus.ask(self.actor_address, message, self._actor_weakref())
        except pykka.ActorDeadError as error:
            future = Future()
            future.set_exception(error)
        return future.get(timeout=timeout) if block else future

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> Future[bool]: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """Have the actor stop when it has handled the messages sent before.

        Returns:
            True if it was running, False if it had stopped already; with
            ``block=False`` the future of that.

        Raises:
            Timeout: it did not stop within *timeout* seconds.
        """
        future: Future[bool]
        try:
            if self.actor_stopped.is_set():
                raise pykka.ActorDeadError(f"{self} not found")
            stop = messages._ActorStop()  # pykka has no public name for it
            future = self._bus.ask(self.actor_address, stop, self._actor_weakref())
        except pykka.ActorDeadError:
            future = Future()
            future.set(False)
        if not block:
            return future
        try:
            return future.get(timeout=timeout)
        except pykka.ActorDeadError:  # the whole runtime was stopped meanwhile
            return False
