"""Supervision: who is told of an end, what is restarted, and when a supervisor gives up."""

from __future__ import annotations

import functools
import logging
import pickle
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from performers import DEADLINE, Asker, Events, Gate, Performer, in_worker
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import Future, get_all
from regisseur.actors.ref import ActorRef
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import Runtime
from regisseur.actors.supervision import (
    ActorEnded,
    Child,
    RestartPolicy,
    SupervisionError,
    Supervisor,
    unwatch,
    watch,
)
from regisseur.protocols.envelope import decode, decode_message, seal

pytestmark = pytest.mark.usefixtures("stage")

QUICK = RestartPolicy(delay=0.001, max_delay=0.01)
"""Restarts what fails, soon."""
ALWAYS = RestartPolicy("permanent", delay=0.001, max_delay=0.01)


class Ends:
    """Collects the ends that a watcher is told of."""

    def __init__(self) -> None:
        self._queue: queue.Queue[ActorEnded] = queue.Queue()

    def __call__(self, end: ActorEnded) -> None:
        self._queue.put(end)

    def next(self) -> ActorEnded:
        return self._queue.get(timeout=DEADLINE)

    def empty(self) -> bool:
        return self._queue.empty()


class Starts:
    """Starts performers, and tells of each."""

    def __init__(self, cls: type[Performer] = Performer, events: Events | None = None) -> None:
        self._cls = cls
        self._events = events
        self._started: queue.Queue[ActorRef[Performer]] = queue.Queue()

    def __call__(self) -> ActorRef[Performer]:
        ref = self._cls.start(self._events)
        self._started.put(ref)
        return ref

    def next(self) -> ActorRef[Performer]:
        return self._started.get(timeout=DEADLINE)

    def empty(self) -> bool:
        return self._started.empty()


def fail(_actor: Any) -> None:
    """A message at which an actor fails."""
    raise RuntimeError("told to fail")


def settle(runtime: Runtime) -> None:
    """Wait until what was sent has been handed out, and what workers had to do for it is done."""
    for _ in range(3):
        future: Future[None] = Future()
        runtime.bus.call(functools.partial(runtime.bus.call, future.set))  # behind what the reactor sends itself
        future.get(timeout=DEADLINE)
        Asker.start().ask(lambda a: None, timeout=DEADLINE)


# -- watching ----------------------------------------------------------------------------------------------------------


def test_a_watcher_is_told_once_of_a_failure(stage: Runtime, ref: ActorRef[Performer]) -> None:
    ends = Ends()
    watch(ref, ends)
    ref.tell(fail)

    expected = ActorEnded(ref.actor_urn, ref.actor_address, "Performer", True, "RuntimeError: told to fail")
    assert ends.next() == expected
    settle(stage)
    assert ends.empty()


def test_a_stop_is_no_failure(ref: ActorRef[Performer]) -> None:
    ends = Ends()
    watch(ref, ends)
    ref.stop()

    assert ends.next() == ActorEnded(ref.actor_urn, ref.actor_address, "Performer", False, "")


@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_who_watches_a_dead_actor_is_told_at_once_and_the_same(ref: ActorRef[Performer], how: str) -> None:
    before, after = Ends(), Ends()
    watch(ref, before)
    ref.tell(fail) if how == "failed" else ref.stop()
    assert ref.actor_stopped.wait(DEADLINE)
    end = before.next()
    watch(ref, after)

    assert after.next() == end
    assert end.failed == (how == "failed")


def test_an_actor_may_watch_another_and_gets_a_message(base: type[Actor], ref: ActorRef[Performer]) -> None:
    ends = Ends()

    class Guard(Actor):
        def on_start(self) -> None:
            self.actor_watch(ref)

        def on_receive(self, message: Any) -> None:
            ends(message) if type(message) is ActorEnded else super().on_receive(message)

    guard = (in_worker(Guard) if base.blocking else Guard).start()
    guard.ask("so that it has started")
    ref.tell(fail)

    assert ends.next().urn == ref.actor_urn


