"""Proxies do what pykka documents."""

from __future__ import annotations

from typing import Any

import pykka
import pytest
from pykka import ActorProxy, traversable
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from performers import Events, Performer, in_worker, wait_for_end
from regisseur.actors.actor import Actor
from regisseur.actors.future import Future
from regisseur.actors.ref import ActorRef

pytestmark = pytest.mark.usefixtures("stage")


class Playback:
    volume = 5

    def play(self) -> bool:
        return True


@traversable
class Marked:
    level = 1


class Old:
    pykka_traversable = True
    inner = traversable(Playback())


class Rich(Performer):
    field = "this is a field"
    data: dict[str, int] = {"a": 1}  # noqa: RUF012  # shared on purpose: the test is about reading it
    playback = traversable(Playback())
    marked = Marked()
    old = Old()
    hidden_thing = Playback()
    _private = "private"

    def __init__(self, events: Events | None = None) -> None:
        super().__init__(events)
        self.instance_field = "mine"

    @property
    def computed(self) -> int:
        return 42

    @property
    def broken(self) -> int:
        raise AttributeError("the property is broken")

    @staticmethod
    def static(value: int) -> int:
        return 2 * value


@pytest.fixture
def proxy(base: type[Actor]) -> Any:
    return (in_worker(Rich) if base.blocking else Rich).start().proxy()


def test_fields_and_methods_of_a_proxy_give_futures(proxy: Any) -> None:
    assert isinstance(proxy.field, Future)
    assert proxy.field.get() == "this is a field"
    assert proxy.instance_field.get() == "mine"
    assert proxy.computed.get() == 42
    assert proxy.add(1, second=2).get() == 3
    assert proxy.static(3).get() == 6


def test_setting_a_field_waits_until_it_is_set(proxy: Any) -> None:
    proxy.field = "new"
    proxy.fresh = "made by the proxy"

    assert [proxy.field.get(), proxy.fresh.get()] == ["new", "made by the proxy"]


def test_an_error_in_setting_a_field_is_raised_there(proxy: Any) -> None:
    with pytest.raises(AttributeError):
        proxy.computed = 1


def test_errors_of_fields_and_methods_are_raised_by_get(proxy: Any) -> None:
    with pytest.raises(ValueError, match="oops"):
        proxy.fail("oops").get()
    with pytest.raises(AttributeError, match="the property is broken"):
        proxy.broken.get()


def test_an_attribute_that_is_not_there_is_an_error_at_once(proxy: Any) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
        _ = proxy.unknown


def test_private_attributes_are_not_shown(proxy: Any) -> None:
    assert {"field", "add", "playback"} <= set(dir(proxy))
    assert "_private" not in dir(proxy)


def test_traversable_attributes_are_walked_through(proxy: Any) -> None:
    assert proxy.playback.play().get() is True
    assert proxy.marked.level.get() == 1
    assert proxy.old.inner.volume.get() == 5
    proxy.playback.volume = 11
    assert proxy.playback.volume.get() == 11
    assert isinstance(proxy.hidden_thing.get(), Playback)


def test_what_has_slots_can_not_be_marked_traversable() -> None:
    class Slotted:
        __slots__ = ()

    with pytest.raises(ValueError, match="slots"):
        traversable(Slotted())


def test_a_deferred_call_gives_no_future_and_its_error_ends_the_actor(proxy: Any, events: Events) -> None:
    assert proxy.add.defer(1) is None
    assert proxy.actor_ref.is_alive()

    proxy.fail.defer("oops")

    wait_for_end(proxy.actor_ref)


def test_the_messages_of_pykka_do_without_a_proxy(ref: ActorRef[Performer]) -> None:
    assert ref.ask(ProxyCall(attr_path=("add",), args=(1,), kwargs={"second": 2})) == 3
    ref.ask(ProxySetAttr(attr_path=("greeting",), value="hi"))
    assert ref.ask(ProxyGetAttr(attr_path=("greeting",))) == "hi"


def test_a_proxy_of_oneself_schedules_work_for_later(base: type[Actor], events: Events) -> None:
    class Worker(Actor):
        def __init__(self) -> None:
            super().__init__()
            self._in_future: Any = self.actor_ref.proxy()

        def do_work(self) -> str:
            events.add("do_work")
            self._in_future.do_more_work()
            return "done"

        def do_more_work(self) -> None:
            events.add("do_more_work")

    kind = in_worker(Worker) if base.blocking else Worker
    assert kind.start().proxy().do_work().get() == "done"
    events.wait("do_more_work")

    assert events.names == ["do_work", "do_more_work"]


def test_proxies_are_equal_where_they_stand_for_the_same(proxy: Any, ref: ActorRef[Performer]) -> None:
    same = proxy.actor_ref.proxy()

    assert proxy == same
    assert hash(proxy) == hash(same)
    assert proxy != ref.proxy()
    assert proxy.playback == same.playback != same.old
    assert repr(proxy).startswith(f"<ActorProxy for Rich ({proxy.actor_ref.actor_urn})")


def test_a_proxy_of_a_dead_actor_can_not_be_made_or_used(proxy: Any) -> None:
    proxy.actor_ref.stop()

    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ActorProxy(actor_ref=proxy.actor_ref)
    with pytest.raises(pykka.ActorDeadError):
        proxy.add(1).get()
    with pytest.raises(pykka.ActorDeadError):
        proxy.field.get()


def test_stop_through_a_proxy_stops_the_actor(proxy: Any) -> None:
    proxy.stop().get()

    wait_for_end(proxy.actor_ref)
