"""The processes of transfers: one for each host, with the states and handlers of any other.

What runs on the host for one of them are commands of its own (see `_transfer_actor`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..protocols.command import str_from_cmdline
from ..protocols.ssh import scp_location
from ..protocols.transfer import Target
from ._process import Process
from ._process_base import QUIET
from ._redirect import FileOutput
from ._ssh_process import SshProcess
from ._transfer_actor import PutActor
from ._transfer_get import Claims, GetActor
from ._transfer_received import told_total

if TYPE_CHECKING:
    import os

    from ._process_actor import ProcessActor
    from ._redirect import FileInput
    from ._run import Run
    from ._transfer_source import TransferSource
    from .connection_params import AnyConnectionParams
    from .host import HostLike

__all__ = ["GetProcess", "Progress", "PutProcess", "TransferProcess"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is, in bytes of the files' contents."""

    done: int
    """What has been given to the connections; a little of it may still be on its way."""
    total: int | None
    """All that there is; None: it is not known yet."""


class TransferProcess(SshProcess):
    """The transfer to or from one host.

    Args:
        words: what it does, for people and the log.
        host, connection_params, kwargs: see `SshProcess`.
        retries: how often to go on after a connection has broken.
        transfer: "scp": by that program; "tar": never by scp; None: by scp where the host has no tar.
    """

    _command_class: ClassVar[type[SshProcess]] = SshProcess

    def __init__(
        self,
        words: Sequence[str],
        host: HostLike,
        connection_params: AnyConnectionParams = None,
        retries: int = 2,
        transfer: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.retries = retries
        self.transfer = transfer
        self._own_words = words
        super().__init__(words, host, connection_params, **{**kwargs, "pty": False})
        self._done = 0
        self._total: int | None = None
        self._current: tuple[FileInput | FileOutput, float] | None = None

    @property
    def progress(self) -> Progress:
        """How far it is. Thread-safe, and cheap."""
        current, done = self._current, self._done
        if self._total is None and current is not None:
            self._total = self._told_total(current[0])
        if current is not None:
            done += round(current[0].taken * current[1])
        return Progress(done if self._total is None else min(done, self._total), self._total)

    def _told_total(self, current: FileInput | FileOutput) -> int | None:
        """What *current* tells by now of the size of all."""
        return None

    def _note(
        self,
        done: int | None = None,
        current: FileInput | FileOutput | None = None,
        rate: float = 0,
        *,
        total: int | None = None,
    ) -> None:
        """*done* bytes have been transferred, and what goes through *current* counts, each byte as *rate* bytes."""
        self._current = None if current is None else (current, rate)
        self._done = self._done if done is None else done
        self._total = self._total if total is None else total

    @property
    def cmd(self) -> Sequence[str]:
        """What it does, in words; the commands that it runs on the host for that are in the log."""
        return tuple(self._own_words)

    @cmd.setter
    def cmd(self, cmd: str | Sequence[str]) -> None:
        if cmd:  # none is what the constructor of all processes gives
            raise AttributeError("what a transfer does follows from its files and hosts: make another one")

    def _argv(self) -> Sequence[str]:
        return self._own_words

    def _new_run(self) -> Run:
        self._done, self._total, self._current = 0, None, None
        return super()._new_run()

    def _scp(self) -> Process:
        """The program scp in our place."""
        raise NotImplementedError

    def _scp_of(self, sources: Sequence[str], target: str) -> Process:
        words = self._params.for_host(self.host).scp_words()
        return Process([*words, "--", *sources, target], name=self.name, env=self.env, cwd=self.cwd, **QUIET)

    def _scp_place(self, path: str) -> str:
        """*path* on the host, as scp writes it."""
        return scp_location(self._params.address(self.host), path)

    def _command(self, script: str, timeout: float | None) -> SshProcess:
        """A command on the host for this transfer."""
        return self._command_class(
            script,
            self.host,
            self._params,
            timeout=timeout,
            pty=False,
            name=self.name,
            env=self.env,
            cwd=self.cwd,
            **QUIET,
        )


class PutProcess(TransferProcess):
    """Sends files to one host.

    Args:
        source: the files; shared by all hosts that get the same.
        destination: on the host.
        create_dirs: make the destination, a directory, where it is not there.
    """

    def __init__(
        self,
        source: TransferSource,
        destination: str | os.PathLike[str],
        host: HostLike,
        connection_params: AnyConnectionParams = None,
        *,
        create_dirs: bool = False,
        **kwargs: Any,
    ) -> None:
        self.source = source
        self.destination = destination
        self.create_dirs = create_dirs
        super().__init__(self._words(), host, connection_params, **kwargs)

    def _give(self, source: TransferSource, destination: str) -> None:
        """Other files, or another place, before the start."""
        self.source, self.destination = source, destination
        self._own_words = self._words()
        self.remote_cmd = str_from_cmdline(self._own_words)

    def _words(self) -> list[str]:
        names = [name.decode(errors="surrogateescape") for name in self.source.names]
        return ["put", *names, str(self.destination)]

    def _make_actor(self, run: Run) -> ProcessActor:
        names = self.source.names
        target = Target(
            secrets.token_hex(8),
            str(self.destination).encode(errors="surrogateescape"),
            several=len(names) != 1,
            create=self.create_dirs,
            name=self.source.base_name(names[0]) if len(names) == 1 else b"",
        )
        return self._actor_of(run, target)

    def _actor_of(self, run: Run, target: Target) -> ProcessActor:
        return PutActor(run, target)

    def _scp(self) -> Process:
        names = [name.decode(errors="surrogateescape") for name in self.source.names]
        return self._scp_of(names, self._scp_place(str(self.destination)))


class GetProcess(TransferProcess):
    """Fetches files from one host.

    Args:
        names: of files and directories on the host, or patterns.
        location: where they go here.
        claims: shared by all hosts of an action.
        create_dirs: make the location, a directory, where it is not there.
        checksum: compare contents.
    """

    def __init__(
        self,
        names: Sequence[str],
        location: str,
        host: HostLike,
        connection_params: AnyConnectionParams = None,
        *,
        claims: Claims,
        create_dirs: bool = False,
        checksum: bool = False,
        **kwargs: Any,
    ) -> None:
        self.names = names
        self.location = location
        self.claims = claims
        self.create_dirs = create_dirs
        self.checksum = checksum
        super().__init__(["get", *names, location], host, connection_params, **kwargs)

    def _give(self, names: Sequence[str], location: str, claims: Claims) -> None:
        """Other files, or another place, before the start."""
        self.names, self.location, self.claims = names, location, claims
        self._own_words = ["get", *names, location]
        self.remote_cmd = str_from_cmdline(self._own_words)

    def _make_actor(self, run: Run) -> ProcessActor:
        return GetActor(run)

    def _told_total(self, current: FileInput | FileOutput) -> int | None:
        return told_total(current) if isinstance(current, FileOutput) else None

    def _scp(self) -> Process:
        return self._scp_of([self._scp_place(name) for name in self.names], self.location)
