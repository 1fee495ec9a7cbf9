"""`ParamSweeper`: hands out the combinations of a sweep, each once, to threads and processes that come and go.

`ParamSweeper` is what experiments use; `SweepView` looks at the same directory
without ever writing to it. What each thinks of the combinations is a `Table`,
which follows the log of a `Store`; here it gets its names for users.

All who work in one directory see each other's steps at once. A step that has
returned is not lost, however the process ends; ``done`` and ``skip`` are on
the disk itself. What a process that died had in progress is given back when
somebody opens the directory, or finds nothing left to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from threading import RLock
from typing import Any, NamedTuple

from ..actors.journal import current_journal
from ..actors.log import logger
from ._lease import Owner
from ._space import HashableDict
from ._store import Store, StoreReader
from ._store_elements import CombinationSet, checked, element_of, ordered
from ._store_file import LogFile
from ._store_table import CANCEL, CLAIM, CLAIMED, DONE, FINISH, SKIP, SKIPPED, SKIPPED_DONE, STATES, TODO, Entry, Table

__all__ = ["CombinationStatus", "ParamSweeper", "SweepView"]

Filter = Callable[[CombinationSet], Iterable[Any]]
_ALL = (TODO, CLAIMED, DONE, SKIPPED, SKIPPED_DONE)
_END = object()
Returned = list[tuple[Owner, list[Any]]]


class CombinationStatus(NamedTuple):
    """One combination, and what has become of it."""

    combination: Any
    state: str
    """``remaining``, ``inprogress``, ``done`` or ``skipped``."""
    owner: str | None
    """Who has it in progress: ``process 4711 on paradoxe-3``."""
    since: float | None
    """When it was claimed, or when *reason* was given: seconds since the epoch."""
    reason: str | None
    """Why it was skipped, given back or done, if the last who did so said why."""


class _Sweeps:
    """What `ParamSweeper` and `SweepView` have in common: questions."""

    _directory: str
    _name: str

    def _reading(self) -> AbstractContextManager[Table]:
        raise NotImplementedError

    @property
    def name(self) -> str:
        """As given; without that, the last part of the directory's path."""
        return self._name

    @property
    def persistence_dir(self) -> str:
        """The directory of the store, as given."""
        return self._directory

    def get_sweeps(self) -> CombinationSet:
        """All combinations, in order; the set is the caller's own, here and in the following."""
        return self._in_state(*_ALL)

    def get_remaining(self) -> CombinationSet:
        """The combinations that are to do, in the order of the sweeps."""
        return self._in_state(TODO)

    def get_inprogress(self) -> CombinationSet:
        """The combinations that somebody has taken and not finished."""
        return self._in_state(CLAIMED)

    def get_done(self) -> CombinationSet:
        """The combinations that are done."""
        return self._in_state(DONE)

    def get_skipped(self) -> CombinationSet:
        """The combinations that were skipped."""
        return self._in_state(SKIPPED, SKIPPED_DONE)

    def _in_state(self, *states: int) -> CombinationSet:
        with self._reading() as table:
            return CombinationSet.of_distinct(table.in_state(*states))

    def stats(self) -> tuple[CombinationSet, CombinationSet, CombinationSet, CombinationSet, CombinationSet]:
        """The sets (sweeps, remaining, skipped, inprogress, done) of one moment. See also `sweep_stats`."""
        with self._reading() as table:
            sweeps, remaining, skipped, inprogress, done = (
                CombinationSet.of_distinct(table.in_state(*states))
                for states in (_ALL, (TODO,), (SKIPPED, SKIPPED_DONE), (CLAIMED,), (DONE,))
            )
        return sweeps, remaining, skipped, inprogress, done

    def counts(self) -> dict[str, int]:
        """How many combinations are ``remaining``, ``inprogress``, ``done``, ``skipped``, and in ``total``."""
        with self._reading() as table:
            counts = dict.fromkeys(STATES, 0)
            for state, count in zip(STATES, table.counts, strict=True):
                counts[state] += count
            return {"total": len(table.sweeps), **counts}

    def statuses(self) -> list[CombinationStatus]:
        """All combinations in order, each with its state, owner, time and reason."""
        with self._reading() as table:
            return [_status(entry) for entry in table.sweeps]

    def __str__(self) -> str:
        counts = self.counts()
        return (
            f"{self._name} <{counts['total']} total, {counts['done']} done, {counts['skipped']} skipped, "
            f"{counts['inprogress']} in progress, {counts['remaining']} remaining>"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._directory!r})"


