"""Signals: sends signals to children, to their families, and to whole sessions. Belongs to the reactor's thread."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from . import _proctable
from ._child import CLOSED, Child

if TYPE_CHECKING:
    from ..protocols.messages import SignalProcess
    from ._reactor import Reactor

__all__ = ["ENDING", "Signals", "signal_number", "signal_sessions"]

logger = logging.getLogger("regisseur.io")

_LOOKS = 5  # at the process table
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL})
"""Signals that are sent to end something."""

_Families = dict[int, set[int]]

_valid_signals = functools.cache(signal.valid_signals)  # takes longer than to send one


class Signals:
    """See the module.

    Args:
        children: those that run, by the address of their actor.
        hang_up: closes the terminal of a child.
    """

    def __init__(self, children: Mapping[str, Child], hang_up: Callable[[Child], None]) -> None:
        self._children = children
        self._hang_up = hang_up
        self._waiting: list[SignalProcess] = []

    def send(self, message: SignalProcess, reactor: Reactor) -> None:
        """Do what *message* wants, now or in the next turn of *reactor*."""
        if message.descendants:
            # To find them costs a look at all processes of the machine: one for all the signals of a turn.
            if not self._waiting:
                reactor.call_again(self._send_waiting)
            self._waiting.append(message)
        else:
            child = self._children.get(message.process)
            if child is not None:
                self._signal(child, message.signal)

    def _send_waiting(self) -> None:
        """Send signals to processes, to all that descends from them, and to all in their sessions.

        A process that is about to die may have made another since the look; so look again until nobody is new. Two
        looks are the rule: with a signal waiting for it, the kernel lets no process fork. One that handles the signal
        lives on, and what it has made since is its own business: mostly the handler has, to clean up.
        """
        messages, self._waiting = self._waiting, []
        told: set[tuple[int, int]] = set()
        for look in range(_LOOKS):
            before = len(told)
            table = _proctable.Snapshot.take()
            families = _families(table, {c.pid for m in messages if (c := self._children.get(m.process)) is not None})
            for message in messages:
                child = self._children.get(message.process)
                if child is not None:
                    family = (child.pid, *families[child.pid])
                    new = [pid for pid in family if (pid, message.signal) not in told]
                    if look:
                        new = [pid for pid in new if not _is_of_a_handler(pid, message.signal, told, table)]
                    self._signal_family(child, new, message.signal)
                    told.update((pid, message.signal) for pid in new)
            if len(told) == before:
                return

    def _signal_family(self, child: Child, members: Iterable[int], number: int) -> None:
        for pid in members:
            if pid == child.pid:
                self._signal(child, number)
            else:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

    def _signal(self, child: Child, number: int) -> None:
        try:
            signal.pidfd_send_signal(child.pidfd, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            if child.terminal and child.stdin != CLOSED and number in ENDING:
                self._hang_up(child)
            else:
                logger.warning("process %d runs as another user: signal %d can not be sent to it", child.pid, number)


def _is_of_a_handler(pid: int, number: int, told: set[tuple[int, int]], table: _proctable.Snapshot) -> bool:
    """Whether the nearest that was told of those from which it descends handles the signal."""
    while (entry := table.entries.get(pid)) is not None:
        pid = entry.parent
        if (pid, number) in told:
            masks = _proctable.signal_masks(pid)
            return masks is not None and bool(masks[1] >> (number - 1) & 1)
    return False


def _families(table: _proctable.Snapshot, leaders: set[int]) -> _Families:
    """Who descends from each of the *leaders*, or is in its session, without itself."""
    families = {leader: set(table.descendants(leader)) for leader in leaders}
    for entry in table.entries.values():
        if entry.session in leaders and entry.alive and entry.pid != entry.session:
            families[entry.session].add(entry.pid)
    return families


def signal_number(wished: int) -> int:
    """The number of a signal that can be sent; 0, which only asks whether it could be, is one. Any thread.

    Raises:
        ValueError: this system has no such signal.
    """
    if wished != 0 and wished not in _valid_signals():
        raise ValueError(
            f"{wished!r} is no signal of this system: give a number such as signal.SIGTERM, "
            f"at most {max(_valid_signals())}"
        )
    return int(wished)


def signal_sessions(sessions: set[int], number: int) -> None:
    """Send a signal to all processes of the *sessions*, and wake up those that are stopped."""
    for entry in _proctable.Snapshot.take().entries.values():
        if entry.session in sessions and entry.alive:
            _proctable.send(entry, number)
