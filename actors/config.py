"""Configuration: the dicts that scripts read and change, and the values that they begin with.

``configuration`` and ``default_connection_params`` fill themselves when first used: defaults, then the user's YAML
file (get_user_config_filename), then REGISSEUR_* variables; settings.py tells how. What a script sets wins::

    # ~/.config/regisseur/config.yaml
    configuration:
      log_level: DETAIL
      kill_timeout: 10
      color_styles: {emph: [green, bold]}
    default_connection_params:
      user: root
      host_rewrite_func: ['^[^.]+$', '\\g<0>.example.org']
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..protocols.ansi import STYLES
from ._values import (
    at_least_one,
    choice,
    flag,
    host_key_policy,
    level,
    one_of,
    optional,
    port_range,
    positive,
    program,
    rewrite,
    seconds,
    style_table,
    text,
    whole,
    words,
)
from .settings import ConfigurationDict, Setting, get_user_config_filename, read_configuration_file

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

__all__ = [
    "CHAINPUT",
    "DETAIL",
    "FDEBUG",
    "IODEBUG",
    "SCP",
    "SSH",
    "STDERR",
    "STDOUT",
    "TAKTUK",
    "TRACE",
    "checktty",
    "configuration",
    "connection_settings",
    "default_connection_params",
    "get_user_config_filename",
    "load_configuration",
    "make_connection_params",
    "make_default_connection_params",
    "refuse_old_arguments",
    "refuse_old_names",
    "refusing_old_arguments",
    "renamed",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")

SSH = 0
"""Run commands by ssh."""
SCP = 1
"""Copy files by scp."""
TAKTUK = 2
"""Run commands, or copy files, by taktuk."""
CHAINPUT = 3
"""Copy files along a chain of hosts."""

STDOUT = 1
"""The standard output of a process."""
STDERR = 2
"""The standard error of a process."""

IODEBUG = 3
FDEBUG = 5
TRACE = 12
DETAIL = 15
"""Levels of logging, beside those of the standard module."""

_TOOLS = {"SSH": SSH, "SCP": SCP, "TAKTUK": TAKTUK, "CHAINPUT": CHAINPUT}
_LEVELS = {
    "IODEBUG": IODEBUG,
    "FDEBUG": FDEBUG,
    "TRACE": TRACE,
    "DETAIL": DETAIL,
    **{name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")},
}
_COLOR_STYLES: dict[str | int, tuple[str, ...]] = {
    "log_header": ("yellow",),
    "object_repr": ("blue",),
    "emph": ("cyan",),
    "report_warn": ("magenta",),
    "report_error": ("red", "bold"),
    "command": ("blue", "bold"),
    "host": ("magenta", "bold"),
    "user1": ("green", "bold"),
    "user2": ("yellow", "bold"),
    "user3": ("cyan", "bold"),
    IODEBUG: ("green", "reverse"),
    FDEBUG: ("green", "reverse"),
    logging.DEBUG: ("green",),
    TRACE: ("green", "bold"),
    DETAIL: ("magenta", "bold"),
    logging.INFO: ("magenta",),
    logging.WARNING: ("cyan",),
    logging.ERROR: ("red",),
    logging.CRITICAL: ("yellow", "on_red"),
}


def checktty(f: Any) -> bool:
    """Tell whether the file *f* is a terminal; what has no isatty(), or is closed, is none."""
    try:
        return bool(f.isatty())
    except (AttributeError, ValueError):
        return False


def _colors_wanted() -> bool:
    """Tell whether to write colours where neither file nor REGISSEUR_COLOR_MODE says.

    The first of these that is given decides: NO_COLOR (not empty: no), CLICOLOR_FORCE (not 0: yes), CLICOLOR (0: no),
    TERM (dumb: no); then whether both standard output and error are terminals.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if os.environ.get("CLICOLOR") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return checktty(sys.stdout) and checktty(sys.stderr)


