"""ConnectWindow: how many connections to hosts are being made at once, and how long to wait for a host that is busy.

To log in costs both sides a good deal of processor time, and an sshd refuses
more than some (MaxStartups) at a time. Those that wait are let in in the order
in which they came. There is one for each runtime, and it belongs to the
reactor's thread.
"""

from __future__ import annotations

import random
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["ConnectWindow", "connect_window", "pause_before"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds between two tries to connect, before they are made unequal


class ConnectWindow:
    """See the module."""

    def __init__(self) -> None:
        self._inside = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._letting_in = False
        self.arrivals: Counter[str] = Counter()
        """How many connections of their own commands have got, by host."""

    def enter(self, size: int, function: Callable[[], None]) -> None:
        """Call *function* when fewer than *size* are inside; `leave` must follow some time."""
        self._waiting.append((size, function))
        self._let_in()

    def leave(self) -> None:
        """One of those inside has connected, or has given up."""
        self._inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        if self._letting_in:
            return  # who was let in has left at once: the loop below goes on
        self._letting_in = True
        try:
            while self._waiting and self._inside < max(1, self._waiting[0][0]):
                self._inside += 1
                self._waiting.popleft()[1]()
        finally:
            self._letting_in = False


def pause_before(retry: int) -> float:
    """Seconds to wait before the try with this number, from 1: longer each time, and for each another time.

    So not all that were refused come again at once.
    """
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(retry - 1, 10)) * random.uniform(0.5, 1.5)


_all: weakref.WeakKeyDictionary[Runtime, ConnectWindow] = weakref.WeakKeyDictionary()
_all_lock = threading.Lock()


def connect_window(runtime: Runtime) -> ConnectWindow:
    """The window of *runtime*. Thread-safe."""
    window = _all.get(runtime)
    if window is None:
        with _all_lock:
            window = _all.get(runtime) or _all.setdefault(runtime, ConnectWindow())
    return window
