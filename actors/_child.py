"""A child of ours: its pid, its pidfd, and our ends of its pipes. For the I/O actor alone."""

from __future__ import annotations

import fcntl
import os
import pty
import termios
from collections import deque
from typing import TYPE_CHECKING

from ..protocols.messages import STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..protocols.remote_shell import TrailerFilter
    from ._output import Output
    from ._redirect import Redirect
    from .shared_input import InputReader

__all__ = ["CLOSED", "PARKED", "RUNNING", "Child", "Pipes"]

CLOSED = -1
"""In place of a descriptor: closed."""
RUNNING = 1000
"""In place of an exit status: there is none yet."""
PARKED = -2
"""In place of the descriptor of stdin: open, but kept elsewhere (see `_parking`)."""

_LARGE_PIPE = 1 << 20
"""Bytes of a pipe that turned out to be busy: the most that an ordinary user may ask for. Also: bytes written at a
time, so that a process which reads fast does not hold up the others."""


class Pipes:
    """Both ends of the pipes of a process to be; *ours* go to the `Child`, *theirs* close after the spawn."""

    __slots__ = ("ours", "terminal", "theirs")

    def __init__(self, *, use_pty: bool, redirect: Redirect | None = None) -> None:
        self.ours: list[int] = []
        """stdin (to write), stdout and stderr (to read); with a terminal the first two are the same.

        `CLOSED` where the child has a file.
        """
        self.theirs: list[int] = []
        self.terminal: str | None = None
        """Path of the terminal, where there is one."""
        try:
            if use_pty:
                master, slave = pty.openpty()
                self.ours += [master, master]
                self.theirs += [slave, slave]
                self.terminal = os.ttyname(slave)
            else:
                if redirect is None or redirect.stdin is None:
                    read, write = os.pipe2(os.O_CLOEXEC)
                    self._add(write, read)
                else:
                    self._add(CLOSED, redirect.stdin.open())
                if redirect is None or redirect.stdout is None:
                    self._add(*os.pipe2(os.O_CLOEXEC))
                else:
                    self._add(CLOSED, redirect.stdout.open())
            self._add(*os.pipe2(os.O_CLOEXEC))
        except OSError:
            self.close_ours()
            self.close_theirs()
            raise

    def _add(self, ours: int, theirs: int) -> None:
        self.ours.append(ours)
        self.theirs.append(theirs)

    def close_theirs(self) -> None:
        """Close the child's ends: after the spawn, or when it failed."""
        for fd in dict.fromkeys(self.theirs):
            os.close(fd)

    def close_ours(self) -> None:
        """Close our ends: when the spawn failed."""
        for fd in dict.fromkeys(self.ours):
            if fd != CLOSED:
                os.close(fd)


class Child:
    """One running child."""

    __slots__ = (
        "address",
        "begun",
        "chunk",
        "closing_input",
        "diverted",
        "input_watched",
        "internal",
        "midline",
        "outputs",
        "parked_as",
        "paused",
        "pending",
        "pid",
        "pidfd",
        "reported",
        "seen",
        "source",
        "stdin",
        "terminal",
        "token",
        "trailer",
        "trailer_stream",
        "written",
    )

    def __init__(self, address: str, pid: int, pidfd: int, pipes: Pipes) -> None:
        self.address = address
        """Of the process actor."""
        self.pid = pid
        self.pidfd = pidfd
        """`CLOSED` where it ended so early, and was waited for by somebody else, that there was none to be had."""
        self.stdin = pipes.ours[0]
        """The descriptor to write to, or `CLOSED`, or `PARKED`."""
        self.parked_as = 0
        """The number under which it is parked."""
        self.outputs: dict[int, int] = {
            stream: fd for stream, fd in ((STDOUT, pipes.ours[1]), (STDERR, pipes.ours[2])) if fd != CLOSED
        }
        """The descriptors to read, by stream; a stream at its end is gone from it."""
        self.terminal = pipes.terminal is not None
        """Whether stdin and stdout are one terminal, with one descriptor."""
        self.chunk = 1 << 16
        """Bytes to read at once."""
        self.paused: Collection[int] = ()
        """Streams whose reader is behind."""
        self.diverted: dict[int, Output | None] | None = None
        """Streams that go straight into their spool files; None: as soon as what was read before is there."""
        self.pending: deque[memoryview] | None = None
        """What is still to be written to stdin."""
        self.source: InputReader | None = None
        """Where more comes from when nothing is pending."""
        self.closing_input = False
        """Close stdin when nothing is pending."""
        self.input_watched = False
        """Whether the reactor tells when stdin can take more."""
        self.midline = False
        """Whether the last byte for stdin, if there was any, was no newline."""
        self.written = 0
        """Bytes that stdin has taken."""
        self.token: str | None = None
        """Of the wrapped command that it runs, or connects to."""
        self.trailer: TrailerFilter | None = None
        """Takes the trailer of a remote command off its last bytes."""
        self.reported: int | None = None
        """The status that the trailer told."""
        self.internal = False
        """It serves this program alone, and ends with it in any case."""
        self.begun = False
        """Its actor was told that the remote command begins."""
        self.seen = 0
        """Chunks of output, where there is a trailer to look for."""
        self.trailer_stream = STDERR
        """Where that trailer comes."""

    def look_for_trailer(self, token: str) -> None:
        """It connects to a host, and a wrapped command runs there."""
        from ..protocols.remote_shell import TrailerFilter  # here: most programs have no such process

        self.token = token
        self.trailer = TrailerFilter(token)
        self.trailer_stream = STDOUT if self.terminal else STDERR

    @property
    def is_local(self) -> bool:
        """Whether it is a process of this machine: `pid` is its own."""
        return True

    def reap(self) -> int | None:
        """The exit status: 0..255, or minus the signal; None: others took it; or `RUNNING`."""
        try:
            result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:  # other code waits for any child, or SIGCHLD is ignored
            return None
        if result is None:
            return RUNNING
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def enlarge(self, fd: int) -> None:
        """Give a busy pipe more room, so that both sides run longer at a time."""
        if self.chunk < _LARGE_PIPE:
            self.chunk = _LARGE_PIPE
        try:
            if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < _LARGE_PIPE:
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)
        except OSError:
            pass  # a terminal, or the user's share of pipe pages is used up: it works with what it has

    def add_input(self, data: bytes) -> None:
        """Have *data*, which is not empty, written behind what is pending; `write_some` does it."""
        if self.pending is None:
            os.set_blocking(self.stdin, False)
            self.pending = deque()
        self.pending.append(memoryview(data))
        self.midline = data[-1] != 0x0A

    def write_some(self) -> bool:
        """Write pending input until the pipe is full, or a good deal is written; returns whether nothing is left.

        Raises:
            OSError: the process reads no more.
        """
        room = _LARGE_PIPE
        while self.pending and room > 0:
            part = self.pending[0]
            try:
                count = os.write(self.stdin, part[:room])
            except BlockingIOError:
                return False
            self.written += count
            room -= count
            if count < len(part):
                self.pending[0] = part[count:]
            else:
                self.pending.popleft()
        return not self.pending

    def end_of_file(self) -> bytes:
        """What a user would type on the terminal for the end of the input.

        It ends the line that has been begun, so that it takes two to be read as an end in the middle of a line.
        """
        try:
            key: bytes = termios.tcgetattr(self.stdin)[6][termios.VEOF]
        except termios.error:
            key = b"\x04"
        return key + key if self.midline else key
