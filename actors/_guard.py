"""Guard: the reactor's side of the guardian process: has one running, and tells it of starts and ends.

Owns the `Guardian` of one runtime. Belongs to the reactor's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ._guardian import Guardian
from ._reactor import READABLE
from .config import configuration

if TYPE_CHECKING:
    from ._reactor import Reactor

__all__ = ["Guard"]

logger = logging.getLogger("regisseur.io")

_DELAY = 0.02  # seconds


class Guard:
    """See the module.

    Args:
        pids: gives the leaders that run, for a guardian that has to take over.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._reactor: Reactor | None = None
        self._guardian: Guardian | None = None
        self._flushing = False
        self.cookie: dict[str, str] | None = None
        """The variable that children carry; None: nobody looks for it."""

    def be_there(self, reactor: Reactor) -> None:
        """See that a guardian runs, unless ``configuration["kill_childs_at_end"]`` is false.

        Raises:
            OSError: there are no descriptors or processes for one now.
            ConfigurationError: the configuration can not be read.
        """
        if self._guardian is None and configuration["kill_childs_at_end"]:
            self._reactor = reactor
            self._start(None)

    def _start(self, after: Guardian | None) -> None:
        assert self._reactor is not None
        self._guardian = Guardian(watch=self._pids(), after=after)
        self.cookie = dict([self._guardian.cookie])
        self._reactor.watch(self._guardian.pidfd, READABLE, lambda _: self._died())

    def _died(self) -> None:
        """Start another, and tell it all that runs."""
        guardian, self._guardian = self._guardian, None
        assert guardian is not None
        assert self._reactor is not None
        self._reactor.forget(guardian.pidfd)
        guardian.reap()
        logger.warning("the guardian process has died unexpectedly; starting another")
        try:
            self._start(guardian)
        except OSError as error:
            logger.warning("no guardian process: %s; the next start tries again", error)

    def started(self, pid: int) -> None:
        """Note that *pid* was started, as the leader of its own session."""
        if self._guardian is not None:
            self._guardian.watch(pid)
            self._flush_soon()

    def ended(self, pid: int) -> bool:
        """Note that *pid* has been waited for. Returns whether its session goes on; False where nobody looks."""
        if self._guardian is None:
            return False
        goes_on = self._guardian.ended(pid)
        self._flush_soon()
        return goes_on

    def _flush_soon(self) -> None:
        """Let the guardian know of starts and ends, several at a time: each write wakes it up.

        What starts in between is not lost if we die: the guardian knows it by its cookie.
        """
        if not self._flushing:
            self._flushing = True
            assert self._reactor is not None
            self._reactor.call_later(_DELAY, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._guardian is not None:
            self._guardian.flush()

    def dismiss(self, *, spare: bool = False) -> None:
        """The runtime ends: the guardian is needed only where sessions go on without their leaders.

        Args:
            spare: nor there, for nothing is to end.
        """
        guardian, self._guardian = self._guardian, None
        if guardian is None:
            return
        assert self._reactor is not None
        self._reactor.forget(guardian.pidfd)
        guardian.flush()
        if guardian.lingers and not spare:
            guardian.abandon()  # it ends them when this program does
        else:
            guardian.dismiss()

    def abandon(self) -> None:
        """In a forked child: the guardian is the parent's."""
        if self._guardian is not None:
            self._guardian.abandon()
            self._guardian = None
