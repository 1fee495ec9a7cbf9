"""``regisseur`` with a limit of time (-u) that only one process reaches, however busy the machine is.

Run it with the number of processes, and then the arguments of regisseur. Their limits are due when all of these have
started and all but one have ended: then that one has reached its own, and at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from regisseur.actors._process_actor import ProcessActor
from regisseur.actors._process_rule import TimeoutDue
from regisseur.actors._reactor import Timer
from regisseur.engine.cli import main

__all__: list[str] = []


class _Limits:
    """Those of all processes. All calls come from the reactor, on which process actors live."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._running: dict[ProcessActor, TimeoutDue] = {}

    def add(self, process: ProcessActor, event: TimeoutDue) -> _Limit:
        """*process* has started."""
        self._missing -= 1
        self._running[process] = event
        self._judge()
        return _Limit(self, process)

    def remove(self, process: ProcessActor) -> None:
        """*process* has ended."""
        if self._running.pop(process, None) is not None:
            self._judge()

    def _judge(self) -> None:
        if not self._missing and len(self._running) == 1:
            ((process, event),) = self._running.items()
            _later(process, 0.0, event)


class _Limit(Timer):
    """In the place of the timer of one process."""

    def __init__(self, limits: _Limits, process: ProcessActor) -> None:
        super().__init__(0.0, lambda: None)
        self._end: Callable[[], None] = lambda: limits.remove(process)

    def cancel(self) -> None:
        super().cancel()
        self._end()


_later = ProcessActor.actor_later


def _replace_limits(count: int) -> None:
    limits = _Limits(count)

    def later(process: ProcessActor, delay: float, message: Any) -> Timer:
        return limits.add(process, message) if type(message) is TimeoutDue else _later(process, delay, message)

    ProcessActor.actor_later = later  # type: ignore[method-assign, assignment]  # only in this program, a test's


if __name__ == "__main__":
    _replace_limits(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
