"""The rules of a chain, with hosts that come late, die, hang, are slow, or can not reach each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.chain import Chain, is_private
from regisseur.protocols.chain_events import (
    HEAD,
    Completed,
    Dismiss,
    Effect,
    Ended,
    Feed,
    Follow,
    GiveUp,
    Listening,
    LostUpstream,
    Placed,
    RanDry,
    Remark,
    Reported,
    Ticked,
    Took,
)

MEGA = 1 << 20
SIZE = 20


class Host:
    """One hop of a `World`."""

    def __init__(self) -> None:
        self.ready = self.dead = self.hangs = self.over = self.fed = False
        self.upstreams: list[int] = []
        self.upstream: int | None = None
        self.blocks = 0


class World:
    """Hosts that do as the rules say, a block at a time, as long as they live. Checks each effect."""

    def __init__(self, count: int, apart: set[tuple[int, int]], head: bool, feeds: bool, believed: int = SIZE) -> None:
        self.chain = Chain()
        self.hosts = [Host() for _ in range(count)]
        self.numbers = [self.chain.enter(rank, believed) for rank in range(count)]
        self.apart = apart
        self.head = head
        self.feeds = feeds
        self.now = 0.0
        self.given_up: dict[int, str] = {}

    def take(self, event: Any) -> None:
        for effect in self.chain.take(event):
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        host = self.hosts[effect.hop]
        if isinstance(effect, Follow):
            self.check(effect)
            host.upstreams, host.upstream, host.fed = list(effect.upstreams), None, False
        elif isinstance(effect, Feed):
            host.upstreams, host.upstream, host.fed = [], None, self.feeds
            if not self.feeds and not host.dead:
                self.take(RanDry(effect.hop))
        elif isinstance(effect, Dismiss):
            assert host.blocks == SIZE or host.dead
            host.over = True
        elif isinstance(effect, GiveUp):
            self.given_up[effect.hop] = effect.reason
            host.over = True

    def check(self, effect: Follow) -> None:
        """Only who is there, and has an earlier place; the nearest first. In a trial the head comes before them."""
        hops = self.chain.hops
        places = [hops[upstream].place for upstream in effect.upstreams if upstream != HEAD]
        assert places == sorted(places, reverse=True)
        assert all(place < hops[effect.hop].place for place in places)
        assert not any(hops[upstream].gone for upstream in effect.upstreams if upstream != HEAD)
        assert HEAD not in effect.upstreams[1:-1]
        assert effect.upstreams.count(HEAD) <= 1
        assert effect.upstreams

    def make_ready(self, index: int) -> None:
        if not self.hosts[index].ready and not self.hosts[index].dead:
            self.hosts[index].ready = True
            self.take(Listening(index, self.now, head=self.head))

    def die(self, index: int, hangs: bool) -> None:
        self.hosts[index].dead, self.hosts[index].hangs = True, hangs
        if not hangs or not self.hosts[index].ready:
            self.take(Ended(index))

    def step(self, index: int) -> None:
        host = self.hosts[index]
        if host.dead or not host.ready or host.over or host.blocks == SIZE:
            return
        if host.fed:
            host.blocks += 1
            if host.blocks % 7 == 0:  # the end of a segment
                host.fed = False
                self.take(RanDry(index))
        elif host.upstream is None:
            self.connect(index, host)
        elif not self.reaches(index, host.upstream):
            lost, host.upstream = host.upstream, None
            self.take(LostUpstream(index, lost))
        elif host.upstream == HEAD or self.hosts[host.upstream].blocks > host.blocks:
            host.blocks += 1
        if host.blocks == SIZE:
            self.take(Completed(index))
            self.take(Placed(index))

    def connect(self, index: int, host: Host) -> None:
        while host.upstreams:
            upstream = host.upstreams.pop(0)
            if self.reaches(index, upstream):
                host.upstream = upstream
                self.take(Took(index, upstream))
                return
            self.take(LostUpstream(index, upstream))
        if self.chain.hops[index].lives:
            self.take(RanDry(index))

    def reaches(self, index: int, upstream: int) -> bool:
        if (index, upstream) in self.apart:
            return False
        return upstream == HEAD or not (self.hosts[upstream].dead or self.hosts[upstream].over)

    def tick(self) -> None:
        self.now += 0.5
        for index, host in enumerate(self.hosts):
            if host.ready and not host.dead and not host.over:
                self.take(Reported(index, host.blocks, self.now))
        self.take(Ticked(self.now))


COUNT = 6
deeds = st.lists(
    st.tuples(st.sampled_from(["ready", "step", "step", "step", "die", "hang", "tick"]), st.integers(0, COUNT - 1)),
    max_size=150,
)
pairs = st.sets(st.tuples(st.integers(0, COUNT - 1), st.integers(HEAD, COUNT - 1)), max_size=20)


@given(deeds=deeds, apart=pairs, head=st.booleans(), much=st.booleans())
def test_whatever_happens_each_host_gets_all_or_is_given_up_and_none_waits_for_ever(
    deeds: list[tuple[str, int]], apart: set[tuple[int, int]], head: bool, much: bool
) -> None:
    world = World(COUNT, apart, head, feeds=True, believed=1000 * SIZE if much else SIZE)  # if so, there are trials
    for deed, index in deeds:
        if deed == "ready":
            world.make_ready(index)
        elif deed == "step":
            world.step(index)
        elif deed == "tick":
            world.tick()
        elif not world.hosts[index].dead:
            world.die(index, hangs=deed == "hang")
    for index in range(COUNT):
        world.make_ready(index)
    for _ in range(40 * SIZE):
        for index in range(COUNT):
            world.step(index)
        world.tick()

    assert all(host.over or (host.dead and not host.hangs) or (host.dead and not host.ready) for host in world.hosts)
    assert all(host.blocks == SIZE for host in world.hosts if not host.dead)
    assert all(world.hosts[index].hangs for index in world.given_up)


def test_who_can_get_nothing_from_anywhere_is_given_up() -> None:
    world = World(1, {(0, HEAD)}, head=True, feeds=False)
    world.make_ready(0)
    for _ in range(10):
        world.step(0)

    assert list(world.given_up) == [0]
    assert "neither from another host nor over its connection" in world.given_up[0]


def started(count: int) -> Chain:
    """A chain of so many, all of which take from the one before them."""
    chain = Chain()
    for rank in range(count):
        chain.enter(rank, 200 * MEGA)
    for hop in range(count):
        chain.take(Listening(hop, 0.0))
    for hop in range(count):
        chain.take(Took(hop, hop - 1))
    return chain


def grow(chain: Chain, rates: list[float], seconds: range) -> list[Effect]:
    """Let each hop report as many megabytes per second."""
    effects = []
    for at in seconds:
        for hop, rate in enumerate(rates):
            chain.take(Reported(hop, int(at * rate * MEGA), float(at)))
        effects += chain.take(Ticked(float(at)))
    return effects


def test_hosts_that_are_ready_together_stand_in_the_order_of_the_action_and_others_behind_them() -> None:
    chain = Chain()
    for rank in range(4):
        chain.enter(rank, 200 * MEGA)
    chain.take(Listening(2, 0.0))
    chain.take(Listening(1, 0.0))

    assert chain.take(Ticked(0.1)) == [Follow(1, (HEAD,)), Follow(2, (1, HEAD))]
    chain.take(Listening(0, 0.2))
    assert chain.take(Listening(3, 0.2, head=False)) == [Follow(0, (2, 1, HEAD)), Follow(3, (0, 2, 1))]


def test_a_leaf_waits_for_a_hop_and_takes_from_it_and_nobody_takes_from_a_leaf() -> None:
    chain = Chain()
    chain.enter(0, SIZE, leaf=True)
    chain.enter(1, SIZE)
    chain.enter(2, SIZE)
    chain.take(Listening(0, 0.0, head=False))

    assert chain.take(Ticked(0.1)) == []
    chain.take(Listening(1, 0.2))
    assert chain.take(Ticked(0.3)) == [Follow(1, (HEAD,)), Follow(0, (1,))]
    assert chain.take(Listening(2, 0.4)) == [Follow(2, (1, HEAD))]


def test_one_that_is_done_stays_for_those_that_are_not_ready() -> None:
    chain = Chain()
    chain.enter(0, SIZE)
    chain.enter(1, SIZE)
    chain.take(Listening(0, 0.0))
    chain.take(Ticked(0.1))
    chain.take(Completed(0))

    assert chain.take(Placed(0)) == []
    assert chain.take(Ended(1)) == [Dismiss(0)]


def test_without_a_head_the_first_is_fed_and_the_others_take_from_it() -> None:
    chain = Chain()
    chain.enter(0, SIZE)
    chain.enter(1, SIZE)
    chain.take(Listening(0, 0.0, head=False))

    assert chain.take(Listening(1, 0.0, head=False)) == [Feed(0), Follow(1, (0,))]


def test_nobody_waits_for_a_host_that_receives_slowly() -> None:
    chain = started(4)

    effects = grow(chain, [100, 20, 20, 20], range(1, 4))
    chain.take(Took(2, 0))
    effects += grow(chain, [100, 20, 80, 80], range(4, 20))

    assert effects == [Remark(1, "it receives slowly: no other host waits for it"), Follow(2, (0, HEAD))]


def test_a_host_that_sends_slowly_is_left_aside_when_the_next_is_slow_too() -> None:
    chain = started(5)
    grow(chain, [100, 100, 20, 20, 20], range(1, 4))
    chain.take(Took(3, 1))

    effects = grow(chain, [100, 100, 15, 15, 15], range(4, 8))

    assert effects == [
        Remark(1, "it sends slowly: it was left aside"),
        Follow(2, (0, HEAD)),
        Follow(3, (2, 0, HEAD)),
    ]


def test_the_last_of_the_chain_may_be_slow() -> None:
    assert grow(started(3), [100, 100, 10], range(1, 20)) == []


def test_hosts_that_are_equally_slow_stay_where_they_are() -> None:
    assert grow(started(4), [5, 5, 5, 5], range(1, 40)) == []


TRIAL = Follow(1, (HEAD, 0))
BACK = Follow(1, (0, HEAD))


def test_where_minutes_are_left_the_second_takes_from_the_head_to_see_whether_that_is_slow() -> None:
    chain = started(4)

    assert grow(chain, [2, 2, 2, 2], range(1, 4)) == [TRIAL]
    chain.take(Took(1, HEAD))
    assert grow(chain, [1.8, 1.8, 1.8, 1.8], range(4, 20)) == [BACK]  # together hardly more than one alone
    chain.take(Took(1, 0))
    assert grow(chain, [2, 2, 2, 2], range(20, 60)) == []


def test_a_first_host_that_is_slower_than_the_head_is_left_aside() -> None:
    chain = started(4)
    chain.take(Took(2, 0))  # for whatever reason
    effects = grow(chain, [2, 2, 2, 2], range(1, 4))
    chain.take(Took(1, HEAD))
    effects += grow(chain, [2, 50, 2, 2], range(4, 8))

    assert effects == [
        TRIAL,
        Remark(0, "it receives slowly: no other host waits for it"),
        Follow(2, (1, HEAD)),
    ]
    chain.take(Took(2, 1))
    assert grow(chain, [2, 50, 50, 50], range(8, 30)) == []


def test_when_the_first_becomes_much_slower_there_is_a_trial_though_less_is_left() -> None:
    chain = started(2)
    assert grow(chain, [4, 4], range(1, 5)) == []  # less than a minute in all

    effects = []
    for at in range(5, 12):
        for hop in (0, 1):
            chain.take(Reported(hop, (16 + at - 4) * MEGA, float(at)))
        effects += chain.take(Ticked(float(at)))

    assert effects[0] == TRIAL


@pytest.mark.parametrize("event", [LostUpstream(1, HEAD), Ended(1)])
def test_a_trial_ends_when_the_head_can_not_be_reached_and_when_who_tries_is_no_more(event: Any) -> None:
    chain = started(3)
    grow(chain, [2, 2, 2], range(1, 4))
    chain.take(event)

    assert grow(chain, [2, 2, 2], range(4, 30)) == []


def test_a_trial_ends_when_nothing_comes_of_it() -> None:
    chain = started(3)
    grow(chain, [2, 2, 2], range(1, 4))

    effects = []
    for at in range(4, 15):
        chain.take(Reported(0, 2 * at * MEGA, float(at)))
        effects += chain.take(Ticked(float(at)))
    assert effects == [BACK]


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_silent_host_is_given_up_sooner_where_another_has_lost_it(is_lost: bool) -> None:
    chain = started(3)
    if is_lost:
        chain.take(LostUpstream(2, 1))
    given_up = []
    for at in range(1, 30):
        for hop in (0, 2):
            chain.take(Reported(hop, at, float(at)))
        given_up += [(at, effect.hop) for effect in chain.take(Ticked(float(at))) if isinstance(effect, GiveUp)]

    assert given_up == [(6 if is_lost else 16, 1)]


def test_a_host_is_dismissed_when_the_one_that_took_from_it_is_given_up() -> None:
    chain = started(2)
    chain.take(Completed(0))
    chain.take(Placed(0))
    chain.take(Reported(0, 1, 20.0))

    assert [type(effect) for effect in chain.take(Ticked(20.0))] == [GiveUp, Dismiss]


def test_a_host_is_dismissed_when_nobody_takes_from_it_any_more() -> None:
    chain = started(2)
    chain.take(Completed(0))

    assert chain.take(Placed(0)) == []
    assert chain.take(Completed(1)) == [Dismiss(0)]
    assert chain.take(Placed(1)) == [Dismiss(1)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("172.16.20.1", True),
        ("127.0.0.1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("93.184.216.34", False),
        ("2606:2800:220:1::", False),
        ("", False),
        ("node-1", False),
    ],
)
def test_private_addresses_are_known(address: str, expected: bool) -> None:
    assert is_private(address) is expected
