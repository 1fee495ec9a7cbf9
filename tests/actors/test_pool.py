"""The worker pool: small at rest, and never used up by those who block or wait."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pykka
import pytest

from performers import DEADLINE, Asker, Gate
from regisseur.actors._context import here
from regisseur.actors._pool import WorkerPool
from regisseur.actors.actor import BlockingActor
from regisseur.actors.future import Future
from regisseur.actors.runtime import Runtime


class Clock:
    """Stands for the runtime: keeps what is to be called later, and calls it when the test says so."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, _delay: float, function: Callable[[], None]) -> None:
        self.due.append(function)

    def tick(self) -> None:
        """Let the time pass for which a task may wait."""
        due, self.due = self.due, []
        for function in due:
            function()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gates() -> Iterator[list[Gate]]:
    gates = [Gate() for _ in range(20)]
    yield gates
    for gate in gates:
        gate.open()


@pytest.fixture
def pool(clock: Clock, gates: list[Gate]) -> Iterator[WorkerPool]:
    """Two workers at once, six at most. The gates open before it is stopped."""
    pool = WorkerPool(cast("Any", clock), "pool", core=2, limit=6)
    yield pool
    for gate in gates:
        gate.open()
    assert pool.stop(DEADLINE)


def run(pool: WorkerPool, function: Callable[[], Any]) -> Future[Any]:
    """Have *function* run in the pool; the future of its result."""
    future: Future[Any] = Future()

    def task() -> None:
        try:
            future.set(function())
        except BaseException:
            future.set_exception()

    pool.submit(task)
    return future


def names_of(pool: WorkerPool) -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("pool-worker-")}


def test_a_pool_has_no_thread_before_its_first_task(pool: WorkerPool) -> None:
    assert names_of(pool) == set()


def test_tasks_run_in_threads_that_know_their_runtime(pool: WorkerPool, clock: Clock) -> None:
    assert run(pool, lambda: threading.current_thread().name).get(timeout=DEADLINE) == "pool-worker-1"
    assert run(pool, lambda: here.runtime).get(timeout=DEADLINE) is clock
    assert run(pool, lambda: threading.current_thread().daemon).get(timeout=DEADLINE)


def test_all_tasks_run_however_many_there_are(pool: WorkerPool) -> None:
    futures = [run(pool, functools.partial(pow, n, 2)) for n in range(2000)]

    assert [f.get(timeout=DEADLINE) for f in futures] == [n * n for n in range(2000)]
    assert len(names_of(pool)) <= 2


def test_a_starved_pool_grows_and_not_before(pool: WorkerPool, clock: Clock, gates: list[Gate]) -> None:
    for gate in gates[:2]:
        run(pool, gate)
        assert gate.reached.wait(DEADLINE)
    third = run(pool, lambda: "ran")
    assert not third.done()

    clock.tick()

    assert third.get(timeout=DEADLINE) == "ran"
    assert len(names_of(pool)) == 3


def test_a_starved_pool_grows_until_all_tasks_run(pool: WorkerPool, clock: Clock, gates: list[Gate]) -> None:
    for gate in gates[:6]:
        run(pool, gate)
    for gate in gates[:6]:
        for _ in range(100):
            if gate.reached.wait(0.01):
                break
            clock.tick()
        assert gate.reached.is_set()

    assert len(names_of(pool)) == 6


def test_a_pool_does_not_grow_beyond_its_limit(pool: WorkerPool, clock: Clock, gates: list[Gate]) -> None:
    for gate in gates[:7]:
        run(pool, gate)
    for _ in range(10):
        clock.tick()
    for gate in gates[:6]:
        assert gate.reached.wait(DEADLINE)
    assert not gates[6].reached.is_set()

    gates[0].open()

    assert gates[6].reached.wait(DEADLINE)


def test_a_task_that_came_while_a_worker_took_another_is_not_forgotten(clock: Clock, gates: list[Gate]) -> None:
    """The only worker has its next task in hand but does not say so yet: nobody must count on it for the task after."""
    pool = WorkerPool(cast("Any", clock), "pool", core=1, limit=6)
    run(pool, lambda: None).get(timeout=DEADLINE)
    idle, taking = threading.Event(), threading.Event()

    class SlowToTell:
        """The pool's queue, whose get() returns late."""

        def __init__(self, queue: Any) -> None:
            self.put, self.qsize, self.empty, self._queue = queue.put, queue.qsize, queue.empty, queue

        def get(self, timeout: float) -> Any:
            idle.set()
            task = self._queue.get(timeout=timeout)
            if task is not None and not taking.is_set():
                taking.set()
                gates[0]()
            return task

    pool._tasks = cast("Any", SlowToTell(pool._tasks))
    run(pool, lambda: None).get(timeout=DEADLINE)  # the worker leaves the old queue's get()
    assert idle.wait(DEADLINE)
    run(pool, gates[1])
    assert taking.wait(DEADLINE)
    behind = run(pool, lambda: "ran")
    gates[0].open()
    assert gates[1].reached.wait(DEADLINE)

    clock.tick()

    assert behind.get(timeout=DEADLINE / 2) == "ran"  # before the gate gives up
    gates[1].open()
    assert pool.stop(DEADLINE)


