"""NativeLink: one connection to a host that this program makes itself, by asyncssh. What happens in the asyncio thread.

Owns: the connection, its channels, the session of the supervisor.
Tells its `NativeConnection`, which lives on the reactor: `Connected`, SupervisorAnswer, `LinkOver`.

Sessions are taken as soon as the host has let us in; the supervisor starts beside the first ones. Until it has said
that it is ready nobody knows whether the host runs commands at all (the user's shell may be nologin, which ends with a
status of its own): so exit statuses are held until then.

A supervisor that is started only for a second command or a signal, with a watcher in the first command's wrapper till
then, saves less than a fifth of the processor time and of the wall time of a first command on many hosts; but the
watcher looks through the host's processes for each command, and sees two seconds late that a connection is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import asyncssh

from ..protocols.remote_supervisor import SupervisorAnswer, SupervisorReader, supervisor
from ..protocols.ssh_failure import Failure
from ..protocols.ssh_words import jump_words
from ._connection import Way
from ._native_channel import NativeChannel
from ._native_failure import JumpError, failure_of
from ._native_keys import Trust
from ._native_loop import NativeLoop
from ._native_messages import Connected, LinkOver
from ._native_options import NativeOptions
from ._native_proxy import ProxyCommand

__all__ = ["NativeLink"]

_TAIL = 8192  # bytes of the supervisor's stderr that are kept


class NativeLink:
    """See the module.

    Args:
        loop: where it lives.
        way: how to connect.
        token: of the connection.
        tell: tells something to its NativeConnection.
    """

    def __init__(self, loop: NativeLoop, way: Way, token: str, tell: Callable[[Any], None]) -> None:
        self._loop = loop
        self._way = way
        self._token = token
        self._tell = tell
        self._channels: set[NativeChannel] = set()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._supervisor: Any = None
        self._orders: list[bytes] = []  # until the supervisor has a channel
        self._ready = False  # the supervisor is
        self._supervisor_over = False
        self._over = False
        self._trust = Trust()
        self._proxy: ProxyCommand | None = None
        self._jumps: list[asyncssh.SSHClientConnection] = []  # connections to hosts that it goes over
        loop.parts.add(self)
        loop.begin(self._begin())

    # -- what the connection actor wants ---------------------------------------------

    def open(self, control: int, theirs: list[int], command: bytes, *, pty: bool) -> None:
        """Open a session that runs *command*; the descriptors are taken over."""
        channel = NativeChannel(self._loop, control, theirs, self._channel_ended)
        self._channels.add(channel)
        if self._ready:
            channel.release()
        if self._over or self._connection is None:
            channel.refuse("the connection is closed")
        else:
            self._loop.begin(self._open(channel, command, pty))

    def order(self, line: bytes) -> None:
        """Pass an order on to the supervisor."""
        if self._supervisor is None:
            self._orders.append(line)
        else:
            with contextlib.suppress(OSError):  # its channel is just being closed
                self._supervisor.write(line)

    def close(self) -> None:
        """Nobody needs it any more: the supervisor's stdin ends, so it ends, and with it the connection."""
        if self._supervisor is None:
            self.abort()
        else:
            self._supervisor.write_eof()

    def give_up(self, failure: Failure, said: str) -> None:
        """It takes too long."""
        self._end(failure, said, unstarted=True)

    def abort(self) -> None:
        """Drop it."""
        self._end(Failure.CONNECTION_LOST, "")

    def leave(self) -> None:
        """Drop it, and tell nobody: the loop ends."""
        self._over = True
        self.abort()
        self._let_go()

    def descriptors(self) -> list[int]:
        """Those that the loop may not be watching."""
        ours = [] if self._proxy is None else self._proxy.descriptors()
        return ours + [fd for channel in self._channels for fd in channel.descriptors()]

    # -- its life -------------------------------------------------------------------------

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(self._way.connect_timeout or None):
                self._connection = await self._connect()
        except Exception as error:
            failure, said = failure_of(error, self._trust)
            if failure is Failure.BUSY and self._proxy is not None:
                failure, said = Failure.JUMP_FAILED, f"ProxyCommand: {said}"
            self._end(failure, said)
            return
        if self._over:
            self._connection.abort()
            return
        self._tell(Connected())
        try:
            self._supervisor, _ = await self._connection.create_session(
                lambda: _Supervisor(self, self._token),
                supervisor(self._token),
                encoding=None,
                request_pty=False,
                env=None,
                send_env=None,
            )
        except (asyncssh.Error, OSError) as error:
            self._end(Failure.OTHER, str(error), unstarted=True)
            return
        for line in self._orders:
            self.order(line)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        options = await NativeOptions.of(self._way)
        trust = self._trust
        trust.files, trust.accepts, trust.bad_keys = options.files, options.accepts, options.bad_keys
        place = options.key_place(self._way)
        for jump in options.jumps:
            self._jumps.append(await self._jump(jump, options))
        algorithms = [] if place is None else trust.algorithms(*place)
        with contextlib.ExitStack() as failing:
            sock = None
            if options.proxy is not None and not self._jumps:
                self._proxy = ProxyCommand(options.proxy)
                sock = failing.enter_context(self._proxy.socket)
            connection = await asyncssh.connect(
                tunnel=self._jumps[-1] if self._jumps else (),
                sock=sock,
                client_factory=lambda: _Client(self, trust),
                known_hosts=None if trust.accepts is False else trust.known,
                server_host_key_algs=algorithms or (),
                **options.for_connection(self._way),
            )
            failing.pop_all()
        return connection

    async def _jump(self, jump: str, options: NativeOptions) -> asyncssh.SSHClientConnection:
        try:
            user, host, port = jump_words(jump)
            return await asyncssh.connect(
                host,
                port or (),
                username=user or (),
                tunnel=self._jumps[-1] if self._jumps else (),
                **options.for_jump(),
            )
        except (asyncssh.Error, OSError, ValueError) as error:
            raise JumpError(jump, error) from error

    async def _open(self, channel: NativeChannel, command: bytes, pty: bool) -> None:
        assert self._connection is not None
        terminal = os.environ.get("TERM", "dumb") if pty else None
        try:
            await self._connection.create_session(
                lambda: channel,
                command,  # type: ignore[arg-type]  # bytes do as well, and a command may be no text
                encoding=None,
                request_pty=pty,
                term_type=terminal,
            )
        except (asyncssh.Error, OSError) as error:
            channel.refuse(getattr(error, "reason", "") or str(error))

    def heard(self, answer: SupervisorAnswer) -> None:
        """The supervisor has said something."""
        if answer.is_ready:
            self._ready = True
            for channel in list(self._channels):
                channel.release()
        self._tell(answer)

    def supervisor_ended(self, said: str, status: int | None) -> None:
        """Its session is closed."""
        self._supervisor_over = True
        if not self._ready:
            self._end(Failure.OTHER, said, status, unstarted=True)
        else:
            self._close_if_unused()

    def _channel_ended(self, channel: NativeChannel) -> None:
        self._channels.discard(channel)
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        """As ssh does: the connection stays as long as there are sessions."""
        if self._supervisor_over and not self._channels and self._connection is not None:
            self._connection.close()

    def lost(self, error: Exception | None) -> None:
        """The connection has ended, and its channels have been told."""
        if self._connection is not None:
            for channel in list(self._channels):
                channel.release()
            self._finish(LinkOver(Failure.CONNECTION_LOST, "" if error is None else str(error), None))

    def _end(self, failure: Failure, said: str, status: int | None = None, *, unstarted: bool = False) -> None:
        """End it with all its channels; what is known of their commands does not count."""
        self._finish(LinkOver(failure, said, status, unstarted=unstarted))
        if self._connection is not None:
            self._connection.abort()
        for channel in list(self._channels):
            channel.close()

    def _finish(self, message: LinkOver) -> None:
        if not self._over:
            self._over = True
            self._loop.parts.discard(self)
            said = self._let_go()
            self._tell(replace(message, said=f"{said}\n{message.said}".strip()))

    def _let_go(self) -> str:
        """End what it goes over; returns what that has to say."""
        jumps, self._jumps = self._jumps, []
        for jump in reversed(jumps):
            jump.abort()
        proxy, self._proxy = self._proxy, None
        return "" if proxy is None else proxy.end()


class _Client(asyncssh.SSHClient):
    """What asyncssh asks and tells about the connection."""

    def __init__(self, link: NativeLink, trust: Trust) -> None:
        self._link = link
        self._trust = trust

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return self._trust.takes(key)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.lost(exc)


class _Supervisor(asyncssh.SSHClientSession[bytes]):
    """The supervisor's session."""

    def __init__(self, link: NativeLink, token: str) -> None:
        self._link = link
        self._reader = SupervisorReader(token)
        self._said = b""
        self._status: int | None = None

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._said = (self._said + data)[-_TAIL:]
            return
        for answer in self._reader.feed(data):
            self._link.heard(answer)

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:  # else the whole connection is
            self._link.supervisor_ended(self._said.decode(errors="replace"), self._status)


# It tells of each connection and session at level INFO, which is nothing that a user asked for.
if not asyncssh.logging.logger.logger.level:
    asyncssh.set_log_level("WARNING")
