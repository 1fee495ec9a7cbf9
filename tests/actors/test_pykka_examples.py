"""The examples that pykka documents, in our own words: what is written for pykka works with our actors in its place."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any, cast
from unittest.mock import Mock

import pykka.debug
import pytest
from pykka.typing import ActorMemberMixin, proxy_field, proxy_method

from deadline import DEADLINE
from regisseur import actors as pykka_names

pytestmark = pytest.mark.usefixtures("stage")

DOCUMENTED = [
    "Actor",
    "ActorDeadError",
    "ActorProxy",
    "ActorRef",
    "ActorRegistry",
    "CallableProxy",
    "Future",
    "ThreadingActor",
    "ThreadingFuture",
    "Timeout",
    "get_all",
    "messages",
    "traversable",
]


@pytest.fixture(autouse=True)
def all_stopped() -> Iterator[None]:
    yield
    pykka_names.ActorRegistry.stop_all()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_name_that_pykka_documents_is_here(name: str) -> None:
    assert name in pykka_names.__all__
    ours, theirs = getattr(pykka_names, name), getattr(pykka, name, None)
    if isinstance(theirs, type) and name not in ("ActorRegistry", "ThreadingActor", "ThreadingFuture"):
        assert issubclass(ours, theirs)


def test_a_script_for_pykka_runs_when_it_imports_our_actors_as_pykka() -> None:
    script = """
        from regisseur import actors as pykka

        class Greeter(pykka.ThreadingActor):
            def __init__(self, greeting="Default greeting"):
                super().__init__()
                self.greeting = greeting

            def on_receive(self, message):
                return f"{self.greeting} {message}"

        actor_ref = Greeter.start(greeting="Hi")
        print(actor_ref.ask("you!"))
        print(actor_ref.proxy().greeting.get())
        pykka.ActorRegistry.stop_all()
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=DEADLINE, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "Hi you!\nHi\n", "")


# -- the plain actor ---------------------------------------------------------------------------------------------------


