"""The dialer: makes the link to one node, and makes it again when it is lost.

Lives on the reactor, but for the futures that it ends. The delays grow, and
vary by half, so that many nodes do not all dial a restarted one at once; they
begin anew when a link has lasted for a while.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ._link_errors import LinkError, RefusedError, UnreachableError
from ._link_place import find_socket, meeting_directories

if TYPE_CHECKING:
    from ._link_channel import Channel
    from ._link_peer import Peer
    from ._link_settings import LinkSettings
    from ._reactor import Timer
    from .future import Future
    from .runtime import Runtime

__all__ = ["Dialer"]


class Dialer:
    """The way to one node.

    Args:
        target: name of the node, or path of its socket.
        open_channel: opens a channel at a path; it tells the dialer of `up`, `refused` and `lost`.
        ended: called when the dialer gives up.
    """

    def __init__(
        self,
        runtime: Runtime,
        target: str,
        settings: LinkSettings,
        open_channel: Callable[[Path, Dialer], Channel],
        ended: Callable[[Dialer], None],
    ) -> None:
        self.target = target
        self.settings = settings
        self.peer: Peer | None = None
        self.reason = "it has not answered yet"
        """Why there is no link."""
        self._runtime = runtime
        self._open_channel = open_channel
        self._ended = ended
        self._channel: Channel | None = None
        self._waiters: list[tuple[Future[Peer], float]] = []
        self._timer: Timer | None = None
        self._delay = settings.first_delay
        self._was_up = False
        self._up_since = 0.0
        self._closed = False

    def wait(self, future: Future[Peer], timeout: float | None) -> None:
        """Have *future* end with the peer as soon as there is a link, or with an error after *timeout* seconds."""
        if self.peer is not None:
            future.offer(self.peer)
            return
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        self._waiters.append((future, deadline))
        if timeout is not None:
            self._runtime.reactor.call_later(timeout, self._expire)
        if self._channel is None:
            self._delay = self.settings.first_delay
            self._dial()

    def close(self) -> None:
        """Dial no more."""
        if not self._closed:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._fail(UnreachableError(repr(self.target), "it was disconnected"))
            if self._channel is not None and self.peer is None:
                self._channel.lose("it was disconnected")
            self._ended(self)

    # -- what the channel tells ---------------------------------------------------

    def up(self, peer: Peer) -> None:
        """The link is up."""
        self.peer = peer
        self._was_up = True
        self._up_since = time.monotonic()
        waiters, self._waiters = self._waiters, []
        for future, _ in waiters:
            future.offer(peer)

    def refused(self, reason: str) -> None:
        """There can be no link, now at least."""
        self.reason = reason
        self._fail(RefusedError(repr(self.target), reason))

    def lost(self, reason: str) -> None:
        """The channel is lost, whether it was up or not."""
        self._channel = None
        if self.peer is not None and time.monotonic() - self._up_since > self.settings.patience:
            self._delay = self.settings.first_delay
        self.peer = None
        self._try_again(reason)

    # -- dialing ------------------------------------------------------------------

    def _dial(self) -> None:
        if self._closed or self._channel is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        path = Path(self.target) if self.target.startswith("/") else find_socket(self.target)
        if path is None:
            places = " or ".join(map(str, meeting_directories()))
            self._try_again(f"nobody listens under that name in {places}")
            return
        try:
            self._channel = self._open_channel(path, self)
        except OSError as error:
            self._try_again(str(error))

    def _try_again(self, reason: str) -> None:
        self.reason = reason
        self._expire()
        if self._closed:
            return
        delay = self._delay * random.uniform(0.5, 1.5)
        self._delay = min(2 * self._delay, self.settings.longest_delay)
        self._timer = self._runtime.reactor.call_later(delay, self._dial)

    def _expire(self) -> None:
        """End the waiters whose time is over; with nobody left to wait, a link that never was is given up."""
        now = time.monotonic()
        late = [w for w in self._waiters if w[1] <= now]
        self._waiters = [w for w in self._waiters if w[1] > now]
        for future, _ in late:
            future.offer_exception(UnreachableError(repr(self.target), self.reason))
        self._give_up_if_unwanted()

    def _fail(self, error: LinkError) -> None:
        waiters, self._waiters = self._waiters, []
        for future, _ in waiters:
            future.offer_exception(error)
        self._give_up_if_unwanted()

    def _give_up_if_unwanted(self) -> None:
        if not self._closed and not self._was_up and not self._waiters:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            if self._channel is not None:
                self._channel.lose("it did not answer in time")
            self._ended(self)
