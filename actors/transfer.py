"""Put and Get: files to and from many hosts, as one action.

One process for each host, as in a `Remote`. The files go over the connections that commands use too.

===================  ===========================================================
in                   is
===================  ===========================================================
`_transfer_process`  the process of one host
`_transfer_actor`    the actor that leads it
`_transfer_rule`     the course of it, as a pure rule
`_transfer_source`   the local files, in the steps in which they are sent
===================  ===========================================================

protocols/transfer.py has what runs on the hosts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._transfer_process import Progress, PutProcess, TransferProcess
from ._transfer_source import TransferSource
from .connection_params import AnyConnectionParams, ConnectionParams
from .exception import ConfigurationError
from .host import Host, Hosts
from .remote import Remote

__all__ = ["Progress", "Put"]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""One path or several."""

_WAYS = (None, "tar", "scp")


class Transfer(Remote):
    """What transfers have in common. Not to be made itself."""

    def __init__(
        self,
        hosts: Hosts,
        connection_params: AnyConnectionParams,
        process_args: Mapping[str, Any] | None,
        retries: int,
        **kwargs: Any,
    ) -> None:
        self.retries = retries
        super().__init__("", hosts, connection_params, process_args, **kwargs)

    @property
    def progress(self) -> Progress:
        """How far it is, over all hosts; each process has its own. Thread-safe, and cheap."""
        all_of_them = [process.progress for process in self.processes if isinstance(process, TransferProcess)]
        totals = [progress.total for progress in all_of_them if progress.total is not None]
        total = sum(totals) if len(totals) == len(all_of_them) else None
        return Progress(sum(progress.done for progress in all_of_them), total)


class Put(Transfer):
    """Copy files and directories to each of *hosts*, with their modes and times.

    A single file takes the name *remote_location* where that is no directory there; else files go into it. Directories
    are merged into those that are there; files replace others of their name, each at once and when it is complete.
    Links within directories stay links.

    Args:
        hosts: one or several, as for `Remote`.
        local_files: paths of files and directories, one or several. What is missing is an `error` of the processes,
            before anything is sent.
        remote_location: where they go; relative to the home directory there.
        connection_params: see `Remote`.
        create_dirs: *remote_location* is a directory, which is made where it is not there.
        checksum: compare the content of what has arrived, too, before it is moved to its place (sizes always are).
        retries: how often to go on, where it was, after a connection has broken.
        transfer: "scp": have that program do it (with the connection parameters scp and scp_options); "tar": never;
            None: only for hosts that have no tar.
        process_args: keyword arguments for each process, such as *timeout*.
        kwargs: see `Action`.

    There are substitutions in all paths, as in the command of a `Remote`.
    """

    def __init__(
        self,
        hosts: Hosts,
        local_files: Paths,
        remote_location: str | os.PathLike[str] = ".",
        connection_params: AnyConnectionParams = None,
        *,
        create_dirs: bool = False,
        checksum: bool = False,
        retries: int = 2,
        transfer: str | None = None,
        process_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if transfer not in _WAYS:
            raise ConfigurationError("Put", f"expected one of {_WAYS}, not {transfer!r}", "transfer")
        self.local_files = paths(local_files)
        self.remote_location = os.fspath(remote_location)
        self.create_dirs = create_dirs
        self.checksum = checksum
        self.transfer = transfer
        self._sources: dict[tuple[str, ...], TransferSource] = {}
        super().__init__(hosts, connection_params, process_args, retries, **kwargs)

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> PutProcess:
        return PutProcess(
            self._source(hosts, index),
            self._substituted(self.remote_location, hosts, index),
            hosts[index],
            params,
            create_dirs=self.create_dirs,
            transfer=self.transfer,
            retries=self.retries,
            **arguments,
        )

    def _source(self, hosts: Sequence[Host], index: int) -> TransferSource:
        names = tuple(self._substituted(name, hosts, index) for name in self.local_files)
        source = self._sources.get(names)
        if source is None:
            source = self._sources[names] = TransferSource(names, checksum=self.checksum)
        return source

    def _make_processes(self, hosts: list[Host]) -> None:
        self._sources = {}
        super()._make_processes(hosts)

    def reset(self) -> Any:
        """Kill it and wait if it runs, then return it to the state before the start; files are looked at anew."""
        self._sources = {}
        return super().reset()

    def _give_command(self, process: Any, index: int) -> None:
        location = self._substituted(self.remote_location, self._hosts, index)
        process._give(self._source(self._hosts, index), location)

    def _default_name(self) -> str:
        return f"Put to {len(self._hosts)} hosts"

    def _main_arguments(self) -> list[str]:
        return [self._shown_hosts(), repr(self.local_files), repr(self.remote_location)]


def paths(given: Paths) -> list[str]:
    """*given* as a list of texts; one alone will do."""
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    return [os.fspath(path) for path in given]
