"""Futures: one object with the ways of pykka, `concurrent.futures` and asyncio.

A `Future` can be waited for with ``get(timeout=)`` and ``result(timeout)``,
passed to `concurrent.futures.wait` and `asyncio.wrap_future`, awaited (the
event loop keeps running), mapped, filtered, joined and reduced.

Waiting is checked, so that a mistake is an error and not a hang: the reactor's
thread may never wait, actors that wait for each other in a circle get a
`DeadlockError`, and in a forked child the futures of the parent, which nobody
sets there, get an `ActorDeadError`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka

from ._context import here

if TYPE_CHECKING:
    from .actor import Actor

__all__ = ["DeadlockError", "Future", "FutureSetError", "ThreadingFuture", "Timeout", "disown_futures", "get_all"]

T = TypeVar("T")
J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")

_ExcInfo = (
    tuple[type[BaseException], BaseException | None, TracebackType | None] | tuple[None, None, None] | BaseException
)
_INEXACT = 0.01  # seconds by which the system may wake who waits too early
_RUNNING = "RUNNING"
_CANCELLED = "CANCELLED"  # the state in which concurrent.futures has not yet told those who wait
_generation = 0  # how many forks lie between the first process and this one


class Timeout(pykka.Timeout, TimeoutError):
    """The result did not come in time; the text says after how many seconds."""


class FutureSetError(concurrent.futures.InvalidStateError, queue.Full):
    """The future has a result already (`queue.Full` too, as pykka's futures raise)."""


class DeadlockError(RuntimeError):
    """Waiting would never end: actors wait for each other, or the reactor for itself."""


class Future(concurrent.futures.Future[T], pykka.Future[T]):
    """A result that is there now or later.

    It is set by one thread and read by any. Functions given to
    `add_done_callback` run in the thread that sets the result, often the
    reactor's: they must not block.
    """

    _hook: Callable[[float | None], T] | None = None
    _hook_lock: threading.RLock
    awaited_actor: Actor | None = None
    """The actor whose reply this is, as far as it is known: for the search for circles."""
    asked_by: Actor | None = None
    """The actor that asked, if one did."""
    withdrawn = False
    """Cancelled: an actor that has not begun with the message whose reply this is leaves it."""
    sources: Sequence[Future[Any]] = ()
    """The futures of which this one is made."""

    def __init__(self, *, cancellable: bool = True) -> None:
        """Make a future without a result.

        Args:
            cancellable: False: `cancel` has no effect, for who cancels a wait shall not cancel the work.
        """
        concurrent.futures.Future.__init__(self)
        if not cancellable:
            self._state = _RUNNING
        self._generation = _generation

    __repr__ = concurrent.futures.Future.__repr__

    # -- setting ---------------------------------------------------------------

    def set(self, value: T | None = None) -> None:
        """Set the result.

        Raises:
            FutureSetError: there is one already.
        """
        if self._hook is not None:
            raise FutureSetError("the future has a get hook already")
        self.set_result(cast("T", value))

    def set_result(self, result: T) -> None:
        """As `concurrent.futures.Future.set_result`. Raises `FutureSetError`."""
        try:
            super().set_result(result)
        except concurrent.futures.InvalidStateError as error:
            raise FutureSetError(*error.args) from None

    def set_exception(self, exc_info: _ExcInfo | None = None) -> None:  # type: ignore[override]  # joins two signatures
        """Set an exception as the result.

        Args:
            exc_info: an exception, or a triple as of `sys.exc_info`; without
                it, the exception being handled.

        Raises:
            FutureSetError: there is a result already.
        """
        if self._hook is not None:
            raise FutureSetError("the future has a get hook already")
        if exc_info is None:
            exc_info = sys.exc_info()
        try:
            super().set_exception(_exception_of(exc_info))
        except concurrent.futures.InvalidStateError as error:
            raise FutureSetError(*error.args) from None

    def offer(self, value: T) -> bool:
        """Set the result unless the future is done or cancelled. Returns whether it was set."""
        try:
            self.set_result(value)
        except FutureSetError:
            return False
        return True

    def offer_exception(self, error: BaseException) -> bool:
        """Set an exception unless the future is done or cancelled. Returns whether it was set."""
        try:
            self.set_exception(error)
        except FutureSetError:
            return False
        return True

    def cancel(self) -> bool:
        """Want the result no more. Returns False if it is there already, or if the work on it can not be stopped.

        Who waits gets a `concurrent.futures.CancelledError`. A message whose reply this is will not be handled, if
        the actor has not begun with it.
        """
        if not super().cancel():
            return False
        self.withdrawn = True
        with self._condition:
            if self._state == _CANCELLED:
                self.set_running_or_notify_cancel()  # until then concurrent.futures.wait() would wait on
        return True

    # -- reading ---------------------------------------------------------------

    def get(self, *, timeout: float | None = None) -> T:
        """The result, waiting for it at most *timeout* seconds; None: as long as it takes.

        Raises:
            Timeout: it did not come in time.
            DeadlockError: it can never come.
            pykka.ActorDeadError: the actor that was asked has ended, or lives in the process of which this is a fork.
            BaseException: the exception that was set as the result.
        """
        return self.result(timeout)

    def result(self, timeout: float | None = None) -> T:
        """As `get`, with the name and the order of `concurrent.futures`."""
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception that was set, or None after a good result. Raises as `get`, but for that exception.

        What a get hook raises is raised here too: it is no result, and the next `get` calls the hook again.
        """
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if self.done():
            return
        if self._generation != _generation:
            raise pykka.ActorDeadError(
                "this future was made by the process of which this one is a fork, and its result goes there: "
                "start actors and processes anew here"
            )
        if self._hook is not None:
            self._call_hook(timeout)
            return
        if here.on_reactor:
            self._withdraw()
            raise DeadlockError("the reactor's thread must not wait for a result: use add_done_callback")
        begin = time.monotonic()
        try:
            if here.runtime is None:
                super().exception(timeout)
            else:
                self._wait_in_worker(timeout)
        except concurrent.futures.CancelledError:
            pass  # told by result(0)
        except TimeoutError:
            if timeout is None or time.monotonic() - begin < timeout - _INEXACT:
                raise  # by a signal handler of the program
            if not self.done():
                whose = "result" if self.awaited_actor is None else f"reply from {self.awaited_actor}"
                raise Timeout(f"no {whose} after {timeout} seconds") from None

    def _wait_in_worker(self, timeout: float | None) -> None:
        assert here.runtime is not None
        asker = here.actor
        try:
            if asker is not None:
                # Who gives up some day does not close a circle for the others: they will get their reply then.
                asker.actor_waits_for = self if timeout is None else None
                self._refuse_circle(asker)
            with here.runtime.pool.waiting():
                super().exception(timeout)
        finally:
            if asker is not None:
                asker.actor_waits_for = None

    def _refuse_circle(self, asker: Actor) -> None:
        """Raise where the actors waited for, from that of this future on, lead back to *asker*.

        Each waiter writes what it waits for before it looks; so of the actors of a
        circle at least the last to come sees all of it.
        """
        circle = _find_circle(asker, self)
        if circle is not None:
            self._withdraw()
            names = " -> ".join(map(str, circle))
            raise DeadlockError(f"{asker} would wait for ever for a reply, in a circle: {names}")

    def _withdraw(self) -> None:
        """Take back the messages that the current actor has sent for this future, for which it can not wait.

        Else they would be handled when the circle is broken; and their handlers, who ask again, would begin it anew.
        """
        if self.asked_by is not None and self.asked_by is here.actor:
            self.cancel()
        for source in self.sources:
            source._withdraw()

    def _call_hook(self, timeout: float | None) -> None:
        """Have the hook make the result: once, whoever else wants it. What it raises is raised; it may try again."""
        if not self._hook_lock.acquire(timeout=-1 if timeout is None else timeout):
            raise Timeout(f"no result after {timeout} seconds: another thread's get() is at it")
        try:
            if self._hook is not None and not self.done():
                value = self._hook(timeout)
                self._hook = None
                self.offer(value)
        finally:
            self._hook_lock.release()

    # -- combining -------------------------------------------------------------

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have *func* called with the timeout at the first `get`; what it returns is the result.

        Until then the future is not done, however long others wait for it.

        Raises:
            FutureSetError: there is a result already.
        """
        if self.done():
            raise FutureSetError("the future has a result already")
        self._hook_lock = threading.RLock()
        self._hook = func

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """A future of ``func(result)``.

        *func* runs once, in the thread that sets this future, but in a worker where that is the reactor's; and in
        the calling thread where the result is there already.
        """
        return _derive([self], lambda values: func(values[0]))

    def filter(self: Future[Iterable[J]], func: Callable[[J], bool]) -> Future[Iterable[J]]:
        """A future of the items of the result for which *func* is true."""
        return _derive([self], lambda values: list(filter(func, values[0])))

    def join(self, *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """A future of the list of the results of this future and *futures*."""
        return _derive([self, *futures], list)

    def reduce(self: Future[Iterable[J]], func: Callable[[R, J], R], *args: R) -> Future[R]:
        """A future of ``functools.reduce(func, result, *args)``."""
        return _derive([self], lambda values: functools.reduce(func, values[0], *args))

    def __await__(self) -> Generator[Any, None, T]:
        """Wait without blocking the event loop.

        To cancel the wait, as `asyncio.wait_for` does, does not cancel the result: others may wait for it too.
        """
        if self._hook is not None:
            return (yield from asyncio.get_running_loop().run_in_executor(None, self.get).__await__())
        if not self.done() and self._generation == _generation:
            yield from self._done_in_loop(asyncio.get_running_loop()).__await__()
        if self.cancelled():
            raise asyncio.CancelledError
        return self.result()

    def _done_in_loop(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """A future of *loop* that is set when this one is done."""
        waiter: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not waiter.done():  # it may have been cancelled
                waiter.set_result(None)

        def tell_loop(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(wake)

        self.add_done_callback(tell_loop)
        return waiter

    __iter__ = __await__


ThreadingFuture = Future
"""The name under which pykka's scripts know a future."""


def get_all(futures: Iterable[pykka.Future[T]], *, timeout: float | None = None) -> list[T]:
    """The results of all *futures*, each waited for at most *timeout* seconds.

    Raises:
        Timeout: one did not come in time.
    """
    return [future.get(timeout=timeout) for future in futures]


def _exception_of(exc_info: _ExcInfo) -> BaseException:
    if isinstance(exc_info, BaseException):
        return exc_info
    kind, value, trace = exc_info
    if kind is None:
        raise ValueError("no exception is being handled: pass one to set_exception")
    if value is None:
        value = kind()
    return value.with_traceback(trace) if trace is not None and value.__traceback__ is not trace else value


def disown_futures() -> None:
    """In a forked child: from now on nobody may wait for the futures there are, since nobody here will set them."""
    global _generation
    _generation += 1


def _find_circle(asker: Actor, future: Future[Any]) -> list[Actor] | None:
    """The actors that wait for each other, from *asker*, who will wait for *future*, back to it; None: it may wait."""
    seen: set[int] = set()
    unseen: list[tuple[Future[Any], list[Actor]]] = [(future, [asker])]
    while unseen:
        awaited, path = unseen.pop()
        if awaited.done():  # the reply is there, even if who waits for it has not woken up yet
            continue
        unseen.extend((source, path) for source in awaited.sources)
        actor = awaited.awaited_actor
        if actor is asker:
            return [*path, asker]
        if actor is not None and id(actor) not in seen:
            seen.add(id(actor))
            following = actor.actor_waits_for
            if following is not None:
                unseen.append((following, [*path, actor]))
    return None


class _Countdown:
    """Calls *function* once when it was told *count* times. Thread-safe."""

    def __init__(self, count: int, function: Callable[[], None]) -> None:
        self._left = count
        self._function = function
        self._lock = threading.Lock()

    def __call__(self, _: object) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._function()


def _derive(sources: list[Any], compute: Callable[[list[Any]], M]) -> Future[M]:
    """A future of ``compute(results)``, set when all *sources* are done.

    Where a source knows no callbacks (a future of pykka's own, or one with a
    get hook), the computation waits for the first `get`, as in pykka.
    """
    derived: Future[M] = Future()
    if not all(isinstance(s, Future) and s._hook is None for s in sources):
        derived.set_get_hook(lambda timeout: compute([s.get(timeout=timeout) for s in sources]))
        return derived

    def settle() -> None:
        try:
            derived.offer(compute([s.result(0) for s in sources]))
        except BaseException as error:
            derived.offer_exception(error)
        finally:
            derived.sources = ()

    def ready() -> None:
        if not here.on_reactor or here.runtime is None:
            settle()
            return
        try:
            here.runtime.pool.submit(settle)
        except RuntimeError:  # the workers are gone already
            derived.offer_exception(pykka.ActorDeadError(here.runtime.why_closed()))

    derived.sources = sources
    countdown = _Countdown(len(sources), ready)
    for source in sources:
        source.add_done_callback(countdown)
    return derived
