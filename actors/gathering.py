"""Gathering: what many hosts wrote, equal outputs as one, under a node set such as ``node[1-100]``.

`gathered` of an action or a report does it; which outputs are equal is decided in ``protocols.gathering``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from ..protocols.gathering import gather, gather_lines
from ..protocols.messages import STDERR, STDOUT

if TYPE_CHECKING:
    from ._output import Output
    from ._process import Process

__all__ = [
    "HostGroup",
    "LargeGroup",
    "OutputSource",
    "StreamName",
    "gather_large_output",
    "gather_output",
    "gather_output_lines",
]

StreamName: TypeAlias = Literal["stdout", "stderr", "both"]
"""Which output; "both": all of stdout, then all of stderr."""

_RULE = "-" * 15


class _Named(Protocol):
    @property
    def address(self) -> str: ...


class OutputSource(Protocol):
    """Whose output is gathered: a process."""

    @property
    def host(self) -> _Named | None:
        """Where it runs; None: here, so that it is left out."""

    @property
    def stdout(self) -> str:
        """What it has written so far."""

    @property
    def stderr(self) -> str:
        """What it has written so far."""


class HostGroup(NamedTuple):
    """Hosts that wrote the same."""

    nodeset: str
    """Their names, folded: ``node[1-100]``."""
    hosts: list[str]
    """Their names, in the order of the processes."""
    text: str
    """What each of them wrote, ``{{{host}}}`` standing for its own name where that is what they differ by."""

    def __str__(self) -> str:
        """The text, below a head that tells the hosts and how many they are."""
        count = f" ({len(self.hosts)})" if len(self.hosts) > 1 else ""
        return f"{_RULE}\n{self.nodeset}{count}\n{_RULE}\n{self.text}"


class LargeGroup(NamedTuple):
    """Hosts that wrote the same, which is too large for memory."""

    nodeset: str
    hosts: list[str]
    chunks: Callable[[], Iterator[bytes]]
    """Gives what they wrote, in pieces."""


def gather_output(
    processes: Iterable[OutputSource], stream: StreamName = "stdout", *, own_names: bool = True
) -> list[HostGroup]:
    """Return the groups of hosts that wrote the same, the largest first. Processes of this machine are left out.

    Args:
        processes: whose output; it may still come.
        stream: which output.
        own_names: take outputs for equal that differ only by the name of the host.

    Raises:
        ValueError: there is no such stream.
    """
    return _folded([gather(_outputs(processes, stream), own_names=own_names)])[0]


def gather_output_lines(
    processes: Iterable[OutputSource], stream: StreamName = "stdout", *, own_names: bool = True
) -> list[list[HostGroup]]:
    """Return the groups for each line of the output: of the first lines, the second lines, and so on.

    Args:
        processes, stream, own_names: as for `gather_output`. The texts of the groups are lines without their ends.

    Raises:
        ValueError: there is no such stream.
    """
    return _folded(gather_lines(_outputs(processes, stream), own_names=own_names))


def gather_large_output(
    processes: Iterable[Process], stream: StreamName = "stdout"
) -> tuple[list[LargeGroup], list[Process]]:
    """Gather outputs that went to files, since they are larger than the `output_limit` of their process.

    They are compared by their digests, byte by byte so to speak: names of hosts make a difference here.

    Returns:
        the groups; and the processes whose outputs are in memory, for `gather_output`.
    """
    from .nodeset import fold

    small: list[Process] = []
    alike: dict[tuple[str, ...], list[Process]] = {}
    for process in processes:
        outputs = _kept(process, stream)
        if process.host is not None and any(output.spooled for output in outputs):
            alike.setdefault(tuple(output.digest() for output in outputs), []).append(process)
        else:
            small.append(process)
    groups: list[LargeGroup] = []
    for members in alike.values():
        hosts = [process.host.address for process in members if process.host is not None]
        groups.append(LargeGroup(fold(hosts), hosts, functools.partial(_chunks, members[0], stream)))
    return groups, small


def _kept(process: Process, stream: str) -> list[Output]:
    streams = process._run.streams
    numbers = {"stdout": (STDOUT,), "stderr": (STDERR,), "both": (STDOUT, STDERR)}[stream]
    return [streams[number].output for number in numbers]


def _chunks(process: Process, stream: str) -> Iterator[bytes]:
    last = b"\n"
    for output in _kept(process, stream):
        if len(output) and last != b"\n":
            yield b"\n"
        for chunk in output.iter_chunks():
            last = bytes(chunk[-1:])
            yield chunk


def _folded(lines: Iterable[Iterable[tuple[list[str], str]]]) -> list[list[HostGroup]]:
    from .nodeset import fold  # here, since most programs gather nothing

    known: dict[tuple[str, ...], str] = {}  # mostly, the same hosts write the same in line after line
    folded: list[list[HostGroup]] = []
    for groups in lines:
        folded.append([])
        for hosts, text in groups:
            key = tuple(hosts)
            nodeset = known.get(key)
            if nodeset is None:
                nodeset = known[key] = fold(hosts)
            folded[-1].append(HostGroup(nodeset, hosts, text))
    return folded


def _outputs(processes: Iterable[OutputSource], stream: str) -> Iterator[tuple[str, str]]:
    if stream not in ("stdout", "stderr", "both"):
        raise ValueError(f"no stream {stream!r}: there are 'stdout', 'stderr' and 'both'")
    return ((process.host.address, _output(process, stream)) for process in processes if process.host is not None)


def _output(process: OutputSource, stream: str) -> str:
    if stream != "both":
        return process.stdout if stream == "stdout" else process.stderr
    first, second = process.stdout, process.stderr
    return first + "\n" + second if first and second and not first.endswith("\n") else first + second
