"""Recording: the run directory of a script that has no engine to make one.

It begins before the script, so that it is there however the script ends. If
the script then starts an `Engine`, which makes its own run directory (perhaps
in the same place), the recording withdraws, and leaves the directory as if it
had never been; unless something was told to its log before: then it stays, as
the record of just that.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ..engine import Engine, _recorded
from ..rundir import RunDirectory, newest_run
from ._errors import CommandError, ExitCode

__all__ = ["Recording"]

_FIRST_LINES = 1
"""How many lines of the log are there before the script runs."""


class Recording:
    """A session in a run directory, around a script. Belongs to the main thread; use `begin`."""

    def __init__(self, run: RunDirectory, before: _Before, name: str, arguments: list[str]) -> None:
        self.directory = run.path
        self.is_kept = True
        """Whether the directory tells of this session, now or in the end."""
        self._run = run
        self._before = before
        self._name = name
        self._arguments = arguments
        self._open = contextlib.ExitStack()
        self._owner = os.getpid()

    @classmethod
    def begin(cls, script: Path, arguments: list[str], directory: Path | None, resume: bool) -> Self:
        """Begin a session in *directory*, or in the newest one of *script* with *resume*, or in a new one.

        Raises:
            RunDirectoryError: as `RunDirectory.create`.
            CommandError: the directory can not be made or written.
        """
        name = script.resolve().name
        if directory is None:
            directory = (newest_run(".", name) if resume else None) or _new_directory(script)
        try:
            before = _Before(directory)
            run = RunDirectory.create(directory, engine=name, argv=[str(script), *arguments])
        except OSError as error:
            reason = f"can not record in {directory}: {error.strerror}: name another one by --run-dir"
            raise CommandError(reason, ExitCode.INFRASTRUCTURE) from error
        return cls(run, before, name, arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.end("ok")  # where `watching` has ended it, this does nothing

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the journal while the script runs, and record how it ends."""
        with self._open:
            self._open.enter_context(_recorded(self._run, self._name, self._arguments))
            yield

    def withdraw(self) -> None:
        """End the session; if nothing was told to the log, make the directory what it was before."""
        if not self.is_kept or os.getpid() != self._owner:  # the engine of a forked child is no concern of ours
            return
        told_more = _count_lines(self._run.log_file) - self._before.lines > _FIRST_LINES
        self._open.close()
        if not told_more:
            self.is_kept = False
            self._before.restore()


class _Before:
    """What a directory held before a session began in it."""

    def __init__(self, directory: Path) -> None:
        self._run = RunDirectory(directory)
        self._was_there = self._run.path.exists()
        self._description = self._run.run_file.read_bytes() if self._run.run_file.exists() else None
        self._size = self._run.log_file.stat().st_size if self._run.log_file.exists() else None
        self._diffs = set(self._run.path.glob("code*.diff"))
        self.lines = _count_lines(self._run.log_file)

    def restore(self) -> None:
        """Make it so again; what the script itself has written there stays."""
        if self._size is None:
            self._run.log_file.unlink(missing_ok=True)
        else:
            with self._run.log_file.open("r+b") as log:
                log.truncate(self._size)
        for diff in set(self._run.path.glob("code*.diff")) - self._diffs:
            diff.unlink()
        if self._description is None:
            self._run.run_file.unlink(missing_ok=True)
        else:
            new = self._run.run_file.with_name(f".run.yaml.{os.getpid()}")
            new.write_bytes(self._description)
            new.replace(self._run.run_file)  # so that who looks meanwhile sees a whole one
        if not self._was_there:
            with contextlib.suppress(OSError):  # not empty: the script has something in it
                self._run.path.rmdir()


def _new_directory(script: Path) -> Path:
    """A name by script and time that is free, as engines choose it."""
    namer = Engine()
    namer.run_name = f"{script.resolve().stem}_{time.strftime('%Y%m%d_%H%M%S_%z')}"
    namer.setup_result_dir()
    return Path(str(namer.result_dir))


def _count_lines(log: Path) -> int:
    try:
        with log.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
