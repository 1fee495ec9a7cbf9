"""ProcessBase: what all kinds of processes have in common: what they show, and when they are ok."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from ..protocols.command import name_from_cmdline, str_from_cmdline
from ..protocols.expect import compile_patterns
from ..protocols.messages import STDERR, STDOUT
from ._expect import Expecter, ExpectOutputHandler, Match, Regexes
from ._process_rule import ProcessLife
from ._run import Run
from ._streams import LineReader, Stream
from .config import configuration
from .future import Timeout
from .log import style
from .time_utils import format_date, get_seconds
from .utils import compact_output

if TYPE_CHECKING:
    from .host import Host

__all__ = ["Duration", "ProcessBase"]

Duration = float | str | timedelta | None

OUTPUT_LIMIT = 16 << 20
"""Bytes of each stream that are held in memory unless the process says otherwise."""

_FLAGS = ("exit_code", "timeout", "error", "expect_fail", "write_error")

logger = logging.getLogger("regisseur")


class ProcessBase:
    """What all kinds of processes have in common. Not to be made itself.

    Args:
        cmd: the command, as one text or as a sequence of words.
        timeout: seconds (or what `get_seconds` takes) from the start until it is killed; None: never.
        ignore_exit_code, ignore_timeout, ignore_error, ignore_expect_fail, ignore_write_error:
            the process is `ok` in spite of that.
        nolog_exit_code, nolog_timeout, nolog_error, nolog_expect_fail, nolog_write_error:
            no warning is logged because of that.
        default_expect_timeout: seconds, for `expect`; None: as long as it takes.
        default_stdout_handler, default_stderr_handler: keep the output for `stdout` and `stderr`.
        lifecycle_handlers: `ProcessLifecycleHandler` objects.
        stdout_handlers, stderr_handlers: who is told of the output: `ProcessOutputHandler` objects,
            callables ``f(process, stream, chunk)``, file names, descriptors, objects with ``write()``.
        name: default: the command, blanks squeezed, 39 characters at most.
        output_limit: bytes of each stream that are held in memory (16 MiB); all beyond goes to a file,
            and reads as if it were in memory.

    All of them are attributes too, and may be changed before the start.
    """

    host: Host | None = None
    """Where it runs; None: on this machine."""

    def __init__(
        self,
        cmd: str | Sequence[str],
        timeout: Duration = None,
        ignore_exit_code: bool = False,
        nolog_exit_code: bool = False,
        ignore_timeout: bool = False,
        nolog_timeout: bool = False,
        ignore_error: bool = False,
        nolog_error: bool = False,
        ignore_expect_fail: bool = False,
        nolog_expect_fail: bool = False,
        ignore_write_error: bool = False,
        nolog_write_error: bool = False,
        default_expect_timeout: Duration = None,
        default_stdout_handler: bool = True,
        default_stderr_handler: bool = True,
        lifecycle_handlers: Iterable[Any] | None = None,
        stdout_handlers: Iterable[Any] | None = None,
        stderr_handlers: Iterable[Any] | None = None,
        name: str | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        self.cmd = cmd
        self.timeout = None if timeout is None else get_seconds(timeout)
        self.ignore_exit_code = ignore_exit_code
        self.nolog_exit_code = nolog_exit_code
        self.ignore_timeout = ignore_timeout
        self.nolog_timeout = nolog_timeout
        self.ignore_error = ignore_error
        self.nolog_error = nolog_error
        self.ignore_expect_fail = ignore_expect_fail
        self.nolog_expect_fail = nolog_expect_fail
        self.ignore_write_error = ignore_write_error
        self.nolog_write_error = nolog_write_error
        self.default_expect_timeout = None if default_expect_timeout is None else get_seconds(default_expect_timeout)
        self.default_stdout_handler = default_stdout_handler
        self.default_stderr_handler = default_stderr_handler
        self.lifecycle_handlers = [] if lifecycle_handlers is None else list(lifecycle_handlers)
        self.stdout_handlers = [] if stdout_handlers is None else list(stdout_handlers)
        self.stderr_handlers = [] if stderr_handlers is None else list(stderr_handlers)
        self.output_limit = output_limit
        self.expect_fail = False
        """An `expect` of this process found nothing before its timeout, or before the end of the stream."""
        self._name = name
        self._run = self._new_run()
        self._expecter: Expecter | None = None
        self._events: tuple[threading.Event, threading.Event] | None = None

    def _new_run(self) -> Run:
        streams = {
            STDOUT: Stream(self.output_limit, self._spool_file, keep=self.default_stdout_handler),
            STDERR: Stream(self.output_limit, self._spool_file, keep=self.default_stderr_handler),
        }
        return Run(self, ProcessLife(), streams)

    def _spool_file(self) -> str:
        """Make the file for output beyond the limit: in the run directory if there is a run."""
        from .journal import current_journal

        journal = current_journal()
        if journal is not None:
            directory = journal.outputs
            directory.mkdir(parents=True, exist_ok=True)
        else:
            directory = None
        fd, path = tempfile.mkstemp(prefix="output-", dir=directory)
        os.close(fd)
        return path

    # -- what is known of it -------------------------------------------------------

    @property
    def name(self) -> str:
        """What it is called in logs and reports."""
        return name_from_cmdline(self.cmd) if self._name is None else self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def started(self) -> bool:
        """It was told to start (also if that failed: see `error`)."""
        return self._run.life.started

    @property
    def ended(self) -> bool:
        """It has ended, or could not start."""
        return self._run.life.ended

    @property
    def running(self) -> bool:
        """Started and not ended."""
        life = self._run.life
        return life.started and not life.ended

    @property
    def start_date(self) -> float | None:
        """When it started: seconds since the epoch."""
        return self._run.life.start_date

    @property
    def end_date(self) -> float | None:
        """When it ended: seconds since the epoch."""
        return self._run.life.end_date

    @property
    def timeout_date(self) -> float | None:
        """When it will be killed: seconds since the epoch; None without timeout or before the start."""
        return self._run.life.timeout_date

    @property
    def error(self) -> bool:
        """The operating system could not run it: see `error_reason`."""
        return self._run.life.error

    @property
    def error_reason(self) -> OSError | str | None:
        """Why it could not run."""
        return self._run.life.error_reason

    @property
    def exit_code(self) -> int | None:
        """Exit status 0..255, or minus the number of the signal that ended it; None while it runs or after an error."""
        return self._run.life.exit_code

    @property
    def timeouted(self) -> bool:
        """It reached its timeout, and was killed."""
        return self._run.life.timeouted

    @property
    def killed(self) -> bool:
        """A signal was sent to it while it ran, by `kill` or because of the timeout."""
        return self._run.life.killed

    @property
    def forced_kill(self) -> bool:
        """SIGKILL had to follow, because it did not end."""
        return self._run.life.forced_kill

    @property
    def write_error(self) -> bool:
        """Something written to its stdin could not be delivered."""
        return self._run.life.write_error

    @property
    def stdout_ioerror(self) -> bool:
        """Its stdout could not be read to the end."""
        return self._run.life.stdout_ioerror

    @property
    def stderr_ioerror(self) -> bool:
        """Its stderr could not be read to the end."""
        return self._run.life.stderr_ioerror

    @property
    def stdout(self) -> str:
        """What it has written to stdout so far: UTF-8, invalid bytes as surrogates (errors='surrogateescape')."""
        return self._run.streams[STDOUT].output.text() if self.default_stdout_handler else ""

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far, as `stdout`."""
        return self._run.streams[STDERR].output.text() if self.default_stderr_handler else ""

    @property
    def stdout_bytes(self) -> bytes:
        """What it has written to stdout so far, as it came."""
        return self._run.streams[STDOUT].output.read() if self.default_stdout_handler else b""

    @property
    def stderr_bytes(self) -> bytes:
        """What it has written to stderr so far, as it came."""
        return self._run.streams[STDERR].output.read() if self.default_stderr_handler else b""

    @property
    def ok(self) -> bool:
        """Nothing went wrong so far that is not ignored.

        A process that was killed is ok whatever its exit code; one that reached its timeout is not.
        """
        if self.expect_fail and not self.ignore_expect_fail:
            return False
        life = self._run.life
        if life.write_error and not self.ignore_write_error:
            return False
        if not life.ended:
            return True
        return (
            (not life.error or self.ignore_error)
            and (not life.timeouted or self.ignore_timeout)
            and (life.exit_code == 0 or self.ignore_exit_code or life.killed or life.error)
        )

    @property
    def finished_ok(self) -> bool:
        """Started, ended and ok."""
        return self.started and self.ended and self.ok

    # -- waiting ---------------------------------------------------------------------

    def wait(self, timeout: Duration = None) -> Self:
        """Wait until it has ended and its handlers have seen all of its output, or until *timeout* is over.

        Args:
            timeout: seconds, or what `get_seconds` takes; None: as long as it takes. The process goes on after it.

        Raises:
            ValueError: it was never started.
        """
        if not self.started:
            raise ValueError(f"{self!r} was not started: call start() or run() first")
        seconds = None if timeout is None else get_seconds(timeout)
        with contextlib.suppress(Timeout):
            self._run.done.result(seconds)
        return self

    @property
    def started_event(self) -> threading.Event:
        """Set when it has started, or could not."""
        return self._both_events()[0]

    @property
    def ended_event(self) -> threading.Event:
        """Set when it has ended."""
        return self._both_events()[1]

    def _both_events(self) -> tuple[threading.Event, threading.Event]:
        if self._events is None:
            started, ended = threading.Event(), threading.Event()
            self._events = (started, ended)
            self._run.spawned.add_done_callback(lambda _: started.set())
            self._run.done.add_done_callback(lambda _: ended.set())
        return self._events

    def expect(
        self,
        regexes: Regexes,
        timeout: Duration | bool = False,
        stream: int = STDOUT,
        backtrack: bool = True,
        expect_output_handler: ExpectOutputHandler | None = None,
    ) -> Match:
        """Wait until its output matches one of *regexes*.

        Each thread that expects has its own position in each stream: a search
        begins behind the match before it.

        Args:
            regexes: one or several; strings are compiled with re.MULTILINE.
            timeout: seconds; None: as long as the stream is open; 0: look once; False: `default_expect_timeout`.
            stream: `STDOUT` or `STDERR`.
            backtrack: let this thread's first search begin with what has come already.
            expect_output_handler: wait on this handler instead, which was given to the process.

        Returns:
            (index of the regex, match), or (None, None): nothing was found
            before the timeout or the end of the stream. Then `expect_fail` is
            set, unless *timeout* is 0.
        """
        patterns = compile_patterns(regexes)
        seconds = self.default_expect_timeout if timeout is False else get_seconds(timeout)
        if expect_output_handler is not None:
            match: Match = expect_output_handler.expect(patterns, seconds).get((self, stream), (None, None))
        else:
            if self._expecter is None:
                self._expecter = Expecter(self._run.streams)
            match = self._expecter.expect(patterns, seconds, stream, backtrack=backtrack)
        if match[0] is None and seconds != 0:
            self.expect_fail = True
        return match

    def lines(self, stream: int = STDOUT, timeout: float | None = None) -> LineReader:
        """The lines of a stream, as they come: for ``for`` and ``async for``.

        Args:
            stream: `STDOUT` or `STDERR`.
            timeout: seconds to wait for each line, for ``for``.
        """
        self._run.streams[stream].keep = True
        return LineReader(self._run.streams[stream], timeout)

    # -- as text ---------------------------------------------------------------------

    def _given(self) -> list[str]:
        """The arguments that are not the defaults, for repr."""
        given = [f"{key}={getattr(self, key)!r}" for key in ("timeout",) if getattr(self, key) is not None]
        given += [f"{p}{f}=True" for f in _FLAGS for p in ("ignore_", "nolog_") if getattr(self, p + f)]
        given += [f"{k}=False" for k in ("default_stdout_handler", "default_stderr_handler") if not getattr(self, k)]
        return given

    def __repr__(self) -> str:
        arguments = ", ".join([repr(self.cmd), *self._given()])
        return style.object_repr(f"{type(self).__name__}({arguments})")

    def _facts(self) -> list[str]:
        life = self._run.life
        facts = [f"name={self.name}", f"started={life.started}", f"start_date={format_date(life.start_date)}"]
        facts += [f"ended={life.ended}", f"end_date={format_date(life.end_date)}"]
        facts += [f"{key}={getattr(life, key)}" for key in ("error", "timeouted", "killed", "forced_kill")]
        if life.error_reason is not None:
            facts.append(f"error_reason={life.error_reason}")
        facts += [f"{key}=True" for key in ("expect_fail", "write_error") if getattr(self, key)]
        return [*facts, f"exit_code={life.exit_code}", f"ok={self.ok}"]

    def __str__(self) -> str:
        command = style.command(str_from_cmdline(self.cmd))
        return f"<{style.object_repr(type(self).__name__)}({command!r}, {', '.join(self._facts())})>"

    def dump(self) -> str:
        """`str` and both outputs, each shortened to ``configuration["compact_output_threshold"]`` characters."""
        parts = [str(self)]
        for label, stream in (("stdout", STDOUT), ("stderr", STDERR)):
            if getattr(self, f"default_{label}_handler"):
                parts.append(f"{style.emph(label + ':')}\n{self._compact(stream)}")
        return "\n".join(parts)

    def _compact(self, stream: int) -> str:
        output = self._run.streams[stream].output
        if not output.spooled:
            return compact_output(output.text())
        threshold = configuration["compact_output_threshold"]
        if threshold <= 0:
            return output.text()
        half = max(1, threshold // 2)
        return compact_output((output.head(half) + output.tail(half + 1)).decode(errors="replace"))

    def stats(self) -> dict[str, Any]:
        """Numbers for a `Report`: one process, how it went."""
        life = self._run.life
        failed = life.exit_code != 0 and life.ended and not life.error
        return {
            "name": self.name,
            "start_date": life.start_date,
            "end_date": life.end_date,
            "num_processes": 1,
            "num_started": int(life.started),
            "num_ended": int(life.ended),
            "num_errors": int(life.error),
            "num_timeouts": int(life.timeouted),
            "num_forced_kills": int(life.forced_kill),
            "num_non_zero_exit_codes": int(failed),
            "num_expect_fail": int(self.expect_fail),
            "num_write_error": int(life.write_error),
            "num_ok": int(self.ok),
            "num_finished_ok": int(self.finished_ok),
            "sub_stats": [],
        }

    # -- called by its actor -----------------------------------------------------------

    def _worth_a_warning(self) -> bool:
        life = self._run.life
        return bool(
            (life.error and not self.nolog_error)
            or (life.timeouted and not self.nolog_timeout)
            or (self.expect_fail and not self.nolog_expect_fail)
            or (life.write_error and not self.nolog_write_error)
            or (life.exit_code not in (0, None) and not life.killed and not self.nolog_exit_code)
        )

    def _warn(self) -> None:
        """Log how it ended. In a worker: whoever reads our stdout may be slow."""
        logger.warning("%s", style.emph("terminated: ") + self.dump())
