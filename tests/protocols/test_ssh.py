"""The command lines of ssh and scp."""

from __future__ import annotations

from pathlib import Path

import pytest

from regisseur.protocols.ssh import auth_options, rewrite_address, scp_location, ssh_argv, tool_argv, words


def test_authentication_options_suit_ssh_and_scp() -> None:
    assert auth_options("u", Path("/k"), 22) == ("-o", "User=u", "-i", "/k", "-o", "Port=22")


def test_what_is_not_given_has_no_option() -> None:
    assert auth_options() == ()
    assert auth_options(keyfile="k") == ("-i", "k")


def test_a_text_is_one_word_and_nothing_is_none() -> None:
    assert [words("a b"), words(["a", "b"]), words(None)] == [("a b",), ("a", "b"), ()]


def test_authentication_comes_after_the_options_of_the_tool() -> None:
    assert tool_argv("ssh", ["-v"], auth_options("u")) == ("ssh", "-v", "-o", "User=u")


def test_a_tool_may_have_words_of_its_own() -> None:
    assert tool_argv(("oarsh", "-x")) == ("oarsh", "-x")


def test_the_command_is_the_last_word() -> None:
    assert ssh_argv(["ssh"], "h1", "echo a; echo b") == ("ssh", "h1", "echo a; echo b")


@pytest.mark.parametrize("address", ["", "-oProxyCommand=reboot"])
def test_an_address_that_looks_like_an_option_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address of a host"):
        ssh_argv(["ssh"], address, "true")
    with pytest.raises(ValueError, match="address of a host"):
        scp_location(address, "/tmp")


def test_an_ipv6_address_is_put_in_brackets_for_scp() -> None:
    assert [
        scp_location("h1", "/a b"),
        scp_location("fe80::1", "x"),
        scp_location("[::1]", "x"),
    ] == ["h1:/a b", "[fe80::1]:x", "[::1]:x"]


def test_an_address_is_rewritten_by_a_pattern() -> None:
    assert rewrite_address("h1", r"^[^.]+$", r"\g<0>.grid5000.fr") == "h1.grid5000.fr"
    assert rewrite_address("h1.org", r"^[^.]+$", r"\g<0>.grid5000.fr") == "h1.org"


@pytest.mark.parametrize(("pattern", "replacement"), [("(", ""), ("h", r"\2")])
def test_a_bad_pattern_is_told(pattern: str, replacement: str) -> None:
    with pytest.raises(ValueError, match="cannot rewrite addresses"):
        rewrite_address("h1", pattern, replacement)
