"""What kept a connection to a host from being made, or ended it."""

from __future__ import annotations

from ..protocols.ssh_failure import Failure

__all__ = ["ConnectionFailedError", "error_for", "lost_error", "session_error"]


class ConnectionFailedError(Exception):
    """No command ran, or its end is unknown: *host* and what was said of it are the arguments."""


def error_for(failure: Failure, host: str, said: str, status: int | None = None) -> ConnectionFailedError:
    """The error for a connection that could not be made."""
    return ConnectionFailedError(host, failure.value, said.strip(), status)


def lost_error(host: str, said: str) -> ConnectionFailedError:
    """The error for what ran over a connection that is lost."""
    return ConnectionFailedError(host, Failure.CONNECTION_LOST.value, said.strip())


def session_error(host: str, reason: str) -> ConnectionFailedError:
    """The error for a command that the host did not take."""
    return ConnectionFailedError(host, reason)
