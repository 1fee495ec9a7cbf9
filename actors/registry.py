"""The registry of running actors, with the methods that pykka documents.

Ours is a dict and not a list: starting and stopping 100,000 actors takes
linear time. It holds the actors of this package; those that a script starts
with pykka's own `ThreadingActor` are in pykka's registry, as ever.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pykka

from .future import Future, get_all

if TYPE_CHECKING:
    from .actor import Actor
    from .ref import ActorRef

__all__ = ["ActorRegistry"]

_BATCH = 1000  # actors told to stop before the first of them is waited for: each future of it takes a kilobyte


class ActorRegistry:
    """All running actors of this process. Only class methods; thread-safe."""

    _refs: dict[str, ActorRef[Any]] = {}  # noqa: RUF012  # shared by all on purpose: it is the one registry

    @classmethod
    def register(cls, actor_ref: ActorRef[Any]) -> None:
        """Add an actor; `Actor.start` does it."""
        cls._refs[actor_ref.actor_urn] = actor_ref

    @classmethod
    def unregister(cls, actor_ref: ActorRef[Any]) -> None:
        """Remove an actor; its end does it. Harmless when it is not there."""
        cls._refs.pop(actor_ref.actor_urn, None)

    @classmethod
    def get_all(cls) -> list[ActorRef[Any]]:
        """The refs of all running actors."""
        return list(cls._refs.copy().values())

    @classmethod
    def get_by_class(cls, actor_class: type[Actor]) -> list[ActorRef[Any]]:
        """The refs of the running actors of *actor_class* or a subclass."""
        return [ref for ref in cls.get_all() if issubclass(ref.actor_class, actor_class)]

    @classmethod
    def get_by_class_name(cls, actor_class_name: str) -> list[ActorRef[Any]]:
        """The refs of the running actors whose class has this name."""
        return [ref for ref in cls.get_all() if ref.actor_class.__name__ == actor_class_name]

    @classmethod
    def get_by_urn(cls, actor_urn: str) -> ActorRef[Any] | None:
        """The ref of the running actor with this URN, or None."""
        return cls._refs.get(actor_urn)

    @classmethod
    def broadcast(cls, message: Any, target_class: type[Actor] | str | None = None) -> None:
        """Tell *message* to all running actors, or to those of a class given itself or by name."""
        if isinstance(target_class, str):
            targets = cls.get_by_class_name(target_class)
        elif target_class is not None:
            targets = cls.get_by_class(target_class)
        else:
            targets = cls.get_all()
        for ref in targets:
            with contextlib.suppress(pykka.ActorDeadError):  # it may have ended since
                ref.tell(message)

    @classmethod
    def stop_all(cls, *, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Stop all running actors, the last started first.

        Args:
            block: wait until each has stopped, before the one that was started before it; else return futures.
            timeout: seconds to wait for each.

        Returns:
            for each actor whether it was running, or the future of that.
        """
        refs = cls.get_all()[::-1]
        if not block:
            return [ref.stop(block=False) for ref in refs]
        stopped: list[bool] = []
        stopping: list[Future[bool]] = []
        for before, ref in zip([None, *refs], refs, strict=False):
            if before is not None and (len(stopping) == _BATCH or not _stop_in_order(before, ref)):
                stopped += get_all(stopping, timeout=timeout)
                stopping = []
            stopping.append(ref.stop(block=False))
        return stopped + get_all(stopping, timeout=timeout)

    @classmethod
    def forget_all(cls) -> None:
        """Empty the registry: in a forked child, where none of these actors runs."""
        cls._refs = {}


def _stop_in_order(first: ActorRef[Any], second: ActorRef[Any]) -> bool:
    """Whether two actors that are told to stop one after the other do so in that order: in one reactor they do."""
    return not (first.actor_class.blocking or second.actor_class.blocking) and first._bus is second._bus
