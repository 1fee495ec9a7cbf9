"""Node sets: ``node[1-3,7]`` to names and back. The one border to the ClusterShell library.

Book-keeping goes by plain names; a node set is what a user writes and reads. The library is asked for sets that are
written by users, and for the last step of folding: it is slow where thousands of names do not fold.

Importing this module imports the library, so other modules do that where they need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from ClusterShell.NodeUtils import GroupResolver, GroupResolverError, GroupSource, GroupSourceError

from ..protocols.nodeset import one_number_folded

__all__ = ["MOST_HOSTS", "NodeSetError", "expand", "fold"]

MOST_HOSTS = 1_000_000
"""A node set of more is taken for a slip of the pen."""

_MOST_FOLDED = 250
"""Texts that the library is given to fold further; of more, nobody would read the result."""
_RANGE = re.compile(r"(?<=[\[,])([0-9]+)-([0-9]+)(?:/([0-9]+))?(?=[\],])")  # the library would count it in memory
_FOLDABLE = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)


class NodeSetError(ValueError):
    """The node set *text* means nothing: *reason*."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text = text
        self.reason = reason

    def __str__(self) -> str:
        return f"node set {self.text!r}: {self.reason}"


def expand(text: str, groups: Mapping[str, str] | None = None) -> list[str]:
    """Return the names in the node set *text*, each once, in the order of their letters and numbers.

    Args:
        text: names with ranges ``[1-10]``, with steps ``[0-10/2]``, several such; commas between (or ``!``, ``&``,
            ``^`` for difference, intersection and either-or), and groups as ``@name``, ``@*`` for all of them.
        groups: a node set for each group; they may name one another.

    Raises:
        NodeSetError: it is none, or names a group that is not there.
    """
    for first, last, step in _RANGE.findall(text):
        _limited(text, (int(last) - int(first)) // max(1, int(step or 1)) + 1)
    try:
        found = NodeSet(text, resolver=GroupResolver(_Source(groups or {})))
        count = len(found)
    except (NodeSetException, GroupResolverError, GroupSourceError, AssertionError, RecursionError) as error:
        raise NodeSetError(text, _reason(error)) from error
    _limited(text, count)
    return [str(name) for name in found]


def _limited(text: str, count: int) -> None:
    if count > MOST_HOSTS:
        raise NodeSetError(text, f"these are {count} names, and at most {MOST_HOSTS} are taken")


def fold(names: Iterable[str]) -> str:
    """Return *names* as a node set, as short as can be found quickly: ``node[1-3,7]``, or ``a,b`` where nothing folds.

    Names that could be taken for more than a name stand at its end as they are.
    """
    plain: list[str] = []
    odd: list[str] = []
    for name in dict.fromkeys(names):
        (plain if _FOLDABLE.fullmatch(name) else odd).append(name)
    if len(plain) < 2:
        return ",".join([*plain, *odd])
    folded = one_number_folded(plain)
    if len(folded) <= _MOST_FOLDED:
        folded = [str(NodeSet.fromlist(folded, resolver=RESOLVER_NOGROUP))]
    else:
        folded.sort()
    return ",".join([*folded, *odd])


class _Source(GroupSource):  # type: ignore[misc]  # the library is not typed
    """Groups that are in memory, where one that is not there is an error."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        super().__init__("groups", groups=dict(groups), allgroups=",".join(f"@{name}" for name in groups))

    def resolv_map(self, group: str) -> Any:
        if group not in self.groups:
            known = ", ".join(sorted(self.groups)[:10])
            raise GroupSourceError(f"no group {group!r}" + (f"; there are {known}" if known else ""), self)
        return self.groups[group]


def _reason(error: BaseException) -> str:
    if "recursion" in str(error):
        return "a group that has itself in it"
    return str(error) or type(error).__name__
