"""Serial: a serial port of this machine as a process."""

from __future__ import annotations

import shlex
from typing import Any

from .process import Process

__all__ = ["Serial", "serial_command"]


def serial_command(device: str, speed: int) -> str:
    """The shell command that connects its stdin and stdout with the serial port *device*.

    The port is set to *speed* baud, 8 bits, and to pass all bytes as they are.
    When one direction ends, for instance because the device was unplugged, so does the command.
    """
    port = shlex.quote(device)
    # The shell gives a background command /dev/null as stdin, so the writing side, which needs ours, gets it as 3.
    return (
        f"stty -F {port} {int(speed)} raw -echo -echoe -echok && exec 3<&0 && "
        f"{{ cat {port} & reader=$!; cat <&3 >{port} & writer=$!; "
        "wait $writer; wait $reader; kill $reader $writer 2>/dev/null; }"
    )


class Serial(Process):
    """A serial port: what is written to the process goes to the port, what comes from the port is its stdout.

    Args:
        device: path of the port, such as ``/dev/ttyUSB0``.
        speed: baud, one that stty(1) knows.
        kwargs: see `Process`.
    """

    def __init__(self, device: str, speed: int, **kwargs: Any) -> None:
        self.device = device
        self.speed = speed
        super().__init__(serial_command(device, speed), shell=True, **kwargs)
