"""Links: the bus between processes of one user on one machine.

A program that can be dialed listens under a name; another connects to it, and
from then on each can use the actors that the other has published, as if they
were its own::

    # one process                             # another
    listen(name="lab")                        connect("lab")
    publish(Thermometer.start(), "kitchen")   kitchen = remote_ref("kitchen@lab")
                                              kitchen.proxy().read().get()

What travels is plain data and registered message types, checked where it
arrives and never evaluated. References to actors travel too: one that is sent
publishes its actor, and arrives as a `RemoteRef`; one that comes home arrives
as the actor's own reference.

Sockets are unix sockets in a directory of mode 0700, and a peer of another
user is refused. A peer that dies or hangs is noticed, and every future that
waits for it ends with `PeerLostError`; the node that dialed dials again, and
``name@node`` works again as soon as the peer is back under its name. How much
may be under way to a peer is bounded (`LinkFullError`); all messages to one
node share that bound, so an actor there that can not keep up slows what is
sent to its neighbours.

A circle of actors in several processes that wait for each other is not found
out; ask with a timeout.

Read on: `_link_table` (all links of a runtime), `_link_channel` (one
connection), `_link_peer` (delivery and answers), `_link_pack` (what travels),
`_link_exports` (what is published), `_link_wire` (the sockets), `_link_place`
(the directory), `_link_dialer` (dialing again), `_link_ref` (references).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from ._context import here
from ._link_errors import LinkError, LinkFullError, PeerLostError, RefusedError, RemoteError, UnreachableError
from ._link_place import check_name, lock_place
from ._link_ref import RemoteProxy, RemoteRef
from ._link_settings import LinkSettings
from ._link_table import Links
from .future import DeadlockError, Future
from .runtime import Runtime, current_runtime

if TYPE_CHECKING:
    from ._link_peer import Peer
    from .ref import ActorRef

__all__ = [
    "LinkError",
    "LinkFullError",
    "LinkSettings",
    "PeerInfo",
    "PeerLostError",
    "RefusedError",
    "RemoteError",
    "RemoteProxy",
    "RemoteRef",
    "UnreachableError",
    "connect",
    "disconnect",
    "listen",
    "peers",
    "publish",
    "remote_ref",
    "unpublish",
]

T = TypeVar("T")

_SECONDS = 10.0  # for what the reactor does without waiting for anybody


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A node at the other end of a link."""

    node: str
    """16 hex digits, new for every runtime; it works in addresses as long as that runtime lives."""
    name: str | None
    """The name under which it listens, which a later process may take over; None: it does not listen."""
    pid: int


def listen(runtime: Runtime | None = None, name: str | None = None, *, settings: LinkSettings | None = None) -> str:
    """Let other processes of this user connect to this one. Not on the reactor.

    Args:
        runtime: whose actors they may reach; None: the current one.
        name: for `connect` and in addresses; None: the node's own 16 hex digits.
        settings: for links that others make to this node.

    Returns:
        the address, ``ipc://`` and a path, which `connect` takes as well. Listening again gives the same.

    Raises:
        FileExistsError: another process listens under *name*.
        PermissionError: the directory for the sockets is not safe; the text says why.
        ValueError: *name* is no name, or this node listens under another one.
        OSError: the path is too long for a unix socket, or the socket can not be made.
    """
    runtime = runtime or current_runtime()
    if here.on_reactor:
        raise DeadlockError("the reactor's thread must not make a socket's directory: listen elsewhere")
    links = links_of(runtime)
    if name is not None:
        check_name(name)
    if settings is not None:
        links.settings = settings
    with links.lock:
        if links.endpoint is None:
            place = lock_place(name or runtime.node)
            try:
                _on_reactor(runtime, lambda: links.listen(place, name))
            except BaseException:
                place.leave()
                raise
        elif name is not None and name != links.name:
            raise ValueError(f"this node listens as {links.name or runtime.node!r} already, not as {name!r}")
        assert links.endpoint is not None
        return f"ipc://{links.endpoint.path}"


@overload
def connect(
    target: str,
    *,
    block: Literal[False],
    timeout: float | None = 5.0,
    runtime: Runtime | None = None,
    settings: LinkSettings | None = None,
) -> Future[PeerInfo]: ...
@overload
def connect(
    target: str,
    *,
    block: Literal[True] = True,
    timeout: float | None = 5.0,
    runtime: Runtime | None = None,
    settings: LinkSettings | None = None,
) -> PeerInfo: ...


