"""All links of one runtime.

Owns: the endpoint, the dialers, the channels, the list of what is published.
Lives on the reactor; the functions in `links` are its door for other threads.
The bus finds a peer in ``bus.links``, under its node's digits and, where it
listens, under its name. Lost peers stay there for a while, so that who writes
to one learns what became of it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.envelope import Envelope
from ..protocols.errors import FieldError
from ..protocols.links import Goodbye, Hello, Welcome
from ._link_channel import Channel
from ._link_dialer import Dialer
from ._link_exports import Exports
from ._link_peer import Loopback, Peer
from ._link_place import Place, check_name, find_socket
from ._link_ref import RemoteRef
from ._link_settings import LinkSettings
from ._link_wire import DialedWire, Endpoint, Wire

if TYPE_CHECKING:
    from .future import Future
    from .ref import ActorRef
    from .runtime import Runtime

__all__ = ["Links"]

_REMEMBERED = 1000  # lost peers

logger = logging.getLogger("regisseur.links")


class Links:
    """The links of *runtime*. Made by `links.links_of`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.lock = threading.RLock()
        """Held while the endpoint is made."""
        self.exports = Exports(runtime.bus)
        self.settings = LinkSettings()
        self.name: str | None = None
        """The name under which this node listens."""
        self.endpoint: Endpoint | None = None
        self._place: Place | None = None
        self._dialers: dict[str, Dialer] = {}
        self._channels: dict[Channel, Dialer | None] = {}
        self._wires: dict[DialedWire, None] = {}
        self._lost: deque[Peer] = deque()
        self._loopback = Loopback(runtime, self.exports)
        runtime.bus.links[runtime.node] = self._loopback
        runtime.on_stop(self.close)
        runtime.on_fork(self.abandon)

    # -- references: any thread ------------------------------------------------

    def address_of(self, ref: pykka.ActorRef[Any]) -> str:
        """The address of *ref* for other nodes; a local actor is published by that. Raises TypeError, ValueError."""
        if isinstance(ref, RemoteRef):
            return ref.actor_address
        return f"{self.exports.give(ref)}@{self.runtime.node}"  # type: ignore[arg-type]  # checked there

    def ref_for(self, address: str) -> ActorRef[Any] | RemoteRef:
        """The reference for *address*; to an actor of this node it is the actor's own."""
        name, _, node = address.rpartition("@")
        if node in (self.runtime.node, self.name):
            ref = self.exports.find(name)
            if ref is not None:
                return ref
        return RemoteRef(self.runtime, address)

    # -- what `links` asks for -------------------------------------------------

    def listen(self, place: Place, name: str | None) -> None:
        """Open the endpoint. Raises OSError."""
        self.endpoint = Endpoint(self.runtime, place.path, self._meet)
        self._place = place
        self.name = name
        if name is not None:
            self.runtime.bus.links[name] = self._loopback

    def connect(self, target: str, settings: LinkSettings, timeout: float | None, future: Future[Peer]) -> None:
        """Have *future* end with the peer *target*, dialing it unless there is a link."""
        link = self.runtime.bus.links.get(target)
        if isinstance(link, Peer) and link.channels:
            future.offer(link)
            return
        dialer = self._dialers.get(target) or self._dialer_at(target)
        if dialer is None:
            dialer = Dialer(self.runtime, target, settings, self._open, self._ended)
            self._dialers[target] = dialer
        dialer.wait(future, timeout)

    def _dialer_at(self, target: str) -> Dialer | None:
        """The dialer that dials the socket of *target* under another name: a second link would push out the first."""
        path = Path(target) if target.startswith("/") else find_socket(target)
        for channel, dialer in self._channels.items():
            if path is not None and isinstance(channel.wire, DialedWire) and _same(channel.wire.path, path):
                return dialer
        return None

    def disconnect(self, target: str) -> bool:
        """Close the links to *target*, and dial it no more; returns whether there was anything to close."""
        link = self.runtime.bus.links.get(target)
        peer = link if isinstance(link, Peer) else None
        dialers = [d for t, d in self._dialers.items() if t == target or (peer is not None and d.peer is peer)]
        for dialer in dialers:
            dialer.close()
        channels = list(peer.channels) if peer is not None else []
        for channel in channels:
            channel.lose("it was disconnected", Goodbye("it was disconnected"))
        return bool(dialers or channels)

    def peers(self) -> list[Peer]:
        """The peers with a link."""
        return list({c.peer.node: c.peer for c in self._channels if c.peer is not None}.values())

    # -- making channels -------------------------------------------------------

    def _meet(self, wire: Wire) -> Channel:
        """A stranger has come in."""
        label = "unknown" if wire.sender is None else f"unknown (process {wire.sender.pid})"
        channel = Channel(self.runtime, self, self.settings, label, dialed=False)
        self._channels[channel] = None
        channel.open(wire)
        if wire.sender is not None and wire.sender.uid != os.geteuid():
            logger.warning("node %s belongs to user %d: it is cut off", label, wire.sender.uid)
            channel.lose(f"it belongs to user {wire.sender.uid}")
        return channel

    def _open(self, path: Path, dialer: Dialer) -> Channel:
        channel = Channel(self.runtime, self, dialer.settings, repr(dialer.target), dialed=True)
        wire = DialedWire(self.runtime, path, channel)
        self._channels[channel] = dialer
        self._wires[wire] = None
        channel.open(wire, Hello(self.runtime.node, self.name, os.getpid(), dialer.settings.queue))
        return channel

    def _ended(self, dialer: Dialer) -> None:
        if self._dialers.get(dialer.target) is dialer:
            del self._dialers[dialer.target]

    # -- what channels tell ----------------------------------------------------

    def greeted(self, channel: Channel, hello: Hello | Welcome) -> None:
        """The peer has said who it is: the link is up, unless we do not want it. Raises FieldError."""
        _check_hello(hello)
        sender = channel.wire.sender
        if sender is not None and sender.uid != os.geteuid():
            channel.refuse(f"it belongs to user {sender.uid}", f"it belongs to user {os.geteuid()}")
            return
        if hello.node == self.runtime.node:
            reason = "it is this node itself: use the actor's own reference"
            channel.refuse(reason, reason)
            return
        known = self.runtime.bus.links.get(hello.node)
        if isinstance(known, Peer) and known.channels:
            peer = known
            # A node has one channel that it dialed, so an older one is dead, though nothing has told us yet.
            for old in [c for c in peer.channels if c.dialed is channel.dialed]:
                old.lose("it has opened a new connection")
            peer.lost_reason = ""
            peer.name = hello.name or peer.name
        else:
            pid = sender.pid if sender is not None else hello.pid
            peer = Peer(self.runtime, hello.node, hello.name, pid, self.exports, self.address_of, self.ref_for)
        channel.begin(peer, hello.window)
        if not channel.dialed:
            channel.control(Welcome(self.runtime.node, self.name, os.getpid(), channel.settings.queue))
        peer.channels = [*peer.channels, channel]
        self._enter(peer, hello.name, sure=channel.dialed)
        logger.debug("linked to node %s", peer.label)
        dialer = self._channels[channel]
        if dialer is not None:
            dialer.up(peer)

    def _enter(self, peer: Peer, name: str | None, *, sure: bool) -> None:
        """Have the bus find *peer*. A name that is only claimed, not *sure* for its socket, is taken from no other."""
        links = self.runtime.bus.links
        links[peer.node] = peer
        if name is not None:
            owner = links.get(name)
            if owner is None or not owner.linked or (sure and owner is not self._loopback):
                links[name] = peer

    def refused(self, channel: Channel, reason: str) -> None:
        """There can be no link."""
        dialer = self._channels.get(channel)
        if dialer is None or dialer.reason != reason:  # who dials again and again is told again and again
            logger.warning("no link with node %s: %s", channel.label, reason)
        if dialer is not None:
            dialer.refused(reason)

    def take(self, channel: Channel, envelope: Envelope, bulk: bytes | None) -> None:
        """A message for an actor here, or an answer. Raises ProtocolError."""
        assert channel.peer is not None
        channel.peer.take(envelope, bulk, channel)

    def lost(self, channel: Channel, reason: str, unsure: int) -> None:
        """*channel* is lost."""
        dialer = self._channels.pop(channel, None)
        if isinstance(channel.wire, DialedWire):
            self._wires.pop(channel.wire, None)
        peer = channel.peer
        if peer is not None:
            text = "node %s is lost, up to %d messages did not reach it: %s"
            logger.log(logging.WARNING if unsure else logging.DEBUG, text, peer.label, unsure, reason)
            peer.drop(channel, reason)
            if not peer.channels:
                self._remember_lost(peer)
        if dialer is not None:
            dialer.lost(reason)

    def _remember_lost(self, peer: Peer) -> None:
        self._lost.append(peer)
        if len(self._lost) > _REMEMBERED:
            oldest = self._lost.popleft()
            links = self.runtime.bus.links
            for key in (oldest.node, oldest.name):
                if key is not None and links.get(key) is oldest and not oldest.channels:
                    del links[key]

    # -- the end ---------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye to all, close the sockets, remove the socket's file. When the runtime stops."""
        for dialer in list(self._dialers.values()):
            dialer.close()
        for channel in list(self._channels):
            channel.lose("this runtime has been stopped", Goodbye("its runtime has been stopped"))
        if self.endpoint is not None:
            self.endpoint.close()
        if self._place is not None:
            self._place.leave()
            self._place = None

    def abandon(self) -> None:
        """In a forked child: close our copies of all descriptors, and remove nothing."""
        for wire in [*self._wires, *([self.endpoint] if self.endpoint is not None else [])]:
            wire.abandon()
        if self._place is not None:
            self._place.forget()


def _same(one: Path, two: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(two)


def _check_hello(hello: Hello | Welcome) -> None:
    if len(hello.node) != 16 or not set(hello.node) <= set("0123456789abcdef"):
        raise FieldError("link.hello", "node", f"is not 16 hex digits: {hello.node!r:.40}")
    if hello.window < 1:
        raise FieldError("link.hello", "window", f"is {hello.window}")
    if hello.name is not None:
        try:
            check_name(hello.name)
        except ValueError as error:
            raise FieldError("link.hello", "name", str(error)[:200]) from None
