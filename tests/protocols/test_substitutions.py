"""The syntax of {{{host}}} and {{expression}}."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.substitutions import Address, Expression, Part, apply, has_substitutions, parse, unparse

BRACES = st.text(st.sampled_from(list("{}ab\n ")))
PIECES = st.lists(
    st.sampled_from(["{{{host}}}", "{{", "}}", "{", "}", "host", "x", "\n", "{{xs}}", "{{['{{{host}}}']}}"])
)


def shown(expression: str) -> str:
    return f"<{expression}>"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain {x} }", ("plain {x} }",)),
        ("{{{host}}}", (Address(),)),
        ("a{{{host}}}{{{host}}}b", ("a", Address(), Address(), "b")),
        ("{{xs}}-{{ ys }}", (Expression("xs"), "-", Expression(" ys "))),
        ("{{xs}}}", (Expression("xs"), "}")),
        ("{{f('{{{host}}}')}}", (Expression("f('{{{host}}}')"),)),
        ("{{{host}}}}", (Address(), "}")),
        ("{{{{host}}}}", ("{", Address(), "}")),
        ("{{{'a': [1]}['a']}}", (Expression("{'a': [1]}['a']"),)),
        ("{{[{1:2}]}}", (Expression("[{1:2}]"),)),
        ("{{}}", ("{{}}",)),
        ("{{xs", ("{{xs",)),
        ("}}", ("}}",)),
        ("{{xs\n}}", ("{{xs\n}}",)),
        ("one\n{{xs}}", ("one\n", Expression("xs"))),
    ],
)
def test_a_text_has_these_parts(text: str, parts: tuple[Part, ...]) -> None:
    assert parts == parse(text)


@given(BRACES | PIECES.map("".join) | st.text())
def test_the_parts_of_a_text_give_it_back(text: str) -> None:
    assert text == unparse(parse(text))


@given(BRACES | PIECES.map("".join))
def test_no_literal_part_holds_a_whole_substitution(text: str) -> None:
    for part in parse(text):
        if isinstance(part, str):
            assert (part,) == parse(part)


@given(st.text(), st.text(min_size=1))
def test_a_text_without_double_braces_is_the_same_on_every_host(text: str, address: str) -> None:
    text = text.replace("{{", "")

    assert text == apply(parse(text), address, shown)


def test_the_address_replaces_its_mark_everywhere() -> None:
    assert apply(parse("scp {{{host}}}:/f {{{host}}}.log"), "h1", shown) == "scp h1:/f h1.log"


def test_the_address_is_known_inside_an_expression() -> None:
    assert apply(parse("{{names['{{{host}}}']}}"), "h1", shown) == "<names['h1']>"


def test_an_address_is_never_read_as_an_expression() -> None:
    assert apply(parse("{{{host}}}"), "{{exit()}}", shown) == "{{exit()}}"


def test_what_an_expression_raises_is_not_hidden() -> None:
    def broken(_: str) -> str:
        raise NameError("xs")

    with pytest.raises(NameError, match="xs"):
        apply(parse("{{xs}}"), "h1", broken)


@pytest.mark.parametrize(("text", "expected"), [("ls", False), ("{x}", False), ("{{{host}}}", True), ("{{xs}}", True)])
def test_a_text_tells_whether_it_may_differ_from_host_to_host(text: str, expected: bool) -> None:
    assert expected is has_substitutions(text)
