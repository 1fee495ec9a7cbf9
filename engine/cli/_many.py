"""A command of ``exec`` on many hosts while it runs: output passed on, signals heard, and how it ended everywhere.

The main thread waits in an asyncio loop (`ManyWatch.run`), which is where signals and stdin come in. What hosts write
goes through `_screen`, in worker threads; `_outcome` says what became of each of them, `_gathered` shows what is to
be shown at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...actors.action import Action
from ...actors.nodeset import fold
from ...actors.process import Process, ProcessLifecycleHandler, SshProcess
from ...protocols.substitutions import apply, parse
from ._broadcast import BroadcastInput
from ._console import json_line, say
from ._errors import ExitCode
from ._gathered import View, show_gathered
from ._outcome import Outcome, Tally, host_facts, outcome_of
from ._screen import STDERR, STDOUT, LineWriter, Screen

if TYPE_CHECKING:
    from ...actors.connection_params import ConnectionParams
    from ...actors.host import Host

__all__ = ["ManyRequest", "ManyWatch", "View", "run_on_hosts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECOND_CHANCE = 5.0  # seconds in which a second Ctrl-C means that all shall end
_GRACE = 2.0  # seconds from the signal that ends them all to SIGKILL
_LAST_WAIT = 5.0  # seconds after that until we leave hosts alone that do not answer
_MOST_KEPT = 256 << 20  # bytes of output in memory, of all hosts together; more goes to files
_TICK = 0.2  # seconds between two status lines at least
_PREFIX_COLOUR = {STDOUT: (b"\x1b[34m", b"\x1b[0m"), STDERR: (b"\x1b[31m", b"\x1b[0m")}


@dataclass(frozen=True)
class ManyRequest:
    """What is to be done."""

    words: list[str]
    shell: bool
    """The words are one command line; or each is to arrive as it is."""
    hosts: Sequence[Host]
    params: ConnectionParams
    fanout: int
    timeout: float | None
    """Seconds until a command is ended; None: never."""
    reads_stdin: bool
    """Our stdin is for all of them."""
    view: View
    as_json: bool
    progress: bool
    largest_code: bool
    quiet: bool
    verbose: bool

    def command_for(self, host: Host) -> str | list[str]:
        """The command on *host*. Double braces, which a template of another program may have, are left alone."""
        words = [apply(parse(word), host.address, lambda text: f"{{{{{text}}}}}") for word in self.words]
        return " ".join(words) if self.shell else words


def run_on_hosts(request: ManyRequest) -> int:
    """Run the command on all hosts, to its end, and return the exit code."""
    watch = ManyWatch(request)
    asyncio.run(watch.run())
    return watch.finish()


class ManyWatch(ProcessLifecycleHandler):
    """One command on many hosts from its start to its end. Belongs to the main thread, but for `end`."""

    def __init__(self, request: ManyRequest) -> None:
        self._request = request
        self.tally = Tally()
        self.signal: int | None = None
        """The signal that ended them all."""
        self.fault: OSError | None = None
        """Why output could not be written."""
        self._warned_at = float("-inf")
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Future[None]
        self._screen = Screen(self._take_fault, self._status if request.progress else None)
        self._input = BroadcastInput(self._take_fault) if request.reads_stdin else None
        self.action = Action(fanout=request.fanout, name=" ".join(request.words))
        self.action.processes = [self._process(host) for host in request.hosts]

    def _process(self, host: Host) -> Process:
        request, view = self._request, self._request.view
        keeps = (view.keeps_stdout or request.as_json, view.keeps_stderr or request.as_json)
        options: dict[str, Any] = {f"nolog_{what}": True for what in ("exit_code", "timeout", "error", "write_error")}
        options |= {"default_stdout_handler": keeps[0], "default_stderr_handler": keeps[1]}
        options["output_limit"] = max(1 << 14, min(1 << 24, _MOST_KEPT // len(request.hosts) // 2))
        for name, fd, kept, directory in (
            ("stdout", STDOUT, keeps[0], view.outdir),
            ("stderr", STDERR, keeps[1], view.errdir),
        ):
            if not kept or directory is not None:
                path = None if directory is None else directory / host.address
                screen = None if kept else self._screen
                prefix = _prefix(host.address, fd, view)
                options[f"{name}_handlers"] = [LineWriter(screen, fd, prefix, path, self._take_fault)]
        return SshProcess(
            request.command_for(host),
            host,
            request.params,
            timeout=request.timeout,
            lifecycle_handlers=[self],
            **options,
        )

    async def run(self) -> None:
        """Run it on all hosts, and wait until all has ended, or was given up."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
        for number in heard:
            self._loop.add_signal_handler(number, self._take_signal, number)
        try:
            if self._input is not None:
                self._input.begin(self._loop)
            self.action.start()
            self.action.future.add_done_callback(lambda _: self._soon(self._look_whether_it_is_over))
            self._tick()
            await self._over
        finally:
            if self._input is not None:
                self._input.close()
            for number in heard:
                self._loop.remove_signal_handler(number)

    def _tick(self) -> None:
        self._screen.draw()
        if self._request.progress:
            self._loop.call_later(_TICK, self._tick)

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have the main thread call it. Thread-safe."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it any more
            self._loop.call_soon_threadsafe(function, *arguments)

    # -- what becomes of it --------------------------------------------------------------

    def start(self, process: Any) -> None:
        """One has started. In a worker."""
        if self._input is None:
            process.close_stdin()
        else:
            self._input.feed(process)

    def end(self, process: Any) -> None:
        """One has ended, and all it wrote was passed on. In a worker."""
        outcome = outcome_of(process, self._request.timeout, stopped=self._stopped)
        if self._request.as_json:
            self._screen.write(STDOUT, json_line(host_facts(process, outcome)))
        if self._request.verbose:
            self._tell(f"{outcome.host}: {outcome.text}{_duration(process)}")
        self._soon(self._take_outcome, outcome)

    def _take_outcome(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        self._screen.draw()
        self._look_whether_it_is_over()

    def _look_whether_it_is_over(self) -> None:
        if self.action.ended and not self._over.done():
            started = sum(process.started for process in self.action.processes)
            if self.tally.done >= started:
                self._over.set_result(None)

    def _running(self) -> list[str]:
        """The hosts on which it runs now."""
        found = (process for process in self.action.processes if process.running)
        return [process.host.address for process in found if process.host is not None]

    def _status(self) -> str:
        """The line that tells how far it is."""
        total = len(self._request.hosts)
        bad = f", {self.tally.bad} not ok" if self.tally.bad else ""
        return f"{self.tally.done} of {total} done{bad}, {len(self._running())} running"

    def _tell(self, text: str) -> None:
        """Tell the user. Thread-safe."""
        self._screen.clear()
        say(text, "exec")

    # -- signals -------------------------------------------------------------------------

    def _take_signal(self, number: int) -> None:
        """The first Ctrl-C tells who still runs; a second one soon after it, or another signal, ends all."""
        now = self._loop.time()
        if self._stopped:
            self._force()
        elif number != signal.SIGINT or now - self._warned_at < _SECOND_CHANCE:
            self.signal = number
            self._stop()
        else:
            self._warned_at = now
            running = self._running()
            waiting = sum(not process.started for process in self.action.processes)
            more = f", {waiting} have yet to start" if waiting else ""
            self._tell(
                f"still running: {fold(running)} ({len(running)} of {len(self._request.hosts)}{more}); "
                f"Ctrl-C again within {_SECOND_CHANCE:g} s ends all"
            )

    def _take_fault(self, error: OSError) -> None:
        """Output can not be written. In a worker."""
        self._soon(self._stop_for, error)

    def _stop_for(self, error: OSError) -> None:
        if self.fault is None:
            self.fault = error
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

    def finish(self) -> int:
        """Show what is to be shown at the end, and return the exit code."""
        request = self._request
        if request.progress:
            self._screen.draw(last=True)
        for process in self.action.processes:
            if not process.started or process.running:
                outcome = outcome_of(process, request.timeout, stopped=True)
                self.tally.add(outcome)
                if request.as_json:
                    self._screen.write(STDOUT, json_line(host_facts(process, outcome)))
        if self.fault is not None and self.fault.errno == errno.EPIPE:
            return ExitCode.READER_GONE  # nobody reads: there is nobody to tell
        if request.as_json:
            self._screen.write(STDOUT, json_line(self._summary()))
        else:
            show_gathered(self.action.processes, request.view, lambda data: self._screen.write(STDOUT, data))
        self._tell_the_end()
        return self._exit_code()

    def _summary(self) -> dict[str, Any]:
        action, view = self.action, self._request.view
        facts = {"summary": self.tally.facts(), "hosts": len(self._request.hosts)}
        facts |= {"started": action.start_date, "ended": action.end_date}
        if view.gather:
            groups = action.gathered("both" if view.both else "stdout")
            facts["groups"] = [group._asdict() for group in groups]
        return facts

    def _tell_the_end(self) -> None:
        if self._request.quiet and not self.tally.bad and self.fault is None:
            return
        for line in self.tally.failures():
            self._tell(line)
        self._tell(self.tally.summary())
        if self.fault is not None:
            name = self.fault.filename or "stdout can not be written"
            self._tell(f"{name}: {self.fault.strerror}: the commands were ended")

    def _exit_code(self) -> int:
        if self.fault is not None:
            return ExitCode.INFRASTRUCTURE
        if self.signal is not None:
            return 128 + self.signal
        return self.tally.exit_code(largest=self._request.largest_code)


def _prefix(host: str, fd: int, view: View) -> bytes:
    """What stands before each line that *host* writes."""
    if not view.prefix:
        return b""
    before, after = _PREFIX_COLOUR[fd] if view.colour else (b"", b"")
    return before + host.encode(errors="surrogateescape") + b":" + after + b" "


def _duration(process: Process) -> str:
    if process.start_date is None or process.end_date is None:
        return ""
    return f" after {process.end_date - process.start_date:.3f} s"
