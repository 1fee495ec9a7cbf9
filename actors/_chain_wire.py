"""What a hop has, and how others get it: the part of the hop's program (`_chain_hop`) that serves.

Between hops, after both have shown that they know the key of the run (which is never sent), frames go one way: a
header (kind, segment, number, length, CRC-32), and behind one of a block its bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import json
import os
import socket
import struct
import threading
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "BEAT",
    "BLOCK",
    "DATA",
    "END",
    "HANDSHAKE",
    "HEADER",
    "PAUSE",
    "RAW",
    "SEGMENT",
    "SEND_LIMIT",
    "Refused",
    "Segment",
    "Server",
    "Store",
    "challenge",
    "in_thread",
    "prove",
    "receive",
    "say",
    "set_timeouts",
]

BLOCK = 512 << 10  # of larger ones a chain takes longer to fill, smaller ones take more calls
HEADER = struct.Struct(">BIQII")
DATA, PAUSE, SEGMENT, END = 1, 2, 3, 4
BEAT = 0.4  # seconds between signs of life
HANDSHAKE = 5.0
SEND_LIMIT = 60.0  # seconds after which one who takes nothing is given up
RAW = 1 << 63  # in place of a block: one segment without frames, for who can not take them (protocols/chain_leaf.py)
_REQUEST = struct.Struct(">IQ")
_MAGIC = b"regisseur-chain-1\n"
_NONCE, _PROOF = 32, 32
_STRANGERS = 32  # connections at a time that have not shown that they know the key
_OPEN = 16  # segments that the head has open


class Refused(Exception):
    """The other side does not know the key, or does not speak as it should."""


# -- between hops ------------------------------------------------------------------------------------------------------


def set_timeouts(link: socket.socket, receive: float, send: float) -> None:
    """Let receiving and sending fail after so many seconds without a byte; not by polling, which costs a call each."""
    for option, seconds in ((socket.SO_RCVTIMEO, receive), (socket.SO_SNDTIMEO, send)):
        link.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))


def receive(link: socket.socket, view: memoryview) -> None:
    """Fill *view*. It is enough that something comes within the time that was set."""
    done, size = 0, len(view)
    while done < size:
        count = link.recv_into(view[done:], size - done, socket.MSG_WAITALL)
        if not count:
            raise OSError("the connection has ended")
        done += count


def take(link: socket.socket, size: int) -> bytes:
    """*size* bytes."""
    data = bytearray(size)
    receive(link, memoryview(data))
    return bytes(data)


def _proof(key: bytes, role: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, _MAGIC + role + b"".join(parts), hashlib.sha256).digest()


def challenge(link: socket.socket, key: bytes) -> tuple[int, int]:
    """Have who connects show that it knows *key*, and show it; return the segment and the block that it wants."""
    ours = os.urandom(_NONCE)
    link.sendall(_MAGIC + ours)
    theirs, request, proof = take(link, _NONCE), take(link, _REQUEST.size), take(link, _PROOF)
    if not hmac.compare_digest(proof, _proof(key, b"successor", ours, theirs, request)):
        raise Refused
    link.sendall(_proof(key, b"upstream", theirs, ours))
    segment, block = _REQUEST.unpack(request)
    return segment, block


def prove(link: socket.socket, key: bytes, segment: int, block: int) -> None:
    """The other side of `challenge`."""
    if take(link, len(_MAGIC)) != _MAGIC:
        raise Refused("it is something else that listens there")
    theirs, ours = take(link, _NONCE), os.urandom(_NONCE)
    request = _REQUEST.pack(segment, block)
    link.sendall(ours + request + _proof(key, b"successor", theirs, ours, request))
    if not hmac.compare_digest(take(link, _PROOF), _proof(key, b"upstream", ours, theirs)):
        raise Refused("it does not know the key of the run")


# -- what there is -----------------------------------------------------------------------------------------------------


class Segment:
    """A file, or as much of it as there is. Belongs to its `Store`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = -1
        """Bytes of all of it; -1: not known yet."""
        self.have = 0
        self.sums: list[int | None] = []
        """CRC-32 of each block; the head learns them when it sends."""
        self.users = 0

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self.have == self.size


class Store:
    """The segments. *wanted* is called (once each) for one that is asked for and is not there at all."""

    def __init__(self, count: int, wanted: Callable[[int], None] | None = None) -> None:
        self.count = count
        self.changed = threading.Condition()
        self.segments: dict[int, Segment] = {}
        self.total = 0
        self._wanted = wanted
        self._asked: set[int] = set()

    def add(self, number: int, segment: Segment) -> None:
        """Here is one more."""
        with self.changed:
            self.segments[number] = segment
            self._asked.discard(number)
            self.changed.notify_all()

    def grown(self, segment: Segment, size: int, total: int | None = None, crc: int | None = None) -> None:
        """A block more is there, or it is known how many will be."""
        with self.changed:
            if size:
                segment.sums.append(crc)
                segment.have += size
                self.total += size
            if total is not None:
                segment.size = total
            self.changed.notify_all()

    def hold(self, number: int, block: int, patience: float) -> Segment | None:
        """Return the segment when this block of it is there, or when all of it is. None: not yet."""
        deadline = time.monotonic() + patience
        with self.changed:
            while True:
                segment = self.segments.get(number)
                if segment is None and self._wanted is not None and number not in self._asked:
                    self._asked.add(number)
                    self._wanted(number)
                if segment is not None and (block < len(segment.sums) or segment.complete):
                    segment.users += 1
                    return segment
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(left)

    def release(self, segment: Segment) -> None:
        """It is not used any more."""
        with self.changed:
            segment.users -= 1

    def forget_some(self) -> None:
        """Close those that were not used for long, where there are many."""
        with self.changed:
            for number in list(self.segments)[:-_OPEN]:
                if not self.segments[number].users:
                    os.close(self.segments.pop(number).fd)


