"""The command lines of ssh, scp and taktuk's connector, out of connection parameters, as Execo's scripts ask for them.

What is not in the *connection_params* of a call is taken from default_connection_params (see config.py); user,
keyfile and port, where given, beat both. The words themselves are put together in connection_params.py.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from .config import refusing_old_arguments
from .connection_params import AnyConnectionParams, ConnectionParams

__all__ = [
    "get_rewritten_host_address",
    "get_scp_command",
    "get_ssh_command",
    "get_ssh_scp_auth_options",
    "get_taktuk_connector_command",
]

_Text: TypeAlias = str | Literal[False] | None
_Port: TypeAlias = int | Literal[False] | None


@refusing_old_arguments
def get_ssh_scp_auth_options(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: AnyConnectionParams = None,
) -> tuple[str, ...]:
    """Return the options that name user, private key and port, for ssh and scp alike.

    Args:
        user, keyfile, port: None or False takes that of the connection parameters, which may be none.
        connection_params: what differs from default_connection_params.
    """
    return _with_login(user, keyfile, port, connection_params).auth_options()


@refusing_old_arguments
def get_ssh_command(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: AnyConnectionParams = None,
) -> tuple[str, ...]:
    """Return the words of an ssh command up to the address. Arguments as for get_ssh_scp_auth_options."""
    return _with_login(user, keyfile, port, connection_params).ssh_words()


@refusing_old_arguments
def get_scp_command(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: AnyConnectionParams = None,
) -> tuple[str, ...]:
    """Return the words of an scp command up to the files. Arguments as for get_ssh_scp_auth_options."""
    return _with_login(user, keyfile, port, connection_params).scp_words()


@refusing_old_arguments
def get_taktuk_connector_command(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: AnyConnectionParams = None,
) -> tuple[str, ...]:
    """Return the words of taktuk's connector command. Arguments as for get_ssh_scp_auth_options."""
    return _with_login(user, keyfile, port, connection_params).taktuk_connector_words()


@refusing_old_arguments
def get_rewritten_host_address(host_addr: str, connection_params: AnyConnectionParams = None) -> str:
    """Return the address to connect to for *host_addr*: what host_rewrite_func makes of it.

    That parameter is a function, the name of one ("module:function"), a pattern and its replacement, or None.

    Raises:
        ConfigurationError: host_rewrite_func is nothing of these, or names a function that does not exist.
    """
    return ConnectionParams.of(connection_params).address(host_addr)


def _with_login(user: _Text, keyfile: _Text, port: _Port, connection_params: AnyConnectionParams) -> ConnectionParams:
    return ConnectionParams.of(connection_params).with_login(user or None, keyfile or None, port or None)
