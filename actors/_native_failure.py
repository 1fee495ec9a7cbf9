"""failure_of: which way to fail it is, where asyncssh could not connect."""

from __future__ import annotations

import errno
import re
import socket

import asyncssh

from ..protocols.ssh_failure import Failure, classify
from ._native_keys import Trust

__all__ = ["JumpError", "failure_of"]


_ERRNOS = {
    errno.ECONNREFUSED: Failure.REFUSED,
    errno.EHOSTUNREACH: Failure.NO_ROUTE,
    errno.ENETUNREACH: Failure.NO_ROUTE,
    errno.EHOSTDOWN: Failure.NO_ROUTE,
    errno.ENETDOWN: Failure.NO_ROUTE,
    errno.ETIMEDOUT: Failure.TIMEOUT,
    errno.ECONNRESET: Failure.BUSY,
    errno.EPIPE: Failure.BUSY,
}
_ERRNO = re.compile(r"\[Errno (\d+)\]")
"""All that is left of the errors where several addresses of a host were tried."""


class JumpError(Exception):
    """The host that is gone over has not let us through.

    Args:
        jump: as ProxyJump has it.
        error: why.
    """

    def __init__(self, jump: str, error: Exception) -> None:
        super().__init__(jump, error)
        self.jump = jump
        self.error = error


def failure_of(error: Exception, trust: Trust) -> tuple[Failure, str]:
    """What kind of failure *error* is, and what there is to say of it."""
    said = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
    match error:
        case JumpError(jump=jump, error=cause):
            failure, said = failure_of(cause, Trust())
            return Failure.BUSY if failure is Failure.BUSY else Failure.JUMP_FAILED, f"jump host {jump}: {said}"
        case asyncssh.HostKeyNotVerifiable():
            return trust.verdict or Failure.HOST_KEY_UNKNOWN, f"{said} ({', '.join(trust.files) or 'known_hosts'})"
        case asyncssh.PermissionDenied():
            bad = "\n".join(trust.bad_keys)
            return (Failure.BAD_KEY_FILE, bad) if bad else (Failure.PERMISSION_DENIED, said)
        case asyncssh.ConnectionLost():
            return Failure.BUSY, said
        case asyncssh.ChannelOpenError():
            return Failure.JUMP_FAILED, said
        case asyncssh.KeyExchangeFailed() | asyncssh.ProtocolNotSupported():
            return Failure.BAD_CONFIGURATION, said
        case asyncssh.DisconnectError():
            return classify(said) or Failure.OTHER, said
        case TimeoutError() if error.errno is None:
            return Failure.TIMEOUT, "no answer in time"
        case socket.gaierror() | UnicodeError():
            return Failure.UNKNOWN_NAME, said
        case OSError(filename=str()):
            return Failure.BAD_CONFIGURATION, said
        case OSError():
            numbers = _ERRNO.findall(said)
            number = error.errno or (int(numbers[-1]) if numbers else 0)
            return _ERRNOS.get(number, Failure.OTHER), said
        case ValueError():
            return Failure.BAD_CONFIGURATION, said
    return Failure.OTHER, said
