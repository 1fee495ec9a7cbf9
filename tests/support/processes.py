"""What tests of processes have in common: a stage that ends what was started on it, and ears for the log."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
from typing import Any, Self

from deadline import DEADLINE
from regisseur.actors._process_base import ProcessBase
from regisseur.actors._process_rule import TimeoutDue
from regisseur.actors.process import Process

__all__ = ["DEADLINE", "QUIET", "Ears", "Stage", "run_out_of_time", "run_script"]


QUIET: dict[str, Any] = {
    f"nolog_{flag}": True for flag in ("exit_code", "timeout", "error", "expect_fail", "write_error")
}
"""Arguments of a process that is meant to fail."""


class Stage:
    """Makes processes, and ends them all with the test."""

    def __init__(self) -> None:
        self.processes: list[Process] = []

    def process(self, cmd: Any, **kwargs: Any) -> Process:
        """A process that logs no warnings."""
        made = Process(cmd, **{**QUIET, **kwargs})
        self.processes.append(made)
        return made

    def shell(self, script: str, **kwargs: Any) -> Process:
        """A process of /bin/sh."""
        return self.process(script, shell=True, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.running:
                process.kill(auto_force_kill_timeout=0.5)
        for process in self.processes:
            if process.running:
                assert process.wait(DEADLINE).ended
            process.reset()


class Ears(logging.Handler):
    """Hears what is logged, in any thread, from WARNING on."""

    def __init__(self, name: str = "regisseur") -> None:
        super().__init__(logging.WARNING)
        self._logger = logging.getLogger(name)
        self._heard: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.put(record)

    def next(self) -> str:
        """The next record as text, waiting for it."""
        return self._heard.get(timeout=DEADLINE).getMessage()

    def all(self) -> list[str]:
        """What was heard and not yet asked for."""
        return [self._heard.get().getMessage() for _ in range(self._heard.qsize())]

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def run_out_of_time(process: ProcessBase) -> None:
    """The time limit of *process* is over now, and not at some moment before what a test waits for."""
    assert process.timeout_date is not None, "its time does not run"
    process._run.tell(TimeoutDue())


def run_script(script: str, *args: str, timeout: float = 60.0, **kwargs: Any) -> str:
    """Run a Python program of its own to its end; return its stdout. It must succeed, and say nothing else."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **kwargs,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
