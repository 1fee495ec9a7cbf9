"""Lost: ends what a connector to this very machine was running, when a signal has ended the connector.

On another host a watcher sees that the connection is gone. Here there is none (see `remote_shell`), and nothing is
needed for it but that the controller sees how the connector ends: what is left of its session then has lost its
connection. What has gone to another session ends with this program, by the guardian. Belongs to the reactor's thread.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from ._proctable import Snapshot, send, ticks

if TYPE_CHECKING:
    from ._proctable import ProcessEntry
    from ._reactor import Reactor

__all__ = ["Lost"]

_PAUSE = 1.0
"""Seconds until SIGTERM, in which it may well end by itself, and then until SIGKILL; as a watcher takes."""
_ROUNDS = 5


class Lost:
    """See the module."""

    def __init__(self) -> None:
        self._sessions: dict[int, int] = {}

    def add(self, session: int, reactor: Reactor) -> None:
        """End what is left of *session*, whose leader has just been waited for."""
        if not self._sessions:  # one look at the processes of the machine for all that come meanwhile
            reactor.call_later(_PAUSE, lambda: self._begin(reactor))
        self._sessions[session] = ticks()

    def _begin(self, reactor: Reactor) -> None:
        sessions, self._sessions = self._sessions, {}
        self._end(sessions, 0, reactor)

    def _end(self, sessions: dict[int, int], rounds: int, reactor: Reactor) -> None:
        members = _members(sessions)
        for entry in members:
            send(entry, signal.SIGKILL if rounds else signal.SIGTERM)
        left = {entry.session: sessions[entry.session] for entry in members}
        if left and rounds < _ROUNDS:
            reactor.call_later(_PAUSE, lambda: self._end(left, rounds + 1, reactor))


def _members(sessions: dict[int, int]) -> list[ProcessEntry]:
    """Who lives in *sessions* (number: ticks until which it surely was ours).

    A number is not given out again while a member is left, so all are ours if one is as old as that.
    """
    entries = [entry for entry in Snapshot.take().entries.values() if entry.session in sessions]
    ours = {entry.session for entry in entries if entry.started <= sessions[entry.session]}
    return [entry for entry in entries if entry.session in ours and entry.alive]
