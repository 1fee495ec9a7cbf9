"""engine.sweeper: what users of a ParamSweeper and a SweepView see."""

from __future__ import annotations

import datetime
import itertools
import os
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from regisseur.actors.host import Host
from regisseur.actors.journal import Journal, set_journal
from regisseur.engine.sweep import (
    CombinationSet,
    CombinationStatus,
    HashableDict,
    ParamSweeper,
    SweepSpace,
    SweepStoreMissingError,
    SweepView,
    sweep,
)

NAMES = ("sweeps", "remaining", "skipped", "inprogress", "done")


def sets(sweeper: ParamSweeper | SweepView) -> dict[str, list[Any]]:
    return dict(zip(NAMES, map(list, sweeper.stats()), strict=True))


def test_each_combination_is_given_once_in_the_order_of_the_sweeps(tmp_path: Path) -> None:
    combinations = sweep({"b": [2, 1], "a": ["x", "y"]})
    sweeper = ParamSweeper(tmp_path, combinations)

    assert combinations == [sweeper.get_next() for _ in combinations]
    assert sweeper.get_next() is None


def test_states_and_their_counts_follow_what_is_done(tmp_path: Path) -> None:
    sweeper = ParamSweeper(tmp_path / "deep" / "sweeps", range(6))
    first, second, third, _ = [sweeper.get_next() for _ in range(4)]
    sweeper.done(first)
    sweeper.skip(second)
    sweeper.cancel(third)

    assert sets(sweeper) == {
        "sweeps": [0, 1, 2, 3, 4, 5],
        "remaining": [2, 4, 5],
        "skipped": [1],
        "inprogress": [3],
        "done": [0],
    }
    assert sweeper.counts() == {"total": 6, "remaining": 3, "inprogress": 1, "done": 1, "skipped": 1}
    assert str(sweeper) == "sweeps <6 total, 1 done, 1 skipped, 1 in progress, 3 remaining>"
    assert list(sweeper.get_sweeps()) == [0, 1, 2, 3, 4, 5]
    assert sweeper.get_remaining() == {2, 4, 5}
    assert sweeper.get_done() == {0}
    assert sweeper.get_skipped() == {1}
    assert sweeper.get_inprogress() == {3}


def test_a_name_can_be_given(tmp_path: Path) -> None:
    sweeper = ParamSweeper(str(tmp_path), [1], name="campaign")

    assert str(sweeper).startswith("campaign <1 total")
    assert ("campaign", str(tmp_path)) == (sweeper.name, sweeper.persistence_dir)


def test_a_combination_that_was_given_back_comes_before_later_ones(tmp_path: Path) -> None:
    sweeper = ParamSweeper(tmp_path, range(5))
    sweeper.get_next_batch(4)
    sweeper.cancel(2)
    sweeper.cancel(0)
    sweeper.cancel(2)

    assert sweeper.get_next_batch(9) == [0, 2, 4]


@pytest.mark.parametrize("count", [0, -1])
def test_a_batch_of_nothing_takes_nothing(tmp_path: Path, count: int) -> None:
    sweeper = ParamSweeper(tmp_path, range(5))

    assert sweeper.get_next_batch(count) == []
    assert len(sweeper.get_remaining()) == 5


def test_batches_move_many_combinations_in_one_step(tmp_path: Path) -> None:
    sweeper = ParamSweeper(tmp_path, range(10))

    assert sweeper.get_next_batch(6) == [0, 1, 2, 3, 4, 5]
    sweeper.done_batch([0, 1])
    sweeper.skip_batch(iter([2, 3]))
    sweeper.cancel_batch((4, 5))

    assert sweeper.counts() == {"remaining": 6, "done": 2, "skipped": 2, "inprogress": 0, "total": 10}