class ParamSweeper(_Sweeps):
    """Iterates over combinations, once each, in any number of threads and processes, over any number of runs.

    Combinations are plain data: str, bytes, int, float, bool, None, tuples, frozensets, and dicts, which
    come back as `HashableDict` and may hold lists, dicts and sets; and `Host`, and what the standard library
    has of dates, times, Decimal, Fraction, range, Path, UUID and IP addresses. (One that is None can not be told from
    the end in `get_next`; `get_next_batch` can.) They are handed out in the order of *sweeps*; sets, which
    have no order, are sorted. States and their changes are those of all who use the directory.

    Thread-safe. Survives fork: the child is then an owner of its own. No method may be called from a
    signal handler that interrupts another one, but for the questions, which then answer with what was
    known before.

    Args:
        persistence_dir: the directory of the store; made if it is not there.
        sweeps: the combinations, usually from `sweep`; None, or no combination: those that were saved.
        save_sweeps: keep *sweeps* in the directory, for those who open it without any.
        name: for `str` and the journal; the last part of the directory's path if None.
        lease: seconds for which other machines wait for a sign of life before they take our claims. Every
            operation that changes something is one; `renew` is to be called if none is made for longer.
            Processes on one machine do not need it: they see who is alive.
        lock_timeout: seconds that an operation waits while others keep the store locked; None: no limit.

    Raises:
        TypeError: a combination is not plain data; the text names it.
        ExecoStoreError: Execo wrote this directory; the text says how to convert it.
        SweepStoreCorruptError: the log is damaged (any operation may find it out).
        SweepStoreBusyError: *lock_timeout* has passed (any operation that changes something).
        OSError: the directory can not be written (the same).
    """

    def __init__(
        self,
        persistence_dir: str | os.PathLike[str],
        sweeps: Iterable[Any] | None = None,
        save_sweeps: bool = False,
        name: str | None = None,
        *,
        lease: float = 3600.0,
        lock_timeout: float | None = None,
    ) -> None:
        self._directory = os.fspath(persistence_dir)
        self._name = _name(self._directory) if name is None else name
        # Not a method of this object: a cycle would keep the files open until the collector runs.
        warn = partial(_warn, self._name)
        self._store = Store(self._directory, lease=lease, lock_timeout=lock_timeout, tell=warn)
        self.set_sweeps(sweeps, save_sweeps)
        _tell(self._name, "sweeper.opened", directory=self._directory, **self.counts())

    def set_sweeps(self, sweeps: Iterable[Any] | None = None, save_sweeps: bool = False) -> None:
        """Be about *sweeps* from now on, or about those that were saved if there are none.

        What is in the directory about other combinations stays there.

        Raises:
            TypeError: a combination is not plain data; the text names it.
        """
        elements = checked(() if sweeps is None else ordered(sweeps))
        with self._store.locked() as table:
            table.set_sweeps(elements or [entry.element for entry in table.saved])
            if save_sweeps and elements and table.saved != table.sweeps:
                self._store.rewrite(table.sweeps)
            returned = self._store.reclaim()
        self._tell_returned(returned)

    # Taking

    def get_next(self, filtr: Filter | None = None) -> Any:
        """Take the next combination that is to do; None if there is none.

        It is in progress, and nobody else gets it, until `done`, `skip` or `cancel` is called with it, or
        this process ends.

        Args:
            filtr: is called with the remaining combinations, in order, and returns an iterable of those
                to choose from, best first. Others wait meanwhile. What is not remaining is passed over.
        """
        taken = self.get_next_batch(1, filtr)
        return taken[0] if taken else None

    def get_next_batch(self, num_combs: int, filtr: Filter | None = None) -> list[Any]:
        """Take up to *num_combs* combinations at once; an empty list if there are none. See `get_next`."""
        if num_combs <= 0:
            return []
        with self._store.locked() as table:
            chosen, returned = self._choose_or_reclaim(table, num_combs, filtr)
            if chosen:
                self._store.move(CLAIM, chosen)
                self._store.mine.update(chosen)
            else:
                self._store.renew()
            # Given away as copies: what the caller does to a dict must not reach the sweeper's own.
            taken = [_copy(entry.element) for entry in chosen]
        self._tell_returned(returned)
        self._tell_each("combination.claimed", taken)
        return taken

    def _choose_or_reclaim(self, table: Table, count: int, filtr: Filter | None) -> tuple[list[Entry], Returned]:
        """What to take; where that is too little, after giving back what processes held that are gone."""
        if filtr is None:
            returned = self._store.reclaim() if table.counts[TODO] < count else []
            return table.first_todo(count), returned
        chosen = self._filtered(table, count, filtr)
        if len(chosen) < count:
            returned = self._store.reclaim()
            if returned:
                return self._filtered(table, count, filtr), returned
        return chosen, []

    def _filtered(self, table: Table, count: int, filtr: Filter) -> list[Entry]:
        chosen: dict[Entry, None] = {}
        with self._store.lent():
            wished = iter(filtr(CombinationSet.of_distinct(table.in_state(TODO))))
        while len(chosen) < count:
            with self._store.lent():  # it may be a generator
                element = next(wished, _END)
            if element is _END:
                break
            entry = table.index.get(element_of(element))
            if entry is not None and entry.position >= 0 and entry.state == TODO:
                chosen[entry] = None
        return [entry for entry in chosen if entry.state == TODO]  # the filter may have used this sweeper

    # Giving back

    def done(self, combination: Any, reason: str | None = None) -> None:
        """*combination* is done, for good; on return that is on the disk.

        It need not be one of the sweeps, nor in progress, nor still ours: what is done is done.
        """
        self.done_batch([combination], reason)

    def done_batch(self, combinations: Iterable[Any], reason: str | None = None) -> None:
        """As `done`, for all *combinations* in one step."""
        elements = checked(combinations)
        with self._store.locked() as table:
            entries = [entry for entry in _entries(table, elements) if entry.state != DONE]
            log = self._settle(FINISH, elements, entries, reason)
        log.sync()
        self._tell_each("combination.done", [entry.element for entry in entries], reason)

    def skip(self, combination: Any, reason: str | None = None) -> None:
        """Never hand *combination* out, whatever its state, until `reset`; on return that is on the disk.

        Nothing happens if we took it, and lost it to somebody else who has taken or done it since.
        """
        self.skip_batch([combination], reason)

    def skip_batch(self, combinations: Iterable[Any], reason: str | None = None) -> None:
        """As `skip`, for all *combinations* in one step."""
        elements = checked(combinations)
        with self._store.locked() as table:
            entries = [
                entry
                for entry in _entries(table, elements)
                if entry.state not in (SKIPPED, SKIPPED_DONE) and not self._is_lost(entry)
            ]
            log = self._settle(SKIP, elements, entries, reason)
        log.sync()
        self._tell_each("combination.skipped", [entry.element for entry in entries], reason)

    def cancel(self, combination: Any, reason: str | None = None) -> None:
        """Give *combination* back: what is in progress, of any owner, or skipped, is to do again.

        Nothing happens if it is done, or unknown, or if we took it, and lost it to somebody else since.
        """
        self.cancel_batch([combination], reason)

    def cancel_batch(self, combinations: Iterable[Any], reason: str | None = None) -> None:
        """As `cancel`, for all *combinations* in one step."""
        elements = checked(combinations)
        with self._store.locked() as table:
            entries = [
                entry
                for entry in map(table.index.get, dict.fromkeys(elements))
                if entry is not None and entry.state not in (TODO, DONE) and not self._is_lost(entry)
            ]
            self._settle(CANCEL, elements, entries, reason)
        self._tell_each("combination.cancelled", [entry.element for entry in entries], reason)

    def _is_lost(self, entry: Entry) -> bool:
        """Whether we took *entry*, and our lease ended, and somebody else has taken or done it since."""
        if entry not in self._store.mine:
            return False
        return entry.state == DONE or (entry.holder is not None and entry.holder.owner != self._store.owner)

    def _settle(self, kind: int, elements: list[Any], entries: list[Entry], reason: str | None) -> LogFile:
        """Write that *entries*, which are those of *elements* that change, do so."""
        self._store.mine.difference_update(map(self._store.table.index.get, elements))
        return self._store.move(kind, entries, reason) if entries else self._store.log

    def reset(self, reset_inprogress: bool = False) -> None:
        """Forget what was skipped, and all reasons: it is to do again, or done if it was done before.

        This is so for all who use the directory; on return it is on the disk.

        Args:
            reset_inprogress: what is in progress, of all owners, is to do again too.
        """
        with self._store.locked():
            log = self._store.reset(reset_inprogress)
        log.sync()
        _tell(self._name, "sweeper.reset", inprogress=reset_inprogress)

    # Keeping up

    def update(self) -> None:
        """Take in what others did. All other methods do so by themselves."""
        with self._store.locked():
            self._store.renew()

    def full_update(self) -> None:
        """Read the whole directory again, and give back what processes hold that are gone."""
        with self._store.locked():
            self._store.reload()
            returned = self._store.reclaim()
        self._tell_returned(returned)

    def renew(self) -> None:
        """Give a sign of life to other machines, so that what we have in progress stays ours for another lease."""
        with self._store.locked():
            self._store.renew(even_if_fresh=True)

    def _reading(self) -> AbstractContextManager[Table]:
        return self._store.reading()

    def _tell_each(self, event: str, elements: Iterable[Any], reason: str | None = None) -> None:
        if current_journal() is not None:
            said = {} if reason is None else {"reason": reason}
            for element in elements:
                _tell(self._name, event, combination=element, **said)

    def _tell_returned(self, returned: Returned) -> None:
        for owner, elements in returned:
            logger.warning(
                "%s: %d combinations of %s, which is gone, are to do again", self._name, len(elements), owner
            )
            self._tell_each("combination.returned", elements, f"{owner} is gone")


