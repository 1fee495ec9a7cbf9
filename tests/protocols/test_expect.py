"""expect: which of several patterns wins, what is consumed, and that the cost does not run away."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.expect import ExpectBuffer, compile_patterns


def found(buffer: ExpectBuffer, *regexes: str) -> tuple[int, str] | None:
    result = buffer.search(compile_patterns(regexes))
    return None if result is None else (result[0], result[1].group())


def holding(text: str, overlap: int = 1 << 12) -> ExpectBuffer:
    buffer = ExpectBuffer(overlap)
    buffer.feed(text)
    return buffer


# -- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regexes", ["^a", re.compile("^a", re.MULTILINE), ["^a"], ("^a",), iter(["^a"])])
def test_one_or_many_regexes_may_be_given(regexes: str) -> None:
    patterns = compile_patterns(regexes)

    assert [(pattern.pattern, bool(pattern.flags & re.MULTILINE)) for pattern in patterns] == [("^a", True)]


def test_a_compiled_pattern_keeps_its_flags_and_a_given_list_is_not_changed() -> None:
    given_patterns: list[str | re.Pattern[str]] = ["a", re.compile("b", re.IGNORECASE)]
    patterns = compile_patterns(given_patterns)
    patterns.clear()

    assert given_patterns == ["a", re.compile("b", re.IGNORECASE)]
    assert not compile_patterns(given_patterns)[1].flags & re.MULTILINE


def test_what_is_no_regex_is_refused() -> None:
    with pytest.raises(re.error):
        compile_patterns("(")
    wrong: list[Any] = [3, b"a", re.compile(b"a"), None]
    for regex in wrong:
        with pytest.raises(TypeError, match="regular expressions of text"):
            compile_patterns([regex])
    with pytest.raises(ValueError, match="empty"):
        compile_patterns([])


# -- the winner, and what is consumed ----------------------------------------------------------------------------------


def test_the_match_that_begins_first_wins_whatever_the_order_of_the_patterns() -> None:
    assert found(holding("zero one two three"), "three", "one") == (1, "one")


def test_of_matches_that_begin_together_the_first_pattern_wins() -> None:
    assert found(holding("abc"), "ab", "abc") == (0, "ab")
    assert found(holding("abc"), "abc", "ab") == (0, "abc")


def test_a_match_consumes_the_text_up_to_its_end_and_no_more() -> None:
    buffer = holding("one two three two")

    assert found(buffer, "two", "three") == (0, "two")
    assert buffer.text == " three two"
    assert found(buffer, "two", "three") == (1, "three")
    assert found(buffer, "two", "three") == (0, "two")
    assert found(buffer, "two", "three") is None


def test_a_line_may_begin_behind_the_previous_match() -> None:
    buffer = holding("login: password: ")

    assert found(buffer, "^login: ") == (0, "login: ")
    assert found(buffer, "^password: ") == (0, "password: ")


def test_a_match_may_be_completed_by_later_text() -> None:
    buffer = holding("log")
    assert found(buffer, "login") is None
    buffer.feed("in")

    assert found(buffer, "login") == (0, "login")


def test_text_that_did_not_match_one_pattern_is_there_for_the_next() -> None:
    buffer = holding("hello")
    assert found(buffer, "nothing") is None

    assert found(buffer, "ell") == (0, "ell")


def test_an_empty_buffer_can_be_searched_and_an_empty_match_consumes_nothing() -> None:
    assert found(ExpectBuffer(), "a") is None
    assert found(holding("b"), "a*") == (0, "")


def test_the_end_of_the_stream_changes_nothing_in_what_is_there() -> None:
    buffer = holding("end")
    assert found(buffer, "never") is None
    buffer.eof = True

    assert found(buffer, "never") is None
    assert found(buffer, "end$") == (0, "end")


# -- the cost ----------------------------------------------------------------------------------------------------------

TEXT = st.text(alphabet="ab\n", max_size=30)
REGEXES = st.lists(
    st.sampled_from(["a+b", "^b", "a$", "(?<=b)a", r"\Aab", "bb(?=a)", "(?s)a.{3,}b", "b\\n", "ab|ba", "(?!b)a\\n"]),
    min_size=1,
    max_size=3,
)


def by_the_book(text: str, regexes: list[str]) -> tuple[int, int, str] | None:
    matches = [(re.compile(regex, re.MULTILINE).search(text), index) for index, regex in enumerate(regexes)]
    return min(((match.start(), index, match.group()) for match, index in matches if match), default=None)


@given(st.lists(TEXT, max_size=10), REGEXES, st.integers(0, 5))
def test_a_search_finds_what_a_search_of_all_the_text_finds_at_the_latest_when_asked_again(
    pieces: list[str], regexes: list[str], overlap: int
) -> None:
    buffer = ExpectBuffer(overlap)
    text = ""
    for piece in pieces:
        buffer.feed(piece)
        text += piece
        result = buffer.search(compile_patterns(regexes))
        if result is not None:
            assert by_the_book(text, regexes) == (result[1].start(), result[0], result[1].group())
            text = text[result[1].end() :]
        assert text == buffer.text
    buffer.eof = True
    result = buffer.search(compile_patterns(regexes))
    expected = by_the_book(text, regexes)

    assert expected == (result and (result[1].start(), result[0], result[1].group()))


def test_a_match_that_began_long_ago_is_found_when_asked_again_without_new_text() -> None:
    buffer = holding("BEGIN " + "x" * 100, overlap=10)
    assert found(buffer, "BEGIN(?s:.*)END") is None
    buffer.feed(" END")
    first = found(buffer, "BEGIN(?s:.*)END")

    assert first is None
    assert found(buffer, "BEGIN(?s:.*)END") == (0, "BEGIN " + "x" * 100 + " END")


def test_a_match_at_the_end_does_not_hide_one_that_began_before() -> None:
    buffer = holding("BEGIN " + "x" * 100, overlap=10)
    assert found(buffer, "END", "BEGIN(?s:.*)END") is None
    buffer.feed(" END")

    assert found(buffer, "END", "BEGIN(?s:.*)END") == (1, "BEGIN " + "x" * 100 + " END")


def test_megabytes_in_small_pieces_without_a_match_take_linear_time() -> None:
    patterns = compile_patterns(["login:", r"[0-9]+ \$ "])

    def seconds(pieces: int) -> float:
        buffer = ExpectBuffer(overlap=1000)
        start = time.process_time()
        for _ in range(pieces):
            buffer.feed("a line that is of no interest to anybody, of which many come\n")
            assert buffer.search(patterns) is None
        return time.process_time() - start

    # Eight times as much may take eight times as long, and with noise twice that; quadratic would be 64 times.
    assert seconds(8_000) < 16 * seconds(1_000) + 0.1


def test_text_that_nobody_matches_does_not_fill_the_memory() -> None:
    buffer = ExpectBuffer(limit=1000)
    for number in range(10_000):
        buffer.feed(f"{number:09}\n")
        assert len(buffer.text) <= 2000

    assert buffer.text.endswith("000009998\n000009999\n")
    assert len(buffer.text) >= 1000
    assert found(buffer, "^000009950$") == (0, "000009950")
