"""Waiting for what the processes of an action write, all of them within one time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._expect import ExpectOutputHandler, Match
from .time_utils import Timer

if TYPE_CHECKING:
    from ._process_base import ProcessBase

__all__ = ["expect_each", "expect_with"]

_NO_MATCH: Match = (None, None)


def _left(timer: Timer) -> float | None:
    """The seconds that may still be waited; None: without limit."""
    left = timer.remaining()
    return None if left is None else max(0.0, left)


def expect_each(
    processes: Sequence[ProcessBase],
    patterns: Sequence[re.Pattern[str]],
    timeout: float | None,
    stream: int,
    *,
    backtrack: bool,
) -> list[Match]:
    """The match of each process, in order, waiting at most *timeout* seconds for all of them together."""
    timer = Timer(timeout)
    # Every process is looked at before the first is waited for: so this thread's position in each stream
    # is where it was when the wait began, whatever is written meanwhile.
    matches = [process.expect(patterns, 0, stream, backtrack) for process in processes]
    if timeout != 0:
        for index, process in enumerate(processes):
            if matches[index] == _NO_MATCH:
                matches[index] = process.expect(patterns, _left(timer), stream, backtrack)
    return matches


def expect_with(
    handler: ExpectOutputHandler,
    processes: Sequence[ProcessBase],
    patterns: Sequence[re.Pattern[str]],
    timeout: float | None,
    stream: int,
    *,
    backtrack: bool,
) -> list[Match]:
    """The same by *handler*, which is attached to the processes that were not given it."""
    timer = Timer(timeout)
    for process in processes:
        handler.attach(process, stream, backtrack=backtrack)
    found: dict[ProcessBase, Match] = {}
    missing = set(processes)
    while missing:
        # The handler returns as soon as one stream matches, and passes over what it returned the next time.
        matches = handler.expect(patterns, _left(timer))
        if not matches:
            break
        for (process, number), match in matches.items():
            if number == stream and process in missing:
                found[process] = match
                missing.discard(process)
    return [found.get(process, _NO_MATCH) for process in processes]
