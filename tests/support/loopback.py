"""A private sshd on the loopback interface, without root: a plug-in that has the fixture `sshd`."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Server", "sshd"]

_DEADLINE = 20.0


@dataclass(frozen=True)
class Server:
    """An sshd that runs."""

    address: str
    port: int
    connection_params: dict[str, Any]
    """To log in there."""


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    limit = time.monotonic() + _DEADLINE
    while process.poll() is None and time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"sshd does not listen on port {port}: it ended with {process.poll()}")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for one file of tests; who logs in has an empty home directory, so that no files of a login are read."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    assert program is not None
    directory = tmp_path_factory.mktemp("sshd")
    home = directory / "home"
    home.mkdir()
    host_key, key, port = _new_key(directory / "host_key"), _new_key(directory / "key"), _free_port()
    settings = f"""
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {host_key}
        AuthorizedKeysFile {key}.pub
        PidFile none
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        PermitRootLogin yes
        MaxStartups 100
        SetEnv HOME={home}
        Subsystem sftp internal-sftp
    """
    (directory / "config").write_text(settings)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", directory / "config"], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        _wait_until_it_listens(process, port)
        (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {(directory / 'host_key.pub').read_text()}")
        options = ("-F", "none", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={directory / 'known_hosts'}")
        params = {"user": getpass.getuser(), "port": port, "keyfile": str(key), "ssh_options": options}
        yield Server("127.0.0.1", port, params)
    finally:
        process.terminate()
        process.wait(_DEADLINE)
