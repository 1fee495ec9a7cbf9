"""Gathering: equal outputs of hosts, whole or line by line, also where they differ by the host's own name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.gathering import Group, gather, gather_lines, with_placeholders

NAMES = st.sampled_from(["node1", "node2", "node10", "n", "a.lab.org", "b.lab.org", "10.0.0.1", "10.0.0.2"])
WORDS = st.sampled_from(
    [
        "node1",
        "node2",
        "a.lab.org",
        "a",
        "b",
        "10.0.0.1",
        "10",
        "{{{host}}}",
        "{{{short}}}",
        "\n",
        "\r\n",
        " ",
        "é",
        "up",
    ]
)
TEXTS = st.lists(WORDS, max_size=6).map("".join)
OUTPUTS = st.lists(st.tuples(NAMES, TEXTS), max_size=12)


def written(group: Group) -> list[tuple[str, str]]:
    """What the hosts of *group* have written, if a text with a placeholder stands for what each made of it."""
    texts = (group.text.replace("{{{host}}}", host).replace("{{{short}}}", host.split(".")[0]) for host in group.hosts)
    return list(zip(group.hosts, texts, strict=True))


class TestGather:
    def test_hosts_that_wrote_the_same_are_one_group(self) -> None:
        assert gather([("a", "x"), ("b", "y"), ("c", "x")]) == [(["a", "c"], "x"), (["b"], "y")]

    def test_the_largest_group_comes_first_and_of_equal_ones_that_of_the_first_host(self) -> None:
        outputs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "3")]

        assert [group.text for group in gather(outputs)] == ["3", "1", "2"]

    def test_nothing_has_no_groups(self) -> None:
        assert gather([]) == []
        assert gather_lines([]) == []

    def test_the_own_name_makes_no_difference_where_that_is_asked(self) -> None:
        outputs = [("node1", "I am node1\n"), ("node2", "I am node2\n"), ("node3", "I am somebody\n")]

        assert gather(outputs, own_names=True) == [
            (["node1", "node2"], "I am {{{host}}}\n"),
            (["node3"], "I am somebody\n"),
        ]
        assert len(gather(outputs)) == 3

    def test_a_name_that_brings_nobody_together_is_shown_as_it_was_written(self) -> None:
        outputs = [("node1", "I am node1"), ("node2", "who is node1?")]

        assert gather(outputs, own_names=True) == [(["node1"], "I am node1"), (["node2"], "who is node1?")]

    def test_one_host_that_said_it_twice_is_shown_as_it_was_written(self) -> None:
        assert gather([("node1", "node1"), ("node1", "node1")], own_names=True) == [(["node1", "node1"], "node1")]

    def test_who_writes_a_placeholder_is_not_taken_for_one_who_writes_its_name(self) -> None:
        outputs = [("a", "{{{host}}}"), ("b", "b"), ("c", "c")]

        assert gather(outputs, own_names=True) == [(["b", "c"], "{{{host}}}"), (["a"], "{{{host}}}")]

    def test_what_several_wrote_stays_so_though_one_of_them_has_the_name_in_it(self) -> None:
        outputs = [("node1", "ask node1"), ("node2", "ask node1"), ("node3", "ask node3")]

        assert gather(outputs, own_names=True) == [(["node1", "node2"], "ask node1"), (["node3"], "ask node3")]

    @given(OUTPUTS)
    def test_each_host_is_in_the_group_of_what_it_wrote(self, outputs: list[tuple[str, str]]) -> None:
        groups = gather(outputs)

        assert sorted((host, group.text) for group in groups for host in group.hosts) == sorted(outputs)
        assert len({group.text for group in groups}) == len(groups)

    @given(OUTPUTS)
    def test_without_names_it_can_be_told_what_each_wrote(self, outputs: list[tuple[str, str]]) -> None:
        groups = gather(outputs, own_names=True)

        assert sum(len(group.hosts) for group in groups) == len(outputs)
        exact = set(outputs)
        for group in groups:
            as_it_is = [(host, group.text) for host in group.hosts]
            assert exact.issuperset(as_it_is) or exact.issuperset(written(group))

    @given(OUTPUTS)
    def test_there_are_no_more_groups_without_names_than_with(self, outputs: list[tuple[str, str]]) -> None:
        assert len(gather(outputs, own_names=True)) <= len(gather(outputs))


class TestGatherLines:
    def test_each_line_has_groups_of_its_own(self) -> None:
        outputs = [("a", "same\none\n"), ("b", "same\ntwo\nmore")]

        assert gather_lines(outputs) == [
            [(["a", "b"], "same")],
            [(["a"], "one"), (["b"], "two")],
            [(["b"], "more")],
        ]

    def test_only_line_feeds_end_lines_with_or_without_a_carriage_return(self) -> None:
        assert gather_lines([("a", "x\x0by\u2028z\r\n\n")]) == [[(["a"], "x\x0by\u2028z")], [(["a"], "")]]

    @given(OUTPUTS)
    def test_the_lines_of_a_host_are_those_it_wrote(self, outputs: list[tuple[str, str]]) -> None:
        numbered = [(f"{index}", text) for index, (_, text) in enumerate(outputs)]
        lines = gather_lines(numbered)

        for name, text in numbered:
            mine = [group.text for groups in lines for group in groups if name in group.hosts]
            assert mine == [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n") if text]


@pytest.mark.parametrize(
    ("name", "text", "made"),
    [
        ("node1", "node1 and node10, xnode1, node1.", "{{{host}}} and node10, xnode1, {{{host}}}."),
        ("node1", "node1node1 node1", "node1node1 {{{host}}}"),
        ("a.lab.org", "a.lab.org is a, not ab", "{{{host}}} is {{{short}}}, not ab"),
        ("10.0.0.1", "10 of 10.0.0.1", "10 of {{{host}}}"),
        ("node1", "éénode1 node1é node_1 node1_", "éénode1 node1é node_1 node1_"),
        ("node1", "", ""),
        ("a.lab.org", "b", "b"),
        ("node1", "node1 {{{short}}}", "node1 {{{short}}}"),
    ],
)
def test_a_placeholder_stands_for_whole_names_only(name: str, text: str, made: str) -> None:
    assert with_placeholders(name, text) == made
