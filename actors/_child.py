"""A child of ours: its pid, its pidfd, and our ends of its pipes. For the I/O actor alone."""

from __future__ import annotations

import fcntl
import os
import pty
from collections import deque
from typing import TYPE_CHECKING

from ..protocols.messages import STDERR, STDOUT

if TYPE_CHECKING:
    from ._output import Output

__all__ = ["CLOSED", "PARKED", "Child", "Pipes"]

CLOSED = -1
"""In place of a descriptor: closed."""
PARKED = -2
"""In place of the descriptor of stdin: open, but kept elsewhere (see `_parking`)."""

_LARGE_PIPE = 1 << 20
"""Bytes of a pipe that turned out to be busy: the most that an ordinary user may ask for."""


class Pipes:
    """Both ends of the pipes of a process to be; *ours* go to the `Child`, *theirs* close after the spawn."""

    __slots__ = ("ours", "terminal", "theirs")

    def __init__(self, *, use_pty: bool) -> None:
        self.ours: list[int] = []
        """stdin (to write), stdout and stderr (to read); with a terminal the first two are the same."""
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
                read, write = os.pipe2(os.O_CLOEXEC)
                self._add(write, read)
                self._add(*os.pipe2(os.O_CLOEXEC))
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
            os.close(fd)


class Child:
    """One running child."""

    __slots__ = ("address", "chunk", "closing_input", "diverted", "outputs", "pending", "pid", "pidfd", "stdin")

    def __init__(self, address: str, pid: int, pidfd: int, pipes: Pipes) -> None:
        self.address = address
        """Of the process actor."""
        self.pid = pid
        self.pidfd = pidfd
        self.stdin = pipes.ours[0]
        """The descriptor to write to, or `CLOSED`, or `PARKED`."""
        self.outputs: dict[int, int] = {STDOUT: pipes.ours[1], STDERR: pipes.ours[2]}
        """The descriptors to read, by stream; a stream at its end is gone from it."""
        self.chunk = 1 << 16
        """Bytes to read at once."""
        self.pending: deque[memoryview] | None = None
        """What is still to be written to stdin."""
        self.closing_input = False
        """Close stdin when nothing is pending."""
        self.diverted: dict[int, Output] | None = None
        """Streams that go straight into their spool files."""

    def enlarge(self, fd: int) -> None:
        """Give a busy pipe more room, so that both sides run longer at a time."""
        if self.chunk < _LARGE_PIPE:
            self.chunk = _LARGE_PIPE
        try:
            if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < _LARGE_PIPE:
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)
        except OSError:
            pass  # a terminal, or the user's share of pipe pages is used up: it works with what it has

    def write_some(self) -> bool:
        """Write pending input until the pipe is full or nothing is left; returns whether nothing is left.

        Raises:
            OSError: the process reads no more.
        """
        while self.pending:
            part = self.pending[0]
            try:
                written = os.write(self.stdin, part)
            except BlockingIOError:
                return False
            if written < len(part):
                self.pending[0] = part[written:]
            else:
                self.pending.popleft()
        return True
