"""What of this node other nodes can reach: the actors that were published, and their public attributes.

An actor is published by name (`publish`), or by sending a reference to it:
who gives a reference away means it to be used. All others do not exist for
other nodes. Of a published actor they may send to its inbox, call and set
what a proxy shows, and stop it. A proxy shows what pykka's shows (no name with
an underscore in front; what lies deeper only where it is marked traversable),
but for the parts that belong to the runtime (``actor_...``, except for the
URN).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
from pykka._introspection import get_attr_from_parent, introspect_attrs

from ._link_place import check_name
from .ref import ActorRef

if TYPE_CHECKING:
    from .actor import Actor
    from .bus import Bus

__all__ = ["Description", "Exports", "check_path", "describe"]

Description = tuple[str, str, list[tuple[tuple[str, ...], bool, bool]]]
"""URN, name of the class, and (path, callable, traversable) of each public attribute."""

_GIVEN = ":"
"""Begins the name of an actor that was published by sending a reference; no name given by people begins so."""


class Exports:
    """The published actors of one node. Thread-safe."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock = threading.RLock()
        self._addresses: dict[str, str] = {}
        self._swept_at = 100

    def publish(self, ref: ActorRef[Any], name: str) -> None:
        """Make *ref* reachable under *name* until it ends.

        Raises:
            TypeError: it is no reference to an actor of this package.
            ValueError: the name is bad, or another living actor has it, or the actor is of another runtime.
            pykka.ActorDeadError: the actor has stopped.
        """
        self._check(ref)
        if self._bus.find(ref.actor_address) is None:
            raise pykka.ActorDeadError(f"{ref} not found")
        with self._lock:
            other = self.find(check_name(name))
            if other is not None and other is not ref:
                raise ValueError(f"{name!r} is the name of {other} already: unpublish it first")
            self._add(ref, name)

    def unpublish(self, name: str) -> bool:
        """Take the name back; returns whether there was one."""
        with self._lock:
            return self._addresses.pop(name, None) is not None

    def give(self, ref: ActorRef[Any]) -> str:
        """Publish *ref*, dead or alive, because it is being sent away; returns the name.

        Raises:
            TypeError, ValueError: as `publish`.
        """
        self._check(ref)
        name = _GIVEN + ref.actor_address
        if name not in self._addresses:
            with self._lock:
                self._add(ref, name)
        return name

    def find(self, name: str) -> ActorRef[Any] | None:
        """The living actor published under *name*, or None."""
        address = self._addresses.get(name)
        return None if address is None else self._bus.find(address)

    def _check(self, ref: ActorRef[Any]) -> None:
        if not isinstance(ref, ActorRef):
            raise TypeError(f"{type(ref).__name__} is not a reference to an actor of this program: {ref!r}")
        if ref._bus is not self._bus:
            raise ValueError(f"{ref} is not an actor of this runtime")

    def _add(self, ref: ActorRef[Any], name: str) -> None:
        self._addresses[name] = ref.actor_address
        if len(self._addresses) > self._swept_at:  # the dead are swept out now and then, at no cost to their end
            self._addresses = {n: a for n, a in self._addresses.items() if self._bus.find(a) is not None}
            self._swept_at = 2 * len(self._addresses) + 100


class _Shy:
    """Stands for the proxy in an introspection: equal to each proxy, so that an actor's proxy of itself is left out."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, pykka.ActorProxy)

    __hash__ = None  # type: ignore[assignment]  # compared only


def describe(actor: Actor) -> Description:
    """What a proxy of *actor* has to know. Calls no property."""
    attributes = introspect_attrs(root=actor, proxy=_Shy())  # type: ignore[arg-type]  # it is compared only
    seen = [(path, i.callable, i.traversable) for path, i in attributes.items() if _is_open(path[0])]
    return actor.actor_urn, type(actor).__name__, seen


def check_path(actor: Actor, path: tuple[str, ...]) -> None:
    """See that other nodes may use the attribute at *path* of *actor*. Calls no property.

    Raises:
        PermissionError: they may not.
        AttributeError: there is nothing on the way to it.
    """
    where = ".".join(path) or "(nothing)"
    if not path or not _is_open(path[0]) or any(name.startswith("_") for name in path):
        raise PermissionError(f"{where} of {actor} is not for other nodes: only public attributes are")
    for depth in range(1, len(path)):
        parent = get_attr_from_parent(actor, path[:depth])
        if not (getattr(parent, "_pykka_traversable", False) or getattr(parent, "pykka_traversable", False)):
            raise PermissionError(f"{where} of {actor} is not for other nodes: {path[depth - 1]} is not traversable")


def _is_open(name: str) -> bool:
    return not name.startswith(("_", "actor_")) or name == "actor_urn"
