"""The guardian's own program: waits for the end of one controller, then ends all that it had started.

Run by `_guardian.Guardian` as `python -I -S .../_guardian_main.py` with descriptor 0 = a socket on which the
controller writes (the format is in `_claims`), 1 = a pidfd of the controller, 2 = /dev/null. It learns of the
controller's end by the pidfd, not by the end of the socket, which children that the controller forked may hold open.

Kept small, for it runs beside every controller: it imports a handful of built-in modules, `_claims` (what is the
controller's) and `_proctable` (who runs), starts in some 15 ms, and has 5 MB for itself beside what all Pythons share.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # the real one is in typing, which takes longer to import than all the rest
if TYPE_CHECKING or __name__ != "__main__":
    from ._claims import Claims
    from ._proctable import ProcessEntry, Snapshot, send, ticks
else:  # started alone: no package around, and -I keeps even this directory off the path
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from _claims import Claims
    from _proctable import ProcessEntry, Snapshot, send, ticks

__all__ = ["end_all", "main"]

_GRACE = 0.3
"""Seconds between SIGTERM and SIGKILL."""
_LOOK_AGAIN = 0.1
"""Seconds after the controller's end during which a child may still be on its way from spawn to its program."""
_ROUNDS = 60
"""Looks at most; with growing pauses they last some 10 s, and what is left then (in the kernel) can't be ended."""


def main() -> None:
    """Wait for the controller's end, then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    _take_name()
    controller = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(0, False)
    claims = Claims()
    poll = select.poll()
    poll.register(controller, select.POLLIN)
    poll.register(0, select.POLLIN)
    ended = False
    while not ended:
        ended = any(descriptor == controller for descriptor, _ in poll.poll())
        # Also at the end: what the controller wrote last may still be unread.
        if not _read_all(claims) and not ended:
            poll.unregister(0)
    end_all(claims)


def _take_name() -> None:
    """Be `regisseur-guard` in the eyes of ps and top, not one more python."""
    try:
        with open("/proc/self/comm", "w") as name:
            name.write("regisseur-guard")
    except OSError:
        pass


def _read_all(claims: Claims) -> bool:
    """Take all that the controller has written so far; False at the end of the stream."""
    while True:
        try:
            data = os.read(0, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        claims.take(data)


def end_all(claims: Claims) -> None:
    """End all processes that are the controller's: SIGTERM, then, as long as there are any, SIGKILL."""
    if claims.spared:
        return
    ended = ticks()
    start = time.monotonic()
    beyond_reach: set[tuple[int, int]] = set()
    asked: set[tuple[int, int]] = set()
    pause = 0.01
    for _ in range(_ROUNDS):
        look = time.monotonic()
        kill = look - start >= _GRACE
        left = [entry for entry in _look(claims, ended) if (entry.pid, entry.started) not in beyond_reach]
        if not left and look - start >= _LOOK_AGAIN:
            return
        for entry in left:
            name = entry.pid, entry.started
            if kill or name not in asked:
                asked.add(name)
                if not send(entry, signal.SIGKILL if kill else signal.SIGTERM) and not _may_signal(entry.pid):
                    beyond_reach.add(name)
        # At most half of one processor for looking; but the first SIGKILL comes in time.
        pause = min(0.25, pause * 1.2)
        wait = max(pause, time.monotonic() - look)
        time.sleep(wait if kill else min(wait, max(0.0, start + _GRACE - time.monotonic())))


def _look(claims: Claims, ended: int) -> list[ProcessEntry]:
    while True:
        try:
            return claims.select(Snapshot.take().entries, ended, _environment, spare={os.getpid()})
        except OSError:  # the machine is out of memory or files: it may pass
            time.sleep(0.1)


def _may_signal(pid: int) -> bool:
    """False if the process runs as another user (sudo): it can't be ended from here, and must not be waited for."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except OSError:
        pass
    return True


def _environment(pid: int) -> bytes:
    """Read the environment that a process was started with; empty where that is not allowed."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as stream:
            return stream.read()
    except OSError:
        return b""


if __name__ == "__main__":
    main()
