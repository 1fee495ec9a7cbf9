"""What the current thread is doing: which actor it runs, and on whose behalf."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .actor import Actor
    from .runtime import Runtime

__all__ = ["here"]


class _Here(threading.local):
    """One per thread; a thread that is not ours sees the defaults."""

    runtime: Runtime | None = None
    """The runtime whose thread this is; None in a thread of the user's."""
    on_reactor: bool = False
    """True in a reactor's thread, which must never block."""
    actor: Actor | None = None
    """The actor whose message is being handled."""
    cause: int = 0
    """Number of the call from outside that the current message came of; 0 outside of actors."""


here = _Here()