class TestFilters:
    def test_a_filter_chooses_and_orders(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(10))

        assert sweeper.get_next(lambda remaining: sorted(remaining, reverse=True)) == 9
        assert sweeper.get_next_batch(3, lambda remaining: (each for each in remaining if each % 2)) == [1, 3, 5]
        assert sweeper.get_next(lambda remaining: remaining - {0, 2}) == 4
        assert sweeper.get_next(filtr=lambda _: []) is None

    def test_a_filter_sees_the_remaining_in_order(self, tmp_path: Path) -> None:
        seen: list[int] = []

        def look(remaining: CombinationSet) -> CombinationSet:
            seen.extend(remaining)
            return remaining

        sweeper = ParamSweeper(tmp_path, [3, 1, 2])
        sweeper.get_next()
        sweeper.get_next(look)

        assert seen == [1, 2]

    def test_a_filter_can_not_give_away_what_is_not_remaining(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        sweeper.done(sweeper.get_next())
        sweeper.skip(1)
        sweeper.get_next()

        assert sweeper.get_next_batch(9, lambda _: [0, 1, 2, 99, 3, 3]) == [3]

    def test_a_filter_may_use_the_sweepers_of_its_directory(self, tmp_path: Path) -> None:
        one, other = ParamSweeper(tmp_path, range(5)), ParamSweeper(tmp_path, range(5))

        def chosen(remaining: CombinationSet) -> CombinationSet:
            one.done(one.get_next())
            other.done(other.get_next())
            return remaining

        assert one.get_next(chosen) == 2
        assert list(other.get_done()) == [0, 1]

    def test_a_filter_that_fails_changes_nothing(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))

        with pytest.raises(ZeroDivisionError):
            sweeper.get_next(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]  # it never returns

        assert len(sweeper.get_remaining()) == 5
        assert sweeper.get_next() == 0

    def test_plain_dicts_in_the_answer_of_a_filter_are_understood(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, sweep({"a": [1, 2]}))

        assert sweeper.get_next(lambda _: [{"a": 2}]) == {"a": 2}


class TestElements:
    PLAIN: tuple[Any, ...] = (
        0,
        False,
        "",
        None,
        (),
        2.5,
        "text",
        b"bytes",
        -7,
        2**80,
        ("a", 1, (None,)),
        frozenset({1, (2, 3)}),
        HashableDict(a=1),
        HashableDict(),
        HashableDict(a=[1, {"b": {2}}], c={"d": (1, [2])}),
        Host("node-1", user="root", port=2222),
        HashableDict(host=Host("node-1"), day=datetime.date(2026, 1, 2), of=(Path("a/b"), Decimal("0.10"))),
    )

    @pytest.mark.parametrize("element", PLAIN)
    def test_any_plain_value_comes_back_as_it_was_given(self, tmp_path: Path, element: Any) -> None:
        ParamSweeper(tmp_path, [element], save_sweeps=True)
        sweeper = ParamSweeper(tmp_path)
        taken = sweeper.get_next_batch(1)
        sweeper.done(element)

        assert [element] == taken
        assert [type(element)] == [type(each) for each in taken]
        assert [element] == list(ParamSweeper(tmp_path).get_done())

    def test_false_elements_do_not_end_the_sweep(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, [0, "", HashableDict(), None])

        assert [sweeper.get_next_batch(1)[0] for _ in range(4)] == [0, "", {}, None]
        assert sweeper.get_next_batch(1) == []

    def test_plain_dicts_are_taken_for_hashable_ones(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, [{"a": 1}, ({"b": 2}, 3)])
        first, second = sweeper.get_next_batch(2)
        sweeper.done_batch([{"a": 1}, ({"b": 2}, 3)])

        assert (HashableDict, HashableDict) == (type(first), type(second[0]))
        assert {name: count for name, count in sweeper.counts().items() if count and name == "done"} == {"done": 2}
        assert {"a": 1} in sweeper.get_done()

    @pytest.mark.parametrize(
        ("element", "named"),
        [
            ([1], r"\[1\]"),
            (object, "builtins.type"),
            ({"a": {"b": object()}}, "builtins.object"),
            ((1, [2]), r"\[2\]"),
            ({"a": float("nan")}, "NaN"),
            ({"a": 1j}, "builtins.complex"),
        ],
    )
    def test_what_is_not_plain_is_refused_by_name_and_changes_nothing(
        self, tmp_path: Path, element: Any, named: str
    ) -> None:
        sweeper = ParamSweeper(tmp_path, [1])
        log = (tmp_path / "sweep.log").read_bytes()

        with pytest.raises(TypeError, match=named):
            ParamSweeper(tmp_path, [1, element], save_sweeps=True)
        for step in (sweeper.done, sweeper.skip, sweeper.cancel):
            with pytest.raises(TypeError, match=named):
                step(element)

        assert log == (tmp_path / "sweep.log").read_bytes()

    def test_levels_of_numpy_are_equal_to_plain_ones_in_the_next_run(self, tmp_path: Path) -> None:
        numpy = pytest.importorskip("numpy")
        first = ParamSweeper(tmp_path, sweep({"load": numpy.linspace(0, 1, 3), "n": numpy.arange(2)}))
        first.done_batch(first.get_next_batch(4))

        assert list(ParamSweeper(tmp_path, sweep({"load": [0.0, 0.5, 1.0], "n": [0, 1]})).get_remaining()) == [
            {"load": 1.0, "n": 0},
            {"load": 1.0, "n": 1},
        ]

    def test_sets_are_sorted_and_other_iterables_keep_their_order(self, tmp_path: Path) -> None:
        mixed: set[Any] = {
            "b",
            "a",
            10,
            9,
            2.5,
            None,
            (2,),
            (1, "x"),
            HashableDict(k=2),
            HashableDict(k=1),
            frozenset({3}),
        }

        assert [None, 2.5, 9, 10, "a", "b", (1, "x"), (2,), frozenset({3}), {"k": 1}, {"k": 2}] == list(
            ParamSweeper(tmp_path, mixed).get_sweeps()
        )
        assert list(ParamSweeper(tmp_path, (each for each in (3, 1, 2, 3, 1))).get_sweeps()) == [3, 1, 2]

    def test_a_space_can_be_given_as_the_sweeps(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, SweepSpace({"a": range(1000)})[::100])

        assert sweeper.get_next() == {"a": 0}
        assert len(sweeper.get_sweeps()) == 10

    def test_what_the_caller_does_to_a_combination_does_not_reach_the_sweeper(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, sweep({"a": [1, 2]}))
        taken = sweeper.get_next()
        taken["result"] = 5
        sweeper.done({"a": 1})

        assert list(sweeper.get_done()) == [{"a": 1}]
        sweeper.get_sweeps().clear()
        assert len(sweeper.get_sweeps()) == 2


