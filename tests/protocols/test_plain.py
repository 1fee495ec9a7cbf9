"""Plain data: what may travel arrives as it was sent; what may not is refused, and no bytes do harm."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.errors import (
    MalformedError,
    OversizedError,
    ProtocolError,
    TextError,
    TrailingDataError,
    TruncatedError,
)
from regisseur.protocols.plain import LIMIT, MAX_DEPTH, pack_fields, pack_plain, unpack_plain

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
plain_data = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
        | st.frozensets(hashables, max_size=4)
    ),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """*value* with the types of all its parts, since 1 == True == 1.0 and tuples may hide in what is equal."""
    if isinstance(value, (list, tuple)):
        return type(value), [shape(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(repr(shape(v)) for v in value)
    if isinstance(value, dict):
        return dict, sorted((repr(shape(k)), repr(shape(v))) for k, v in value.items())
    return type(value), value


def text_of_refusal(data: bytes) -> str | None:
    """What the `ProtocolError` says that *data* gives; None if it gives none. Other errors are not caught."""
    try:
        unpack_plain(data)
    except ProtocolError as error:
        return str(error)
    return None


def nested(make: Callable[[Any], Any], depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = make(value)
    return value


class Point(NamedTuple):
    x: int
    y: int


@given(plain_data)
def test_plain_data_arrives_as_it_was_sent(value: Any) -> None:
    assert shape(value) == shape(unpack_plain(pack_plain(value)))


@given(plain_data)
def test_a_memoryview_is_read_like_bytes(value: Any) -> None:
    packed = pack_plain(value)

    assert shape(unpack_plain(packed)) == shape(unpack_plain(memoryview(packed)))


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**1000, -(2**1000)])
def test_integers_of_any_size_travel(number: int) -> None:
    assert number == unpack_plain(pack_plain(number))


def test_an_integer_of_thousands_of_digits_is_refused_on_both_sides() -> None:
    huge = 1 << (8 * 4096)

    with pytest.raises(MalformedError, match="an int of 4097 bytes"):
        pack_plain(huge)
    with pytest.raises(MalformedError, match="an int of 5000 bytes"):
        unpack_plain(msgpack.packb(msgpack.ExtType(4, b"\x01" * 5000)))


@pytest.mark.parametrize(
    "value",
    [object(), print, datetime(2026, 1, 1), Point(1, 2), OrderedDict(a=1), 1j, [1, {"deep": {1, range(3)}}]],
    ids=["object", "function", "datetime", "namedtuple", "subclass of dict", "complex", "deep inside"],
)
def test_what_is_not_plain_data_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="is not plain data and can not leave this process"):
        pack_plain(value)


@pytest.mark.parametrize("make", [lambda v: (v,), lambda v: frozenset([v])], ids=["tuple", "frozenset"])
def test_tuples_and_sets_nest_up_to_a_depth_that_the_stack_can_bear(make: Callable[[Any], Any]) -> None:
    deepest = nested(make, MAX_DEPTH)

    assert deepest == unpack_plain(pack_plain(deepest))
    with pytest.raises(MalformedError, match="nested deeper than"):
        pack_plain(make(deepest))


def test_fields_nest_as_deep_as_plain_data_and_no_deeper() -> None:
    with pytest.raises(MalformedError, match="nested deeper than"):
        pack_fields([{nested(lambda v: frozenset([v]), MAX_DEPTH + 1)}])


def test_bytes_with_extensions_nested_too_deep_are_refused_and_not_followed() -> None:
    packed = b"\x01"
    for _ in range(1000):
        packed = msgpack.packb(msgpack.ExtType(1, b"\x91" + packed))

    with pytest.raises(MalformedError, match="nested deeper than"):
        unpack_plain(packed)


@pytest.mark.parametrize("make", [lambda v: [v], lambda v: {"a": v}], ids=["list", "dict"])
def test_lists_and_dicts_nest_deep_and_are_refused_beyond(make: Callable[[Any], Any]) -> None:
    packed = pack_plain(nested(make, 1000))

    assert packed == pack_plain(unpack_plain(packed))
    with pytest.raises(MalformedError):
        pack_plain(nested(make, 3000))


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append((endless,))

    with pytest.raises(MalformedError):
        pack_plain(endless)


@pytest.mark.parametrize("seconds", [1, 2**33, 2**40])
def test_timestamps_of_msgpack_are_refused_wherever_they_stand(seconds: int) -> None:
    stamp = msgpack.Timestamp(seconds, 5 if seconds > 1 else 0)

    for value in (stamp, [stamp], {"at": [stamp]}, {stamp: 1}):
        with pytest.raises(MalformedError, match="timestamp"):
            unpack_plain(msgpack.packb(value))


def test_bytes_that_only_look_like_a_timestamp_are_read() -> None:
    value = [b"\xd6\xff\x00\x00\x00\x01", 4, -1, (8, -1), {12, -1}, {"a": -1}]

    assert value == unpack_plain(pack_plain(value))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", TruncatedError),
        (b"\x92\x01", TruncatedError),
        (b"\xda\xff", TruncatedError),
        (b"\x01\x02", TrailingDataError),
        (b"\xc1", MalformedError),
        (b"\xa1\xff", TextError),
        (b"\xc7\x00\x63", MalformedError),
        (b"\xc7\x01\x01\x05", MalformedError),
        (b"\xc7\x03\x02\x91\x91\x01", MalformedError),
        (b"\xc7\x02\x01\x92\x01", TruncatedError),
        (b"\x81\x90\x01", MalformedError),
        (b"\xd6\x04\x01", TruncatedError),
        (b"\xdd\xff\xff\xff\xff", TruncatedError),
        (b"\xdf\xff\xff\xff\xff", TruncatedError),
        (b"\xc6\xff\xff\xff\xff", TruncatedError),
    ],
    ids=[
        "nothing",
        "array cut off",
        "length cut off",
        "more than one value",
        "a byte that msgpack does not use",
        "text that is not UTF-8",
        "unknown extension",
        "extension without a list",
        "set of lists",
        "extension cut off inside",
        "list as a key",
        "integer cut off",
        "array that claims four thousand million items",
        "map that claims as many",
        "bytes that claim four gigabytes",
    ],
)
def test_bad_bytes_are_named_for_what_they_are(data: bytes, error: type[ProtocolError]) -> None:
    with pytest.raises(error):
        unpack_plain(data)


def test_more_bytes_than_the_limit_are_not_even_read() -> None:
    with pytest.raises(OversizedError) as caught:
        unpack_plain(b"\xc1" * (LIMIT + 1))

    assert (caught.value.size, caught.value.limit) == (LIMIT + 1, LIMIT)


@pytest.mark.parametrize("pack", [pack_plain, pack_fields])
def test_text_that_is_not_unicode_is_refused(pack: Callable[[Any], bytes]) -> None:
    with pytest.raises(TextError):
        pack(["name-\udcff"])


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_protocol_error(data: bytes) -> None:
    assert text_of_refusal(data) != ""


def test_thousands_of_mutations_give_a_value_or_a_protocol_error() -> None:
    chance = random.Random(20)
    sample = [None, True, -5, 2**80, 1.5, "text", b"bytes", [1, (2, {3, "x"})], {"k": frozenset([1]), (1, 2): [{}]}]
    packed = pack_plain(sample)

    for _ in range(20_000):
        data = bytearray(packed)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        assert text_of_refusal(bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])) != ""
