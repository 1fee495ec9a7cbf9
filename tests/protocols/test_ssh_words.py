"""The options of an ssh command line are read as ssh reads them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.ssh_words import jump_words, ssh_options


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["-p", "2222"], [("Port", "2222")]),
        (["-p2222", "-l", "me"], [("Port", "2222"), ("User", "me")]),
        (["-o", "Port=22"], [("Port", "22")]),
        (["-oPort 22"], [("Port", "22")]),
        (["-o", "ProxyCommand = nc -X 5 %h %p"], [("ProxyCommand", "nc -X 5 %h %p")]),
        (["-4Ci", "key"], [("AddressFamily", "inet"), ("Compression", "yes"), ("IdentityFile", "key")]),
        (["-tt", "-v", "-E", "log"], []),
    ],
)
def test_each_way_to_write_an_option_is_understood(words: list[str], settings: list[tuple[str, str]]) -> None:
    assert list(ssh_options(words).settings) == settings


def test_the_first_value_counts_however_its_keyword_is_written() -> None:
    options = ssh_options(["-o", "user=a", "-l", "b", "-o", "USER c"])

    assert options.first("User") == "a"
    assert options.all("User") == ["a", "b", "c"]
    assert options.first("Port") is None


def test_a_file_takes_the_place_of_the_users_own() -> None:
    assert ssh_options(["-F", "none"]).file == "none"
    assert ssh_options([]).file is None


def test_paths_may_have_blanks_in_quotes_and_percent_signs_that_are_doubled() -> None:
    options = ssh_options(["-o", 'UserKnownHostsFile="/a b" /100%%'])

    assert options.paths("UserKnownHostsFile") == ["/a b", "/100%"]


@pytest.mark.parametrize("words", [["host"], ["-p"], ["-o", "Port"], ["-o", "=22"], [""], ["-"]])
def test_what_is_no_option_is_an_error(words: list[str]) -> None:
    with pytest.raises(ValueError, match="ssh"):
        ssh_options(words)


@given(st.lists(st.text(max_size=6), max_size=6))
def test_nothing_else_is_raised_whatever_the_words_are(words: list[str]) -> None:
    with contextlib.suppress(ValueError):
        options = ssh_options(words)
        assert all(key and value for key, value in options.settings)


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        ("gateway", ("", "gateway", None)),
        (" me@gateway:2222", ("me", "gateway", 2222)),
        ("ssh://me@gateway:2222", ("me", "gateway", 2222)),
        ("ssh://gateway/", ("", "gateway", None)),
        ("me@example.org@gateway", ("me@example.org", "gateway", None)),
        ("[::1]:22", ("", "::1", 22)),
        ("me@[fe80::1%eth0]", ("me", "fe80::1%eth0", None)),
    ],
)
def test_a_host_to_go_over(jump: str, words: tuple[str, str, int | None]) -> None:
    assert jump_words(jump) == words


@pytest.mark.parametrize("jump", ["", "me@", "gateway:ssh", "::1", "a/b"])
def test_what_is_no_host_to_go_over_is_refused(jump: str) -> None:
    with pytest.raises(ValueError, match="no host to go over"):
        jump_words(jump)
