"""NativeChannel: one session of a connection that this program makes itself, between the network and three pipes.

What the I/O actor has of it are the other ends of the pipes, and of a socket on which is said what ssh's master would
say on its control socket (`protocols.mux`): that the host has taken the command or has not, the exit status; and its
end, when all output is written. So a session is the same to the I/O actor, whoever holds the connection.

Belongs to the asyncio thread. While a pipe is full the channel is not read, so that the host's window fills and the
command waits; while the host takes no more input, stdin is not read.

The exit status is told at the very end, for it may come before the last output, and even before the word that the
command was taken. Where something that the command has left in the background holds the output open, the end is when
that has been silent for a while; which is seen here, for who sees only the pipes cannot tell silence from a thread that
has much to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from collections import deque
from collections.abc import Callable
from typing import Any

import asyncssh

from ..protocols.mux import ExitMessage, Failure, SessionOpened, spoken
from ._native_loop import NativeLoop
from ._session import SIGNALLED

__all__ = ["NativeChannel"]

_CLOSED = -1
_READ = 1 << 16  # bytes of stdin to read at once
_LINGER = 1.0  # seconds of silence after the exit status


class NativeChannel(asyncssh.SSHClientSession[bytes]):
    """See the module.

    Args:
        loop: of the connection.
        control: one end of a socket pair.
        theirs: what the command has as stdin (to read here), stdout and stderr.
        ended: called at the end.
    """

    def __init__(
        self, loop: NativeLoop, control: int, theirs: list[int], ended: Callable[[NativeChannel], None]
    ) -> None:
        self._loop = loop.loop
        self._control = control
        self._stdin, stdout, stderr = theirs
        self._outputs: dict[int | None, _Output] = {
            None: _Output(self, stdout),
            asyncssh.EXTENDED_DATA_STDERR: _Output(self, stderr),
        }
        self._ended = ended
        self._channel: Any = None
        self._status: int | None = None
        self._started = False
        self._held = True
        self._received = 0  # pieces of output
        self._lingering: asyncio.TimerHandle | None = None
        self._input_watched = False
        self._input_is_file = stat.S_ISREG(os.fstat(self._stdin).st_mode)  # which nothing can wait for
        self._over = False
        for fd in (control, *theirs):
            os.set_blocking(fd, False)
        self._loop.add_reader(control, self._hung_up)

    def descriptors(self) -> list[int]:
        """Those that are open."""
        fds = (self._control, self._stdin, *(output.fd for output in self._outputs.values()))
        return [fd for fd in fds if fd != _CLOSED]

    # -- what the connection calls ----------------------------------------------

    def refuse(self, reason: str) -> None:
        """No session was opened."""
        self._say(Failure(0, reason))
        self.close()

    def release(self) -> None:
        """The host is known to run commands: from now on an exit status is one of the command's."""
        self._held = False
        self._finish()

    def close(self) -> None:
        """Let go of everything."""
        if self._control == _CLOSED:
            return
        self._over = True
        if self._lingering is not None:
            self._lingering.cancel()
        if self._channel is not None:
            self._channel.abort()
        self._close_stdin()
        for output in self._outputs.values():
            output.close()
        self._loop.remove_reader(self._control)
        os.close(self._control)
        self._control = _CLOSED
        self._ended(self)

    # -- what asyncssh calls ------------------------------------------------------

    def connection_made(self, chan: Any) -> None:
        """The host has opened a channel; it does not run the command yet."""
        self._channel = chan
        if self._control == _CLOSED:  # who wanted it does not any more
            chan.abort()

    def session_started(self) -> None:
        """The host has taken the command."""
        self._start()
        self.resume_writing()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """The command has written something."""
        self._received += 1
        self._outputs[datatype].write(data)

    def eof_received(self) -> bool:
        """The command will write nothing more; it may still read."""
        return True

    def exit_status_received(self, status: int) -> None:
        """The command has ended."""
        self._take_status(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """A signal has ended the command, and what was to report that."""
        number = _number(signal)
        if number is not None:
            self._take_status(SIGNALLED + number)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, and all that came was received."""
        self._channel = None
        self._over = True
        self._close_stdin()
        if exc is not None:
            self._held = False  # nothing else will be heard of the host
            self._start()  # the command may have been taken, and must not be run again
        if self._started:  # else it is refused
            self._finish()

    def pause_writing(self) -> None:
        """The host takes no more input at the moment."""
        if self._input_watched:
            self._input_watched = False
            if not self._input_is_file:
                self._loop.remove_reader(self._stdin)

    def resume_writing(self) -> None:
        """The host takes input."""
        if not self._input_watched and self._stdin != _CLOSED:
            self._input_watched = True
            if self._input_is_file:
                self._loop.call_soon(self._read_file)
            else:
                self._loop.add_reader(self._stdin, self._read_input)

    # -- the pipes ------------------------------------------------------------------

    def _read_file(self) -> None:
        """Read some, and let the loop look at the others before the next."""
        if self._input_watched:
            self._read_input()
            self._loop.call_soon(self._read_file)

    def _read_input(self) -> None:
        try:
            data = os.read(self._stdin, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        with contextlib.suppress(OSError):  # the channel is just being closed
            if data:
                self._channel.write(data)
            else:
                self._channel.write_eof()
        if not data:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin != _CLOSED:
            self.pause_writing()
            os.close(self._stdin)
            self._stdin = _CLOSED

    def wait_for(self, output: _Output) -> None:
        """A pipe is full: receive nothing until it has room."""
        if self._channel is not None:
            self._channel.pause_reading()
        self._loop.add_writer(output.fd, lambda: self._drain(output))

    def _drain(self, output: _Output) -> None:
        if not output.drain():
            return
        self._loop.remove_writer(output.fd)
        if not self._is_draining:
            if self._channel is not None:
                self._channel.resume_reading()
            self._finish()

    def forget(self, output: _Output) -> None:
        """It is being closed."""
        self._loop.remove_writer(output.fd)

    # -- the end -----------------------------------------------------------------------

    def _finish(self) -> None:
        if self._over and not self._held and not self._is_draining:
            if self._status is not None:
                self._say(ExitMessage(0, self._status))
            self.close()

    @property
    def _is_draining(self) -> bool:
        return any(output.pending for output in self._outputs.values())

    def _hung_up(self) -> None:
        """The I/O actor waits no longer."""
        with contextlib.suppress(BlockingIOError):
            if os.read(self._control, 1):
                return
        self.close()

    def _take_status(self, status: int) -> None:
        self._status = status
        self._linger()

    def _linger(self) -> None:
        """Wait for the channel to be closed; but not if it is silent, and something in the background has it open."""
        self._lingering = self._loop.call_later(_LINGER, self._look_for_silence, self._received)

    def _look_for_silence(self, received: int) -> None:
        if self._received != received or self._is_draining:
            self._linger()
        else:
            self._over = True
            self._finish()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._say(SessionOpened(0, 0))

    def _say(self, message: SessionOpened | ExitMessage | Failure) -> None:
        if self._control != _CLOSED:
            with contextlib.suppress(OSError):  # nobody listens any more
                os.write(self._control, spoken(message))


class _Output:
    """One pipe that the command's output goes to, and what it could not take yet."""

    __slots__ = ("_channel", "fd", "pending")

    def __init__(self, channel: NativeChannel, fd: int) -> None:
        self._channel = channel
        self.fd = fd
        self.pending: deque[memoryview] = deque()

    def write(self, data: bytes) -> None:
        """Pass *data* on, now or when there is room."""
        if self.fd == _CLOSED:
            return
        waits = bool(self.pending)
        self.pending.append(memoryview(data))
        if not waits and not self.drain():
            self._channel.wait_for(self)

    def drain(self) -> bool:
        """Write what the pipe takes; returns whether nothing is left."""
        while self.pending:
            part = self.pending[0]
            try:
                count = os.write(self.fd, part)
            except BlockingIOError:
                return False
            except OSError:  # nobody reads it any more
                self.pending.clear()
                return True
            if count < len(part):
                self.pending[0] = part[count:]
            else:
                self.pending.popleft()
        return True

    def close(self) -> None:
        """What could not be written is lost."""
        if self.fd == _CLOSED:
            return
        if self.pending:
            self.pending.clear()
            self._channel.forget(self)
        os.close(self.fd)
        self.fd = _CLOSED


def _number(name: str) -> int | None:
    """The number of a signal by its name without SIG, which is how hosts tell it."""
    member = signal.Signals.__members__.get(f"SIG{name}")
    return None if member is None else int(member)
