"""Command lines of ssh and scp out of connection parameters."""

from __future__ import annotations

from typing import Any

import pytest

from regisseur.actors.config import default_connection_params
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.ssh_utils import (
    get_rewritten_host_address,
    get_scp_command,
    get_ssh_command,
    get_ssh_scp_auth_options,
    get_taktuk_connector_command,
)

COMMANDS = {
    "ssh": get_ssh_command,
    "scp": get_scp_command,
    "taktuk_connector": get_taktuk_connector_command,
}


@pytest.fixture(autouse=True)
def _plain_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"user": None, "keyfile": None, "port": None, "host_rewrite_func": None}.items():
        monkeypatch.setitem(default_connection_params, key, value)


def shouted(address: str) -> str:
    return address.upper()


@pytest.mark.parametrize("tool", COMMANDS)
def test_a_command_is_the_tool_and_its_options(tool: str) -> None:
    params = {tool: "mytool", f"{tool}_options": ("-v", "-x")}

    assert COMMANDS[tool](connection_params=params)[:3] == ("mytool", "-v", "-x")


@pytest.mark.parametrize("tool", COMMANDS)
def test_authentication_comes_last(tool: str) -> None:
    params = {tool: ("my", "tool"), f"{tool}_options": None, "user": "v", "port": 3}

    words = COMMANDS[tool]("u", "k", None, params)

    assert words[:2] == ("my", "tool")
    assert words[-6:] == ("-o", "User=u", "-i", "k", "-o", "Port=3")


def test_the_default_commands_check_host_keys() -> None:
    for command in COMMANDS.values():
        assert "StrictHostKeyChecking=accept-new" in command()
        assert "-tt" not in command()
    assert "-rp" in get_scp_command()


def test_what_is_given_beats_the_parameters() -> None:
    assert get_ssh_scp_auth_options(user="u", connection_params={"user": "v"}) == ("-o", "User=u")


@pytest.mark.parametrize("nothing", [None, False])
def test_what_is_not_given_comes_from_the_parameters(nothing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_connection_params, "keyfile", "/k")

    assert get_ssh_scp_auth_options(nothing, nothing, nothing, {"user": "v"}) == ("-o", "User=v", "-i", "/k")


def test_without_anything_there_are_no_options() -> None:
    assert get_ssh_scp_auth_options() == ()
    assert get_ssh_scp_auth_options(connection_params={"user": False}) == ()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, "h1"),
        (lambda address: address + ".net", "h1.net"),
        (("^h", "host-"), "host-1"),
        (["(.)1", r"\g<1>2"], "h2"),
        ("shutil:which", "None"),
    ],
)
def test_an_address_is_rewritten_by_the_rule(rule: Any, expected: str) -> None:
    assert expected == get_rewritten_host_address("h1", {"host_rewrite_func": rule})


def test_the_default_rule_is_used_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_connection_params, "host_rewrite_func", shouted)

    assert get_rewritten_host_address("h1", None) == "H1"


@pytest.mark.parametrize("rule", [3, ("a", "b", "c"), "nosuch.module:f", "shutil:nosuch", ":", "shutil"])
def test_a_rule_that_is_none_is_told(rule: Any) -> None:
    with pytest.raises(ConfigurationError, match="host_rewrite_func"):
        get_rewritten_host_address("h1", {"host_rewrite_func": rule})
