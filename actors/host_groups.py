"""Groups of hosts, by name, out of a YAML file::

    compute: node[1-100]
    storage: [disk1, disk2]
    all: "@compute,@storage"        # what --all means; without it, all groups together

A group is a node set (see `nodeset`), which may name other groups by ``@name``, or a list of such.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from .exception import ConfigurationError
from .settings import get_user_config_filename

__all__ = ["HostGroups", "groups_filename"]

_ALL = "all"
_NAME = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)


def groups_filename() -> str:
    """Return the path of the user's file of groups, which need not exist.

    That is REGISSEUR_GROUPS where it is set, else groups.yaml beside the configuration file.
    """
    named = os.environ.get("REGISSEUR_GROUPS")
    return str(Path(named).expanduser() if named else Path(get_user_config_filename()).with_name("groups.yaml"))


class HostGroups(Mapping[str, str]):
    """Groups by their names, each as a node set.

    Args:
        groups: the groups.
        source: where they come from, for errors.
    """

    def __init__(self, groups: Mapping[str, str], source: str = "") -> None:
        self._groups = dict(groups)
        self.source = source

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Return the groups in the file at *path*.

        Raises:
            ConfigurationError: it is no YAML, or no mapping of names to node sets.
            OSError: it can not be read.
        """
        import yaml  # here, since most programs have no groups

        source = os.fspath(path)
        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:  # a ValueError: no UTF-8; a date that does not exist
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error)
            line = None if mark is None else mark.line + 1
            raise ConfigurationError(source, f"not valid YAML: {problem}", line=line) from error
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise ConfigurationError(source, "expected groups, each as 'name: node set'")
        return cls({_name(source, name): _node_set(source, name, value) for name, value in data.items()}, source)

    @classmethod
    def of_user(cls) -> Self:
        """Return the groups in the user's file; none where there is no such file and REGISSEUR_GROUPS names none.

        Raises:
            ConfigurationError, OSError: as `read`.
        """
        path = groups_filename()
        if not Path(path).exists() and not os.environ.get("REGISSEUR_GROUPS"):
            return cls({}, path)
        return cls.read(path)

    def everything(self) -> str:
        """Return the node set of all hosts: of the group ``all`` if there is one, else of all groups together."""
        return f"@{_ALL}" if _ALL in self._groups else ",".join(f"@{name}" for name in self._groups)

    def __getitem__(self, name: str) -> str:
        return self._groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"<HostGroups {', '.join(self._groups)} of {self.source}>"


def _name(source: str, name: Any) -> str:
    text = str(name)
    if isinstance(name, (str, int)) and _NAME.fullmatch(text):
        return text
    raise ConfigurationError(source, f"{name!r} can not be the name of a group: letters, digits, '_', '.', '-' only")


def _node_set(source: str, name: Any, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, (str, int)) for item in value):
        return ",".join(str(item) for item in value)
    raise ConfigurationError(source, f"expected a node set such as node[1-3], or a list, not {value!r}", str(name))
