"""Command lines: quoting, splitting, naming, shortening, resource limits."""

from __future__ import annotations

import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.command import (
    NAME_LENGTH,
    RLIMITS,
    Limit,
    argv_from_cmdline,
    compact_output,
    name_from_cmdline,
    prlimit_argv,
    str_from_cmdline,
)

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


def test_a_text_is_its_own_command_line() -> None:
    assert str_from_cmdline("ls  -l\n foo") == "ls  -l\n foo"


def test_words_are_quoted_where_a_shell_needs_it() -> None:
    assert str_from_cmdline(["ls", "-l", "a b"]) == "ls -l 'a b'"


def test_words_may_be_paths_numbers_and_bytes() -> None:
    assert argv_from_cmdline(("sleep", 3, Path("/tmp/x"), b"b")) == ("sleep", "3", "/tmp/x", "b")
    assert str_from_cmdline(b"sleep 1") == "sleep 1"


@given(WORDS)
def test_splitting_a_quoted_sequence_gives_it_back(words: list[str]) -> None:
    assert tuple(words) == argv_from_cmdline(str_from_cmdline(words))


def test_with_shell_the_text_goes_to_sh_unsplit() -> None:
    assert argv_from_cmdline("echo $HOME; true", shell=True) == ("/bin/sh", "-c", "echo $HOME; true")


def test_with_shell_the_words_of_a_sequence_are_quoted() -> None:
    assert argv_from_cmdline(["echo", "$HOME"], shell=True) == ("/bin/sh", "-c", "echo '$HOME'")


def test_an_unclosed_quotation_is_told_with_the_command() -> None:
    with pytest.raises(ValueError, match=r"cannot split the command \"echo 'a\" into words: no closing quotation"):
        argv_from_cmdline("echo 'a")


def test_blanks_of_a_name_are_squeezed() -> None:
    assert name_from_cmdline(" ls  -l\n\t foo ") == "ls -l foo"


@pytest.mark.parametrize(("length", "expected"), [(39, "a" * 39), (40, "a" * 36 + "..."), (500, "a" * 36 + "...")])
def test_a_long_name_is_cut_to_39_characters(length: int, expected: str) -> None:
    assert expected == name_from_cmdline("a" * length)
    assert len(expected) <= NAME_LENGTH


def test_short_output_is_not_touched() -> None:
    assert compact_output("0123456789", 10) == "0123456789"


def test_head_and_tail_of_long_output_are_kept() -> None:
    assert compact_output("0123456789abcdefghijkl", 10) == "01234\n[...]\nhijkl"


def test_output_may_be_bytes() -> None:
    assert compact_output(b"0123456789abcdefghijkl", 10) == b"01234\n[...]\nhijkl"


def test_a_threshold_of_0_keeps_everything() -> None:
    assert compact_output("x" * 9999, 0) == "x" * 9999


def test_without_limits_the_command_is_not_wrapped() -> None:
    assert prlimit_argv(["true", "x"], {}) == ("true", "x")


def test_limits_are_given_to_prlimit_before_the_command() -> None:
    limits: dict[str, Limit | tuple[Limit, Limit]] = {
        "nofile": 1024,
        "as": (2**30, None),
        "core": (0, "unlimited"),
        "stack": -1,
    }

    assert prlimit_argv(["true"], limits) == (
        "prlimit",
        "--nofile=1024:1024",
        "--as=1073741824:",
        "--core=0:unlimited",
        "--stack=unlimited:unlimited",
        "--",
        "true",
    )


def test_every_limit_that_we_know_exists() -> None:
    assert not {name for name in RLIMITS if not hasattr(resource, f"RLIMIT_{name.upper()}")}


def test_an_unknown_limit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown resource limit 'files': it must be one of as, core"):
        prlimit_argv(["true"], {"files": 3})


@pytest.mark.parametrize("limit", [(1, 2, 3), "many", -2, None, (None, None), True, 1.5])
def test_an_ill_formed_limit_is_refused(limit: object) -> None:
    with pytest.raises(ValueError, match="resource limit 'nofile'"):
        prlimit_argv(["true"], {"nofile": limit})  # type: ignore[dict-item]  # that is what is tested


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs the prlimit tool of util-linux")
def test_the_command_runs_under_its_limits() -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"

    done = subprocess.run(
        prlimit_argv([sys.executable, "-c", code], {"nofile": (100, 200)}), capture_output=True, text=True, check=True
    )

    assert done.stdout == "(100, 200)\n"


def test_quoting_is_that_of_the_standard_library() -> None:
    assert shlex.join(["a'b", "$c"]) == str_from_cmdline(["a'b", "$c"])
