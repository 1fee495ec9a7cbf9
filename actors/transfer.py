"""Put and Get: files to and from many hosts, as one action.

One process for each host, as in a `Remote`. The files go over the connections that commands use too.

===================  ===========================================================
in                   is
===================  ===========================================================
`_transfer_process`  the process of one host
`_transfer_actor`    the actor that leads it, and that of `Put`
`_transfer_get`      that of `Get`
`_transfer_rule`     the courses of both, as pure rules
`_transfer_source`   the local files of a `Put`, in the steps in which they are sent
`_transfer_received` the stream that comes from a host, in pieces
`_transfer_unpack`   files out of it, to their places
===================  ===========================================================

protocols/transfer.py and transfer_get.py have what runs on the hosts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from ._transfer_errors import TransferError
from ._transfer_get import Claims
from ._transfer_process import GetProcess, Progress, PutProcess, TransferProcess
from ._transfer_source import TransferSource
from .connection_params import AnyConnectionParams, ConnectionParams
from .exception import ConfigurationError
from .host import Host, Hosts
from .remote import Remote

__all__ = ["Get", "Progress", "Put", "TransferError"]

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
        options: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        if options["transfer"] not in _WAYS:
            raise ConfigurationError(type(self).__name__, f"expected one of {_WAYS}", "transfer")
        self._options = options
        super().__init__("", hosts, connection_params, process_args, **kwargs)

    def _make_processes(self, hosts: list[Host]) -> None:
        self._forget()
        super()._make_processes(hosts)

    def reset(self) -> Self:
        """Kill it and wait if it runs, then return it to the state before the start; files are looked at anew."""
        self._forget()
        return super().reset()

    def _forget(self) -> None:
        """What the processes of one run share is of no use to the next."""
        raise NotImplementedError

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

    _process_class: ClassVar[type[PutProcess]] = PutProcess
    _source_class: ClassVar[type[TransferSource]] = TransferSource

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
        self.local_files = paths(local_files)
        self.remote_location = os.fspath(remote_location)
        self._checksum = checksum
        self._sources: dict[tuple[str, ...], TransferSource] = {}
        options = {"create_dirs": create_dirs, "retries": retries, "transfer": transfer}
        super().__init__(hosts, connection_params, process_args, options, **kwargs)

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> PutProcess:
        location = self._substituted(self.remote_location, hosts, index)
        options = {**self._options, **arguments}
        return self._process_class(self._source(hosts, index), location, hosts[index], params, **options)

    def start(self) -> Self:
        """Start it, and return at once; see `Action.start`."""
        sources = list(self._sources.values())

        def leave(_: object = None) -> None:
            for source in sources:
                source.leave()

        for source in sources:  # what is packed is kept for all hosts, though not all may start at once
            source.enter()
        try:
            super().start()
        except BaseException:
            leave()
            raise
        self._run.done.add_done_callback(leave)
        return self

    def _source(self, hosts: Sequence[Host], index: int) -> TransferSource:
        names = tuple(self._substituted(name, hosts, index) for name in self.local_files)
        source = self._sources.get(names)
        if source is None:
            source = self._sources[names] = self._source_class(names, checksum=self._checksum)
        return source

    def _forget(self) -> None:
        self._sources = {}

    def _give_command(self, process: Any, index: int) -> None:
        location = self._substituted(self.remote_location, self._hosts, index)
        process._give(self._source(self._hosts, index), location)

    def _default_name(self) -> str:
        return f"Put to {len(self._hosts)} hosts"

    def _main_arguments(self) -> list[str]:
        return [self._shown_hosts(), repr(self.local_files), repr(self.remote_location)]


class Get(Transfer):
    """Copy files and directories from each of *hosts*, with their modes and times.

    A single file takes the name *local_location* where that is no directory; else files go into it. Put ``{{{host}}}``
    into it to keep the files of hosts apart: where several write the same, the last counts, and a warning is logged.
    Names that are links are followed, links within directories stay links. Where some of the files are missing, or can
    not be read, the others come, and the process ends with 1 and says on stderr which. Nothing that a host sends gets
    anywhere else than to *local_location*, and nothing before all of it has come.

    Args:
        hosts: one or several, as for `Remote`.
        remote_files: paths of files and directories, or patterns as of the shell, one or several; relative to the home
            directory there.
        local_location: where they go.
        connection_params: see `Remote`.
        create_dirs: *local_location* is a directory, which is made where it is not there.
        checksum: compare the content of what has come with what is there, too.
        retries, transfer, process_args: see `Put`.
        kwargs: see `Action`.

    There are substitutions in all paths, as in the command of a `Remote`.
    """

    _process_class: ClassVar[type[GetProcess]] = GetProcess

    def __init__(
        self,
        hosts: Hosts,
        remote_files: Paths,
        local_location: str | os.PathLike[str] = ".",
        connection_params: AnyConnectionParams = None,
        *,
        create_dirs: bool = False,
        checksum: bool = False,
        retries: int = 2,
        transfer: str | None = None,
        process_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.remote_files = paths(remote_files)
        self.local_location = os.fspath(local_location)
        self._claims = Claims()
        options = {"create_dirs": create_dirs, "checksum": checksum, "retries": retries, "transfer": transfer}
        super().__init__(hosts, connection_params, process_args, options, **kwargs)

    def _make_process(
        self, hosts: Sequence[Host], index: int, params: ConnectionParams, arguments: Mapping[str, Any]
    ) -> GetProcess:
        names, location = self._places(hosts, index)
        options = {**self._options, **arguments}
        return self._process_class(names, location, hosts[index], params, claims=self._claims, **options)

    def _places(self, hosts: Sequence[Host], index: int) -> tuple[list[str], str]:
        names = [self._substituted(name, hosts, index) for name in self.remote_files]
        return names, self._substituted(self.local_location, hosts, index)

    def _forget(self) -> None:
        self._claims = Claims()

    def _give_command(self, process: Any, index: int) -> None:
        process._give(*self._places(self._hosts, index), self._claims)

    def _default_name(self) -> str:
        return f"Get from {len(self._hosts)} hosts"

    def _main_arguments(self) -> list[str]:
        return [self._shown_hosts(), repr(self.remote_files), repr(self.local_location)]


def paths(given: Paths) -> list[str]:
    """*given* as a list of texts; one alone will do.

    Raises:
        ValueError: one is empty, which would name a whole directory.
    """
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    names = [os.fspath(path) for path in given]
    if "" in names:
        raise ValueError(f"the path of a file cannot be empty, as one of these is: {names}")
    return names
