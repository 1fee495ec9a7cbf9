"""Futures: the ways of pykka, of concurrent.futures and of asyncio, all with one object."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import operator
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pykka
import pytest

from deadline import DEADLINE
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import DeadlockError, Future, FutureSetError, ThreadingFuture, Timeout, get_all
from regisseur.actors.runtime import Runtime, use_runtime


@pytest.fixture
def future() -> Future[Any]:
    return Future()


@pytest.fixture
def futures() -> list[Future[Any]]:
    return [Future() for _ in range(3)]


@pytest.fixture
def stage() -> Iterator[Runtime]:
    with Runtime("stage") as runtime, use_runtime(runtime):
        yield runtime


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


# -- as in pykka -------------------------------------------------------------------------------------------------------


def test_a_future_is_one_of_pykka_and_one_of_the_standard_library(future: Future[int]) -> None:
    assert isinstance(future, pykka.Future)
    assert isinstance(future, concurrent.futures.Future)
    assert ThreadingFuture is Future


def test_what_was_set_can_be_got_many_times(future: Future[str]) -> None:
    future.set("value")

    assert [future.get(), future.get(timeout=0), future.result()] == ["value"] * 3


def test_set_without_a_value_sets_none(future: Future[None]) -> None:
    future.set()

    assert future.get() is None


def test_get_waits_until_another_thread_has_set_the_result(future: Future[str]) -> None:
    waiting = threading.Event()

    def set_it() -> None:
        assert waiting.wait(DEADLINE)
        future.set("late")

    thread = in_thread(set_it)
    waiting.set()

    assert future.get(timeout=DEADLINE) == "late"
    thread.join()


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_get_gives_up_after_its_timeout_and_may_be_tried_again(future: Future[int], timeout: float) -> None:
    with pytest.raises(Timeout, match=f"no result after {timeout} seconds"):
        future.get(timeout=timeout)
    future.set(1)

    assert future.get(timeout=timeout) == 1


def test_timeout_is_the_timeout_of_pykka_and_of_python(future: Future[int]) -> None:
    for kind in (pykka.Timeout, TimeoutError, concurrent.futures.TimeoutError):
        with pytest.raises(kind):
            future.get(timeout=0)


@pytest.mark.parametrize("way", ["value", "exception"])
def test_a_result_can_be_set_once(future: Future[int], way: str) -> None:
    if way == "value":
        future.set(1)
    else:
        future.set_exception(KeyError("k"))

    for error in (queue.Full, concurrent.futures.InvalidStateError, FutureSetError):
        with pytest.raises(error):
            future.set(2)
        with pytest.raises(error):
            future.set_exception(ValueError("v"))


def test_an_exception_may_be_given_as_it_is_as_a_triple_or_as_the_one_being_handled() -> None:
    error = ValueError("given")
    triple: Future[None] = Future()
    handled: Future[None] = Future()
    plain: Future[None] = Future()
    bare: Future[None] = Future()
    try:
        raise error
    except ValueError:
        triple.set_exception(sys.exc_info())
        handled.set_exception()
    plain.set_exception(error)
    bare.set_exception((KeyError, None, None))

    assert [error] * 3 == [f.exception() for f in (triple, handled, plain)]
    assert isinstance(bare.exception(), KeyError)


def test_set_exception_without_an_exception_is_an_error(future: Future[None]) -> None:
    with pytest.raises(ValueError, match="no exception is being handled"):
        future.set_exception()

    assert not future.done()


def test_a_raised_exception_shows_where_it_came_from(future: Future[None]) -> None:
    def where_it_broke() -> None:
        raise NameError("foo")

    try:
        where_it_broke()
    except NameError:
        future.set_exception()
    with pytest.raises(NameError) as caught:
        future.get()

    assert "where_it_broke" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_future_may_hold_a_future(future: Future[Any]) -> None:
    inner: Future[str] = Future()
    inner.set("foo")
    future.set(inner)

    assert future.get().get() == "foo"


def test_get_all_gives_all_results_in_order(futures: list[Future[int]]) -> None:
    for number, future in enumerate(futures):
        future.set(number)

    assert [0, 1, 2] == get_all(futures) == get_all(iter(futures))


def test_get_all_gives_up_where_one_does_not_come(futures: list[Future[int]]) -> None:
    futures[0].set(0)

    with pytest.raises(pykka.Timeout):
        get_all(futures, timeout=0)


def test_repr_tells_the_state(future: Future[int]) -> None:
    assert "state=pending" in repr(future)
    future.set(1)
    assert "finished returned int" in repr(future)


# -- get hooks ---------------------------------------------------------------------------------------------------------


def test_a_get_hook_makes_the_result_at_the_first_get(future: Future[int]) -> None:
    timeouts: list[float | None] = []
    future.set_get_hook(lambda timeout: timeouts.append(timeout) or 123)  # type: ignore[func-returns-value]

    assert not future.done()
    assert [future.get(timeout=DEADLINE), future.get(), future.result()] == [123, 123, 123]
    assert future.done()
    assert future.exception() is None
    assert timeouts == [DEADLINE]


def test_a_get_hook_that_gives_none_is_called_once(future: Future[None]) -> None:
    calls: list[float | None] = []
    future.set_get_hook(lambda timeout: calls.append(timeout))

    assert [future.get(), future.get()] == [None, None]
    assert len(calls) == 1


def test_a_get_hook_that_raises_is_tried_again(future: Future[str]) -> None:
    tries = iter([Timeout("not yet")])

    def hook(_timeout: float | None) -> str:
        for error in tries:
            raise error
        return "now"

    future.set_get_hook(hook)

    with pytest.raises(Timeout):
        future.get(timeout=0)
    assert future.get(timeout=0) == "now"


def test_two_threads_that_get_call_the_hook_once(future: Future[int]) -> None:
    calls: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def hook(_timeout: float | None) -> int:
        calls.append(1)
        entered.set()
        assert go_on.wait(DEADLINE)
        return 7

    future.set_get_hook(hook)
    results: list[int] = []
    first = in_thread(lambda: results.append(future.get()))
    assert entered.wait(DEADLINE)
    with pytest.raises(Timeout):
        future.get(timeout=0.01)
    second = in_thread(lambda: results.append(future.get()))
    go_on.set()
    first.join()
    second.join()

    assert results == [7, 7]
    assert len(calls) == 1


def test_a_future_with_a_hook_can_not_be_set_and_one_with_a_result_takes_no_hook(futures: list[Future[int]]) -> None:
    hooked, done, _ = futures
    hooked.set_get_hook(lambda _: 1)
    done.set(2)

    with pytest.raises(queue.Full):
        hooked.set(3)
    with pytest.raises(queue.Full):
        hooked.set_exception(ValueError())
    with pytest.raises(queue.Full):
        done.set_get_hook(lambda _: 4)
    assert [hooked.get(), done.get()] == [1, 2]


def test_callbacks_of_a_future_with_a_hook_run_at_the_first_get(future: Future[int]) -> None:
    seen: list[Any] = []
    future.set_get_hook(lambda _: 5)
    future.add_done_callback(seen.append)
    assert not seen

    future.get()

    assert seen == [future]


# -- map, filter, join, reduce: the examples that pykka documents ------------------------------------------------------


def test_filter_keeps_the_items_for_which_the_function_is_true(future: Future[Iterable[int]]) -> None:
    filtered = future.filter(lambda x: x > 10)
    future.set(range(5, 15))

    assert range(5, 15) == future.get()
    assert filtered.get(timeout=0) == [11, 12, 13, 14]


def test_join_gives_a_list_of_all_results(futures: list[Future[Any]]) -> None:
    joined = futures[0].join(futures[1], futures[2])
    for future, value in zip(futures, ["abc", 123, False], strict=True):
        future.set(value)

    assert joined.get(timeout=0) == ["abc", 123, False]


def test_map_passes_the_whole_result_through_the_function(futures: list[Future[Any]]) -> None:
    number = futures[0].map(lambda x: x + 10)
    field = futures[1].map(lambda x: x["foo"])
    length = futures[2].map(len)
    for future, value in zip(futures, [30, {"foo": "bar"}, [1, 2, 3]], strict=True):
        future.set(value)

    assert [number.get(timeout=0), field.get(timeout=0), length.get(timeout=0)] == [40, "bar", 3]


@pytest.mark.parametrize(
    ("items", "start", "total"),
    [(["a", "b", "c"], (), "abc"), ([1, 2, 3], (), 6), ([1, 2, 3], (5,), 11), ([], (5,), 5)],
)
def test_reduce_applies_the_function_from_left_to_right(
    future: Future[Any], items: list[Any], start: tuple[Any, ...], total: Any
) -> None:
    reduced: Future[Any] = future.reduce(operator.add, *start)
    future.set(items)

    assert total == reduced.get(timeout=0)


DERIVATIONS: dict[str, Callable[[Future[Any]], Future[Any]]] = {
    "map": lambda f: f.map(lambda x: x + 1),
    "filter": lambda f: f.filter(lambda x: x > 1),
    "reduce": lambda f: f.reduce(operator.add),
    "join": lambda f: f.join(),
}


@pytest.mark.parametrize("derive", DERIVATIONS.values(), ids=DERIVATIONS)
def test_a_derived_future_waits_no_longer_than_its_timeout(
    future: Future[Any], derive: Callable[[Future[Any]], Future[Any]]
) -> None:
    with pytest.raises(Timeout):
        derive(future).get(timeout=0)


@pytest.mark.parametrize("derive", DERIVATIONS.values(), ids=DERIVATIONS)
def test_a_derived_future_fails_as_its_source_does(
    future: Future[Any], derive: Callable[[Future[Any]], Future[Any]]
) -> None:
    derived = derive(future)
    future.set_exception(KeyError("source"))

    with pytest.raises(KeyError, match="source"):
        derived.get(timeout=0)


def test_a_join_waits_for_all_and_fails_as_the_first_that_failed(futures: list[Future[Any]]) -> None:
    joined = futures[0].join(*futures[1:])
    futures[2].set_exception(KeyError("last"))
    futures[1].set_exception(ValueError("middle"))
    assert not joined.done()
    futures[0].set(0)

    with pytest.raises(ValueError, match="middle"):
        joined.get(timeout=0)


@pytest.mark.parametrize(
    "derive", [lambda f: f.filter(bool), lambda f: f.reduce(operator.add)], ids=["filter", "reduce"]
)
def test_what_is_no_iterable_can_not_be_filtered_or_reduced(
    future: Future[Any], derive: Callable[[Future[Any]], Future[Any]]
) -> None:
    derived = derive(future)
    future.set(1)

    with pytest.raises(TypeError):
        derived.get(timeout=0)


def test_the_function_is_called_once_however_often_the_result_is_wanted(future: Future[int]) -> None:
    calls: list[int] = []

    def double(value: int) -> int:
        calls.append(value)
        return 2 * value

    mapped = future.map(double)
    future.set(4)

    assert [mapped.get(), mapped.get()] == [8, 8]
    assert calls == [4]


def test_derived_futures_can_be_derived_from_and_have_callbacks(future: Future[list[int]]) -> None:
    seen: list[int] = []
    in_order: Future[Iterable[int]] = future.map(sorted)
    total: Future[int] = in_order.filter(lambda x: x % 2 == 1).reduce(operator.add)
    total.add_done_callback(lambda f: seen.append(f.result()))
    future.set([5, 2, 3, 1])

    assert seen == [9]


def test_a_future_of_pykka_itself_can_be_joined(future: Future[str]) -> None:
    other: pykka.Future[str] = pykka.ThreadingFuture()
    joined = future.join(other)
    future.set("ours")
    other.set("theirs")

    assert joined.get(timeout=DEADLINE) == ["ours", "theirs"]


def test_a_function_on_what_the_reactor_sets_runs_in_a_worker(stage: Runtime, future: Future[int]) -> None:
    gate = threading.Event()

    def name_thread(_value: int) -> str:
        assert gate.wait(DEADLINE)
        return threading.current_thread().name

    mapped = future.map(name_thread)
    stage.bus.call(lambda: future.set(1))
    behind: Future[str] = Future()
    stage.bus.call(lambda: behind.set("the reactor is not held up"))
    assert behind.get(timeout=DEADLINE) == "the reactor is not held up"
    gate.set()

    assert mapped.get(timeout=DEADLINE).startswith("stage-worker-")


# -- as in concurrent.futures ------------------------------------------------------------------------------------------


def test_wait_tells_what_is_done_and_what_is_not(futures: list[Future[Any]]) -> None:
    done, failed, pending = futures
    done.set(1)
    failed.set_exception(ValueError())

    result = concurrent.futures.wait(futures, timeout=0)

    assert ({done, failed}, {pending}) == (result.done, result.not_done)


def test_wait_wakes_up_at_the_first_result(futures: list[Future[Any]]) -> None:
    thread = in_thread(lambda: futures[1].set("first"))

    result = concurrent.futures.wait(futures, timeout=DEADLINE, return_when=concurrent.futures.FIRST_COMPLETED)

    thread.join()
    assert {futures[1]} == result.done


@pytest.mark.parametrize("when", ["before", "while waiting"])
def test_wait_counts_a_cancelled_future_as_done(futures: list[Future[Any]], when: str) -> None:
    if when == "before":
        futures[0].cancel()
        thread = None
    else:
        thread = in_thread(futures[0].cancel)

    result = concurrent.futures.wait(futures[:1], timeout=DEADLINE)

    if thread is not None:
        thread.join()
    assert {futures[0]} == result.done


def test_as_completed_gives_futures_as_they_end(futures: list[Future[Any]]) -> None:
    futures[2].set(2)
    completed = concurrent.futures.as_completed(futures, timeout=DEADLINE)

    seen = [next(completed)]
    futures[0].set_exception(ValueError())
    seen.append(next(completed))
    futures[1].cancel()
    seen.extend(completed)

    assert [futures[2], futures[0], futures[1]] == seen


def test_callbacks_run_once_in_the_thread_that_sets_the_result(future: Future[int]) -> None:
    seen: list[tuple[str, Any]] = []
    future.add_done_callback(lambda f: seen.append((threading.current_thread().name, f)))
    thread = threading.Thread(target=lambda: future.set(1), name="setter")
    thread.start()
    thread.join()
    future.add_done_callback(lambda f: seen.append((threading.current_thread().name, f)))

    assert [("setter", future), (threading.current_thread().name, future)] == seen


def test_a_callback_that_raises_is_logged_and_the_others_run(
    future: Future[int], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(seen.append)

    future.set(1)

    assert seen == [future]
    assert "ZeroDivisionError" in caplog.text


def test_a_cancelled_future_says_so_and_takes_no_result(future: Future[int]) -> None:
    seen: list[Any] = []
    future.add_done_callback(seen.append)

    assert [future.cancel(), future.cancel()] == [True, True]
    assert future.cancelled()
    assert future.done()
    assert [future.offer(1), future.offer_exception(ValueError())] == [False, False]
    assert seen == [future]
    with pytest.raises(concurrent.futures.CancelledError):
        future.get()
    with pytest.raises(concurrent.futures.CancelledError):
        future.exception()
    with pytest.raises(FutureSetError):
        future.set(1)


def test_what_is_done_can_not_be_cancelled(future: Future[int]) -> None:
    future.set(1)

    assert not future.cancel()
    assert future.get() == 1


def test_what_runs_can_not_be_cancelled(future: Future[int]) -> None:
    future.set_running_or_notify_cancel()

    assert not future.cancel()
    future.set(1)
    assert future.get() == 1


def test_a_reply_to_who_has_cancelled_the_ask_goes_nowhere(stage: Runtime) -> None:
    gate = threading.Event()

    class Slow(BlockingActor):
        def on_receive(self, message: Any) -> str:
            assert gate.wait(DEADLINE)
            return "reply"

    slow = Slow.start()
    future = slow.ask("x", block=False)
    assert future.cancel()
    gate.set()

    assert slow.ask("y", timeout=DEADLINE) == "reply"
    with pytest.raises(concurrent.futures.CancelledError):
        future.get()


def test_cancelling_the_source_ends_what_is_derived_from_it(future: Future[int]) -> None:
    mapped = future.map(lambda x: x + 1)
    future.cancel()

    with pytest.raises(concurrent.futures.CancelledError):
        mapped.get(timeout=0)


def test_exception_gives_the_exception_and_does_not_raise_it(futures: list[Future[Any]]) -> None:
    good, bad, pending = futures
    good.set(1)
    error = ValueError("bad")
    bad.set_exception(error)

    assert good.exception() is None
    assert bad.exception() is error
    with pytest.raises(Timeout):
        pending.exception(timeout=0)


def test_many_threads_may_offer_and_one_of_them_wins(future: Future[int]) -> None:
    barrier = threading.Barrier(8)
    won: list[int] = []

    def offer(number: int) -> None:
        barrier.wait(DEADLINE)
        if future.offer(number):
            won.append(number)

    threads = [in_thread(functools.partial(offer, n)) for n in range(8)]
    for thread in threads:
        thread.join()

    assert won == [future.get()]


# -- as in asyncio -----------------------------------------------------------------------------------------------------


async def ticks_while(done: Callable[[], bool]) -> int:
    """How often the loop goes round until *done*."""
    ticks = 0
    while not done():
        ticks += 1
        await asyncio.sleep(0)
    return ticks


def test_the_loop_runs_on_while_a_future_is_awaited(future: Future[str]) -> None:
    async def main() -> tuple[str, int]:
        ticking = asyncio.create_task(ticks_while(future.done))
        waiting = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        thread = in_thread(lambda: future.set("awaited"))
        result = await waiting
        thread.join()
        return result, await ticking

    result, ticks = asyncio.run(main())

    assert result == "awaited"
    assert ticks >= 1


def test_the_loop_runs_on_while_a_future_with_a_hook_is_awaited(future: Future[str]) -> None:
    gate = threading.Event()

    def hook(_timeout: float | None) -> str:
        assert gate.wait(DEADLINE)
        return "hooked"

    future.set_get_hook(hook)

    async def main() -> str:
        waiting = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        gate.set()
        return await waiting

    assert asyncio.run(main()) == "hooked"


def test_awaiting_raises_what_get_would(futures: list[Future[Any]]) -> None:
    async def wait_for(future: Future[Any]) -> Any:
        return await future

    futures[0].set_exception(KeyError("at once"))
    with pytest.raises(KeyError):
        asyncio.run(wait_for(futures[0]))
    thread = in_thread(lambda: futures[1].set_exception(StopIteration("odd, but it must not hang")))
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(wait_for(futures[1]))
    thread.join()
    futures[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(wait_for(futures[2]))


def test_cancelling_the_wait_does_not_cancel_the_result(future: Future[str]) -> None:
    async def main() -> tuple[str, str]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        first, second = asyncio.ensure_future(future), asyncio.ensure_future(future)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        future.set("still there")
        return await second, await future

    assert asyncio.run(main()) == ("still there", "still there")


def test_a_result_that_comes_when_the_loop_is_gone_disturbs_nobody(
    future: Future[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        waiting.append(asyncio.ensure_future(future))
        await asyncio.sleep(0)

    waiting: list[Any] = []
    asyncio.run(main())  # cancels the wait and closes the loop
    future.set("late")

    assert future.get() == "late"
    assert not caplog.records


def test_wrap_future_gives_a_future_of_asyncio(futures: list[Future[Any]]) -> None:
    async def main() -> list[Any]:
        wrapped = [asyncio.wrap_future(f) for f in futures]
        thread = in_thread(lambda: [f.set(n) for n, f in enumerate(futures)])  # type: ignore[func-returns-value]
        result = await asyncio.gather(*wrapped)
        thread.join()
        return result

    assert asyncio.run(main()) == [0, 1, 2]


def test_gather_and_as_completed_of_asyncio_take_futures_as_they_are(stage: Runtime) -> None:
    class Adder(BlockingActor):
        def add_one(self, number: int) -> int:
            return number + 1

    adder = Adder.start().proxy()

    async def main() -> tuple[list[int], list[int]]:
        gathered = await asyncio.gather(*[adder.add_one(n) for n in range(10)])
        completed = [await f for f in asyncio.as_completed([adder.add_one(n) for n in range(10)])]
        return gathered, completed

    gathered, completed = asyncio.run(main())

    assert gathered == list(range(1, 11)) == sorted(completed)


def test_a_coroutine_of_the_old_kind_may_yield_from_a_future(future: Future[int]) -> None:
    def old_kind() -> Generator[Any, None, int]:
        return (yield from future)

    future.set(3)
    with pytest.raises(StopIteration) as stop:
        next(old_kind())

    assert stop.value.value == 3


# -- mistakes that would hang ------------------------------------------------------------------------------------------


def test_the_thread_of_the_reactor_may_not_wait(stage: Runtime) -> None:
    class Waits(Actor):
        def on_receive(self, message: Future[Any]) -> Any:
            return message.get(timeout=DEADLINE)

    never: Future[Any] = Future()
    done: Future[str] = Future()
    done.set("there already")
    waits = Waits.start()

    with pytest.raises(DeadlockError, match="use add_done_callback"):
        waits.ask(never, timeout=DEADLINE)
    assert waits.ask(done, timeout=DEADLINE) == "there already"


def test_a_timeout_names_the_actor_that_did_not_reply(stage: Runtime) -> None:
    gate = threading.Event()

    class Slow(BlockingActor):
        def on_receive(self, message: Any) -> None:
            assert gate.wait(DEADLINE)

    with pytest.raises(Timeout, match=r"no reply from Slow \(urn:.*\) after 0\.01 seconds"):
        Slow.start().ask("x", timeout=0.01)
    gate.set()


def test_the_runtime_that_stops_ends_what_is_derived_from_its_replies() -> None:
    gate = threading.Event()

    class Slow(BlockingActor):
        def on_receive(self, message: Any) -> None:
            assert gate.wait(DEADLINE)

    with Runtime("stage") as runtime, use_runtime(runtime):
        mapped = Slow.start().ask("x", block=False).map(lambda _: "never")
        stopping = in_thread(runtime.stop)
        with pytest.raises(pykka.ActorDeadError):
            mapped.get(timeout=DEADLINE)
        gate.set()
        stopping.join()
