"""The reactor: one thread that waits for everything in one epoll.

Owns the epoll and the timers. Knows nothing of actors, messages or processes:
who wants to hear of a descriptor registers a function for it. All methods
belong to the reactor's own thread, but for `start`, `stop` and `join`; other
threads reach it through the bus.

A function that raises is logged and the loop goes on, even where it raises
SystemExit: one broken handler must not stop the others.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import select
import threading
import time
from collections.abc import Callable

from ._context import here

__all__ = ["READABLE", "WRITABLE", "Reactor", "Timer"]

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT

_MAX_EVENTS = 256  # of one turn, so that timers and messages get their turn too
_MAX_WAIT = 86_400.0  # seconds: epoll takes at most 2**31 milliseconds, which is 24 days
_IDLE_WAIT = 0.002  # seconds that what wants an idle moment waits at most
_SWEEP = 1000  # so many timers more than after the last sweep, and those that were cancelled are swept out

logger = logging.getLogger("regisseur.reactor")


class Timer:
    """A call that is due at a time of the monotonic clock; made by `Reactor.call_later`."""

    __slots__ = ("due", "function")

    def __init__(self, due: float, function: Callable[[], None]) -> None:
        self.due = due
        self.function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Do not call; harmless when it was called already. Thread-safe."""
        self.function = None


class Reactor:
    """The loop. `start` it once; `stop` it once.

    Args:
        name: of its thread.
    """

    def __init__(self, name: str) -> None:
        self._epoll = select.epoll(sizehint=64)  # close-on-exec by default
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sweep_at = _SWEEP
        self._order = itertools.count()
        self._again: list[Callable[[], None]] = []
        self._idle: list[Callable[[], None]] = []
        self._idle_due = 0.0
        self._stopping = False
        self._teardown: Callable[[], None]
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, setup: Callable[[], None], teardown: Callable[[], None] = lambda: None) -> None:
        """Start the thread; *setup* is the first thing it calls, and *teardown* the last. Any thread."""
        self._again.append(setup)
        self._teardown = teardown
        self.thread.start()

    def stop(self) -> None:
        """Leave the loop at the end of this turn. The reactor's thread."""
        self._stopping = True

    def watch(self, fd: int, mask: int, handler: Callable[[int], object]) -> None:
        """Call ``handler(events)`` whenever *fd* is ready (level-triggered)."""
        self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def change(self, fd: int, mask: int) -> None:
        """Wait for other events on a watched *fd*; 0 pauses it."""
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching *fd*; call it before closing the descriptor."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay: float, function: Callable[[], None]) -> Timer:
        """Call *function* after *delay* seconds."""
        timer = Timer(time.monotonic() + delay, function)
        self.arm(timer)
        return timer

    def arm(self, timer: Timer) -> None:
        """Have *timer*, made in any thread, call its function when it is due."""
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        if len(self._timers) > self._sweep_at:
            # Most timers are timeouts, which are cancelled long before they are due.
            self._timers = [entry for entry in self._timers if entry[2].function is not None]
            heapq.heapify(self._timers)
            self._sweep_at = 2 * len(self._timers) + _SWEEP

    def call_again(self, function: Callable[[], None]) -> None:
        """Call *function* in the next turn, without waiting."""
        self._again.append(function)

    def call_when_idle(self, function: Callable[[], None]) -> None:
        """Call *function* when there is nothing else to do, at the latest some milliseconds from now.

        For what wakes other threads: each wake-up costs as much as handling several events.
        """
        if not self._idle:
            self._idle_due = time.monotonic() + _IDLE_WAIT
        self._idle.append(function)

    @property
    def has_idle_calls(self) -> bool:
        """Whether something waits for an idle moment."""
        return bool(self._idle)

    def close(self) -> None:
        """Close the epoll. After the thread has ended, or in a forked child."""
        self._epoll.close()

    def _run(self) -> None:
        here.on_reactor = True
        poll, handlers = self._epoll.poll, self._handlers
        while not self._stopping:
            if self._again:
                due, self._again = self._again, []
                for function in due:
                    self._call(function)
            ready = [(fd, events, handlers.get(fd)) for fd, events in poll(self._wait_seconds(), _MAX_EVENTS)]
            if self._idle and (time.monotonic() >= self._idle_due or not (ready or self._again)):
                self._run_idle()
            for fd, events, handler in ready:
                # An earlier handler of this turn may have closed the descriptor, and its number may be in use
                # again already: then the event is not for the new owner, who would block on it.
                if handler is not None and handlers.get(fd) is handler:
                    try:
                        handler(events)
                    except BaseException:
                        logger.exception("a handler of descriptor %d failed; the reactor goes on", fd)
            if self._timers:
                self._run_timers()
        self._run_idle()
        self._call(self._teardown)

    def _run_idle(self) -> None:
        idle, self._idle = self._idle, []
        for function in idle:
            self._call(function)

    def _wait_seconds(self) -> float:
        if self._again or self._idle or self._stopping:
            return 0
        while self._timers and self._timers[0][2].function is None:
            heapq.heappop(self._timers)
        return min(max(0.0, self._timers[0][0] - time.monotonic()), _MAX_WAIT) if self._timers else -1

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            function = heapq.heappop(self._timers)[2].function
            if function is not None:
                self._call(function)

    @staticmethod
    def _call(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException:
            logger.exception("%r failed; the reactor goes on", function)