def test_a_watch_is_taken_back_by_the_actor_that_made_it(stage: Runtime, ref: ActorRef[Performer]) -> None:
    ends = Ends()

    class Guard(Actor):
        def on_start(self) -> None:
            self.actor_watch(ref)
            self.actor_unwatch(ref)

        def on_receive(self, message: Any) -> None:
            ends(message)

    Guard.start()
    settle(stage)
    ref.stop()
    settle(stage)

    assert ends.empty()


def test_who_no_longer_watches_is_not_told_and_the_others_are(stage: Runtime, ref: ActorRef[Performer]) -> None:
    stays, leaves = Ends(), Ends()
    watch(ref, stays)
    watch(ref, leaves)
    for _ in range(2):
        unwatch(ref, leaves)
    ref.stop()
    stays.next()
    settle(stage)

    assert leaves.empty()


def test_to_watch_twice_is_to_watch_once(stage: Runtime, ref: ActorRef[Performer]) -> None:
    ends = Ends()
    for _ in range(3):
        watch(ref, ends)
    ref.stop()
    ends.next()
    settle(stage)

    assert ends.empty()


def test_watchers_that_come_while_the_actor_ends_are_each_told_once(performer_class: type[Performer]) -> None:
    for _ in range(30):
        ref = performer_class.start()
        watchers = [Ends() for _ in range(10)]
        barrier = threading.Barrier(2)

        def watch_all(ref: ActorRef[Performer], watchers: list[Ends], barrier: threading.Barrier) -> None:
            barrier.wait(DEADLINE)
            for ends in watchers:
                watch(ref, ends)

        thread = threading.Thread(target=watch_all, args=(ref, watchers, barrier))
        thread.start()
        barrier.wait(DEADLINE)
        ref.stop(block=False)
        thread.join()

        assert {ends.next().urn for ends in watchers} == {ref.actor_urn}
        assert all(ends.empty() for ends in watchers)


def test_a_function_that_watches_runs_in_a_worker_and_may_block(stage: Runtime, ref: ActorRef[Performer]) -> None:
    other = Performer.start()
    seen: Future[tuple[str, str]] = Future()
    watch(ref, lambda end: seen.set((threading.current_thread().name, str(other.ask(lambda a: "asked", block=True)))))
    ref.stop()

    name, answer = seen.get(timeout=DEADLINE)
    assert name.startswith("stage-worker-")
    assert answer == "asked"


def test_a_watcher_that_has_ended_itself_is_passed_over_and_forgotten(stage: Runtime, ref: ActorRef[Performer]) -> None:
    for _ in range(1000):
        watcher = Performer.start()
        watch(ref, watcher)
        watcher.stop()
    ends = Ends()
    watch(ref, ends)

    assert len(stage.bus.watchers(ref.actor_address)) < 300
    ref.stop()
    assert ends.next().urn == ref.actor_urn
    assert stage.bus.watchers(ref.actor_address) == []


def test_only_actors_of_this_process_can_be_watched() -> None:
    with pytest.raises(TypeError, match="only an actor of this process can be watched"):
        watch("Performer-1", print)  # type: ignore[arg-type]  # that is the point


class Odd(Exception):
    """Says nothing but trouble."""

    def __init__(self, text: str | None) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        if self.text is None:
            raise ValueError("no text")
        return self.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "Odd"), ("\udcff", "Odd: \\udcff"), ("x" * 20_000_000, "Odd: " + "x" * 1995), ("", "Odd: ")],
    ids=["none", "not Unicode", "huge", "empty"],
)
def test_whatever_an_exception_says_its_end_is_told(ref: ActorRef[Performer], text: str | None, reason: str) -> None:
    def fail_oddly(_actor: Any) -> None:
        raise Odd(text)

    logging.getLogger("regisseur.actors").disabled = True
    try:
        watcher, ends = Performer.start(), Ends()
        watch(ref, watcher)  # as a message, which must be able to travel
        watch(ref, ends)
        ref.tell(fail_oddly)

        assert ends.next().reason == reason
    finally:
        logging.getLogger("regisseur.actors").disabled = False


