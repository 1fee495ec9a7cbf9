"""The processes of transfers by TakTuk: those of `_transfer_process`, whose commands on hosts travel a tree.

A command that is to read a file gets it by a `Broadcast`; one that writes a file has its output written there by us.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from ..protocols.messages import STDOUT, OutputRead, ProcessExited, ProcessSpawned
from ..protocols.taktuk_transfer import GRANT_UNIT, TookReader, Untapped, fed, tapped
from ._process_rule import BrokenOff, Withdrawn
from ._signals import ENDING
from ._taktuk_feed import Broadcast, BroadcastSource
from ._taktuk_gateway import NodeInput
from ._taktuk_process import NodeActor, ReachedByTaktuk, TaktukProcess
from ._taktuk_tree import NodeNews
from ._transfer_errors import TransferError
from ._transfer_process import GetProcess, PutProcess, TransferProcess
from .runtime import current_runtime

if TYPE_CHECKING:
    from ._process_actor import ProcessActor
    from ._redirect import FileInput, FileOutput
    from ._run import Run
    from ._ssh_process import SshProcess

__all__ = ["TaktukGetProcess", "TaktukPutProcess"]

_UNHIT = 0.5  # seconds that a signal gets to end a command


class _FileActor(NodeActor):
    """A command that reads a file or writes one."""

    _why: BaseException | None = None  # what has broken it off

    def on_receive(self, message: Any) -> None:
        """Let the event happen."""
        for each in message.messages if type(message) is NodeNews else (message,):
            kind = type(each)
            if kind is OutputRead and each.stream == STDOUT:
                self.take_stdout(each)
            elif kind in (ProcessExited, BrokenOff, Withdrawn):
                self.over()
                super().on_receive(each if self._why is None else BrokenOff(time.time(), self._why))
            else:
                super().on_receive(each)
                if kind is ProcessSpawned:
                    self.begun()

    def on_failure(self, *error: Any) -> None:
        """Leave no one waiting."""
        self.over()
        super().on_failure(*error)

    def begun(self) -> None:
        """The command runs."""

    def take_stdout(self, message: OutputRead) -> None:
        """The command has written to stdout."""
        raise NotImplementedError

    def over(self) -> None:
        """The command has ended."""

    def stop_for(self, error: BaseException) -> None:
        """It can not go on."""
        self._why = self._why or error
        self.command.kill()

    @property
    def command(self) -> TaktukProcess:
        """The handle."""
        return self._run.process  # type: ignore[return-value]  # made by that class


class _FedActor(_FileActor):
    """A command that reads a file."""

    def __init__(self, run: Run, gateway: str, host: str, broadcast: Broadcast, given: FileInput) -> None:
        super().__init__(run, gateway, host, restart=False)
        self.gateway = gateway
        self.given = given
        given.fed = 0
        self._broadcast = broadcast
        self._request = dataclasses.replace(self._request, group=broadcast.group(given))
        self._took = TookReader()

    def begun(self) -> None:
        """Read with the others."""
        self._broadcast.join(self.actor_runtime, self)

    def take_stdout(self, message: OutputRead) -> None:
        """What it has taken is told there, too."""
        count = self._took.feed(message.bulk)
        if count is not None:
            self._broadcast.took(self.actor_address, count)
        NodeActor._take_output(self, message)

    def over(self) -> None:
        """The others go on."""
        self._broadcast.leave(self.actor_address)

    def _send_signal(self, number: int) -> None:
        super()._send_signal(number)
        if number in ENDING:
            # A process that was just being started may have got no signal: it sees the end of its input then.
            self._broadcast.leave(self.actor_address)
            end = NodeInput((self.actor_address,), b"")
            tell = self.actor_runtime.bus.tell
            self._timers.append(self.actor_runtime.call_later(_UNHIT, lambda: tell(self.gateway, end)))

    def break_off(self, error: BaseException | None) -> None:
        """See `Reader`."""
        seen = f"it has taken nothing for a long time, of the {self.given.taken} bytes after which others wait for it"
        self.stop_for(error or TransferError(self.command.host.address, seen, "Is it overloaded, or its disk?"))


class _TappedActor(_FileActor):
    """A command that writes a file."""

    def __init__(self, run: Run, gateway: str, host: str, written: FileOutput) -> None:
        super().__init__(run, gateway, host, restart=False)
        self._written = written
        self._untapped = Untapped()
        self._size = 0

    def take_stdout(self, message: OutputRead) -> None:
        """Write it to the file, and let it go on."""
        data = self._untapped.feed(message.bulk)
        grants = (self._size + len(data)) // GRANT_UNIT - self._size // GRANT_UNIT
        self._size += len(data)
        rest = memoryview(data)
        try:
            while rest and self._why is None:
                rest = rest[os.write(self._written.fd, rest) :]
        except OSError as error:
            self.stop_for(error)
            return
        if grants:
            self.actor_runtime.bus.tell(self._gateway, NodeInput((self.actor_address,), b"." * grants))


class _TransferCommand(TaktukProcess):
    """A command of a transfer on a host."""

    broadcast: Broadcast | None = None

    def _make_node_actor(self, run: Run, gateway: str) -> ProcessActor:
        redirect, self._redirect = self._redirect, None  # there is no process here
        if redirect is None:
            return super()._make_node_actor(run, gateway)
        if redirect.stdin is not None:
            assert self.broadcast is not None
            self.remote_cmd = fed(self.remote_cmd)
            return _FedActor(run, gateway, self._node, self.broadcast, redirect.stdin)
        assert redirect.stdout is not None
        self.remote_cmd = tapped(self.remote_cmd)
        return _TappedActor(run, gateway, self._node, redirect.stdout)


class _TaktukTransfer(ReachedByTaktuk, TransferProcess):
    """What both have in common."""

    _command_class: ClassVar[type[SshProcess]] = _TransferCommand
    _route: str | None = None

    def _make_actor(self, run: Run) -> ProcessActor:
        self._route, self._gateway = self._gateway, None  # by the next start, it may be another
        return super()._make_actor(run)

    def _command(self, script: str, timeout: float | None) -> SshProcess:
        command = super()._command(script, timeout)
        assert isinstance(command, _TransferCommand)
        command._gateway = self._route
        return command


class TaktukPutProcess(_TaktukTransfer, PutProcess):
    """Sends files to one host, and at the same time to others.

    Args:
        source: the files; shared by all hosts that get the same.
        destination, host, connection_params, kwargs: see `PutProcess`.
    """

    source: BroadcastSource

    def _make_actor(self, run: Run) -> ProcessActor:
        broadcast, runtime = self.source.broadcast, current_runtime()

        def forget(_: object) -> None:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped
                runtime.bus.call(lambda: broadcast.forget(runtime, [self]))

        runtime.bus.call(lambda: broadcast.expect([self]))
        run.done.add_done_callback(forget)
        return super()._make_actor(run)

    def _command(self, script: str, timeout: float | None) -> SshProcess:
        command = super()._command(script, timeout)
        assert isinstance(command, _TransferCommand)
        command.broadcast = self.source.broadcast
        return command


class TaktukGetProcess(_TaktukTransfer, GetProcess):
    """Fetches files from one host; see `GetProcess`."""
