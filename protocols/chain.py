"""The rules of a chain of hosts through which files go: who takes them from whom. Event in, effects out.

No clock, no I/O: the leader (`_chain_leader`) feeds it what the hops report, and carries out the effects.

Hops get their places in the order in which they are ready, those that are ready together in the order of the hosts.
A hop takes only from one with an earlier place (or from the head, which is the controller), so there is never a ring,
and nobody waits for who is late. It knows several of them, the nearest first, and goes on to the next by itself when
one falls silent, breaks off or sends what has another checksum; the rules only hear of it. A hop that has none left is
fed by the controller, over the connection of commands.

A hop is *slow* that lags far behind its upstream, which has more for it: those that take from it are given others, and
it goes on as a leaf. If then one of them lags too, it is the upstream that sends slowly, and that is left aside
instead. Of one that takes from the head it takes a trial to know (`Trial`). One of which nothing is heard any more is
given up: soon where another hop has found it silent too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from .chain_events import (
    HEAD,
    Completed,
    Dismiss,
    Effect,
    Ended,
    Feed,
    Follow,
    GiveUp,
    Listening,
    LostUpstream,
    Placed,
    RanDry,
    Remark,
    Reported,
    Ticked,
    Took,
)
from .chain_hop import Hop
from .chain_trial import Trial

__all__ = ["Chain", "is_private"]

_KNOWN = 16  # upstreams that a hop is told of
_LAG = 8 << 20  # bytes behind its upstream that are nothing
_LAG_SECONDS = 2.0  # nor is what comes in so long
_PATIENCE = 5.0  # seconds without a word from a hop that another has lost, too
_LONG = 3 * _PATIENCE  # and from any
_FEEDS = 3  # that bring nothing
_RECEIVES_SLOWLY = "it receives slowly: no other host waits for it"


class Chain:
    """See the module. Hops are numbered by `enter`, and each event names one that was."""

    def __init__(self) -> None:
        self._trial = Trial()
        self.hops: list[Hop] = []
        self._placed: list[Hop] = []  # those that have a place, in their order
        self._waiting: list[Hop] = []
        self._best = 0.0  # bytes per second

    def enter(self, rank: int, size: int, *, leaf: bool = False) -> int:
        """A hop is being started on the host with that rank; return its number. Started again, it is another.

        Args:
            rank: see above.
            size: of what it is to get, in bytes, more or less.
            leaf: it is only to take.
        """
        self.hops.append(Hop(len(self.hops), rank, size, leaf))
        return len(self.hops) - 1

    def take(self, event: Any) -> list[Effect]:
        """Let *event* happen, and return what is to be done about it. What comes too late changes nothing."""
        if isinstance(event, Ticked):
            return self._tick(event.at)
        hop = self.hops[event.hop]
        if hop.gone:
            return []
        effects: list[Effect] = _RULES[type(event)](self, hop, event)
        return effects

    # -- events --------------------------------------------------------------------------

    def _listening(self, hop: Hop, event: Listening) -> list[Effect]:
        hop.head = event.head
        hop.heard = event.at
        self._waiting.append(hop)
        if all(other.gone or other.place >= 0 or other in self._waiting for other in self.hops):
            return self._place_waiting()
        return []

    def _place_waiting(self) -> list[Effect]:
        # Leaves come last, and wait until there is a hop that they could take from, if there is to be one.
        ready, self._waiting = sorted(self._waiting, key=lambda hop: (hop.leaf, hop.rank)), []
        effects = []
        for hop in ready:
            if hop.leaf and self._starting() and not any(other.lives and not other.leaf for other in self._placed):
                self._waiting.append(hop)
            elif not hop.gone:
                hop.place = len(self._placed)
                self._placed.append(hop)
                effects.append(self._follow(hop))
        return effects

    def _starting(self) -> bool:
        """Whether there are hops that are not ready yet."""
        return any(hop.place < 0 and not (hop.gone or hop.leaf) for hop in self.hops)

    def _follow(self, hop: Hop, *, head_first: bool = False) -> Effect:
        """Give *hop* upstreams. Only a trial has the head before others."""
        hop.samples.clear()
        hop.upstream = None
        known: list[int] = []
        for place in range(hop.place - 1, -1, -1):
            other = self._placed[place]
            if other.lives and not (other.leaf or other.slow or other.suspected) and other.number not in hop.avoided:
                known.append(other.number)
                if len(known) == _KNOWN:
                    break
        if hop.head and HEAD not in hop.avoided:
            known.insert(0 if head_first else len(known), HEAD)
        if known:
            hop.upstream = known[0]
            return Follow(hop.number, tuple(known))
        hop.feeds = hop.feeds + 1 if hop.fed_at == hop.received else 0
        hop.fed_at = hop.received
        if hop.feeds >= _FEEDS:
            hop.gone = True
            return GiveUp(hop.number, "it could get the files neither from another host nor over its connection")
        return Feed(hop.number)

    def _reported(self, hop: Hop, event: Reported) -> list[Effect]:
        hop.heard = event.at
        hop.suspected = False
        hop.received = max(hop.received, event.received)
        hop.sample(event.at, hop.received)
        self._best = max(self._best, hop.rate() or 0.0)
        return []

    def _took(self, hop: Hop, event: Took) -> list[Effect]:
        hop.upstream = event.upstream
        hop.samples.clear()
        return self._dismissals()

    def _lost(self, hop: Hop, event: LostUpstream) -> list[Effect]:
        hop.avoided.add(event.upstream)
        if hop.upstream == event.upstream:
            hop.upstream = None
        if event.upstream != HEAD:
            self.hops[event.upstream].suspected = True
        return []

    def _dry(self, hop: Hop, _: RanDry) -> list[Effect]:
        return [self._follow(hop), *self._dismissals()] if hop.lives and not hop.complete else []

    def _completed(self, hop: Hop, _: Completed) -> list[Effect]:
        hop.complete = True
        hop.upstream = None
        return self._dismissals()

    def _placed_there(self, hop: Hop, _: Placed) -> list[Effect]:
        hop.placed = True
        return self._dismissals()

    def _ended(self, hop: Hop, _: Ended) -> list[Effect]:
        hop.gone = True
        return [*self._help_leaves(hop), *self._dismissals()]

    def _help_leaves(self, gone: Hop) -> list[Effect]:
        """Give those leaves another upstream that wait for one which is no more."""
        return [self._follow(taker) for taker in self._takers(gone) if taker.leaf]

    def _dismissals(self) -> list[Effect]:
        """Those that are done, and from whom nobody takes. One stays while there are some that are not ready yet."""
        used = {hop.upstream for hop in self._placed if hop.lives and not hop.complete}
        if any(hop.place < 0 and not hop.gone for hop in self.hops):
            used.add(next((hop.number for hop in reversed(self._placed) if hop.lives and hop.placed), None))
        effects: list[Effect] = []
        for hop in self._placed:
            if hop.lives and hop.placed and hop.number not in used:
                hop.gone = True
                effects.append(Dismiss(hop.number))
        return effects

    # -- from time to time -----------------------------------------------------------------

    def _tick(self, at: float) -> list[Effect]:
        effects = self._place_waiting()
        for hop in self._placed:
            if not hop.lives or hop.leaf:
                continue
            quiet = at - hop.heard
            if quiet > _LONG or (hop.suspected and quiet > _PATIENCE):
                hop.gone = True
                effects.append(GiveUp(hop.number, f"nothing was heard of it for {quiet:.0f} s"))
                effects += self._help_leaves(hop)
        for hop in self._placed:
            if hop.lives and not hop.complete and self._lags(hop):
                effects += self._relieve(hop)
        return effects + self._try_head(at) + self._dismissals()

    def _try_head(self, at: float) -> list[Effect]:
        """Find out whether all wait for a hop that could have more from the head."""
        trial = self._trial
        if trial.tester is None:
            first = self._first()
            tester = None if first is None else trial.begin(first, self._takers(first), self._best, at)
            return [] if tester is None else [self._follow(tester, head_first=True)]
        verdict = trial.verdict(at)
        if verdict is None:
            return []
        first, tester = trial.first, trial.end()
        if verdict and first is not None:
            first.slow = True
            return [Remark(first.number, _RECEIVES_SLOWLY), *(self._follow(taker) for taker in self._takers(first))]
        return [self._follow(tester)] if tester and tester.lives and tester.upstream == HEAD else []

    def _first(self) -> Hop | None:
        """The one that takes from the head; None: there are none, or several."""
        takers = [hop for hop in self._placed if hop.lives and not hop.complete and hop.upstream == HEAD]
        return takers[0] if len(takers) == 1 else None

    def _lags(self, hop: Hop) -> bool:
        """Whether its upstream has much more for it, which comes much slower than things go elsewhere."""
        if hop.upstream is None or hop.upstream == HEAD:
            return False
        rate, upstream = hop.rate(), self.hops[hop.upstream]
        usual = self._best if upstream.complete else upstream.rate()
        if rate is None or usual is None:
            return False
        share = usual / len(self._takers(upstream))
        return upstream.received - hop.received > max(_LAG, _LAG_SECONDS * usual) and rate < share / 2

    def _relieve(self, hop: Hop) -> list[Effect]:
        """Let nobody wait for *hop*; or for its upstream, where that is slow to others too."""
        upstream = self.hops[hop.upstream or 0]
        siblings = [other for other in self._takers(upstream) if other is not hop and other.slow]
        if siblings and not hop.slow:
            upstream.slow = True
            for other in siblings:
                other.slow = False
            text = "it sends slowly: it was left aside"
            return [Remark(upstream.number, text), *(self._follow(taker) for taker in self._takers(upstream))]
        takers = self._takers(hop)
        if hop.slow or not takers:
            return []
        hop.slow = True
        return [Remark(hop.number, _RECEIVES_SLOWLY), *(self._follow(taker) for taker in takers)]

    def _takers(self, hop: Hop) -> list[Hop]:
        return [other for other in self._placed if other.lives and not other.complete and other.upstream == hop.number]


def is_private(address: str) -> bool:
    """Whether an address (of IP; with a zone or without) is one of a private network, or of this machine."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_private
    except ValueError:
        return False


_RULES: dict[type, Callable[..., list[Effect]]] = {
    Listening: Chain._listening,
    Reported: Chain._reported,
    Took: Chain._took,
    LostUpstream: Chain._lost,
    RanDry: Chain._dry,
    Completed: Chain._completed,
    Placed: Chain._placed_there,
    Ended: Chain._ended,
}
