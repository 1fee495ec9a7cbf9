"""Small tools: ports, remembered results, texts."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from deadline import DEADLINE
from regisseur.actors import utils
from regisseur.actors.config import configuration
from regisseur.actors.host import Host
from regisseur.actors.utils import (
    checked_min,
    comma_join,
    compact_output,
    do_once,
    get_port,
    intr_event_wait,
    is_string,
    memoize,
    name_from_cmdline,
    non_retrying_intr_cond_wait,
    singleton_to_collection,
    str_from_cmdline,
)


@pytest.fixture
def three_ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Sockets bound to three ports in a row, which are the range of get_port."""
    for first in range(20000, 60000, 3):
        sockets = [socket.socket() for _ in range(3)]
        try:
            for number, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + number))
        except OSError:
            for one in sockets:
                one.close()
            continue
        break
    monkeypatch.setitem(configuration, "port_range", (first, first + 3))
    monkeypatch.setattr(utils, "_ports", utils._Ports())
    yield sockets
    for one in sockets:
        one.close()


def test_ports_come_in_turn(three_ports: list[socket.socket]) -> None:
    first = configuration["port_range"][0]
    for one in three_ports:
        one.close()

    ports = [get_port() for _ in range(6)]

    assert set(ports[:3]) == {first, first + 1, first + 2}
    assert ports[:3] == ports[3:]
    assert all((port - first) % 3 == (ports[0] - first + number) % 3 for number, port in enumerate(ports))


def test_a_port_in_use_is_passed_over(three_ports: list[socket.socket]) -> None:
    free = three_ports[1].getsockname()[1]
    three_ports[1].close()

    assert [free] * 4 == [get_port() for _ in range(4)]


def test_it_is_told_when_all_ports_are_in_use(three_ports: list[socket.socket]) -> None:
    assert len(three_ports) == 3
    with pytest.raises(OSError, match="all ports from") as caught:
        get_port()

    assert caught.value.errno == errno.EADDRINUSE


def test_a_new_range_is_obeyed_at_once(three_ports: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    first = configuration["port_range"][0]
    for one in three_ports:
        one.close()
    monkeypatch.setattr(utils._ports, "next", 7)

    assert get_port() == first


def test_a_memoized_function_is_called_once_for_equal_texts_of_arguments() -> None:
    calls: list[tuple[int, int]] = []

    @memoize
    def add(a: int, b: int = 1) -> int:
        """Add."""
        calls.append((a, b))
        return a + b

    assert [add(1), add(1), add(1, b=2), add(1, 2)] == [2, 2, 3, 3]
    assert calls == [(1, 1), (1, 2), (1, 2)]
    assert add.cache == {"(1,){}": 2, "(1,){'b': 2}": 3, "(1, 2){}": 3}
    assert add.__doc__ == "Add."


def test_something_is_done_once_for_each_key() -> None:
    calls: list[int] = []

    def work(number: int) -> int:
        calls.append(number)
        return number

    key, other = object(), object()

    assert [do_once(key, work, 1), do_once(key, work, 2), do_once(other, work, number=3)] == [1, 1, 3]
    assert do_once(key, lambda: "another function") == "another function"
    assert calls == [1, 3]


def test_a_call_that_raises_does_not_count() -> None:
    key = object()
    with pytest.raises(ZeroDivisionError):
        do_once(key, lambda: 1 // 0)

    assert do_once(key, lambda: 2) == 2


def test_others_wait_for_the_one_who_does_it() -> None:
    key, begun, go_on = object(), threading.Event(), threading.Event()
    results: list[int] = []

    def work() -> int:
        begun.set()
        go_on.wait(DEADLINE)
        return 7

    threads = [threading.Thread(target=lambda: results.append(do_once(key, work))) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(DEADLINE)
    begun.clear()
    go_on.set()
    for thread in threads:
        thread.join()

    assert results == [7, 7, 7]
    assert not begun.is_set()


def test_long_output_is_compacted_by_the_configured_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "compact_output_threshold", 10)

    assert compact_output("0123456789abcdefghijkl") == "01234\n[...]\nhijkl"
    assert compact_output(b"0123456789") == b"0123456789"


def test_commas_join_what_is_not_empty() -> None:
    assert [comma_join("a", "", "b"), comma_join(), comma_join("a")] == ["a, b", "", "a"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("ab", ["ab"]), (Host("h"), [Host("h")]), (3, [3]), (None, []), ([], []), (("a",), ("a",)), ({"a"}, {"a"})],
)
def test_one_thing_becomes_a_list_and_collections_stay(given: object, expected: object) -> None:
    assert expected == singleton_to_collection(given)


def test_only_a_str_is_a_string() -> None:
    assert [is_string("a"), is_string(b"a"), is_string(None)] == [True, False, False]


@pytest.mark.parametrize(("a", "b", "least"), [(None, None, None), (1, None, 1), (None, 2, 2), (1, 2, 1), (0, 3, 0)])
def test_the_least_of_two_leaves_none_out(a: int | None, b: int | None, least: int | None) -> None:
    assert least == checked_min(a, b)


def test_waiting_for_an_event_ends_with_it_or_with_the_timeout() -> None:
    event = threading.Event()

    assert not intr_event_wait(event, "0.001")
    event.set()
    assert intr_event_wait(event)


def test_waiting_for_a_condition_ends_after_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "intr_period", 0.001)
    condition = threading.Condition()

    with condition:
        assert not non_retrying_intr_cond_wait(condition)
        assert not non_retrying_intr_cond_wait(condition, 0)


def test_commands_are_named_and_quoted() -> None:
    assert name_from_cmdline(["ls", "a  b"]) == "ls 'a b'"
    assert str_from_cmdline(["ls", "a  b"]) == "ls 'a  b'"
