"""Settings: what a configuration may hold, how its values are checked, and where they come from.

A ConfigurationDict is a dict that fills itself when it is first used: from the defaults of its settings, then from
its section of the user's file, then from the environment. What a script writes into it comes last and so wins.
Its names in the environment: ``REGISSEUR_<KEY>`` for the section "configuration", ``REGISSEUR_<SECTION>__<KEY>``
for another, in upper case, such as ``REGISSEUR_KILL_TIMEOUT=5`` and
``REGISSEUR_DEFAULT_CONNECTION_PARAMS__USER=root``. Values are YAML: ``REGISSEUR_PORT_RANGE='[3000, 4000]'``; an
empty one counts as none.

The settings themselves are listed in config.py; a package above may declare a section of its own with the same
two classes.
"""

from __future__ import annotations

import copy
import difflib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exception import ConfigurationError

__all__ = ["ConfigurationDict", "ConfigurationFile", "Setting", "get_user_config_filename", "read_configuration_file"]

_MAIN_SECTION = "configuration"
_PREFIX = "REGISSEUR_"
_NEARLY = 0.9  # g5k_configuration and default_frontend_connection_params are not that near to our sections


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a section: its default, and what its values must be."""

    default: Any
    """The value where nobody gives one; each dict gets a copy."""
    expected: str
    """What a value must be, to complete "expected ..." in an error."""
    convert: Callable[[Any], Any]
    """Gives the value to use for one out of a file or variable; raises ValueError or TypeError where it is none."""
    textual: bool = False
    """Whether a variable's text is the value, rather than YAML: ``REGISSEUR_..._USER=007`` is no number."""
    find_default: Callable[[], Any] | None = None
    """Gives the default in place of *default*, when the dict is first used."""
    merged: bool = False
    """Whether a mapping adds to the default, rather than replacing it."""

    def initial(self) -> Any:
        """Return the default value."""
        return copy.deepcopy(self.default) if self.find_default is None else self.find_default()


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """A configuration file that was read: its sections, and where their keys stand."""

    path: str
    sections: Mapping[str, Mapping[Any, Any]]
    lines: Mapping[tuple[str, str | None], int]
    """Line of each (section, key), and of each section as (section, None); the first of the file is 1."""


def get_user_config_filename() -> str:
    """Return the path of the user's configuration file, which need not exist.

    That is REGISSEUR_CONFIG where it is set, else regisseur/config.yaml in the user's configuration directory
    (~/.config, or XDG_CONFIG_HOME).
    """
    named = os.environ.get("REGISSEUR_CONFIG")
    if named:
        return str(Path(named).expanduser())
    import platformdirs  # here, so that importing the package stays fast

    return str(Path(platformdirs.user_config_dir("regisseur")) / "config.yaml")


