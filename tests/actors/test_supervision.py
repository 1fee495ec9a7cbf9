"""Supervision: who is told of an end, what is restarted, and when a supervisor gives up."""

from __future__ import annotations

import queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors import Actor, ActorRef, BlockingActor
from regisseur.actors._supervision_rule import ChildEnded, GiveUp, RestartAfter, RestartPolicy, RestartRule
from regisseur.actors.supervision import ActorEnded, Child, SupervisionError, Supervisor, unwatch, watch

DEADLINE = 10.0
QUICK = {"delay": 0.001, "max_delay": 0.01}


class Fragile(Actor):
    """Fails when told to."""

    def on_receive(self, message: Any) -> Any:
        if message == "fail":
            raise RuntimeError("told to fail")
        return message


class FragileBlocking(BlockingActor):
    """The same in a worker."""

    on_receive = Fragile.on_receive


class Starts:
    """Starts actors of a class, and tells of each."""

    def __init__(self, cls: type[Any] = Fragile) -> None:
        self.cls = cls
        self.started: queue.Queue[ActorRef[Any]] = queue.Queue()

    def __call__(self) -> ActorRef[Any]:
        ref: ActorRef[Any] = self.cls.start()
        self.started.put(ref)
        return ref

    def next(self) -> ActorRef[Any]:
        return self.started.get(timeout=DEADLINE)


@pytest.mark.parametrize("cls", [Fragile, FragileBlocking])
def test_a_watcher_is_told_once_of_a_failure(cls: type[Any]) -> None:
    ends: queue.Queue[ActorEnded] = queue.Queue()
    ref = cls.start()
    watch(ref, ends.put)

    ref.tell("fail")

    end = ends.get(timeout=DEADLINE)
    assert (end.urn, end.failed, end.reason) == (ref.actor_urn, True, "RuntimeError: told to fail")
    assert end.actor_class == cls.__name__
    assert Fragile.start().ask("still there") == "still there"
    assert ends.empty()


def test_a_watcher_can_be_an_actor_and_a_stop_is_no_failure() -> None:
    seen: queue.Queue[Any] = queue.Queue()

    class Watcher(Actor):
        def on_receive(self, message: Any) -> None:
            seen.put(message)

    ref = Fragile.start()
    watch(ref, Watcher.start())
    ref.stop()

    end = seen.get(timeout=DEADLINE)
    assert (end.failed, end.reason) == (False, "")


def test_who_watches_a_dead_actor_is_told_at_once() -> None:
    ends: queue.Queue[ActorEnded] = queue.Queue()
    ref = Fragile.start()
    ref.stop()

    watch(ref, ends.put)

    assert ends.get(timeout=DEADLINE).address == ref.actor_address


def test_who_no_longer_watches_is_not_told() -> None:
    ends: queue.Queue[ActorEnded] = queue.Queue()
    ref = Fragile.start()
    watch(ref, ends.put)
    unwatch(ref, ends.put)

    ref.stop()

    assert Fragile.start().ask(1) == 1
    assert ends.empty()


def test_a_failed_child_is_restarted_and_the_others_stay() -> None:
    first, second = Starts(), Starts()
    supervisor = Supervisor.start(
        [Child("first", first, RestartPolicy(**QUICK)), Child("second", second, RestartPolicy(**QUICK))]  # type: ignore[arg-type]  # floats
    )
    before, other = first.next(), second.next()

    before.tell("fail")

    after = first.next()
    assert after.actor_urn != before.actor_urn
    assert after.ask("hello") == "hello"
    assert supervisor.proxy().child("first").get() == after
    assert supervisor.proxy().child("second").get() == other
    assert second.started.empty()
    supervisor.stop()
    assert after.ask(1, block=False).exception(DEADLINE) is not None
    assert not other.is_alive()


