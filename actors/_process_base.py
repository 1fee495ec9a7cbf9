"""ProcessBase: what all kinds of processes have in common: what they show, and when they are ok."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from ..protocols.command import name_from_cmdline
from ..protocols.expect import compile_patterns
from ..protocols.messages import STDERR, STDOUT
from ._expect import ExpectOutputHandler, Match, Regexes
from ._process_rule import ProcessLife
from ._process_text import FLAGS, describe, dump, given_arguments
from ._run import Run
from ._sinks import listed
from ._streams import LineReader, Stream
from .future import Timeout
from .log import style
from .time_utils import get_seconds

if TYPE_CHECKING:
    from ._redirect import Redirect
    from .host import Host

__all__ = ["QUIET", "Duration", "ProcessBase"]

Duration = float | str | timedelta | None

QUIET: dict[str, Any] = {
    f"nolog_{flag}": True for flag in ("exit_code", "timeout", "error", "expect_fail", "write_error")
}
"""Arguments of a process of whose end nothing is to be logged as a warning, since somebody else looks at it."""

OUTPUT_LIMIT = 16 << 20
"""Bytes of each stream that are held in memory unless the process says otherwise."""

_OLD_NAMES = {
    "process": "there is no Popen object: a process has pid, exit_code, kill(), write(), wait()",
    "stdin_fd": "write to it with write() or print(..., file=process)",
    "stdout_fd": "read it with stdout, lines(), expect() or a handler",
    "stderr_fd": "read it with stderr, lines(STDERR), expect(..., stream=STDERR) or a handler",
    "connexion_params": "it is called connection_params",
}
"""What scripts for Execo may ask for and there is no more, and what to use."""


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
        stdout_handlers, stderr_handlers: who is told of the output, one or several: `ProcessOutputHandler`
            objects, callables ``f(process, stream, chunk)``, file names, descriptors, objects with ``write()``.
        name: default: the command, blanks squeezed, 39 characters at most.
        output_limit: bytes of each stream that are held in memory (16 MiB); all beyond goes to a file,
            and reads as if it were in memory.

    All of them are attributes too, and may be changed before the start.
    """

    host: Host | None = None
    """Where it runs; None: on this machine."""

    _redirect: Redirect | None = None
    """Files in place of stdin and stdout, for `Process`es without a terminal."""
    _shown: ClassVar[dict[str, Any]] = dict.fromkeys(("timeout", "default_expect_timeout")) | {
        **{prefix + flag: False for flag in FLAGS for prefix in ("ignore_", "nolog_")},
        "default_stdout_handler": True,
        "default_stderr_handler": True,
        "output_limit": OUTPUT_LIMIT,
    }
    """Arguments that repr shows where they are not like this."""

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
        lifecycle_handlers: Any = None,
        stdout_handlers: Any = None,
        stderr_handlers: Any = None,
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
        self.lifecycle_handlers = listed(lifecycle_handlers)
        self.stdout_handlers = listed(stdout_handlers)
        self.stderr_handlers = listed(stderr_handlers)
        self.output_limit = output_limit
        self._name = name
        self._run = self._new_run()

    def _new_run(self) -> Run:
        return Run(self, ProcessLife(), {STDOUT: Stream(), STDERR: Stream()})

    if not TYPE_CHECKING:  # a checker would take it that every name exists

        def __getattr__(self, name: str) -> NoReturn:
            hint = f": {_OLD_NAMES[name]}" if name in _OLD_NAMES else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}", name=name, obj=self)

    # -- what is known of it -------------------------------------------------------

    @property
    def name(self) -> str:
        """What it is called in logs and reports."""
        return name_from_cmdline(self._own_cmd()) if self._name is None else self._name

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
        """It could not be run, by the operating system or for lack of a connection: see `error_reason`."""
        return self._run.life.error

    @property
    def error_reason(self) -> BaseException | str | None:
        """Why it could not run, or why it is not known how it has ended."""
        return self._run.life.error_reason

    @property
    def exit_code(self) -> int | None:
        """Exit status 0..255, or minus the signal that ended it; None while it runs, or after an error."""
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
    def expect_fail(self) -> bool:
        """An `expect` of this process found nothing before its timeout, or before the end of the stream."""
        return self._run.expect_fail

    @expect_fail.setter
    def expect_fail(self, failed: bool) -> None:
        self._run.expect_fail = failed

    @property
    def stdout_ioerror(self) -> bool:
        """Its stdout could not be read to the end, or not all of it could be kept (a full disk)."""
        return self._run.life.stdout_ioerror or self._run.streams[STDOUT].output.error is not None

    @property
    def stderr_ioerror(self) -> bool:
        """As `stdout_ioerror`, for its stderr."""
        return self._run.life.stderr_ioerror or self._run.streams[STDERR].output.error is not None

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
        return self._ok(self._run)

    def _ok(self, run: Run) -> bool:
        if run.expect_fail and not self.ignore_expect_fail:
            return False
        life = run.life
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

        A handler of its own may wait for it too: the others are called meanwhile.

        Args:
            timeout: seconds, or what `get_seconds` takes; None: as long as it takes. The process goes on after it.

        Raises:
            ValueError: it was never started.
        """
        run = self._run
        if run.permit:
            raise ValueError(f"{self!r} was not started: call start() or run() first")
        run.pass_handlers_on()
        with contextlib.suppress(Timeout):
            run.done.result(get_seconds(timeout))
        return self

    @property
    def started_event(self) -> threading.Event:
        """Set when it has started, or could not."""
        return self._run.event("started")

    @property
    def ended_event(self) -> threading.Event:
        """Set when it has ended, and its handlers have seen all of its output."""
        return self._run.event("ended")

    @property
    def started_condition(self) -> threading.Condition:
        """Notified when it has started, or could not."""
        return self._run.condition("started")

    @property
    def ended_condition(self) -> threading.Condition:
        """Notified when it has ended, and its handlers have seen all of its output."""
        return self._run.condition("ended")

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
            expect_output_handler: use the position of this handler. If the process was not given it before the start,
                it is given now, and told what comes, and with *backtrack* first what is kept of what has come.

        Returns:
            (index of the regex, match), or (None, None): nothing was found
            before the timeout or the end of the stream. Then `expect_fail` is
            set, unless *timeout* is 0.

        Raises:
            pykka.ActorDeadError: it belongs to the process of which this one is a fork.
        """
        run = self._run
        self._stream(stream)
        patterns = compile_patterns(regexes)
        seconds = get_seconds(self.default_expect_timeout if timeout is False else timeout)
        if expect_output_handler is not None:
            match = expect_output_handler.expect_of(self, stream, patterns, seconds, backtrack=backtrack)
        else:
            match = run.expecter.expect(patterns, seconds, stream, backtrack=backtrack)
        if match[0] is None:
            run.raise_if_lost()
            if seconds != 0:
                run.expect_fail = True
        return match

    def _stream(self, number: int) -> Stream:
        """One of the streams of this run.

        Raises:
            ValueError: there is no such stream.
        """
        try:
            return self._run.streams[number]
        except KeyError:
            raise ValueError(f"no stream {number!r}: there are STDOUT ({STDOUT}) and STDERR ({STDERR})") from None

    def lines(self, stream: int = STDOUT, timeout: Duration = None) -> LineReader:
        """The lines of a stream, from its first on, as they come: for ``for`` and ``async for``.

        What was written before and not kept (see *default_stdout_handler*) is not among them.

        Args:
            stream: `STDOUT` or `STDERR`.
            timeout: seconds to wait for each line, for ``for``.

        Raises:
            pykka.ActorDeadError: it belongs to the process of which this one is a fork.
        """
        run = self._run
        run.raise_if_lost()
        run.streams[stream].keep = True
        return LineReader(run.streams[stream], get_seconds(timeout))

    # -- as text and as numbers --------------------------------------------------------

    def _own_cmd(self) -> str | Sequence[str]:
        """The command that the user gave; `cmd` is what runs on this machine for it."""
        return self.cmd

    def _arguments(self) -> list[str]:
        """The arguments without a name, for repr."""
        return [repr(self._own_cmd())]

    def __repr__(self) -> str:
        arguments = ", ".join(self._arguments() + given_arguments(self, self._shown))
        return style.object_repr(f"{type(self).__name__}({arguments})")

    def __str__(self) -> str:
        return describe(self._run)

    def dump(self) -> str:
        """`str` and both outputs, each shortened to ``configuration["compact_output_threshold"]`` characters."""
        return dump(self._run)

    def stats(self) -> dict[str, Any]:
        """Numbers for a `Report`: one process, how it went."""
        life = self._run.life
        failed = life.ended and life.exit_code != 0 and not life.error
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
