"""The processes of this machine, read from /proc: who belongs to a session, who descends from whom.

Reads and signals only; owns nothing. Imports nothing but os, signal and time, for the guardian process loads this file
alone. Each function looks once at /proc, which is a list that changes while one reads it: a process that starts
meanwhile may be missing, so whoever must end all looks again.

Cost of one look: about 12 us for each process on the machine. For questions about many processes at once take one
`Snapshot` and ask that.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing and collections.abc take longer to import than all the rest of the guardian
    from collections.abc import Iterable

__all__ = ["ProcessEntry", "Snapshot", "descendants", "end_session", "read_entry", "send", "session_members", "ticks"]


class ProcessEntry:
    """One line of the process table, as `/proc/PID/stat` had it (see proc(5))."""

    __slots__ = ("group", "parent", "pid", "session", "started", "state", "threads")

    def __init__(self, pid: int, state: str, parent: int, group: int, session: int, threads: int, started: int) -> None:
        self.pid = pid
        self.state = state
        """One letter: R running, S sleeping, D in the kernel, T stopped, t traced, Z zombie, ..."""
        self.parent = parent
        self.group = group
        self.session = session
        self.threads = threads
        self.started = started
        """Clock ticks (os.sysconf("SC_CLK_TCK") a second, usually 100) since the boot of the machine."""

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie only waits for its parent, unless its other threads go on."""
        return self.state not in "ZX" or self.threads > 1

    def __repr__(self) -> str:
        return f"<ProcessEntry {self.pid} {self.state} parent={self.parent} session={self.session}>"


class Snapshot:
    """All processes as one look at /proc found them."""

    __slots__ = ("_children", "entries")

    def __init__(self, entries: Iterable[ProcessEntry]) -> None:
        self.entries = {entry.pid: entry for entry in entries}
        self._children: dict[int, list[int]] | None = None

    @classmethod
    def take(cls) -> Snapshot:
        """Look at /proc."""
        entries = []
        table = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(table):
                if name[0] in "123456789":
                    entry = _read(f"{name}/stat", table)
                    if entry is not None:
                        entries.append(entry)
        finally:
            os.close(table)
        return cls(entries)

    def session(self, sid: int) -> list[int]:
        """Return the pids of the living processes of the session `sid`, its leader included."""
        return [entry.pid for entry in self.entries.values() if entry.session == sid and entry.alive]

    def descendants(self, pid: int) -> list[int]:
        """Return the pids of the living descendants of `pid`, parents before their children, without `pid`."""
        children = self._children
        if children is None:
            children = self._children = {}
            for entry in self.entries.values():
                children.setdefault(entry.parent, []).append(entry.pid)
        found = list(children.get(pid, ()))
        for descendant in found:  # grows while it is walked
            found += children.get(descendant, ())
        return [descendant for descendant in found if self.entries[descendant].alive]


def session_members(sid: int) -> list[int]:
    """Return the pids of the living processes whose session is `sid`."""
    return Snapshot.take().session(sid)


def descendants(pid: int) -> list[int]:
    """Return the pids of the living children of `pid` and all that descends from them, parents first.

    Who has lost its parent belongs to another one (init, mostly) and is no longer found.
    """
    return Snapshot.take().descendants(pid)


def end_session(sid: int, sig: int) -> list[int]:
    """Send a signal to each living process of the session `sid`, whatever its process group; return whom it reached.

    A stopped process is woken up after it, so that it can take the signal.
    """
    members = (entry for entry in Snapshot.take().entries.values() if entry.session == sid and entry.alive)
    return [entry.pid for entry in members if send(entry, sig)]


def read_entry(pid: int) -> ProcessEntry | None:
    """Read the line of one process; None if there is no such process (any more)."""
    return _read(f"/proc/{pid}/stat", None)


def send(entry: ProcessEntry, sig: int) -> bool:
    """Send a signal to exactly the process that `entry` describes, never to one that has its number since.

    A stopped process is continued after it. Returns False if it has ended or belongs to another user.
    """
    # 1. The descriptor holds on to whoever has the number now. 2. If that still is our process (a number and a time
    # of start name one process for good), then 3. the signal can reach no other, however late it is sent.
    try:
        holder = os.pidfd_open(entry.pid)
    except OSError:
        return False
    try:
        now = read_entry(entry.pid)
        if now is None or now.started != entry.started or not now.alive:
            return False
        signal.pidfd_send_signal(holder, sig)
        if now.state in "Tt":
            signal.pidfd_send_signal(holder, signal.SIGCONT)
    except OSError:
        return False
    finally:
        os.close(holder)
    return True


def signal_masks(pid: int) -> tuple[int, int, int] | None:
    """Return the signals that a process ignores, handles and blocks, bit 0 being signal 1; None if it has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":\t", 1) for line in file.read().splitlines() if b":\t" in line)
        return int(lines[b"SigIgn"], 16), int(lines[b"SigCgt"], 16), int(lines[b"SigBlk"], 16)
    except (OSError, KeyError):
        return None


def ticks() -> int:
    """Return the time since boot in the unit, and rounded in the way, of a process's start time in /proc."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _read(path: str, directory: int | None) -> ProcessEntry | None:
    try:
        stat = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    try:
        line = os.read(stat, 4096)
    except OSError:
        return None  # it ended between the two calls
    finally:
        os.close(stat)
    if not line:
        return None
    # "PID (NAME) STATE PPID ...": the name may hold anything, parentheses and blanks too.
    pid, _, rest = line.partition(b" ")
    fields = rest[rest.rindex(b")") + 2 :].split(b" ", 20)
    return ProcessEntry(
        int(pid),
        fields[0].decode(),
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        int(fields[17]),
        int(fields[19]),
    )
