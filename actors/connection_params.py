"""ConnectionParams: how a host is reached, checked and complete; and the command lines that follow from it.

Wherever the API takes *connection_params*, it takes a dict of what differs from ``default_connection_params``, or a
`ConnectionParams`. docs/hosts.md tells what each parameter means; config.py has them as settings.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from ..protocols.ssh import auth_options, checked_address, connection_options, rewrite_address, tool_argv, words
from .config import connection_settings, make_connection_params, renamed
from .exception import ConfigurationError
from .host import HostLike
from .known_hosts import known_hosts_file

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

__all__ = ["AnyConnectionParams", "ConnectionParams"]

_SOURCE = "connection parameters"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionParams:
    """How a host is reached. Made by `of`; or by hand, then what is not given is as without configuration.

    It has ``keys()`` and ``[key]``, so that ``dict(params)`` and ``{**params, "user": "root"}`` are dicts of it.
    """

    user: str | None = None
    """Whom to log in as; None leaves it to ssh."""
    keyfile: str | None = None
    """Path of the private key; None leaves it to ssh."""
    port: int | None = None
    """Port of the ssh server; None leaves it to ssh."""
    ssh: str | tuple[str, ...] = "ssh"
    """The connector: a program, or a program and its first words."""
    scp: str | tuple[str, ...] = "scp"
    taktuk: str | tuple[str, ...] = "taktuk"
    ssh_options: tuple[str, ...] = ("-o", "BatchMode=yes", "-o", "PasswordAuthentication=no")
    """What follows the connector; those that come of the parameters below stand behind, and so count less."""
    scp_options: tuple[str, ...] = (*ssh_options, "-rp")
    taktuk_options: tuple[str, ...] = ("-s",)
    taktuk_connector: str | tuple[str, ...] = "ssh"
    taktuk_connector_options: tuple[str, ...] = ssh_options
    taktuk_gateway: str | None = None
    """A host over which all connections of TakTuk go, reached as by ssh; None: this machine connects to the first."""
    taktuk_idle_timeout: float = 60
    """Seconds that a tree of TakTuk's is kept when its last command has ended."""
    chainput_nc_client_timeout: float = 5
    chainput_nc_server_timeout: float = 30
    nc: str = "/bin/nc.traditional -v -v"
    chainput_host_retry: int = 5
    chainput_chain_retry: float = 10
    chainput_try_delay: float = 1
    forwarding_timeout: float = 25
    """Seconds that a `PortForwarder` may take to listen."""
    pty: bool = False
    """Whether commands get a terminal: then their stdout and stderr come as one, with CR LF."""
    host_rewrite_func: Callable[[str], str] | str | tuple[str, str] | None = None
    """Makes the address to connect to out of the host's: a function, "module:function", or (pattern, replacement)."""
    connector: Literal["openssh", "native"] = "openssh"
    """Who connects: "openssh", the program *ssh*; "native", this program itself."""
    multiplex: bool | None = None
    """Whether commands share a standing connection; None: where the program *ssh* is called so."""
    host_keys: Literal["accept-new", "strict", "off"] = "accept-new"
    """What is made of the keys of hosts, see docs/hosts.md."""
    known_hosts: str | None = None
    """Path of the file of host keys; None: that of the run, or with "strict" the user's own."""
    lab_network: bool = False
    """Prefer an exchange of keys that costs less, and gives up protection against quantum computers to come."""
    connect_timeout: float = 20
    """Seconds for making a connection."""
    connect_window: int = 64
    """How many connections may be being made at once."""
    connect_retries: int = 6
    """How often a host is asked again that refuses a connection since it is busy."""
    alive_interval: float = 15
    """Seconds of silence after which a host is asked whether it is there; 3 such times, and it is lost. 0: never."""
    idle_timeout: float = 60
    """Seconds that a standing connection is kept when its last command has ended."""

    @classmethod
    def of(cls, params: AnyConnectionParams = None, host: HostLike | None = None) -> ConnectionParams:
        """Return complete parameters for *params*, all checked.

        Args:
            params: what differs from default_connection_params; a `ConnectionParams` is taken as it is.
            host: its own user, keyfile and port beat all others.

        Raises:
            ConfigurationError: there is no such parameter, or it has no such value.
        """
        made = params if isinstance(params, cls) else cls._checked(make_connection_params(params))
        return made if host is None else made.for_host(host)

    @classmethod
    def _checked(cls, values: Mapping[str, Any]) -> Self:
        settings = connection_settings()
        converted = {}
        for key, value in values.items():
            setting = settings.get(key)
            if setting is None:
                raise ConfigurationError(_SOURCE, _unknown(key, settings), str(key))
            try:
                converted[key] = _CONVERSIONS.get(key, setting.convert)(value)
            except (TypeError, ValueError) as error:
                raise ConfigurationError(_SOURCE, f"expected {setting.expected}, not {value!r}", key) from error
        return cls(**converted)

    def as_dict(self) -> dict[str, Any]:
        """Return all of them in a new dict."""
        return {key: getattr(self, key) for key in _KEYS}

    def keys(self) -> Iterable[str]:
        """Return the names of all parameters."""
        return _KEYS

    def __getitem__(self, key: str) -> Any:
        if key not in _KEYS:
            raise KeyError(key)
        return getattr(self, key)

    # -- for one host --------------------------------------------------------------

    def for_host(self, host: HostLike) -> ConnectionParams:
        """Return the same with the user, keyfile and port that *host* itself has, where it has any."""
        return self if isinstance(host, str) else self.with_login(host.user, host.keyfile, host.port)

    def with_login(
        self, user: str | None = None, keyfile: str | os.PathLike[str] | None = None, port: int | None = None
    ) -> ConnectionParams:
        """Return the same with another user, private key and port, where they are given."""
        given = {"user": user, "keyfile": None if keyfile is None else os.fspath(keyfile), "port": port}
        changed = {key: value for key, value in given.items() if value is not None}
        return dataclasses.replace(self, **changed) if changed else self  # type: ignore[arg-type]  # one dict for all three types

    def address(self, host: HostLike) -> str:
        """Return the address to connect to for *host*: what host_rewrite_func makes of its address.

        Raises:
            ConfigurationError: host_rewrite_func names a function that does not exist.
            ValueError: the address would be taken for an option.
        """
        address = host if isinstance(host, str) else host.address
        rule = self.host_rewrite_func
        if isinstance(rule, tuple):
            address = rewrite_address(address, *rule)
        elif rule is not None:
            address = str((_named_function(rule) if isinstance(rule, str) else rule)(address))
        return checked_address(address)

    def connector_argv(self, host: HostLike) -> tuple[str, ...]:
        """Return the words of the connector for *host*: the program, its options, and as the last word the address.

        A command, as one text, is to follow. Options for this connection go before the last word.

        Raises:
            ConfigurationError, ValueError: see address.
        """
        return (*self.for_host(host).ssh_words(), self.address(host))

    @property
    def is_multiplexed(self) -> bool:
        """Whether commands share a standing connection, held by the program *ssh* or by this one."""
        if self.connector == "native":
            return True
        return os.path.basename(words(self.ssh)[0]) == "ssh" if self.multiplex is None else self.multiplex

    # -- command lines -------------------------------------------------------------

    def ssh_words(self) -> tuple[str, ...]:
        """Return the words of an ssh command up to the address."""
        return (*words(self.ssh), *self.option_words())

    def option_words(self) -> tuple[str, ...]:
        """Return the options of an ssh command."""
        return (*self.ssh_options, *self._derived_options(), *self.auth_options())

    def scp_words(self) -> tuple[str, ...]:
        """Return the words of an scp command up to the files."""
        return tool_argv(self.scp, (*self.scp_options, *self._derived_options()), self.auth_options())

    def taktuk_words(self) -> tuple[str, ...]:
        """Return the words of taktuk: the program, and its first arguments if there are any."""
        return words(self.taktuk)

    def taktuk_connector_words(self) -> tuple[str, ...]:
        """Return the words of taktuk's connector command, which most nodes run for others."""
        options = (*self.taktuk_connector_options, *self._derived_options(here=self.taktuk_gateway is None))
        return tool_argv(self.taktuk_connector, options, self.auth_options())

    def auth_options(self) -> tuple[str, ...]:
        """Return the options that name user, private key and port."""
        return auth_options(self.user, self.keyfile, self.port)

    def _derived_options(self, *, here: bool = True) -> tuple[str, ...]:
        file = self.known_hosts
        if file is None and self.host_keys == "accept-new" and here:
            file = known_hosts_file()
        return connection_options(
            self.host_keys,
            file,
            connect_timeout=self.connect_timeout,
            alive_interval=self.alive_interval,
            lab_network=self.lab_network,
        )


