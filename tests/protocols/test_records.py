"""protocols.records: frames of an append-only log."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import fractions
import ipaddress
import pickle
import struct
import zlib
import zoneinfo
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regisseur.protocols.errors import ProtocolError
from regisseur.protocols.records import (
    MAX_DEPTH,
    DamagedRecordError,
    decode_records,
    encode_record,
    pack_value,
    unpack_value,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3) | st.sets(KEYS, max_size=3),
    max_leaves=12,
)


class Colour(enum.IntEnum):
    RED = 7


class Named(str):
    __slots__ = ()


def test_a_log_of_no_bytes_has_no_records() -> None:
    assert decode_records(b"") == ([], [], 0, "")


@given(st.lists(VALUES, max_size=5), st.integers(0, 10**12))
def test_records_come_back_as_they_were_written(values: list[Any], start: int) -> None:
    frames = [encode_record(value) for value in values]

    found = decode_records(b"".join(frames), start=start)

    assert values == found.values
    assert [start + sum(map(len, frames[:index])) for index in range(len(frames))] == found.offsets
    assert (start + sum(map(len, frames)), "") == (found.end, found.torn)


@given(VALUES)
def test_a_value_keeps_the_types_of_its_parts(value: Any) -> None:
    back = unpack_value(pack_value(value))

    assert (type(value), value) == (type(back), back)


@pytest.mark.parametrize(
    "value", [True, 1, 1.0, "1", b"1", (1,), [1], {1}, frozenset({1}), 2**64, -(2**63) - 1, "\udc80"]
)
def test_each_plain_type_is_told_from_the_others(value: Any) -> None:
    back = unpack_value(pack_value(value))

    assert (type(value), value) == (type(back), back)


@pytest.mark.parametrize(
    ("value", "plain"),
    [(Colour.RED, 7), (Named("x"), "x"), (fractions.Fraction(1, 2), 0.5), (fractions.Fraction(4), 4.0)],
)
def test_a_value_of_another_type_is_written_as_the_plain_one_it_is_equal_to(value: Any, plain: Any) -> None:
    back = unpack_value(pack_value([value]))[0]

    assert (type(plain), plain) == (type(back), back)


def test_numbers_of_numpy_are_written_as_plain_ones() -> None:
    numpy = pytest.importorskip("numpy")

    back = unpack_value(pack_value([numpy.float64(0.5), numpy.float32(0.5), numpy.int64(3), numpy.bool_(True)]))

    assert back == [0.5, 0.5, 3, True]
    assert [float, float, int, bool] == [type(each) for each in back]


OTHERS = (
    st.dates() | st.datetimes() | st.datetimes(timezones=st.just(datetime.UTC)) | st.times() | st.timedeltas()
    | st.fractions() | st.decimals(allow_nan=False) | st.uuids() | st.ip_addresses()
    | st.builds(range, st.integers(), st.integers(), st.integers(min_value=1))
)  # fmt: skip


@given(st.lists(OTHERS | st.tuples(OTHERS, SCALARS), max_size=4))
def test_values_of_the_standard_library_come_back_as_they_were(values: list[Any]) -> None:
    back = unpack_value(pack_value(values))

    assert values == back
    assert list(map(hash, values)) == list(map(hash, back))


def test_networks_are_among_them() -> None:
    value = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]

    assert value == unpack_value(pack_value(value))


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("nan"),
        datetime.datetime(1963, 11, 3, 2, 30, tzinfo=zoneinfo.ZoneInfo("Asia/Macao")),  # there was no such time
    ],
)
def test_what_would_not_come_back_equal_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        pack_value((value,))


@pytest.mark.parametrize("parts", [[], ["os.system", "true"], "date", ["date", 3], ["fraction", 1, 0], ["uuid", "x"]])
def test_what_a_record_names_is_made_only_if_it_is_of_a_known_kind(parts: Any) -> None:
    with pytest.raises(ProtocolError, match="not a value"):
        unpack_value(msgpack.packb(msgpack.ExtType(5, msgpack.packb(parts))))


@pytest.mark.parametrize("value", [object(), {"a": [len]}, (1, {2: 3j})])
def test_what_is_not_plain_data_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"builtins\.\w+ is not plain data"):
        pack_value(value)


def nested(depth: int, wrap: Any, inside: Any) -> Any:
    for _ in range(depth):
        inside = wrap(inside)
    return inside


@pytest.mark.parametrize(
    ("wrap", "deepest"),
    [(lambda each: (each,), MAX_DEPTH), (lambda each: [each], 1023), (lambda each: {1: each}, 1023)],
)
def test_data_nested_too_deep_is_refused_and_the_deepest_allowed_can_be_read(wrap: Any, deepest: int) -> None:
    value = nested(deepest, wrap, None)

    assert unpack_value(pack_value(value))
    with pytest.raises(TypeError, match="not plain data"):
        pack_value(nested(deepest + 1, wrap, None))


def test_dicts_are_made_by_the_function_that_was_given() -> None:
    class Mine(dict[Any, Any]):
        pass

    found = decode_records(encode_record([{"a": {"b": 1}}, ({"c": 2},)]), make_dict=Mine)

    assert [Mine, Mine, Mine] == [type(found.values[0][0]), type(found.values[0][0]["a"]), type(found.values[0][1][0])]


RECORDS = [encode_record(value) for value in (["first", 1], {"second": b"\xc5RGS" * 9}, "third", list(range(99)))]
LOG = b"".join(RECORDS)
ENDS = [sum(map(len, RECORDS[:count])) for count in range(len(RECORDS) + 1)]


@pytest.mark.parametrize("size", range(len(LOG)))
def test_a_log_cut_off_anywhere_keeps_all_whole_records_and_tells_of_the_torn_tail(size: int) -> None:
    whole = sum(end <= size for end in ENDS) - 1

    found = decode_records(LOG[:size])

    assert (whole, ENDS[whole]) == (len(found.values), found.end)
    assert (size > ENDS[whole]) == bool(found.torn)


@pytest.mark.parametrize("place", range(len(LOG)))
@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_a_changed_byte_is_damage_unless_it_is_in_the_last_record(place: int, change: int) -> None:
    damaged = bytearray(LOG)
    damaged[place] ^= change
    record = sum(end <= place for end in ENDS) - 1

    if record == len(RECORDS) - 1:
        found = decode_records(bytes(damaged))

        assert (record, ENDS[record]) == (len(found.values), found.end)
        assert found.torn
    else:
        with pytest.raises(DamagedRecordError) as caught:
            decode_records(bytes(damaged), start=1000)

        assert 1000 + ENDS[record] == caught.value.offset


@pytest.mark.parametrize("zeros", [1, 15, 16, 4096])
def test_zeros_at_the_end_which_a_power_cut_leaves_are_a_torn_tail(zeros: int) -> None:
    found = decode_records(LOG + bytes(zeros))

    assert (len(RECORDS), len(LOG)) == (len(found.values), found.end)
    assert found.torn


def test_a_torn_record_that_holds_the_bytes_of_a_whole_one_is_torn_and_not_damaged() -> None:
    frame = encode_record(["copy", encode_record("whole"), "end"])

    assert decode_records(frame[:-2]).torn
    assert decode_records(frame[:-1] + b"?").torn


def test_a_right_checksum_over_a_wrong_payload_is_damage() -> None:
    nothing = encode_record(None)
    head = struct.pack(">4sII", nothing[:4], 1, zlib.crc32(b"\xc1"))
    forged = head + zlib.crc32(head).to_bytes(4, "big") + b"\xc1"

    with pytest.raises(DamagedRecordError, match="not a value"):
        decode_records(nothing + forged)


@given(st.binary(max_size=200), st.integers(0, len(LOG)))
@settings(max_examples=300)
def test_bytes_of_any_kind_raise_nothing_but_protocol_errors(noise: bytes, place: int) -> None:
    for data in (noise, LOG[:place] + noise, LOG[:place] + noise + LOG[place:]):
        try:
            found = decode_records(data)
        except ProtocolError:
            continue

        assert found.end <= len(data)


@given(st.binary(max_size=60))
def test_values_of_any_bytes_raise_nothing_but_protocol_errors(noise: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        unpack_value(noise)


def test_the_error_can_be_pickled_and_says_where() -> None:
    error = pickle.loads(pickle.dumps(DamagedRecordError(17, "its header is wrong")))

    assert (error.offset, error.reason) == (17, "its header is wrong")
    assert "byte 17: its header is wrong" in str(error)
