"""For the tests of the core: a runtime of their own, actors of both kinds, gates to hold them at; files to transfer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from performers import Events, Gate, Performer, in_worker
from regisseur.actors import _transfer_source
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.ref import ActorRef
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import Runtime, use_runtime
from trees import Tools, make_tree, unlock


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


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with all that may be in one."""
    yield make_tree(tmp_path)
    unlock(tmp_path)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Programs in place of those of a host."""
    return Tools(tmp_path / "tools")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with little room."""
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large to a transfer is a little smaller."""
    monkeypatch.setattr(_transfer_source, "_LARGE", 100_000)
    monkeypatch.setattr(_transfer_source, "_PACK", 50_000)
