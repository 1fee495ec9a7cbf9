"""Maker: makes one child process of one SpawnProcess message. Belongs to the reactor's thread."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import time
from typing import TYPE_CHECKING

from ..protocols.messages import SpawnFailed
from ._child import CLOSED, Child, Pipes
from ._environment import environment_of_block
from ._proctable import read_entry
from ._spawn import spawn

if TYPE_CHECKING:
    from ..protocols.messages import SpawnProcess
    from ._guard import Guard
    from ._reactor import Reactor
    from ._redirect import Redirect
    from ._room import Room

__all__ = ["Maker"]


class Maker:
    """See the module.

    Args:
        room: where descriptors are reserved.
        guard: sees that no child outlives this program.
    """

    def __init__(self, room: Room, guard: Guard) -> None:
        self._room = room
        self._guard = guard
        self._environment: tuple[bytes, dict[str, str]] = (b"", {})  # the last one, as block and as dict
        self._started: int | None = None  # when this program has, in ticks

    def make(
        self, message: SpawnProcess, reactor: Reactor, redirect: Redirect | None = None, *, spare_reserve: bool
    ) -> Child:
        """Start the process.

        Args:
            redirect: files in place of pipes.
            spare_reserve: leave the last descriptors to the rest of this program.

        Raises:
            OSError: it can not start, and nothing runs. EMFILE, ENFILE, EAGAIN, ENOMEM: not now.
            ConfigurationError: the configuration can not be read.
        """
        self._guard.be_there(reactor)
        pipes = Pipes(use_pty=message.pty, redirect=redirect)
        try:
            stdin, stdout, stderr = pipes.theirs
            if spare_reserve and max(pipes.theirs) >= self._room.first_reserved:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            start = functools.partial(
                spawn,
                message.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=self._decoded(message.env),
                extra_env=self._marks(message.token),
                terminal=pipes.terminal,
            )
            directory = None if message.cwd is None else os.fsdecode(message.cwd)
            try:
                pid = start(cwd=directory)
            except OSError as error:
                if error.filename != directory or not _is_here(message.cwd):
                    raise
                pid = start()  # we are in a directory that can not be entered by its name
        except BaseException:
            pipes.close_ours()
            raise
        finally:
            pipes.close_theirs()
        child = Child(message.process, pid, _pidfd(pid, pipes), pipes)
        child.internal = message.internal
        if message.token is not None:
            child.look_for_trailer(message.token)
        return child

    def _marks(self, token: str | None) -> dict[str, str] | None:
        """The variables by which the guardian finds a child, and a wrapped command that there is one, which does."""
        cookie = self._guard.cookie
        if cookie is None or token is None:
            return cookie
        from ..protocols.remote_shell import here  # here: most programs have no such process

        if self._started is None:
            me = read_entry(os.getpid())
            self._started = me.started if me else 0
        return dict([*cookie.items(), here(token, os.getpid(), self._started)])

    def _decoded(self, block: bytes | None) -> dict[str, str] | None:
        if block is None:
            return None
        if block != self._environment[0]:
            self._environment = block, environment_of_block(block)
        return self._environment[1]

    def failure(self, error: Exception) -> SpawnFailed:
        """What to tell the process actor of an error of `make`."""
        number, name = errno.EINVAL, None
        reason = str(error) or repr(error)
        if isinstance(error, OSError):
            number = error.errno or errno.EIO
            reason = error.strerror or reason
            name = None if error.filename is None else _text(os.fsdecode(error.filename))
        if number == errno.EMFILE:
            reason = f"{reason}: {self._room.why_none()}"
        return SpawnFailed(number, _text(reason), name, time.time())


def _pidfd(pid: int, pipes: Pipes) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # it has ended, and other code of this program waits for any child
        return CLOSED
    except OSError:  # no descriptor left for it: undo the start
        pipes.close_ours()
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise


def _is_here(wished: bytes | None) -> bool:
    """Whether *wished* is the directory that this program is in."""
    with contextlib.suppress(OSError):
        return os.getcwdb() == wished
    return False


def _text(text: str) -> str:
    """*text* as it can travel."""
    return text.encode(errors="backslashreplace").decode()
