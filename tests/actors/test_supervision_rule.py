"""The rule of a supervisor, in a world that is made up: what it may do, whatever happens in whatever order."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors._supervision_rule import (
    Abandon,
    Begin,
    CancelRestart,
    Effect,
    Ended,
    Event,
    Over,
    RestartDue,
    RestartLater,
    RestartPolicy,
    StartChild,
    Started,
    StopChild,
    StopOverdue,
    StopWanted,
    SupervisorLife,
)

kinds: st.SearchStrategy[Any] = st.sampled_from(["permanent", "transient", "temporary"])
chances = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    RestartPolicy,
    restart=kinds,
    intensity=st.integers(0, 4),
    period=st.floats(0.1, 10),
    delay=st.floats(0, 1),
    max_delay=st.floats(1, 60),
    jitter=st.floats(0, 1),
)


def failed(child: str, at: float = 0.0, chance: float = 0.0) -> Ended:
    return Ended(child, True, "ValueError: oops", at, chance)


def stopped(child: str, at: float = 0.0) -> Ended:
    return Ended(child, False, "", at, 0.0)


def begun(*children: str, **policy: Any) -> SupervisorLife:
    """A supervisor whose children all run since 0 s."""
    life = SupervisorLife((child, RestartPolicy(**policy)) for child in children)
    effects = life.take(Begin())
    for child in children:
        assert effects == [StartChild(child)]
        effects = life.take(Started(child, 0.0))
    assert effects == []
    return life


# -- policies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"restart": "sometimes"},
        {"intensity": -1},
        {"period": 0.0},
        {"period": float("inf")},
        {"period": float("nan")},
        {"delay": -0.1},
        {"delay": 5.0, "max_delay": 1.0},
        {"max_delay": float("nan")},
        {"jitter": 1.5},
        {"jitter": -0.5},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs"):
        RestartPolicy(**wrong)


@given(policies, st.integers(0, 10_000), chances)
def test_a_wait_lies_between_its_bounds_however_often_it_doubled(
    policy: RestartPolicy, doublings: int, chance: float
) -> None:
    assert policy.delay * (1 - policy.jitter) <= policy.wait(doublings, chance) <= policy.max_delay
    assert policy.wait(doublings, 0.0) <= policy.wait(doublings + 1, 0.0)


@pytest.mark.parametrize(
    ("restart", "after_failure", "after_stop"),
    [("permanent", True, True), ("transient", True, False), ("temporary", False, False)],
)
def test_the_kind_of_restart_says_after_which_ends_it_happens(
    restart: Literal["permanent", "transient", "temporary"], after_failure: bool, after_stop: bool
) -> None:
    for end, restarted in ((failed("a"), after_failure), (stopped("a"), after_stop)):
        life = begun("a", "b", restart=restart)
        effects = life.take(end)

        assert [type(e) for e in effects] == ([RestartLater] if restarted else [])
        assert life.state("a") == ("waiting" if restarted else "over")
        assert life.state("b") == "running"


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_child_is_started_again_when_its_delay_is_over_and_not_twice() -> None:
    life = begun("a")
    life.take(failed("a"))

    assert life.take(RestartDue("a")) == [StartChild("a")]
    assert life.take(RestartDue("a")) == []
    assert life.take(Started("a", 1.0)) == []
    assert life.take(RestartDue("a")) == []


def test_delays_double_up_to_the_longest_until_the_child_lives_for_a_period() -> None:
    life = begun("a", intensity=9, period=10.0, delay=1.0, max_delay=6.0, jitter=0.0)
    delays: list[float] = []
    for start, end in [(0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5), (4, 13.9), (14, 24)]:
        if delays:
            life.take(RestartDue("a"))
            life.take(Started("a", start))
        delays += [e.delay for e in life.take(failed("a", end)) if isinstance(e, RestartLater)]

    assert delays == [1.0, 2.0, 4.0, 6.0, 6.0, 1.0]


def test_chance_shortens_a_delay_by_at_most_the_jitter() -> None:
    delays = [begun("a", delay=1.0, jitter=0.5).take(failed("a", chance=chance))[0] for chance in (0.0, 0.5, 0.999_999)]

    assert [round(e.delay, 3) for e in delays if isinstance(e, RestartLater)] == [1.0, 0.75, 0.5]


def test_a_child_that_can_not_be_started_is_restarted_as_one_that_failed() -> None:
    life = SupervisorLife([("a", RestartPolicy(delay=1.0, jitter=0.0)), ("b", RestartPolicy())])

    assert life.take(Begin()) == [StartChild("a")]
    assert life.take(failed("a")) == [RestartLater("a", 1.0), StartChild("b")]


# -- giving up ---------------------------------------------------------------------------------------------------------


def test_one_restart_too_many_within_the_period_ends_all_from_right_to_left() -> None:
    life = begun("a", "b", "c", intensity=1, period=10.0)
    life.take(failed("b", 1.0))
    life.take(RestartDue("b"))
    life.take(Started("b", 2.0))

    assert life.take(failed("b", 10.9)) == [StopChild("c")]
    assert life.take(stopped("c")) == [StopChild("a")]
    assert life.take(stopped("a")) == [Over("b", "ValueError: oops")]
    assert life.over
    assert life.take(StopWanted()) == []


def test_restarts_that_lie_a_period_apart_go_on_for_ever() -> None:
    life = begun("a", intensity=1, period=10.0)
    for number in range(1, 50):
        assert [RestartLater] == [type(e) for e in life.take(failed("a", 10.0 * number))]
        life.take(RestartDue("a"))
        life.take(Started("a", 10.0 * number))


def test_with_an_intensity_of_none_the_first_failure_ends_all() -> None:
    assert begun("a", intensity=0).take(failed("a")) == [Over("a", "ValueError: oops")]


def test_a_child_that_waits_for_its_restart_is_not_restarted_any_more() -> None:
    life = begun("a", "b", intensity=1)
    life.take(failed("a"))
    life.take(failed("b", 0.1))
    life.take(RestartDue("b"))
    life.take(Started("b", 0.2))

    assert life.take(failed("b", 0.3)) == [CancelRestart("a"), Over("b", "ValueError: oops")]
    assert life.take(RestartDue("a")) == []


def test_a_child_that_fails_while_it_is_stopped_is_not_restarted_and_the_reason_stays() -> None:
    life = begun("a", "b", intensity=0)

    assert life.take(failed("b")) == [StopChild("a")]
    assert life.take(Ended("a", True, "another reason", 1.0, 0.0)) == [Over("b", "ValueError: oops")]


def test_children_that_were_never_started_are_not_started_when_one_before_them_gives_up() -> None:
    life = SupervisorLife([("a", RestartPolicy(intensity=0)), ("b", RestartPolicy())])
    life.take(Begin())

    assert life.take(failed("a")) == [Over("a", "ValueError: oops")]
    assert life.state("b") == "over"


# -- being stopped -----------------------------------------------------------------------------------------------------


def test_a_stop_ends_the_children_from_right_to_left_each_after_the_other() -> None:
    life = begun("a", "b", "c")

    assert life.take(StopWanted()) == [StopChild("c")]
    assert life.take(StopWanted()) == []
    assert life.take(stopped("b")) == []
    assert life.take(stopped("c")) == [StopChild("a")]
    assert life.take(stopped("a")) == [Over(None, "")]


def test_a_child_that_does_not_stop_is_left_behind() -> None:
    life = begun("a", "b")
    life.take(StopWanted())

    assert life.take(StopOverdue("a")) == []
    assert life.take(StopOverdue("b")) == [Abandon("b"), StopChild("a")]
    assert life.take(stopped("b")) == []
    assert life.take(stopped("a")) == [Over(None, "")]


def test_a_supervisor_without_children_is_over_when_it_is_stopped() -> None:
    life = SupervisorLife([])

    assert life.take(Begin()) == []
    assert life.take(StopWanted()) == [Over(None, "")]


# -- whatever happens --------------------------------------------------------------------------------------------------


class World:
    """Does what the rule says, notes it, and says what may happen next."""

    def __init__(self, policies: dict[str, RestartPolicy]) -> None:
        self.policies = policies
        self.names = list(policies)
        self.life = SupervisorLife(policies.items())
        self.now = 0.0
        self.running: set[str] = set()
        self.waiting: set[str] = set()
        self.stopping: str | None = None
        self.abandoned: set[str] = set()
        self.first_starts: list[str] = []
        self.stops: list[str] = []
        self.restarts: dict[str, list[float]] = {name: [] for name in policies}
        self.ending = False
        self.over: Over | None = None

    def possible(self) -> list[Event]:
        """What may happen now."""
        events: list[Event] = [StopWanted()]
        events += [Ended(n, f, "oops" if f else "", self.now, 0.5) for n in sorted(self.running) for f in (True, False)]
        events += [RestartDue(n) for n in sorted(self.waiting)]
        if self.stopping is not None:
            events.append(StopOverdue(self.stopping))
        return events

    def happen(self, event: Event, starts: bool) -> None:
        """Let it happen; *starts*: children that are to be started can be."""
        if isinstance(event, Ended):
            self.running.discard(event.child)
            if self.stopping == event.child:
                self.stopping = None
        elif isinstance(event, RestartDue):
            self.waiting.discard(event.child)
        elif isinstance(event, StopWanted):
            self.ending = True
        effects = self.life.take(event)
        for effect in effects:
            self.do(effect, event, starts)

    def do(self, effect: Effect, event: Event, starts: bool) -> None:
        assert self.over is None, "nothing follows Over"
        match effect:
            case StartChild(name):
                self.start(name, starts)
            case RestartLater(name, delay):
                self.restart_later(name, delay, event)
            case CancelRestart(name):
                self.ending = True
                self.waiting.remove(name)
            case StopChild(name):
                self.ending = True
                assert self.stopping is None
                assert name == max(self.running, key=self.names.index), "right to left"
                self.stopping = name
                self.stops.append(name)
            case Abandon(name):
                assert name == self.stopping
                self.stopping = None
                self.running.remove(name)
                self.abandoned.add(name)
            case Over():
                assert not self.running
                assert not self.waiting
                self.over = effect

    def start(self, name: str, starts: bool) -> None:
        assert not self.ending
        assert name not in self.running | self.waiting
        if name not in self.first_starts:
            self.first_starts.append(name)
        if starts:
            self.running.add(name)
            self.happen(Started(name, self.now), starts)
        else:
            self.happen(Ended(name, True, "can not start", self.now, 0.5), starts)

    def restart_later(self, name: str, delay: float, event: Event) -> None:
        policy = self.policies[name]
        assert not self.ending
        assert isinstance(event, Ended)
        assert policy.wants(failed=event.failed)
        assert policy.delay * (1 - policy.jitter) <= delay <= policy.max_delay
        assert name not in self.running | self.waiting
        self.waiting.add(name)
        self.restarts[name].append(self.now)
        recent = [at for at in self.restarts[name] if self.now - at < policy.period]
        assert len(recent) <= policy.intensity


@given(st.lists(policies, max_size=4), st.data())
def test_whatever_happens_the_rule_keeps_its_promises(chosen: list[RestartPolicy], data: st.DataObject) -> None:
    world = World({f"child {n}": policy for n, policy in enumerate(chosen)})
    world.happen(Begin(), data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(0, 40))):
        if world.over is not None:
            break
        world.now += data.draw(st.sampled_from([0.0, 0.01, 1.0, 20.0]))
        world.happen(data.draw(st.sampled_from(world.possible())), data.draw(st.booleans()))

    assert world.first_starts == world.names[: len(world.first_starts)]
    if world.over is None:
        assert world.first_starts == world.names or world.ending
    elif world.over.failed is None:
        assert world.over == Over(None, "")
    else:
        assert world.policies[world.over.failed].restart != "temporary"


@given(st.lists(policies, min_size=1, max_size=4), st.booleans())
def test_a_stop_always_comes_to_its_end(chosen: list[RestartPolicy], starts: bool) -> None:
    world = World({f"child {n}": policy for n, policy in enumerate(chosen)})
    world.happen(Begin(), starts)
    if world.over is None:
        world.happen(StopWanted(), starts)
    for _ in chosen:
        if world.stopping is not None:
            world.happen(stopped(world.stopping), starts)

    assert world.over is not None
    assert world.stops == sorted(world.stops, key=world.names.index, reverse=True)
