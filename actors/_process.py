"""Process: a command on this machine, and what becomes of it.

A `Process` is a handle. Starting it makes a `ProcessActor`, which changes the
state that the handle shows; any thread may use a handle. Starting never
raises because of the command: failures are data (`error`, `exit_code`,
`timeouted`, ...), and one look at `ok` tells.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Self

import pykka

from ..protocols.command import argv_from_cmdline, prlimit_argv
from ..protocols.messages import STDERR, STDOUT
from ._environment import environment_block
from ._process_actor import CloseStdin, ProcessActor, Write, call_hook
from ._process_base import Duration, ProcessBase
from ._process_log import input_facts
from ._process_rule import KillWanted, Start
from ._run import Run
from ._signals import signal_number
from ._sinks import StreamHandlers
from .config import configuration
from .future import Future
from .journal import current_journal
from .time_utils import get_seconds

__all__ = ["Process"]

logger = logging.getLogger("regisseur")

_split = functools.lru_cache(maxsize=4096)(argv_from_cmdline)  # splitting takes longer than all else we do in Python


class Process(ProcessBase):
    """A command that runs on this machine, in a session of its own.

    Args:
        cmd: the command. A text is split into words as a shell would, or given to ``/bin/sh -c`` with *shell*;
            a sequence is taken as it is (with *shell*: quoted, then given to the shell).
        shell: run it by ``/bin/sh -c``.
        pty: stdin and stdout are a pseudo terminal (then lines end with CR LF); stderr stays a pipe.
        kill_subprocesses: `kill` and the timeout reach all descendants too, and all in its session; None: as *shell*.
        env: the whole environment; None: that of this program at the start.
        cwd: the working directory; None: that of this program at the start.
        rlimits: limits of the process as ``{"nofile": 1024, "as": (soft, hard)}``: the names of
            ``resource.RLIMIT_*`` in lower case, set by prlimit(1).
        kwargs: see `ProcessBase`.

    A `Process` can be awaited, and used as a context manager which kills it at the end (without waiting).
    """

    _shown: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("shell", "pty"), False),
        **dict.fromkeys(("kill_subprocesses", "env", "cwd", "rlimits")),
        **ProcessBase._shown,
    }

    def __init__(
        self,
        cmd: str | Sequence[str],
        shell: bool = False,
        pty: bool = False,
        kill_subprocesses: bool | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        rlimits: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.shell = shell
        self.pty = pty
        self.kill_subprocesses = kill_subprocesses
        self.env = env
        self.cwd = cwd
        self.rlimits = rlimits
        super().__init__(cmd, **kwargs)

    # -- starting and ending -----------------------------------------------------------

    def start(self) -> Self:
        """Start it, and return at once. Does nothing when it was started already.

        Raises:
            ValueError: the command can not be split into words, a limit is unknown, or a variable impossible.
            TypeError: a handler is nothing that can handle output.
        """
        run = self._run
        if not run.permit:
            return self
        spawn = {
            "argv": tuple([os.fsencode(word) for word in self._argv()]),
            "env": environment_block(self.env),
            "cwd": self._directory(),
            "pty": self.pty,
        }
        limits = (None, None) if self.timeout is None else (get_seconds(self.timeout), configuration["kill_timeout"])
        handlers = (self._handlers_of(STDOUT), self._handlers_of(STDERR))
        try:
            run.permit.pop()
        except IndexError:  # another thread was faster
            return self
        run.adopt()
        run.spawn = spawn
        run.streams[STDOUT].prepare(handlers[0], self.output_limit, keep=self.default_stdout_handler)
        run.streams[STDERR].prepare(handlers[1], self.output_limit, keep=self.default_stderr_handler)
        run.lifecycle = list(self.lifecycle_handlers)
        run.descendants = self.shell if self.kill_subprocesses is None else self.kill_subprocesses
        life = run.life
        life.timeout, life.kill_timeout = limits
        life.take(Start(time.time()))
        run.launch(self._make_actor(run))
        return self

    def _make_actor(self, run: Run) -> ProcessActor:
        """The actor of *run*, which is about to start. In the thread that starts it."""
        return ProcessActor(run)

    def _argv(self) -> Sequence[str]:
        """The words to execute."""
        cmd = self.cmd
        argv: Sequence[str] = _split(cmd, self.shell) if isinstance(cmd, str) else argv_from_cmdline(cmd, self.shell)
        return prlimit_argv(argv, self.rlimits) if self.rlimits else argv

    def _directory(self) -> bytes | None:
        """Where to run, as seen from where we are now; None: we are in a directory that is gone."""
        try:
            here = os.getcwdb()
        except FileNotFoundError:
            return None if self.cwd is None else os.fsencode(self.cwd)
        return here if self.cwd is None else os.path.join(here, os.fsencode(self.cwd))

    def _handlers_of(self, stream: int) -> StreamHandlers | None:
        handlers, kept = (
            (self.stdout_handlers, self.default_stdout_handler)
            if stream == STDOUT
            else (self.stderr_handlers, self.default_stderr_handler)
        )
        if not handlers:
            return None
        # What is not kept, but seen, has at least its digest in the log.
        digest = hashlib.sha256() if not kept and current_journal() is not None else None
        return StreamHandlers(self, stream, handlers, digest)

    def run(self, timeout: Duration = None) -> Self:
        """Start it and wait: ``start().wait(timeout)``."""
        return self.start().wait(timeout)

    def kill(self, sig: int = signal.SIGTERM, auto_force_kill_timeout: Duration | bool = True) -> Self:
        """Send it a signal, as soon as it runs; return at once. No effect when it has ended or was never started.

        Args:
            sig: the signal.
            auto_force_kill_timeout: seconds after which SIGKILL follows; True: ``configuration["kill_timeout"]``
                after SIGTERM and SIGINT; None or False: never.

        Raises:
            ValueError: this system has no such signal.
        """
        number = signal_number(sig)
        if auto_force_kill_timeout is True:
            force = configuration["kill_timeout"] if number in (signal.SIGTERM, signal.SIGINT) else None
        else:
            force = None if auto_force_kill_timeout is False else get_seconds(auto_force_kill_timeout)
        self._tell(KillWanted(number, force))
        return self

    def write(self, s: str | bytes | bytearray | memoryview) -> None:
        """Write to its stdin, text as UTF-8; return at once. ``print(..., file=process)`` works too.

        What can not be delivered sets `write_error`.

        Raises:
            ValueError: it was never started.
            TypeError: *s* is neither text nor bytes.
        """
        run = self._run
        if run.permit:
            raise ValueError(f"{self!r} was not started: call start() before you write to it")
        data = self._input_bytes(s)
        if not data:
            return
        journal = current_journal()
        facts = None if journal is None else input_facts(journal, run, data)
        run.unread.append(len(data))  # before we look whether it has ended: its actor looks there after it has
        if not self._tell(Write(data, facts)):
            run.life.write_error = True
            if not self.nolog_write_error:
                logger.warning("%s has ended: what is written to it now is lost", self)

    def _input_bytes(self, s: Any) -> bytes:
        if isinstance(s, str):
            return s.encode(errors="surrogateescape")
        try:
            return memoryview(s).tobytes()  # bytes() would take numbers too
        except TypeError:
            raise TypeError(f"text or bytes can be written to {self!r}, not {type(s).__name__} {s!r}") from None

    def flush(self) -> None:
        """For `print`; what was written is on its way already."""

    def close_stdin(self) -> None:
        """Let it see the end of its stdin, when it has read all that was written.

        Where stdin is a terminal, it is the key for the end of file (mostly Control-D) that is typed on it.
        """
        self._tell(CloseStdin())

    def _tell(self, message: Any) -> bool:
        """Send *message* to the actor of this run; returns whether there is one, so that it may take it."""
        run = self._run
        if run.permit or run.life.ended:
            return False
        try:
            run.tell(message)
        except pykka.ActorDeadError:
            if run.is_foreign:
                raise
            return False  # the runtime has been stopped, and has ended it
        return True

    def reset(self) -> Self:
        """Kill it and wait if it runs, then return to the state before the start; returns the process."""
        if self.running:
            self.kill().wait()
        self._run.wait_for_handlers()
        for handler in self.lifecycle_handlers:
            call_hook(handler, "reset", self)
        run, self._run = self._run, self._new_run()
        run.forget()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._run.is_foreign:
            self.kill()

    # -- futures -------------------------------------------------------------------------

    @property
    def future(self) -> Future[Self]:
        """The future of its end, set to the process itself, whether it is ok or not."""
        return self._run.done

    def __await__(self) -> Generator[Any, None, Self]:
        """Start it if need be, and wait for its end without blocking the event loop."""
        return self.start().future.__await__()

    @property
    def pid(self) -> int | None:
        """Its pid; waits for a start that is under way. None if it was not, or could not be, started."""
        run = self._run
        if run.life.pid is None and run.life.started and not run.life.ended:
            return run.spawned.result()
        return run.life.pid
