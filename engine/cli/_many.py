"""A command of ``exec`` on many hosts while it runs: output passed on, signals heard, and how it ended everywhere.

What hosts write goes through `_screen`, in worker threads; `_gathered` shows what is to be shown at the end. The rest
is as in all commands for hosts: see `_watching`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...actors.action import Action
from ...actors.process import Process, SshProcess
from ...protocols.substitutions import apply, parse
from ._broadcast import BroadcastInput
from ._gathered import View, show_gathered
from ._screen import STDERR, STDOUT, LineWriter
from ._watching import HostsWatch, Manner

if TYPE_CHECKING:
    from ...actors.connection_params import ConnectionParams
    from ...actors.host import Host

__all__ = ["Manner", "ManyRequest", "View", "run_on_hosts"]

_MOST_KEPT = 256 << 20  # bytes of output in memory, of all hosts together; more goes to files
_PREFIX_COLOUR = {STDOUT: (b"\x1b[34m", b"\x1b[0m"), STDERR: (b"\x1b[31m", b"\x1b[0m")}


@dataclass(frozen=True)
class ManyRequest:
    """What is to be done."""

    words: list[str]
    shell: bool
    """The words are one command line; or each is to arrive as it is."""
    hosts: Sequence[Host]
    params: ConnectionParams
    fanout: int
    reads_stdin: bool
    """Our stdin is for all of them."""
    view: View
    manner: Manner

    def command_for(self, host: Host) -> str | list[str]:
        """The command on *host*. Double braces, which a template of another program may have, are left alone."""
        words = [apply(parse(word), host.address, lambda text: f"{{{{{text}}}}}") for word in self.words]
        return " ".join(words) if self.shell else words


def run_on_hosts(request: ManyRequest) -> int:
    """Run the command on all hosts, to its end, and return the exit code."""
    return ManyWatch(request).watch()


class ManyWatch(HostsWatch):
    """One command on many hosts."""

    def __init__(self, request: ManyRequest) -> None:
        super().__init__("exec", request.manner)
        self._request = request
        self._input = BroadcastInput(self._take_fault) if request.reads_stdin else None
        self.action = Action(fanout=request.fanout, name=" ".join(request.words))
        self.action.processes = [self._process(host) for host in request.hosts]

    def _process(self, host: Host) -> Process:
        request, view = self._request, self._request.view
        keeps = (view.keeps_stdout or request.manner.as_json, view.keeps_stderr or request.manner.as_json)
        options: dict[str, Any] = {f"nolog_{what}": True for what in ("exit_code", "timeout", "error", "write_error")}
        options |= {"default_stdout_handler": keeps[0], "default_stderr_handler": keeps[1]}
        options["output_limit"] = max(1 << 14, min(1 << 24, _MOST_KEPT // len(request.hosts) // 2))
        for name, fd, kept, directory in (
            ("stdout", STDOUT, keeps[0], view.outdir),
            ("stderr", STDERR, keeps[1], view.errdir),
        ):
            if not kept or directory is not None:
                path = None if directory is None else directory / host.address
                screen = None if kept else self._screen
                prefix = _prefix(host.address, fd, view)
                options[f"{name}_handlers"] = [LineWriter(screen, fd, prefix, path, self._take_fault)]
        return SshProcess(
            request.command_for(host),
            host,
            request.params,
            timeout=request.manner.timeout,
            lifecycle_handlers=[self],
            **options,
        )

    def start(self, process: Any) -> None:
        """One has started. In a worker."""
        if self._input is None:
            process.close_stdin()
        else:
            self._input.feed(process)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._input is not None:
            self._input.begin(loop)

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()

    def _show(self) -> None:
        show_gathered(self.action.processes, self._request.view, lambda data: self._screen.write(STDOUT, data))

    def _summary(self) -> dict[str, Any]:
        facts, view = super()._summary(), self._request.view
        if view.gather:
            groups = self.action.gathered("both" if view.both else "stdout")
            facts["groups"] = [
                {**group._asdict(), "text": group.text.encode(errors="surrogateescape")} for group in groups
            ]
        return facts


def _prefix(host: str, fd: int, view: View) -> bytes:
    """What stands before each line that *host* writes."""
    if not view.prefix:
        return b""
    before, after = _PREFIX_COLOUR[fd] if view.colour else (b"", b"")
    return before + host.encode(errors="surrogateescape") + b":" + after + b" "