_SECONDS = "a number of seconds, 0 or more"
_WHOLE = "a whole number, 0 or more"
_TEXT = "a text"
_WORDS = "a list of words"
_PROGRAM = "the name of a program, or a list of it and its first words"
_TRUTH = "true or false"
_TOOL = f"one of {', '.join(_TOOLS)}"

_SETTINGS = {
    "log_level": Setting(logging.INFO, f"one of {', '.join(_LEVELS)}, or a number", level(_LEVELS)),
    "remote_tool": Setting(SSH, _TOOL, choice(_TOOLS)),
    "fileput_tool": Setting(SCP, _TOOL, choice(_TOOLS)),
    "fileget_tool": Setting(SCP, _TOOL, choice(_TOOLS)),
    "taktuk_from": Setting(None, "a number of hosts, 1 or more, or null", optional(at_least_one)),
    "compact_output_threshold": Setting(4096, f"{_WHOLE} (characters; 0 keeps all)", whole),
    "kill_timeout": Setting(60, f"{_SECONDS}, or null to never force the end", optional(seconds)),
    "intr_period": Setting(1, _SECONDS, seconds),
    "port_range": Setting((25500, 26700), "a list of two: the first port, and the one after the last", port_range),
    "kill_childs_at_end": Setting(True, _TRUTH, flag),
    "color_mode": Setting(False, _TRUTH, flag, find_default=_colors_wanted),
    "color_styles": Setting(
        _COLOR_STYLES,
        f"a mapping of names to lists of styles, which are {', '.join(STYLES)}",
        style_table(_LEVELS),
        merged=True,
    ),
}

_SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "PasswordAuthentication=no")

_CONNECTION_SETTINGS = {
    "user": Setting(None, _TEXT, optional(text), textual=True),
    "keyfile": Setting(None, "the path of a private key", optional(text), textual=True),
    "port": Setting(None, _WHOLE, optional(whole)),
    "ssh": Setting("ssh", _PROGRAM, program),
    "scp": Setting("scp", _PROGRAM, program),
    "taktuk": Setting("taktuk", _PROGRAM, program),
    "ssh_options": Setting(_SSH_OPTIONS, _WORDS, words),
    "scp_options": Setting((*_SSH_OPTIONS, "-rp"), _WORDS, words),
    "taktuk_options": Setting(("-s",), _WORDS, words),
    "taktuk_connector": Setting("ssh", _PROGRAM, program),
    "taktuk_connector_options": Setting(_SSH_OPTIONS, _WORDS, words),
    "taktuk_gateway": Setting(None, "the name of a host", optional(text), textual=True),
    "taktuk_idle_timeout": Setting(60, _SECONDS, seconds),
    "chainput_nc_client_timeout": Setting(5, _SECONDS, seconds),
    "chainput_nc_server_timeout": Setting(30, _SECONDS, seconds),
    "nc": Setting("/bin/nc.traditional -v -v", "a command", text, textual=True),
    "chainput_host_retry": Setting(5, _WHOLE, whole),
    "chainput_chain_retry": Setting(10, "a number of hosts, or a part of them below 1", seconds),
    "chainput_try_delay": Setting(1, _SECONDS, seconds),
    "forwarding_timeout": Setting(25, _SECONDS, seconds),
    "pty": Setting(False, _TRUTH, flag),
    "host_rewrite_func": Setting(
        None, "a list of a pattern and its replacement, or a function as 'module:function'", optional(rewrite)
    ),
    "connector": Setting("openssh", "openssh or native", one_of("openssh", "native")),
    "multiplex": Setting(None, "true, false, or null: where ssh is that of OpenSSH", optional(flag)),
    "host_keys": Setting("accept-new", "accept-new, strict or off", host_key_policy),
    "known_hosts": Setting(None, "the path of a file of host keys", optional(text), textual=True),
    "lab_network": Setting(False, _TRUTH, flag),
    "connect_timeout": Setting(20, f"{_SECONDS}, not 0", positive),
    "connect_window": Setting(64, "a whole number, 1 or more", at_least_one),
    "connect_retries": Setting(6, _WHOLE, whole),
    "alive_interval": Setting(15, f"{_SECONDS} (0: never ask)", seconds),
    "idle_timeout": Setting(60, _SECONDS, seconds),
}
_CONNECTION_DEFAULTS = {key: setting.default for key, setting in _CONNECTION_SETTINGS.items()}  # none is mutable

