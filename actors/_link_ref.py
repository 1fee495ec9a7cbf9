"""References to actors of other nodes, and proxies made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import pykka
from pykka import messages

from ..protocols.links import DescribeActor
from ._context import here
from ._link_errors import LinkFullError, PeerLostError
from .future import DeadlockError, Future, Timeout

if TYPE_CHECKING:
    from ._link_exports import Description
    from .runtime import Runtime

__all__ = ["RemoteProxy", "RemoteRef"]

_PATIENCE = 10.0  # seconds for questions about an actor, which its node answers at once


class RemoteRef(pykka.ActorRef[Any]):
    """Reference to an actor of another node; used like an `ActorRef`. Thread-safe.

    `remote_ref` makes one, and each reference to an actor that arrives inside
    a message is one. Two are equal when they have the same address.
    """

    actor_class = pykka.Actor
    """Always this one: the class itself does not leave its process."""
    actor_address: str
    """``name@node``"""

    def __init__(self, runtime: Runtime, address: str) -> None:
        self.actor_address = address
        self._node = address.rpartition("@")[2]
        self._bus = runtime.bus
        self._description: Description | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteRef) and other.actor_address == self.actor_address

    def __hash__(self) -> int:
        return hash(self.actor_address)

    def __str__(self) -> str:
        return self.actor_address

    def __repr__(self) -> str:
        return f"<RemoteRef for {self.actor_address}>"

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # asked for when wanted
        """The URN of the actor; its node is asked for it once. Raises as a blocking `ask`."""
        return self._describe()[0]

    def is_alive(self) -> bool:
        """Whether there is a link to its node, and the node says that it is published and alive.

        On the reactor, which must not wait for the answer, only whether there is a link.
        """
        if here.on_reactor:
            link = self._bus.links.get(self._node)
            return link is not None and link.linked
        try:
            self._description = None
            self._describe()
        except (pykka.ActorDeadError, Timeout):
            return False
        return True

    def tell(self, message: Any) -> None:
        """Send *message*; do not wait. Whether it arrives is not told.

        Raises:
            PeerLostError: there is no link to its node.
            LinkFullError: the node is behind; nothing was sent.
            TypeError, ProtocolError: the message holds something that can not leave this process.
        """
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
            block: wait for the reply and return it; else return its future, which is set on the reactor.
            timeout: seconds, after which the future ends too; None: as long as it takes, or the link lasts.

        Raises:
            TypeError, ProtocolError: at once: the message can not leave this process.
            Timeout: no reply in time.
            PeerLostError: there is no link to its node, or it was lost before the reply came.
            LinkFullError: the node is behind; nothing was sent.
            pykka.ActorDeadError: the node has no living actor published under this name.
            RemoteError: the actor raised something whose class is not known here.
            Exception: the actor raised it.
        """
        future: Future[Any]
        try:
            future = self._bus.ask(self.actor_address, message, timeout=None if block else timeout)
        except (pykka.ActorDeadError, LinkFullError) as error:
            future = Future()
            future.set_exception(error)
        return self._wait_for(future, timeout) if block else future

    def _wait_for(self, future: Future[Any], timeout: float | None) -> Any:
        try:
            return future.get(timeout=timeout)
        except Timeout:
            if future.done():
                raise  # the actor itself raised it
            future.cancel()
            raise Timeout(f"no reply from {self} after {timeout} seconds") from None

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> Future[bool]: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """Have the actor stop when it has handled the messages sent before.

        Returns:
            True if it was running, False if it was not there; with ``block=False`` the future of that.

        Raises:
            PeerLostError, LinkFullError, Timeout: as `ask`.
        """
        stopped: Future[bool] = Future()

        def tell(asked: Any) -> None:
            error = asked.exception()
            if error is None:
                stopped.offer(True)
            elif type(error) is pykka.ActorDeadError:
                stopped.offer(False)
            else:
                stopped.offer_exception(error)

        stop = messages._ActorStop()  # pykka has no public name for it
        self.ask(stop, block=False, timeout=timeout).add_done_callback(tell)
        return self._wait_for(stopped, timeout) if block else stopped

    def proxy(self) -> RemoteProxy:  # type: ignore[override]  # looks like an ActorProxy
        """A proxy of the actor. Its node is asked what the actor can do, so this waits. Raises as a blocking `ask`."""
        return RemoteProxy(self)

    def wait_for_room(self, timeout: float | None = None) -> bool:
        """Wait until its node has taken in half of what may be under way to it: after `LinkFullError`.

        Returns:
            whether that was within *timeout* seconds.

        Raises:
            PeerLostError: there is no link to the node.
            DeadlockError: the reactor's thread must not wait.
        """
        if here.on_reactor:
            raise DeadlockError("the reactor's thread must not wait for room: send later, with actor_later")
        link = self._bus.links.get(self._node)
        if link is None:
            raise PeerLostError(repr(self._node), "there is no link to it: connect to it first")
        if here.runtime is None:
            return link.wait_for_room(timeout)
        with here.runtime.pool.waiting():
            return link.wait_for_room(timeout)

    def _describe(self) -> Description:
        if self._description is None:
            urn, class_name, attributes = self.ask(DescribeActor(), timeout=_PATIENCE)
            self._description = (urn, class_name, [(tuple(p), bool(c), bool(t)) for p, c, t in attributes])
        return self._description


class RemoteProxy:
    """What `pykka.ActorProxy` is to an actor of this process, to one of another node.

    Methods and attributes give futures; what is marked traversable gives a
    proxy; attributes can be set. The class of the actor says what there is:
    its node was asked when the proxy was made, and is asked again for a name
    that was not there.
    """

    actor_ref: RemoteRef
    _attr_path: tuple[str, ...]
    _known: dict[tuple[str, ...], tuple[bool, bool]]

    def __init__(self, actor_ref: RemoteRef, attr_path: tuple[str, ...] = ()) -> None:
        self.actor_ref = actor_ref
        self._attr_path = attr_path
        self._known = _attributes(actor_ref)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RemoteProxy) and other.actor_ref == self.actor_ref and other._attr_path == self._attr_path
        )

    def __hash__(self) -> int:
        return hash((self.actor_ref, self._attr_path))

    def __repr__(self) -> str:
        return f"<RemoteProxy for {self.actor_ref}, attr_path={self._attr_path!r}>"

    def __dir__(self) -> list[str]:
        depth = len(self._attr_path)
        ours = [p[depth] for p in self._known if p[:depth] == self._attr_path and len(p) == depth + 1]
        return sorted({"__class__", "actor_ref", *ours})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # never asked for over the wire: copy and pickle look for such
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        path = (*self._attr_path, name)
        if path not in self._known:
            self.actor_ref._description = None
            self._known = _attributes(self.actor_ref)
        if path not in self._known:
            raise AttributeError(f"{self} has no attribute {name!r}")
        is_callable, is_traversable = self._known[path]
        if is_callable:
            return pykka.CallableProxy(actor_ref=self.actor_ref, attr_path=path)
        if is_traversable:
            return RemoteProxy(self.actor_ref, path)
        return self.actor_ref.ask(messages.ProxyGetAttr(attr_path=path), block=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the actor, and wait until it is set."""
        if name == "actor_ref" or name.startswith("_"):
            super().__setattr__(name, value)
            return
        self.actor_ref.ask(messages.ProxySetAttr(attr_path=(*self._attr_path, name), value=value))


def _attributes(ref: RemoteRef) -> dict[tuple[str, ...], tuple[bool, bool]]:
    return {path: (is_callable, is_traversable) for path, is_callable, is_traversable in ref._describe()[2]}
