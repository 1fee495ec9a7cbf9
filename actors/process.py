"""Processes: what they are, who is told of them, and what they have said.

===================  ===========================================================
in                   is
===================  ===========================================================
`_process`           `Process`: the handle of a command on this machine
`_ssh_process`       `SshProcess`: that of a command on another host; `get_process`
`_taktuk_process`    `TaktukProcess`: the same, by TakTuk
`_process_base`      what all kinds of processes have in common
`port_forwarder`     `PortForwarder`: a port here that leads to one another host can reach
`serial`             `Serial`, `SerialSsh`: a serial port, here or on another host, as a process
`_handlers`          who is told of starts, ends and output
`_expect`            waiting for what is written
`_streams`           what has been written
`_process_rule`      the life of a process as a pure rule
`_process_actor`     the actor that leads it
`_process_log`       what the journal is told
===================  ===========================================================

Nothing is defined here: this module hands on the names.
"""

from __future__ import annotations

from ..protocols.messages import STDERR, STDOUT
from ._expect import ExpectOutputHandler
from ._handlers import ProcessLifecycleHandler, ProcessOutputHandler, stream_name
from ._process import Process
from ._process_base import ProcessBase
from ._ssh_process import SshProcess, get_process
from ._taktuk_process import TaktukProcess
from .port_forwarder import PortForwarder
from .serial import Serial, SerialSsh

__all__ = [
    "STDERR",
    "STDOUT",
    "ExpectOutputHandler",
    "PortForwarder",
    "Process",
    "ProcessBase",
    "ProcessLifecycleHandler",
    "ProcessOutputHandler",
    "Serial",
    "SerialSsh",
    "SshProcess",
    "TaktukProcess",
    "get_process",
    "stream_name",
]
