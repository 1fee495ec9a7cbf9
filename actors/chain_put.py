"""ChainPut: files to many hosts, each of which takes them from the one before it.

===================  ===========================================================
in                   is
===================  ===========================================================
`_chain_hop`         the program that runs on the hosts, and here as the head
`_chain_program`     its text, as it is sent
`_chain_process`     the process of one host; what it tells of its hop
`_chain_actor`       the actor that leads it
`_chain_leader`      who leads all hops of a chain
===================  ===========================================================

Who takes from whom is in protocols/chain.py. What is sent is what `Put` sends (`_transfer_source`), and the scripts
that unpack and check it are the same (protocols/transfer.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ._chain_leader import ChainLeader
from ._chain_process import ChainProcess, HopReport
from ._transfer_process import PutProcess
from ._transfer_source import TransferSource
from .connection_params import AnyConnectionParams, ConnectionParams
from .exception import ConfigurationError
from .host import Host, Hosts, get_unique_hosts_list
from .transfer import Paths, Put

__all__ = ["ChainPut", "HopReport"]

_HEADS = (None, "tcp", "ssh")


class ChainPut(Put):
    """Copy files and directories to each of *hosts*, with their modes and times, through a chain of all hosts.

    Each host passes on what it has got while it gets the rest, so that it takes hardly longer to send something to
    many hosts than to one. What arrives, where, and how it is told is as with `Put`, and so are the arguments; a host
    that is named several times gets the files once. Each block is checked by every host (CRC-32), and comes again from
    another one if it is not as it was sent; with *checksum* files are compared by SHA-256 too, when they are there.

    The hosts connect to each other, to a port that they choose. Only hosts of this action get anything from there, but
    the bytes are not encrypted on their way from host to host.

    Who is dead, or slow, is cut out, and the others go on where they were. A process ends when its host has everything
    and no other takes from it; ``process.hop`` tells how the files came to it (`HopReport`).

    Args:
        hosts, local_files, remote_location, connection_params: see `Put`.
        head: how this machine sends to the first host (and to those that no other can): "ssh": over the connections
            of commands, encrypted; "tcp": to who connects to a port that it opens, as between hosts; None: by tcp
            where a host and this machine see each other by private addresses, else by ssh.
        kwargs: see `Put`.
    """

    def __init__(
        self,
        hosts: Hosts,
        local_files: Paths,
        remote_location: str | os.PathLike[str] = ".",
        connection_params: AnyConnectionParams = None,
        *,
        head: str | None = None,
        **kwargs: Any,
    ) -> None:
        if head not in _HEADS:
            raise ConfigurationError(type(self).__name__, f"expected one of {_HEADS}", "head")
        self._head = head
        super().__init__(hosts, local_files, remote_location, connection_params, **kwargs)

    def _make_processes(self, hosts: list[Host]) -> None:
        super()._make_processes(get_unique_hosts_list(hosts))

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> PutProcess:
        source = self._source(hosts, index)
        location = self._substituted(self.remote_location, hosts, index)
        options = {**self._options, **arguments}
        return ChainProcess(self._leader(source), index, source, location, hosts[index], params, **options)

    def _leader(self, source: TransferSource) -> ChainLeader:
        leader = self._leaders.get(id(source))
        if leader is None:
            leader = self._leaders[id(source)] = ChainLeader(source, self._head)
        return leader

    def _forget(self) -> None:
        super()._forget()
        self._leaders: dict[int, ChainLeader] = {}

    def _give_command(self, process: Any, index: int) -> None:
        super()._give_command(process, index)
        process.leader = self._leader(process.source)
