"""Serial and SerialSsh: a serial port of this machine, or of another host, as a process."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from ._process import Process
from ._ssh_process import SshProcess
from .connection_params import AnyConnectionParams
from .host import HostLike

__all__ = ["Serial", "SerialSsh", "serial_command"]


def serial_command(device: str, speed: int) -> str:
    """The shell command that connects its stdin and stdout with the serial port *device*.

    The port is set to *speed* baud, 8 bits, no parity, one stop bit, no flow control, and to pass all bytes as they
    are. The command ends when nothing more can come from the port, for instance because the device was unplugged. At
    the end of its stdin it goes on reading.
    """
    port = shlex.quote(device)
    # The shell gives a background command /dev/null as stdin, so the writing side, which needs ours, gets it as 3.
    return (
        f"stty -F {port} {int(speed)} raw cs8 -parenb -cstopb -crtscts clocal -echo -echoe -echok && exec 3<&0 && "
        f"{{ cat <&3 >{port} & writer=$!; cat {port} <&-; status=$?; kill $writer 2>/dev/null; exit $status; }}"
    )


class Serial(Process):
    """A serial port: what is written to the process goes to the port, what comes from the port is its stdout.

    Args:
        device: path of the port, such as ``/dev/ttyUSB0``.
        speed: baud, one that stty(1) knows.
        kwargs: see `Process`.
    """

    _shown: ClassVar[dict[str, Any]] = {name: value for name, value in Process._shown.items() if name != "shell"}

    def __init__(self, device: str, speed: int, **kwargs: Any) -> None:
        self.device = device
        self.speed = speed
        super().__init__(serial_command(device, speed), shell=True, **kwargs)

    def _arguments(self) -> list[str]:
        return [repr(self.device), repr(self.speed)]


class SerialSsh(SshProcess):
    """A serial port of another host: what is written to the process goes to the port, and the other way round.

    Args:
        host, connection_params, kwargs: see `SshProcess`.
        device: path of the port on the host, such as ``/dev/ttyUSB0``.
        speed: baud, one that stty(1) knows.
    """

    def __init__(
        self, host: HostLike, device: str, speed: int, connection_params: AnyConnectionParams = None, **kwargs: Any
    ) -> None:
        self.speed = speed
        self.device = device
        super().__init__(serial_command(device, speed), host, connection_params, **kwargs)

    def connect_to(self, device: str) -> None:
        """Take another port of the host. Before the start."""
        self.device = device
        self.remote_cmd = serial_command(device, self.speed)

    def _arguments(self) -> list[str]:
        return [repr(self.host), repr(self.device), repr(self.speed)]
