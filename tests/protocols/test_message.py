"""Message types: registered under a kind, packed as the list of their fields, and strictly checked when they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from regisseur.protocols import message as module
from regisseur.protocols.errors import FieldError, UnknownKindError
from regisseur.protocols.message import is_message, message, message_type, message_types, type_of
from regisseur.protocols.messages import OutputRead, ProcessExited


@pytest.fixture(autouse=True)
def registry_as_before() -> Iterator[None]:
    """Kinds that a test registers are gone after it."""
    kinds, classes = set(module._by_kind), set(module._by_class)
    yield
    for kind in module._by_kind.keys() - kinds:
        del module._by_kind[kind]
    for cls in module._by_class.keys() - classes:
        del module._by_class[cls]


def build(cls: type, *body: Any) -> Any:
    return type_of_class(cls).build(body)


def type_of_class(cls: type) -> module.MessageType:
    return module.types_by_class[cls]


def test_a_message_is_a_frozen_slotted_dataclass_that_compares_by_value() -> None:
    @message("test.reading")
    class Reading:
        value: float
        unit: str = "K"

    reading = Reading(21.5)

    assert Reading(21.5, "K") == reading
    assert not hasattr(reading, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        reading.value = 3.0  # type: ignore[misc]  # that is the point


def test_a_message_type_is_found_by_kind_by_class_and_by_instance() -> None:
    known = message_type("process.exited")

    assert ProcessExited is known.cls
    assert known is type_of(ProcessExited(0, 1.5))
    assert known in list(message_types())
    assert is_message(ProcessExited(0, 1.5))
    assert not is_message(ProcessExited)
    assert not is_message({"kind": "process.exited"})


def test_an_unknown_kind_is_an_error_that_names_it() -> None:
    with pytest.raises(UnknownKindError, match=r"'no\.such\.kind'.*import the module") as caught:
        message_type("no.such.kind")

    assert caught.value.kind == "no.such.kind"


def test_an_instance_of_another_class_is_a_type_error_that_says_how_to_register() -> None:
    with pytest.raises(TypeError, match=r"dict is not a message type: decorate the class with @message\(kind\)"):
        type_of({})


def test_a_kind_can_not_be_taken_twice() -> None:
    @message("test.taken")
    class First:
        pass

    with pytest.raises(ValueError, match=r"'test\.taken' is taken by .*First"):

        @message("test.taken")
        class Second:
            pass


def test_a_module_that_is_loaded_again_may_register_its_messages_again() -> None:
    def load() -> type:
        @message("test.again")
        class Again:
            value: int = 0

        return Again

    first, second = load(), load()

    assert first is not second
    assert second is message_type("test.again").cls


@pytest.mark.parametrize("hint", [list[int], set[str], object, complex, tuple[int, str], dict[tuple[int, ...], str]])
def test_a_field_that_could_not_travel_is_refused_when_the_type_is_made(hint: Any) -> None:
    with pytest.raises(TypeError, match="field"):
        message("test.bad")(type("Bad", (), {"__annotations__": {"field": hint}}))


def test_values_are_given_in_the_order_of_definition_however_many_there_are() -> None:
    @message("test.none")
    class Nothing:
        pass

    @message("test.one")
    class One:
        value: str

    assert type_of_class(Nothing).values(Nothing()) == ()
    assert type_of_class(One).values(One("x")) == ("x",)
    assert message_type("process.exited").values(ProcessExited(0, 2.5, 9)) == (0, 2.5, 9, False)


def test_bulk_is_not_among_the_values_and_must_come_with_them() -> None:
    known = message_type("process.output")

    assert known.values(OutputRead(1, b"data")) == (1,)
    assert OutputRead(1, b"data") == known.build([1], b"data")
    with pytest.raises(FieldError, match="'bulk' is missing"):
        known.build([1])
    with pytest.raises(FieldError, match="'bulk' is of type str"):
        known.build([1], "text")  # type: ignore[arg-type]  # that is the point


@message("test.all-types")
class AllTypes:
    flag: bool
    count: int
    ratio: float
    name: str
    data: bytes
    nothing: None
    names: tuple[str, ...]
    table: dict[str, tuple[int, ...]]
    maybe: int | None = None
    either: str | tuple[bytes, ...] = ""
    anything: Any = None


GOOD: list[Any] = [True, 3, 1.5, "n", b"d", None, ["a", "b"], {"k": [1, 2]}, 7, [b"x"], {"any": [1, (2,)]}]


def test_fields_of_all_types_are_restored() -> None:
    expected = AllTypes(True, 3, 1.5, "n", b"d", None, ("a", "b"), {"k": (1, 2)}, 7, (b"x",), {"any": [1, (2,)]})

    assert expected == build(AllTypes, *GOOD)


@pytest.mark.parametrize(
    ("index", "value", "name"),
    [
        (0, 1, "flag"),
        (1, True, "count"),
        (1, 1.0, "count"),
        (2, "1.5", "ratio"),
        (2, True, "ratio"),
        (3, b"n", "name"),
        (3, None, "name"),
        (4, "d", "data"),
        (5, 0, "nothing"),
        (6, "ab", "names"),
        (6, ["a", 1], "names"),
        (7, [("k", [1])], "table"),
        (7, {1: [1]}, "table"),
        (7, {"k": 1}, "table"),
        (7, {"k": ["1"]}, "table"),
        (8, "7", "maybe"),
        (9, [b"x", "x"], "either"),
        (10, object(), "anything"),
    ],
)
def test_a_field_of_a_wrong_type_is_named_with_what_was_seen(index: int, value: Any, name: str) -> None:
    body = [*GOOD]
    body[index] = value

    with pytest.raises(
        FieldError, match=rf"test\.all-types: field '{name}' is of type {type(value).__name__}"
    ) as caught:
        build(AllTypes, *body)

    assert ("test.all-types", name) == (caught.value.kind, caught.value.field)


def test_an_integer_is_taken_for_a_float() -> None:
    taken = build(AllTypes, *GOOD[:2], 2, *GOOD[3:])

    assert float is type(taken.ratio)


def test_a_long_value_of_a_wrong_type_is_shown_in_short() -> None:
    with pytest.raises(FieldError) as caught:
        build(AllTypes, "x" * 1_000_000)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("given", range(8))
def test_a_field_that_is_missing_and_has_no_default_is_named(given: int) -> None:
    fields = [f.name for f in dataclasses.fields(AllTypes)]

    with pytest.raises(FieldError, match=f"'{fields[given]}' is missing"):
        build(AllTypes, *GOOD[:given])


def test_fields_that_an_older_release_does_not_send_take_their_defaults() -> None:
    assert AllTypes(True, 3, 1.5, "n", b"d", None, ("a",), {}) == build(AllTypes, *GOOD[:6], ["a"], {})


def test_fields_that_a_newer_release_sends_are_ignored() -> None:
    assert build(AllTypes, *GOOD) == build(AllTypes, *GOOD, "new", {"newer": 1})