class Server:
    """Serves a `Store` to those who know the key."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._key = key
        self._strangers = threading.BoundedSemaphore(_STRANGERS)

    def listen(self, address: str) -> int:
        """Listen at *address* alone; return the port."""
        name, _, zone = address.partition("%")
        family = socket.AF_INET6 if ":" in name else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        place: Any = (name, 0)
        if family == socket.AF_INET6:
            place = (name, 0, 0, socket.if_nametoindex(zone) if zone else 0)
        listener.bind(place)
        listener.listen(128)
        in_thread(lambda: self._accept(listener))
        port: int = listener.getsockname()[1]
        return port

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link = listener.accept()[0]
            except OSError:
                time.sleep(BEAT)
                continue
            if self._strangers.acquire(False):
                in_thread(functools.partial(self._serve, link))
            else:
                link.close()

    def _serve(self, link: socket.socket) -> None:
        with link:
            try:
                set_timeouts(link, HANDSHAKE, HANDSHAKE)
                segment, block = challenge(link, self._key)
            except (OSError, Refused):
                return
            finally:
                self._strangers.release()
            with contextlib.suppress(OSError):  # it says itself, to the controller, what it misses
                set_timeouts(link, 0, SEND_LIMIT)
                if block == RAW:
                    self._send_raw(link, segment)
                else:
                    self._send_all(link, segment, block)

    def _send_raw(self, link: socket.socket, number: int) -> None:
        """Send one segment as it is."""
        done = 0
        while number < self._store.count:
            segment = self._store.hold(number, done // BLOCK, BEAT)
            if segment is not None:
                have = segment.have  # what of it is there is checked
                while done < have:
                    count = os.sendfile(link.fileno(), segment.fd, done, have - done)
                    if not count:
                        raise OSError("the file has become shorter")
                    done += count
                complete = segment.have == done and segment.complete
                self._store.release(segment)
                if complete:
                    return

    def _send_all(self, link: socket.socket, number: int, block: int) -> None:
        buffer = memoryview(bytearray(BLOCK))
        while number < self._store.count:
            segment = self._store.hold(number, block, BEAT)
            if segment is None:
                link.sendall(HEADER.pack(PAUSE, 0, 0, 0, 0))
                continue
            try:
                if block < len(segment.sums):
                    self._send_block(link, segment, number, block, buffer)
                    block += 1
                    continue
                link.sendall(HEADER.pack(SEGMENT, number, segment.size, 0, 0))
            finally:
                self._store.release(segment)
            number, block = number + 1, 0
        link.sendall(HEADER.pack(END, 0, 0, 0, 0))
        link.shutdown(socket.SHUT_WR)
        set_timeouts(link, SEND_LIMIT, SEND_LIMIT)
        link.recv(1)  # until it has all

    def _send_block(self, link: socket.socket, segment: Segment, number: int, block: int, buffer: memoryview) -> None:
        offset = block * BLOCK
        length = min(BLOCK, segment.have - offset)
        crc = segment.sums[block]
        if crc is None:  # the head has not read it yet
            data = buffer[: fill(segment.fd, buffer[:length], offset)]
            if len(data) < length:
                say(say="shrunk", segment=number, missing=length - len(data))
                raise OSError("the file has become shorter")
            crc = segment.sums[block] = zlib.crc32(data)
            link.sendall(HEADER.pack(DATA, number, block, length, crc), socket.MSG_MORE)
            link.sendall(data)
            return
        link.sendall(HEADER.pack(DATA, number, block, length, crc), socket.MSG_MORE)
        while length:
            count = os.sendfile(link.fileno(), segment.fd, offset, length)
            if not count:
                raise OSError("the file has become shorter")
            offset, length = offset + count, length - count


def fill(fd: int, view: memoryview, offset: int) -> int:
    """Read as much of a file as goes into *view*; return how much that was."""
    done = 0
    while done < len(view):
        data = os.pread(fd, len(view) - done, offset + done)
        if not data:
            break
        view[done : done + len(data)] = data
        done += len(data)
    return done


# -- with the controller -----------------------------------------------------------------------------------------------

_saying = threading.Lock()


def say(**words: Any) -> None:
    """Tell the controller."""
    data = json.dumps(words).encode() + b"\n"
    with _saying:
        while data:
            data = data[os.write(1, data) :]


def in_thread(function: Callable[[], None]) -> None:
    """Run *function* beside."""
    thread = threading.Thread(target=function)
    thread.daemon = True
    thread.start()
