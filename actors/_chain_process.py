"""The process of one host of a `ChainPut`, and what it tells of its hop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._chain_actor import ChainActor
from ._transfer_process import PutProcess

if TYPE_CHECKING:
    import os

    from ..protocols.transfer import Target
    from ._chain_leader import ChainLeader
    from ._process_actor import ProcessActor
    from ._run import Run
    from ._transfer_source import TransferSource
    from .connection_params import AnyConnectionParams
    from .host import HostLike

__all__ = ["ChainProcess", "HopReport"]


@dataclass(slots=True)
class HopReport:
    """How the files came to one host. It grows while they do."""

    kind: str = "python3"
    """What took them there: "python3": a hop of the chain. Or, where there is none (from 3.6 on), the program by which
    the host has connected to a hop: "bash", "perl", "nc". Or, where there is none of these, "put"; and "scp"
    where there is no tar: then all came over its own connection."""
    sources: list[str] = field(default_factory=list)
    """From whom they came, in order: names of hosts, "head" (this machine), "connection" (this machine, over the
    connection of commands)."""
    placed: bool = False
    """All is checked and in its place there. The process may go on after that, for others take from its host."""
    remarks: list[str] = field(default_factory=list)
    """Such as that it was too slow for others to wait for it."""


class ChainProcess(PutProcess):
    """Has one host get the files from the chain.

    Args:
        leader: of the chain.
        rank: the place of the host among all.
        args, kwargs: see `PutProcess`.
    """

    def __init__(
        self,
        leader: ChainLeader,
        rank: int,
        source: TransferSource,
        destination: str | os.PathLike[str],
        host: HostLike,
        connection_params: AnyConnectionParams = None,
        **kwargs: Any,
    ) -> None:
        self.leader = leader
        self.rank = rank
        self.hop = HopReport()
        """How the files came to the host."""
        super().__init__(source, destination, host, connection_params, **kwargs)

    def _new_run(self) -> Run:
        self.hop = HopReport()
        return super()._new_run()

    def _words(self) -> list[str]:
        return ["chain-put", *super()._words()[1:]]

    def _actor_of(self, run: Run, target: Target) -> ProcessActor:
        return ChainActor(run, target)
