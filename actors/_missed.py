"""Missed: sends a signal again that a command on this very machine can not have got.

A connector that runs its command here (a stub, a wrapper) gets a signal with all that descends from it. A shell that
has just been forked, and has not yet undone the traps of the shell it comes from, drops one; so a signal right after
the start could be lost between the wrapper of `remote_shell` and its command. But what is alive a moment later though
the signal would end it has not got it, so that it is not told twice. Belongs to the reactor's thread.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._proctable import Snapshot, send, signal_masks
from ._signals import ENDING

if TYPE_CHECKING:
    from ._child import Child
    from ._proctable import ProcessEntry
    from ._reactor import Reactor

__all__ = ["Missed"]

_SIGNALS = ENDING - {signal.SIGKILL}
_PAUSE = 0.2  # seconds
_LOOKS = 10  # at most, for a command that has not begun


class Missed:
    """See the module.

    Args:
        children: those that run, by the address of their actor.
    """

    def __init__(self, children: Mapping[str, Child]) -> None:
        self._children = children
        self._sent: list[tuple[Child, int, int]] = []  # with how often was looked

    def add(self, child: Child, number: int, reactor: Reactor, looks: int = 0) -> None:
        """*child* and its family have been sent a signal."""
        if child.token is None or not child.is_local or number not in _SIGNALS or looks == _LOOKS:
            return
        if not self._sent:
            reactor.call_later(_PAUSE, lambda: self._look(reactor))
        self._sent.append((child, number, looks + 1))

    def _look(self, reactor: Reactor) -> None:
        sent, self._sent = self._sent, []
        sent = [each for each in sent if self._children.get(each[0].address) is each[0]]
        if not sent:
            return
        table = Snapshot.take()
        for child, number, looks in sent:
            commands = _commands(child, table)
            for entry in commands:
                if _would_end(entry, number):
                    send(entry, number)
            if not commands:
                self.add(child, number, reactor, looks)


def _commands(child: Child, table: Snapshot) -> list[ProcessEntry]:
    """The processes that the wrapper of *child* has started for its command, and which are no shells of its own."""
    mark = f"\0regisseur:{child.token};\0".encode()
    family = [child.pid, *table.descendants(child.pid)]
    wrappers = {pid for pid in family if mark in _command_line(pid)}
    begun = [table.entries[pid] for pid in family if pid not in wrappers and pid in table.entries]
    return [entry for entry in begun if entry.parent in wrappers]


def _would_end(entry: ProcessEntry, number: int) -> bool:
    """Whether it neither handles, ignores nor blocks the signal, nor is stopped, so that the signal waits for it."""
    masks = None if entry.state in "Tt" else signal_masks(entry.pid)
    return masks is not None and not any(mask >> (number - 1) & 1 for mask in masks)


def _command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:  # it has ended
        return b""
