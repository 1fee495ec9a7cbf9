"""ChainLeader: leads the hops of one chain, all of which get the same files; and the head, a process of this machine.

Belongs to the reactor. It tells the rule (protocols/chain.py) what the hops say, and does what that wants. What it
knows of a host is its `HopSide`, the actor of that host's transfer.

The head serves the files to the hops that can reach it, for it listens where they have seen us come from; without it,
and without any other hop that has the files, a hop is fed over its connection of commands. It runs while there are
hops, and only reads files; it is a process so that its work does not hold up this one.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pykka

from ..protocols.chain import Chain, is_private
from ..protocols.chain_events import (
    HEAD,
    Completed,
    Dismiss,
    Effect,
    Ended,
    Feed,
    Follow,
    GiveUp,
    Listening,
    LostUpstream,
    Placed,
    RanDry,
    Remark,
    Reported,
    Ticked,
    Took,
)
from ._chain_program import head_command, program_input
from ._handlers import ProcessOutputHandler
from ._process import Process
from ._process_actor import Write
from ._process_base import QUIET
from ._transfer_source import Part

if TYPE_CHECKING:
    from ._redirect import FileInput
    from ._transfer_source import Plan, Spool, TransferSource
    from .future import Future
    from .runtime import Runtime

__all__ = ["ChainLeader", "HopSide", "Lines", "order", "write_unlogged"]

_TICK = 0.25  # seconds
_STAY = 20.0  # seconds between words to hops that would think us dead
_SILENCE = 1.5  # seconds after which a hop tries another upstream
_REPORTS = 200.0  # a second, from all hops


class HopSide(Protocol):
    """What the leader has of a hop."""

    def order(self, **words: Any) -> None:
        """Tell the hop."""

    def give_up(self, reason: str) -> None:
        """Nothing more can be expected of it."""

    def fail(self, error: BaseException) -> None:
        """The files can not be had."""

    def remark(self, text: str) -> None:
        """Have the report say this."""


class Lines(ProcessOutputHandler):
    """Has *take* called on the reactor with what a hop says, as long as there is a runtime."""

    def __init__(self, runtime: Runtime, take: Callable[[dict[str, Any]], None]) -> None:
        self._runtime = runtime
        self._take = take

    def read_line(self, process: Any, stream: int, string: str) -> None:
        """In a worker. What start-up files have written is no JSON."""
        with contextlib.suppress(ValueError, pykka.ActorDeadError):
            words = json.loads(string)
            if isinstance(words, dict) and "say" in words:
                self._runtime.bus.call(functools.partial(self._take, words))


def order(process: Process, words: dict[str, Any], before: bytes = b"") -> None:
    """Write a line to a hop. The log is not told: there may be the key in it."""
    write_unlogged(process, before + json.dumps(words).encode() + b"\n")


def write_unlogged(process: Process, data: bytes) -> None:
    """Write to the stdin of *process*, and do not tell the log."""
    process._run.unread.append(len(data))
    process._tell(Write(data, None))


@dataclass(slots=True)
class _Member:
    side: HopSide
    name: str
    """Of its host."""
    address: str = ""
    port: int = 0
    client: str = ""
    """How its host sees this machine."""
    segment: int = 0
    """Which it misses."""
    going: bool = False


@dataclass(slots=True)
class _Head:
    process: Process
    places: dict[str, int | None] = field(default_factory=dict)
    """The port at each address; None: it can not listen there."""
    waiting: dict[str, list[int]] = field(default_factory=dict)
    """Hops that wait for an answer about an address."""
    given: dict[int, FileInput] = field(default_factory=dict)
    """What it is about to open."""


class ChainLeader:
    """See the module.

    Args:
        source: of the files.
        way: to the head: "tcp", "ssh", or None: by tcp where the address is a private one.
    """

    def __init__(self, source: TransferSource, way: str | None) -> None:
        self._source = source
        self._way = way
        self._key = secrets.token_bytes(32)
        self._chain = Chain()
        self._members: dict[int, _Member] = {}
        self._names: dict[int, str] = {HEAD: "head"}
        self._head: _Head | None = None
        self._plan: Plan
        self._runtime: Runtime
        self._ticking = False
        self._stay_at = 0.0
        self._pipes = 0

    def enter(self, side: HopSide, rank: int, name: str, plan: Plan, runtime: Runtime, *, leaf: bool = False) -> int:
        """A hop is being started; return its number. A *leaf* is ready when it has said so, without an address."""
        number = self._chain.enter(rank, plan.size, leaf=leaf)
        self._members[number] = _Member(side, name)
        self._names[number] = name
        self._plan, self._runtime = plan, runtime
        if not self._ticking:
            self._ticking = True
            self._tick()
        return number

    def leave(self, number: int) -> None:
        """A hop is no more."""
        if self._members.pop(number, None) is not None:
            self._take(Ended(number))
        if not self._members and self._head is not None:
            head, self._head = self._head, None
            head.process.kill()
            for given in head.given.values():
                given.close()

    def setup(self) -> dict[str, Any]:
        """What a hop is told first."""
        steps = [
            {
                "part": step.number,
                "size": step.member.size,
                "mode": step.member.mode & 0o7777,
                "mtime": step.member.mtime_ns,
                "name": step.member.name.hex(),
            }
            if isinstance(step, Part)
            else None
            for step in self._plan.steps
        ]
        report = max(_TICK, len(self._members) / _REPORTS)
        return {"role": "hop", "key": self._key.hex(), "steps": steps, "silence": _SILENCE, "report": report}

    @property
    def key(self) -> bytes:
        """That hops have to know."""
        return self._key

    def name(self, upstream: int) -> str:
        """What *upstream* is called: a host, or "head"."""
        return self._names[upstream]

    # -- what hops say -------------------------------------------------------------------

    def said(self, number: int, words: dict[str, Any]) -> None:
        """A hop has said something."""
        member = self._members.get(number)
        if member is None:
            return
        what = words["say"]
        if what == "ready":
            member.address, member.port, member.client = words["address"], words["port"], words["client"]
            self._find_head(number, member)
        elif what == "at":
            self._take(Reported(number, words["bytes"], time.monotonic()))
        elif what == "from":
            self._take(Took(number, words["upstream"]))
        elif what == "lost":
            self._take(LostUpstream(number, words["upstream"]))
        elif what == "dry":
            member.segment = words["segment"]
            self._take(Reported(number, words["total"], time.monotonic()))
            self._take(RanDry(number))
        elif what == "complete":
            self._take(Reported(number, words["bytes"], time.monotonic()))
            self._take(Completed(number))
        elif what == "placed":
            self._take(Placed(number))

    def _take(self, event: Any) -> None:
        for effect in self._chain.take(event):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        member = self._members.get(effect.hop)
        if member is None:
            return
        match effect:
            case Follow():
                upstreams = [place for each in effect.upstreams if (place := self._place(each, member)) is not None]
                member.side.order(do="follow", upstreams=upstreams)
                self._go(member)
            case Feed():
                self._feed(effect.hop, member)
            case Dismiss():
                member.side.order(do="bye")
            case GiveUp():
                member.side.give_up(effect.reason)
            case Remark():
                member.side.remark(effect.text)

    def _go(self, member: _Member) -> None:
        if not member.going:
            member.going = True
            member.side.order(do="go")

    def _place(self, upstream: int, taker: _Member) -> tuple[int, str, int] | None:
        if upstream == HEAD:
            port = self._head.places.get(taker.client) if self._head is not None else None
            return None if port is None else (HEAD, taker.client, port)
        member = self._members.get(upstream)
        return None if member is None else (upstream, member.address, member.port)

    def _tick(self) -> None:
        if not self._members:
            self._ticking = False
            return
        now = time.monotonic()
        self._take(Ticked(now))
        if now >= self._stay_at:
            self._stay_at = now + _STAY
            for member in list(self._members.values()):
                member.side.order(do="stay")
            if self._head is not None:
                order(self._head.process, {"do": "stay"})
        with contextlib.suppress(pykka.ActorDeadError):
            self._runtime.call_later(_TICK, self._tick)

    # -- the head ------------------------------------------------------------------------

    def _find_head(self, number: int, member: _Member) -> None:
        """Have the head listen where the host of a hop sees us."""
        client = member.client
        if self._way == "ssh" or not (client and (self._way == "tcp" or is_private(client))):
            self._take(Listening(number, time.monotonic(), head=False))
            return
        if self._head is None:
            self._head = self._start_head()
        head = self._head
        if client in head.places:
            self._take(Listening(number, time.monotonic(), head=head.places[client] is not None))
            return
        if client not in head.waiting:
            order(head.process, {"do": "listen", "address": client})
        head.waiting.setdefault(client, []).append(number)

    def _start_head(self) -> _Head:
        process = Process(head_command(), name="head of a chain", **QUIET)
        head = _Head(process)
        process.stdout_handlers = [Lines(self._runtime, functools.partial(self._head_said, head))]
        process.default_stdout_handler = False
        process.start()
        setup = {"role": "head", "key": self._key.hex(), "count": len(self._plan.steps)}
        order(process, setup, program_input())
        process.future.add_done_callback(functools.partial(self._head_ended, head))
        return head

    def _head_ended(self, head: _Head, _: object) -> None:
        """It should not have; those that take from it find out, and are fed."""
        if self._head is head:
            head.places = dict.fromkeys(head.places)
            for client in list(head.waiting):
                self._head_said(head, {"say": "deaf", "address": client})

    def _head_said(self, head: _Head, words: dict[str, Any]) -> None:
        what = words["say"]
        if what in ("listens", "deaf"):
            head.places[words["address"]] = words.get("port")
            for number in head.waiting.pop(words["address"], []):
                self._take(Listening(number, time.monotonic(), head="port" in words))
        elif what == "want":
            self._when_there(words["segment"], functools.partial(self._give, head, words["segment"]))
        elif what == "open":
            given = head.given.pop(words["segment"], None)
            if given is not None:
                given.close()
        elif what == "shrunk":
            step = self._plan.steps[words["segment"]]
            path = os.fsdecode(step.members[0].path) if isinstance(step, Part) else "a pack"
            text = f"it has become {words['missing']} bytes shorter since it was looked at"
            self._fail(OSError(errno.EIO, text, path))

    def _give(self, head: _Head, number: int, given: FileInput, size: int) -> None:
        if self._head is not head:
            given.close()
            return
        head.given[number] = given
        path = os.fsdecode(given.path).replace("/proc/self/", f"/proc/{os.getpid()}/", 1)
        order(head.process, {"do": "segment", "segment": number, "path": path, "size": size})

    # -- files ---------------------------------------------------------------------------

    def _when_there(self, number: int, then: Callable[[FileInput, int], None]) -> None:
        """Have *then* called with a segment as a file, which it has to close, and its size."""
        step = self._plan.steps[number]
        if isinstance(step, Part):
            from ._redirect import FileInput

            then(FileInput(step.member.path), step.member.size)
            return
        future = self._source.pack(number, step, self._runtime.pool)

        def packed(_: object) -> None:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped
                self._runtime.bus.call(lambda: self._packed(number, future, then))

        future.add_done_callback(packed)

    def _packed(self, number: int, future: Future[Spool], then: Callable[[FileInput, int], None]) -> None:
        try:
            spool = future.result(0)
        except Exception as error:
            self._fail(error)
            return
        given = spool.input()
        if given is None:  # it has been dropped just now
            self._when_there(number, then)
        else:
            then(given, spool.size)

    def _fail(self, error: BaseException) -> None:
        for member in list(self._members.values()):
            member.side.fail(error)

    def _feed(self, number: int, member: _Member) -> None:
        """Have a hop take what it misses from a pipe: it says when that is there."""
        self._pipes += 1
        pipe, segment = f"f{self._pipes}", member.segment

        def ready(given: FileInput, size: int) -> None:
            given.close()
            if self._members.get(number) is member:
                member.side.order(do="feed", segment=segment, size=size, pipe=pipe)
                self._go(member)

        self._when_there(segment, ready)

    def feed_input(self, number: int, segment: int, offset: int, then: Callable[[FileInput], None]) -> None:
        """Have *then* called with what a hop is to be fed: *segment* from *offset* on."""
        member = self._members.get(number)

        def ready(given: FileInput, _: int) -> None:
            if member is None or self._members.get(number) is not member:
                given.close()
                return
            given.offset = offset
            then(given)

        self._when_there(segment, ready)
