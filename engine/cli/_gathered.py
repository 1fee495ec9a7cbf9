"""What is shown when all have ended: output gathered, in the order of hosts, or as differences."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...actors.gathering import (
    HostGroup,
    LargeGroup,
    StreamName,
    gather_large_output,
    gather_output,
    gather_output_lines,
)
from ...protocols.gathering import SHORT_NAME, with_placeholders
from ...protocols.substitutions import HOST

if TYPE_CHECKING:
    from ...actors.process import Process

__all__ = ["View", "show_gathered"]


@dataclass(frozen=True)
class View:
    """How output is to be shown."""

    gather: bool = False
    """Equal outputs once, at the end."""
    both: bool = False
    """stderr, too, at the end."""
    by_line: bool = False
    """Line by line behind the names of hosts, at the end."""
    diff: bool = False
    """Only what differs from what most hosts wrote."""
    prefix: bool = True
    colour: bool = False
    outdir: Path | None = None
    errdir: Path | None = None

    @property
    def keeps_stdout(self) -> bool:
        """Whether it is shown at the end, rather than as it comes."""
        return self.gather or self.by_line or self.diff

    @property
    def keeps_stderr(self) -> bool:
        """Whether it is shown at the end, rather than as it comes."""
        return self.both


def show_gathered(processes: Sequence[Process], view: View, write: Callable[[bytes], None]) -> None:
    """Show what was kept for the end.

    Args:
        write: takes lines.
    """
    if not view.keeps_stdout:
        return
    stream: StreamName = "both" if view.both else "stdout"
    if view.diff:
        shown = _differences(gather_output([p for p in processes if p.started and not p.error], stream), view)
    elif not view.gather:
        shown = _by_host(processes, stream, view)
    elif view.by_line:
        shown = _by_line(gather_output_lines(processes, stream), view)
    else:
        _show_blocks(processes, stream, view, write)
        return
    for text in shown:
        write(text.encode(errors="surrogateescape"))


def _show_blocks(processes: Sequence[Process], stream: StreamName, view: View, write: Callable[[bytes], None]) -> None:
    """Show each group below a head; what is in files comes from there piece by piece."""
    large, others = gather_large_output(processes, stream)
    groups: list[HostGroup | LargeGroup] = [*large, *(group for group in gather_output(others, stream) if group.text)]
    for group in sorted(groups, key=lambda group: -len(group.hosts)):
        if view.prefix:
            head = str(HostGroup(group.nodeset, group.hosts, "")).removesuffix("\n")
            write((_coloured(head, view, "34") + "\n").encode(errors="surrogateescape"))
        last = b""
        for chunk in _pieces(group):
            write(chunk)
            last = bytes(chunk[-1:])
        if last != b"\n":
            write(b"\n")


def _pieces(group: HostGroup | LargeGroup) -> Iterable[bytes]:
    return group.chunks() if isinstance(group, LargeGroup) else [group.text.encode(errors="surrogateescape")]


def _by_line(lines: Iterable[list[HostGroup]], view: View) -> Iterator[str]:
    for groups in lines:
        for group in groups:
            yield _labelled(group.nodeset, view) + group.text + "\n"


def _by_host(processes: Sequence[Process], stream: StreamName, view: View) -> Iterator[str]:
    for process in processes:
        assert process.host is not None
        label = _labelled(process.host.address, view)
        for groups in gather_output_lines([process], stream, own_names=False):
            yield f"{label}{groups[0].text}\n"


def _differences(groups: Sequence[HostGroup], view: View) -> Iterator[str]:
    """A unified diff of each group against the largest."""
    if not groups:
        return
    most = groups[0]
    neutral = HOST in most.text or SHORT_NAME in most.text
    for group in groups[1:]:
        text = with_placeholders(group.hosts[0], group.text) if neutral and len(group.hosts) == 1 else group.text
        before, after = (f"{one.nodeset} ({len(one.hosts)})" for one in (most, group))
        for line in difflib.unified_diff(_lines(most.text), _lines(text), before, after, lineterm=""):
            yield _coloured(line, view, {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")) + "\n"


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _labelled(name: str, view: View) -> str:
    return _coloured(f"{name}:", view, "34") + " " if view.prefix else ""


def _coloured(text: str, view: View, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if view.colour and code else text
