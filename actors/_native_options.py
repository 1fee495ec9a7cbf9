"""NativeOptions: what the options of ssh's command line, and its files, mean to asyncssh.

asyncssh reads ssh's configuration itself, all that it knows of it. Here it gets files to read: one of what stands on
the command line, the user's own, and what we would like, last, as the first value counts. Reading them takes as much
time as a quarter of a connection; so for hosts that are reached alike, and whose names nothing depends on, it is done
once and kept for a moment. Belongs to the asyncio thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import errno
import fnmatch
import glob
import itertools
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import asyncssh

from ..protocols.ssh_words import SshOptions, ssh_options
from ._connection import Way

__all__ = ["NativeOptions"]

_FRESH = 1.0  # seconds in which neither files nor keys are looked at again
_OWN = frozenset(
    {"identityfile", "userknownhostsfile", "globalknownhostsfile", "stricthostkeychecking", "connecttimeout"}
)
"""Keywords that are seen to here."""
_ACCEPTED = {"accept-new": True, "no": False, "off": False}
_CIPHERS = (
    "Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"
    "aes128-ctr,aes192-ctr,aes256-ctr"
)
"""All that OpenSSH takes by default, but in this order a packet is one call here, and not six."""
_SYSTEM_FILE = "/etc/ssh/ssh_config"
_FIXED: dict[str, Any] = {
    "connect_timeout": None,  # it is bound already
    "login_timeout": 0,
    "password_auth": False,  # nobody is there to be asked
    "kbdint_auth": False,
    "x11_forwarding": False,
    "x509_trusted_certs": None,
    "x509_trusted_cert_paths": [],
    "gss_host": None,
}


class NativeOptions:
    """How a host is connected to.

    Args:
        words: ssh's options.

    Raises:
        ValueError: they are none.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        self._options = options = ssh_options(words)
        self.accepts = _ACCEPTED.get((options.first("StrictHostKeyChecking") or "yes").lower())
        """Whether a host key that is not known is taken and kept; False: nothing is checked; None: it is refused."""
        self.files = options.paths("UserKnownHostsFile")
        """Of host keys that are known; none: the user's own."""
        self.bad_keys: list[str] = []
        """What is wrong with our key files."""
        self.jumps: list[str] = []
        """Hosts to go over, as ProxyJump has them."""
        self.proxy: str | None = None
        """A command for a shell that connects to the host (ProxyCommand)."""
        self._users_files = _users_files(options)
        self._needs_name = _any_needs_name(self._users_files) or any("%" in value for _, value in self._settings())
        self._keys, self._publics = self._load_keys()
        self._base: Any  # an asyncssh.SSHClientConnectionOptions; only some of its attributes have types
        self._environment: dict[bytes, bytes]

    @classmethod
    async def of(cls, way: Way) -> NativeOptions:
        """Return those for *way*.

        Raises:
            OSError, ValueError: of a file, or of the words: it cannot be understood.
        """
        kept = _kept.get(way.words)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        options = cls(way.words)
        if options._needs_name:  # and who knows what else: Match may run a program, which takes time
            await asyncio.get_running_loop().run_in_executor(None, options._read, way.address)
        else:
            options._read(way.address)
            if not options.bad_keys:
                _kept[way.words] = time.monotonic() + _FRESH, options
        return options

    def _read(self, address: str) -> None:
        user, at, host = address.rpartition("@")
        with self._all_files() as files:
            base: Any = asyncssh.SSHClientConnectionOptions(
                host=host,
                username=user if at else (),
                config=files,
                client_keys=self._keys or (),
                **_FIXED,
            )
        self._base = base
        if not self.files:
            self.files = [*(base.config.get("UserKnownHostsFile") or ())]
        base.is_read = True  # see _native_loop
        self._environment = dict(_sent(base.config.get("SendEnv") or []))
        for variable in base.config.get("SetEnv") or []:
            name, _, value = os.fsencode(variable).partition(b"=")
            self._environment[name] = value
        self.proxy = base.config.get("ProxyCommand")
        if isinstance(base.tunnel, str):
            self.jumps = base.tunnel.split(",")

    def key_place(self, way: Way) -> tuple[str, int] | None:
        """What the host is called in files of keys, and its port; None: the user says which keys to ask it for."""
        config = self._base.config
        if config.get("HostKeyAlgorithms"):
            return None
        host = config.get("HostKeyAlias") or config.get("Hostname") or way.address.rpartition("@")[2]
        return host, self._base.port

    def for_connection(self, way: Way) -> dict[str, Any]:
        """Arguments of asyncssh.connect, for one connection by *way*."""
        base = self._base
        user, at, host = way.address.rpartition("@")
        arguments: dict[str, Any] = {
            "host": host,
            "username": user if at else (),
            "options": base,
            "proxy_command": None,  # see `proxy`
            "env": self._environment,
            "send_env": [],  # these are among those
        }
        keys: Any = self._keys
        if base.config.get("IdentitiesOnly"):
            if self._publics:
                arguments["agent_identities"] = self._publics
        elif not keys:
            keys = base.client_keys  # the default ones
        # A pair of keys keeps the algorithm that its host likes best, so each connection has its own.
        arguments["client_keys"] = [copy.copy(key) for key in keys or ()] or ()
        for name in ("kex_algs", "encryption_algs", "mac_algs"):  # as names, for to match patterns takes time
            arguments[name] = [algorithm.decode() for algorithm in getattr(base, name)]
        return arguments

    def for_jump(self) -> dict[str, Any]:
        """Arguments of asyncssh.connect, for a host to go over: as for ssh, only files say how."""
        return {"config": self._users_files, **_FIXED}

    def _settings(self) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self._options.settings if key.lower() not in _OWN]

    @contextlib.contextmanager
    def _all_files(self) -> Iterator[list[str]]:
        with contextlib.ExitStack() as stack:
            lines = [f"{key} {value}" for key, value in self._settings()]
            yield [_memory_file(stack, lines), *self._users_files, _memory_file(stack, [_CIPHERS])]

    def _load_keys(self) -> tuple[list[asyncssh.SSHKeyPair], list[bytes]]:
        """Our keys, and what an agent knows them by."""
        keys: list[asyncssh.SSHKeyPair] = []
        publics = []
        for path in map(os.path.expanduser, self._options.all("IdentityFile")):
            with contextlib.suppress(OSError, asyncssh.KeyImportError):
                publics.append(asyncssh.read_public_key(path.removesuffix(".pub") + ".pub").public_data)
                if path.endswith(".pub"):  # the other half is with the agent
                    continue
            try:
                if os.stat(path).st_mode & 0o077 and os.stat(path).st_uid == os.getuid():
                    raise PermissionError(errno.EACCES, "others than its owner can read it (UNPROTECTED)")
                keys += asyncssh.load_keypairs(path)
            except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                self.bad_keys.append(f"Load key {path}: {getattr(error, 'strerror', None) or error}")
        return keys, publics