configuration = ConfigurationDict("configuration", _SETTINGS)
"""The settings of everything but connections. A script may change them, or add keys of its own."""

default_connection_params = ConfigurationDict("default_connection_params", _CONNECTION_SETTINGS)
"""How hosts are reached, where neither a Host nor the connection_params of a call say otherwise."""


_OLD_NAMES = {
    "connexion_params": "connection_params",
    "default_connexion_params": "default_connection_params",
    "default_frontend_connexion_params": "default_frontend_connection_params",
    "frontend_connexion_params": "frontend_connection_params",
    "make_connexion_params": "make_connection_params",
    "make_default_connexion_params": "make_default_connection_params",
    "node_connexion_params": "node_connection_params",
    "options_parser": "args_parser",
    "set_style": "style.set(name, text) or style.<name>(text)",
}


def renamed(name: str) -> str | None:
    """Return the sentence that tells a script what *name* is called now; None where it is not an old name."""
    new = _OLD_NAMES.get(name)
    return None if new is None else f"{name} is gone: write {new} instead"


def refuse_old_arguments(callee: str, names: Iterable[str]) -> None:
    """Raise where one of *names*, the keyword arguments of a call of *callee*, is an old one.

    Raises:
        TypeError: it tells the new name.
    """
    for name in names:
        if sentence := renamed(name):
            raise TypeError(f"{callee}: {sentence}")


def refusing_old_arguments(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make calls of *function* by an old keyword tell the new one, as `refuse_old_arguments` does."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if kwargs:
            refuse_old_arguments(function.__name__, kwargs)
        return function(*args, **kwargs)

    return call


def connection_settings() -> Mapping[str, Setting]:
    """Return what each connection parameter may be, by key."""
    return _CONNECTION_SETTINGS


def make_default_connection_params() -> dict[str, Any]:
    """Return new connection parameters, all at the values that they have without configuration."""
    return dict(_CONNECTION_DEFAULTS)


@refusing_old_arguments
def make_connection_params(
    connection_params: SupportsKeysAndGetItem[str, Any] | None = None,
    default_params: SupportsKeysAndGetItem[str, Any] | None = None,
) -> dict[str, Any]:
    """Return complete connection parameters, in a new dict.

    Args:
        connection_params: what to change, such as ``{"user": "root"}``; or a `ConnectionParams`, which has all.
        default_params: changed by them, in place of default_connection_params.
    """
    base = default_connection_params if default_params is None else default_params
    return {**_CONNECTION_DEFAULTS, **base, **({} if connection_params is None else connection_params)}


def load_configuration(filename: str, dicts_confs: Iterable[tuple[MutableMapping[str, Any], str]]) -> None:
    """Update dicts from the sections of a YAML file. Nothing happens where there is no such file.

    Args:
        filename: path of the file.
        dicts_confs: pairs (dict to update, name of its section). The keys and values for ``configuration`` and its
            like are checked, those for a dict of your own are taken as they are.

    Raises:
        ConfigurationError: the file cannot be read or is not such YAML, or a value is not what it must be; its text
            has the path, and the line where there is one.
    """
    file = read_configuration_file(os.fspath(filename))
    for target, section in dicts_confs:
        if isinstance(target, ConfigurationDict):
            target.update_from(file, section)
        else:
            target.update(file.sections.get(section, {}))


def refuse_old_names(module: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for *module* under which an old name raises an error that tells the new one.

    The error is an ImportError, since ``from module import name`` would hide the text of an AttributeError.
    """

    def module_getattr(name: str) -> Any:
        if sentence := renamed(name):
            raise ImportError(f"{module}: {sentence}", name=module)
        raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)

    return module_getattr


if not TYPE_CHECKING:  # a checker would take it that every name exists
    __getattr__ = refuse_old_names(__name__)
