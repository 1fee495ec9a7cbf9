"""The registry of running actors does what pykka documents."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from performers import DEADLINE, Performer, in_worker
from regisseur.actors.actor import Actor
from regisseur.actors.future import get_all
from regisseur.actors.ref import ActorRef
from regisseur.actors.registry import ActorRegistry

pytestmark = pytest.mark.usefixtures("stage")


def test_the_registry_knows_running_actors_by_urn_and_class(performer_class: type[Performer]) -> None:
    class Other(performer_class):  # type: ignore[misc,valid-type]  # a class of either kind
        pass

    first, second, other = performer_class.start(), performer_class.start(), Other.start()

    assert ActorRegistry.get_all() == [first, second, other]
    assert ActorRegistry.get_by_class(performer_class) == [first, second, other]
    assert ActorRegistry.get_by_class(Other) == [other]
    assert ActorRegistry.get_by_class_name("Performer") == [first, second]
    assert ActorRegistry.get_by_urn(second.actor_urn) is second
    second.stop()
    assert ActorRegistry.get_all() == [first, other]
    assert ActorRegistry.get_by_urn(second.actor_urn) is None
    assert ActorRegistry.get_by_urn("urn:nobody") is None


def test_an_actor_is_registered_before_its_on_start(base: type[Actor]) -> None:
    seen: list[Any] = []

    class Looks(Actor):
        def on_start(self) -> None:
            seen.append(ActorRegistry.get_by_urn(self.actor_urn))

    kind = in_worker(Looks) if base.blocking else Looks
    ref = kind.start()
    ref.ask("x")

    assert seen == [ref]


def test_broadcast_tells_all_or_those_of_a_class(performer_class: type[Performer]) -> None:
    class Other(performer_class):  # type: ignore[misc,valid-type]  # a class of either kind
        pass

    seen: list[tuple[str, str]] = []
    refs = [performer_class.start(), Other.start()]
    for name, target in {"all": None, "class": Other, "name": "Other"}.items():
        ActorRegistry.broadcast(lambda a, n=name: seen.append((n, type(a).__name__)), target_class=target)
    for ref in refs:
        ref.ask(lambda a: None)

    assert sorted(seen) == [("all", "Other"), ("all", "Performer"), ("class", "Other"), ("name", "Other")]


def test_unregistering_and_registering_by_hand_is_harmless(ref: ActorRef[Performer]) -> None:
    for _ in range(2):
        ActorRegistry.unregister(ref)
    assert ActorRegistry.get_all() == []
    ActorRegistry.register(ref)

    assert ActorRegistry.get_all() == [ref]


def test_stop_all_stops_the_last_started_first(base: type[Actor]) -> None:
    stopped: list[int] = []

    class Numbered(Actor):
        def __init__(self, number: int) -> None:
            super().__init__()
            self._number = number

        def on_stop(self) -> None:
            stopped.append(self._number)

    blocking = in_worker(Numbered)
    kinds: list[type[Numbered]] = [blocking] if base.blocking else [Numbered, blocking, Numbered]
    refs = [kinds[n % len(kinds)].start(n) for n in range(30)]

    assert ActorRegistry.stop_all(timeout=DEADLINE) == [True] * 30
    assert stopped == list(range(30))[::-1]
    assert not any(ref.is_alive() for ref in refs)


def test_stop_all_without_blocking_gives_a_future_for_each(performer_class: type[Performer]) -> None:
    refs = [performer_class.start() for _ in range(5)]

    futures = ActorRegistry.stop_all(block=False)

    assert get_all(futures, timeout=DEADLINE) == [True] * 5
    assert not any(ref.is_alive() for ref in refs)
    assert ActorRegistry.stop_all() == []


@pytest.mark.slow
def test_starting_and_stopping_takes_time_linear_in_the_number_of_actors() -> None:
    class Tiny(Actor):
        pass

    def seconds(number: int) -> float:
        """CPU time, which a busy machine does not stretch."""
        begin = time.process_time()
        refs = [Tiny.start() for _ in range(number)]
        assert ActorRegistry.get_all() == refs
        assert ActorRegistry.stop_all(timeout=DEADLINE) == [True] * number
        return time.process_time() - begin

    gc.collect()
    gc.disable()  # what it takes depends on all that the tests before have left alive
    try:
        seconds(1_000)
        few, many = min(seconds(2_000) for _ in range(3)), seconds(20_000)
    finally:
        gc.enable()

    assert many < 30 * few  # ten times as long, and room for chance; a hundred times if it were quadratic
