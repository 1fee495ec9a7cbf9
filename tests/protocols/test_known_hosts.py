"""Leaving keys out of files of host keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.known_hosts import key_name, without_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Zr0rYbkqP6hO4nYb6oVqkq1cK2xJxv1nN3z0dXx1u"


def forget(text: str, *names: str) -> tuple[str, int]:
    kept, count = without_hosts(text.encode(), names)
    return kept.decode(), count


def test_a_name_has_its_port_unless_that_is_the_usual_one() -> None:
    assert [key_name("h"), key_name("h", 22), key_name("::1", 2222)] == ["h", "h", "[::1]:2222"]


def test_all_keys_of_a_host_go_and_no_others() -> None:
    text = f"a {KEY}\nb {KEY}\na ecdsa-sha2-nistp256 xyz\naa {KEY}\n"

    assert forget(text, "a") == (f"b {KEY}\naa {KEY}\n", 2)


def test_a_line_that_names_the_host_among_others_goes() -> None:
    assert forget(f"x,A.net,10.0.0.1 {KEY}\n", "a.NET") == ("", 1)


def test_ports_make_different_hosts() -> None:
    text = f"[a]:22022 {KEY}\na {KEY}\n"

    assert forget(text, "[a]:22022") == (f"a {KEY}\n", 1)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        f"*.a {KEY}",
        f"a,!b {KEY}",
        f"@revoked a {KEY}",
        f"@cert-authority a {KEY}",
        "|1|x",
        "|1|&|&",
        "   ",
    ],
)
def test_what_is_no_key_of_one_host_stays(line: str) -> None:
    assert forget(line + "\n", "a", "b") == (line + "\n", 0)


def test_hashed_names_are_found(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"a {KEY}\n[a]:2222 {KEY}\nb {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    lines = file.read_text().splitlines(keepends=True)
    assert all(line.startswith("|1|") for line in lines)

    assert forget("".join(lines), "[a]:2222") == (lines[0] + lines[2], 1)
    assert forget("".join(lines), "a", "b") == (lines[1], 2)


@given(st.binary(), st.lists(st.text(max_size=5)))
def test_any_content_is_taken_and_only_whole_lines_go(content: bytes, names: list[str]) -> None:
    kept, count = without_hosts(content, names)

    assert len(content.splitlines()) - len(kept.splitlines()) == count


def test_without_names_everything_stays_to_the_byte() -> None:
    assert without_hosts(b"a b\r\n\xff\n\nlast", []) == (b"a b\r\n\xff\n\nlast", 0)
