"""Actors of both kinds do what pykka documents: who they are, and how they take messages."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

import pykka
import pytest

from performers import DEADLINE, Events, Gate, Performer, in_worker, wait_for_end
from regisseur.actors._reactor import Timer
from regisseur.actors.actor import Actor, BlockingActor, ThreadingActor
from regisseur.actors.future import Future, Timeout
from regisseur.actors.ref import ActorRef
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import Runtime
from regisseur.protocols.messages import ProcessExited

pytestmark = pytest.mark.usefixtures("stage")


# -- who it is ---------------------------------------------------------------------------------------------------------


def test_a_threading_actor_is_a_blocking_actor_and_both_are_actors_of_pykka() -> None:
    assert issubclass(ThreadingActor, BlockingActor)
    assert issubclass(BlockingActor, Actor)
    assert issubclass(Actor, pykka.Actor)
    assert (Actor.blocking, BlockingActor.blocking) == (False, True)


def test_actors_have_different_urns_and_addresses(performer_class: type[Performer]) -> None:
    refs = [performer_class.start() for _ in range(20)]

    assert len({r.actor_urn for r in refs}) == len({r.actor_address for r in refs}) == 20
    assert all(r.actor_address.startswith("Performer-") for r in refs)


def test_str_and_repr_tell_class_and_urn(ref: ActorRef[Performer]) -> None:
    assert f"Performer ({ref.actor_urn})" == str(ref) == ref.ask(str)
    assert f"<ActorRef for Performer ({ref.actor_urn})>" == repr(ref)


def test_init_runs_in_the_thread_of_the_caller_and_all_else_in_that_of_the_actor(
    ref: ActorRef[Performer], base: type[Actor]
) -> None:
    mine = threading.current_thread().name
    theirs = "stage-worker-" if base.blocking else "stage-reactor"

    assert ref.proxy().created_in.get() == mine
    assert str(ref.ask(lambda a: a.thread())).startswith(theirs)
    assert ref.proxy().thread().get().startswith(theirs)


def test_init_takes_the_arguments_of_start_and_any_by_default() -> None:
    class Takes(Actor):
        def __init__(self, first: int, *, second: int) -> None:
            super().__init__()
            self.both = (first, second)

    assert Takes.start(1, second=2).proxy().both.get() == (1, 2)
    Actor(1, 2, three=3)


def test_an_actor_whose_init_does_not_call_its_base_is_an_error_that_says_so() -> None:
    class Forgetful(Actor):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"Forgetful.__init__ must call super\(\).__init__\(\)"):
        Forgetful.start()


def test_an_actor_that_was_made_but_not_started_is_nowhere(performer_class: type[Performer]) -> None:
    performer_class()

    assert ActorRegistry.get_all() == []


# -- messages ----------------------------------------------------------------------------------------------------------


def test_tell_returns_nothing_and_ask_returns_the_reply(ref: ActorRef[Performer]) -> None:
    assert ref.tell(lambda a: "nobody hears") is None  # type: ignore[func-returns-value]
    assert ref.ask(lambda a: "reply") == "reply"
    assert ref.ask(lambda a: None) is None


def test_ask_without_blocking_returns_a_future(ref: ActorRef[Performer]) -> None:
    future = ref.ask(lambda a: "reply", block=False)

    assert isinstance(future, Future)
    assert future.get(timeout=DEADLINE) == "reply"


def test_a_reply_may_be_a_future_which_is_then_the_result(ref: ActorRef[Performer]) -> None:
    inner: Future[int] = Future()

    assert ref.ask(lambda a: inner) is inner


def test_messages_are_handled_in_the_order_in_which_they_were_sent(ref: ActorRef[Performer]) -> None:
    seen: list[int] = []
    for number in range(1000):
        ref.tell(lambda a, n=number: seen.append(n))

    assert ref.ask(lambda a: list(seen)) == list(range(1000))


def test_messages_of_one_actor_are_handled_one_at_a_time(ref: ActorRef[Performer]) -> None:
    inside: list[int] = []
    worst: list[int] = []

    def handle(_actor: Performer) -> None:
        inside.append(1)
        worst.append(len(inside))
        inside.pop()

    threads = [threading.Thread(target=lambda: [ref.tell(handle) for _ in range(200)]) for _ in range(4)]  # type: ignore[func-returns-value]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ref.ask(lambda a: None)

    assert len(worst) == 800
    assert max(worst) == 1


def test_ask_gives_up_after_its_timeout_and_the_actor_goes_on(gate: Gate) -> None:
    ref = in_worker(Performer).start()

    with pytest.raises(Timeout):
        ref.ask(lambda a: gate(), timeout=0.01)
    gate.open()

    assert ref.ask(lambda a: "alive", timeout=DEADLINE) == "alive"


@pytest.mark.parametrize("message", [None, {}, 0, "text", ProcessExited(0, 1.0)], ids=repr)
def test_a_message_that_is_not_expected_is_logged_and_answered_with_none(
    ref: ActorRef[Performer], message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert ref.ask(message) is None

    assert [f"Unexpected message received by {ref}: {message}"] == [
        r.getMessage() for r in caplog.records if r.levelno == logging.WARNING
    ]


def test_an_actor_may_answer_with_what_another_answers(base: type[Actor]) -> None:
    class Adder(BlockingActor):
        def on_receive(self, message: int) -> int:
            return message + 1

    class Counter(BlockingActor):
        def on_receive(self, message: int) -> int:
            number = 0
            while number < message:
                number = adder.ask(number, block=True)
            return number

    adder = Adder.start()

    assert Counter.start().ask(20) == 20


def test_an_actor_may_tell_itself(ref: ActorRef[Performer], events: Events) -> None:
    def split(actor: Performer, left: int) -> None:
        events.add(f"left: {left}")
        if left:
            actor.actor_ref.tell(functools.partial(split, left=left - 1))

    ref.tell(functools.partial(split, left=3))
    events.wait("left: 0")

    assert events.names == ["on_start", "left: 3", "left: 2", "left: 1", "left: 0"]


def test_the_inbox_of_a_blocking_actor_shows_what_waits(gate: Gate) -> None:
    ref = in_worker(Performer).start()
    ref.tell(lambda a: gate())
    assert gate.reached.wait(DEADLINE)
    inbox: Any = ref.actor_inbox
    inbox.put("put past tell")
    future: Future[None] = Future()
    ref._bus.call(future.set)
    future.get(timeout=DEADLINE)

    assert not inbox.empty()
    assert inbox.get() == "put past tell"
    assert inbox.empty()


def test_a_message_to_oneself_may_be_sent_later_and_taken_back(
    ref: ActorRef[Performer], events: Events, stage: Runtime, gate: Gate
) -> None:
    def arrange(actor: Performer) -> None:
        if actor.blocking:  # else this is the reactor: nothing may be sent before all is arranged
            stage.bus.call(gate)
            assert gate.reached.wait(DEADLINE)
        actor.actor_later(0.01, lambda a: events.add("third"))
        actor.actor_later(-2000.0, lambda a: events.add("first"))
        actor.actor_later(-1500.0, lambda a: events.add("never")).cancel()
        actor.actor_later(-1000.0, lambda a: events.add("second"))
        gate.open()

    ref.tell(arrange)
    events.wait("third")

    assert events.names == ["on_start", "first", "second", "third"]


def test_a_message_for_later_is_dropped_when_the_actor_has_stopped(ref: ActorRef[Performer], stage: Runtime) -> None:
    timer: Any = ref.ask(lambda a: a.actor_later(1000.0, lambda _: None))
    assert isinstance(timer, Timer)
    ref.stop()
    wait_for_end(ref)
    done: Future[None] = Future()
    assert timer.function is not None
    stage.bus.call(timer.function)  # as if it were due
    stage.bus.call(lambda: stage.bus.call(done.set))  # behind what that sends
    done.get(timeout=DEADLINE)

    assert stage.bus.dead_letters == 0
