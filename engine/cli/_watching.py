"""Processes on many hosts while they run: signals heard, how far it is, and how it ended everywhere.

The main thread waits in an asyncio loop (`HostsWatch.run`), which is where signals come in. What `_many` and
`_transfers` do is the same here: processes, each on its host, that are run to their ends; `_outcome` says what became
of each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...actors.nodeset import fold
from ...actors.process import ProcessLifecycleHandler
from ._console import json_line, say
from ._errors import ExitCode
from ._outcome import Outcome, Tally, host_facts, outcome_of
from ._screen import STDOUT, Screen

if TYPE_CHECKING:
    from ...actors.action import Action
    from ...actors.process import Process

__all__ = ["HostsWatch", "Manner"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECOND_CHANCE = 5.0  # seconds in which a second Ctrl-C means that all shall end
_GRACE = 2.0  # seconds from the signal that ends them all to SIGKILL
_LAST_WAIT = 5.0  # seconds after that until we leave hosts alone that do not answer
_TICK = 0.2  # seconds between two status lines at least


@dataclass(frozen=True)
class Manner:
    """What the user is to be told, and how."""

    timeout: float | None
    """Seconds until the process of a host is ended; None: never."""
    as_json: bool
    progress: bool
    quiet: bool
    verbose: bool
    largest_code: bool = False


class HostsWatch(ProcessLifecycleHandler):
    """An action on many hosts from its start to its end. Belongs to the main thread, but for `start` and `end`.

    A subclass sets `action`, whose processes have this as their lifecycle handler.

    Args:
        command: what it is called before what the user is told.
    """

    action: Action

    def __init__(self, command: str, manner: Manner) -> None:
        self._command = command
        self._manner = manner
        self._tally = Tally()
        self._signal: int | None = None
        """The signal that ended them all."""
        self._fault: OSError | None = None
        """Why output could not be written."""
        self._warned_at = float("-inf")
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Future[None]
        self._screen = Screen(self._take_fault, self._status if manner.progress else None)

    def watch(self) -> int:
        """Run it to its end, show what is to be shown then, and return the exit code."""
        asyncio.run(self._run())
        return self._finish()

    # -- what differs --------------------------------------------------------------------

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The action is about to start."""

    def _close(self) -> None:
        """The action has ended, or was given up."""

    def _outcome(self, process: Any) -> Outcome:
        """What became of *process*, which runs no more, or has never begun."""
        return outcome_of(process, self._manner.timeout, stopped=self._stopped)

    def _facts(self, process: Any, outcome: Outcome) -> dict[str, Any]:
        """What --json tells of one host."""
        return host_facts(process, outcome)

    def _summary(self) -> dict[str, Any]:
        """What --json tells of all."""
        facts: dict[str, Any] = {"summary": self._tally.facts(), "hosts": len(self.action.processes)}
        return facts | {"started": self.action.start_date, "ended": self.action.end_date}

    def _show(self) -> None:
        """Show what is to be shown at the end."""

    def _status(self) -> str:
        """The line that tells how far it is."""
        total = len(self.action.processes)
        bad = f", {self._tally.bad} not ok" if self._tally.bad else ""
        return f"{self._tally.done} of {total} done{bad}, {len(self._running())} running"

    # -- its course ----------------------------------------------------------------------

    async def _run(self) -> None:
        """Run it on all hosts, and wait until all has ended, or was given up."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
        for number in heard:
            self._loop.add_signal_handler(number, self._take_signal, number)
        try:
            self._begin(self._loop)
            self.action.start()
            self.action.future.add_done_callback(lambda _: self._soon(self._look_whether_it_is_over))
            self._tick()
            await self._over
        finally:
            self._close()
            for number in heard:
                self._loop.remove_signal_handler(number)

    def _tick(self) -> None:
        self._screen.draw()
        if self._manner.progress:
            self._loop.call_later(_TICK, self._tick)

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have the main thread call it. Thread-safe."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it any more
            self._loop.call_soon_threadsafe(function, *arguments)

    # -- what becomes of it --------------------------------------------------------------

    def end(self, process: Any) -> None:
        """One has ended, and all it wrote was passed on. In a worker."""
        outcome = self._outcome(process)
        if self._manner.as_json:
            self._screen.write(STDOUT, json_line(self._facts(process, outcome)))
        if self._manner.verbose:
            self._tell(f"{outcome.host}: {'; '.join(outcome.texts)}{_duration(process)}")
        self._soon(self._take_outcome, outcome)

    def _take_outcome(self, outcome: Outcome) -> None:
        self._tally.add(outcome)
        self._screen.draw()
        self._look_whether_it_is_over()

    def _look_whether_it_is_over(self) -> None:
        if self.action.ended and not self._over.done():
            started = sum(process.started for process in self.action.processes)
            if self._tally.done >= started:
                self._over.set_result(None)

    def _running(self) -> list[str]:
        """The hosts on which it runs now."""
        found = (process for process in self.action.processes if process.running)
        return [process.host.address for process in found if process.host is not None]

    def _tell(self, text: str) -> None:
        """Tell the user. Thread-safe."""
        self._screen.clear()
        say(text, self._command)

    # -- signals -------------------------------------------------------------------------

    def _take_signal(self, number: int) -> None:
        """The first Ctrl-C tells who still runs; a second one soon after it, or another signal, ends all."""
        now = self._loop.time()
        if self._stopped:
            self._force()
        elif number != signal.SIGINT or now - self._warned_at < _SECOND_CHANCE:
            self._signal = number
            self._stop()
        else:
            self._warned_at = now
            running = self._running()
            waiting = sum(not process.started for process in self.action.processes)
            more = f", {waiting} have yet to start" if waiting else ""
            self._tell(
                f"still running: {fold(running)} ({len(running)} of {len(self.action.processes)}{more}); "
                f"Ctrl-C again within {_SECOND_CHANCE:g} s ends all"
            )

    def _take_fault(self, error: OSError) -> None:
        """Output can not be written. In a worker."""
        self._soon(self._stop_for, error)

    def _take_last_fault(self, error: OSError) -> None:
        """What is shown at the end can not be written."""
        self._fault = self._fault or error

    def _stop_for(self, error: OSError) -> None:
        if self._fault is None:
            self._fault = error
            self._stop()

    def _stop(self) -> None:
        """End all that runs, and start no more."""
        if not self._stopped:
            self._stopped = True
            self._screen.give_up()
            self.action.kill()
            self._loop.call_later(_GRACE, self._force)

    def _force(self) -> None:
        """What has not ended yet ends by SIGKILL; and a host that does not even answer to this is left alone."""
        for process in self.action.processes:
            if process.running:
                process.kill(signal.SIGKILL)
        self._loop.call_later(_LAST_WAIT, self._leave_alone)

    def _leave_alone(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    # -- the end -------------------------------------------------------------------------

    def _finish(self) -> int:
        """Show and tell what is to be told at the end, and return the exit code."""
        manner = self._manner
        if manner.progress:
            self._screen.draw(last=True)
        for process in self.action.processes:
            if not process.started or process.running:
                outcome = self._outcome(process)
                self._tally.add(outcome)
                if manner.as_json:
                    self._screen.write(STDOUT, json_line(self._facts(process, outcome)))
        if self._fault is not None and self._fault.errno == errno.EPIPE:
            return ExitCode.READER_GONE  # nobody reads: there is nobody to tell
        self._screen.tell(self._take_last_fault)
        if manner.as_json:
            self._screen.write(STDOUT, json_line(self._summary()))
        else:
            self._show()
        if self._fault is not None and self._fault.errno == errno.EPIPE:
            return ExitCode.READER_GONE
        self._tell_the_end()
        return self._exit_code()

    def _tell_the_end(self) -> None:
        if self._manner.quiet and not self._tally.bad and self._fault is None:
            return
        for line in self._tally.failures():
            self._tell(line)
        self._tell(self._tally.summary())
        if self._fault is not None:
            name = self._fault.filename or "stdout can not be written"
            self._tell(f"{name}: {self._fault.strerror}" + (": the commands were ended" if self._stopped else ""))

    def _exit_code(self) -> int:
        if self._fault is not None:
            return ExitCode.INFRASTRUCTURE
        if self._signal is not None:
            return 128 + self._signal
        return self._tally.exit_code(largest=self._manner.largest_code)


def _duration(process: Process) -> str:
    if process.start_date is None or process.end_date is None:
        return ""
    return f" after {process.end_date - process.start_date:.3f} s"
