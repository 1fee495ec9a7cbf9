"""Trust: which keys of hosts are taken, for connections that this program makes; by files as OpenSSH has them.

The files are read when they have changed. Belongs to the asyncio thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from ..protocols.known_hosts import key_name
from ..protocols.ssh_failure import Failure

__all__ = ["HostKeys", "Known", "Trust"]

_GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")


@dataclass(frozen=True, slots=True)
class Known:
    """What the files say of one host."""

    keys: list[asyncssh.SSHKey]
    authorities: list[asyncssh.SSHKey]
    """Whose certificates count."""
    revoked: list[asyncssh.SSHKey]


class HostKeys:
    """See the module."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[int, ...], asyncssh.SSHKnownHosts]] = {}

    def find(self, files: Sequence[str], name: str) -> Known:
        """What is known of *name*, see `protocols.known_hosts.key_name`.

        Args:
            files: paths; none: the user's own.

        Raises:
            OSError: a file is there and cannot be read.
            ValueError: it is no such file.
        """
        known = Known([], [], [])
        for path in (*(files or _USER_FILES), *_GLOBAL_FILES):
            path = os.path.expanduser(path)
            hosts = self._read(path)
            if not self._files[path][0]:  # it is not there
                continue
            keys, authorities, revoked, *_ = hosts.match(name, "", None)
            known.keys.extend(keys)
            known.authorities.extend(authorities)
            known.revoked.extend(revoked)
        return known

    def add(self, path: str, name: str, key: asyncssh.SSHKey) -> None:
        """Put the key of *name* into the file.

        Raises:
            OSError: that cannot be done.
        """
        path = os.path.expanduser(path)
        hosts = self._read(path)
        line = f"{name} {key.export_public_key('openssh').decode().strip()}\n"
        before = self._files[path][0]
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line.encode())
            after = _signature(os.fstat(fd))
        finally:
            os.close(fd)
        if (before or (after[0], 0))[:2] == (after[0], after[1] - len(line.encode())):
            hosts.load(line)  # nobody else has written: so it need not be read again
            self._files[path] = after, hosts

    def _read(self, path: str) -> asyncssh.SSHKnownHosts:
        try:
            signature = _signature(os.stat(path))
        except FileNotFoundError:
            signature = ()
        kept = self._files.get(path)
        if kept is not None and kept[0] == signature:
            return kept[1]
        text = Path(path).read_text(errors="replace") if signature else ""
        hosts = asyncssh.import_known_hosts(text)
        self._files[path] = signature, hosts
        return hosts


def _signature(stat: os.stat_result) -> tuple[int, ...]:
    """Which file it is, how long, and when it was changed."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


_keys = HostKeys()
_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


class Trust:
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

    def algorithms(self, host: str, port: int) -> list[str]:
        """Which keys the host is asked for, where we know some of it; none: as asyncssh likes.

        Of the kinds that we know first, but all: else a host whose new key is of another kind would just go away.

        Raises:
            OSError, ValueError: see `HostKeys.find`.
        """
        if self.accepts is False:
            return []
        known = _keys.find(self.files, key_name(host.lower(), port))
        if not known.keys or known.authorities:
            return []
        ours = {algorithm.decode() for key in known.keys for algorithm in key.sig_algorithms}
        return sorted(_ALGORITHMS, key=lambda algorithm: algorithm not in ours)

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