class TestSkipAndReset:
    @pytest.mark.parametrize("before", ["remaining", "inprogress", "done", "skipped"])
    def test_a_combination_in_any_state_can_be_skipped_and_reset_forgets_it(self, tmp_path: Path, before: str) -> None:
        sweeper = ParamSweeper(tmp_path, ["it"])
        if before != "remaining":
            sweeper.get_next()
        if before in ("done", "skipped"):
            (sweeper.done if before == "done" else sweeper.skip)("it")
        sweeper.skip("it")

        assert sets(sweeper) == {"sweeps": ["it"], "remaining": [], "skipped": ["it"], "inprogress": [], "done": []}
        assert sweeper.get_next() is None
        assert list(ParamSweeper(tmp_path, ["it"]).get_skipped()) == ["it"]

        sweeper.reset()

        assert sets(sweeper)["done" if before == "done" else "remaining"] == ["it"]

    def test_reset_gives_back_what_is_in_progress_only_if_told_so(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(3))
        sweeper.done(sweeper.get_next())
        sweeper.get_next()

        sweeper.reset()
        assert list(sweeper.get_inprogress()) == [1]

        sweeper.reset(reset_inprogress=True)
        assert sets(sweeper) == {"sweeps": [0, 1, 2], "remaining": [1, 2], "skipped": [], "inprogress": [], "done": [0]}
        assert sweeper.get_next() == 1

    def test_a_skipped_combination_can_be_given_back_or_done(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(3))
        sweeper.skip_batch([0, 1])
        sweeper.cancel(0)
        sweeper.done(1)

        assert (list(sweeper.get_remaining()), list(sweeper.get_done())) == ([0, 2], [1])

    def test_what_is_done_can_not_be_cancelled(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(2))
        sweeper.done(sweeper.get_next())
        sweeper.cancel(0)

        assert list(sweeper.get_done()) == [0]

    def test_what_was_done_and_skipped_is_done_again_when_that_is_cancelled(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(2))
        sweeper.done(0)
        sweeper.skip(0)
        sweeper.cancel(0)

        assert list(sweeper.get_done()) == [0]


def test_reasons_are_kept_with_the_state_until_the_next_one(tmp_path: Path) -> None:
    sweeper = ParamSweeper(tmp_path, range(5))
    sweeper.get_next_batch(4)
    sweeper.skip(0, reason="too hot")
    sweeper.cancel(1, reason="node lost")
    sweeper.done(2, reason="by hand")

    def reasons(source: ParamSweeper | SweepView) -> dict[Any, tuple[str, str | None]]:
        return {each.combination: (each.state, each.reason) for each in source.statuses()}

    expected = {
        0: ("skipped", "too hot"),
        1: ("remaining", "node lost"),
        2: ("done", "by hand"),
        3: ("inprogress", None),
        4: ("remaining", None),
    }
    assert expected == reasons(sweeper)
    assert expected == reasons(ParamSweeper(tmp_path, range(5)))
    assert {key: value for key, value in expected.items() if key != 4} == reasons(SweepView(tmp_path))
    sweeper.reset()
    assert reasons(sweeper)[0] == ("remaining", None)
    sweeper.skip(2)
    assert reasons(sweeper)[2] == ("skipped", None)


