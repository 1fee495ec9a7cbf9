"""A command of ``exec`` while it runs: its output passed on, signals handed on, stdin relayed.

The main thread waits in an asyncio loop (`Watch.run`), which is where signals
and stdin come in. What the command writes goes through `_Outlet`, in worker
threads; a reader who is slow slows the command down, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._console import say

if TYPE_CHECKING:
    from ...actors.process import Process

__all__ = ["Request", "Watch"]

_STDIN, _STDOUT, _STDERR = range(3)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BLOCK = 1 << 16  # bytes of stdin at a time
_PATIENCE = 1.0  # seconds after a signal until we say that the command goes on


@dataclass(frozen=True)
class Request:
    """What is to be done."""

    words: list[str]
    shell: bool
    cwd: Path | None
    timeout: float | None
    """Seconds until it is ended; None: never."""
    kill_after: float | None
    """Seconds from a signal that did not end it to SIGKILL; None: never."""
    relays_stdin: bool
    keeps_output: bool
    """Keep what it writes, rather than pass it on."""
    quiet: bool

    @property
    def line(self) -> str:
        """The command as one text."""
        return " ".join(self.words)

    def make_process(self, stdout: _Outlet, stderr: _Outlet) -> Process:
        """Make the process, which writes to the outlets."""
        from ...actors.process import Process

        options: dict[str, Any] = {f"nolog_{what}": True for what in ("exit_code", "timeout", "error", "write_error")}
        if self.keeps_output:
            options["output_limit"] = 1 << 62  # it is all wanted in memory: no file in between
        else:
            options |= {"default_stdout_handler": False, "default_stderr_handler": False}
            options |= {"stdout_handlers": [stdout], "stderr_handlers": [stderr]}
        command = self.line if self.shell or len(self.words) == 1 else self.words
        return Process(command, shell=self.shell, kill_subprocesses=True, cwd=self.cwd, timeout=self.timeout, **options)


class Watch:
    """One command from its start to its end. Belongs to the main thread."""

    def __init__(self, request: Request) -> None:
        self.process = request.make_process(_Outlet(_STDOUT, self._take_fault), _Outlet(_STDERR, lambda _: None))
        self.signal: int | None = None
        """The first signal that came for us while it ran."""
        self.fault: OSError | None = None
        """Why stdout could not be written."""
        self._request = request

    async def run(self) -> None:
        """Start the process, and wait until it has ended and its output is passed on.

        Raises:
            ValueError: the command can not be split into words.
        """
        loop = asyncio.get_running_loop()
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
        for number in heard:
            loop.add_signal_handler(number, self._take_signal, number)
        try:
            self.process.start()
            if self._request.relays_stdin:
                self._relay_stdin(loop)
            else:
                self.process.close_stdin()
            await self.process
        finally:
            loop.remove_reader(_STDIN)
            for number in heard:
                loop.remove_signal_handler(number)

    # -- signals -----------------------------------------------------------------------

    def _take_signal(self, number: int) -> None:
        """Hand the signal on to the command and all that it started; the second time, end it."""
        if self.signal is not None:
            self.process.kill(signal.SIGKILL)
            return
        self.signal = number
        self.process.kill(number, auto_force_kill_timeout=self._request.kill_after)
        asyncio.get_running_loop().call_later(_PATIENCE, self._tell_that_it_goes_on)

    def _tell_that_it_goes_on(self) -> None:
        if self.process.running and not self._request.quiet:
            say(f"still running: {self._request.line}: once more ends it", "exec")

    def _take_fault(self, error: OSError) -> None:
        """Stdout can not be written: end the command as a pipe without reader would. Called in a worker."""
        self.fault = error
        self.process.kill(signal.SIGPIPE, auto_force_kill_timeout=self._request.kill_after)

    # -- stdin -------------------------------------------------------------------------

    def _relay_stdin(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.add_reader(_STDIN, self._read_stdin)
        except PermissionError:  # a file: epoll has no use for what can always be read
            loop.call_soon(self._read_file)

    def _read_file(self) -> None:
        if self._read_stdin():
            asyncio.get_running_loop().call_soon(self._read_file)

    def _read_stdin(self) -> bool:
        """Pass on a block of our stdin; returns whether there may be more, and somebody to read it."""
        try:
            data = os.read(_STDIN, _BLOCK)
        except OSError as error:  # a directory; the terminal, while we are in the background
            if not self._request.quiet:
                say(f"stdin can not be read: {error.strerror}", "exec")
            data = b""
        if data and not self.process.write_error and not self.process.ended:
            self.process.write(data)
            return True
        asyncio.get_running_loop().remove_reader(_STDIN)
        self.process.close_stdin()
        return False


class _Outlet(io.RawIOBase):
    """A handler of output: passes bytes on to a descriptor of ours, until that fails. Called in workers.

    Args:
        fd: the descriptor.
        failed: is told once why it can not be written; what comes later is dropped.
    """

    def __init__(self, fd: int, failed: Callable[[OSError], None]) -> None:
        self._fd = fd
        self._failed = failed
        self._broken = False

    def write(self, data: Any, /) -> int:
        """Write all of *data*, as long as it takes."""
        rest = memoryview(data)
        while rest and not self._broken:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody who shares it has made it non-blocking
                select.select([], [self._fd], [])
            except OSError as error:
                self._broken = True
                self._failed(error)
        return len(data)
