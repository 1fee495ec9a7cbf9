"""The command ``regisseur`` for tests of it: as a child process, or called in this one where many cases are tried."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from regisseur.actors.log import logger
from regisseur.engine.cli import main

__all__ = ["PROGRAM", "Said", "call", "regisseur", "start"]

PROGRAM = str(Path(sys.executable).with_name("regisseur"))
"""The console script that stands beside the interpreter."""

_LIMIT = 110  # seconds until it is taken for hung: nearly the limit of a test, since the machine may be busy
_LAST_TIMES_OUT = str(Path(__file__).with_name("last_times_out.py"))


def regisseur(
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: str | IO[bytes] | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    environ: dict[str, str] | None = None,
    last_of: int = 0,
    by: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run ``regisseur ARGUMENTS`` to its end; outputs as UTF-8.

    Args:
        stdin: text for its stdin, or a file; None: nothing to read.
        environ: variables beside those of `_environment`.
        last_of: it is to start so many processes, and the limit of time (-u) is reached by the last of them that has
            not ended, and only by that: see `last_times_out`.
        by: words before the command.
    """
    program = [sys.executable, _LAST_TIMES_OUT, str(last_of)] if last_of else [PROGRAM]
    given = {"input": stdin or ""} if stdin is None or isinstance(stdin, str) else {"stdin": stdin}
    return subprocess.run(
        [*by, *program, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment(environ),
        encoding="utf-8",
        timeout=_LIMIT,
        check=False,
        **given,
    )  # fmt: skip


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start ``regisseur ARGUMENTS``, with pipes for its outputs; use it in a ``with`` that sees to its end."""
    return subprocess.Popen(
        [PROGRAM, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment(None),
        encoding="utf-8",
    )


class Said(NamedTuple):
    """What a call of `main` came to."""

    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Said:
    """Call ``main(ARGUMENTS)`` in this process; the logger's handlers, which it turns to stderr, are restored."""
    levels = [(handler, handler.level) for handler in logger.handlers]
    try:
        code = main(list(map(str, arguments)))
    finally:
        for handler, level in levels:
            handler.setLevel(level)
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(None)  # which ours takes as: whatever sys.stdout is
    return Said(code, *capsys.readouterr())


def _environment(more: dict[str, str] | None) -> dict[str, str]:
    """The environment, without what changes how the command line looks and what is configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REGISSEUR", "CLICOLOR"))}
    kept.pop("NO_COLOR", None)
    return kept | {"XDG_CONFIG_HOME": "/nonexistent"} | (more or {})