def test_a_status_names_the_owner_and_the_time_of_a_claim(tmp_path: Path) -> None:
    sweeper = ParamSweeper(tmp_path, range(2))
    before = time.time()
    sweeper.get_next()
    claimed, free = sweeper.statuses()

    assert CombinationStatus(1, "remaining", None, None, None) == free
    assert claimed.owner is not None
    assert f"process {os.getpid()} on " in claimed.owner
    assert claimed.since is not None
    assert before <= claimed.since <= time.time()


class TestSweeps:
    def test_saved_sweeps_are_used_when_none_are_given(self, tmp_path: Path) -> None:
        ParamSweeper(tmp_path, [3, 1, 2], save_sweeps=True)
        ParamSweeper(tmp_path, [7, 8])

        assert list(ParamSweeper(tmp_path).get_sweeps()) == [3, 1, 2]
        assert list(ParamSweeper(tmp_path, []).get_sweeps()) == [3, 1, 2]

    def test_without_saved_sweeps_there_are_none(self, tmp_path: Path) -> None:
        ParamSweeper(tmp_path, [3, 1, 2])

        assert len(ParamSweeper(tmp_path).get_sweeps()) == 0

    def test_saving_the_same_sweeps_again_writes_nothing(self, tmp_path: Path) -> None:
        ParamSweeper(tmp_path, [3, 1, 2], save_sweeps=True)
        log = (tmp_path / "sweep.log").read_bytes()
        ParamSweeper(tmp_path, [3, 1, 2], save_sweeps=True)

        assert log == (tmp_path / "sweep.log").read_bytes()
        ParamSweeper(tmp_path, [3, 2, 1], save_sweeps=True)
        assert list(ParamSweeper(tmp_path).get_sweeps()) == [3, 2, 1]

    def test_what_is_outside_of_the_sweeps_is_remembered(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(4))
        sweeper.done(sweeper.get_next())
        sweeper.get_next()
        sweeper.done("never heard of")
        sweeper.skip("nor of this")
        sweeper.cancel("nor that")

        sweeper.set_sweeps(["other"])
        assert sets(sweeper) == {
            "sweeps": ["other"],
            "remaining": ["other"],
            "skipped": [],
            "inprogress": [],
            "done": [],
        }

        sweeper.set_sweeps(["nor that", "nor of this", 1, "never heard of", 0])
        assert sets(sweeper) == {
            "sweeps": ["nor that", "nor of this", 1, "never heard of", 0],
            "remaining": ["nor that"],
            "skipped": ["nor of this"],
            "inprogress": [1],
            "done": ["never heard of", 0],
        }

    def test_sweepers_with_different_sweeps_share_what_they_have_in_common(self, tmp_path: Path) -> None:
        one, other = ParamSweeper(tmp_path, [1, 2, 3]), ParamSweeper(tmp_path, [3, 4])

        assert one.get_next_batch(3) == [1, 2, 3]
        assert other.get_next_batch(3) == [4]

    def test_equal_numbers_are_one_combination(self, tmp_path: Path) -> None:
        ParamSweeper(tmp_path, sweep({"a": [1.0, True, 0]})).done({"a": 1})

        assert list(ParamSweeper(tmp_path, sweep({"a": [1, 2, False]})).get_remaining()) == [{"a": 2}, {"a": 0}]


def test_sweepers_in_one_directory_see_each_other_at_once(tmp_path: Path) -> None:
    one, other = ParamSweeper(tmp_path, range(4)), ParamSweeper(tmp_path, range(4))

    assert [one.get_next(), other.get_next(), one.get_next()] == [0, 1, 2]
    one.done(1)
    assert (list(other.get_done()), list(other.get_inprogress()), list(other.get_remaining())) == ([1], [0, 2], [3])
    other.cancel(0)
    one.update()
    one.full_update()
    assert list(one.get_remaining()) == [0, 3]


def test_threads_of_one_sweeper_and_of_several_get_each_combination_once(tmp_path: Path) -> None:
    count = 400
    first, second = ParamSweeper(tmp_path, range(count)), ParamSweeper(tmp_path, range(count))
    taken: list[list[int]] = [[] for _ in range(6)]

    def work(number: int) -> None:
        sweeper = (first, second)[number % 2]
        while (each := sweeper.get_next()) is not None:
            taken[number].append(each)
            if each % 3:
                sweeper.done(each)
            else:
                sweeper.skip(each)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(count)) == sorted(itertools.chain(*taken))
    assert second.counts() == {"total": 400, "remaining": 0, "inprogress": 0, "done": 266, "skipped": 134}