_kept: dict[tuple[str, ...], tuple[float, NativeOptions]] = {}


def _users_files(options: SshOptions) -> list[str]:
    if options.file is not None:
        return [] if options.file == "none" else [os.path.expanduser(options.file)]
    files = (os.path.expanduser("~/.ssh/config"), _SYSTEM_FILE)
    return [file for file in files if os.access(file, os.R_OK)]


def _sent(patterns: Iterable[str]) -> Iterator[tuple[bytes, bytes]]:
    """Our environment variables that SendEnv names."""
    for pattern in patterns:
        for name, value in os.environb.items():
            if fnmatch.fnmatchcase(name, os.fsencode(pattern)):
                yield name, value


def _any_needs_name(files: Iterable[str]) -> bool:
    """Whether something in *files* depends on the name of the host, and whatever else Match looks at."""
    place = os.path.expanduser("~/.ssh")
    for file in files:
        for line in Path(file).read_text(errors="replace").splitlines():
            keyword, value = [*re.split(r"[\s=]+", line.strip(), maxsplit=1), ""][:2]
            match keyword.lower():
                case "match":
                    return True
                case comment if comment.startswith("#"):
                    pass
                case "host" if value != "*":
                    return True
                case "include":
                    found = (glob.glob(os.path.join(place, os.path.expanduser(path))) for path in shlex.split(value))
                    if _any_needs_name(itertools.chain.from_iterable(found)):
                        return True
                case _ if "%" in value:
                    return True
    return False


def _memory_file(stack: contextlib.ExitStack, lines: list[str]) -> str:
    fd = os.memfd_create("ssh_config")
    stack.callback(os.close, fd)
    os.write(fd, "\n".join(lines).encode() + b"\n")
    return f"/proc/self/fd/{fd}"
