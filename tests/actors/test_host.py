"""Hosts and lists of hosts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from regisseur.actors.host import Host, get_hosts_list, get_hosts_set, get_unique_hosts_list


def test_a_host_has_what_it_was_given() -> None:
    host = Host("h1", user="u", keyfile="k", port=2)

    assert (host.address, host.user, host.keyfile, host.port) == ("h1", "u", "k", 2)


def test_what_was_not_given_is_none() -> None:
    host = Host("h1")

    assert (host.user, host.keyfile, host.port) == (None, None, None)


def test_a_copy_keeps_what_is_not_given() -> None:
    host = Host("h1", user="u", keyfile="k", port=2)

    assert Host("h1", "u", "k", 22) == Host(host, port=22)
    assert Host("h1", None, "k", 2) == Host(host, user=None)
    assert host == Host(host)
    assert Host(host) is not host


def test_hosts_are_equal_when_all_four_attributes_are() -> None:
    assert Host("h1", port=2) == Host("h1", port=2)
    assert hash(Host("h1", port=2)) == hash(Host("h1", port=2))
    assert Host("h1") != Host("h1", user="u")
    assert Host("h1") != Host("h2")


def test_a_host_never_equals_a_text() -> None:
    assert Host("h1") != "h1"


def test_the_attributes_may_be_changed() -> None:
    host = Host("h1")
    host.user = "u"

    assert host == Host("h1", user="u")


def test_repr_shows_what_is_given() -> None:
    assert repr(Host("h1")) == "Host('h1')"
    assert str(Host("h1", user="u", port=2)) == "Host('h1', user='u', port=2)"


def test_hosts_copy_and_pickle() -> None:
    host = Host("h1", user="u")

    assert host == copy.deepcopy(host) == pickle.loads(pickle.dumps(host))


@pytest.mark.parametrize("address", [None, 3, b"h"])
def test_an_address_must_be_a_text_or_a_host(address: Any) -> None:
    with pytest.raises(TypeError, match="address of a Host"):
        Host(address)


@pytest.mark.parametrize("address", ["", "-oProxyCommand=x"])
def test_an_address_may_not_look_like_an_option(address: str) -> None:
    with pytest.raises(ValueError, match="it is empty or looks like an option"):
        get_hosts_list(["h1", address])


def test_a_list_of_hosts_keeps_order_and_duplicates() -> None:
    assert get_hosts_list(["b", Host("a"), "b"]) == [Host("b"), Host("a"), Host("b")]


def test_a_list_of_hosts_holds_copies() -> None:
    host = Host("a")

    assert get_hosts_list([host])[0] is not host


@pytest.mark.parametrize("one", ["h1", Host("h1")])
def test_one_host_is_a_list_of_one(one: Host | str) -> None:
    assert get_hosts_list(one) == get_unique_hosts_list(one) == [Host("h1")]
    assert get_hosts_set(one) == {Host("h1")}


def test_a_unique_list_keeps_the_first_of_equal_hosts() -> None:
    hosts: list[str | Host] = ["b", "a", Host("b")]

    assert get_unique_hosts_list(iter(hosts)) == [Host("b"), Host("a")]


def test_a_set_of_hosts_has_each_once() -> None:
    assert get_hosts_set(["a", Host("a"), Host("a", user="u")]) == {Host("a"), Host("a", user="u")}
