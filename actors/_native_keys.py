"""HostKeys: the keys of hosts that are known, in files as OpenSSH has them, for connections that this program makes.

The files are read when they have changed. Belongs to the asyncio thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

__all__ = ["HostKeys", "Known"]

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
            keys, authorities, revoked, *_ = self._read(os.path.expanduser(path)).match(name, "", None)
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
