"""The hop's own program: it takes files from the hop before it, keeps them, and serves them to whoever comes after.

It runs on each host of a `ChainPut`, and on this machine as the head, which has the files already. Nothing is
installed: `_chain_program` sends this text along, and that of `_chain_wire`, without annotations, so that Python 3.6
can run them. They must not import anything but each other and the standard library.

What is sent is a row of segments, each a file: packs (tar streams) and large files, see `_transfer_source`. They are
cut into blocks. A hop connects to the nearest hop before it that lives (its *upstream*), says from which block on it
wants data, checks each block, writes it to its disk, and only then serves it. So memory is bounded, and when an
upstream dies another one can go on with any block.

With the controller it talks by lines of JSON on stdin (``do``) and stdout (``say``). When stdin ends, or nothing has
come for a while, it removes what is half done, and ends. In ``.`` is the directory of the transfer (protocols/transfer
tells what is in it); OLDPWD is where the login began.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib

from ._chain_wire import (
    BEAT,
    BLOCK,
    DATA,
    END,
    HANDSHAKE,
    HEADER,
    PAUSE,
    SEGMENT,
    SEND_LIMIT,
    Refused,
    Segment,
    Server,
    Store,
    in_thread,
    prove,
    receive,
    say,
    set_timeouts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Head", "Hop", "main"]

_ORPHANED = 90.0  # seconds without a word from the controller
_FEED_LIMIT = 30.0  # seconds until the first byte of a feed


class Spoilt(Exception):
    """It can not go on here: the disk is full, or the like."""


class Head:
    """On the machine of the controller: has the files."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.store = Store(setup["count"], lambda number: say(say="want", segment=number))
        self._server = Server(self.store, bytes.fromhex(setup["key"]))

    def obey(self, order: dict[str, Any]) -> None:
        """Do what the controller wants."""
        if order["do"] == "listen":
            address = order["address"]
            try:
                say(say="listens", address=address, port=self._server.listen(address))
            except OSError as error:
                say(say="deaf", address=address, reason=str(error))
        elif order["do"] == "segment":
            segment = Segment(os.open(order["path"].encode("utf-8", "surrogateescape"), os.O_RDONLY))
            segment.size = segment.have = order["size"]
            segment.sums = [None] * -(-segment.size // BLOCK)
            self.store.add(order["segment"], segment)
            self.store.forget_some()
            say(say="open", segment=order["segment"])

    def beat(self) -> None:
        """A moment has passed."""

    def leave(self) -> None:
        """It ends."""


class Hop:
    """On a host. *setup* has the key, the steps (None: a pack), and for how many seconds an upstream may be silent."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._key = bytes.fromhex(setup["key"])
        self._silence = setup["silence"]
        self._steps = setup["steps"]
        self.store = Store(len(self._steps))
        self._place = os.getcwdb()
        self._home = os.environb.get(b"OLDPWD", b"/")
        self._buffer = memoryview(bytearray(BLOCK))
        self._news = threading.Condition()
        self._upstreams: list[Any] = []
        self._feed: dict[str, Any] | None = None
        self._link: socket.socket | None = None
        self._stop = False
        self._scripts: dict[str, str] = {}
        self._placed = False
        self._child: Any = None
        address = own_address()
        port = Server(self.store, self._key).listen(address)
        say(say="ready", address=address, port=port, client=client_address())

    def obey(self, order: dict[str, Any]) -> None:
        """Do what the controller wants."""
        if order["do"] == "go":
            self._scripts = order
            in_thread(lambda: self._guarded(self._pull))
            in_thread(lambda: self._guarded(self._finish))
        elif order["do"] in ("follow", "feed"):
            with self._news:
                self._upstreams = order.get("upstreams", [])
                self._feed = order if order["do"] == "feed" else None
                self._stop = True
                if self._link is not None:
                    with contextlib.suppress(OSError):
                        self._link.shutdown(socket.SHUT_RDWR)
                self._news.notify_all()
        elif order["do"] == "bye":
            leave(0 if self._placed else 1)

    def beat(self) -> None:
        """Tell how far it is."""
        say(say="at", bytes=self.store.total)

    def leave(self) -> None:
        """Nothing half done stays."""
        child = self._child
        if child is not None:
            try:
                child.terminate()
                child.wait(2)
            except (OSError, subprocess.TimeoutExpired):
                child.kill()
        if not self._placed:
            remove_tree(self._place)

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except (OSError, Spoilt) as error:
            complain(str(error))
            leave(1)

    # -- taking ------------------------------------------------------------------------

    def _pull(self) -> None:
        number = 0
        while number < self.store.count:
            number = self._pull_from(number, *self._next_upstream(number))
        say(say="complete", bytes=self.store.total)

    def _next_upstream(self, number: int) -> tuple[Any, dict[str, Any] | None]:
        """Wait for one that may have what is missing: an upstream, or a feed."""
        dry = False
        with self._news:
            while True:
                self._stop = False
                if self._feed is not None:
                    feed, self._feed = self._feed, None
                    return None, feed
                if self._upstreams:
                    return self._upstreams.pop(0), None
                if not dry:
                    say(say="dry", segment=number, bytes=self._have(number), total=self.store.total)
                    dry = True
                self._news.wait()

    def _have(self, number: int) -> int:
        segment = self.store.segments.get(number)
        return 0 if segment is None else segment.have

    def _pull_from(self, number: int, upstream: Any, feed: dict[str, Any] | None) -> int:
        """Take what is missing; return the segment from which on something still is."""
        if feed is not None:
            return self._pull_feed(number, feed)
        name, address, port = upstream
        try:
            with self._connected(address, port) as link:
                prove(link, self._key, number, len(self._segment(number).sums))
                say(say="from", upstream=name)
                return self._pull_frames(number, link)
        except Spoilt:
            raise
        except (OSError, Refused) as error:
            if not self._stop:
                seen = "nothing has come from it" if isinstance(error, BlockingIOError) else str(error)
                say(say="lost", upstream=name, reason=seen)
        finally:
            with self._news:
                self._link = None
        for known in range(number, self.store.count):
            segment = self.store.segments.get(known)
            if segment is None or not segment.complete:
                return known
        return self.store.count

    def _connected(self, address: str, port: int) -> socket.socket:
        link = socket.create_connection((address, port), self._silence)
        link.settimeout(None)
        set_timeouts(link, self._silence, HANDSHAKE)
        with self._news:
            self._link = link
            if self._stop:
                link.close()
                raise OSError("another upstream is wanted")
        return link

    def _segment(self, number: int) -> Segment:
        segment = self.store.segments.get(number)
        if segment is None:
            step = self._steps[number]
            name = b"s%d" % number if step is None else b"p%d" % step["part"]
            try:
                fd = os.open(os.path.join(self._place, name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise Spoilt(f"cannot write: {error}")  # noqa: B904 - it is the text that counts
            segment = Segment(fd)
            self.store.add(number, segment)
        return segment

    def _pull_frames(self, number: int, link: socket.socket) -> int:
        header = memoryview(bytearray(HEADER.size))
        while True:
            receive(link, header)
            kind, index, block, length, crc = HEADER.unpack(header)
            if kind == PAUSE:
                continue
            if kind == END and number == self.store.count:
                return number
            if index != number or number >= self.store.count:
                raise Refused("what it sends is not what was asked for")
            segment = self._segment(number)
            if kind == SEGMENT and block == segment.have:
                self.store.grown(segment, 0, total=block)
                number += 1
            elif kind == DATA and block == len(segment.sums) and segment.have == block * BLOCK and 0 < length <= BLOCK:
                data = self._buffer[:length]
                receive(link, data)
                if zlib.crc32(data) != crc:
                    raise Refused("a block has another checksum")
                self._keep(segment, data, crc)
            else:
                raise Refused("what it sends is not what was asked for")

    def _keep(self, segment: Segment, data: memoryview, crc: int, total: int | None = None) -> None:
        offset, size = segment.have, len(data)
        try:
            while data:
                count = os.pwrite(segment.fd, data, offset)
                data, offset = data[count:], offset + count
        except OSError as error:
            raise Spoilt(f"cannot write what has come: {error}")  # noqa: B904 - it is the text that counts
        self.store.grown(segment, size, total, crc)

    # -- from the controller, over the connection of commands -------------------------------

    def _pull_feed(self, number: int, feed: dict[str, Any]) -> int:
        """Take the rest of one segment from a pipe with a name, which a command of the controller's fills."""
        segment, size = self._segment(number), feed["size"]
        pipe = os.path.join(self._place, feed["pipe"].encode())
        os.mkfifo(pipe, 0o600)
        fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            say(say="feed", pipe=feed["pipe"], segment=number, bytes=segment.have)
            wait_readable(fd, lambda: self._stop, _FEED_LIMIT)
            while segment.have < size:
                want = min(BLOCK, size - segment.have)
                if not self._fill(fd, self._buffer[:want]):
                    return number  # cut off: what there is of the block is asked for again
                data = self._buffer[:want]
                self._keep(segment, data, zlib.crc32(data))
        finally:
            os.close(fd)
            os.unlink(pipe)
        self.store.grown(segment, 0, total=size)
        return number + 1

    def _fill(self, fd: int, view: memoryview) -> bool:
        done = 0
        while done < len(view):
            if not wait_readable(fd, lambda: self._stop, SEND_LIMIT):
                return False
            count = os.readv(fd, [view[done:]])
            if not count:
                return False
            done += count
        return True

    # -- to its place --------------------------------------------------------------------

    def _finish(self) -> None:
        for number, step in enumerate(self._steps):
            segment = None
            while segment is None:
                segment = self.store.hold(number, 1 << 60, 3600.0)
            if step is None:
                self._unpack(number, last=number == len(self._steps) - 1)
            else:
                self._place_part(segment.fd, step)
        self._placed = True
        say(say="placed")

    def _place_part(self, fd: int, step: dict[str, Any]) -> None:
        seen, wanted = os.fstat(fd), step["size"]
        size = seen.st_size
        if size != wanted:
            raise Spoilt(f"a file has {size} bytes, and should have {wanted}")
        path = os.path.join(self._place, b"n", bytes.fromhex(step["name"]))
        os.fchmod(fd, step["mode"])
        os.utime(fd, ns=(seen.st_atime_ns, step["mtime"]))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.rename(os.path.join(self._place, b"p%d" % step["part"]), path)

    def _unpack(self, number: int, last: bool) -> None:
        script = self._scripts["last" if last else "pack"]
        with open(os.path.join(self._place, b"s%d" % number), "rb") as file:
            command = ["/bin/sh", "-c", script]
            self._child = subprocess.Popen(command, stdin=file, stdout=subprocess.DEVNULL, cwd=self._home)
            status = self._child.wait()
        self._child = None
        if status:
            leave(status)


def wait_readable(fd: int, stopped: Callable[[], bool], patience: float) -> bool:
    """Wait until something can be read; False: it is no use any more."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + patience
    while not stopped() and time.monotonic() < deadline:
        if poll.poll(BEAT * 1000):
            return True
    return False


def own_address() -> str:
    """The address by which this host is reached."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    if len(words) == 4:
        return words[2]
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def client_address() -> str:
    """The address of the controller, as this host sees it."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    return words[0] if len(words) == 4 else ""


def remove_tree(place: bytes) -> None:
    """Remove a directory, with all that is in it."""
    os.chdir("/")
    for path, names, _ in os.walk(place):
        for name in names:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), 0o700)
    shutil.rmtree(place, ignore_errors=True)


def complain(text: str) -> None:
    """Say on stderr what went wrong."""
    data = f"regisseur: {text}\n".encode("utf-8", "surrogateescape")
    with contextlib.suppress(OSError):
        os.write(2, data)


_leaving = threading.Lock()
_role: Any = None


def leave(status: int) -> None:
    """End, from any thread."""
    _leaving.acquire()  # and never release it: the first who comes ends all
    try:
        if _role is not None:
            _role.leave()
    finally:
        os._exit(status if status >= 0 else 128 - status)


def main(stream: Any) -> None:
    """Serve until the end. *stream*: what the controller says."""
    global _role
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: in_thread(lambda: leave(-number)))
    setup = json.loads(stream.readline().decode())
    try:
        _role = (Head if setup["role"] == "head" else Hop)(setup)
    except (OSError, Spoilt) as error:
        complain(str(error))
        remove_tree(os.getcwdb())
        os._exit(1)
    heard = [time.monotonic()]

    def listen() -> None:
        for line in iter(stream.readline, b""):
            heard[0] = time.monotonic()
            try:
                _role.obey(json.loads(line.decode()))
            except Exception as error:  # such as a file that is gone
                complain(str(error))
                break
        leave(1)

    in_thread(listen)
    pause = setup.get("report", 1.0)
    while time.monotonic() - heard[0] < _ORPHANED:
        time.sleep(pause)
        try:
            _role.beat()
        except OSError:  # nobody is there who could hear it
            break
    leave(1)


if __name__ == "__main__":
    main(sys.stdin.buffer)
