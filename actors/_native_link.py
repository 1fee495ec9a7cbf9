"""NativeLink: one connection to a host that this program makes itself, by asyncssh. What happens in the asyncio thread.

Owns: the connection, its channels, the session of the supervisor.
Tells its `NativeConnection`, which lives on the reactor: `Connected`, SupervisorAnswer, `LinkOver`.

Sessions are taken as soon as the host has let us in; the supervisor starts beside the first ones. Until it has said
that it is ready nobody knows whether the host runs commands at all (the user's shell may be nologin, which ends with a
status of its own): so exit statuses are held until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh

from ..protocols.known_hosts import key_name
from ..protocols.remote_supervisor import SupervisorAnswer, SupervisorReader, supervisor
from ..protocols.ssh_failure import Failure, classify
from ..protocols.ssh_words import SshOptions, ssh_options
from ._connection import Way
from ._native_channel import NativeChannel
from ._native_keys import HostKeys, Known
from ._native_loop import NativeLoop
from ._native_messages import Connected, LinkOver

__all__ = ["NativeLink"]

_TAIL = 8192  # bytes of the supervisor's stderr that are kept
_ACCEPTED = {"accept-new": True, "no": False, "off": False}

_keys = HostKeys()


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
        self._trust = _Trust()
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

    def descriptors(self) -> list[int]:
        """Those that the loop may not be watching."""
        return [fd for channel in self._channels for fd in channel.descriptors()]

    # -- its life -------------------------------------------------------------------------

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(self._way.connect_timeout or None):
                self._connection = await self._connect()
        except Exception as error:
            self._end(*_failure(error, self._trust))
            return
        self._tell(Connected())
        try:
            self._supervisor, _ = await self._connection.create_session(
                lambda: _Supervisor(self, self._token), supervisor(self._token), encoding=None, request_pty=False
            )
        except (asyncssh.Error, OSError) as error:
            self._end(Failure.OTHER, str(error), unstarted=True)
            return
        for line in self._orders:
            self.order(line)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        options = ssh_options(self._way.words)
        trust = self._trust
        trust.files = options.paths("UserKnownHostsFile")
        trust.accepts = _ACCEPTED.get((options.first("StrictHostKeyChecking") or "yes").lower())
        user, at, host = self._way.address.rpartition("@")
        keys = trust.load_keys(options.all("IdentityFile"))
        with _configuration(options, host) as files:
            return await asyncssh.connect(
                host,
                config=files,
                username=user if at else (),
                client_factory=lambda: _Client(self, trust),
                client_keys=keys,
                known_hosts=None if trust.accepts is False else trust.known,
                connect_timeout=None,  # it is bound already
                login_timeout=0,
                password_auth=False,  # nobody is there to be asked
                kbdint_auth=False,
                x11_forwarding=False,
                x509_trusted_certs=None,
                gss_host=None,
            )

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
            self._tell(message)


class _Client(asyncssh.SSHClient):
    """What asyncssh asks and tells about the connection."""

    def __init__(self, link: NativeLink, trust: _Trust) -> None:
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


class _Trust:
    """Which keys of hosts are taken, and which of ours are offered; why not, where there is something wrong."""

    def __init__(self) -> None:
        self.files: list[str] = []
        """Of keys that are known; none: the user's own."""
        self.accepts: bool | None = None
        """Whether a key that is not known is taken and kept; False: nothing is checked."""
        self.verdict: Failure | None = None
        self.bad_keys: list[str] = []
        """What is wrong with our key files."""
        self._name = ""
        self._known = Known([], [], [])

    def known(self, host: str, _address: str, port: int | None) -> tuple[list[asyncssh.SSHKey], ...]:
        """What asyncssh is to trust."""
        self._name = key_name(host.lower(), port)
        self._known = known = _keys.find(self.files, self._name)
        return known.keys, known.authorities, known.revoked

    def takes(self, key: asyncssh.SSHKey) -> bool:
        """Whether a key that was not among those is taken."""
        now = _keys.find(self.files, self._name).keys  # another connection may have brought it meanwhile
        if key in now:
            return True
        if now or not self.accepts:
            self.verdict = Failure.HOST_KEY_CHANGED if now else Failure.HOST_KEY_UNKNOWN
            return False
        if self.files:
            with contextlib.suppress(OSError):  # ssh goes on, too
                _keys.add(self.files[0], self._name, key)
        return True

    def load_keys(self, paths: list[str]) -> list[asyncssh.SSHKeyPair] | tuple[()]:
        """Our keys; none: the default ones."""
        keys: list[asyncssh.SSHKeyPair] = []
        for path in map(os.path.expanduser, paths):
            try:
                if os.stat(path).st_mode & 0o077 and os.stat(path).st_uid == os.getuid():
                    raise PermissionError(errno.EACCES, "others than its owner can read it (UNPROTECTED)")
                keys += asyncssh.load_keypairs(path)
            except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                self.bad_keys.append(f"Load key {path}: {getattr(error, 'strerror', None) or error}")
        return keys or ()


