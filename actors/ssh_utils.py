"""The command lines of ssh, scp and taktuk's connector, out of connection parameters.

What is not in the *connection_params* of a call is taken from default_connection_params (see config.py); user,
keyfile and port, where given, beat both. The words themselves are put together in protocols/ssh.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from ..protocols.ssh import auth_options, rewrite_address, tool_argv
from .config import make_connection_params, refusing_old_arguments
from .exception import ConfigurationError

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
    connection_params: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Return the options that name user, private key and port, for ssh and scp alike.

    Args:
        user, keyfile, port: None or False takes that of the connection parameters, which may be none.
        connection_params: what differs from default_connection_params.
    """
    return _auth(user, keyfile, port, make_connection_params(connection_params))


@refusing_old_arguments
def get_ssh_command(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Return the words of an ssh command up to the address. Arguments as for get_ssh_scp_auth_options."""
    return _command("ssh", "ssh_options", user, keyfile, port, connection_params)


@refusing_old_arguments
def get_scp_command(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Return the words of an scp command up to the files. Arguments as for get_ssh_scp_auth_options."""
    return _command("scp", "scp_options", user, keyfile, port, connection_params)


@refusing_old_arguments
def get_taktuk_connector_command(
    user: _Text = None,
    keyfile: _Text = None,
    port: _Port = None,
    connection_params: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Return the words of taktuk's connector command. Arguments as for get_ssh_scp_auth_options."""
    return _command("taktuk_connector", "taktuk_connector_options", user, keyfile, port, connection_params)


@refusing_old_arguments
def get_rewritten_host_address(host_addr: str, connection_params: Mapping[str, Any] | None = None) -> str:
    """Return the address to connect to for *host_addr*: what host_rewrite_func makes of it.

    That parameter is a function, the name of one ("module:function"), a pattern and its replacement, or None.

    Raises:
        ConfigurationError: host_rewrite_func is nothing of these, or names a function that does not exist.
    """
    rule = make_connection_params(connection_params)["host_rewrite_func"]
    if rule is None:
        return host_addr
    if isinstance(rule, (tuple, list)) and len(rule) == 2:
        return rewrite_address(host_addr, *rule)
    function = _named_function(rule) if isinstance(rule, str) else rule
    if not callable(function):
        raise ConfigurationError(
            "connection parameters",
            f"expected a function, 'module:function' or (pattern, replacement), not {rule!r}",
            "host_rewrite_func",
        )
    return str(function(host_addr))


def _command(
    tool: str, options: str, user: _Text, keyfile: _Text, port: _Port, connection_params: Mapping[str, Any] | None
) -> tuple[str, ...]:
    params = make_connection_params(connection_params)
    return tool_argv(params[tool], params[options], _auth(user, keyfile, port, params))


def _auth(user: _Text, keyfile: _Text, port: _Port, params: Mapping[str, Any]) -> tuple[str, ...]:
    return auth_options(_first(user, params["user"]), _first(keyfile, params["keyfile"]), _first(port, params["port"]))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None and value is not False), None)


def _named_function(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            "connection parameters", f"there is no function {name!r} (module:function): {error}", "host_rewrite_func"
        ) from error
