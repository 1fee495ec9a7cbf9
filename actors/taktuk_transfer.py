"""TaktukPut and TaktukGet: files to and from very many hosts, over the trees of TakTuk's that commands use too.

A `TaktukPut` sends what all hosts get over each connection of the tree once. docs/taktuk.md has more.

==================  ============================================================
in                  is
==================  ============================================================
`_taktuk_transfer`  the processes, and the actors of their commands on hosts
`_taktuk_feed`      files that are given to many nodes at the same time
==================  ============================================================
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import ClassVar, Self

import pykka

from ..protocols.substitutions import HOST
from ._taktuk_feed import Broadcast, BroadcastSource
from ._taktuk_transfer import TaktukGetProcess, TaktukPutProcess
from ._transfer_process import GetProcess, PutProcess
from ._transfer_source import TransferSource
from .host import Host
from .remote import Remote
from .runtime import current_runtime
from .transfer import Get, Put

__all__ = ["TaktukGet", "TaktukPut"]

_VARIABLE = re.compile(r"\$host\b|\$\{host\}")


class _TaktukNames(Remote):
    """Takes what TakTuk itself, and so Execo, calls a host in paths, too."""

    def _substituted(self, text: str, hosts: Sequence[Host], index: int) -> str:
        return super()._substituted(_VARIABLE.sub(HOST, text), hosts, index)


class TaktukPut(_TaktukNames, Put):
    """Copy files and directories to each of *hosts*, by TakTuk: a `Put` for very many hosts.

    What several hosts get goes over each connection of their tree once, as fast as the slowest of them takes it; one
    that takes nothing for half a minute fails by itself, and so does one that is lost, if it can not be reached again.

    Args:
        hosts, local_files, remote_location, connection_params, create_dirs, checksum, retries, transfer, process_args,
            kwargs: see `Put`; docs/taktuk.md has the connection parameters. In paths ``$host`` is ``{{{host}}}``.
    """

    _process_class: ClassVar[type[PutProcess]] = TaktukPutProcess
    _source_class: ClassVar[type[TransferSource]] = BroadcastSource

    def start(self) -> Self:
        """Start it, and return at once; see `Action.start`."""
        together: dict[Broadcast, list[object]] = {}
        for process in self.processes:
            if isinstance(process, TaktukPutProcess):
                together.setdefault(process.source.broadcast, []).append(process)
        runtime = current_runtime()

        def expect() -> None:
            for broadcast, processes in together.items():
                broadcast.expect(processes, self.fanout)

        def forget() -> None:
            for broadcast, processes in together.items():
                broadcast.forget(runtime, processes)

        def over(_: object) -> None:
            with contextlib.suppress(pykka.ActorDeadError):  # the runtime has been stopped
                runtime.bus.call(forget)

        if not self.started:
            runtime.bus.call(expect)
        super().start()
        self._run.done.add_done_callback(over)
        return self


class TaktukGet(_TaktukNames, Get):
    """Copy files and directories from each of *hosts*, by TakTuk: a `Get` for very many hosts.

    All of it passes through the root of the tree, so that `Get` is faster for large files.

    Args:
        hosts, remote_files, local_location, connection_params, create_dirs, checksum, retries, transfer, process_args,
            kwargs: see `Get`; docs/taktuk.md has the connection parameters. In paths ``$host`` is ``{{{host}}}``.
    """

    _process_class: ClassVar[type[GetProcess]] = TaktukGetProcess