def test_the_message_of_an_end_can_travel() -> None:
    end = ActorEnded("urn:1", "Performer-1", "Performer", True, "ValueError: oops")

    assert decode_message(decode(seal(end, "to"))) == end


def test_all_who_wait_for_a_dead_actor_are_freed(ref: ActorRef[Performer], gate: Gate, base: type[Actor]) -> None:
    if base.blocking:
        ref.tell(lambda a: gate())
    ref.tell(fail)
    futures = [ref.ask(lambda a: "never", block=False) for _ in range(20)]
    waiting = Asker.start().ask(lambda a: futures[0].exception(DEADLINE), block=False)
    gate.open()

    assert {type(f.exception(DEADLINE)) for f in futures} == {pykka.ActorDeadError}
    assert isinstance(waiting.get(timeout=DEADLINE), pykka.ActorDeadError)


# -- supervisors: restarts ---------------------------------------------------------------------------------------------


def child_of(supervisor: ActorRef[Supervisor], name: str) -> ActorRef[Any] | None:
    found: ActorRef[Any] | None = supervisor.proxy().child(name).get(timeout=DEADLINE)
    return found


@pytest.mark.parametrize("cls", [Performer, in_worker(Performer)], ids=["reactor", "blocking"])
def test_a_failed_child_is_restarted_and_the_others_stay(cls: type[Performer]) -> None:
    first, second = Starts(cls), Starts(cls)
    supervisor = Supervisor.start([Child("first", first, QUICK), Child("second", second, QUICK)])
    before, other = first.next(), second.next()
    before.tell(fail)
    after = first.next()

    assert after.actor_urn != before.actor_urn
    assert after.ask(lambda a: "alive", timeout=DEADLINE) == "alive"
    assert child_of(supervisor, "first") is after
    assert child_of(supervisor, "second") is other
    assert second.empty()


def test_a_child_that_fails_again_and_again_is_restarted_as_often_as_is_borne() -> None:
    starts = Starts()
    Supervisor.start([Child("a", starts, RestartPolicy(intensity=20, delay=0.001, max_delay=0.001))])
    for _ in range(20):
        starts.next().tell(fail)

    assert starts.next().ask(lambda a: "alive", timeout=DEADLINE) == "alive"


def test_a_stopped_child_is_restarted_only_if_it_is_permanent(stage: Runtime) -> None:
    transient, permanent = Starts(), Starts()
    supervisor = Supervisor.start([Child("transient", transient, QUICK), Child("permanent", permanent, ALWAYS)])
    transient.next().stop()
    permanent.next().stop()

    assert permanent.next().is_alive()
    settle(stage)
    assert transient.empty()
    assert child_of(supervisor, "transient") is None


def test_a_temporary_child_that_failed_stays_away(stage: Runtime) -> None:
    starts = Starts()
    supervisor = Supervisor.start([Child("once", starts, RestartPolicy("temporary", intensity=0))])
    starts.next().tell(fail)
    settle(stage)

    assert child_of(supervisor, "once") is None
    assert supervisor.is_alive()


def test_children_start_from_left_to_right() -> None:
    order: list[str] = []

    def start(name: str) -> Callable[[], ActorRef[Any]]:
        def begin() -> ActorRef[Any]:
            order.append(name)
            return Performer.start()

        return begin

    supervisor = Supervisor.start([Child(name, start(name)) for name in "abc"])
    child_of(supervisor, "c")

    assert order == ["a", "b", "c"]


def test_a_child_that_can_not_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    starts = Starts()
    tries = iter([OSError("no room"), OSError("still no room")])

    def start() -> ActorRef[Any]:
        for error in tries:
            raise error
        return starts()

    Supervisor.start([Child("a", start, QUICK), Child("b", starts)])
    refs = [starts.next(), starts.next()]

    assert get_all([r.ask(lambda a: "alive", block=False) for r in refs], timeout=DEADLINE) == ["alive"] * 2
    assert "could not start child 'a'" in caplog.text
    assert "OSError: no room" in caplog.text


