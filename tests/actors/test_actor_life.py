"""The life of an actor: its hooks, what becomes of its errors, and its end."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import Any

import pykka
import pytest

from performers import DEADLINE, Events, Gate, Performer, in_worker, wait_for_end
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import Future, Timeout, get_all
from regisseur.actors.ref import ActorRef
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import Runtime
from regisseur.protocols.messages import ProcessExited

pytestmark = pytest.mark.usefixtures("stage")


# -- errors ------------------------------------------------------------------------------------------------------------


def test_what_a_handler_raises_is_raised_where_it_was_asked_with_its_traceback(ref: ActorRef[Performer]) -> None:
    def where_it_broke(_actor: Performer) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops") as caught:
        ref.ask(where_it_broke)

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert {"where_it_broke", "on_receive", "_take"} <= set(frames)


def test_an_error_of_an_ask_leaves_the_actor_alive_and_calls_no_hook(
    ref: ActorRef[Performer], events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ZeroDivisionError):
        ref.ask(lambda a: 1 / 0)

    assert ref.ask(lambda a: "alive") == "alive"
    assert events.names == ["on_start"]
    assert [(logging.INFO, f"Exception returned from {ref} to caller:")] == [
        (r.levelno, r.getMessage()) for r in caplog.records
    ]


def test_an_error_of_a_tell_ends_the_actor_by_on_failure_and_not_on_stop(
    ref: ActorRef[Performer], events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    ref.tell(lambda a: a.fail("oops"))
    events.wait("on_failure: ValueError('oops')")
    wait_for_end(ref)

    assert events.names == ["on_start", "on_failure: ValueError('oops')"]
    assert ActorRegistry.get_all() == []
    record = caplog.records[0]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"Unhandled exception in {ref}")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "oops"


def test_the_log_of_a_failure_tells_of_the_last_messages(
    ref: ActorRef[Performer], caplog: pytest.LogCaptureFixture
) -> None:
    class Curious:
        def __call__(self, actor: Performer) -> None:
            actor.fail("oops")

    ref.ask(ProcessExited(0, 1.0))
    ref.tell(Curious())
    wait_for_end(ref)

    failure = next(r for r in caplog.records if r.levelno == logging.ERROR)
    assert "its last messages: ProcessExited, Curious" in failure.getMessage()


def test_after_a_failure_the_messages_that_wait_are_answered_with_an_error(gate: Gate) -> None:
    ref = in_worker(Performer).start()
    ref.tell(lambda a: gate())
    ref.tell(lambda a: a.fail("oops"))
    futures = [ref.ask(lambda a: "never", block=False) for _ in range(3)]
    gate.open()

    for future in futures:
        with pytest.raises(pykka.ActorDeadError, match="stopped before handling the message"):
            future.get(timeout=DEADLINE)


def test_a_failure_of_on_start_ends_the_actor_and_calls_no_other_hook(
    performer_class: type[Performer], events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(performer_class):  # type: ignore[misc,valid-type]  # a class of either kind
        def on_start(self) -> None:
            super().on_start()
            raise RuntimeError("on_start failure")

    ref = Failing.start(events)
    asked = ref.ask(lambda a: "never", block=False)
    wait_for_end(ref)

    assert events.names == ["on_start"]
    assert "on_start failure" in caplog.text
    assert ActorRegistry.get_all() == []
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=DEADLINE)


def test_a_failure_of_on_stop_is_logged_and_the_actor_has_stopped(
    performer_class: type[Performer], events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(performer_class):  # type: ignore[misc,valid-type]  # a class of either kind
        def on_stop(self) -> None:
            super().on_stop()
            raise RuntimeError("on_stop failure")

    ref = Failing.start(events)

    assert ref.stop(timeout=DEADLINE)
    assert not ref.is_alive()
    assert "on_stop failure" in caplog.text


def test_a_failure_of_on_failure_is_logged_too(
    stage: Runtime, performer_class: type[Performer], events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(performer_class):  # type: ignore[misc,valid-type]  # a class of either kind
        def on_failure(self, *details: Any) -> None:
            super().on_failure(*details)
            raise RuntimeError("on_failure failure")

    ref = Failing.start(events)
    ended: Future[None] = Future()
    stage.bus.watch(ref.actor_address, lambda _: ended.set())
    ref.tell(lambda a: a.fail("first"))
    ended.get(timeout=DEADLINE)

    assert "first" in caplog.text
    assert "on_failure failure" in caplog.text


class GoodbyeError(BaseException):
    """Not an Exception: it ends everything."""


@pytest.mark.parametrize("asked", [False, True])
def test_a_base_exception_stops_all_actors(
    ref: ActorRef[Performer], performer_class: type[Performer], events: Events, *, asked: bool
) -> None:
    def leave(_actor: Performer) -> None:
        raise GoodbyeError

    others = [performer_class.start() for _ in range(3)]
    if asked:
        with pytest.raises(GoodbyeError):
            ref.ask(leave)
    else:
        ref.tell(leave)

    for each in [ref, *others]:
        wait_for_end(each)
    assert events.names == ["on_start", "on_stop"]
    assert ActorRegistry.get_all() == []


@pytest.mark.parametrize("hook", ["on_start", "on_stop", "on_failure"])
def test_a_base_exception_in_a_hook_ends_the_actor_and_not_its_thread(
    performer_class: type[Performer], hook: str, stage: Runtime
) -> None:
    def leave(*_: Any) -> None:
        raise GoodbyeError

    failing: Any = type("Failing", (performer_class,), {hook: leave})
    ref = failing.start()
    if hook == "on_failure":
        ref.tell(lambda a: a.fail("first"))
    elif hook == "on_stop":
        ref.stop(timeout=DEADLINE)
    wait_for_end(ref)

    assert performer_class.start().ask(lambda a: "others live on", timeout=DEADLINE) == "others live on"


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_stop_handles_what_was_sent_before_and_refuses_what_comes_after(
    ref: ActorRef[Performer], events: Events, gate: Gate, base: type[Actor]
) -> None:
    if base.blocking:
        ref.tell(lambda a: gate())
    before = ref.ask(lambda a: a.events.add("before") or "handled", block=False)
    stopped = ref.stop(block=False)
    gate.open()

    assert before.get(timeout=DEADLINE) == "handled"
    assert stopped.get(timeout=DEADLINE) is True
    assert events.names == ["on_start", "before", "on_stop"]
    with pytest.raises(pykka.ActorDeadError, match=f"Performer .{ref.actor_urn}. not found"):
        ref.tell("x")
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.ask("x")


def test_a_message_behind_the_stop_is_answered_with_an_error(gate: Gate) -> None:
    ref = in_worker(Performer).start()
    ref.tell(lambda a: gate())
    first = ref.stop(block=False)
    behind = ref.ask(lambda a: "never", block=False)
    second = ref.stop(block=False)
    gate.open()

    with pytest.raises(pykka.ActorDeadError):
        behind.get(timeout=DEADLINE)
    assert get_all([first, second], timeout=DEADLINE) == [True, True]


def test_stop_tells_whether_the_actor_was_running(ref: ActorRef[Performer]) -> None:
    assert [ref.stop(), ref.stop(), ref.stop(block=False).get(timeout=0)] == [True, False, False]


def test_ask_of_a_dead_actor_without_blocking_gives_a_future_that_fails(ref: ActorRef[Performer]) -> None:
    ref.stop()

    with pytest.raises(pykka.ActorDeadError):
        ref.ask("x", block=False).get(timeout=0)


def test_is_alive_ends_with_the_stop(ref: ActorRef[Performer]) -> None:
    assert ref.is_alive()
    ref.stop()
    assert not ref.is_alive()


def test_stop_waits_no_longer_than_its_timeout(gate: Gate) -> None:
    ref = in_worker(Performer).start()
    ref.tell(lambda a: gate())

    with pytest.raises(Timeout):
        ref.stop(timeout=0.01)
    gate.open()


def test_an_actor_may_stop_itself_more_than_once(ref: ActorRef[Performer], events: Events) -> None:
    ref.tell(lambda a: (a.stop(), a.stop()))
    wait_for_end(ref)
    events.wait("on_stop")

    assert events.names == ["on_start", "on_stop"]


def test_an_actor_that_tells_itself_and_stops_handles_the_message_first(
    ref: ActorRef[Performer], events: Events
) -> None:
    ref.tell(lambda a: (a.actor_ref.tell(lambda _: events.add("told")), a.stop()))
    events.wait("on_stop")

    assert events.names == ["on_start", "told", "on_stop"]


def test_an_actor_may_stop_in_on_start(performer_class: type[Performer], events: Events) -> None:
    class Early(performer_class):  # type: ignore[misc,valid-type]  # a class of either kind
        def on_start(self) -> None:
            super().on_start()
            self.stop()

    wait_for_end(Early.start(events))
    events.wait("on_stop")

    assert events.names == ["on_start", "on_stop"]


def test_the_stop_is_over_when_on_stop_is(performer_class: type[Performer], events: Events, gate: Gate) -> None:
    class Slow(BlockingActor):
        def on_stop(self) -> None:
            gate()

    ref = Slow.start()
    stopped = ref.stop(block=False)
    assert gate.reached.wait(DEADLINE)

    assert not ref.is_alive()
    assert not stopped.done()
    gate.open()
    assert stopped.get(timeout=DEADLINE) is True


def test_many_threads_may_wait_for_the_end(ref: ActorRef[Performer]) -> None:
    assert not ref.actor_stopped.wait(0.001)
    seen: list[bool] = []
    threads = [threading.Thread(target=lambda: seen.append(ref.actor_stopped.wait(DEADLINE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    ref.stop()
    for thread in threads:
        thread.join()

    assert seen == [True] * 4
    assert ref.actor_stopped.wait(0)