def test_a_stopped_child_is_restarted_only_if_it_is_permanent() -> None:
    transient, permanent = Starts(), Starts()
    supervisor = Supervisor.start(
        [
            Child("transient", transient, RestartPolicy(**QUICK)),  # type: ignore[arg-type]  # floats
            Child("permanent", permanent, RestartPolicy(restart="permanent", **QUICK)),  # type: ignore[arg-type]  # floats
        ]
    )
    transient.next().stop()
    permanent.next().stop()

    assert permanent.next().is_alive()
    assert transient.started.empty()
    assert supervisor.proxy().child("transient").get() is None
    supervisor.stop()


def test_a_supervisor_gives_up_when_a_child_fails_too_often() -> None:
    ends: queue.Queue[ActorEnded] = queue.Queue()
    bad, good = Starts(), Starts()
    policy = RestartPolicy(intensity=2, period=60.0, **QUICK)  # type: ignore[arg-type]  # floats
    supervisor = Supervisor.start([Child("good", good), Child("bad", bad, policy)])
    watch(supervisor, ends.put)
    survivor = good.next()
    for _ in range(3):
        bad.next().tell("fail")

    end = ends.get(timeout=DEADLINE)
    assert end.failed
    assert "child 'bad' failed again after 2 restarts within 60 s" in end.reason
    assert survivor.actor_stopped.wait(DEADLINE)


def test_a_child_that_can_not_start_counts_as_failed() -> None:
    ends: queue.Queue[ActorEnded] = queue.Queue()

    def start() -> ActorRef[Any]:
        raise OSError("no room")

    policy = RestartPolicy(intensity=1, **QUICK)  # type: ignore[arg-type]  # floats
    watch(Supervisor.start([Child("never", start, policy)]), ends.put)

    assert "OSError: no room" in ends.get(timeout=DEADLINE).reason


def test_names_of_children_are_unique_and_unknown_ones_an_error() -> None:
    with pytest.raises(ValueError, match="one name"):
        Supervisor.start([Child("a", Starts()), Child("a", Starts())])
    supervisor = Supervisor.start([])
    with pytest.raises(KeyError, match="no child 'b'"):
        supervisor.proxy().child("b").get()
    supervisor.stop()


def test_a_bad_policy_is_refused() -> None:
    for wrong in ({"restart": "sometimes"}, {"period": 0}, {"delay": 5, "max_delay": 1}, {"jitter": 2}):
        with pytest.raises(ValueError, match=r"must be|needs"):
            RestartPolicy(**wrong)


def test_the_error_of_a_supervisor_keeps_its_facts() -> None:
    error = SupervisionError("reader", 3, 5.0, "")

    assert (error.child, error.restarts, error.period) == ("reader", 3, 5.0)
    assert "nothing that is known" in str(error)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.floats(0, 1, exclude_max=True)), max_size=40),
    st.sampled_from(["permanent", "transient", "temporary"]),
    st.integers(0, 5),
)
def test_restarts_never_exceed_the_intensity_and_delays_stay_in_bounds(
    ends: list[tuple[float, bool, float]], restart: Any, intensity: int
) -> None:
    policy = RestartPolicy(restart, intensity, period=5.0, delay=0.1, max_delay=1.0, jitter=0.5)
    rule, now = RestartRule(policy), 0.0
    restarted: list[float] = []
    for pause, failed, luck in ends:
        now += pause
        effect = rule.take(ChildEnded(failed, now, luck))
        recent = [at for at in restarted if now - at < policy.period]
        wanted = restart == "permanent" or (restart == "transient" and failed)

        assert (effect is not None) == wanted
        if isinstance(effect, RestartAfter):
            assert 0.05 <= effect.delay <= 1.0
            assert len(recent) < intensity
            restarted.append(now)
        elif isinstance(effect, GiveUp):
            assert len(recent) >= intensity
            return


def test_delays_double_until_the_child_lives_long_enough() -> None:
    rule = RestartRule(RestartPolicy(intensity=9, period=10.0, delay=1.0, max_delay=6.0, jitter=0.0))

    delays = [rule.take(ChildEnded(True, at, 0.0)) for at in (0.0, 1.0, 2.0, 3.0, 4.0, 50.0)]

    assert [d.delay for d in delays if isinstance(d, RestartAfter)] == [1.0, 2.0, 4.0, 6.0, 6.0, 1.0]
