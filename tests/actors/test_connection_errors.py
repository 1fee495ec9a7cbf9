"""Errors of the way to another host: one class for each way to fail, with a text that helps."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from regisseur.actors import connection_errors as module
from regisseur.actors.connection_errors import (
    CommandLostError,
    CommandUnstartedError,
    ConnectionFailedError,
    ConnectionLostError,
    ConnectTimeoutError,
    HostConnectionError,
    RefusedError,
    error_for,
    lost_error,
    session_error,
    unreported_error,
)
from regisseur.protocols.ssh_failure import Failure, classify, telling_line

SAMPLES = sorted((Path(__file__).parents[1] / "protocols" / "ssh_stderr").glob("*.txt"))
CLASSES = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, HostConnectionError)]


def test_each_way_to_fail_has_a_class_of_its_own() -> None:
    errors = [error_for(failure, "n1", "") for failure in Failure]

    assert len({type(error) for error in errors}) == len(Failure)
    assert [error for error in errors if not isinstance(error, ConnectionFailedError)] == [errors[8]]
    assert isinstance(errors[8], ConnectionLostError)


def test_each_class_is_listed() -> None:
    assert {item.__name__ for item in CLASSES} <= set(module.__all__)


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_a_text_says_who_what_and_what_to_do(item: type[HostConnectionError]) -> None:
    text = str(item("n1", "line\nmore"))

    assert text.startswith(f"n1: {item.what} (more). {item.advice}")
    assert text.endswith(".")


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_an_error_comes_whole_out_of_a_pickle(item: type[HostConnectionError]) -> None:
    error = pickle.loads(pickle.dumps(item("n1", "why")))

    assert type(error) is item
    assert (error.host, error.said, str(error)) == ("n1", "why", str(item("n1", "why")))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_what_ssh_said_is_in_the_text_of_the_error(sample: Path) -> None:
    said = sample.read_text()
    error = error_for(classify(said), "n1", said, status=255)

    assert telling_line(said)[:100] in str(error)
    assert said == error.said


def test_nothing_said_is_no_reason_to_say_nothing() -> None:
    assert str(error_for(None, "n1", "")).startswith("n1: no connection could be made. ")


def test_a_shell_that_ended_is_not_a_connection_that_failed() -> None:
    error = error_for(classify("exec: /bin/sh: not found"), "n1", "exec: /bin/sh: not found", status=127)

    assert isinstance(error, CommandUnstartedError)
    assert error.status == 127
    assert "(exec: /bin/sh: not found)" in str(error)
    assert str(error).endswith("The login shell ended with status 127.")
    assert pickle.loads(pickle.dumps(error)).status == 127


def test_a_connector_that_had_to_be_killed_has_failed_as_was_said() -> None:
    assert type(error_for(Failure.TIMEOUT, "n1", "", status=-9)) is ConnectTimeoutError
    assert type(error_for(Failure.REFUSED, "n1", "", status=None)) is RefusedError


def test_what_is_known_of_a_command_is_told_by_the_class() -> None:
    assert type(session_error("n1", "Session open refused by peer")) is CommandUnstartedError
    assert type(lost_error("n1", "")) is ConnectionLostError
    assert type(unreported_error("n1")) is CommandLostError
    assert "exit status is unknown" in str(lost_error("n1", ""))
