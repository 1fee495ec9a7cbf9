"""Errors of the base rooms: their text, their data, and that they pickle."""

from __future__ import annotations

import pickle
import threading

import pytest

from regisseur.actors.exception import ActionsFailed, ConfigurationError, ProcessesFailed


class Dumping:
    """Something with a dump, which does not pickle."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()

    def dump(self) -> str:
        return f"<{self.name}>\nstdout: sorry"


def test_the_text_holds_the_dump_of_each_process() -> None:
    error = ProcessesFailed([Dumping("p1"), Dumping("p2")])

    assert str(error) == "2 failed processes:\n<p1>\nstdout: sorry\n<p2>\nstdout: sorry"


def test_the_processes_are_kept() -> None:
    process = Dumping("p1")

    assert [process] == ProcessesFailed([process]).processes
    assert [process] == ActionsFailed([process]).actions


def test_what_has_no_dump_is_shown_as_text() -> None:
    assert str(ActionsFailed(["a1"])) == "1 failed action:\na1"


def test_one_process_is_singular() -> None:
    assert str(ProcessesFailed(["p"])).startswith("1 failed process:")


def test_the_text_of_no_processes_is_not_empty() -> None:
    assert str(ProcessesFailed([])) == "0 failed processes"


def test_of_many_processes_only_some_are_shown() -> None:
    text = str(ProcessesFailed([f"p{number}" for number in range(1000)]))

    assert text.startswith("1000 failed processes:\np0\np1\n")
    assert text.endswith("p19\n... and 980 more, see .processes")


@pytest.mark.parametrize("kind", [ProcessesFailed, ActionsFailed])
def test_an_error_comes_out_of_a_pickle_with_its_text(kind: type[ProcessesFailed | ActionsFailed]) -> None:
    error = kind([Dumping("p1")])

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert str(error) == str(copy)
    assert copy.args[0][0].name == "p1"


def test_a_configuration_error_tells_file_line_and_key() -> None:
    error = ConfigurationError("/c.yaml", "expected true or false, not 3", "configuration.color_mode", 7)

    assert str(error) == "/c.yaml, line 7: configuration.color_mode: expected true or false, not 3"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert (error.source, error.key, error.line) == ("/c.yaml", "configuration.color_mode", 7)


def test_a_configuration_error_of_a_variable_has_no_line() -> None:
    assert str(ConfigurationError("REGISSEUR_PORT", "bad")) == "REGISSEUR_PORT: bad"
