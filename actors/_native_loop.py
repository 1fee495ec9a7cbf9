"""NativeLoop: the one thread in which all connections of a runtime live that this program makes itself, by asyncio.

Started with the first of them; it ends with the runtime. What is called here from other threads is `call`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import selectors
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["NativeLoop", "native_loop"]

_STOP_SECONDS = 1.0
_RESOLVERS = 8  # threads that look up names and read keys


class _Part(Protocol):
    """What lives here."""

    def leave(self) -> None:
        """The loop ends."""

    def descriptors(self) -> list[int]:
        """Those that it owns and the loop may not be watching."""


class _Executor(ThreadPoolExecutor):
    """Threads for what takes time, such as to look up a name.

    asyncssh has them make the options of each connection as well. Where a connection has begun with options whose files
    are read already, that takes less time than to wake a thread, and is done at once.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        base = function.args[:1] if isinstance(function, functools.partial) else ()
        if not args and getattr(base[0] if base else None, "is_read", False):
            done: Future[Any] = Future()
            try:
                done.set_result(function())
            except Exception as error:
                done.set_exception(error)
            return done
        return super().submit(function, *args, **kwargs)


class NativeLoop:
    """See the module.

    Args:
        runtime: whose part it is.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self.parts: set[_Part] = set()
        """Connections."""
        self._executor = _Executor(_RESOLVERS, f"{runtime.name}-resolver")
        self.loop.set_default_executor(self._executor)
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=f"{runtime.name}-asyncio", daemon=True)
        runtime.on_stop(self._stop)
        runtime.on_fork(self._abandon)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Have *function* called in the thread; nothing happens where that has ended. Thread-safe."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(function)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have *work* done, and keep it from the garbage collector meanwhile. The asyncio thread's."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self.loop.close()

    def _stop(self) -> None:
        """The runtime ends. On the reactor."""
        self.call(self._end)
        self._thread.join(_STOP_SECONDS)

    def _end(self) -> None:
        for part in list(self.parts):
            part.leave()
        self.loop.call_later(0, self.loop.stop)  # what they have set off comes first

    def _abandon(self) -> None:
        """In a forked child: let go of the parent's descriptors.

        Their numbers stay taken, for objects which hold them stay too, and may close them one day.
        """
        if self.loop.is_closed():  # the runtime has ended before
            return
        numbers = {key.fd for key in self._selector.get_map().values()}
        for part in self.parts:
            numbers.update(part.descriptors())
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number in numbers:
            os.dup2(nothing, number, inheritable=False)
        os.close(nothing)
        self._selector.close()


_all: weakref.WeakKeyDictionary[Runtime, NativeLoop] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def native_loop(runtime: Runtime) -> NativeLoop:
    """The loop of *runtime*, started on first use. Thread-safe."""
    with _lock:
        loop = _all.get(runtime)
        if loop is None:
            loop = _all[runtime] = NativeLoop(runtime)
        return loop