def test_one_look_at_a_time_is_arranged_however_many_tasks_wait(
    pool: WorkerPool, clock: Clock, gates: list[Gate]
) -> None:
    for gate in gates[:2]:
        run(pool, gate)
        assert gate.reached.wait(DEADLINE)
    futures = [run(pool, lambda: "ran") for _ in range(1000)]

    assert len(clock.due) == 1
    clock.tick()
    assert {f.get(timeout=DEADLINE) for f in futures} == {"ran"}


def test_a_worker_that_waits_makes_room_for_another_at_once(pool: WorkerPool, gates: list[Gate]) -> None:
    def wait(number: int) -> str:
        if number == 10:
            return "the innermost ran"
        with pool.waiting():
            inner = run(pool, functools.partial(wait, number + 1))
            return str(super(Future, inner).result(DEADLINE))

    assert run(pool, functools.partial(wait, 0)).get(timeout=DEADLINE) == "the innermost ran"  # the limit is six


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit(1)], ids=repr)
def test_what_a_task_raises_is_logged_and_its_worker_works_on(
    pool: WorkerPool, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    for _ in range(3):
        pool.submit(fail)
    first = run(pool, lambda: threading.current_thread().name).get(timeout=DEADLINE)

    assert first in names_of(pool) <= {"pool-worker-1", "pool-worker-2"}
    run(pool, lambda: None).get(timeout=DEADLINE)
    assert all(r.levelno == logging.ERROR and r.exc_info for r in caplog.records)
    assert "a task of the worker pool failed" in caplog.text


def test_stop_ends_all_workers_and_takes_no_more_tasks(clock: Clock) -> None:
    pool = WorkerPool(cast("Any", clock), "pool", core=4)
    futures = [run(pool, lambda: "ran") for _ in range(100)]

    assert pool.stop(DEADLINE)
    assert {f.get(timeout=0) for f in futures} == {"ran"}
    assert names_of(pool) == set()
    with pytest.raises(RuntimeError, match="pool: the worker pool has been stopped"):
        pool.submit(lambda: None)
    assert pool.stop(DEADLINE)


def test_stop_waits_for_the_stuck_once_and_not_once_for_each(clock: Clock, gates: list[Gate]) -> None:
    pool = WorkerPool(cast("Any", clock), "pool", core=6)
    for gate in gates[:6]:
        run(pool, gate)
        assert gate.reached.wait(DEADLINE)
    waits: list[float] = []

    class Stuck:
        """A worker as the pool sees it."""

        def __init__(self, thread: threading.Thread) -> None:
            self.thread = thread

        def join(self, timeout: float) -> None:
            waits.append(timeout)
            self.thread.join(timeout)

        def is_alive(self) -> bool:
            return self.thread.is_alive()

    real, pool._workers = pool._workers, cast("Any", {Stuck(t) for t in pool._workers})
    assert not pool.stop(0.05)
    pool._workers = real

    assert len(waits) == 6
    assert sum(waits) < 0.1
    for gate in gates[:6]:
        gate.open()
    assert pool.stop(DEADLINE)


def test_a_worker_may_stop_its_own_pool(clock: Clock) -> None:
    pool = WorkerPool(cast("Any", clock), "pool", core=2)

    assert run(pool, lambda: pool.stop(DEADLINE)).get(timeout=DEADLINE)


# -- with actors -------------------------------------------------------------------------------------------------------


def test_actors_nested_deeper_than_the_core_do_not_lock_up_the_pool(stage: Runtime) -> None:
    depth = 60
    refs = [Asker.start() for _ in range(depth)]

    def descend(_actor: Asker, level: int) -> Any:
        return level if level == depth - 1 else refs[level + 1].ask(functools.partial(descend, level=level + 1))

    assert refs[0].ask(functools.partial(descend, level=0), timeout=DEADLINE) == depth - 1


def test_slow_actors_do_not_stop_the_others(stage: Runtime, gates: list[Gate]) -> None:
    slow = [Asker.start() for _ in gates]
    waiting = [ref.ask(lambda _, g=gate: g(), block=False) for ref, gate in zip(slow, gates, strict=True)]

    assert Asker.start().ask(lambda a: "quick", timeout=DEADLINE) == "quick"
    for gate in gates:
        assert gate.reached.wait(DEADLINE)
        gate.open()
    for future in waiting:
        future.get(timeout=DEADLINE)


def test_a_busy_actor_does_not_keep_a_worker_from_the_others(stage: Runtime) -> None:
    class Endless(BlockingActor):
        """Always has a message waiting."""

        def on_receive(self, message: Any) -> None:
            self.actor_ref.tell(message)

    endless = [Endless.start() for _ in range(12)]
    for ref in endless:
        ref.tell("again")

    assert Asker.start().ask(lambda a: "served", timeout=DEADLINE) == "served"
    for ref in endless:
        assert ref.stop(timeout=DEADLINE)


def test_an_ask_that_waits_when_the_runtime_stops_ends_at_once(stage: Runtime, gate: Gate) -> None:
    slow, waiting = Asker.start(), Asker.start()
    asked = waiting.ask(lambda a: slow.ask(lambda _: gate()), block=False)
    assert gate.reached.wait(DEADLINE)
    stopping = threading.Thread(target=stage.stop)
    stopping.start()

    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=DEADLINE)
    gate.open()
    stopping.join()
