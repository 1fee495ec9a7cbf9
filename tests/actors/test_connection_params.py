"""Connection parameters: where they come from, what they must be, and the command lines that follow."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from regisseur.actors.config import default_connection_params, make_connection_params, make_default_connection_params
from regisseur.actors.connection_params import ConnectionParams
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host import Host


@pytest.fixture(autouse=True)
def _plain_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_CONFIG", "/nonexistent")
    for key, value in make_default_connection_params().items():
        monkeypatch.setitem(default_connection_params, key, value)


def test_the_fields_are_the_settings_with_the_same_defaults() -> None:
    assert ConnectionParams().as_dict() == make_default_connection_params()


def test_what_is_not_given_comes_from_the_defaults_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_connection_params, "user", "root")

    params = ConnectionParams.of({"port": 2222})

    assert (params.user, params.port) == ("root", 2222)


def test_parameters_made_by_hand_do_not_look_at_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_connection_params, "user", "root")

    assert ConnectionParams.of(ConnectionParams(port=2)).user is None


def test_a_host_beats_the_parameters() -> None:
    params = ConnectionParams.of({"user": "u", "port": 1, "keyfile": "k"}, Host("h", user="me", port=2))

    assert (params.user, params.port, params.keyfile) == ("me", 2, "k")


def test_they_are_taken_as_a_dict_where_a_dict_is_taken() -> None:
    params = ConnectionParams.of({"user": "u"})

    assert {**params, "port": 3}["user"] == "u"
    assert dict(params) == params.as_dict()
    assert make_connection_params(params) == params.as_dict()
    with pytest.raises(KeyError):
        params["as_dict"]


def test_they_are_values() -> None:
    params = ConnectionParams.of({"ssh_options": ["-v"]})

    assert params == ConnectionParams.of({"ssh_options": ("-v",)})
    assert len({params, dataclasses.replace(params)}) == 1
    assert pickle.loads(pickle.dumps(params)) == params
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.user = "other"  # type: ignore[misc]  # which is the point


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"port": "2222"}, 2222),
        ({"port": False}, None),
        ({"user": False}, None),
        ({"keyfile": Path("/k")}, "/k"),
        ({"known_hosts": Path("/k")}, "/k"),
        ({"ssh": ["sudo", "ssh"]}, ("sudo", "ssh")),
        ({"ssh_options": None}, ()),
        ({"ssh_options": "-v -o A=b"}, ("-v", "-o", "A=b")),
        ({"pty": 1}, True),
        ({"host_rewrite_func": str.upper}, str.upper),
        ({"host_rewrite_func": ["a", "b"]}, ("a", "b")),
    ],
)
def test_what_scripts_give_is_made_uniform(given: dict[str, Any], expected: Any) -> None:
    (key,) = given

    assert expected == ConnectionParams.of(given)[key]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"ssh_option": ()}, r"ssh_option: there is no such parameter; did you mean ssh_options\?"),
        ({"zzz": 1}, "zzz: there is no such parameter; there are alive_interval, "),
        ({"port": "ssh"}, "port: expected a whole number, 0 or more, not 'ssh'"),
        ({"host_keys": "on"}, "host_keys: expected accept-new, strict or off, not 'on'"),
        ({"host_rewrite_func": 3}, "host_rewrite_func: expected a list of a pattern"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_right(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^connection parameters: {complaint}"):
        ConnectionParams.of(given)


# -- command lines -------------------------------------------------------------------------------------------------


def test_options_of_the_user_stand_before_those_that_follow_from_parameters() -> None:
    words = ConnectionParams.of({"ssh_options": ("-o", "StrictHostKeyChecking=no"), "connect_timeout": 3}).ssh_words()

    assert words[:3] == ("ssh", "-o", "StrictHostKeyChecking=no")
    assert words.index("StrictHostKeyChecking=no") < words.index("StrictHostKeyChecking=accept-new")
    assert "ConnectTimeout=3" in words


def test_the_connector_line_ends_with_the_address() -> None:
    params = ConnectionParams.of({"host_rewrite_func": ("$", ".net"), "user": "u"})

    words = params.connector_argv(Host("h", port=5))

    assert words[0] == "ssh"
    assert words[-5:] == ("-o", "User=u", "-o", "Port=5", "h.net")


def test_an_address_that_looks_like_an_option_is_refused() -> None:
    with pytest.raises(ValueError, match="looks like an option"):
        ConnectionParams().connector_argv("-oProxyCommand=x")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"ssh": "/usr/bin/ssh"}, True),
        ({"ssh": ("ssh", "-4")}, True),
        ({"ssh": "oarsh"}, False),
        ({"ssh": ("sudo", "ssh")}, False),
        ({"ssh": "oarsh", "multiplex": True}, True),
        ({"multiplex": False}, False),
        ({"connector": "native"}, True),
    ],
)
def test_connections_are_shared_where_the_program_is_ssh(given: dict[str, Any], expected: bool) -> None:
    assert expected == ConnectionParams.of(given).is_multiplexed