class SweepView(_Sweeps):
    """A look into the directory of a sweeper; never writes, so the directory may be read-only.

    It is about the saved sweeps; without these about all combinations that the directory knows (those
    which were taken at least once). Follows what sweepers do meanwhile. Thread-safe.

    Raises:
        SweepStoreMissingError: no sweeper's store is in *directory*.
        ExecoStoreError: Execo wrote it; the text says how to convert it.
        SweepStoreCorruptError: its log is damaged (any question may find it out).
        OSError: it can not be read.
    """

    def __init__(self, directory: str | os.PathLike[str], name: str | None = None) -> None:
        self._directory = os.fspath(directory)
        self._name = _name(self._directory) if name is None else name
        self._lock = RLock()
        self._reader = StoreReader(self._directory)

    @contextmanager
    def _reading(self) -> Iterator[Table]:
        with self._lock:
            self._reader.catch_up()
            table = self._reader.table
            known = table.saved or table.numbered
            if table.sweeps != known:
                table.set_sweeps([entry.element for entry in known])
            yield table


def _tell(sweeper: str, event: str, **fields: Any) -> None:
    journal = current_journal()
    if journal is not None:
        journal.event(event, sweeper=sweeper, **fields)


def _warn(sweeper: str, event: str, message: str, **fields: Any) -> None:
    """Tell the user and the journal what the store had to do."""
    logger.warning("%s: %s", sweeper, message)
    _tell(sweeper, event, **fields)


def _name(directory: str) -> str:
    return os.path.basename(os.path.abspath(directory))


def _entries(table: Table, elements: Iterable[Any]) -> Iterator[Entry]:
    """The entries of *elements*, each once; for those never heard of, new ones, with copies."""
    for element in dict.fromkeys(elements):
        entry = table.index.get(element)
        yield table.entry(_copy(element)) if entry is None else entry


def _copy(element: Any) -> Any:
    return HashableDict(element) if type(element) is HashableDict else element


def _status(entry: Entry) -> CombinationStatus:
    holder = entry.holder
    return CombinationStatus(
        combination=entry.element,
        state=STATES[entry.state],
        owner=None if holder is None else str(holder.owner),
        since=entry.since if holder is not None or entry.reason is not None else None,
        reason=entry.reason,
    )
