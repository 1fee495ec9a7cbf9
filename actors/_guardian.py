"""Guardian: the controller's hold on a small process that ends all it had started, however the controller dies.

The guardian process (`_guardian_main`) watches the controller by a pidfd. When the controller is gone - normal exit,
os._exit, SIGKILL - it ends, within a second: every process in a session that was watched, whatever its process group,
whether it is stopped or ignores SIGTERM; every process that carries the controller's cookie in its environment, for
that is how those are known that left their session (setsid, daemons); and all that descends from either.
Out of reach is what does all three: clears its environment, leaves its session, and outlives its parent
(`env -i setsid -f ...`), or does the latter two while its environment may not be read; and what runs as another user
(sudo). These survive.

Nothing foreign is ever signalled: how that is known, although numbers of processes are used again, stands in
`_claims.Claims` and `_proctable.send`.

A guardian belongs to one thread (the reactor's) except where a method says otherwise. It may die itself; then `pidfd`
gets readable, and whoever started it starts the next with `Guardian(watch=..., after=old)`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import select
import signal
import socket
import sys
from collections.abc import Iterable

from . import _guardian_main
from ._claims import HEADER, RECORD, VARIABLE
from ._proctable import read_entry, ticks
from ._spawn import spawn

__all__ = ["Guardian"]

_PRUNE = 256
"""Ended sessions that are remembered before it is looked which of them have emptied."""


class Guardian:
    """One guardian process for this controller, from construction to `dismiss`, or to the controller's end.

    `watch` are the pids of session leaders that live already; `after` is the guardian that this one replaces: its
    cookie, which running processes carry, and the sessions that it knew to have lost their leader go over to this one.

    `pid` is the guardian process and `pidfd` a descriptor that gets readable when it ends (-1 after reap, dismiss and
    abandon). `cookie` is the name and value of the variable that every child must have in its environment.

    Raises OSError if the process can't be started; then nothing is left of it.
    """

    __slots__ = ("_lingering", "_prune_at", "_socket", "_unsent", "cookie", "pid", "pidfd")

    def __init__(self, watch: Iterable[int] = (), *, after: Guardian | None = None) -> None:
        self.cookie: tuple[str, str] = after.cookie if after else (VARIABLE, _cookie())
        self.pid, self.pidfd, self._socket = _start()
        self._unsent = bytearray(_header(self.cookie[1].rpartition(":")[2]))
        self._lingering: dict[int, int] = dict(after._lingering) if after else {}
        self._prune_at = _PRUNE
        for pid, until in self._lingering.items():
            self._unsent += _record(b"E", pid, until)
        for pid in watch:
            self.watch(pid)
        self.flush()

    # -- what the controller tells -------------------------------------------------------------------------------------

    def watch(self, pid: int) -> None:
        """Note that `pid` was started, as the leader of its own session. Sent by the next `flush`."""
        self._lingering.pop(pid, None)
        self._unsent += _record(b"W", pid, 0)

    def ended(self, pid: int) -> bool:
        """Note that the leader `pid` has ended, and return whether its session goes on. Sent by the next `flush`.

        To be called right after reaping and before anything else is started, or right before reaping. After is
        cheaper: an empty session is then forgotten at once, while an unreaped leader makes it look inhabited.
        """
        if self._in_use(pid):
            until = ticks()
            self._lingering[pid] = until
            self._unsent += _record(b"E", pid, until)
            if len(self._lingering) >= self._prune_at:
                self._prune()
            return True
        self._unsent += _record(b"F", pid, 0)
        return False

    @property
    def lingers(self) -> bool:
        """Whether there are sessions that go on without their leaders."""
        self._prune()
        return bool(self._lingering)

    def flush(self) -> None:
        """Send what was noted since the last call; never blocks, never raises.

        What the guardian has no room for yet stays for the next call. Until it is sent, a process can be found by
        its cookie alone.
        """
        if not self._unsent or self.pidfd == -1:
            return
        try:
            # MSG_NOSIGNAL, for a script may have given SIGPIPE its deadly default back.
            sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:  # it is dead: pidfd says so too, and its successor is told everything anew
            self._unsent.clear()
        else:
            del self._unsent[:sent]

    def release(self) -> None:
        """Let everything live on when the controller ends. Can't be taken back."""
        self._unsent += _record(b"R", 0, 0)
        self.flush()

    # -- the guardian process ------------------------------------------------------------------------------------------

    def alive(self) -> bool:
        """Whether the guardian process runs. Thread-safe."""
        if self.pidfd == -1:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def reap(self) -> bool:
        """Take the dead guardian process from the system, when pidfd is readable; False if it still runs."""
        if self.pidfd == -1:
            return True
        if self.alive():
            return False
        self._take_away()
        return True

    def dismiss(self) -> None:
        """End the guardian process and nothing else; returns when it is gone. Harmless if it is gone already."""
        if self.pidfd == -1:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)  # it ignores all that can be ignored
        self._take_away()

    def abandon(self) -> None:
        """Forget the guardian without any effect on it: for the child after os.fork(), whose guardian it is not."""
        if self.pidfd != -1:
            self._socket.close()
            os.close(self.pidfd)
            self.pidfd = -1

    def _take_away(self) -> None:
        with contextlib.suppress(ChildProcessError):  # a script that waits for just any child has taken it
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        self.abandon()

    def _in_use(self, number: int) -> bool:
        """Whether a process, process group or session has this number, be it that only zombies are left of it.

        There is no call to ask for a session (kill asks for a process or a group, and the background jobs of a shell
        are groups of their own). But to name the owner of a descriptor the kernel wants a number that is in use, for
        whatever; and a pidfd never signals its owner. Linux before 4.14 does not check, and says yes.
        """
        try:
            fcntl.fcntl(self.pidfd, fcntl.F_SETOWN, number)
        except OSError as error:
            return error.errno != errno.ESRCH
        return True

    def _prune(self) -> None:
        for pid in [pid for pid in self._lingering if not self._in_use(pid)]:
            del self._lingering[pid]
            self._unsent += _record(b"F", pid, 0)
        # Not again before as many new ones have come as there are: each is looked at a constant number of times.
        self._prune_at = max(_PRUNE, 2 * len(self._lingering))


