"""Command lines that every login shell reads alike."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regisseur.protocols.shell_line import MAX_LINE, CommandError, one_line, packed, sh
from shells import SHELLS, Shell

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
awkward = st.text("'\"\\!\n$`a %;&|<>()*?[#~=\x02\x03", max_size=30)


def unpacked(login: list[str], text: str) -> str:
    word, code = packed(text, "x")
    line = sh(f'{code} printf "%s." "$x"', "name", word)
    done = subprocess.run([*login, line], capture_output=True, check=True)
    assert done.stdout.endswith(b".")
    return done.stdout[:-1].decode()


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=40, deadline=None)
@given(texts | awkward)
def test_a_text_of_any_content_arrives(shell: str, text: str) -> None:
    login = ["busybox", "sh", "-c"] if shell == "busybox" else [shell, "-c"]

    assert text == unpacked(login, text)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "text", ["x" * 100_000, "it's\n" * 20_000, "'" * 100_000, "\\" * 100_000, "\n" * 99_999 + "\x02"]
)
def test_a_hundred_kilobytes_arrive_whatever_they_are(shell: str, text: str, tmp_path: Path) -> None:
    word, code = packed(text, "x")
    line = Shell(shell, tmp_path).line(sh(f'{code} printf "%s." "$x"', "name", word))

    assert len(line) < MAX_LINE
    assert f"{text}." == subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout.decode()


@given(texts | awkward)
def test_no_word_has_what_some_shell_reads_in_its_own_way(text: str) -> None:
    word, code = packed(text, "x")

    for part in (word, code):
        assert not set("'!\n") & set(part)
        assert "\\\\" not in part


def test_a_plain_text_costs_nothing_to_unpack() -> None:
    assert packed("uname -a", "x") == ("uname -a", "x=$1;")


def test_a_text_that_cannot_be_passed_on_is_refused() -> None:
    with pytest.raises(CommandError, match="null byte at position 1"):
        packed("a\0b", "x")
    with pytest.raises(CommandError, match="put it in a file"):
        sh("true", "name", "x" * MAX_LINE)
    with pytest.raises(CommandError, match="control characters do not fit"):
        packed("".join(map(chr, range(1, 128))) * 1000, "x")


def test_the_error_pickles() -> None:
    assert pickle.loads(pickle.dumps(CommandError("why"))).reason == "why"


def test_a_script_becomes_one_line_without_its_comments() -> None:
    assert one_line("\n# why\nif a; then\n    b;\nfi\n") == "if a; then b; fi"
