"""Processes: what they are, who is told of them, and what they have said.

===================  ===========================================================
in                   is
===================  ===========================================================
`_process`           `Process`: the handle of a command on this machine
`_process_base`      what all kinds of processes have in common
`serial`             `Serial`: a serial port as a process
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
from .serial import Serial

__all__ = [
    "STDERR",
    "STDOUT",
    "ExpectOutputHandler",
    "Process",
    "ProcessBase",
    "ProcessLifecycleHandler",
    "ProcessOutputHandler",
    "Serial",
    "stream_name",
]
