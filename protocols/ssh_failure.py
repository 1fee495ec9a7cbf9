"""Why ssh has failed, by what it wrote to stderr.

ssh ends with 255 whatever went wrong, and says what in English and in words
that have hardly changed since OpenSSH 7. The last line that is known decides,
for what a command wrote comes before what ssh says of its end. The known ones
are those of OpenSSH 8 to 9.9; tests/protocols/ssh_stderr has many as they came.
"""

from __future__ import annotations

import enum
import re

__all__ = ["Failure", "classify", "is_worth_a_retry", "telling_line"]


class Failure(enum.Enum):
    """A way in which ssh fails."""

    UNKNOWN_NAME = "unknown-name"
    """The host's name could not be resolved."""
    NO_ROUTE = "no-route"
    """Its address cannot be reached from here, or nobody has it."""
    REFUSED = "refused"
    """It is there, and nothing listens on the port."""
    TIMEOUT = "timeout"
    """It did not answer in time."""
    HOST_KEY_CHANGED = "host-key-changed"
    """It has another key than the one that is known."""
    HOST_KEY_UNKNOWN = "host-key-unknown"
    """Its key is not known, and may not be accepted by itself."""
    PERMISSION_DENIED = "permission-denied"
    """It does not let the user in."""
    BUSY = "busy"
    """It closed the connection before it knew who comes: mostly too many came at once (sshd's MaxStartups)."""
    CONNECTION_LOST = "connection-lost"
    """It was connected, and is no more."""
    BAD_KEY_FILE = "bad-key-file"
    """The user was not let in, and a key file could not be used."""
    BAD_CONFIGURATION = "bad-configuration"
    """ssh did not understand its options or its configuration, or has no algorithm in common with the host."""
    JUMP_FAILED = "jump-failed"
    """The jump host, or the command in its place, did not connect it to the host."""
    PROGRAM_MISSING = "program-missing"
    """There is no such program as the connector here."""
    OTHER = "other"
    """It said something else."""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_CONNECT = r"connect to (?:host|address) .*: "
_KNOWN: list[tuple[Failure, re.Pattern[str]]] = [
    (Failure.UNKNOWN_NAME, _any(r"Could not resolve hostname", r"^hostname contains invalid characters")),
    (Failure.NO_ROUTE, _any(_CONNECT + r"(?:No route to host|Network is (?:unreachable|down)|Host is \w+)")),
    (Failure.REFUSED, _any(_CONNECT + r"Connection refused")),
    (
        Failure.TIMEOUT,
        _any(
            _CONNECT + r"(?:Connection|Operation) timed out",
            r"timed out during banner exchange",
            r"^Connection to \S+ port \d+ timed out",
        ),
    ),
    (Failure.HOST_KEY_UNKNOWN, _any(r"^Host key verification failed", r"^Host key for .* has changed")),
    (
        Failure.PERMISSION_DENIED,
        _any(
            r"Permission denied \((?:publickey|password|keyboard-interactive|hostbased|gssapi|none)",
            r"^Permission denied, please try again",
            r"Too many authentication failures",
            r"No supported authentication methods",
        ),
    ),
    (
        Failure.BUSY,
        _any(
            r"exchange_identification: (?:Connection closed|read: Connection reset|write: )",
            r"^Connection (?:closed|reset) by (?!UNKNOWN)\S+(?: port \d+)?$",
            _CONNECT + r"(?:Connection reset|Resource temporarily unavailable)",
            r"^Exceeded MaxStartups",
            r"^Not allowed at this time",
        ),
    ),
    (
        Failure.CONNECTION_LOST,
        _any(
            r"^client_loop: ",
            r"^Timeout, server .* not responding",
            r"^Connection to .* closed by remote host",
            r"^Read from remote host",
            r"packet_write_wait: ",
            r"^Write failed: ",
            r"^ssh_dispatch_run_fatal: Connection to ",
            r"^(?:Bad packet length|Corrupted MAC on input)",
        ),
    ),
    (
        Failure.BAD_CONFIGURATION,
        _any(
            r"[Bb]ad configuration option",
            r"^(?:command-line|/\S*):? line \d+: ",
            r"^Bad owner or permissions on ",
            r"^Can't open user config file",
            r"(?:unknown|illegal|invalid) option -- ",
            r"^usage: ssh ",
            r"^Bad port ",
            r"^Unable to negotiate with .*: no matching ",
            r"^unix_listener: path .* too long",
            r"^ControlPath .*too long",
        ),
    ),
    (Failure.JUMP_FAILED, _any(r"by UNKNOWN port 65535", r"^stdio forwarding failed")),
]
_CANNOT_START = re.compile(r"(?:No such file or directory|Permission denied|Exec format error)(?:: .*)?")
_BAD_KEY_FILE = _any(
    r"^Load key ", r"Identity file .* not accessible", r"UNPROTECTED PRIVATE KEY FILE", r"^no such identity: "
)
_CHANGED_KEY = _any(r"IDENTIFICATION HAS CHANGED", r"^Host key for .* has changed")
_AFTER_JUMP = _any(r"by UNKNOWN port 65535", r"exchange_identification: ", r"^stdio forwarding failed")
_REFUSED_BY_JUMP = re.compile(r"exchange_identification: .*\nConnection (?:closed|reset) by (?!UNKNOWN)")


def classify(stderr: str) -> Failure | None:
    """What has gone wrong, by what ssh wrote, or the reason why it could not be started; None: it said nothing."""
    return _find(stderr)[0]


def telling_line(stderr: str) -> str:
    """The line that says what has gone wrong; the last one where none is known; empty where there is none."""
    return _find(stderr)[1]


def is_worth_a_retry(failure: Failure) -> bool:
    """Whether it may go better in a moment, all else being equal, and nothing has been run yet."""
    return failure is Failure.BUSY


def _find(stderr: str) -> tuple[Failure | None, str]:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return None, ""
    if len(lines) == 1 and _CANNOT_START.fullmatch(lines[0]):
        return Failure.PROGRAM_MISSING, lines[0]
    for line in reversed(lines):
        for failure, pattern in _KNOWN:
            if pattern.search(line):
                return _refined(failure, lines, line)
    return Failure.OTHER, lines[-1]


def _refined(failure: Failure, lines: list[str], line: str) -> tuple[Failure, str]:
    """Look at the lines before, where the last one tells only half of it."""
    if failure is Failure.HOST_KEY_UNKNOWN:
        if any(_CHANGED_KEY.search(other) for other in lines):
            return Failure.HOST_KEY_CHANGED, line
    elif failure is Failure.PERMISSION_DENIED:
        for other in reversed(lines):
            if _BAD_KEY_FILE.search(other):
                return Failure.BAD_KEY_FILE, other
    elif failure is Failure.JUMP_FAILED:
        # ssh knows only that the command in the middle has ended; that one's words stand before.
        if _REFUSED_BY_JUMP.search("\n".join(lines)):
            return Failure.BUSY, line
        return failure, next((other for other in reversed(lines) if not _AFTER_JUMP.search(other)), line)
    return failure, line
