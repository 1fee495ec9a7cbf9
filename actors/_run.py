"""Run: one run of a process, shared by its handle and its actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .future import Future

if TYPE_CHECKING:
    from ._process_base import ProcessBase
    from ._process_rule import ProcessLife
    from ._streams import Stream

__all__ = ["Run"]


class Run:
    """One run of a process: made by its handle, changed by its actor alone, read by everybody."""

    __slots__ = (
        "address",
        "descendants",
        "done",
        "life",
        "lifecycle",
        "process",
        "runtime",
        "spawn",
        "spawned",
        "streams",
    )

    def __init__(self, process: ProcessBase, life: ProcessLife, streams: dict[int, Stream]) -> None:
        self.process = process
        self.life = life
        self.streams = streams
        self.lifecycle: list[Any] = []
        """Lifecycle handlers, as they were at the start."""
        self.spawn: dict[str, Any] = {}
        """Fields of the SpawnProcess message."""
        self.descendants = False
        """Whether signals go to all descendants too."""
        self.done: Future[Any] = Future()
        """Set to the handle when the run is over."""
        self.done.set_running_or_notify_cancel()  # so that who cancels a wait never cancels the run
        self.spawned: Future[int | None] = Future()
        """Set to the pid, or to None when it can not start."""
        self.runtime: Any = None
        """In which it runs; None before the start."""
        self.address = ""
        """Of its actor."""
