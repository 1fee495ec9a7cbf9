"""Claims: which processes are a controller's, so that its guardian may end them, and no other.

Pure: bytes and process tables in, processes out. Imports nothing, for the guardian process loads this file alone.
Also defines the stream from `_guardian.Guardian` to it: `HEADER`, `RECORD` and `Claims.take`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the real one is in typing, which takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._proctable import ProcessEntry

__all__ = ["HEADER", "RECORD", "VARIABLE", "Claims"]

VARIABLE = "REGISSEUR_GUARDIAN"
"""Environment variable of all that a controller starts: the cookies of it and of the controllers above, by colons."""

HEADER = 40
"""Bytes that open the stream: cookie (32, ASCII), then 8 bytes little endian: start of the controller in ticks."""
RECORD = 13
"""Bytes of each record after it: operation (1), pid (4), ticks (8), little endian."""


class Claims:
    """What is the controller's: the rule that picks processes out of a snapshot. Does no I/O.

    A process is the controller's if at least one of these holds.

    1. Its session was founded by a child of the controller, and has a member from the time when it surely was the
       controller's: while the leader was not reaped, its number could not go to another session; and since a session
       number is not given out again as long as one member is left, all members are ours if one is as old as that.
    2. Its environment has our cookie, whatever session it went to.
    3. It descends from such a process.

    Nothing that started before the controller is its own.
    """

    __slots__ = ("_cookie", "_unread", "sessions", "since", "spared")

    def __init__(self) -> None:
        self._unread = bytearray()
        self._cookie = b""
        self.since = 0
        self.sessions: dict[int, int | None] = {}
        """Session to the ticks until which it surely was ours; None while the controller has not reaped its leader."""
        self.spared = False

    def take(self, data: bytes) -> None:
        """Take a piece of the controller's stream, cut anywhere.

        Operations: W a leader was started; E the leader has ended at `ticks`, its session goes on; F forget the
        session, it is empty; R nothing is to be ended.
        """
        unread = self._unread
        unread += data
        if not self._cookie:
            if len(unread) < HEADER:
                return
            self._cookie = bytes(unread[:32])
            self.since = int.from_bytes(unread[32:HEADER], "little")
            del unread[:HEADER]
        whole = len(unread) - len(unread) % RECORD
        for start in range(0, whole, RECORD):
            pid = int.from_bytes(unread[start + 1 : start + 5], "little")
            when = int.from_bytes(unread[start + 5 : start + RECORD], "little")
            self._record(chr(unread[start]), pid, when)
        del unread[:whole]

    def _record(self, operation: str, pid: int, when: int) -> None:
        if operation == "W":
            self.sessions[pid] = None
        elif operation == "E":
            self.sessions[pid] = when
        elif operation == "F":
            self.sessions.pop(pid, None)
        elif operation == "R":
            self.spared = True

    def select(
        self, table: dict[int, ProcessEntry], ended: int, environment: Callable[[int], bytes], spare: set[int]
    ) -> list[ProcessEntry]:
        """Return the living processes in `table` that are the controller's, which has ended at `ended` (ticks).

        `environment` reads the environment of a pid; it is asked only where the session does not tell. Never
        returned, whatever they look like: the pids in `spare`, init, and processes older than the controller.
        """
        young = [
            entry
            for entry in table.values()
            if entry.started >= self.since and entry.pid > 1 and entry.pid not in spare
        ]
        limits = {session: ended if until is None else until for session, until in self.sessions.items()}
        proven = {entry.session for entry in young if entry.started <= limits.get(entry.session, -1)}
        ours = {
            entry.pid: entry
            for entry in young
            if entry.session in proven or (entry.alive and self.marked(environment(entry.pid)))
        }
        children: dict[int, list[ProcessEntry]] = {}
        for entry in young:
            children.setdefault(entry.parent, []).append(entry)
        found = list(ours)
        for parent in found:  # grows while it is walked
            for child in children.get(parent, ()):
                if child.pid not in ours:
                    ours[child.pid] = child
                    found.append(child.pid)
        return [entry for entry in ours.values() if entry.alive]

    def marked(self, environment: bytes) -> bool:
        """Whether an environment (variables ended by null bytes) holds our cookie."""
        start = (b"\0" + environment).find(b"\0" + VARIABLE.encode() + b"=")
        if start < 0 or not self._cookie:
            return False
        value = environment[start + len(VARIABLE) + 1 :].partition(b"\0")[0]
        return self._cookie in value.split(b":")
