"""Actors that would wait for each other for ever are told so, and no others."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

from performers import DEADLINE, Asker, Gate, Performer
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import DeadlockError, Future, Timeout
from regisseur.actors.ref import ActorRef
from regisseur.actors.runtime import Runtime

pytestmark = pytest.mark.usefixtures("stage")


def test_an_actor_that_asks_itself_is_told_so_at_once() -> None:
    ref = Asker.start()

    with pytest.raises(DeadlockError, match=r"Asker \(.*\) -> Asker") as caught:
        ref.ask(lambda a: a.actor_ref.ask(lambda _: None), timeout=DEADLINE)

    assert "would wait for ever" in str(caught.value)
    assert ref.ask(lambda a: "alive", timeout=DEADLINE) == "alive"


def test_an_actor_that_asks_itself_with_a_timeout_is_told_so_too() -> None:
    with pytest.raises(DeadlockError):
        Asker.start().ask(lambda a: a.actor_ref.ask(lambda _: None, timeout=60), timeout=DEADLINE)


def test_a_call_of_oneself_by_proxy_is_a_circle_too() -> None:
    class Calls(BlockingActor):
        def outer(self) -> Any:
            proxy: Any = self.actor_ref.proxy()
            return proxy.inner().get()

        def inner(self) -> str:
            return "never"

    with pytest.raises(DeadlockError):
        Calls.start().proxy().outer().get(timeout=DEADLINE)


@pytest.mark.parametrize("size", [2, 3, 10])
def test_actors_that_ask_each_other_in_a_circle_are_told_so(size: int) -> None:
    refs = [Asker.start() for _ in range(size)]

    def ask_next(_actor: Asker, number: int) -> Any:
        following = (number + 1) % size
        return refs[following].ask(functools.partial(ask_next, number=following))

    with pytest.raises(DeadlockError, match=" -> ".join(["Asker .*"] * (size + 1))):
        refs[0].ask(functools.partial(ask_next, number=0), timeout=DEADLINE)
    for ref in refs:
        assert ref.ask(lambda a: "alive", timeout=DEADLINE) == "alive"


def test_actors_that_close_a_circle_at_the_same_time_are_told_so() -> None:
    barrier = threading.Barrier(3)
    refs = [Asker.start() for _ in range(3)]

    def ask_next(_actor: Asker, number: int) -> Any:
        barrier.wait(DEADLINE)
        return refs[(number + 1) % 3].ask(lambda a: "reply")

    futures = [refs[n].ask(functools.partial(ask_next, number=n), block=False) for n in range(3)]
    results = [f.exception(timeout=DEADLINE) or f.get() for f in futures]

    assert any(isinstance(r, DeadlockError) for r in results)
    assert all(r == "reply" or isinstance(r, DeadlockError) for r in results)


def test_a_wait_for_what_is_derived_from_the_reply_closes_a_circle_too() -> None:
    first, second = Asker.start(), Asker.start()

    def ask_back(_actor: Asker) -> Any:
        return first.ask(lambda a: None, block=False).map(str).get()

    with pytest.raises(DeadlockError):
        first.ask(lambda a: second.ask(ask_back, block=False).join().get(), timeout=DEADLINE)


def test_an_actor_that_has_replied_may_ask_back_before_the_other_has_woken_up(gate: Gate) -> None:
    """B replies to A, and while A still sleeps on the future that is done, B asks A. That is no circle."""
    asking = Asker.start()
    answering = Asker.start()

    def wait_drowsily(actor: Asker) -> str:
        future = answering.ask(lambda a: "reply", block=False)
        future.get(timeout=DEADLINE)
        actor.actor_waits_for = future  # what it is between the reply and the waking up
        gate()
        actor.actor_waits_for = None
        return "woken up"

    waiting = asking.ask(wait_drowsily, block=False)
    assert gate.reached.wait(DEADLINE)
    asked_back = answering.ask(lambda a: asking.ask(lambda _: "no circle", timeout=DEADLINE), block=False)
    done: Future[None] = Future()
    asking._bus.call(done.set)
    done.get(timeout=DEADLINE)
    gate.open()

    assert waiting.get(timeout=DEADLINE) == "woken up"
    assert asked_back.get(timeout=DEADLINE) == "no circle"


def test_actors_that_ask_each_other_by_turns_are_never_taken_for_a_circle() -> None:
    left, right = Asker.start(), Asker.start()

    def play(_actor: Asker, other: ActorRef[Asker], times: int) -> int:
        return sum(other.ask(lambda a: 1, block=True) for _ in range(times))

    for _ in range(30):
        assert left.ask(functools.partial(play, other=right, times=20), timeout=DEADLINE) == 20
        assert right.ask(functools.partial(play, other=left, times=20), timeout=DEADLINE) == 20


def test_an_actor_of_several_may_ask_back_when_only_the_others_are_waited_for(gate: Gate) -> None:
    """A joins the replies of B and C. B has replied, and asks A while C is slow: A will be free when C has replied."""
    joining, quick, slow = (Asker.start() for _ in range(3))

    def slowly(_actor: Asker) -> str:
        gate()
        return "c"

    def join_replies(_actor: Asker) -> Any:
        replies = [quick.ask(lambda a: "b", block=False), slow.ask(slowly, block=False)]
        quick_reply.set(replies[0])
        return replies[0].join(*replies[1:]).get()

    quick_reply: Future[Future[Any]] = Future()
    joined = joining.ask(join_replies, block=False)
    assert gate.reached.wait(DEADLINE)
    quick_reply.get(timeout=DEADLINE).get(timeout=DEADLINE)
    asked_back = quick.ask(lambda a: joining.ask(lambda _: "no circle"), block=False)
    gate.open()

    assert joined.get(timeout=DEADLINE) == ["b", "c"]
    assert asked_back.get(timeout=DEADLINE) == "no circle"


def test_a_question_that_was_refused_is_not_handled_later() -> None:
    """Else an actor that asks itself would do so again and again for ever."""
    handled: list[str] = []
    first, second = Asker.start(), Asker.start()

    def ask_myself(actor: Asker) -> Any:
        handled.append("asks itself")
        return actor.actor_ref.ask(ask_myself)

    def ping(_actor: Asker) -> Any:
        handled.append("ping")
        return second.ask(pong)

    def pong(_actor: Asker) -> Any:
        handled.append("pong")
        return first.ask(ping)

    for question in (ask_myself, ping):
        with pytest.raises(DeadlockError):
            first.ask(question, timeout=DEADLINE)
    for ref in (first, second, first, second):
        ref.ask(lambda a: None, timeout=DEADLINE)

    assert handled == ["asks itself", "ping", "pong"]


def test_calls_by_proxy_in_a_circle_are_not_repeated() -> None:
    calls: list[str] = []

    class ActorA(BlockingActor):
        def foo(self, b: Any) -> Any:
            calls.append("foo")
            return b.bar().get()

    class ActorB(BlockingActor):
        def __init__(self, a: Any) -> None:
            super().__init__()
            self.a = a

        def bar(self) -> Any:
            calls.append("bar")
            return self.a.foo(self.actor_ref.proxy()).map(str).join().get()

    a: Any = ActorA.start().proxy()
    b: Any = ActorB.start(a).proxy()

    with pytest.raises(DeadlockError):
        a.foo(b).get(timeout=DEADLINE)
    for proxy in (a, b, a, b):
        proxy.on_receive("x").get(timeout=DEADLINE)

    assert calls == ["foo", "bar"]


def test_an_actor_whose_question_was_refused_is_not_taken_for_one_that_waits() -> None:
    first, second = Asker.start(), Asker.start()

    def ask_and_carry_on(_actor: Asker) -> str:
        with pytest.raises(DeadlockError):
            second.ask(lambda a: first.ask(lambda _: None))
        gate.reached.set()
        assert second.ask(lambda a: "carried on", timeout=DEADLINE) == "carried on"
        return "done"

    gate = Gate()
    assert first.ask(ask_and_carry_on, timeout=DEADLINE) == "done"
    assert second.ask(lambda a: first.ask(lambda _: "free"), timeout=DEADLINE) == "free"


def test_a_message_whose_reply_was_cancelled_is_not_handled(
    ref: ActorRef[Performer], gate: Gate, stage: Runtime
) -> None:
    handled: list[str] = []
    stage.bus.call(gate)  # holds the reactor, and so all messages
    assert gate.reached.wait(DEADLINE)
    cancelled = ref.ask(lambda a: handled.append("cancelled"), block=False)
    kept = ref.ask(lambda a: handled.append("kept"), block=False)
    assert cancelled.cancel()
    gate.open()
    kept.get(timeout=DEADLINE)

    assert handled == ["kept"]


def test_who_waits_with_a_timeout_does_not_close_a_circle_for_the_others(gate: Gate) -> None:
    patient, impatient = Asker.start(), Asker.start()
    asked = threading.Event()

    def ask_back(_actor: Asker) -> Any:
        asked.set()
        return impatient.ask(lambda _: "at last")

    def give_up(_actor: Asker) -> str:
        with pytest.raises(Timeout):
            patient.ask(ask_back, timeout=0.05)
        return "gave up"

    waiting = impatient.ask(give_up, block=False)
    assert asked.wait(DEADLINE)

    assert waiting.get(timeout=DEADLINE) == "gave up"
    assert patient.ask(lambda a: "alive", timeout=DEADLINE) == "alive"


def test_an_ask_of_a_reactor_actor_by_a_blocking_one_is_no_circle(stage: Runtime) -> None:
    class Echo(Actor):
        def on_receive(self, message: Any) -> Any:
            return message

    echo = Echo.start()

    assert Asker.start().ask(lambda a: echo.ask("echo"), timeout=DEADLINE) == "echo"
