"""What can be wrong with the way to another host.

::

    Exception
     +-- HostConnectionError            base; fields host, said, advice
          +-- ConnectionFailedError     no connection was made, and nothing has been run; itself: for no known reason
          |    +-- UnknownNameError          the host's name is not known
          |    +-- NoRouteError              its address cannot be reached
          |    +-- RefusedError              nothing listens there
          |    +-- ConnectTimeoutError       no answer in time
          |    +-- HostKeyChangedError       it has another key than before
          |    +-- HostKeyUnknownError       its key is not known
          |    +-- PermissionDeniedError     it does not let us in
          |    +-- HostBusyError             it refuses so many connections, and went on to
          |    +-- BadKeyFileError           our key file cannot be used
          |    +-- BadConfigurationError     ssh does not take its options or configuration
          |    +-- JumpFailedError           the way over another host did not work
          |    +-- ConnectorMissingError     there is no ssh, or no such program, here
          |    +-- TaktukMissingError        there is no taktuk here
          |    +-- CommandUnstartedError     connected, but the host did not start what it was to run
          +-- ConnectionLostError       the connection broke while the command ran: its exit status is unknown
          +-- GatewayLostError          TakTuk has ended, with all connections over it
          +-- CommandLostError          the command ended, and the host could not tell how

They are the `error_reason` of processes. Each pickles, and says in its text who,
what, what was seen, and what to do. `error_for` finds the one for what ssh said.
"""

from __future__ import annotations

from ..protocols.ssh_failure import Failure, telling_line

__all__ = [
    "BadConfigurationError",
    "BadKeyFileError",
    "CommandLostError",
    "CommandUnstartedError",
    "ConnectTimeoutError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "ConnectorMissingError",
    "GatewayLostError",
    "HostBusyError",
    "HostConnectionError",
    "HostKeyChangedError",
    "HostKeyUnknownError",
    "JumpFailedError",
    "NoRouteError",
    "PermissionDeniedError",
    "RefusedError",
    "TaktukMissingError",
    "UnknownNameError",
    "error_for",
    "lost_error",
    "session_error",
    "unreported_error",
]

_FAILED = 255
"""With this ssh ends when it has failed itself."""
_LONGEST = 300
"""Characters of what ssh said that go into the text; all of it is in the field."""


class HostConnectionError(Exception):
    """Something is wrong with the way to *host*.

    Args:
        host: the host, as the user calls it.
        said: what the connector wrote to stderr, or what else is known; may be empty.
    """

    what = "the connection to it has failed"
    advice = "Try the same by hand: ssh with the same options."
    """What the user may do."""

    def __init__(self, host: str, said: str = "") -> None:
        super().__init__(host, said)
        self.host = host
        self.said = said

    def __str__(self) -> str:
        line = telling_line(self.said)
        seen = f" ({line[:_LONGEST]})" if line else ""
        return f"{self.host}: {self.what}{seen}. {self.advice}"


class ConnectionFailedError(HostConnectionError):
    """No connection could be made; nothing has been run. Its subclasses are the ways in which that happens."""

    what = "no connection could be made"


class UnknownNameError(ConnectionFailedError):
    """No address is known for the name."""

    what = "its name is not known"
    advice = "Check the spelling, and whether this machine's resolver knows it: getent hosts NAME."


class NoRouteError(ConnectionFailedError):
    """The address cannot be reached from here, or no machine has it."""

    what = "it cannot be reached"
    advice = "Is it running, and is this machine in a network that leads there? It may need a jump host (ProxyJump)."


class RefusedError(ConnectionFailedError):
    """The machine is there, and nothing listens on the port."""

    what = "it refuses connections"
    advice = "Its sshd does not run (yet), listens on another port (see the parameter port), or a firewall is between."


class ConnectTimeoutError(ConnectionFailedError):
    """It did not answer within connect_timeout."""

    what = "it did not answer in time"
    advice = "It may be down, hang, or be very busy; the parameter connect_timeout gives it more seconds."


class HostKeyChangedError(ConnectionFailedError):
    """It has another host key than the known_hosts file says: reinstalled, or somebody else."""

    what = "its host key is not the one that is known"
    advice = "If it was reinstalled, remove its old key: ssh-keygen -R NAME -f FILE. If not, find out who answers."


class HostKeyUnknownError(ConnectionFailedError):
    """Its host key is not in the known_hosts file, and may not be accepted by itself."""

    what = "its host key is not known"
    advice = "Add it (ssh-keyscan, after a check), or have new keys accepted: host_keys 'accept-new'."


class PermissionDeniedError(ConnectionFailedError):
    """It does not let the user in."""

    what = "it does not let us in"
    advice = "Check the user (parameter user), the key (keyfile, or ssh-add -l), and the host's authorized_keys."


class HostBusyError(ConnectionFailedError):
    """It closed the connection before it knew who comes, as often as it was tried."""

    what = "it closed the connection before it knew who comes"
    advice = "Too many connect at once: see MaxStartups of its sshd, lower connect_window or raise connect_retries."

    def __init__(self, host: str, said: str = "", too_much_input: int | None = None) -> None:
        super().__init__(host, said)
        self.args = (host, said, too_much_input)
        self.too_much_input = too_much_input
        """It was not tried again because more than so many bytes had been given for stdin; None: it was."""

    def __str__(self) -> str:
        if self.too_much_input is None:
            return super().__str__()
        limit = f"more than {self.too_much_input >> 20} MiB had been given for stdin already, which are not kept"
        return f"{super().__str__()} It was not tried again: {limit}. Write when the command runs, or give it a file."


