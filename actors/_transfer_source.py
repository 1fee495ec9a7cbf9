"""TransferSource: the local files of a `Put`, as the steps in which they are sent. One for all hosts that get the same.

Small files go together in tar streams ("packs"), each of which is written once, into a file without a name, and then
read by all hosts at their own pace: their connections are handed the file itself. Large files are not copied at all:
the connections read them where they lie. A pack is only made when a host needs it, and few are kept at a time; a host
that is far behind the others has it made again. So room on the disk is bounded, whatever is sent.

Threads: workers look at files and write packs; any thread asks.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ..protocols.transfer_tar import DIRECTORY, END, FILE, LINK, header, padding
from ._redirect import FileInput
from ._transfer_sums import Digest
from .future import Future

if TYPE_CHECKING:
    from ._pool import WorkerPool

__all__ = ["Pack", "Part", "Plan", "Spool", "TransferSource", "settle"]

_LARGE = 16 << 20
"""Bytes from which on a file is sent by itself, so that it can go on where it was broken off."""
_PACK = 64 << 20
"""Bytes of content in a pack, at most."""
_KEPT = 4
"""Packs that are kept at a time."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file, directory or symbolic link that is sent."""

    name: bytes
    """Where it goes, below the destination."""
    path: bytes
    """Where it is."""
    kind: bytes
    mode: int
    mtime_ns: int
    size: int = 0
    link: bytes = b""

    @property
    def is_large(self) -> bool:
        """Whether it is sent by itself."""
        return self.size >= _LARGE

    def header(self) -> bytes:
        """Its header in a pack."""
        return header(b"n/" + self.name, self.kind, self.mode, self.mtime_ns, size=self.size, link=self.link)


@dataclass(frozen=True, slots=True)
class Part:
    """A step: one large file."""

    number: int
    """Among the large ones."""
    member: Member

    @property
    def members(self) -> list[Member]:
        """What is sent: itself alone."""
        return [self.member]

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.member.size


