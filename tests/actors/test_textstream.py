"""LineSplitter: the lines do not depend on how the bytes were cut."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regisseur.actors._textstream import LineSplitter

RAW = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", "é€😀".encode(), b"\xc3", b"\x80", b"\x0c", b"\0"])).map(
    b"".join
)


def split(*pieces: bytes, longest: int = 1 << 24) -> list[str]:
    splitter = LineSplitter(longest)
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.eof()


def expected(raw: bytes, longest: int = 1 << 24) -> list[str]:
    """Say the rule in another way: whole text, a regular expression, then pieces of too long lines."""
    *ended, rest = re.split("\r\n|\n|\r", raw.decode("utf-8", "surrogateescape"))
    lines = ended + [rest] * bool(rest)
    return [piece for line in lines for piece in re.findall(f"(?s).{{1,{longest}}}", line) or [""]]


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"10%\r20%\rdone\n", ["10%", "20%", "done"]),
        (b"\n\r\n\r", ["", "", ""]),
        (b"a\r\r\nb", ["a", "", "b"]),
        (b"a\x0bb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f\n", ["a\x0bb\x0cc\x1cd\x85e\u2028f"]),
    ],
)
def test_lines_end_with_newline_return_or_both_and_nothing_else(raw: bytes, lines: list[str]) -> None:
    assert lines == split(raw)
    assert lines == expected(raw)


@given(RAW, st.data(), st.sampled_from([1, 2, 3, 1000]))
@example(b"a\r\nb", None, 1)
def test_any_way_to_cut_the_bytes_gives_the_same_lines(raw: bytes, data: st.DataObject | None, longest: int) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw))))) if data else list(range(len(raw)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert expected(raw, longest) == split(*pieces, longest=longest)


def test_a_line_is_told_as_soon_as_its_end_comes() -> None:
    splitter = LineSplitter()

    assert splitter.feed(b"one\r") == ["one"]
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\n") == [""]
    assert splitter.feed(b"tw") == []
    assert splitter.feed(b"o\nthree") == ["two"]
    assert splitter.eof() == ["three"]
    assert splitter.eof() == []


def test_a_character_cut_in_two_stays_one_and_a_torn_last_one_is_kept() -> None:
    assert split(b"caf\xc3", b"\xa9\n", b"\xe2\x82") == ["café", "\udce2\udc82"]


def test_a_splitter_begins_anew_after_the_end() -> None:
    splitter = LineSplitter()
    splitter.feed(b"a\r")
    splitter.eof()

    assert splitter.feed(b"\nb\n") == ["", "b"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    splitter = LineSplitter(longest=1000)
    told = [line for _ in range(100) for line in splitter.feed(b"x" * 99)]

    assert told == ["x" * 1000] * 9
    assert splitter._length < 1000
    assert splitter.eof() == ["x" * 900]


def test_a_line_of_megabytes_in_small_pieces_takes_linear_time() -> None:
    def seconds(pieces: int) -> float:
        splitter = LineSplitter()
        start = time.process_time()
        for _ in range(pieces):
            splitter.feed(b"0123456789")
        splitter.eof()
        return time.process_time() - start

    # Eight times as much may take eight times as long, and with noise twice that; quadratic would be 64 times.
    assert seconds(160_000) < 16 * seconds(20_000) + 0.1