# -- the stream to the guardian process, as `_claims.Claims.take` reads it --------------------------------------------


def _header(token: str) -> bytes:
    me = read_entry(os.getpid())
    since = me.started if me else 0
    return token.encode() + since.to_bytes(HEADER - len(token), "little")


def _record(operation: bytes, pid: int, when: int) -> bytes:
    return operation + pid.to_bytes(4, "little") + when.to_bytes(RECORD - 5, "little")


def _cookie() -> str:
    """Return a new cookie below those of the controllers above this one.

    So the guardian of an outer controller finds, by its own part of the value, what an inner one has started.
    """
    above = os.environ.get(VARIABLE)
    token = secrets.token_hex(16)
    return f"{above}:{token}" if above else token


def _start() -> tuple[int, int, socket.socket]:
    """Start the guardian process; return its pid, a pidfd of it and the socket to it."""
    ours, theirs = socket.socketpair()
    try:
        pid = _spawn_program(theirs)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    try:
        return pid, os.pidfd_open(pid), ours
    except OSError:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _spawn_program(stream: socket.socket) -> int:
    # Given a pidfd, not a number: so it watches this very process, even if that dies before it has started.
    controller = os.pidfd_open(os.getpid())
    try:
        with open(os.devnull, "wb") as null:
            return spawn(
                [sys.executable, "-I", "-S", _guardian_main.__file__],
                stdin=stream.fileno(),
                stdout=controller,
                stderr=null.fileno(),
                cwd="/",  # keeps no file system busy
            )
    finally:
        os.close(controller)
