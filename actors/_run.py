"""Run: one run of a process, shared by its handle and its actor."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka

from ..protocols.errors import ProtocolError
from ..protocols.messages import SpawnFailed
from ._context import here
from ._expect import Expecter
from ._streams import wait_for_change
from .future import Future

if TYPE_CHECKING:
    from ._handlers import HandlerQueue
    from ._process_actor import ProcessActor
    from ._process_base import ProcessBase
    from ._process_rule import ProcessLife
    from ._streams import Stream
    from .runtime import Runtime

__all__ = ["Run"]


class Run:
    """One run of a process: made by its handle, changed by its actor alone, read by everybody."""

    __slots__ = (
        "_early",
        "_launched",
        "_launching",
        "_lazy",
        "address",
        "descendants",
        "done",
        "expect_fail",
        "life",
        "lifecycle",
        "permit",
        "pid",
        "process",
        "queue",
        "runtime",
        "spawn",
        "streams",
        "unread",
    )

    def __init__(self, process: ProcessBase, life: ProcessLife, streams: dict[int, Stream]) -> None:
        self.process = process
        self.life = life
        self.streams = streams
        self.permit = [True]
        """To start it. Whoever pops it may; popping is atomic, so of two threads one may."""
        self.lifecycle: list[Any] = []
        """Lifecycle handlers, as they were at the start."""
        self.spawn: dict[str, Any] = {}
        """Fields of the SpawnProcess message."""
        self.descendants = False
        """Whether signals go to all descendants too."""
        self.expect_fail = False
        self.queue: HandlerQueue | None = None
        """Of its handlers, where it has any; made by its actor."""
        self.unread: list[int] = []
        """Sizes of what the handle has sent for stdin, and the actor has not seen."""
        self.done: Future[Any] = Future(cancellable=False)
        """Set to the handle when the run is over."""
        self.pid = os.getpid()
        """Of the program that made it, and then of that which starts it."""
        self.runtime: Runtime | None = None
        """In which it runs; None before the start."""
        self.address = ""
        """Of its actor."""
        self._launching = threading.RLock()  # reentrant, for a signal handler may kill what is being started
        self._launched = False
        self._early: list[Any] = []
        self._lazy: dict[str, Any] = {}

    # -- the way to its actor ------------------------------------------------------

    def tell(self, message: Any) -> None:
        """Send *message* to its actor, in order, even if that is not there yet; it has been told to start.

        Raises:
            pykka.ActorDeadError: its runtime has been stopped, or is that of the process of which this is a fork.
        """
        if not self._launched:
            with self._launching:
                if not self._launched:
                    self._early.append(message)
                    return
        self._send(message)

    def launch(self, actor: ProcessActor) -> None:
        """Let its actor live, and have the process spawned, here or where its actor says."""
        assert self.runtime is not None
        bus = self.runtime.bus
        try:
            bus.launch(actor, begin=False)
            redirect = self.process._redirect
            if redirect is not None:
                redirect.process = self.address
                bus.tell(self.runtime.io_address, redirect)
            try:
                actor.begin_run()
            except (ProtocolError, TypeError) as error:
                # It can not travel: it has more than 16 MiB of arguments, for instance.
                reason = f"{os.strerror(errno.E2BIG)}: {error}"
                bus.tell(self.address, SpawnFailed(errno.E2BIG, reason, None, time.time()))
        except pykka.ActorDeadError as error:  # just now the runtime was stopped
            self.life.take(SpawnFailed(errno.ECANCELED, str(error), None, time.time()))
            self.break_off(error)
        if not self.runtime.running:  # it is being stopped, and may have looked around before this run was there
            self.break_off(pykka.ActorDeadError(self.runtime.why_closed()))
        with self._launching:
            self._send_early()
            self._launched = True
        self._send_early()  # what a signal handler has added in between

    def _send_early(self) -> None:
        with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped, and this run broken off
            while self._early:
                self._send(self._early.pop(0))

    def _send(self, message: Any) -> None:
        assert self.runtime is not None
        self.runtime.bus.tell(self.address, message)

    # -- for those who wait ----------------------------------------------------------

    @property
    def spawned(self) -> Future[int | None]:
        """A future of its pid, or of None when it can not start. Made when it is first wanted: hardly ever."""
        future: Future[int | None] = self._lazy.setdefault("spawned", Future())
        if self.life.state in ("running", "ended"):
            future.offer(self.life.pid)
        return future

    def event(self, what: str) -> threading.Event:
        """An event that is set when the run has ``"started"`` or ``"ended"``."""
        fresh = _Event(self)
        event: threading.Event = self._lazy.setdefault(f"{what} event", fresh)
        if event is fresh:
            self._future(what).add_done_callback(lambda _: fresh.set())
        return event

    def condition(self, what: str) -> threading.Condition:
        """A condition that is notified when the run has ``"started"`` or ``"ended"``."""
        fresh = threading.Condition()
        condition: threading.Condition = self._lazy.setdefault(f"{what} condition", fresh)
        if condition is fresh:
            self._future(what).add_done_callback(lambda _: _notify(fresh))
        return condition

    def _future(self, what: str) -> Future[Any]:
        return self.spawned if what == "started" else self.done

    @property
    def expecter(self) -> Expecter:
        """Where its threads are in its output."""
        expecter: Expecter = self._lazy.setdefault("expecter", Expecter(self.streams))
        return expecter

    def tell_spawned(self) -> None:
        """It has started, or it has not: `life` knows. Whoever asked before is told here, others see it in `life`."""
        future = self._lazy.get("spawned")
        if future is not None:
            future.offer(self.life.pid)

    # -- the end ---------------------------------------------------------------------

    @property
    def is_foreign(self) -> bool:
        """Whether it was started by the process of which this one is a fork."""
        return self.pid != os.getpid() and not self.permit

    def adopt(self) -> None:
        """Make it a run of this program, even if its handle was made before a fork. Before the start."""
        if self.pid != os.getpid():
            self.pid = os.getpid()
            self.done = Future(cancellable=False)

    def pass_handlers_on(self) -> None:
        """Where this is one of its handlers, have the others called by another worker: this one is about to wait."""
        if self.queue is not None:
            self.queue.pass_on()

    def wait_for_handlers(self) -> None:
        """Wait until all handlers have been called, unless this is one of them."""
        queue = self.queue
        if queue is None or queue.runs_here or self.is_foreign:
            return
        called = threading.Event()
        with contextlib.suppress(RuntimeError):  # the runtime has been stopped: nobody is called any more
            queue.submit(called.set)
            wait_for_change(called, None)

    def forget(self) -> None:
        """Nobody will ask for its output any more; and if it has not been started, it never will be."""
        for stream in self.streams.values():
            stream.end()
            stream.discard()

    def raise_if_lost(self) -> None:
        """Raise `pykka.ActorDeadError` if it will never be known how this ends."""
        if self.done.done():
            self.done.result(0)

    def break_off(self, reason: BaseException) -> None:
        """It will never be known how this ends: let nobody wait for it."""
        for stream in self.streams.values():
            stream.end()
        for future in (self._lazy.get("spawned"), self.done):
            if future is not None:
                future.offer_exception(reason)

    def break_off_in_fork(self, reason: BaseException) -> None:
        """This is a fork: the run is the business of the parent. No other thread is here, but locks may seem held."""
        for stream in self.streams.values():
            stream.listeners = []
        futures: list[Future[Any]] = [self.done, *([self._lazy["spawned"]] if "spawned" in self._lazy else [])]
        for future in futures:
            if not future.done():
                future._condition = threading.Condition()
                future._waiters = []
                future._done_callbacks = []  # type: ignore[attr-defined]  # the typeshed leaves it out
        self.break_off(reason)


class _Event(threading.Event):
    """One that handlers of the run may wait for too."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def wait(self, timeout: float | None = None) -> bool:
        """As of threading."""
        self._run.pass_handlers_on()
        return super().wait(timeout)


def _notify(condition: threading.Condition) -> None:
    if here.on_reactor and here.runtime is not None:
        here.runtime.pool.submit(lambda: _notify(condition))  # its lock may be held for long
    else:
        with condition:
            condition.notify_all()