def test_a_plain_actor_stores_messages_and_gives_them_back() -> None:
    give_back = object()

    class Store(pykka_names.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self._stored: list[Any] = []

        def on_receive(self, message: Any) -> Any:
            if message is give_back:
                return self._stored
            self._stored.append(message)
            return None

    store = Store.start()
    store.tell({"no": "Norway", "se": "Sweden"})
    store.tell({"a": 3, "b": 4, "c": 5})

    assert store.ask(give_back) == [{"no": "Norway", "se": "Sweden"}, {"a": 3, "b": 4, "c": 5}]
    assert store.stop()


def test_an_actor_that_does_not_know_a_message_leaves_it_to_its_base(caplog: pytest.LogCaptureFixture) -> None:
    class Greeter(pykka_names.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return "Hi there!" if message == "Hi?" else super().on_receive(message)

    greeter = Greeter.start()

    assert greeter.ask("Hi?", timeout=DEADLINE) == "Hi there!"
    assert greeter.ask("Bye?") is None
    assert f"Unexpected message received by {greeter}: Bye?" in caplog.text


def test_what_an_actor_raises_reaches_who_asked() -> None:
    class Raiser(pykka_names.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            raise ValueError("Oops")

    with pytest.raises(ValueError, match="Oops"):
        Raiser.start().ask("How are you?")


# -- the actor with a proxy --------------------------------------------------------------------------------------------


class Foo(pykka_names.ThreadingActor):
    field = "the value of the field"

    def __init__(self, gate: threading.Event | None = None) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._gate = gate

    def bar(self) -> None:
        self.seen.append(threading.current_thread().name)

    def baz(self) -> str:
        if self._gate is not None:
            assert self._gate.wait(DEADLINE)
        return "returned after a delay"


class FooProxy(ActorMemberMixin, pykka_names.ActorProxy[Foo]):
    field = proxy_field(Foo.field)
    seen = proxy_field(list[str]())
    bar = proxy_method(Foo.bar)
    baz = proxy_method(Foo.baz)


def test_an_actor_is_used_through_its_proxy_nearly_like_any_object() -> None:
    gate = threading.Event()
    proxy = Foo.start(gate).proxy()

    proxy.bar()
    late = proxy.baz()
    assert isinstance(late, pykka_names.Future)
    assert not late.done()
    gate.set()
    assert late.get() == "returned after a delay"
    assert proxy.field.get() == "the value of the field"
    proxy.field = "new value"
    assert proxy.field.get() == "new value"
    (thread,) = proxy.seen.get()
    assert thread != threading.current_thread().name
    proxy.stop()


def test_a_proxy_may_be_typed_by_a_class_of_its_own() -> None:
    proxy = cast("FooProxy", Foo.start().proxy())

    assert proxy.field.get().upper() == "THE VALUE OF THE FIELD"
    assert proxy.baz().get().title() == "Returned After A Delay"
    proxy.bar().get()
    assert len(proxy.seen.get()) == 1
    proxy.stop().get()
    assert proxy.actor_ref.actor_stopped.wait(DEADLINE)


# -- actors that work together -----------------------------------------------------------------------------------------


def test_a_bookkeeper_counts_with_the_help_of_an_adder() -> None:
    log: list[str] = []

    class Adder(pykka_names.ThreadingActor):
        def add_one(self, number: int) -> int:
            log.append(f"adder adds 1 to {number}")
            return number + 1

    class Bookkeeper(pykka_names.ThreadingActor):
        def __init__(self, adder: Any) -> None:
            super().__init__()
            self.adder = adder

        def count_to(self, target: int) -> None:
            number = 0
            while number < target:
                number = self.adder.add_one(number).get()
                log.append(f"bookkeeper gets {number}")

    bookkeeper = Bookkeeper.start(Adder.start().proxy()).proxy()
    bookkeeper.count_to(3).get()

    assert log == [f"{who} {n + i}" for n in range(3) for i, who in enumerate(["adder adds 1 to", "bookkeeper gets"])]
    assert pykka_names.ActorRegistry.stop_all() == [True, True]


def test_a_pool_of_actors_shares_work_that_blocks() -> None:
    barrier = threading.Barrier(4)

    class Resolver(pykka_names.ThreadingActor):
        def resolve(self, address: IPv4Address) -> str | None:
            barrier.wait(DEADLINE)  # passes only if all four work at the same time
            try:
                return socket.inet_ntoa(address.packed)
            except OSError:
                return None

    addresses = [IPv4Address(f"192.0.2.{i}") for i in range(20)]
    pool = [Resolver.start().proxy() for _ in range(4)]
    names = [pool[i % len(pool)].resolve(address) for i, address in enumerate(addresses)]

    assert [str(a) for a in addresses] == pykka_names.get_all(names, timeout=DEADLINE)


def test_the_other_side_of_an_actor_under_test_may_be_a_mock() -> None:
    class Producer(pykka_names.ThreadingActor):
        def __init__(self, consumer: Any) -> None:
            super().__init__()
            self.consumer = consumer

        def produce(self) -> None:
            self.consumer.consume({"item": 1, "new": True})

    consumer = Mock()
    producer = Producer.start(consumer).proxy()
    producer.produce().get()

    consumer.consume.assert_called_once_with({"item": 1, "new": True})


def test_two_actors_that_call_each_other_are_told_so_where_pykka_would_hang(caplog: pytest.LogCaptureFixture) -> None:
    class Left(pykka_names.ThreadingActor):
        def foo(self, right: Any) -> Any:
            return right.bar().get()

    class Right(pykka_names.ThreadingActor):
        def __init__(self, left: Any) -> None:
            super().__init__()
            self.left = left

        def bar(self) -> Any:
            return self.left.foo(self.actor_ref.proxy()).get()

    left = Left.start().proxy()
    right = Right.start(left).proxy()

    with pytest.raises(pykka_names.DeadlockError):
        left.foo(right).get(timeout=DEADLINE)


def test_the_tracebacks_of_all_threads_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It is pykka's own helper, usable as a signal handler; our threads have telling names in it."""
    gate, reached = threading.Event(), threading.Event()

    class Waits(pykka_names.ThreadingActor):
        def wait_at_the_gate(self) -> None:
            reached.set()
            assert gate.wait(DEADLINE)

    waiting = Waits.start().proxy().wait_at_the_gate()
    assert reached.wait(DEADLINE)
    with caplog.at_level(logging.CRITICAL, logger="pykka"):
        pykka.debug.log_thread_tracebacks("signal number", "frame")
    gate.set()
    waiting.get(timeout=DEADLINE)

    states = [r.getMessage() for r in caplog.records if "Current state of stage-worker-" in r.getMessage()]
    assert any("wait_at_the_gate" in state for state in states)
    assert "Current state of stage-reactor" in caplog.text