AnyConnectionParams: TypeAlias = "Mapping[str, Any] | SupportsKeysAndGetItem[str, Any] | ConnectionParams | None"
"""What stands for connection parameters: what differs from default_connection_params, or all of them."""

_KEYS = tuple(field.name for field in dataclasses.fields(ConnectionParams))


def _unknown(key: object, known: Iterable[str]) -> str:
    new = renamed(str(key))
    close = difflib.get_close_matches(str(key), known, n=1)
    if new or close:
        return new or f"there is no such parameter; did you mean {close[0]}?"
    return f"there is no such parameter; there are {', '.join(sorted(known))}"


def _login_text(value: Any) -> str | None:
    return None if value is None or value is False else os.fspath(value)


def _port(value: Any) -> int | None:
    if value is None or value is False:
        return None
    return connection_settings()["port"].convert(int(value) if isinstance(value, str) else value)  # type: ignore[no-any-return]  # converts to int


def _rewriting(value: Any) -> Any:
    return value if callable(value) else connection_settings()["host_rewrite_func"].convert(value)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("user", "keyfile", "known_hosts"), _login_text),
    "port": _port,
    "host_rewrite_func": _rewriting,
}
"""Where a script may give more than a file can."""


def _named_function(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            _SOURCE, f"there is no function {name!r} (module:function): {error}", "host_rewrite_func"
        ) from error
    if not callable(found):
        raise ConfigurationError(_SOURCE, f"{name!r} is no function", "host_rewrite_func")
    return found
