"""Names that differ by one number, as one text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.nodeset import one_number_folded

NAMES = st.lists(st.from_regex(r"[ab]?[0-9]{0,3}(-[0-9]{1,2}|c)?", fullmatch=True).filter(bool), max_size=30)


def unfolded(text: str) -> list[str]:
    """The names in *text*, which has at most one pair of brackets."""
    match = re.fullmatch(r"(.*)\[(.*)\](.*)", text)
    if match is None:
        return [text]
    numbers = []
    for piece in match[2].split(","):
        first, _, last = piece.partition("-")
        numbers += [f"{number:0{len(first)}}" for number in range(int(first), int(last or first) + 1)]
    return [match[1] + number + match[3] for number in numbers]


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], []),
        (["node1"], ["node1"]),
        (["node2", "node1", "node3", "node1"], ["node[1-3]"]),
        (["node9", "node10", "node7"], ["node[7,9-10]"]),
        (["n08", "n09", "n10", "n7"], ["n[7,08-10]"]),
        (["n0", "n00"], ["n[0,00]"]),
        (["a1", "b1"], ["a1", "b1"]),
        (["c-1.site5", "c-2.site5"], ["c-[1-2].site5"]),
        (["r1n1", "r1n2", "r1n3", "r2n1"], ["r1n[1-3]", "r2n1"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_names_are_folded_by_the_number_in_which_they_differ(names: list[str], folded: list[str]) -> None:
    found = one_number_folded(names)

    assert sorted(found) == sorted(folded)


@given(NAMES)
def test_the_names_can_be_told_from_it(names: list[str]) -> None:
    found = [name for text in one_number_folded(names) for name in unfolded(text)]

    assert sorted(found) == sorted(set(names))
