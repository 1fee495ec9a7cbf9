"""The table of a sweeper: every combination it knows, with its state, as the records of the log say.

Pure: no files, no locks, no clock. `Table.take` applies one record; all who
read the same log arrive at the same table. The other methods say what is so,
and make the records of what should become so.

The records are lists; the first item is the kind:

========  ===================================================================
HEADER    format name, version, bytes of snapshot behind this record
OWNER     number (the next one), the fields of an `Owner`, time
ELEMENTS  number of the first (the next one), elements, a byte of state each
SWEEPS    numbers of the saved sweeps in their order, as [first, count, ...]
ALIVE     number of owner, time
RESET     number of owner, time, whether claims are given up too
CLAIM, DONE, SKIP, CANCEL, RETURN
          number of owner, time, numbers of elements, elements, reason or None
========  ===================================================================

Elements are given in full where they come into the log first, and have the
next number from then on; later records say the number. That keeps records at
some 40 bytes, and needs no index of digests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Any

from ._lease import Owner

__all__ = [
    "ALIVE",
    "CANCEL",
    "CLAIM",
    "CLAIMED",
    "DONE",
    "ELEMENTS",
    "FINISH",
    "HEADER",
    "OWNER",
    "RESET",
    "RETURN",
    "SKIP",
    "SKIPPED",
    "SKIPPED_DONE",
    "STATES",
    "SWEEPS",
    "TODO",
    "Entry",
    "Holder",
    "Table",
]

TODO, CLAIMED, DONE, SKIPPED, SKIPPED_DONE = range(5)
"""States of an element; SKIPPED_DONE: skipped after it had been done, which a reset remembers."""
STATES = ("remaining", "inprogress", "done", "skipped", "skipped")
"""Their names for users."""

HEADER, OWNER, ELEMENTS, SWEEPS, ALIVE, RESET, CLAIM, FINISH, SKIP, CANCEL, RETURN = range(11)

Record = list[Any]

_CHUNK = 4096  # elements in one record of a snapshot


class Entry:
    """One element and what has become of it."""

    __slots__ = ("element", "holder", "number", "position", "reason", "since", "state")

    def __init__(self, element: Any) -> None:
        self.element = element
        self.number = -1  # in the log; -1: the log does not know it
        self.position = -1  # in the current sweeps; -1: not one of them
        self.state = TODO
        self.holder: Holder | None = None  # who claimed it, while it is CLAIMED
        self.since = 0.0  # when it was claimed, or when its reason was given
        self.reason: str | None = None  # the latest reason given for skipping or giving back


class Holder:
    """An owner with what it holds."""

    __slots__ = ("claims", "number", "owner", "seen")

    def __init__(self, owner: Owner, number: int, seen: float) -> None:
        self.owner = owner
        self.number = number
        self.seen = seen  # its last sign of life, seconds since the epoch
        self.claims: dict[Entry, None] = {}  # in the order of claiming


class Table:
    """All elements of one store, and the sweeps that one sweeper is about."""

    def __init__(self) -> None:
        self.index: dict[Any, Entry] = {}
        self.sweeps: list[Entry] = []
        self.forget()

    def forget(self) -> None:
        """Know nothing of the log any more; the sweeps stay."""
        for entry in self.index.values():
            entry.number, entry.state, entry.holder, entry.reason = -1, TODO, None, None
        self.numbered: list[Entry] = []
        self.saved: list[Entry] = []
        self.holders: list[Holder] = []
        self._by_token: dict[str, Holder] = {}
        self._begin()

    def set_sweeps(self, elements: Iterable[Any]) -> None:
        """Be about *elements* from now on; what is said twice counts once."""
        for entry in self.sweeps:
            entry.position = -1
        self.sweeps = []
        for element in elements:
            entry = self.entry(element)
            if entry.position < 0:
                entry.position = len(self.sweeps)
                self.sweeps.append(entry)
        self._begin()

    def _begin(self) -> None:
        self.counts = [0] * len(STATES)
        for entry in self.sweeps:
            self.counts[entry.state] += 1
        # What is to do: all sweeps in state TODO. None of them is before the cursor, but those in _returned.
        self._cursor = 0
        self._returned: list[int] = []

    def entry(self, element: Any) -> Entry:
        """The entry of *element*, a new one if it was never heard of."""
        entry = self.index.get(element)
        if entry is None:
            entry = self.index[element] = Entry(element)
        return entry

    # What is so

    def first_todo(self, count: int) -> list[Entry]:
        """The first *count* sweeps that are to do, in the order of the sweeps. To be claimed at once."""
        found: list[Entry] = []
        while self._returned and len(found) < count:
            entry = self.sweeps[heappop(self._returned)]
            if entry.state == TODO and (not found or found[-1] is not entry):
                found.append(entry)
        while self._cursor < len(self.sweeps) and len(found) < count:
            entry = self.sweeps[self._cursor]
            self._cursor += 1
            if entry.state == TODO:
                found.append(entry)
        return found

    def in_state(self, *states: int) -> list[Any]:
        """The elements of the sweeps that are in one of *states*, in order."""
        return [entry.element for entry in self.sweeps if entry.state in states]

    def holder_of(self, owner: Owner) -> Holder | None:
        """What is known of *owner* as a holder, if the log knows it."""
        return self._by_token.get(owner.token)

    # Records of what should become so

    def introduction(self, owner: Owner, now: float) -> tuple[int, list[Record]]:
        """The number of *owner*, and the record to write first if the log does not know it."""
        holder = self.holder_of(owner)
        if holder is not None:
            return holder.number, []
        number = len(self.holders)
        return number, [[OWNER, number, [*owner], now]]

    def transition(
        self, kind: int, owner: Owner, now: float, entries: Iterable[Entry], reason: str | None = None
    ) -> list[Record]:
        """The records by which *owner* moves *entries*; *kind* is CLAIM, FINISH, SKIP, CANCEL or RETURN."""
        number, records = self.introduction(owner, now)
        known: list[int] = []
        new: list[Any] = []
        for entry in entries:
            if entry.number >= 0:
                known.append(entry.number)
            else:
                new.append(entry.element)
        return [*records, [kind, number, now, known, new, reason]]

    def resetting(self, owner: Owner, now: float, claims: bool) -> list[Record]:
        """The records by which *owner* gives back what was skipped, and with *claims* what is in progress."""
        number, records = self.introduction(owner, now)
        return [*records, [RESET, number, now, claims]]

    def snapshot(self, saved: list[Entry]) -> Iterator[Record]:
        """The records that say all that has to be remembered, with *saved* as the saved sweeps.

        Elements that are neither saved nor in any state but to do, and owners that hold nothing, are
        left out.
        """
        entries = list(dict.fromkeys(saved))
        chosen = set(entries)
        entries += [each for each in self.numbered if (each.state or each.reason is not None) and each not in chosen]
        numbers = {entry: number for number, entry in enumerate(entries)}
        for first in range(0, len(entries), _CHUNK):
            chunk = entries[first : first + _CHUNK]
            states = bytes(TODO if entry.state == CLAIMED else entry.state for entry in chunk)
            yield [ELEMENTS, first, [entry.element for entry in chunk], states]
        if saved:
            yield [SWEEPS, _runs(numbers[entry] for entry in saved)]
        anonymous = -1  # reasons need no owner
        for entry in entries:
            if entry.reason is not None:
                kind = SKIP if entry.state in (SKIPPED, SKIPPED_DONE) else CANCEL
                yield [kind, anonymous, entry.since, [numbers[entry]], [], entry.reason]
        holders = [holder for holder in self.holders if holder.claims]
        for number, holder in enumerate(holders):
            yield [OWNER, number, [*holder.owner], holder.seen]
            for entry in holder.claims:
                yield [CLAIM, number, entry.since, [numbers[entry]], [], None]

    # What the log says

    def take(self, record: Record) -> None:
        """Apply *record*.

        Raises:
            ValueError: it makes no sense here.
        """
        try:
            _TAKE[record[0]](self, *record[1:])
        except (TypeError, IndexError, KeyError, AttributeError) as error:
            raise ValueError(f"a record that makes no sense: {record!r:.80} ({error!r})") from error

    def _take_header(self, _name: str, _version: int, _snapshot: int) -> None:
        """Nothing: the store has looked at it."""

    def _take_owner(self, number: int, fields: list[Any], now: float) -> None:
        if number != len(self.holders):
            raise ValueError(f"owner {number} where {len(self.holders)} was expected")
        holder = Holder(Owner(*fields), number, now)
        self.holders.append(holder)
        self._by_token[holder.owner.token] = holder

    def _take_elements(self, first: int, elements: list[Any], states: bytes) -> None:
        if first != len(self.numbered):
            raise ValueError(f"element {first} where {len(self.numbered)} was expected")
        for element, state in zip(elements, states, strict=True):
            entry = self._add(element)
            if state:
                self._move(entry, state)

    def _add(self, element: Any) -> Entry:
        entry = self.entry(element)
        entry.number = len(self.numbered)
        self.numbered.append(entry)
        return entry

    def _take_sweeps(self, runs: list[int]) -> None:
        self.saved = [
            self.numbered[number]
            for first, count in zip(runs[::2], runs[1::2], strict=True)
            for number in range(first, first + count)
        ]

    def _take_alive(self, number: int, now: float) -> None:
        holder = self.holders[number]
        holder.seen = max(holder.seen, now)

    def _take_reset(self, number: int, now: float, claims: bool) -> None:
        self._take_alive(number, now)
        for entry in self.numbered:
            if entry.state == SKIPPED or (claims and entry.state == CLAIMED):
                self._move(entry, TODO)
            elif entry.state == SKIPPED_DONE:
                self._move(entry, DONE)
            entry.reason = None

    def _take_transition(
        self, kind: int, number: int, now: float, known: list[int], new: list[Any], reason: str | None
    ) -> None:
        holder = None
        if number >= 0:
            self._take_alive(number, now)
            holder = self.holders[number]
        entries = [self.numbered[each] for each in known]
        entries += map(self._add, new)
        for entry in entries:
            self._move(entry, _AFTER[kind][entry.state], holder if kind == CLAIM else None)
            if kind == CLAIM or reason is not None:
                entry.since = now
            if kind != CLAIM:
                entry.reason = reason

    def _move(self, entry: Entry, state: int, holder: Holder | None = None) -> None:
        if entry.holder is not None:
            entry.holder.claims.pop(entry, None)
        entry.holder = holder
        if holder is not None:
            holder.claims[entry] = None
        if entry.position >= 0:
            self.counts[entry.state] -= 1
            self.counts[state] += 1
            if state == TODO and entry.position < self._cursor:
                heappush(self._returned, entry.position)
        entry.state = state


def _runs(numbers: Iterable[int]) -> list[int]:
    """Write ascending stretches of *numbers* as [first, count, first, count, ...]."""
    runs: list[int] = []
    for number in numbers:
        if runs and number == runs[-2] + runs[-1]:
            runs[-1] += 1
        else:
            runs += (number, 1)
    return runs


_AFTER: dict[int, tuple[int, ...]] = {
    #        of TODO,  CLAIMED, DONE,         SKIPPED, SKIPPED_DONE
    CLAIM: (CLAIMED, CLAIMED, CLAIMED, CLAIMED, CLAIMED),
    FINISH: (DONE, DONE, DONE, DONE, DONE),
    SKIP: (SKIPPED, SKIPPED, SKIPPED_DONE, SKIPPED, SKIPPED_DONE),
    CANCEL: (TODO, TODO, DONE, TODO, DONE),
    RETURN: (TODO, TODO, DONE, SKIPPED, SKIPPED_DONE),
}


def _transition(kind: int) -> Callable[..., None]:
    def take(table: Table, *fields: Any) -> None:
        table._take_transition(kind, *fields)

    return take


_TAKE: dict[int, Callable[..., None]] = {
    HEADER: Table._take_header,
    OWNER: Table._take_owner,
    ELEMENTS: Table._take_elements,
    SWEEPS: Table._take_sweeps,
    ALIVE: Table._take_alive,
    RESET: Table._take_reset,
    **{kind: _transition(kind) for kind in _AFTER},
}