def test_a_child_that_fails_in_its_on_start_is_restarted() -> None:
    failures = iter([RuntimeError("not yet")] * 2)
    started: Future[Shaky] = Future()

    class Shaky(BlockingActor):
        def on_start(self) -> None:
            for failure in failures:
                raise failure
            started.set(self)

    supervisor = Supervisor.start([Child("shaky", Shaky.start, QUICK)])
    survivor = started.get(timeout=DEADLINE)

    assert child_of(supervisor, "shaky") is survivor.actor_ref


# -- supervisors: the end ----------------------------------------------------------------------------------------------


def test_a_supervisor_gives_up_when_a_child_fails_too_often(caplog: pytest.LogCaptureFixture) -> None:
    ends, bad, good = Ends(), Starts(), Starts()
    policy = RestartPolicy(intensity=2, period=60.0, delay=0.001, max_delay=0.01)
    supervisor = Supervisor.start([Child("good", good), Child("bad", bad, policy)])
    watch(supervisor, ends)
    survivor = good.next()
    for _ in range(3):
        bad.next().tell(fail)

    end = ends.next()
    assert end.failed
    assert end.reason == (
        "SupervisionError: child 'bad' failed again after 2 restarts within 60 s, "
        "the last time of RuntimeError: told to fail: supervision ends"
    )
    assert not survivor.is_alive()
    assert ActorRegistry.get_all() == []
    assert any(r.exc_info and r.exc_info[0] is SupervisionError for r in caplog.records)


@pytest.mark.parametrize("cls", [Performer, in_worker(Performer)], ids=["reactor", "blocking"])
def test_a_stopped_supervisor_has_stopped_its_children_from_right_to_left(cls: type[Performer]) -> None:
    order: list[str] = []

    class Named(cls):  # type: ignore[misc,valid-type]  # a class of either kind
        def on_stop(self) -> None:
            order.append(self.actor_address)

    starts = Starts(Named)
    supervisor = Supervisor.start([Child(name, starts, ALWAYS) for name in "abcd"])
    refs = [starts.next() for _ in "abcd"]

    assert supervisor.stop(timeout=DEADLINE)
    assert order == [ref.actor_address for ref in refs][::-1]
    assert not any(ref.is_alive() for ref in refs)
    assert starts.empty()


def test_the_stop_of_a_supervisor_waits_for_each_child_in_turn(gate: Gate) -> None:
    class Slow(BlockingActor):
        def on_stop(self) -> None:
            gate()

    left = Starts()
    supervisor = Supervisor.start([Child("left", left), Child("right", Slow.start)])
    ref = left.next()
    stopped = supervisor.stop(block=False)
    assert gate.reached.wait(DEADLINE)

    assert ref.is_alive()
    assert not stopped.done()
    assert supervisor.is_alive()
    again = supervisor.stop(block=False)
    gate.open()
    assert get_all([stopped, again], timeout=DEADLINE) == [True, True]
    assert not ref.is_alive()


