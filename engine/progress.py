"""SweepProgress: how far a sweep is, while it runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from .sweeper import ParamSweeper

__all__ = ["SweepProgress"]

_LINE_SECONDS = 30.0


class SweepProgress:
    """Shows done and total, rate and time left of a sweep: as a bar on a terminal, else as a line now and then.

    Context manager; call `update` after each combination. It counts what all
    processes that share the sweeper have done. Shown on stderr.

    Args:
        sweeper: whose combinations are counted.
        every: seconds between two lines where stderr is no terminal.
    """

    def __init__(self, sweeper: ParamSweeper, every: float = _LINE_SECONDS) -> None:
        self._sweeper = sweeper
        self._every = every
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._begin = time.monotonic()
        self._done_before = 0
        self._next_line = 0.0

    def __enter__(self) -> Self:
        done, total = self._counts()
        self._begin = time.monotonic()
        self._done_before = done
        if sys.stderr.isatty():
            self._show_bar(done, total)
        else:
            self._next_line = self._begin + self._every
        return self

    def _show_bar(self, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(self._sweeper.name, total=total, completed=done, rate="")
        self._bar.start()

    def update(self) -> None:
        """Show how far it is now."""
        if self._bar is not None and self._task is not None:
            done, total = self._counts()
            self._bar.update(self._task, completed=done, total=total, rate=self._pace(done, total))
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._every
            self._print()

    def _counts(self) -> tuple[int, int]:
        """How many combinations are settled (done or skipped), and how many there are."""
        counts = self._sweeper.counts()
        return counts["done"] + counts["skipped"], counts["total"]

    def _pace(self, done: int, total: int) -> str:
        """Rate and time left, from what was done since the start of this program."""
        seconds = time.monotonic() - self._begin
        if done <= self._done_before or seconds <= 0:
            return ""
        rate = (done - self._done_before) / seconds
        minutes, rest = divmod(round((total - done) / rate), 60)
        per = f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"
        return f"{per}, {minutes // 60}:{minutes % 60:02}:{rest:02} left"

    def _print(self) -> None:
        done, total = self._counts()
        print(
            f"{self._sweeper.name}: {done} of {total} {self._pace(done, total)}".rstrip(), file=sys.stderr, flush=True
        )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self.update()
            self._bar.stop()
        else:
            self._print()