@dataclass(slots=True)
class Pack:
    """A step: a tar stream."""

    members: list[Member] = field(default_factory=list)
    size: int = 0
    """Bytes of content."""
    first: bool = False
    """It begins the transfer, and holds the times of the large files."""
    last: bool = False
    """It ends the transfer, and holds what is needed to check it."""

    def add(self, member: Member) -> None:
        """Have *member* sent with it."""
        self.members.append(member)
        self.size += member.size


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, and in which steps."""

    steps: Sequence[Pack | Part]
    size: int
    """Bytes of content."""

    @property
    def parts(self) -> list[Part]:
        """The large files."""
        return [step for step in self.steps if isinstance(step, Part)]


class Spool:
    """A pack that has been written: a file without a name, which is there as long as somebody uses it."""

    __slots__ = ("_fd", "_lock", "_users", "size")

    def __init__(self, file: IO[bytes]) -> None:
        self.size = file.tell()
        """Bytes of the stream."""
        self._fd = os.dup(file.fileno())
        self._users = 1
        self._lock = threading.Lock()

    def input(self) -> FileInput | None:
        """It as the stdin of a process, until that is closed; None: nobody used it any more, so it is gone."""
        with self._lock:
            if not self._users:
                return None
            self._users += 1
        return FileInput(f"/proc/self/fd/{self._fd}", closed=self.close)

    def close(self) -> None:
        """One does not use it any more: at first, who made it."""
        with self._lock:
            self._users -= 1
            if not self._users:
                os.close(self._fd)


class TransferSource:
    """See the module.

    Args:
        names: of files and directories; those that are symbolic links count as what they lead to, links within
            directories stay links.
        checksum: have what arrives compared by its content too, and not only by its size.
    """

    def __init__(self, names: Sequence[str | bytes], *, checksum: bool) -> None:
        self.names = [os.fsencode(name) for name in names]
        self.checksum = checksum
        self._lock = threading.Lock()
        self._users = 0
        self._plan: Future[Plan] | None = None
        self._packs: OrderedDict[int, Future[Spool]] = OrderedDict()
        self._sums: dict[bytes, tuple[bytes, bytes]] = {}  # SHA-256 and cksum of a file, by its name below

    def enter(self) -> None:
        """Another host is to get the files; `leave` must follow. Thread-safe."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """A host has them, or never will: when the last has left, no room is taken any more. Thread-safe."""
        with self._lock:
            self._users -= 1
            while self._packs and not self._users:
                _drop(self._packs.popitem()[1])

    def plan(self, pool: WorkerPool) -> Future[Plan]:
        """The steps; the files are looked at when it is asked for the first time. Thread-safe.

        Raises, through the future:
            OSError: there is no such file, it can not be read, or it is nothing that can be sent.
        """
        with self._lock:
            if self._plan is not None:
                return self._plan
            future = self._plan = Future()
        pool.submit(lambda: settle(future, self._look))
        return future

    def pack(self, index: int, pack: Pack, pool: WorkerPool) -> Future[Spool]:
        """The stream of a step, to be read by one host, or its twin. Thread-safe.

        Raises, through the future:
            OSError: a file has become shorter, can not be read, or the disk is full.
        """
        with self._lock:
            future = self._packs.get(index)
            if future is not None:
                self._packs.move_to_end(index)
                return future
            future = self._packs[index] = Future()
            while len(self._packs) > _KEPT:
                _drop(self._packs.popitem(last=False)[1])
        pool.submit(lambda: settle(future, lambda: self._write(pack)))
        return future

    @staticmethod
    def base_name(name: bytes) -> bytes:
        """What a file or directory is called where it goes."""
        path = name.rstrip(b"/") or b"/"
        base = os.path.basename(path)
        return os.path.basename(os.path.abspath(path)) if base in (b"", b".", b"..") else base

    # -- looking at the files: a worker ---------------------------------------------

    def _look(self) -> Plan:
        members: dict[bytes, Member] = {}
        for name in self.names:
            path = name.rstrip(b"/") or name[:1]
            for member in _look_at(self.base_name(name), path, os.stat(os.fsdecode(path))):
                members[member.name] = member  # of two with one name the last counts
        return Plan(_steps(members.values()) if members else (), sum(member.size for member in members.values()))

    # -- writing a pack: a worker -------------------------------------------------------

    def _write(self, pack: Pack) -> Spool:
        plan = self._plan.result(0) if self._plan is not None else None
        assert plan is not None, "a pack is asked for after the plan that it is a part of"
        with tempfile.TemporaryFile(prefix="regisseur-", buffering=_BLOCK) as file:
            for member in pack.members:
                file.write(member.header())
                if member.kind == FILE:
                    self._copy(member, file)
                    file.write(padding(member.size))
            if pack.first:
                for part in plan.parts:
                    file.write(header(b"m%d" % part.number, FILE, 0o600, part.member.mtime_ns))
            if pack.last:
                self._write_checks(plan, file)
            file.write(END)
            file.flush()
            return Spool(file)

    def _copy(self, member: Member, file: IO[bytes]) -> None:
        digest = Digest() if self.checksum else None
        for block in _blocks(member):
            file.write(block)
            if digest is not None:
                digest.update(block)
        if digest is not None:
            self._sums[member.name] = digest.values()

    def _write_checks(self, plan: Plan, file: IO[bytes]) -> None:
        members = [
            member for step in plan.steps for member in (step.members if isinstance(step, Pack) else [step.member])
        ]
        files = [member for member in members if member.kind == FILE]
        _write_control(file, b"sizes", (b"%d\n" % size for size in sorted(member.size for member in files)))
        if self.checksum:
            sums = [self._sums_of(member) for member in files]
            _write_control(file, b"sha256", sorted(sha256 + b"\n" for sha256, _ in sums))
            _write_control(file, b"cksum", sorted(cksum + b"\n" for _, cksum in sums))

    def _sums_of(self, member: Member) -> tuple[bytes, bytes]:
        known = self._sums.get(member.name)
        if known is None:
            digest = Digest()
            for block in _blocks(member):
                digest.update(block)
            known = self._sums[member.name] = digest.values()
        return known


def _look_at(name: bytes, path: bytes, found: os.stat_result) -> Iterator[Member]:
    """A file or directory, and all that is in it; the contents of a directory before itself.

    So no tar closes a directory, which the user may not be allowed to write, before all is in it.
    """
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                yield from _look_at(name + b"/" + entry.name, entry.path, entry.stat(follow_symlinks=False))
        yield Member(name, path, DIRECTORY, mode, found.st_mtime_ns)
    elif stat.S_ISLNK(mode):
        yield Member(name, path, LINK, mode, found.st_mtime_ns, link=os.readlink(path))
    elif not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "neither a file nor a directory, so it can not be copied", os.fsdecode(path))
    elif not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fsdecode(path))
    else:
        yield Member(name, path, FILE, mode, found.st_mtime_ns, found.st_size)


def _steps(members: Iterable[Member]) -> list[Pack | Part]:
    packs = [Pack()]
    large: list[Part] = []
    directories = []
    for member in members:
        if member.is_large:
            large.append(Part(len(large), member))
        elif member.kind == DIRECTORY:
            directories.append(member)
        else:
            if packs[-1].size + member.size > _PACK:
                packs.append(Pack())
            packs[-1].add(member)
    if large:
        packs[0].first = True
        packs.append(Pack())
    packs[-1].last = True
    for member in directories:  # with their times and modes, when all is in them
        packs[-1].add(member)
    return [*packs[:-1], *large, packs[-1]]


def _blocks(member: Member) -> Iterator[bytes]:
    """The content of a file, as much of it as there was when it was looked at."""
    missing = member.size
    with open(member.path, "rb", buffering=0) as file:
        while missing:
            block = file.read(min(_BLOCK, missing))
            if not block:
                text = f"it has become {missing} bytes shorter since it was looked at"
                raise OSError(errno.EIO, text, os.fsdecode(member.path))
            missing -= len(block)
            yield block


def _write_control(file: IO[bytes], name: bytes, lines: Iterable[bytes]) -> None:
    content = b"".join(lines)
    file.write(header(name, FILE, 0o600, 0, size=len(content)))
    file.write(content)
    file.write(padding(len(content)))


def _drop(future: Future[Spool]) -> None:
    """Close the pack, as soon as it is there."""
    future.add_done_callback(lambda done: None if done.exception() else done.result().close())


def settle(future: Future[Any], work: Callable[[], Any]) -> None:
    """Do *work*, and have *future* tell what came of it. In a worker."""
    try:
        result = work()
    except BaseException as error:  # whoever waits is told
        future.offer_exception(error)
    else:
        future.offer(result)
