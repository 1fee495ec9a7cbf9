"""Styles of a terminal."""

from __future__ import annotations

import pytest

from regisseur.protocols.ansi import STYLES, paint


def test_a_text_stands_between_its_styles_and_the_end_of_all() -> None:
    assert paint("x", ("red", "bold")) == "\033[31m\033[1mx\033[m"


def test_without_styles_a_text_is_as_it_was() -> None:
    assert paint("x", ()) == "x"


def test_every_colour_exists_for_letters_and_ground() -> None:
    assert {"\033[36m", "\033[46m"} == {STYLES["cyan"], STYLES["on_cyan"]}


def test_an_unknown_style_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown style 'pink': it must be one of black, blink, blue"):
        paint("x", ("pink",))
