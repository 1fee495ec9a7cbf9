"""Envelopes: every registered message survives its travel, and whatever else comes is a `ProtocolError`."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import pkgutil
import random
import types
import typing
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur import protocols
from regisseur.protocols import errors
from regisseur.protocols.envelope import (
    VERSION,
    Envelope,
    decode,
    decode_message,
    encode,
    envelope_of,
    seal,
)
from regisseur.protocols.errors import (
    FieldError,
    MalformedError,
    OversizedError,
    ProtocolError,
    TextError,
    TrailingDataError,
    TruncatedError,
    UnknownKindError,
    UnknownVersionError,
)
from regisseur.protocols.message import MessageType, message_types
from regisseur.protocols.messages import ProcessExited, SignalProcess, SpawnProcess
from regisseur.protocols.plain import LIMIT, pack_plain

for _module in pkgutil.iter_modules(protocols.__path__):  # so that all message types are registered
    importlib.import_module(f"regisseur.protocols.{_module.name}")

MESSAGES = sorted(
    (t for t in message_types() if t.cls.__module__.startswith("regisseur.protocols.")), key=lambda t: t.kind
)

HEADER: list[Any] = [VERSION, "Actor-1", "Actor-2", 7, 3]
GOOD: list[Any] = [*HEADER, "io.signal", ["Process-1", 15, False]]

plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values for a field of a message with this type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return plain_data
    if hint is float:
        return st.floats(allow_nan=False)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(a) for a in args])
    if origin is tuple:
        return st.lists(values_of(args[0]), max_size=4).map(tuple)
    if origin is dict:
        return st.dictionaries(values_of(args[0]), values_of(args[1]), max_size=4)
    return st.from_type(hint)


def messages_of(known: MessageType) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(known.cls)
    return st.builds(known.cls, **{f.name: values_of(hints[f.name]) for f in dataclasses.fields(known.cls)})


def frame(*changes: tuple[int, Any]) -> bytes:
    """A good frame, but for the items at some indexes."""
    items = [*GOOD]
    for index, value in changes:
        items[index] = value
    packed: bytes = msgpack.packb(items)
    return packed


names = st.text(max_size=20)
numbers = st.integers(0, 2**64 - 1)


# -- identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", MESSAGES, ids=lambda t: t.kind)
@given(data=st.data(), to=names, sender=names, correlation=numbers, cause=numbers)
def test_every_message_arrives_as_it_was_sent(
    known: MessageType, data: st.DataObject, to: str, sender: str, correlation: int, cause: int
) -> None:
    message = data.draw(messages_of(known))
    bulk = message.bulk if known.bulk else None

    envelope = decode(seal(message, to, sender, correlation, cause))

    assert (to, sender, correlation, cause, known.kind, VERSION) == (*envelope[:5], envelope.version)
    assert message == decode_message(envelope, bulk)


@given(to=names, sender=names, correlation=numbers, cause=numbers, kind=names, body=st.lists(plain_data, max_size=4))
def test_an_envelope_of_any_kind_arrives_as_it_was_sent(
    to: str, sender: str, correlation: int, cause: int, kind: str, body: list[Any]
) -> None:
    envelope = Envelope(to, sender, correlation, cause, kind, body)

    assert envelope == decode(encode(envelope))


def test_sealing_is_enveloping_and_encoding_in_one() -> None:
    message = SignalProcess("Process-1", 15, True)

    assert seal(message, "a", "b", 1, 2) == encode(envelope_of(message, "a", "b", 1, 2))


def test_a_message_of_a_newer_release_with_more_fields_is_read() -> None:
    envelope = decode(frame((6, ["Process-1", 15, False, "newer"])))

    assert SignalProcess("Process-1", 15, False) == decode_message(envelope)


# -- each error has its test -------------------------------------------------------------------------------------------


def test_a_frame_that_is_cut_off_anywhere_is_truncated() -> None:
    whole = frame()

    for length in range(len(whole)):
        with pytest.raises(TruncatedError, match=f"cut off after {length} bytes") as caught:
            decode(whole[:length])
        assert length == caught.value.size


def test_bytes_behind_a_message_are_an_error() -> None:
    with pytest.raises(TrailingDataError, match="hold more than one message") as caught:
        decode(frame() + frame())

    assert 2 * len(frame()) == caught.value.size


def test_a_frame_over_the_limit_is_refused_by_the_receiver() -> None:
    with pytest.raises(OversizedError, match="send bulk data in a frame of its own") as caught:
        decode(b"\x00" * (LIMIT + 1))

    assert 16 * 1024 * 1024 == LIMIT == caught.value.limit


def test_a_message_over_the_limit_is_refused_by_the_sender() -> None:
    message = SpawnProcess("Process-1", (b"x" * LIMIT,))

    with pytest.raises(OversizedError):
        seal(message, "to")
    with pytest.raises(OversizedError):
        encode(envelope_of(message, "to"))


def test_a_message_of_just_the_limit_travels() -> None:
    room = LIMIT - len(seal(SpawnProcess("p", (b"x" * 70_000,)), "to")) + 70_000
    message = SpawnProcess("p", (b"x" * room,))

    packed = seal(message, "to")

    assert len(packed) == LIMIT
    assert message == decode_message(decode(packed))


@pytest.mark.parametrize("version", [0, 2, -1, 2**70, "1", None, [1], 1.0, True])
def test_another_version_of_the_protocol_is_refused(version: Any) -> None:
    with pytest.raises(UnknownVersionError, match="this program speaks 1") as caught:
        decode(pack_plain([version, *GOOD[1:]]))

    assert caught.value.known == VERSION


def test_another_version_is_told_even_if_its_envelope_has_another_shape() -> None:
    with pytest.raises(UnknownVersionError):
        decode(pack_plain([2, {"to": "Actor-1"}]))


def test_an_unknown_kind_is_told_when_the_message_is_wanted_and_not_before() -> None:
    envelope = decode(frame((5, "no.such.kind")))

    with pytest.raises(UnknownKindError) as caught:
        decode_message(envelope)

    assert caught.value.kind == "no.such.kind"


def test_the_text_of_an_error_stays_short_whatever_was_sent() -> None:
    long = "k" * 1_000_000

    with pytest.raises(UnknownKindError) as unknown_kind:
        decode_message(decode(frame((5, long))))
    with pytest.raises(UnknownVersionError) as unknown_version:
        decode(frame((0, long)))

    assert len(str(unknown_kind.value)) < 200
    assert len(str(unknown_version.value)) < 200


@pytest.mark.parametrize("given", range(1, 7))
def test_a_missing_field_of_the_envelope_is_named(given: int) -> None:
    name = ["version", "to", "sender", "correlation", "cause", "kind", "body"][given]

    with pytest.raises(FieldError, match=f"envelope: field '{name}' is missing") as caught:
        decode(pack_plain(GOOD[:given]))

    assert name == caught.value.field


@pytest.mark.parametrize(
    ("index", "value", "name"),
    [
        (1, 5, "to"),
        (1, b"Actor-1", "to"),
        (2, None, "sender"),
        (3, "7", "correlation"),
        (3, True, "correlation"),
        (3, -1, "correlation"),
        (4, 1.5, "cause"),
        (4, -1, "cause"),
        (5, 3, "kind"),
        (6, {"process": "p"}, "body"),
        (6, None, "body"),
    ],
)
def test_an_ill_typed_field_of_the_envelope_is_named(index: int, value: Any, name: str) -> None:
    with pytest.raises(FieldError) as caught:
        decode(frame((index, value)))

    assert ("", name) == (caught.value.kind, caught.value.field)


def test_a_number_of_more_than_64_bits_is_no_correlation() -> None:
    with pytest.raises(FieldError, match="'correlation' is not a number of 64 bits"):
        decode(pack_plain([*GOOD[:3], 2**64, *GOOD[4:]]))


def test_an_ill_typed_field_of_the_message_is_named() -> None:
    with pytest.raises(FieldError, match=r"io\.signal: field 'signal' is of type str: 'TERM'"):
        decode_message(decode(frame((6, ["Process-1", "TERM", False]))))


def test_a_missing_field_of_the_message_is_named() -> None:
    with pytest.raises(FieldError, match=r"io\.signal: field 'descendants' is missing"):
        decode_message(decode(frame((6, ["Process-1", 15]))))


def test_text_that_is_not_utf8_is_refused_by_the_receiver() -> None:
    with pytest.raises(TextError, match="not UTF-8"):
        decode(frame().replace(b"Process-1", b"Process\xff1"))


def test_text_that_is_not_unicode_is_refused_by_the_sender() -> None:
    with pytest.raises(TextError):
        seal(SignalProcess("\udcff", 15, False), "to")


@pytest.mark.parametrize(
    "data",
    [b"\xc0", b"\x90", b"\x2a", msgpack.packb({"version": 1}), msgpack.packb("text"), msgpack.packb([*GOOD, "more"])],
    ids=["nil", "empty array", "number", "map", "text", "too many items"],
)
def test_what_is_no_array_of_seven_items_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)


def test_an_instance_of_another_class_can_not_be_sealed() -> None:
    with pytest.raises(TypeError, match="decorate the class"):
        seal(object(), "to")


# -- errors as data ----------------------------------------------------------------------------------------------------

ERRORS = [
    TruncatedError(3),
    TrailingDataError(30),
    OversizedError(LIMIT + 1, LIMIT),
    MalformedError("nested too deep"),
    UnknownVersionError("2", 1),
    UnknownKindError("no.such.kind"),
    FieldError("io.signal", "signal", "is missing"),
    TextError("invalid start byte"),
]


def test_every_error_of_the_protocol_is_in_the_list_here() -> None:
    public = {getattr(errors, name) for name in errors.__all__} - {ProtocolError}

    assert public == {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_errors_keep_their_facts_and_text_when_pickled(error: ProtocolError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(error) is type(copy)
    assert vars(error) == vars(copy)
    assert str(error) == str(copy) != ""
    assert isinstance(error, ValueError)


# -- hostile bytes -----------------------------------------------------------------------------------------------------


def samples(chance: random.Random) -> list[bytes]:
    """One frame of each kind, with values of all types its fields may have."""
    simple: dict[Any, Any] = {bool: True, int: 300, float: 2.5, str: "text", bytes: b"\x00\xff", types.NoneType: None}

    def value_of(hint: Any) -> Any:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return value_of(chance.choice(args))
        if origin is tuple:
            return (value_of(args[0]),) * 2
        if origin is dict:
            return {value_of(args[0]): value_of(args[1])}
        return simple.get(hint, [1, (2, {3}), {"k": 2**70}])

    frames = [seal(ProcessExited(0, 1.5), "a")]
    for known in MESSAGES:
        hints = typing.get_type_hints(known.cls)
        fields = {f.name: value_of(hints[f.name]) for f in dataclasses.fields(known.cls)}
        frames.append(seal(known.cls(**fields), "Actor-1", "Actor-2", 7, 3))
    return frames


def mutated(chance: random.Random, data: bytes) -> bytes:
    """*data* with a few bytes changed, cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0 if at < len(changed):
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at : at + chance.randrange(1, 8)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randrange(1, 5))
            case _:
                changed[at:at] = changed[at : at + chance.randrange(1, 20)]
    return bytes(changed)


def text_of_refusal(data: bytes) -> str | None:
    """What the `ProtocolError` says that *data* gives; None if it gives none. Other errors are not caught."""
    try:
        decode_message(decode(data), bulk=b"bulk")
    except ProtocolError as error:
        return str(error)
    return None


@pytest.mark.parametrize("seed", range(4))
def test_25_000_random_and_mutated_byte_strings_raise_nothing_but_protocol_errors(seed: int) -> None:
    chance = random.Random(seed)
    frames = samples(chance)
    refused = 0

    for number in range(25_000):
        whole = number % 5
        data = mutated(chance, chance.choice(frames)) if whole else chance.randbytes(chance.randrange(64))
        text = text_of_refusal(data)
        refused += text is not None
        assert text != "", data

    assert 10_000 < refused < 25_000  # some mutations are harmless: both ways have been walked


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_protocol_error(data: bytes) -> None:
    assert text_of_refusal(data) != ""
