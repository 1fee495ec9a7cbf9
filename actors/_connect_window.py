"""ConnectWindow: how many connections to hosts are being made at once.

To log in costs both sides a good deal of processor time, and an sshd refuses
more than some (MaxStartups) at a time. Those that wait are let in in the order
in which they came. Belongs to the reactor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["ConnectWindow"]


class ConnectWindow:
    """See the module."""

    def __init__(self) -> None:
        self._inside = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def enter(self, size: int, function: Callable[[], None]) -> None:
        """Call *function* when fewer than *size* are inside; `leave` must follow some time."""
        self._waiting.append((size, function))
        self._let_in()

    def leave(self) -> None:
        """One of those inside has connected, or has given up."""
        self._inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._inside < max(1, self._waiting[0][0]):
            self._inside += 1
            self._waiting.popleft()[1]()
