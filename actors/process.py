"""Process: a command on this machine, and what becomes of it.

A `Process` is a handle. Starting it makes a `ProcessActor`, which changes the
state that the handle shows; any thread may use a handle. Starting never
raises because of the command: failures are data (`error`, `exit_code`,
`timeouted`, ...), and one look at `ok` tells.

Read on: `_process_base` (what is shown), `_process_rule` (the life of a
process), `_process_actor` (who leads it), `_streams` (its output),
`_handlers` (who is told of it), `_expect`.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Self

import pykka

from ..protocols.command import argv_from_cmdline, prlimit_argv
from ..protocols.messages import STDERR, STDOUT
from ._expect import ExpectOutputHandler
from ._handlers import ProcessLifecycleHandler, ProcessOutputHandler, StreamHandlers, stream_name
from ._process_actor import CloseStdin, ProcessActor, Write
from ._process_base import Duration, ProcessBase
from ._process_rule import KillWanted, Start
from .config import configuration
from .future import Future
from .runtime import current_runtime
from .time_utils import get_seconds

__all__ = [
    "STDERR",
    "STDOUT",
    "ExpectOutputHandler",
    "Process",
    "ProcessBase",
    "ProcessLifecycleHandler",
    "ProcessOutputHandler",
    "stream_name",
]

_split = functools.lru_cache(maxsize=4096)(argv_from_cmdline)  # splitting takes longer than all else we do in Python


class Process(ProcessBase):
    """A command that runs on this machine, in a session of its own.

    Args:
        cmd: the command. A text is split into words as a shell would, or given to ``/bin/sh -c`` with *shell*;
            a sequence is taken as it is (with *shell*: quoted, then given to the shell).
        shell: run it by ``/bin/sh -c``.
        pty: stdin and stdout are a pseudo terminal (then lines end with CR LF); stderr stays a pipe.
        kill_subprocesses: `kill` and the timeout reach all descendants too; None: as *shell*.
        env: the whole environment; None: that of this program at the start.
        cwd: the working directory; None: that of this program.
        rlimits: limits of the process as ``{"nofile": 1024, "as": (soft, hard)}``: the names of
            ``resource.RLIMIT_*`` in lower case, set by prlimit(1).
        kwargs: see `ProcessBase`.

    A `Process` can be awaited, and used as a context manager which kills it at the end (without waiting).
    """

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
        self.kill_subprocesses = shell if kill_subprocesses is None else kill_subprocesses
        self.env = env
        self.cwd = cwd
        self.rlimits = rlimits
        super().__init__(cmd, **kwargs)

    # -- starting and ending -----------------------------------------------------------

    def start(self) -> Self:
        """Start it, and return at once. Does nothing when it was started already.

        Raises:
            ValueError: the command can not be split into words, or a limit is unknown.
            TypeError: a handler is nothing that can handle output.
        """
        run = self._run
        if run.life.started:
            return self
        argv = self._argv()
        run.spawn = {"argv": tuple([os.fsencode(word) for word in argv]), "pty": self.pty}
        if self.env is not None:
            run.spawn["env"] = {os.fsencode(k): os.fsencode(v) for k, v in self.env.items()}
        if self.cwd is not None:
            run.spawn["cwd"] = os.fsencode(self.cwd)
        if self.stdout_handlers:
            run.streams[STDOUT].handlers = StreamHandlers(self, STDOUT, self.stdout_handlers)
        if self.stderr_handlers:
            run.streams[STDERR].handlers = StreamHandlers(self, STDERR, self.stderr_handlers)
        run.lifecycle = list(self.lifecycle_handlers)
        run.descendants = self.kill_subprocesses
        life = run.life
        if self.timeout is not None:
            life.timeout = self.timeout
            life.kill_timeout = configuration["kill_timeout"]
        run.runtime = current_runtime()
        actor = ProcessActor(run)  # first of all, so that who kills it from another thread finds an address
        life.take(Start(time.time()))
        run.runtime.bus.launch(actor)
        return self

    def _argv(self) -> Sequence[str]:
        """The words to execute."""
        cmd = self.cmd
        argv: Sequence[str] = _split(cmd, self.shell) if isinstance(cmd, str) else argv_from_cmdline(cmd, self.shell)
        return prlimit_argv(argv, self.rlimits) if self.rlimits else argv

    def run(self, timeout: Duration = None) -> Self:
        """Start it and wait: ``start().wait(timeout)``."""
        return self.start().wait(timeout)

    def kill(self, sig: int = signal.SIGTERM, auto_force_kill_timeout: bool | float | None = True) -> Self:
        """Send it a signal, as soon as it runs; return at once. No effect when it has ended or was never started.

        Args:
            sig: the signal.
            auto_force_kill_timeout: seconds after which SIGKILL follows; True: ``configuration["kill_timeout"]``
                after SIGTERM and SIGINT; None or False: never.
        """
        if auto_force_kill_timeout is True:
            force = configuration["kill_timeout"] if sig in (signal.SIGTERM, signal.SIGINT) else None
        else:
            force = None if auto_force_kill_timeout is False else get_seconds(auto_force_kill_timeout)
        self._tell(KillWanted(int(sig), force))
        return self

    def write(self, s: str | bytes) -> None:
        """Write to its stdin, text as UTF-8; return at once. ``print(..., file=process)`` works too.

        What can not be delivered sets `write_error`.
        """
        data = s.encode(errors="surrogateescape") if isinstance(s, str) else bytes(s)
        if data:
            self._tell(Write(data))

    def flush(self) -> None:
        """For `print`; what was written is on its way already."""

    def close_stdin(self) -> None:
        """Let it see the end of its stdin, when it has read all that was written."""
        self._tell(CloseStdin())

    def _tell(self, message: Any) -> None:
        """Send *message* to the actor of this run; without one, a write is an error and a kill is nothing."""
        run = self._run
        if run.life.started and not run.life.ended:
            try:
                run.runtime.bus.tell(run.address, message)
            except pykka.ActorDeadError:
                if not run.done.done():
                    raise
        elif isinstance(message, Write):
            run.life.write_error = True

    def reset(self) -> Self:
        """Kill it and wait if it runs, then return to the state before the start; returns the process."""
        if self.running:
            self.kill().wait()
        for handler in self.lifecycle_handlers:
            handler.reset(self)
        self._run = self._new_run()
        self._expecter = None
        self._events = None
        self.expect_fail = False
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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

    def _given(self) -> list[str]:
        given = [f"{key}=True" for key in ("shell", "pty") if getattr(self, key)]
        given += [f"{key}={getattr(self, key)!r}" for key in ("cwd", "rlimits") if getattr(self, key) is not None]
        return given + super()._given()

    def _facts(self) -> list[str]:
        return [*super()._facts(), f"pid={self._run.life.pid}"]
