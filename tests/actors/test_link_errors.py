"""The errors of links, and exceptions on their way from one node to another."""

from __future__ import annotations

import pickle
from typing import Any

import pykka
import pytest

from regisseur.actors._link_errors import _CLASSES, error_of, failure_of
from regisseur.actors.future import DeadlockError, Timeout
from regisseur.actors.links import LinkFullError, PeerLostError, RefusedError, RemoteError, UnreachableError
from regisseur.protocols.envelope import decode, decode_message, seal
from regisseur.protocols.errors import FieldError
from regisseur.protocols.links import Failure

KNOWN: list[Exception] = [
    ValueError("no"),
    KeyError("key"),
    TypeError(),
    RuntimeError("a", 2, (3,)),
    FileNotFoundError(2, "No such file", "/x"),
    OSError("only text"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ZeroDivisionError("division by zero"),
    pykka.ActorDeadError("dead"),
    pykka.Timeout("late"),
    Timeout("no result after 3 seconds"),
    DeadlockError("in a circle"),
    PeerLostError("'x'", "gone"),
    LinkFullError("'x'", "behind"),
    RemoteError("Odd", "text", "'y'"),
    FieldError("kind", "field", "is missing"),
]


def sent(error: BaseException) -> Exception:
    """What arrives of *error* elsewhere."""
    failure = decode_message(decode(seal(failure_of(error), "")))
    assert isinstance(failure, Failure)
    return error_of(failure, "'lab'")


@pytest.mark.parametrize("error", KNOWN, ids=lambda e: type(e).__name__)
def test_a_known_exception_arrives_equal_in_class_text_and_arguments(error: Exception) -> None:
    arrived = sent(error)

    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert str(arrived) == str(error)
    assert arrived.__notes__ == ["raised in node 'lab'"]


class MineError(ValueError):
    """A subclass that the other side can not know."""


class BrokenError(Exception):
    """Its text can not be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "type_name", "text"),
    [
        (MineError("mine"), "MineError", "mine"),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (StopIteration(1), "StopIteration", "1"),
        (ExceptionGroup("some", [ValueError()]), "ExceptionGroup", "some (1 sub-exception)"),
        (BrokenError(), "BrokenError", "(its text could not be made)"),
        (MineError("\ud800"), "MineError", "\\ud800"),
    ],
)
def test_any_other_arrives_as_its_name_and_text(error: BaseException, type_name: str, text: str) -> None:
    arrived = sent(error)

    assert isinstance(arrived, RemoteError)
    assert (arrived.type_name, arrived.text, arrived.node) == (type_name, text, "'lab'")


def test_arguments_that_can_not_travel_become_text() -> None:
    assert sent(ValueError(object)).args == (str(object),)


@pytest.mark.parametrize(
    "failure",
    [
        Failure("SystemExit", "text", "SystemExit", ()),
        Failure("os.system", "text", "os.system", ("ls",)),
        Failure("UnicodeDecodeError", "text", "UnicodeDecodeError", (1,)),
        Failure("ValueError", "text", "ValueError", "no tuple"),
        Failure("RemoteError", "text", "links.RemoteError", (1, 2, 3, 4)),
    ],
)
def test_a_failure_that_makes_no_sense_is_a_remote_error(failure: Failure) -> None:
    assert isinstance(error_of(failure, "'lab'"), RemoteError)


def test_no_class_in_the_table_ends_more_than_the_ask() -> None:
    assert not [c for c in _CLASSES.values() if not issubclass(c, Exception) or issubclass(c, StopIteration | Warning)]


@pytest.mark.parametrize("cls", [PeerLostError, LinkFullError, UnreachableError, RefusedError])
def test_the_errors_of_links_name_peer_and_reason_and_pickle(cls: Any) -> None:
    error = cls("'lab' (process 7)", "the reason")
    copy = pickle.loads(pickle.dumps(error))

    assert (copy.peer, copy.reason) == ("'lab' (process 7)", "the reason")
    assert str(copy) == str(error)
    assert str(error).startswith("node 'lab' (process 7) ")
    assert str(error).endswith(": the reason")
