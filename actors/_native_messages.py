"""What a `NativeLink`, in the asyncio thread, tells its `NativeConnection` on the reactor; beside SupervisorAnswer.

Not registered messages: they do not leave this process.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..protocols.ssh_failure import Failure

__all__ = ["Connected", "LinkOver"]


@dataclass(frozen=True, slots=True)
class Connected:
    """The host has let us in, and takes sessions."""


@dataclass(frozen=True, slots=True)
class LinkOver:
    """The connection has ended, or could not be made."""

    failure: Failure
    said: str
    status: int | None
    """What the supervisor ended with, where it never was ready."""
    unstarted: bool = False
    """We were let in, but the host does not run commands."""
