"""What an old ``~/.execo.conf.py`` says, carried over into our YAML without running it.

The file is parsed, never executed. Taken are plain assignments of literals to the dicts that were configuration::

    configuration = {"log_level": logging.DEBUG}
    default_connection_params = dict(user="root")
    default_connection_params["port"] = 22
    g5k_configuration.update({"api_username": "me"})

and, as values, the names that such files use (SSH, TAKTUK, DEBUG, logging.INFO, ...). What is anything else is listed
with its line, so that nobody loses a setting unawares. Sections whose settings are known here are checked.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from . import config
from .config import configuration, default_connection_params
from .exception import ConfigurationError
from .settings import Setting

__all__ = ["ImportedConfiguration", "LeftOut", "import_execo_config", "to_yaml", "write_yaml"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in the old file that was not carried over."""

    line: int
    """Its line, the first of the file is 1."""
    what: str
    """The setting, "section.key", or the beginning of the statement."""
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}: {self.why}"


class ImportedConfiguration(TypedDict):
    """What import_execo_config found."""

    sections: dict[str, dict[str, Any]]
    """By name of the section, as our YAML file has them."""
    left_out: list[LeftOut]
    """What was not carried over, in the order of the file."""


_CONNECTION = default_connection_params.settings
_SECTIONS: dict[str, tuple[str, Mapping[str, Setting] | None]] = {
    "configuration": ("configuration", configuration.settings),
    "default_connection_params": ("default_connection_params", _CONNECTION),
    "default_connexion_params": ("default_connection_params", _CONNECTION),
    "default_frontend_connection_params": ("default_frontend_connection_params", _CONNECTION),
    "default_frontend_connexion_params": ("default_frontend_connection_params", _CONNECTION),
    "default_oarsh_oarcp_params": ("default_oarsh_oarcp_params", _CONNECTION),
    "g5k_configuration": ("g5k_configuration", None),
}
"""By name of the dict in the old file: our section, and its settings where they are declared here or below."""

_NAMES: dict[str, int] = {
    **{name: getattr(config, name) for name in ("SSH", "SCP", "TAKTUK", "CHAINPUT")},
    **{name: getattr(config, name) for name in ("IODEBUG", "FDEBUG", "TRACE", "DETAIL")},
    **{name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")},
}


def import_execo_config(path: str) -> ImportedConfiguration:
    """Return what the old configuration file at *path* sets, and what of it cannot be carried over.

    Raises:
        ConfigurationError: the file cannot be read, or is not Python 3.
    """
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(path, f"cannot be read: {error.strerror}") from error
    try:
        module = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        raise ConfigurationError(path, f"is not Python 3 code: {error}", line=line) from error
    imported: ImportedConfiguration = {"sections": {}, "left_out": []}
    for statement in module.body:
        if not _says_nothing(statement):
            _import_statement(statement, imported)
    return imported


def to_yaml(imported: ImportedConfiguration) -> str:
    """Return the text of our configuration file for *imported*; what was left out stands on top as comments."""
    import yaml  # here, so that importing the package stays fast

    head = ["# Carried over from an Execo configuration file."]
    if imported["left_out"]:
        head += ["# Left out:", *(f"#   {' '.join(str(left).split())}" for left in imported["left_out"])]
    body = yaml.safe_dump(imported["sections"], sort_keys=False, allow_unicode=True)
    return "\n".join(head) + "\n" + (body if imported["sections"] else "")


def write_yaml(imported: ImportedConfiguration, path: str) -> None:
    """Write to_yaml(imported) into a new file at *path*, and make its directory where that is missing.

    Raises:
        FileExistsError: there is such a file already; it is not touched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as file:
        file.write(to_yaml(imported))


def _says_nothing(statement: ast.stmt) -> bool:
    documentation = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return documentation or isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass))


def _import_statement(statement: ast.stmt, imported: ImportedConfiguration) -> None:
    found = _found(statement)
    if found is None:
        what = ast.unparse(statement).splitlines()[0][:60]
        imported["left_out"].append(LeftOut(statement.lineno, what, "not an assignment of literals to a known dict"))
        return
    name, pairs = found
    section, settings = _SECTIONS[name]
    for key_node, value_node in pairs:
        key: Any = "?"
        try:
            key = _literal(key_node)
            imported["sections"].setdefault(section, {})[key] = _checked(settings, key, _literal(value_node))
        except (TypeError, ValueError) as error:  # a TypeError comes of a list as a key
            imported["left_out"].append(LeftOut(value_node.lineno, f"{section}.{key}", str(error)))


_Pairs: TypeAlias = list[tuple[ast.expr | None, ast.expr]]
"""Keys and values; the key of a ``**mapping`` is None."""


def _found(statement: ast.stmt) -> tuple[str, _Pairs] | None:
    """Return the name of the dict that *statement* sets, and what it sets there; None for any other statement."""
    match statement:
        case ast.Assign([ast.Name(name)], value) if name in _SECTIONS:
            pairs = _pairs(value)
        case ast.Assign([ast.Subscript(ast.Name(name), key)], value) if name in _SECTIONS:
            pairs = [(key, value)]
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name), "update"), [], keywords)) if name in _SECTIONS:
            pairs = _keyword_pairs(keywords)
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name), "update"), [value], [])) if name in _SECTIONS:
            pairs = _pairs(value)
        case _:
            return None
    return None if pairs is None else (name, pairs)


def _pairs(value: ast.expr) -> _Pairs | None:
    match value:
        case ast.Dict(keys, values):
            return list(zip(keys, values, strict=True))
        case ast.Call(ast.Name("dict"), [], keywords):
            return _keyword_pairs(keywords)
    return None


def _keyword_pairs(keywords: list[ast.keyword]) -> _Pairs:
    return [(None if word.arg is None else ast.Constant(word.arg), word.value) for word in keywords]


def _literal(node: ast.expr | None) -> Any:
    """Return the value of a literal; a known name counts as one.

    Raises:
        ValueError: *node* is something else.
    """
    match node:
        case ast.Constant(str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)):
            return -value
        case ast.Tuple(items) | ast.List(items):
            return [_literal(item) for item in items]
        case ast.Dict(keys, values):
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True)}
        case ast.Name(name) | ast.Attribute(ast.Name(), name) if name in _NAMES:
            return _NAMES[name]
    raise ValueError("it is code, which is never run; write its value, or set it in the script")


def _checked(settings: Mapping[str, Setting] | None, key: Any, value: Any) -> Any:
    """Return *value*, which fits the setting *key*; *settings* are None for a section that is not ours.

    Raises:
        ValueError: there is no such setting, or the value does not fit.
    """
    if settings is None:
        return value
    if key not in settings:
        raise ValueError("there is no such setting any more")
    try:
        settings[key].convert(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected {settings[key].expected}, not {value!r}") from error
    return value