class TestView:
    def test_a_view_follows_sweepers(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, [3, 1, 2], save_sweeps=True)
        view = SweepView(tmp_path)
        sweeper.done(sweeper.get_next())

        assert sets(view) == {"sweeps": [3, 1, 2], "remaining": [1, 2], "skipped": [], "inprogress": [], "done": [3]}
        sweeper.set_sweeps([1, 5], save_sweeps=True)
        assert list(view.get_sweeps()) == [1, 5]
        assert str(view) == f"{tmp_path.name} <2 total, 0 done, 0 skipped, 0 in progress, 2 remaining>"

    def test_without_saved_sweeps_a_view_is_about_all_that_was_ever_touched(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(100))
        view = SweepView(tmp_path)
        sweeper.get_next_batch(3)
        sweeper.done(1)
        sweeper.cancel(2)

        assert sets(view) == {"sweeps": [0, 1, 2], "remaining": [2], "skipped": [], "inprogress": [0], "done": [1]}

    @pytest.mark.parametrize("missing", ["", "nowhere"])
    def test_a_directory_without_a_store_is_refused_by_a_view(self, tmp_path: Path, missing: str) -> None:
        with pytest.raises(SweepStoreMissingError, match="no sweeper's store"):
            SweepView(tmp_path / missing)

        assert list(tmp_path.iterdir()) == []


class TestJournal:
    def test_each_step_is_told_to_the_journal(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            previous = set_journal(journal)
            try:
                sweeper = ParamSweeper(tmp_path / "sweeps", sweep({"a": [1, (2, 3)], "b": [frozenset({4})]}))
                sweeper.done(sweeper.get_next())
                sweeper.skip({"a": (2, 3), "b": frozenset({4})}, "too hot")
                sweeper.cancel_batch(list(sweeper.get_sweeps()), "again")
                sweeper.reset()
            finally:
                set_journal(previous)
        events = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]

        assert [(each["event"], each.get("combination", {}).get("a"), each.get("reason")) for each in events] == [
            ("sweeper.opened", None, None),
            ("combination.claimed", 1, None),
            ("combination.done", 1, None),
            ("combination.skipped", [2, 3], "too hot"),
            ("combination.cancelled", [2, 3], "again"),
            ("sweeper.reset", None, None),
        ]
        assert {"sweeps"} == {each["sweeper"] for each in events}
        assert (events[0]["total"], events[0]["remaining"], events[0]["done"]) == (2, 2, 0)


class TestCombinationSet:
    def test_it_is_an_ordered_set_with_the_ways_of_a_set(self) -> None:
        mine = CombinationSet([3, 1, 2, 3])

        assert list(mine) == [3, 1, 2]
        assert mine == {1, 2, 3}
        assert {1, 2, 3} == mine
        assert list(mine - {1}) == [3, 2]
        assert list(mine | {9}) == [3, 1, 2, 9]
        assert list(mine & {1, 7}) == [1]
        assert {4} == {1, 2, 3, 4} - mine
        assert mine <= {1, 2, 3, 4}
        assert mine.issubset([1, 2, 3, 4])
        assert mine.issuperset([1])
        assert list(mine.union([5], [6])) == [3, 1, 2, 5, 6]
        assert list(mine.difference([1], [3])) == [2]
        assert list(mine.intersection([1, 2], [1])) == [1]
        assert repr(mine) == "{3, 1, 2}"

    def test_changing_it_is_like_changing_a_set(self) -> None:
        mine = CombinationSet.of_distinct([1, 2])
        copy = mine.copy()
        mine.add(3)
        mine.add(1)
        mine.discard(7)
        mine.remove(2)
        mine.update([4])
        mine.difference_update([1])

        assert list(mine) == [3, 4]
        assert list(copy) == [1, 2]
        assert mine.pop() == 3
        with pytest.raises(KeyError):
            mine.remove(2)

    def test_it_has_all_methods_of_a_set(self) -> None:
        mine = CombinationSet([3, 1, 2])

        assert list(mine.symmetric_difference([2, 9])) == [3, 1, 9]
        mine.symmetric_difference_update(mine)
        assert list(mine) == []
        mine.update([5, 4, 3])
        mine.intersection_update([3, 5], {5, 3, 1})
        assert list(mine) == [5, 3]
        assert {name for name in dir(set) if not name.startswith("_")} <= set(dir(mine))

    def test_plain_dicts_are_found_in_it(self) -> None:
        mine = CombinationSet(sweep({"a": [1, [2]]}))

        assert {"a": [2]} in mine
        assert {"a": 3} not in mine