def test_a_child_that_does_not_stop_in_its_time_is_left_behind(
    stage: Runtime, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, left = Starts(in_worker(Performer)), Starts()
    supervisor = Supervisor.start([Child("left", left), Child("stuck", stuck, shutdown=0.01)])
    ref = stuck.next()
    ref.tell(lambda a: gate())
    assert gate.reached.wait(DEADLINE)

    assert supervisor.stop(timeout=DEADLINE)
    assert not left.next().is_alive()
    assert "child 'stuck' has not stopped, and is left behind" in caplog.text
    gate.open()
    assert ref.actor_stopped.wait(DEADLINE)


def test_a_child_that_stops_late_after_all_troubles_nobody(
    stage: Runtime, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Starts(in_worker(Performer))

    class SlowToo(BlockingActor):
        def on_stop(self) -> None:
            stuck_gate.open()
            assert stuck_ref.actor_stopped.wait(DEADLINE)
            settle(stage)
            gate()

    stuck_gate = Gate()
    supervisor = Supervisor.start([Child("slow too", SlowToo.start), Child("stuck", stuck, shutdown=0.01)])
    stuck_ref = stuck.next()
    stuck_ref.tell(lambda a: stuck_gate())
    stopped = supervisor.stop(block=False)
    assert gate.reached.wait(DEADLINE)
    gate.open()

    assert stopped.get(timeout=DEADLINE)
    assert "Unexpected message" not in caplog.text


def test_a_restart_that_is_waited_for_is_called_off_by_a_stop(stage: Runtime) -> None:
    starts = Starts()
    supervisor = Supervisor.start([Child("a", starts, RestartPolicy(delay=60.0, max_delay=60.0))])
    ref = starts.next()
    ref.tell(fail)
    assert ref.actor_stopped.wait(DEADLINE)
    settle(stage)

    def restarts() -> int:
        """How many calls the reactor has for later than the tests could take."""
        return sum(t.function is not None and due > time.monotonic() + 15 for due, _, t in stage.reactor._timers)

    assert restarts() == 1
    assert supervisor.stop(timeout=DEADLINE)
    assert restarts() == 0
    assert starts.empty()


def test_a_supervisor_may_be_the_child_of_another_which_restarts_it() -> None:
    starts = Starts()
    inner = RestartPolicy(intensity=0)
    outer = Supervisor.start(
        [Child("inner", lambda: Supervisor.start([Child("leaf", starts, inner), Child("twig", starts)]), QUICK)]
    )
    leaf, twig = starts.next(), starts.next()
    before = child_of(outer, "inner")
    leaf.tell(fail)

    refs = [starts.next(), starts.next()]
    assert not twig.is_alive()
    assert all(ref.ask(lambda a: "alive", timeout=DEADLINE) == "alive" for ref in refs)
    assert child_of(outer, "inner") not in (before, None)
    assert outer.stop(timeout=DEADLINE)
    assert not any(ref.is_alive() for ref in refs)


def test_the_end_of_the_runtime_ends_a_supervisor_and_restarts_nobody(stage: Runtime) -> None:
    events, starts = Events(), Starts()

    class Named(Supervisor):
        def on_stop(self) -> None:
            events.add("stopped")

    Named.start([Child("a", starts, ALWAYS), Child("b", starts, ALWAYS)])
    refs = [starts.next(), starts.next()]
    stage.stop()

    assert not any(ref.is_alive() for ref in refs)
    assert starts.empty()
    assert events.names == ["stopped"]


def test_stop_all_stops_a_supervisor_and_what_it_has_started() -> None:
    starts = Starts()
    Supervisor.start([Child(name, starts, ALWAYS) for name in "ab"])
    refs = [starts.next(), starts.next()]
    ActorRegistry.stop_all(timeout=DEADLINE)

    assert ActorRegistry.get_all() == []
    assert not any(ref.is_alive() for ref in refs)


# -- supervisors: the rest ---------------------------------------------------------------------------------------------


def test_names_of_children_are_unique_and_unknown_ones_an_error() -> None:
    with pytest.raises(ValueError, match="two children have one name: a, a"):
        Supervisor.start([Child("a", Starts()), Child("a", Starts())])
    supervisor = Supervisor.start([Child("a", Starts())])
    with pytest.raises(KeyError, match="no child 'b'; there are a"):
        child_of(supervisor, "b")


def test_a_supervisor_with_nobody_to_supervise_just_lives() -> None:
    supervisor = Supervisor.start([])

    assert supervisor.is_alive()
    assert supervisor.stop(timeout=DEADLINE)


def test_a_message_that_is_none_of_its_business_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert Supervisor.start([]).ask("what?") is None
    assert "Unexpected message" in caplog.text


def test_the_error_of_a_supervisor_keeps_its_facts_when_pickled() -> None:
    error = pickle.loads(pickle.dumps(SupervisionError("reader", 3, 5.0, "")))

    assert (error.child, error.restarts, error.period, error.reason) == ("reader", 3, 5.0, "")
    assert "nothing that is known" in str(error)
