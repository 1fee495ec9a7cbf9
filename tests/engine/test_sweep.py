"""engine.sweep: combinations, spaces of them, and the small helpers."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.engine.slug import slugify
from regisseur.engine.sweep import HashableDict, SweepSpace, geom, igeom, sweep, sweep_sample, sweep_stats

HUGE = {f"factor{number}": range(10) for number in range(149)}

LEVELS = st.lists(st.integers(0, 9), max_size=3)
PARAMETERS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(st.sampled_from("abcdef"), LEVELS, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from("ghijkl"), LEVELS | st.dictionaries(st.integers(0, 9), inner, max_size=3), max_size=3
    ),
    max_leaves=6,
)


def by_hand(parameters: dict[Any, Any]) -> list[dict[Any, Any]]:
    """What sweep should give, in the simplest way."""
    choices = []
    for name, levels in parameters.items():
        if isinstance(levels, dict):
            options = [{name: level, **rest} for level, inner in levels.items() for rest in by_hand(inner)]
        else:
            options = [{name: level} for level in levels]
        if options:
            choices.append(options)
    return [
        dict(itertools.chain.from_iterable(part.items() for part in parts)) for parts in itertools.product(*choices)
    ]


def test_the_first_factor_varies_slowest() -> None:
    expected = [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]

    assert expected == sweep({"a": [1, 2], "b": ["x", "y"]})


def test_levels_may_have_factors_of_their_own() -> None:
    parameters = {"a": {1: {"x": [1, 2]}, 2: {"y": {7: {"w": [0]}, 8: {}}}, 3: {}}, "b": [5]}

    expected = [
        {"a": 1, "x": 1, "b": 5},
        {"a": 1, "x": 2, "b": 5},
        {"a": 2, "y": 7, "w": 0, "b": 5},
        {"a": 2, "y": 8, "b": 5},
        {"a": 3, "b": 5},
    ]

    assert expected == sweep(parameters)
    assert list(sweep(parameters)[2]) == ["a", "y", "w", "b"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [{}]),
        ({"a": []}, [{}]),
        ({"a": {}, "b": [1]}, [{"b": 1}]),
        ({"a": {1: {"x": []}}, "b": ()}, [{"a": 1}]),
        ({"a": "xy"}, [{"a": "x"}, {"a": "y"}]),
        ({"a": [1, 1]}, [{"a": 1}, {"a": 1}]),
        ({"a": {1: {"b": [1]}}, "b": [5, 6]}, [{"a": 1, "b": 5}, {"a": 1, "b": 6}]),
    ],
)
def test_borders_of_the_syntax(parameters: Any, expected: Any) -> None:
    assert expected == sweep(parameters)


def test_levels_may_be_one_shot_iterators_and_unhashable() -> None:
    found = sweep({"a": (number for number in range(2)), "b": iter([[1, 2], {"c": {3}}])})

    assert [{"a": 0, "b": [1, 2]}, {"a": 0, "b": {"c": {3}}}, {"a": 1, "b": [1, 2]}, {"a": 1, "b": {"c": {3}}}] == found
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"a": 5}, "factor 'a'"),
        ({"a": {1: None}}, "factor 'a', level 1"),
        ({"a": {1: {"b": {2: [3]}}}}, "factor 'b', level 2"),
        ([("a", [1])], "parameters"),
    ],
)
def test_a_mistake_names_the_factor(parameters: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        sweep(parameters)


@given(PARAMETERS)
def test_a_space_gives_what_nested_loops_give(parameters: dict[str, Any]) -> None:
    expected = by_hand(parameters)
    space = SweepSpace(parameters)

    assert expected == list(space)
    assert [list(each) for each in expected] == [list(each) for each in space]
    assert len(expected) == space.size == len(space)
    assert expected == [space[index] for index in range(space.size)]
    assert expected[::-1] == [space[~index] for index in range(space.size)]


@given(PARAMETERS, st.slices(20))
def test_a_slice_is_a_space_of_what_a_list_has_there(parameters: dict[str, Any], part: slice) -> None:
    expected = sweep(parameters)[part]
    space = SweepSpace(parameters)[part]

    assert expected == list(space)
    assert len(expected) == space.size
    assert expected[1:] == list(space[1:])


def test_large_blocks_of_combinations_come_in_order() -> None:
    space = SweepSpace({"a": range(7), "b": range(150), "c": range(99)})

    assert list(range(space.size)) == [each["a"] * 14850 + each["b"] * 99 + each["c"] for each in space]
    assert list(space[5 * 14850 + 98 : 5 * 14850 + 99]) == [{"a": 5, "b": 0, "c": 98}]


def test_an_index_outside_of_the_space_is_refused() -> None:
    with pytest.raises(IndexError, match=r"combination 2 of .*2 combinations"):
        SweepSpace({"a": [1, 2]})[2]


def test_a_space_of_any_magnitude_can_be_looked_at() -> None:
    space = SweepSpace(HUGE)

    assert space.size == 10**149
    assert dict.fromkeys(HUGE, 9) == space[-1]
    assert int("".join(map(str, space[42].values()))) == 42
    assert len(space[10**148 : 10**148 + 5]) == 5
    assert space[10**148 :][0]["factor0"] == 1
    assert "factor7, ...: about 10^149 combinations" in repr(space)
    assert dict.fromkeys(HUGE, 0) == next(iter(space))
    with pytest.raises(OverflowError, match="use size"):
        len(space)
    with pytest.raises(TypeError):
        space[0] in space  # noqa: B015  # this is what is refused


def test_a_range_of_any_length_can_be_the_levels_of_a_factor() -> None:
    space = SweepSpace({"a": range(10**30), "b": range(9, 0, -4)})

    assert space.size == 3 * 10**30
    assert space[-1] == {"a": 10**30 - 1, "b": 1}
    assert next(iter(space)) == {"a": 0, "b": 9}


def test_a_sample_of_an_enormous_space_is_one_call() -> None:
    sample = sweep_sample(HUGE, 1000, seed=7)

    assert len(set(sample)) == 1000
    assert all(list(HUGE) == list(each) for each in sample)
    assert sweep_sample(HUGE, 1000, seed=7) == sample
    assert sweep_sample(HUGE, 1000, seed=8) != sample


@pytest.mark.parametrize("count", [0, 1, 4, 5, 11, 12])
def test_a_sample_is_of_different_combinations(count: int) -> None:
    space = SweepSpace({"a": range(3), "b": {0: {"c": [1, 2]}, 1: {}, 2: {}}})
    sample = space.sample(count)

    assert count == len(sample) == len(set(sample))
    assert set(sample) <= set(space)


@pytest.mark.parametrize("count", [-1, 7])
def test_a_sample_that_the_space_has_not_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"sample of {count} .* 6 combinations"):
        sweep_sample({"a": [1, 2], "b": [1, 2, 3]}, count)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_each_combination_is_as_likely_as_any_other(count: int) -> None:
    space = SweepSpace({"a": {0: {"b": range(7)}, 1: {}, 2: {"c": [1, 2]}}})
    seen = dict.fromkeys(space, 0)
    for seed in range(3000):
        for each in space.sample(count, seed=seed):
            seen[each] += 1

    expected = 3000 * count / space.size
    # Five standard deviations of the binomial distribution; the seeds are fixed, so this never flickers.
    assert all(abs(times - expected) < 5 * (3000 * 0.25) ** 0.5 for times in seen.values())


def test_combinations_are_hashed_by_their_items_in_any_order() -> None:
    one, other = HashableDict(a=1, b=[2, {"c": {3}}]), HashableDict({"b": [2, {"c": {3}}], "a": 1})

    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == "{'a': 1, 'b': [2, {'c': {3}}]}"
    assert {one} == {other, pickle.loads(pickle.dumps(one))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({1, 2}, frozenset({2, 1})),
        ([{"x": 1}], [HashableDict(x=1)]),
        (({"x": [1]}, 2), (HashableDict(x=[1]), 2)),
        ({"x": {"y": []}}, HashableDict(x=HashableDict(y=[]))),
        (1, True),
        ((1.0, "a"), (1, "a")),
    ],
)
def test_equal_combinations_have_equal_hashes_whatever_their_levels_are_made_of(one: Any, other: Any) -> None:
    assert HashableDict(level=one) == HashableDict(level=other)
    assert hash(HashableDict(level=one)) == hash(HashableDict(level=other))


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((1, 100, 5), [1, 3, 10, 32, 100]),
        ((1, 5, 10), [1, 2, 3, 4, 5]),
        ((128, 2048, 5), [128, 256, 512, 1024, 2048]),
        ((100, 1, 4), [1, 5, 22, 100]),
        ((5, 5, 3), [5]),
        ((1, 100, 1), [1]),
        ((1, 100, 0), []),
        ((1, 100, 10 / 2), [1, 3, 10, 32, 100]),
        ((0, 10, 1), [0]),
        ((0, 10, 0), []),
    ],
)
def test_igeom_rounds_without_duplicates(ends: Any, expected: list[int]) -> None:
    assert expected == igeom(*ends)


def test_geom_gives_a_geometric_progression_with_exact_ends() -> None:
    found = geom(3, 1000, 7)

    assert (found[0], found[-1]) == (3.0, 1000.0)
    assert pytest.approx([(1000 / 3) ** (1 / 6)] * 6) == [b / a for a, b in itertools.pairwise(found)]
    assert geom(1, 100, 0) == []
    assert geom(1, 100, 1) == [1.0]


@pytest.mark.parametrize("ends", [(0, 10, 3), (-1, 10, 3), (1, 10, -1)])
def test_geom_refuses_what_is_no_progression(ends: Any) -> None:
    with pytest.raises(ValueError, match="geom"):
        geom(*ends)


@pytest.mark.parametrize(
    ("value", "separator", "expected"),
    [
        ("Hello World!", "-", "hello-world"),
        ("  \u00e9 \u00e0  ", "_", "e_a"),
        ("a_b-c--d  e", "-", "a_b-c-d-e"),
        ("a_b-c--d  e", "_", "a_b-c--d_e"),
        ("---", "-", "-"),
        ("", "-", ""),
        ("\u00c0\u00c9/x.y:z", "-", "aexyz"),
        (HashableDict(a=1, b="x"), "-", "a-1-b-x"),
        (5, "-", "5"),
    ],
)
def test_slugify_makes_names_for_files(value: object, separator: str, expected: str) -> None:
    assert expected == slugify(value, separator)


def test_sweep_stats_counts_levels_in_each_state() -> None:
    one, two, three = combinations = sweep({"a": [1, 2, [3]]})
    stats = sweep_stats((combinations, [three], [], [two], [one]))

    assert stats["total"] == {"a": {1: 1, 2: 1, (3,): 1}}
    assert stats["remaining"] == {"a": {(3,): 1}}
    assert stats["skipped"] == {}
    assert stats["done_ratio"] == {"a": {1: 1.0, 2: 0.0, (3,): 0.0}}
    assert stats["inprogress_ratio"] == {"a": {1: 0.0, 2: 1.0, (3,): 0.0}}
    assert {"total", "remaining", "skipped", "inprogress", "done"} < stats.keys()


def test_sweep_stats_refuses_combinations_that_have_no_factors() -> None:
    with pytest.raises(TypeError, match="'fifo' is none"):
        sweep_stats((["fifo"], [], [], [], []))