def connect(
    target: str,
    *,
    block: bool = True,
    timeout: float | None = 5.0,
    runtime: Runtime | None = None,
    settings: LinkSettings | None = None,
) -> PeerInfo | Future[PeerInfo]:
    """Link this node to another, and keep it linked: a link that is lost is made again when the other is back.

    Nothing is done where there is a link already, whoever made it; who made it makes it again.

    Args:
        target: the name under which the other listens, or its address.
        block: wait for the link; else return its future, which is set on the reactor.
        timeout: seconds to wait for the other to listen and to answer, more than 0; None: as long as it takes.
        runtime: None: the current one.
        settings: for this link.

    Raises (through the future where not blocking):
        UnreachableError: nobody listens there, or nobody answers in time.
        RefusedError: the other speaks another version of the protocol, is of another user, or is this node.
    """
    runtime = runtime or current_runtime()
    links = links_of(runtime)
    key = _target(target)
    linked: Future[Peer] = Future()
    runtime.bus.call(lambda: links.connect(key, settings or links.settings, timeout, linked))
    connected: Future[PeerInfo] = Future()

    def tell(_: object) -> None:
        error = linked.exception()
        if error is None:
            connected.offer(_info(linked.result()))
        else:
            connected.offer_exception(error)

    linked.add_done_callback(tell)
    if not block:
        return connected
    return connected.get(timeout=None if timeout is None else timeout + _SECONDS)


def disconnect(target: str, *, runtime: Runtime | None = None) -> bool:
    """Close the link to *target*, a node's name, digits or address, and do not make it again.

    If it was the other node that connected to this one, it will soon do so
    again. Futures that wait for an answer by the link end with `PeerLostError`.

    Returns:
        whether there was a link, or one was being made.
    """
    runtime = runtime or current_runtime()
    links = links_of(runtime)
    key = _target(target)
    return _on_reactor(runtime, lambda: links.disconnect(key))


def publish(ref: ActorRef[Any], name: str, *, runtime: Runtime | None = None) -> None:
    """Let other nodes use the actor *ref* as ``name@node``, until it ends. Thread-safe.

    They can send it any message, use the public attributes that a proxy
    shows, and stop it; they reach no other actor and no private attribute.

    Raises:
        TypeError: *ref* is no reference to an actor of this package.
        ValueError: *name* is no name, or that of another living actor; or the actor is of another runtime.
        pykka.ActorDeadError: the actor has stopped.
    """
    links_of(runtime or current_runtime()).exports.publish(ref, name)


def unpublish(name: str, *, runtime: Runtime | None = None) -> bool:
    """Take back what `publish` gave; returns whether there was something under *name*. Thread-safe."""
    return links_of(runtime or current_runtime()).exports.unpublish(name)


def remote_ref(address: str, *, runtime: Runtime | None = None) -> ActorRef[Any] | RemoteRef:
    """The reference to the actor at *address*, ``name@node``; used like a local one. Thread-safe.

    It says nothing about whether there is such an actor, or a link to its
    node yet; its use does. For an address at this node it is the actor's own.

    Raises:
        ValueError: *address* is not of that form.
    """
    name, at, node = address.rpartition("@")
    if not (at and name and node):
        raise ValueError(f"{address!r} is no address of an actor: NAME@NODE is expected")
    return links_of(runtime or current_runtime()).ref_for(address)


def peers(runtime: Runtime | None = None) -> list[PeerInfo]:
    """The nodes to which there is a link now, whoever made it."""
    runtime = runtime or current_runtime()
    links = links_of(runtime)
    return [_info(p) for p in _on_reactor(runtime, links.peers)]


def links_of(runtime: Runtime) -> Links:
    """The links of *runtime*, made on first use. Thread-safe."""
    return cast("Links", runtime.bus.keep_links(lambda: Links(runtime)))


def _info(peer: Peer) -> PeerInfo:
    return PeerInfo(peer.node, peer.name, peer.pid)


def _target(target: str) -> str:
    """A node's name, or the path of a socket."""
    if target.startswith("ipc://"):
        return target.removeprefix("ipc://")
    return target if target.startswith("/") else check_name(target)


def _on_reactor(runtime: Runtime, function: Callable[[], T]) -> T:
    """What *function* returns or raises in the reactor's thread."""
    if here.on_reactor and here.runtime is runtime:
        return function()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.offer(function())
        except BaseException as error:
            done.offer_exception(error)

    runtime.bus.call(run)
    return done.get(timeout=_SECONDS)
