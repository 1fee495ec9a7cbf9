"""Broadcast: files that are read once, and given to the commands of many nodes at the same time.

A tree of TakTuk's sends what is given to many nodes over each of its connections once, if it is given to all of them
in one message. So the commands that are to read the same, from the same byte on, are gathered in a `Stream`, which
begins when all hosts have come that are expected, or none has come for a while: whoever comes later gets it by a
stream of his own, with others that are late.

What nodes can not take yet would pile up in the memory of TakTuk's. So nodes tell what they have taken, and a stream
is ahead of its slowest node by `_AHEAD` at most. A node that takes nothing for `_SILENT` is dropped.

Lives on the reactor.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol

from ._taktuk_gateway import NodeInput
from ._transfer_source import TransferSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._redirect import FileInput
    from .runtime import Runtime

__all__ = ["Broadcast", "BroadcastSource", "Reader", "Stream"]

_BLOCK = 1 << 18  # bytes that are read and given at a time
_AHEAD = 4 << 20
_SILENT = 30.0  # seconds
_PATIENCE = 1.0, 10.0
"""Seconds that are waited for the next host, at least and at most; as a rule a quarter of the stream before."""


class Reader(Protocol):
    """A command of a node that reads a file."""

    actor_address: str
    gateway: str
    """Address of the actor that takes what it is given."""
    given: FileInput

    def break_off(self, error: BaseException | None) -> None:
        """It gets no more: because of *error*, or since it has taken nothing for a long time."""


class Stream:
    """A file from some byte on, and the commands that read it; see the module."""

    def __init__(self, broadcast: Broadcast, path: str | bytes, offset: int) -> None:
        self.path = path
        self._broadcast = broadcast
        self._readers: dict[str, Reader] = {}
        self._taken: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._late: set[str] = set()  # those for whom it waits
        self._gateways: dict[str, list[str]] = {}
        self._fd = -1
        self._offset = offset
        self._sent = 0
        self._began = 0.0
        self._runtime: Runtime | None = None
        self.joined = 0.0
        """When the last one came: `time.monotonic`."""

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, reader: Reader) -> None:
        """Before it begins."""
        self._readers[reader.actor_address] = reader
        self._taken[reader.actor_address] = 0
        self._gateways.setdefault(reader.gateway, []).append(reader.actor_address)
        self.joined = time.monotonic()

    def remove(self, address: str) -> None:
        """A command has ended, or is to get no more."""
        reader = self._readers.pop(address, None)
        if reader is None:
            return
        self._gateways[reader.gateway].remove(address)
        del self._taken[address]
        if not self._readers:
            self._close()
        elif address in self._late:
            self._late.discard(address)
            self._go_on()

    # -- giving ------------------------------------------------------------------------

    def begin(self, runtime: Runtime) -> None:
        """Give them all of it."""
        self._runtime = runtime
        self._began = time.monotonic()
        self._heard = dict.fromkeys(self._readers, self._began)
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._fail(error)
            return
        self._watch()
        self._go_on()

    def took(self, address: str, count: int) -> None:
        """A command has taken so many bytes, in all."""
        if address in self._taken and self._runtime is not None:
            self._taken[address] = count
            self._readers[address].given.fed = count
            self._heard[address] = time.monotonic()
            if address in self._late and count > self._sent - _AHEAD:
                self._late.discard(address)
                self._go_on()

    def _go_on(self) -> None:
        while self._fd >= 0 and not self._late:
            try:
                data = os.pread(self._fd, _BLOCK, self._offset + self._sent)
            except OSError as error:
                self._fail(error)
                return
            self._sent += len(data)
            self._give(data)
            if not data:
                self._broadcast.patience = time.monotonic() - self._began
                self._close()
            elif self._sent >= _AHEAD:
                self._late = {address for address, taken in self._taken.items() if taken <= self._sent - _AHEAD}

    def _give(self, data: bytes) -> None:
        assert self._runtime is not None
        for gateway, addresses in self._gateways.items():
            if addresses:
                self._runtime.bus.tell(gateway, NodeInput(tuple(addresses), data))

    def _fail(self, error: OSError) -> None:
        self._close()
        for reader in list(self._readers.values()):
            reader.break_off(error)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _watch(self) -> None:
        """Look from time to time who is silent."""
        if self._fd < 0 or self._runtime is None:
            return
        before = time.monotonic() - _SILENT
        for address in [address for address in self._late if self._heard[address] < before]:
            self._readers[address].break_off(None)
            self.remove(address)
        self._runtime.call_later(_SILENT / 4, self._watch)


class Broadcast:
    """The hosts that get the same files, and the streams that give it to them; see the module."""

    def __init__(self) -> None:
        self._expected: dict[object, None] = {}
        self._limit: int | None = None
        self._waiting: dict[tuple[str | bytes, int], Stream] = {}
        self._streams: dict[str, Stream] = {}  # by command
        self._patience = _PATIENCE[0]

    def expect(self, hosts: Iterable[object], limit: int | None = None) -> None:
        """These are to come; *limit*: so many at a time."""
        self._expected.update(dict.fromkeys(hosts))
        self._limit = limit or self._limit

    def forget(self, runtime: Runtime, hosts: Iterable[object]) -> None:
        """These will not come any more."""
        for host in hosts:
            self._expected.pop(host, None)
        for key in list(self._waiting):
            self._look(runtime, key)

    def group(self, given: FileInput) -> Stream:
        """What the commands that may read the same as one have in common."""
        key = given.path, given.offset
        stream = self._waiting.get(key)
        if stream is None:
            stream = self._waiting[key] = Stream(self, *key)
        return stream

    def join(self, runtime: Runtime, reader: Reader) -> None:
        """A command is ready to read."""
        key = reader.given.path, reader.given.offset
        stream = self._streams[reader.actor_address] = self.group(reader.given)
        stream.add(reader)
        self._look(runtime, key)
        if self._waiting.get(key) is stream and len(stream) == 1:
            self._look_later(runtime, key, stream)

    def took(self, address: str, count: int) -> None:
        """A command has taken so many bytes, in all."""
        stream = self._streams.get(address)
        if stream is not None:
            stream.took(address, count)

    def leave(self, address: str) -> None:
        """A command has ended."""
        stream = self._streams.pop(address, None)
        if stream is not None:
            stream.remove(address)

    @property
    def patience(self) -> float:
        """Seconds that are waited for the next host."""
        return self._patience

    @patience.setter
    def patience(self, duration: float) -> None:
        """To be told how long a stream took."""
        least, most = _PATIENCE
        self._patience = min(most, max(least, duration / 4))

    def _look_later(self, runtime: Runtime, key: tuple[str | bytes, int], stream: Stream) -> None:
        """When nobody has come for a while, it is to begin with those who have."""

        def look() -> None:
            if self._waiting.get(key) is stream and len(stream):
                self._look(runtime, key)
                self._look_later(runtime, key, stream)

        if self._waiting.get(key) is stream:
            rest = stream.joined + self._patience - time.monotonic()
            runtime.call_later(max(0.01, rest), look)

    def _look(self, runtime: Runtime, key: tuple[str | bytes, int]) -> None:
        """Whether a stream is to begin."""
        stream = self._waiting.get(key)
        if stream is None:
            return
        enough = min(len(self._expected), self._limit or len(self._expected))
        if len(stream) and (len(stream) >= enough or time.monotonic() - stream.joined >= self._patience):
            del self._waiting[key]
            stream.begin(runtime)


class BroadcastSource(TransferSource):
    """The files of a `Put`, with the hosts that get them at the same time."""

    def __init__(self, names: list[str], *, checksum: bool) -> None:
        super().__init__(names, checksum=checksum)
        self.broadcast = Broadcast()