def read_configuration_file(path: str) -> ConfigurationFile:
    """Return what stands in the YAML file at *path*; no sections where there is no such file.

    Only plain values are read: a tag that would make a Python object is an error.

    Raises:
        ConfigurationError: the file cannot be read, is not YAML, or is not a mapping of sections to mappings.
    """
    if path.endswith(".py"):
        raise ConfigurationError(
            path, "configuration is no longer Python code: convert it with 'regisseur config import-execo'"
        )
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ConfigurationFile(path, {}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(path, f"cannot be read: {error}") from error
    data, lines = _parsed(path, text)
    expected = "expected a section (configuration, default_connection_params, ...) with keys and values below it"
    if not isinstance(data, dict):
        raise ConfigurationError(path, expected, line=1)
    for name, section in data.items():
        if section is None:  # its name alone, with nothing below it
            data[name] = {}
        elif not isinstance(section, dict):
            raise ConfigurationError(path, expected, str(name), lines.get((str(name), None)))
    return ConfigurationFile(path, data, lines)


class ConfigurationDict(dict[str, Any]):
    """A section of the configuration: a dict that reads its file and variables when it is first used.

    Any use of it counts: reading or writing a key, iterating, unpacking with ``**``, copying, comparing. (Not the look
    that an encoder written in C takes into a dict, json and orjson among them: give those ``dict(...)`` of it.) It
    pickles and copies as a plain dict. Thread-safe as a dict is; only one thread fills it.

    Every use may raise ConfigurationError until it has been filled once.
    """

    def __init__(self, section: str, settings: Mapping[str, Setting]) -> None:
        """Declare the *section* of that name, with its *settings* by key. Nothing is read yet."""
        super().__init__()
        self.section = section
        self.settings = settings
        self._filled = False
        self._filling = threading.RLock()

    def fill(self) -> None:
        """Read the user's file and the environment, unless that was done before.

        Raises:
            ConfigurationError: something there cannot be used; the dict stays unfilled.
        """
        if self._filled:
            return
        with self._filling:
            if self._filled:
                return
            values = {key: setting.initial() for key, setting in self.settings.items()}
            file = read_configuration_file(get_user_config_filename())
            self._refuse_misspelt_sections(file)
            self._take_file(values, file, self.section)
            self._take_environment(values)
            dict.update(self, values)  # dict's own methods do not come back here
            self._filled = True

    def forget(self) -> None:
        """Go back to the state of the beginning: the next use reads file and variables again."""
        with self._filling:
            dict.clear(self)
            self._filled = False

    def update_from(self, file: ConfigurationFile, section: str | None = None) -> None:
        """Let what *file* says in a *section*, by default that of this dict, replace what is in this dict.

        Raises:
            ConfigurationError: a key is unknown or a value ill-typed; nothing is changed.
        """
        self.fill()
        values = dict(self)
        self._take_file(values, file, section or self.section)
        dict.update(self, values)

    def variable(self, key: str) -> str:
        """Return the name of the environment variable for *key*."""
        prefix = "" if self.section == _MAIN_SECTION else f"{self.section}__"
        return f"{_PREFIX}{prefix}{key}".upper()

    def _take_file(self, values: dict[str, Any], file: ConfigurationFile, section: str) -> None:
        for key, value in file.sections.get(section, {}).items():
            line = file.lines.get((section, str(key)))
            if key not in self.settings:
                raise ConfigurationError(file.path, self._unknown(str(key)), f"{section}.{key}", line)
            self._take(values, key, value, file.path, line)

    def _refuse_misspelt_sections(self, file: ConfigurationFile) -> None:
        """Raise ConfigurationError for a name that is nearly this section's; any other may be of a package above."""
        if self.section not in file.sections:
            for name in difflib.get_close_matches(self.section, map(str, file.sections), n=1, cutoff=_NEARLY):
                problem = f"there is no such section; did you mean {self.section}?"
                raise ConfigurationError(file.path, problem, name, file.lines.get((name, None)))

    def _unknown(self, key: str) -> str:
        """What is said of a key that does not exist."""
        close = difflib.get_close_matches(key, self.settings, n=1)
        known = f"the known ones are {', '.join(sorted(self.settings))}"
        return f"there is no such setting; {f'did you mean {close[0]}?' if close else known}"

    def _take_environment(self, values: dict[str, Any]) -> None:
        prefix = self.variable("")
        for name in sorted(os.environ):
            key = name.removeprefix(prefix).lower()
            if not name.startswith(prefix) or key in self.settings:
                continue
            # That of the main section begins other variables too.
            if prefix != _PREFIX or difflib.get_close_matches(key, self.settings, n=1, cutoff=_NEARLY):
                raise ConfigurationError(name, self._unknown(key))
        for key, setting in self.settings.items():
            variable = self.variable(key)
            text = os.environ.get(variable)
            if text:
                self._take(values, key, text if setting.textual else _parsed(variable, text)[0], variable, None)

    def _take(self, values: dict[str, Any], key: str, value: Any, source: str, line: int | None) -> None:
        setting = self.settings[key]
        try:
            converted = setting.convert(value)
        except (TypeError, ValueError) as error:
            problem = f"expected {setting.expected}, not {value!r}"
            raise ConfigurationError(source, problem, f"{self.section}.{key}", line) from error
        values[key] = {**(values[key] or {}), **converted} if setting.merged else converted

    def __reduce__(self) -> tuple[Any, ...]:
        self.fill()
        return dict, (dict(self),)


def _filled_first(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def call(self: ConfigurationDict, *args: Any, **kwargs: Any) -> Any:
        self.fill()
        return method(self, *args, **kwargs)

    call.__name__ = name
    call.__doc__ = method.__doc__
    return call


# Whatever dict can do with its content; what makes or describes a dict is left alone.
_LEFT_ALONE = {"__class_getitem__", "__doc__", "__getattribute__", "__hash__", "__init__", "__new__", "__sizeof__"}
for _name in vars(dict).keys() - _LEFT_ALONE - {"fromkeys"}:
    setattr(ConfigurationDict, _name, _filled_first(_name))


def _parsed(source: str, text: str) -> tuple[Any, dict[tuple[str, str | None], int]]:
    """Return the value of a YAML text, {} where it is empty, and the line of each section and of each of its keys."""
    import yaml  # here, so that importing the package stays fast

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        data = {} if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError comes of a date that does not exist
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = None if mark is None else mark.line + 1
        raise ConfigurationError(source, f"not valid YAML: {problem}", line=line) from error
    lines: dict[tuple[str, str | None], int] = {}
    for section, inside in node.value if isinstance(node, yaml.MappingNode) else ():
        lines[str(section.value), None] = section.start_mark.line + 1
        if isinstance(inside, yaml.MappingNode):
            lines.update({(str(section.value), str(key.value)): key.start_mark.line + 1 for key, _ in inside.value})
    return data, lines
