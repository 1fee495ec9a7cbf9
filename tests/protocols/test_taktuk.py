"""TakTuk's commands and events: read however they are cut, confused by nothing, and understood by the real program.

The streams in taktuk_streams/ are what taktuk 3.7.7 wrote for these arguments, with nodes that were all this machine:
commands.bin is of four nodes with arity 2, one of which was refused; lost_node.bin of a chain whose middle was killed.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.errors import MalformedError, OversizedError, ProtocolError
from regisseur.protocols.taktuk import (
    ARGUMENTS,
    LIMIT,
    Connected,
    ConnectorSaid,
    Event,
    EventReader,
    Exited,
    Output,
    Started,
    State,
    StateChanged,
    close_input,
    execute,
    rank_set,
    send_input,
    word,
)

STREAMS = Path(__file__).with_name("taktuk_streams")


def record(*fields: bytes) -> bytes:
    return b"".join(b"%d:%s," % (len(field), field) for field in fields) + b"\n"


def read(data: bytes) -> list[Event]:
    reader = EventReader()
    events = reader.feed(data)
    assert reader.is_between
    return events


def output(events: list[Event]) -> dict[tuple[int, bool], bytes]:
    written: dict[tuple[int, bool], bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, Output):
            written[event.rank, event.is_error] += event.data
    return written


# -- what it says ------------------------------------------------------------------------------------------------------


def test_a_real_stream_tells_who_is_connected_and_what_became_of_commands() -> None:
    events = read((STREAMS / "commands.bin").read_bytes())

    connected = [event for event in events if isinstance(event, Connected)]
    assert {(event.host, event.position) for event in connected if event.rank} == {
        ("n0", "1"), ("n1", "2"), ("n3", "4"), ("n4", "5")
    }  # fmt: skip
    refused = [event for event in events if isinstance(event, StateChanged) and event.state is State.CONNECTION_FAILED]
    assert [event.peer for event in refused] == ["bad"]
    assert b"ssh: connect to host bad: refused" in [
        event.line for event in events if isinstance(event, ConnectorSaid) and event.peer == "bad"
    ]
    assert sorted(event.status for event in events if isinstance(event, Exited)) == [9] * 4 + [3 << 8] * 4
    started = {(event.rank, event.pid) for event in events if isinstance(event, Started)}
    assert started == {(event.rank, event.pid) for event in events if isinstance(event, Exited)}
    assert set(output(events).values()) == {
        b"\n]" + bytes(range(256)) + b"3:x,\n" * 20, b"a\0b\n3:abc,\n\n"
    }  # fmt: skip


def test_a_real_stream_tells_of_a_lost_node_and_which_were_behind_it() -> None:
    events = read((STREAMS / "lost_node.bin").read_bytes())

    lost = [event for event in events if isinstance(event, StateChanged) and event.state is State.CONNECTION_LOST]
    assert [(event.host, event.peer, event.given) for event in lost] == [("n0", "n1", ("n2",))]


@pytest.mark.parametrize("name", ["commands.bin", "lost_node.bin"])
def test_events_do_not_depend_on_how_the_stream_is_cut(name: str) -> None:
    data = (STREAMS / name).read_bytes()
    reader = EventReader()

    bytewise = [event for index in range(len(data)) for event in reader.feed(data[index : index + 1])]

    assert bytewise == read(data)
    assert reader.is_between


LINES = st.binary(max_size=200) | st.sampled_from(
    [record(b"x", b"1", b"2", b"0", b"", b""), b"1:o,", b"\n", b"9999999:", b"5:hello,\n", bytes(range(256))]
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9999), LINES), max_size=8), st.randoms())
def test_no_output_can_be_taken_for_anything_else(lines: list[tuple[bool, int, bytes]], rng: random.Random) -> None:
    stream = b"".join(record(b"e" if error else b"o", b"%d" % rank, b"7", line) for error, rank, line in lines)
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(5))
    reader = EventReader()

    events = [
        event
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for event in reader.feed(stream[begin:end])
    ]

    assert events == [Output(rank, 7, error, line) for error, rank, line in lines]


@given(st.binary(max_size=300))
def test_nothing_else_than_a_protocol_error_is_raised_whatever_comes(data: bytes) -> None:
    reader = EventReader()
    try:
        reader.feed(data)
    except ProtocolError as error:
        assert str(error) != ""  # noqa: PT017  # it need not be raised


@given(st.data())
def test_nothing_else_is_raised_where_a_real_stream_is_damaged(data: st.DataObject) -> None:
    stream = bytearray((STREAMS / "commands.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        EventReader().feed(bytes(stream))
    except ProtocolError as error:
        assert str(error) != ""  # noqa: PT017  # it need not be raised


@pytest.mark.parametrize(
    "data", [b"x", b"1:ab", b"\n", b":", b"1234567890:", record(b"?"), record(b"o", b"x", b"", b"")]
)
def test_what_is_not_our_format_is_an_error(data: bytes) -> None:
    with pytest.raises(MalformedError):
        EventReader().feed(data)


def test_a_record_without_an_end_is_an_error_and_does_not_fill_the_memory() -> None:
    reader = EventReader()
    reader.feed(b"999999999:" + bytes(LIMIT - 10))

    with pytest.raises(OversizedError):
        reader.feed(b"\0")


# -- what we say -------------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 60), min_size=1))
def test_a_set_of_ranks_names_them_all_and_no_other(ranks: set[int]) -> None:
    named: set[int] = set()
    for part in rank_set(ranks).decode().split("/"):
        low, _, high = part.partition("-")
        named |= set(range(int(low), int(high or low) + 1))

    assert named == ranks


@pytest.mark.parametrize("ranks", [[], [0], [3, -1]])
def test_a_set_without_a_node_is_refused(ranks: list[int]) -> None:
    with pytest.raises(ValueError, match="rank"):
        rank_set(ranks)


@given(st.binary(max_size=100))
def test_a_word_has_no_separator_that_is_not_escaped(text: bytes) -> None:
    made = word(text)

    assert made.startswith(b"[\x01")
    assert made.endswith(b"\x01]")
    inner, bare, position = made[2:-2], bytearray(), 0
    while position < len(inner):
        position += inner[position] == 3
        assert inner[position - 1 : position] == b"\x03" or inner[position] not in b"\x01\x02]"
        bare.append(inner[position])
        position += 1
    assert bytes(bare) == text


def test_a_command_of_blanks_is_refused() -> None:
    with pytest.raises(ValueError, match="no command"):
        execute(b"1", 1, b" \n")


# -- both with the real program ----------------------------------------------------------------------------------------


@pytest.mark.requires_taktuk
def test_any_bytes_reach_commands_and_come_back_as_they_were(tmp_path: Path) -> None:
    connector = tmp_path / "connector"
    connector.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    connector.chmod(0o755)
    rng = random.Random(4)
    chunks = [b"\n", b" \n ] \n", b"]", b"\1\2\3]\1]\2", bytes(range(256)), b";", b" ", rng.randbytes(30000), b"no end"]
    nodes = rank_set([1, 2, 3])
    text = b"".join(
        [
            execute(nodes, 5, b"cat; printf '%s' \"$TAKTUK_RANK ] \2\" >&2; exit 3"),
            *(send_input(nodes, 5, chunk) for chunk in chunks),
            close_input(nodes, 5),
        ]
    )
    argv = ["taktuk", *ARGUMENTS, "-c", str(connector), "-d", "2", *(w for n in range(3) for w in ("-m", f"n{n}"))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAKTUK")}

    done = subprocess.run(argv, input=text, capture_output=True, timeout=60, env=environment)

    events = read(done.stdout)
    assert output(events) == {
        (rank, error): b"%d ] \2" % rank if error else b"".join(chunks) for rank in (1, 2, 3) for error in (False, True)
    }
    assert [event.status for event in events if isinstance(event, Exited)] == [3 << 8] * 3
