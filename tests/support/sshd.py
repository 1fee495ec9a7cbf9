"""A private sshd on the loopback interface, for tests: a plug-in with the fixtures `sshd` and `start_sshd`.

It needs no root. Its sessions have an empty home directory of their own, so that no start-up file of the user's
counts. It ends with the tests, and with their process: the kernel kills it then.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE
from ports import free_port

__all__ = ["WAYS", "Sshd", "params_of"]

_PR_SET_PDEATHSIG = 1


WAYS: dict[str, dict[str, Any]] = {
    "own connection": {"multiplex": False},
    "shared connection": {},
    "native": {"connector": "native"},
}
"""Connection parameters of each way to connect."""


def params_of(way: str) -> dict[str, Any]:
    """Connection parameters of one of them; the test is left out where that needs what is not installed."""
    if way == "native" and importlib.util.find_spec("asyncssh") is None:
        pytest.skip("needs asyncssh, to connect without ssh: pip install 'regisseur[native]'")
    return WAYS[way]


class Sshd:
    """One server. A further start of the same keeps port and keys.

    Args:
        directory: for its files; made where it is not there.
        options: further lines of sshd_config.
    """

    address = "127.0.0.1"

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.more_params: dict[str, Any] = {}
        """Further connection parameters."""
        self.home = directory / "home"
        self.log = directory / "log"
        self.known_hosts = directory / "known_hosts"
        self._process: subprocess.Popen[bytes] | None = None
        self.home.mkdir(parents=True)
        directory.chmod(0o700)
        for name in ("host_key", "id"):
            self._make_key(directory / name)
        self.port = free_port()
        self._configure(options)
        self.start()

    @property
    def connection_params(self) -> dict[str, Any]:
        """How to log in, with a file of host keys of its own."""
        return {
            "user": getpass.getuser(),
            "port": self.port,
            "keyfile": str(self.directory / "id"),
            "ssh_options": ("-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
            "known_hosts": str(self.known_hosts),
            **self.more_params,
        }

    def new_host_key(self) -> None:
        """Have another host key from the next start on, as a machine that was deployed anew."""
        for file in self.directory.glob("host_key*"):
            file.unlink()
        self._make_key(self.directory / "host_key")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        assert program is not None, "no sshd: the test needs the marker requires_sshd"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # packages make it when the service starts
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", "-e", "-f", str(self.directory / "config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + DEADLINE
        while not self._listens():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()

    def stop(self) -> None:
        """End it with all its connections, as a machine would that loses its network; commands go on."""
        process, self._process = self._process, None
        if process is None:
            return
        for pid in [*_descendants(process.pid), process.pid]:
            if _name(pid).startswith("sshd"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait(DEADLINE)

    def connections(self) -> list[int]:
        """The pids of its processes that serve a connection each."""
        return [] if self._process is None else _children(self._process.pid)

    def break_connections(self) -> None:
        """End all connections that there are, as `stop` does, and go on listening."""
        for pid in self.connections():
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
            return True
        return False

    def _make_key(self, path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)

    def _configure(self, options: dict[str, Any]) -> None:
        lines = {
            "Port": self.port,
            "ListenAddress": "0.0.0.0",
            "HostKey": self.directory / "host_key",
            "AuthorizedKeysFile": self.directory / "id.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PidFile": "none",
            "MaxStartups": 100,
            "MaxSessions": 100,
            "PrintMotd": "no",
            "PrintLastLog": "no",
            "KexAlgorithms": "curve25519-sha256",  # the default one takes seven times the processor time
            "SetEnv": f"HOME={self.home}",
            "Subsystem": "sftp internal-sftp",
            **options,
        }
        (self.directory / "config").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server for all tests; leave it running."""
    server = Sshd(tmp_path_factory.mktemp("sshd") / "server")
    yield server
    server.stop()


@pytest.fixture
def start_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Starts servers of the test's own: ``start_sshd(MaxStartups=3)``."""
    servers: list[Sshd] = []

    def start(**options: Any) -> Sshd:
        servers.append(Sshd(tmp_path / f"sshd-{len(servers)}", **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found
