"""What a script of long ago is told when it calls an attribute."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regisseur.engine._old_idioms import explain_old_idiom

PROCESS: Any = SimpleNamespace(ok=True, processes=[], stdout="", own=3, run=lambda: PROCESS)


def notes_of(expression: str, directory: Path) -> list[str]:
    """The notes on what *expression* raises, run as a script."""
    script = directory / "script.py"
    script.write_text(expression)
    with pytest.raises((TypeError, ArithmeticError, AttributeError)) as caught:
        exec(compile(expression, str(script), "exec"), {"process": PROCESS})
    explain_old_idiom(caught.value)
    notes: list[str] = getattr(caught.value, "__notes__", [])
    return notes


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("process.ok()", "ok"),
        ("print(process.run().ok())", "ok"),
        ("for each in process.processes(): pass", "processes"),
        ("print('é', process.stdout(1), 'è')", "stdout"),
        ("process.run(\n).ok(\n)", "ok"),
    ],
)
def test_calling_an_attribute_of_processes_tells_to_leave_the_parentheses_out(
    expression: str, name: str, tmp_path: Path
) -> None:
    assert notes_of(expression, tmp_path) == [
        f"{name} is an attribute, not a method: write .{name} without parentheses"
    ]


@pytest.mark.parametrize(
    "expression", ["ok = 1; ok()", "process.own()", "process.nothing()", "bool(1)()", "1 / 0", "process.run(1)"]
)
def test_other_errors_are_left_alone(expression: str, tmp_path: Path) -> None:
    assert notes_of(expression, tmp_path) == []


def test_an_error_without_a_traceback_or_source_is_left_alone() -> None:
    error: Any = TypeError("'bool' object is not callable")
    explain_old_idiom(error)

    assert not hasattr(error, "__notes__")
    with pytest.raises(TypeError) as caught:
        eval("process.ok()", {"process": PROCESS})
    explain_old_idiom(caught.value)
    assert not hasattr(caught.value, "__notes__")
