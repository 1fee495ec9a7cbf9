"""The worker pool: threads for what may block.

Small at rest: it grows to `core` threads at once, and beyond only while it is
starved: when a task has waited `PATIENCE` seconds because all workers are
busy, or at once when a worker says that it is about to wait for another actor
(`waiting`). So a few slow handlers never stop the others, and actors that wait
for each other can not use up the pool. A worker that has been idle for `IDLE`
seconds ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pykka

from ._context import here

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["WorkerPool"]

PATIENCE = 0.02
IDLE = 10.0
_STOP: Callable[[], None] | None = None

logger = logging.getLogger("regisseur.pool")


class WorkerPool:
    """Runs tasks in threads named ``NAME-worker-N``. All methods are thread-safe.

    Args:
        name: of the threads.
        core: so many threads are made without waiting; default: processors + 2, at most 8.
        limit: never more threads than this, those that wait for others not counted; tasks wait then.
    """

    def __init__(self, runtime: Runtime, name: str, core: int | None = None, limit: int = 512) -> None:
        self._runtime = runtime
        self._name = name
        self._core = core if core is not None else min(8, (os.cpu_count() or 1) + 2)
        self._limit = limit
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._workers: set[threading.Thread] = set()
        self._idle = 0
        self._waiting = 0
        self._made = 0
        self._taken = 0
        self._looking = False
        self._stopped = False

    def submit(self, task: Callable[[], None]) -> None:
        """Run *task* in a worker, soon. What it raises is logged.

        Raises:
            RuntimeError: the pool has been stopped.
        """
        with self._lock:
            if self._stopped:
                raise RuntimeError(f"{self._name}: the worker pool has been stopped")
            self._tasks.put(task)
            self._provide()

    @property
    def busy(self) -> bool:
        """Whether a task runs, or waits to; those that wait for others do not count."""
        with self._lock:
            return not self._tasks.empty() or len(self._workers) - self._idle - self._waiting > 0

    def stop(self, timeout: float) -> bool:
        """Take no more tasks, end the idle workers, and wait up to *timeout* seconds for the others.

        Returns:
            whether all have ended. Workers are daemon threads: one that never ends does not hold up the exit.
        """
        with self._lock:
            self._stopped = True
            workers = list(self._workers - {threading.current_thread()})
            for _ in self._workers:
                self._tasks.put(_STOP)
        deadline = time.monotonic() + timeout
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(w.is_alive() for w in workers)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Say that this worker waits for somebody else, so that another may take its place meanwhile."""
        with self._lock:
            self._waiting += 1
            self._provide()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _provide(self) -> None:
        """See that somebody comes for the tasks that wait; the lock is held."""
        if self._idle >= self._tasks.qsize() or self._stopped:
            return
        busy = len(self._workers) - self._waiting
        if busy < self._core:
            self._grow()
        elif busy < self._limit and not self._looking:
            self._looking = True
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime ends: then workers take what there is
                self._runtime.call_later(PATIENCE, self._look_for_starvation(self._taken))

    def _look_for_starvation(self, taken: int) -> Callable[[], None]:
        def look() -> None:
            with self._lock:
                self._looking = False
                starved = self._taken == taken and not self._tasks.empty() and not self._stopped
                if starved and len(self._workers) - self._waiting < self._limit:
                    self._grow()
                self._provide()

        return look

    def _grow(self) -> None:
        """Add a worker; the lock is held."""
        self._made += 1
        worker = threading.Thread(target=self._work, name=f"{self._name}-worker-{self._made}", daemon=True)
        self._workers.add(worker)
        try:
            worker.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            self._workers.discard(worker)
            logger.warning("no new worker thread: %s", error)

    def _work(self) -> None:
        here.runtime = self._runtime
        while True:
            with self._lock:
                self._idle += 1
            try:
                task = self._tasks.get(timeout=IDLE)
            except queue.Empty:
                task = _STOP
            with self._lock:
                self._idle -= 1
                self._taken += 1
                self._provide()  # whoever put a task in took this worker for idle until now
                if task is None and not self._tasks.empty() and not self._stopped:
                    continue  # a task came in while the clock ran out
                if task is None:
                    self._workers.discard(threading.current_thread())
                    return
            try:
                task()
            except BaseException:  # SystemExit too: it would end the worker, and nobody would hear of it
                logger.exception("a task of the worker pool failed")
            finally:
                del task