@contextlib.contextmanager
def _configuration(options: SshOptions, host: str) -> Iterator[list[str]]:
    """The files for asyncssh to read: one of what the command line says, for this host only, and the user's own.

    Of several values for one thing it takes the first, so what we would like comes last.
    """
    lines = [f"Host {host}", *(f"{key} {value}" for key, value in options.settings if key.lower() not in _OWN)]
    users = os.path.expanduser(options.file or "~/.ssh/config")
    has_users = options.file != "none" and bool(options.file or os.access(users, os.R_OK))
    with contextlib.ExitStack() as stack:
        if has_users:
            yield [_memory_file(stack, lines), users, _memory_file(stack, [_CIPHERS])]
        else:
            yield [_memory_file(stack, [*lines, _CIPHERS])]


def _memory_file(stack: contextlib.ExitStack, lines: list[str]) -> str:
    fd = os.memfd_create("ssh_config")
    stack.callback(os.close, fd)
    os.write(fd, "\n".join(lines).encode() + b"\n")
    return f"/proc/self/fd/{fd}"


_CIPHERS = (
    "Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"
    "aes128-ctr,aes192-ctr,aes256-ctr"
)
"""All that OpenSSH takes by default, but in this order a packet is one call here, and not six."""


_OWN = frozenset(
    {"identityfile", "userknownhostsfile", "globalknownhostsfile", "stricthostkeychecking", "connecttimeout"}
)
"""Keywords that are seen to here."""

_ERRNOS = {
    errno.ECONNREFUSED: Failure.REFUSED,
    errno.EHOSTUNREACH: Failure.NO_ROUTE,
    errno.ENETUNREACH: Failure.NO_ROUTE,
    errno.EHOSTDOWN: Failure.NO_ROUTE,
    errno.ENETDOWN: Failure.NO_ROUTE,
    errno.ETIMEDOUT: Failure.TIMEOUT,
    errno.ECONNRESET: Failure.BUSY,
    errno.EPIPE: Failure.BUSY,
}
_ERRNO = re.compile(r"\[Errno (\d+)\]")
"""All that is left of the errors where several addresses of a host were tried."""


def _failure(error: Exception, trust: _Trust) -> tuple[Failure, str]:
    """What kind of failure *error* is, and what there is to say of it."""
    said = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return trust.verdict or Failure.HOST_KEY_UNKNOWN, f"{said} ({', '.join(trust.files) or 'known_hosts'})"
        case asyncssh.PermissionDenied():
            bad = "\n".join(trust.bad_keys)
            return (Failure.BAD_KEY_FILE, bad) if bad else (Failure.PERMISSION_DENIED, said)
        case asyncssh.ConnectionLost():
            return Failure.BUSY, said
        case asyncssh.ChannelOpenError():
            return Failure.JUMP_FAILED, said
        case asyncssh.KeyExchangeFailed() | asyncssh.ProtocolNotSupported():
            return Failure.BAD_CONFIGURATION, said
        case asyncssh.DisconnectError():
            return classify(said) or Failure.OTHER, said
        case TimeoutError() if error.errno is None:
            return Failure.TIMEOUT, "no answer in time"
        case socket.gaierror() | UnicodeError():
            return Failure.UNKNOWN_NAME, said
        case OSError(filename=str()):
            return Failure.BAD_CONFIGURATION, said
        case OSError():
            numbers = _ERRNO.findall(said)
            number = error.errno or (int(numbers[-1]) if numbers else 0)
            return _ERRNOS.get(number, Failure.OTHER), said
        case ValueError():
            return Failure.BAD_CONFIGURATION, said
    return Failure.OTHER, said


# It tells of each connection and session at level INFO, which is nothing that a user asked for.
if not asyncssh.logging.logger.logger.level:
    asyncssh.set_log_level("WARNING")
