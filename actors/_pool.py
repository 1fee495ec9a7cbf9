"""The worker pool: threads for what may block.

Small at rest: it grows to `core` threads at once, and beyond only while it is
starved: when a task has waited `PATIENCE` seconds because all workers are
busy, or at once when a worker says that it is about to wait for another actor
(`waiting`). So a few slow handlers never stop the others, and actors that wait
for each other can not use up the pool. Idle workers beyond none end after
`IDLE` seconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

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
        limit: never more threads than this; tasks wait then.
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
            if self._idle < self._tasks.qsize():
                if len(self._workers) - self._waiting < self._core:
                    self._grow()
                elif len(self._workers) < self._limit:
                    self._runtime.call_later(PATIENCE, self._look_for_starvation(self._taken))

    def stop(self, timeout: float) -> bool:
        """Take no more tasks, end the idle workers, and wait up to *timeout* seconds for the others.

        Returns:
            whether all have ended. Workers are daemon threads: one that never ends does not hold up the exit.
        """
        with self._lock:
            self._stopped = True
            workers = list(self._workers)
            for _ in workers:
                self._tasks.put(_STOP)
        for worker in workers:
            if worker is not threading.current_thread():
                worker.join(timeout)
        return not any(w.is_alive() for w in workers)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Say that this worker waits for somebody else, so that another may take its place meanwhile."""
        with self._lock:
            self._waiting += 1
            if self._idle == 0 and not self._tasks.empty() and len(self._workers) < self._limit:
                self._grow()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _look_for_starvation(self, taken: int) -> Callable[[], None]:
        def look() -> None:
            with self._lock:
                starved = self._taken == taken and not self._tasks.empty()
                if starved and not self._stopped and len(self._workers) < self._limit:
                    self._grow()
                    if self._tasks.qsize() > 1:
                        self._runtime.call_later(PATIENCE, self._look_for_starvation(self._taken))

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
                if task is None and not self._tasks.empty() and not self._stopped:
                    continue  # a task came in while the clock ran out
                if task is None:
                    self._workers.discard(threading.current_thread())
                    return
            try:
                task()
            except Exception:
                logger.exception("a task of the worker pool failed")
            finally:
                del task
