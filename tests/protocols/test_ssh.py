"""The command lines of ssh and scp."""

from __future__ import annotations

from pathlib import Path

import pytest

from regisseur.protocols.ssh import (
    auth_options,
    connection_options,
    rewrite_address,
    scp_location,
    ssh_argv,
    tool_argv,
    words,
)


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


def values(options: tuple[str, ...]) -> dict[str, str]:
    assert set(options[::2]) == {"-o"}
    return dict(option.split("=", 1) for option in options[1::2])


def test_new_host_keys_go_to_the_file_and_must_stay() -> None:
    assert values(connection_options("accept-new", "/run/known_hosts")) == {
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": "/run/known_hosts",
        "HashKnownHosts": "no",
        "LogLevel": "ERROR",
    }


def test_a_strict_check_accepts_nothing_and_uses_the_files_of_the_user() -> None:
    assert values(connection_options("strict", None)) == {"StrictHostKeyChecking": "yes", "LogLevel": "ERROR"}
    assert values(connection_options("strict", "/f"))["UserKnownHostsFile"] == "/f"


def test_without_a_check_nothing_is_kept() -> None:
    assert values(connection_options("off", "/f")) == {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }


def test_another_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="accept-new, strict, off, not 'on'"):
        connection_options("on", None)


def test_times_are_whole_seconds_and_never_rounded_to_none() -> None:
    given = values(connection_options("off", None, connect_timeout=0.2, alive_interval=1.5))

    assert (given["ConnectTimeout"], given["ServerAliveInterval"], given["ServerAliveCountMax"]) == ("1", "2", "3")


def test_a_lab_network_prefers_the_cheap_exchange_of_keys() -> None:
    assert values(connection_options("off", None, lab_network=True))["KexAlgorithms"] == "^curve25519-sha256"


def test_a_file_name_with_blanks_or_percent_signs_stays_one_name() -> None:
    assert values(connection_options("strict", "/a b/c%d"))["UserKnownHostsFile"] == '"/a b/c%%d"'
