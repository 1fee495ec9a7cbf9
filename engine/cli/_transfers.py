"""A ``put`` or ``get`` while it runs; what is the same for all commands for hosts is in `_watching`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...actors.chain_put import ChainPut
from ...actors.connection_errors import HostConnectionError
from ...actors.transfer import Get, Put
from ...protocols.gathering import with_placeholders
from ...protocols.ssh import words
from ...protocols.transfer import CREATE_HINT
from ._outcome import Outcome, Status, outcome_of
from ._watching import HostsWatch, Manner

if TYPE_CHECKING:
    from ...actors.connection_params import ConnectionParams
    from ...actors.host import Host

__all__ = ["run_get", "run_put"]

# Words of ours, of tar and of scp; what else is there may be those of start-up files, or of ssh.
_TELLING = re.compile(r"^(?:regisseur: |(?=(?:bsd)?tar: (?!.* previous errors)|scp: ))(.+)", re.MULTILINE)
_MOST_TOLD = 20  # lines of a host


def run_put(
    hosts: Sequence[Host],
    files: list[str],
    place: str,
    params: ConnectionParams,
    manner: Manner,
    settings: Mapping[str, Any],
    *,
    chain: bool,
) -> int:
    """Copy *files* to *place* on all hosts, and return the exit code.

    Args:
        settings: further arguments of `Put`.
        chain: do it by a `ChainPut`.
    """
    watch = _TransferWatch("put", manner, params)
    watch.action = (ChainPut if chain else Put)(
        hosts, files, place, params, process_args=watch.process_args, **settings
    )
    return watch.watch()


def run_get(
    hosts: Sequence[Host],
    files: list[str],
    place: str,
    params: ConnectionParams,
    manner: Manner,
    settings: Mapping[str, Any],
) -> int:
    """Copy *files* of all hosts to *place*, and return the exit code.

    Args:
        settings: further arguments of `Get`.
    """
    watch = _TransferWatch("get", manner, params)
    watch.action = Get(hosts, files, place, params, process_args=watch.process_args, **settings)
    return watch.watch()


class _TransferWatch(HostsWatch):
    """A transfer from its start to its end."""

    action: Put | Get

    def __init__(self, command: str, manner: Manner, params: ConnectionParams) -> None:
        super().__init__(command, manner)
        self._connector = words(params.ssh)[0]

    @property
    def process_args(self) -> dict[str, Any]:
        """For each process of the action."""
        quiet = {f"nolog_{what}": True for what in ("exit_code", "timeout", "error", "write_error")}
        return {**quiet, "lifecycle_handlers": [self], "timeout": self._manner.timeout}

    def _outcome(self, process: Any) -> Outcome:
        found = outcome_of(process, self._manner.timeout, stopped=self._stopped)
        if found.status is Status.UNREACHABLE and not self._is_no_way(process.error_reason):
            return found._replace(status=Status.FAILED)  # files of this machine, or of the host
        said = self._said(process.stderr.strip()) if found.status is Status.FAILED else []
        if not said:
            return found
        text, *more = [with_placeholders(found.host, line.replace(CREATE_HINT, "(-p makes it)")) for line in said]
        return found._replace(text=text, more=tuple(more))

    def _said(self, stderr: str) -> list[str]:
        """What of it tells why it failed. A `Get` goes on when something is missing, so that there may be more."""
        lines = list(dict.fromkeys(_TELLING.findall(stderr))) if isinstance(self.action, Get) else []
        if len(lines) > _MOST_TOLD:
            lines[_MOST_TOLD:] = [f"and {len(lines) - _MOST_TOLD} more such messages; --json has all of them"]
        return lines or [line.removeprefix("regisseur: ") for line in stderr.split("\n")[-1:] if line]

    def _is_no_way(self, reason: object) -> bool:
        """Whether *reason* is one not to have reached the host."""
        if isinstance(reason, OSError):
            return bool(reason.filename == self._connector)
        return isinstance(reason, HostConnectionError)

    def _facts(self, process: Any, outcome: Outcome) -> dict[str, Any]:
        facts = super()._facts(process, outcome)
        del facts["stdout"]
        hop = getattr(process, "hop", None)
        if hop is not None:
            facts |= {"kind": hop.kind, "sources": hop.sources, "remarks": hop.remarks}
        return {**facts, "bytes": process.progress.done}

    def _summary(self) -> dict[str, Any]:
        return {**super()._summary(), "bytes": self.action.progress.done}

    def _status(self) -> str:
        done, total = self.action.progress.done, self.action.progress.total
        size = f"{done / 1e6:.1f}" if total is None else f"{done / 1e6:.1f} of {total / 1e6:.1f}"
        return f"{super()._status()}, {size} MB"
