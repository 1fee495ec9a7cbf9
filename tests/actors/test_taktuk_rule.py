"""The rule of a tree: what TakTuk tells, in any order, and what follows from it for hosts and commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors._taktuk_rule import (
    Effect,
    GatewayGone,
    NodeFailed,
    NodeLost,
    NodeSaid,
    RunBegun,
    RunFailed,
    RunOver,
    RunSaid,
    TreeRule,
)
from regisseur.protocols.taktuk import (
    Connected,
    ConnectorSaid,
    EngineSaid,
    Event,
    EventReader,
    Exited,
    Output,
    Started,
    State,
    StateChanged,
)

STREAMS = Path(__file__).parents[1] / "protocols" / "taktuk_streams"
HOSTS = ["h1", "h2", "h3"]


def connected(*ranks: int, count: int | None = None, via: str = "") -> list[Event]:
    number = len(ranks) if count is None else count
    return [Connected(rank, HOSTS[rank - 1], f"{via}{rank}", number) for rank in ranks]


def failed(host: str, by: str = "root", state: State = State.CONNECTION_FAILED) -> Event:
    return StateChanged(state, -1, by, host, 0)


def lost(host: str, *given: str) -> Event:
    return StateChanged(State.CONNECTION_LOST, 0, "root", host, 0, given)


def standing() -> TreeRule:
    rule = TreeRule(HOSTS)
    assert rule.take(connected(1, 2, 3)) == []
    assert rule.stands
    return rule


def test_it_stands_when_as_many_nodes_are_there_as_were_counted() -> None:
    rule = TreeRule(HOSTS)

    assert rule.take(connected(0, 1, 2, count=3)) == []
    assert not rule.stands
    assert rule.take(connected(3, count=3)) == []
    assert (rule.stands, rule.ranks) == (True, {"h1": 1, "h2": 2, "h3": 3})


def test_ranks_follow_positions_and_not_the_order_of_hosts() -> None:
    rule = TreeRule(HOSTS)
    rule.take([Connected(1, "h3", "1.3", 3), Connected(2, "h1", "1.1", 3), Connected(3, "h2", "1.2", 3)])

    assert rule.ranks == {"h3": 1, "h1": 2, "h2": 3}


def test_hosts_that_fail_do_so_with_what_their_connector_said_and_the_tree_stands_without_them() -> None:
    rule = TreeRule(HOSTS)
    events: list[Event] = [
        ConnectorSaid("root", "h2", b"refused\n"),
        ConnectorSaid("h1", "h3", b"denied"),
        failed("h2"),
    ]

    assert rule.take(events) == [NodeFailed("h2", "refused", by_node=False)]
    assert rule.take([failed("h3", by="h1")]) == [NodeFailed("h3", "denied", by_node=True)]
    assert rule.take(connected(1)) == []
    assert (rule.stands, rule.ranks) == (True, {"h1": 1})


def test_a_host_of_which_nothing_was_told_has_failed_when_the_others_are_counted() -> None:
    rule = TreeRule(HOSTS)

    assert rule.take(connected(1, 2)) == [NodeFailed("h3", "", by_node=False)]


def test_if_no_host_can_be_connected_the_tree_stands_empty() -> None:
    rule = TreeRule(HOSTS)

    assert len(rule.take([failed(host) for host in HOSTS])) == 3
    assert (rule.stands, rule.ranks) == (True, {})


def test_a_command_begins_speaks_and_ends() -> None:
    rule = standing()
    rule.sent(7, 2, "p")
    events: list[Event] = [
        Started(2, 99, b": 7;exec"),
        Output(2, 99, False, b"a\n"),
        Output(2, 99, True, b"e"),
        Output(2, 99, False, b"b\n"),
        Exited(2, 99, 256, 1.0, 2.0),
    ]

    assert rule.take(events) == [RunBegun("p"), RunSaid("p", 1, b"a\nb\n"), RunSaid("p", 2, b"e"), RunOver("p", 256)]
    assert not rule.is_used


def test_the_same_pid_on_another_node_is_another_command() -> None:
    rule = standing()
    rule.sent(7, 1, "p1")
    rule.sent(7, 2, "p2")
    rule.take([Started(1, 99, b": 7;"), Started(2, 99, b": 7;")])

    assert rule.take([Exited(2, 99, 0, None, None)]) == [RunOver("p2", 0)]
    assert rule.take([Output(1, 99, False, b"x")]) == [RunSaid("p1", 1, b"x")]


def test_what_supervisors_say_is_theirs() -> None:
    rule = standing()

    assert rule.take([Started(1, 5, b"exec /bin/sh"), Output(1, 5, False, b"ready\n")]) == [NodeSaid(1, b"ready\n")]


def test_a_lost_node_names_what_had_begun_and_what_had_not_and_takes_those_behind_it_along() -> None:
    rule = standing()
    for number, rank in ((7, 1), (8, 1), (7, 2)):
        rule.sent(number, rank, f"p{number}-{rank}")
    rule.take([Started(1, 99, b": 7;")])

    assert rule.take([lost("h1", "h2")]) == [
        NodeLost("h1", "", "h1", ["p8-1"], ["p7-1"]),
        NodeLost("h2", "", "h1", ["p7-2"], []),
    ]
    assert rule.ranks == {"h3": 3}
    assert rule.take([Exited(1, 99, 0, None, None), Output(1, 99, False, b"late")]) == []


def test_a_command_that_a_node_can_not_start_has_failed() -> None:
    rule = standing()
    rule.sent(7, 1, "p")

    assert rule.take([StateChanged(State.COMMAND_FAILED, 1, "h1", "", 0, (), b": 7;x")]) == [RunFailed("p")]


def test_without_its_gateway_there_is_no_tree() -> None:
    rule = TreeRule(HOSTS, "frontend")

    assert rule.take([failed("frontend")]) == [GatewayGone("", was_there=False)]
    assert rule.take([lost("frontend")]) == [GatewayGone("", was_there=True)]


def test_a_real_stream_becomes_nodes_a_failure_and_ends() -> None:
    rule = TreeRule(["n0", "n1", "bad", "n3", "n4"])
    events = EventReader().feed((STREAMS / "commands.bin").read_bytes())

    effects = rule.take(events)

    (failure,) = [effect for effect in effects if isinstance(effect, NodeFailed)]
    assert (failure.host, "refused" in failure.said) == ("bad", True)
    assert sorted(rule.ranks) == ["n0", "n1", "n3", "n4"]


_HOST = st.sampled_from([*HOSTS, "other", ""])
_RANK = st.integers(-1, 4)
_PID = st.integers(1, 3)
_COMMAND = st.sampled_from([b": 1;x", b": 2;x", b"exec", b""])
_EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(Connected, _RANK, _HOST, st.sampled_from(["0", "1", "2", "3", "1.2", "9", "x"]), st.integers(0, 4)),
    st.builds(Started, _RANK, _PID, _COMMAND),
    st.builds(Output, _RANK, _PID, st.booleans(), st.binary(min_size=1, max_size=3)),
    st.builds(Exited, _RANK, _PID, st.integers(0, 65535), st.none(), st.none()),
    st.builds(StateChanged, st.sampled_from(State), _RANK, _HOST, _HOST, _PID, st.lists(_HOST).map(tuple), _COMMAND),
    st.builds(ConnectorSaid, _HOST, _HOST, st.binary(max_size=3)),
    st.builds(EngineSaid, _HOST, st.just("WARNING"), st.binary(max_size=3)),
)


def ends(effects: Sequence[Effect]) -> Counter[str]:
    """How often each process was told its end."""
    found: Counter[str] = Counter()
    for effect in effects:
        if isinstance(effect, RunOver | RunFailed):
            found[effect.process] += 1
        elif isinstance(effect, NodeLost):
            found.update([*effect.unbegun, *effect.begun])
    return found


@given(st.lists(st.lists(_EVENT, max_size=8), max_size=12))
def test_whatever_comes_each_command_ends_once_and_each_host_is_one_thing(batches: list[list[Event]]) -> None:
    rule = TreeRule(HOSTS)
    effects: list[Effect] = []
    sent: set[str] = set()
    for batch in batches:
        effects += rule.take(batch)
        for host, rank in rule.ranks.items():
            for number in (1, 2):
                if rule.stands and (process := f"{number} {host}") not in sent:
                    rule.sent(number, rank, process)
                    sent.add(process)

    assert all(count == 1 for count in ends(effects).values())
    assert ends(effects).keys() <= sent
    gone = [effect.host for effect in effects if isinstance(effect, NodeFailed | NodeLost)]
    assert len(set(gone)) == len(gone)
    assert not rule.ranks.keys() & set(gone)
    told = {effect.process for effect in effects if isinstance(effect, RunBegun | RunSaid)}
    assert told <= sent
    for host in HOSTS:
        rule.take([lost(host)])
    assert not rule.is_used
