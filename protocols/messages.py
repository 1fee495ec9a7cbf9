"""What the parts of the process layer say to each other.

Commands are imperative, facts are in the past tense. All addresses are those
of actors on the bus; all times are seconds since the epoch.
"""

from __future__ import annotations

from .message import message

__all__ = [
    "STDERR",
    "STDOUT",
    "CloseInput",
    "InputFailed",
    "OutputEnded",
    "OutputRead",
    "OutputSpooled",
    "PauseOutput",
    "ProcessExited",
    "ProcessSpawned",
    "ResumeOutput",
    "SignalProcess",
    "SpawnFailed",
    "SpawnProcess",
    "WriteInput",
]

STDOUT = 1
"""Number of the standard output stream, as everywhere in Unix."""
STDERR = 2
"""Number of the standard error stream."""


@message("io.spawn")
class SpawnProcess:
    """Start a process. To: the I/O actor. Answer: `ProcessSpawned` or `SpawnFailed`, to *process*."""

    process: str
    """Address of the process actor; the I/O actor knows the process by it until the exit."""
    argv: tuple[bytes, ...]
    """The program, looked up in PATH, and its arguments."""
    env: bytes | None = None
    """The whole environment, each NAME=value followed by a null byte; None: that of the I/O actor's program."""
    cwd: bytes | None = None
    """Working directory, an absolute path; None: that of the I/O actor's program."""
    pty: bool = False
    """stdin and stdout are a pseudo terminal, which is the controlling terminal of the session."""


@message("io.signal")
class SignalProcess:
    """Send a signal. To: the I/O actor. No answer; nothing happens when the process has ended."""

    process: str
    signal: int
    descendants: bool
    """To all its descendants too."""


@message("io.write", bulk=True)
class WriteInput:
    """Write *bulk* to the process's stdin. To: the I/O actor. Answer: `InputFailed`, or none."""

    process: str
    bulk: bytes


@message("io.close-input")
class CloseInput:
    """Close the process's stdin when all has been written. To: the I/O actor. No answer."""

    process: str


@message("io.pause")
class PauseOutput:
    """Read no more of the stream for a while: its reader is behind. To: the I/O actor."""

    process: str
    stream: int


@message("io.resume")
class ResumeOutput:
    """Read the stream again. To: the I/O actor."""

    process: str
    stream: int


@message("process.spawned")
class ProcessSpawned:
    """The process runs. From: the I/O actor."""

    pid: int
    at: float


@message("process.spawn-failed")
class SpawnFailed:
    """The operating system could not start it; nothing runs. From: the I/O actor. It is the last message."""

    errno: int
    reason: str
    filename: str | None
    at: float


@message("process.output", bulk=True)
class OutputRead:
    """The process has written *bulk* to a stream. From: the I/O actor."""

    stream: int
    bulk: bytes


@message("process.output-spooled")
class OutputSpooled:
    """*size* more bytes of a stream went straight into its spool file. From: the I/O actor."""

    stream: int
    size: int


@message("process.output-ended")
class OutputEnded:
    """A stream is at its end while the process runs on. From: the I/O actor."""

    stream: int
    errno: int
    """0: it was closed; else why it can not be read any more."""


@message("process.input-failed")
class InputFailed:
    """What was written could not be delivered, wholly or in part. From: the I/O actor."""

    errno: int


@message("process.exited")
class ProcessExited:
    """The process has ended; all its pending output was sent before. From: the I/O actor. It is the last message."""

    status: int | None
    """Exit status 0..255, or minus the number of the signal that ended it; None: other code took the status."""
    at: float
    written: int = 0
    """Bytes that its stdin has taken."""
