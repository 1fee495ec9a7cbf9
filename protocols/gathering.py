"""Gathering: which of many hosts wrote the same.

Outputs come in as pairs (host, text) and go out as groups of the hosts that share one text, or one line of it. All of
it is a dict of texts, so it takes as long as the outputs are, however many hosts there are and however they differ,
and holds each text once.

A host is its name here; how a set of names is shown (``node[1-3]``) is no concern of this module.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from .substitutions import HOST

__all__ = ["SHORT_NAME", "Group", "gather", "gather_lines", "with_placeholders"]

SHORT_NAME = "{{{short}}}"
"""What stands for the first part of a host's name, where the host wrote that and not the whole."""

_DIGITS = re.compile(r"[0-9]*", re.ASCII)


class Group(NamedTuple):
    """Hosts that wrote the same."""

    hosts: list[str]
    """Their names, in the order in which they came."""
    text: str
    """What each of them wrote; see `gather` about names in it."""


def gather(outputs: Iterable[tuple[str, str]], *, own_names: bool = False) -> list[Group]:
    """Return the groups of hosts whose outputs are equal: the largest first, of equal ones that with the first host.

    Args:
        outputs: name and output of each host.
        own_names: take outputs for equal, too, that differ only by the name of the host which wrote them. In the text
            of the group a placeholder stands for it (see `with_placeholders`). Where that would bring no hosts
            together, the text is as it was written.
    """
    gathering = _Gathering(own_names)
    for name, text in outputs:
        gathering.add(name, text)
    return gathering.groups()


def gather_lines(outputs: Iterable[tuple[str, str]], *, own_names: bool = False) -> list[list[Group]]:
    """Return the groups for each line: of the hosts whose first lines are equal, then their second lines, and so on.

    A host whose output has ended is in no group of later lines. Texts are lines without their ends.

    Args:
        outputs, own_names: as for `gather`.
    """
    gatherings: list[_Gathering] = []
    for name, text in outputs:
        lines = _lines(text)
        gatherings += [_Gathering(own_names) for _ in range(len(lines) - len(gatherings))]
        for gathering, line in zip(gatherings, lines, strict=False):
            gathering.add(name, line)
    return [gathering.groups() for gathering in gatherings]


def with_placeholders(name: str, text: str) -> str:
    """Return *text* with ``{{{host}}}`` in place of *name*, and ``{{{short}}}`` in place of the name's first part.

    The first part is what comes before the first dot; an address of numbers has none. What is a part of a longer word,
    such as ``node1`` in ``node10``, is left as it is, and so is a text that has a placeholder in it already.
    """
    short, dot, _ = name.partition(".")
    if short not in text or HOST in text or SHORT_NAME in text:
        return text
    if name in text:
        text = _replaced(name, HOST, text)
    if dot and not _DIGITS.fullmatch(short):
        text = _replaced(short, SHORT_NAME, text)
    return text


class _Gathering:
    """Groups in the making."""

    def __init__(self, own_names: bool) -> None:
        self._own_names = own_names
        self._groups: dict[str, list[str]] = {}

    def add(self, name: str, text: str) -> None:
        """Take in what a host wrote."""
        found = self._groups.get(text)
        if found is None:
            self._groups[text] = [name]
        else:
            found.append(name)

    def groups(self) -> list[Group]:
        """Return the groups, in their order."""
        groups = [Group(hosts, text) for text, hosts in self._groups.items()]
        if self._own_names:
            groups = _joined(groups)
        return sorted(groups, key=lambda group: -len(group.hosts))


def _joined(groups: list[Group]) -> list[Group]:
    """Return *groups*, those of one host joined whose texts differ only by its name.

    Where several hosts wrote the same, it stays what they wrote: to one of them the name in it is its own by chance.
    """
    joined: dict[Hashable, Group] = {}
    for group in groups:
        name, text = group.hosts[0], group.text
        shared = with_placeholders(name, text) if group.hosts.count(name) == len(group.hosts) else text
        if shared == text:
            joined[text] = group
            continue
        key = (shared,)  # which is not equal to a text that somebody has written so
        found = joined.get(key)
        if found is None:
            joined[key] = group
            continue
        found.hosts.extend(group.hosts)
        if found.text != shared:
            joined[key] = Group(found.hosts, shared)
    return list(joined.values())


def _lines(text: str) -> list[str]:
    """Return the lines of *text*; only line feeds end them, and a carriage return before one is a part of the end."""
    lines = text.split("\n")
    if not lines[-1]:
        del lines[-1]
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def _replaced(name: str, placeholder: str, text: str) -> str:
    """Return *text* with *placeholder* for *name*, wherever that is not a part of a longer word.

    A pattern for each of thousands of names would take longer to compile than all else.
    """
    start = text.find(name)
    if start < 0:
        return text
    made: list[str] = []
    done = 0
    while start >= 0:
        end = start + len(name)
        if not (_is_of_word(text[start - 1 : start]) or _is_of_word(text[end : end + 1])):
            made += (text[done:start], placeholder)
            done = end
        start = text.find(name, end)
    return "".join([*made, text[done:]])


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_"
