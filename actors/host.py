"""Host: an address, and how to log in there where that differs from the connection parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from ..protocols.ssh import checked_address

__all__ = ["Host", "HostLike", "Hosts", "get_hosts_list", "get_hosts_set", "get_unique_hosts_list"]


class Host:
    """A host to act on. Two of them are equal when all four attributes are.

    The attributes are plain and may be changed, as long as the host is in no set and no key of a dict.
    """

    address: str
    """Name or IP address."""
    user: str | None
    """Whom to log in as; None leaves it to the connection parameters."""
    keyfile: str | None
    """Path of the private key; None leaves it to the connection parameters."""
    port: int | None
    """Port of the ssh server; None leaves it to the connection parameters."""

    def __init__(
        self,
        address: str | Host,
        user: str | Literal[False] | None = False,
        keyfile: str | Literal[False] | None = False,
        port: int | Literal[False] | None = False,
    ) -> None:
        """Make a host, or a copy of one.

        Args:
            address: name, IP address, or the Host to copy.
            user, keyfile, port: False takes those of the Host that is copied (None, where *address* is a text).

        Raises:
            TypeError: *address* is neither a text nor a Host.
            ValueError: *address* is empty, or would be taken for an option by ssh.
        """
        if isinstance(address, Host):
            self.address, self.user, self.keyfile, self.port = address._key()
        elif isinstance(address, str):
            checked_address(address)
            self.address, self.user, self.keyfile, self.port = address, None, None, None
        else:
            raise TypeError(f"the address of a Host must be a str or a Host, not {address!r}")
        if user is not False:
            self.user = user
        if keyfile is not False:
            self.keyfile = keyfile
        if port is not False:
            self.port = port

    def _key(self) -> tuple[str, str | None, str | None, int | None]:
        return self.address, self.user, self.keyfile, self.port

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Host) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        given: dict[str, Any] = {"user": self.user, "keyfile": self.keyfile, "port": self.port}
        parts = [repr(self.address), *(f"{name}={value!r}" for name, value in given.items() if value is not None)]
        return f"Host({', '.join(parts)})"


HostLike: TypeAlias = str | Host
"""What stands for one host."""

Hosts: TypeAlias = HostLike | Iterable[HostLike]
"""What stands for one host or several."""


def get_hosts_list(hosts: Hosts) -> list[Host]:
    """Return a copy of each of *hosts*, in their order, duplicates too."""
    return [Host(host) for host in ([hosts] if isinstance(hosts, (str, Host)) else hosts)]


def get_unique_hosts_list(hosts: Hosts) -> list[Host]:
    """Return a copy of each different host in *hosts*, in the order in which they come first."""
    return list(dict.fromkeys(get_hosts_list(hosts)))


def get_hosts_set(hosts: Hosts) -> set[Host]:
    """Return the set of copies of *hosts*."""
    return set(get_hosts_list(hosts))