class BadKeyFileError(ConnectionFailedError):
    """It does not let the user in, and a key file could not be used."""

    what = "it does not let us in, for a key file cannot be used"
    advice = "Check the parameter keyfile: the path, that only its owner can read it, and that it is a private key."


class BadConfigurationError(ConnectionFailedError):
    """ssh does not understand its options or its configuration file, or speaks no algorithm that the host knows."""

    what = "ssh does not accept how it is to connect"
    advice = "Check the parameters ssh and ssh_options, and the files that ssh reads (~/.ssh/config)."


class JumpFailedError(ConnectionFailedError):
    """The jump host, or the command in its place, did not connect us."""

    what = "the way to it over another host has failed"
    advice = "Check ProxyJump or ProxyCommand for it: whether that host can be reached, and reaches this one."


class ConnectorMissingError(ConnectionFailedError):
    """There is no such program as the connector on this machine, or no asyncssh for the native one."""

    what = "the program to connect with cannot be started"
    advice = "Install it, or name another connector by the parameter ssh or connector."


class TaktukMissingError(ConnectionFailedError):
    """There is no program taktuk on this machine."""

    what = "it cannot be started here"
    advice = "Install it (in Debian the package taktuk), or name another one by the parameter taktuk."


class CommandUnstartedError(ConnectionFailedError):
    """It was connected, but the host did not start what it was to run; *status* is what its login shell ended with."""

    what = "it was connected, but does not start commands"
    advice = "The user needs a login shell there that runs commands, /bin/sh, and room for a session (MaxSessions)."

    def __init__(self, host: str, said: str = "", status: int | None = None) -> None:
        super().__init__(host, said)
        self.args = (host, said, status)
        self.status = status

    def __str__(self) -> str:
        ended = "" if self.status is None else f" The login shell ended with status {self.status}."
        return super().__str__() + ended


class ConnectionLostError(HostConnectionError):
    """The connection broke while the command ran. It was started, and its exit status is unknown.

    What it had started is ended by the host as soon as that notices, too, which it may not where it has crashed.
    """

    what = "the connection was lost while the command ran, so its exit status is unknown"
    advice = "Whether it may be run again is for you to say: it has begun, and may even have finished."


class GatewayLostError(HostConnectionError):
    """TakTuk has ended, and with it the tree over which the command ran or was to run: its exit status is unknown.

    What runs on the nodes is ended there. The next command deploys a new tree.
    """

    what = "it has ended, and all connections over it with it"
    advice = "Whether the command may be run again is for you to say: it may have begun, and even have finished."


class CommandLostError(HostConnectionError):
    """The command has ended with all around it, and the connection still stands: its exit status is unknown."""

    what = "the command has ended, and what was to report how has been killed with it"
    advice = "Look who kills whole sessions there: the kernel's out-of-memory killer, a batch system, a careless pkill."


_CLASSES: dict[Failure, type[HostConnectionError]] = {
    Failure.UNKNOWN_NAME: UnknownNameError,
    Failure.NO_ROUTE: NoRouteError,
    Failure.REFUSED: RefusedError,
    Failure.TIMEOUT: ConnectTimeoutError,
    Failure.HOST_KEY_CHANGED: HostKeyChangedError,
    Failure.HOST_KEY_UNKNOWN: HostKeyUnknownError,
    Failure.PERMISSION_DENIED: PermissionDeniedError,
    Failure.BUSY: HostBusyError,
    Failure.CONNECTION_LOST: ConnectionLostError,
    Failure.BAD_KEY_FILE: BadKeyFileError,
    Failure.BAD_CONFIGURATION: BadConfigurationError,
    Failure.JUMP_FAILED: JumpFailedError,
    Failure.PROGRAM_MISSING: ConnectorMissingError,
    Failure.OTHER: ConnectionFailedError,
}


def error_for(failure: Failure | None, host: str, stderr: str, *, status: int | None = None) -> HostConnectionError:
    """The error for what `classify` has made of *stderr*.

    Args:
        failure: None: it said nothing.
        status: what the connector ended with, as in Popen.returncode, where what it was to run is not known to have
            been started. If it is not 255, ssh itself was content, and the host's shell was not.
    """
    if status is not None and 0 <= status != _FAILED:
        return CommandUnstartedError(host, stderr, status)
    return _CLASSES[failure or Failure.OTHER](host, stderr)


def lost_error(host: str, stderr: str) -> ConnectionLostError:
    """The error for commands that ran over a connection which has broken."""
    return ConnectionLostError(host, stderr)


def session_error(host: str, reason: str) -> CommandUnstartedError:
    """The error for a command for which a standing connection could not open a session; nothing has been run."""
    return CommandUnstartedError(host, reason)


def unreported_error(host: str) -> CommandLostError:
    """The error for a command that has run, and whose end is known but not its status."""
    return CommandLostError(host)
