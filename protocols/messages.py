"""What the parts of the process layer say to each other.

Commands are imperative, facts are in the past tense. All addresses are those
of actors on the bus; all times are seconds since the epoch.
"""

from __future__ import annotations

from .message import message

__all__ = [
    "STDERR",
    "STDOUT",
    "AttachSession",
    "CloseInput",
    "CommandBegun",
    "DetachSession",
    "InputFailed",
    "OpenSession",
    "OutputEnded",
    "OutputRead",
    "OutputSpooled",
    "PauseOutput",
    "ProcessExited",
    "ProcessSpawned",
    "ResumeOutput",
    "SessionEnded",
    "SessionOpened",
    "SessionRefused",
    "SignalProcess",
    "SignalSession",
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
    token: str | None = None
    """In the trailer that it may write to stderr: it connects to a host, and runs a wrapped command there."""
    internal: bool = False
    """It serves this program alone, such as a connection that others share: it ends with it in any case."""


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


@message("process.begun")
class CommandBegun:
    """A wrapped command has said that it begins, so the connection stands (see `remote_shell`). From: the I/O actor."""

    is_here: bool
    """It runs on this very machine, where the signals for its connector reach it."""


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
    reported: bool = False
    """The status comes of the trailer that a wrapped remote command has written (see `remote_shell`)."""


@message("host.open")
class OpenSession:
    """Run a command on the host, over a connection that stands. To: a host actor.

    Answer, to *process*: `ProcessSpawned` and what follows on it, as of the I/O actor; or `BrokenOff`, `Withdrawn`.
    """

    process: str
    """Address of the process actor."""
    command: str
    """For the shell of the remote user."""
    pty: bool


@message("host.signal")
class SignalSession:
    """Send a signal to all that the command of *process* has started. To: a host actor, or a connection."""

    process: str
    signal: int


@message("io.attach")
class AttachSession:
    """Open a session of a standing connection, with pipes of ours. To: the I/O actor.

    Answer, to *connection*: `SessionOpened` or `SessionRefused`, and `SessionEnded`; to *process* as for
    `SpawnProcess`.
    """

    process: str
    connection: str
    """Address of the connection actor."""
    pid: int
    """Of the process that holds the connection."""
    socket: str
    """Path of its control socket."""
    command: bytes
    token: str
    """In the trailer that the command may write."""
    pty: bool


@message("io.detach")
class DetachSession:
    """Wait no longer for the session's end: its host does not react. To: the I/O actor."""

    process: str


@message("session.opened")
class SessionOpened:
    """The command has been given to the host. From: the I/O actor, to the connection."""

    process: str


@message("session.refused")
class SessionRefused:
    """The host, or the connection, takes no further session. From: the I/O actor, to the connection."""

    process: str
    reason: str


@message("session.ended")
class SessionEnded:
    """The session is over. From: the I/O actor, to the connection."""

    process: str
    known: bool
    """The process actor was told the exit status; else it has been told nothing yet."""
