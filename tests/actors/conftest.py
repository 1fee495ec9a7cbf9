"""For the tests of the core: a runtime of their own, actors of both kinds, and gates to hold them at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from performers import Events, Gate, Performer, in_worker
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.ref import ActorRef
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import Runtime, use_runtime


@pytest.fixture
def stage() -> Iterator[Runtime]:
    """A runtime for one test, in which nothing is left behind."""
    with Runtime("stage") as runtime, use_runtime(runtime):
        yield runtime
    assert [ref for ref in ActorRegistry.get_all() if ref._bus is runtime.bus] == []


@pytest.fixture(params=[Actor, BlockingActor], ids=["reactor", "blocking"])
def base(request: pytest.FixtureRequest) -> type[Actor]:
    """The two kinds of actors."""
    kind: type[Actor] = request.param
    return kind


@pytest.fixture
def events() -> Events:
    """What happens in an actor."""
    return Events()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Closed until the test opens it."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def performer_class(base: type[Actor]) -> type[Performer]:
    """A performer of either kind."""
    return in_worker(Performer) if base.blocking else Performer


@pytest.fixture
def ref(stage: Runtime, performer_class: type[Performer], events: Events) -> ActorRef[Performer]:
    """A performer of either kind that runs."""
    return performer_class.start(events)
