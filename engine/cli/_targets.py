"""Which hosts a command is for, as ``-w``, ``-x``, ``-a`` and ``-g`` name them.

Node sets are those of `actors.nodeset`, groups those of `actors.host_groups`; here are the forms that pdsh and clush
know beside these: ``-w -`` reads hosts from stdin, ``-w ^file`` from a file, ``-w -node7`` takes one out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import CommandError, ExitCode

if TYPE_CHECKING:
    from ...actors.host import Host
    from ...actors.host_groups import HostGroups

__all__ = ["Targets", "see_that_each_has_its_name"]

_NAME = re.compile(r"[^\s/,-][^\s/,]*")
"""What a host may be called: an option of ssh, or the path of a file, is no host."""


@dataclass(frozen=True)
class Targets:
    """What the options said."""

    nodes: list[str]
    exclude: list[str]
    everything: bool
    groups: list[str]
    exclude_groups: list[str]
    groups_file: Path | None

    @property
    def are_named(self) -> bool:
        """Whether the command is for hosts at all."""
        return bool(self.nodes or self.everything or self.groups)

    @property
    def read_stdin(self) -> bool:
        """Whether they come from stdin, which then is not for the command."""
        return any("-" in _parts(text) for text in [*self.nodes, *self.exclude])

    def hosts(self) -> list[Host]:
        """Return the hosts, each once.

        Raises:
            CommandError: a node set, a group or a file is not what it should be, or no host is left.
        """
        from ...actors.host import Host

        groups = self._read_groups()
        wanted: dict[str, None] = {}
        unwanted: set[str] = set()
        for text in self.nodes:
            taken, left = _named(text, groups)
            wanted |= dict.fromkeys(taken)
            unwanted.update(left)
        if self.everything:
            if not groups:
                raise CommandError(f"-a: there are no groups in {groups.source}", ExitCode.USAGE)
            wanted |= dict.fromkeys(_expanded("-a", groups.everything(), groups))
        wanted |= dict.fromkeys(_of_groups("-g", self.groups, groups))
        for text in self.exclude:
            unwanted.update(_named(text, groups)[0])
        unwanted.update(_of_groups("-X", self.exclude_groups, groups))
        names = [name for name in wanted if name not in unwanted]
        if not names:
            why = f"all {len(wanted)} hosts are excluded" if wanted else "no host is named"
            raise CommandError(f"{why}: there is nothing to do", ExitCode.USAGE)
        for name in names:
            if not _NAME.fullmatch(name.rpartition("@")[2]):
                raise CommandError(f"{name!r} can not be the name of a host", ExitCode.USAGE)
        return [Host(address, user=user or None) for user, _, address in (name.rpartition("@") for name in names)]

    def _read_groups(self) -> HostGroups:
        from ...actors.exception import ConfigurationError
        from ...actors.host_groups import HostGroups

        try:
            return HostGroups.of_user() if self.groups_file is None else HostGroups.read(self.groups_file)
        except ConfigurationError as error:
            raise CommandError(str(error), ExitCode.USAGE) from None
        except OSError as error:
            raise CommandError(f"groups: {error.filename}: {error.strerror}", ExitCode.USAGE) from None


def see_that_each_has_its_name(hosts: Iterable[Host], what: str) -> None:
    """Raise where two of *hosts* have one name (two users of one host): *what* has a file for each name."""
    seen: set[str] = set()
    for host in hosts:
        if host.address in seen:
            why = f"{what}: {host.address} is named twice, with several users, and all would have one place"
            raise CommandError(why, ExitCode.USAGE)
        seen.add(host.address)


def _named(text: str, groups: HostGroups) -> tuple[list[str], list[str]]:
    """Return the names that *text*, a value of -w or -x, takes in, and those that it leaves out."""
    plain: list[str] = []
    taken: list[str] = []
    left: list[str] = []
    for part in _parts(text):
        if part == "-":
            taken += _listed("-", sys.stdin.read() if sys.stdin is not None else "", groups)
        elif part.startswith("^"):
            taken += _listed(part[1:], _content(part[1:]), groups)
        elif part.startswith("-"):
            left += _expanded(text, part[1:], groups)
        else:
            plain.append(part)
    return (_expanded(text, ",".join(plain), groups) if plain or not taken + left else []) + taken, left


def _parts(text: str) -> Iterator[str]:
    """Cut *text* at its commas, those in brackets left alone."""
    return (part.strip() for part in re.split(r",(?![^\[\]]*\])", text))


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"^{path}: the list of hosts can not be read: {error.strerror}", ExitCode.USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is no list of hosts: it is not text", ExitCode.USAGE) from None


def _listed(source: str, text: str, groups: HostGroups) -> list[str]:
    """Return the names in a list of hosts: node sets, between blanks and ends of lines; # begins a comment."""
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    where = "stdin" if source == "-" else source
    return [name for word in words for name in _expanded(where, word, groups)]


def _of_groups(option: str, names: Iterable[str], groups: HostGroups) -> list[str]:
    return [
        host
        for text in names
        for name in _parts(text)
        for host in _expanded(f"{option} {text}", f"@{name.removeprefix('@')}", groups)
    ]


def _expanded(where: str, text: str, groups: HostGroups) -> list[str]:
    """Return the names in the node set *text*, which was given in *where*."""
    from ...actors.nodeset import NodeSetError, expand

    try:
        return expand(text, groups)
    except NodeSetError as error:
        given = "" if error.text == where else f"{where}: "
        hint = f" (groups come from {groups.source})" if "no group" in error.reason else ""
        raise CommandError(f"{given}{error}{hint}", ExitCode.USAGE) from None
