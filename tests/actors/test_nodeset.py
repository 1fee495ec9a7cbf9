"""Node sets: what users write becomes names, and names become what users read."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors.nodeset import MOST_HOSTS, NodeSetError, expand, fold

NAMES = st.lists(st.from_regex(r"[ab]?[0-9]{1,3}(-[0-9]{1,2}|c)?(\.lab\.org)?", fullmatch=True), max_size=30)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node7", ["node7"]),
        ("node[1-3,7]", ["node1", "node2", "node3", "node7"]),
        ("node[08-10]", ["node08", "node09", "node10"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n[0-6/3]", ["n0", "n3", "n6"]),
        ("b,a,b", ["a", "b"]),
        ("n[1-5]!n[2-4]", ["n1", "n5"]),
        ("root@n[1-2]", ["root@n1", "root@n2"]),
    ],
)
def test_a_node_set_names_hosts(text: str, names: list[str]) -> None:
    assert expand(text) == names


def test_groups_are_node_sets_that_may_name_others() -> None:
    groups = {"compute": "node[1-3]", "all": "@compute,disk1", "none": ""}

    assert expand("@compute", groups) == ["node1", "node2", "node3"]
    assert expand("@all!node2", groups) == ["disk1", "node1", "node3"]
    assert expand("@*", groups) == ["disk1", "node1", "node2", "node3"]
    assert expand("@none", groups) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("node[1-3", "missing bracket"),
        ("node[3-1]", "bad range"),
        ("node[a-b]", "bad range"),
        ("a,,b", "operand"),
        ("@nobody", "no group 'nobody'; there are bad, here, loop"),
        ("@bad", "no group 'nobody'"),
        ("@loop", "itself"),
        ("@other:x", "other"),
        (f"n[1-{MOST_HOSTS + 1}]", "at most"),
        (f"n[1-{10**15}]", "at most"),
    ],
)
def test_what_means_nothing_is_an_error_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(NodeSetError) as caught:
        expand(text, {"here": "a", "bad": "@nobody", "loop": "@loop"})

    assert repr(text) in str(caught.value)
    assert reason in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["b"], "b"),
        (["b", "a", "b"], "a,b"),
        ([f"node{n}" for n in range(100, 0, -1)], "node[1-100]"),
        (["r1n1", "r1n2", "r2n1", "r2n2"], "r[1-2]n[1-2]"),
        ([f"g-{n}.lab1.org" for n in (1, 2, 4)], "g-[1-2,4].lab1.org"),
        (["n1", "odd[", "n2", "a,b"], "n[1-2],odd[,a,b"),
        (["::1", "10.0.0.1", "10.0.0.2"], "10.0.0.[1-2],::1"),
    ],
)
def test_names_are_folded(names: list[str], folded: str) -> None:
    assert fold(names) == folded


@given(NAMES)
def test_what_was_folded_means_the_same_names(names: list[str]) -> None:
    assert sorted(expand(fold(names))) == sorted(set(names))


def test_many_names_that_do_not_fold_take_no_time() -> None:
    names = [f"r{n * 7919 % 40}c{n * 104729 % 43}n{n * 1299709 % 47}" for n in range(5000)]
    begin = time.process_time()
    folded = fold(names)

    assert time.process_time() - begin < 1
    assert sorted(expand(folded)) == sorted(set(names))
