"""Bed: real hosts on this machine, each a `Machine`, on a network of their own that this machine reaches too.

Needs root, and the programs of util-linux, iproute2, nftables and openssh-server. It ends with `end`, and with this
process at the latest (see `enclosure`).
"""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from enclosure import BedError, Enclosure, run
from machine import USER, Machine

__all__ = ["Bed", "why_not"]

_BOOT = Path(__file__).with_name("boot.sh")
_NETWORKS = range(256)  # of 198.18.0.0/16, which is set aside for tests of networks
_OURS = 254  # number of this machine in it


def why_not() -> str | None:
    """Return why there can be no bed on this machine, None if there can."""
    try:
        with Enclosure():
            return None
    except (BedError, OSError) as error:
        return str(error)


class Bed:
    """Made and booted by its constructor.

    Args:
        count: of hosts, at most 250; they are called node-1, node-2 ...
        directory: for its key and the configuration of its clients; not removed in the end.

    Raises:
        BedError: it can not be made here.
    """

    def __init__(self, count: int, directory: Path) -> None:
        self._directory = directory
        self._lock, number = _free_network()
        try:
            self._enclosure = Enclosure()
        except BaseException:
            self._lock.close()
            raise
        try:
            self.hosts = self._make(count, number)
            """All of them, in order."""
            for host in self.hosts:
                host.power_on()
            for host in self.hosts:
                host.wait_up()
        except BaseException:
            self.end()
            raise

    @property
    def ssh_config(self) -> Path:
        """For ``ssh -F``: by it the names of the hosts are known."""
        return self._directory / "ssh_config"

    @property
    def connection_params(self) -> dict[str, Any]:
        """How to log in to the hosts, by name or address."""
        return {"user": USER, "ssh_options": ("-F", str(self.ssh_config), "-o", "BatchMode=yes")}

    def end(self) -> None:
        """Switch all off, and remove all."""
        self._enclosure.end()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _make(self, count: int, number: int) -> list[Machine]:
        network, enclosure, cable = f"198.18.{number}", self._enclosure, f"testbed{number}"
        with suppress(BedError):  # that of one before may be about to go
            run("ip", "link", "del", cable)
        names = [f"node-{index}" for index in range(1, count + 1)]
        commands = ["link add bridge type bridge", "link set bridge up"]
        for index, name in enumerate(names, 1):
            commands += [
                f"netns add {name}",
                f"link add port-{index} type veth peer name eth0 netns {name}",
                f"link set port-{index} master bridge up",
            ]
        enclosure.run("ip", "-batch", "-", text="\n".join(commands))
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "uplink", "netns", str(enclosure.pid))
        enclosure.run("ip", "link", "set", "uplink", "master", "bridge", "up")
        run("ip", "address", "add", f"{network}.{_OURS}/24", "dev", cable)
        run("ip", "link", "set", cable, "up")
        self._prepare_clients({name: f"{network}.{index}" for index, name in enumerate(names, 1)})
        return [Machine(enclosure, name, f"{network}.{index}", f"port-{index}") for index, name in enumerate(names, 1)]

    def _prepare_clients(self, addresses: dict[str, str]) -> None:
        key = self._directory / "id"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        files = self._enclosure.path("/run/testbed")
        shutil.copy(key.with_suffix(".pub"), files)
        shutil.copy(_BOOT, files)
        common = f"Host *\n  User {USER}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        hosts = (f"Host {name}\n  HostName {address}\n" for name, address in addresses.items())
        self.ssh_config.write_text("".join(hosts) + common)


def _free_network() -> tuple[socket.socket, int]:
    """A network that nobody uses, and what keeps it ours against other beds until it is closed."""
    used = run("ip", "-4", "route", "show", "table", "all")
    for number in _NETWORKS:
        lock = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            lock.bind(f"\0regisseur-testbed-{number}")
            if f" 198.18.{number}." not in used.replace("\n", " "):
                return lock, number
        lock.close()
    raise BedError("all networks in 198.18.0.0/16 are in use")
