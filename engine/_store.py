"""A sweeper's store: a directory with a log, a lock, and the table that the log adds up to.

`StoreReader` follows a log without ever writing, as `SweepView` does; `Store`
locks, writes, repairs and compacts, as `ParamSweeper` does. The form of the
files is explained in ``docs/decisions/0002-sweep-store.md``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..protocols.records import DamagedRecordError, Records, decode_records, encode_record
from ._lease import Owner, is_gone, this_process
from ._space import HashableDict
from ._store_errors import (
    ExecoStoreError,
    SweepStoreCorruptError,
    SweepStoreMissingError,
    SweepStoreVersionError,
)
from ._store_execo import execo_files
from ._store_file import FORMAT, LOG_NAME, VERSION, LogFile, is_remote, sync_directory, write_log
from ._store_lock import StoreLock
from ._store_table import ALIVE, HEADER, RETURN, Entry, Record, Table

__all__ = ["Store", "StoreReader", "make_directory"]

_PATIENCE = 20_000  # records behind the snapshot before a new one is thought of
_GROWTH = 4  # and how many times more than elements; both together make the cost of snapshots small
_SIGNS = 4  # signs of life that are given in the time of a lease, at least
_BULK = 1 << 20  # bytes from which reading is worth a pause of the garbage collector


class StoreReader:
    """Follows the log in *directory*, which may be read-only; takes no lock, and changes nothing.

    Raises:
        SweepStoreMissingError: there is no log.
        ExecoStoreError: there is none, but a store of Execo.
        SweepStoreCorruptError: the log is damaged.
        OSError: it can not be read.
    """

    _writable = False

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, LOG_NAME)
        self.table = Table()
        self._stale = False  # the table may be half way between two records
        self._tail = 0  # records behind the snapshot
        self.log = self._open()
        """The file as it is open now; it may be kept, for `LogFile.sync`, but not used otherwise."""
        self.catch_up()

    def _open(self) -> LogFile:
        try:
            return LogFile(self.path, writable=self._writable)
        except (FileNotFoundError, NotADirectoryError):
            if execo_files(self.directory):
                raise ExecoStoreError(self.directory) from None
            raise SweepStoreMissingError(self.directory) from None

    def catch_up(self) -> None:
        """Take in what was written since the last time, by anybody. The thread lock must be held.

        Raises: as the class does.
        """
        try:
            replaced = not self.log.is_current()
        except FileNotFoundError:
            raise SweepStoreMissingError(self.directory) from None
        if replaced or self._stale:
            self.reload()
        else:
            self._read_on()

    def reload(self) -> None:
        """Read the whole log again. The thread lock must be held."""
        self.log = self._open()
        self._stale = True
        self.table.forget()
        self._tail = 0
        self._read_on()

    def _read_on(self) -> None:
        try:
            data = self.log.read_on()
        except ValueError as error:
            raise SweepStoreCorruptError(self.path, self.log.end, str(error)) from None
        if data or not self.log.end:
            # Half a million new objects make the collector walk all of them several times, for nothing.
            with _collector_paused(len(data) >= _BULK):
                self._take(data)
        self._stale = False

    def _take(self, data: bytes) -> None:
        start = self.log.end
        try:
            records = decode_records(data, start=start, make_dict=HashableDict)
        except DamagedRecordError as error:
            raise SweepStoreCorruptError(self.path, error.offset, error.reason) from None
        values = records.values
        if start == 0:
            if not values and self.log.is_torn_at_birth(data):
                self._mend_birth()
                return
            self._check_beginning(records)
        self._stale = True
        for offset, value in zip(records.offsets, values, strict=True):
            try:
                self.table.take(value)
            except ValueError as error:
                raise SweepStoreCorruptError(self.path, offset, str(error)) from None
        self.log.end = records.end
        self._tail += len(values)
        if records.torn:
            self._mend(records.torn)

    def _check_beginning(self, records: Records) -> None:
        """See that this is a log of ours, and that its snapshot is all there."""
        first = records.values[0] if records.values else None
        if not isinstance(first, list) or len(first) < 3 or first[:2] != [HEADER, FORMAT]:
            raise SweepStoreCorruptError(self.path, 0, records.torn or "it does not begin as a sweeper's log")
        if first[2] != VERSION:
            raise SweepStoreVersionError(self.path, first[2], VERSION)
        if len(first) != 4 or not isinstance(first[3], int):
            raise SweepStoreCorruptError(self.path, 0, "its first record is not as it should be")
        end = first[3] + (records.offsets[1] if len(records.offsets) > 1 else records.end)
        if records.end < end:
            raise SweepStoreCorruptError(
                self.path, records.end, f"its snapshot is damaged: {records.torn or 'cut off'}"
            )
        # Counted from the snapshot on: what is in it can not be compacted any more.
        self._tail = -sum(offset < end for offset in records.offsets)

    def _mend(self, reason: str) -> None:
        """There is a torn tail. It may be a write that is under way: who has no lock leaves it alone."""

    def _mend_birth(self) -> None:
        """The file is empty, or nearly."""


class Store(StoreReader):
    """The store in *directory*, which is made if it is not there.

    Every method but `reading` and `locked` must be called inside of one of these; `table` must only be
    looked at there.

    Args:
        lease: seconds without a sign of life after which other machines may take our claims.
        lock_timeout: seconds to wait for other processes in each operation; None: no limit.
        clock: gives the seconds since the epoch.
        tell: is called with an event, a text for the user, and fields for the journal, when a torn tail
            was cut off, or the log could not be compacted.

    Raises: as `StoreReader`, but for the missing log; and `SweepStoreBusyError`.
    """

    _writable = True

    def __init__(
        self,
        directory: str,
        *,
        lease: float,
        lock_timeout: float | None,
        tell: Callable[..., None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lease = lease
        self._lock_timeout = lock_timeout
        self._clock = clock
        self._tell = tell
        self._pid = os.getpid()
        self.owner: Owner = this_process(lease)
        self.mine: set[Entry] = set()
        """What this sweeper has claimed and not finished, also if somebody else has it by now."""
        if not os.path.exists(os.path.join(directory, LOG_NAME)) and execo_files(directory):
            raise ExecoStoreError(directory)
        make_directory(directory)
        self._remote = is_remote(directory)
        self._lock = StoreLock.at(directory)
        with self._lock.held(lock_timeout):
            path = os.path.join(directory, LOG_NAME)
            if not os.path.exists(path):
                write_log(path, [])
            super().__init__(directory)

    @contextmanager
    def reading(self) -> Iterator[Table]:
        """The table as it is now; no other process is waited for, unless another thread of ours is waiting.

        In a signal handler that has interrupted an operation: the table as it was.
        """
        with self._lock.peeking() as interrupting:
            if not interrupting:
                self._settle_after_fork()
                self.catch_up()
            yield self.table

    @contextmanager
    def locked(self) -> Iterator[Table]:
        """The table as it is now, and nobody else writes meanwhile."""
        with self._lock.held(self._lock_timeout):
            self._settle_after_fork()
            if self._remote:
                with contextlib.suppress(FileNotFoundError):  # which is told by the next line
                    self.log.revalidate()
            self.catch_up()
            yield self.table

    def _settle_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.owner = this_process(self._lease)
            self.mine.clear()
            self._stale = True  # another thread of the parent may have been in the middle of a record

    def write(self, records: list[Record]) -> LogFile:
        """Append *records*; they survive the death of this process. `LogFile.sync` of the answer, which may
        be called without the lock, makes them survive a power cut.

        Raises:
            TypeError: an element is not plain data.
            OSError: the disk is full, or broken; nothing has changed.
        """
        data = b"".join(map(encode_record, records))
        log = self.log
        self._stale = True
        log.append(data)
        if self._remote:
            log.sync()  # other machines see only what has left this one
        for record in records:
            self.table.take(record)
        self._stale = False
        self._tail += len(records)
        if self._tail > max(_PATIENCE, _GROWTH * len(self.table.numbered)):
            self._compact()
        return log

    def _compact(self) -> None:
        try:
            self.rewrite(self.table.saved)
        except OSError as error:  # what was to be written is written, and the log is as good as before
            self._tail = 0
            message = f"{self.path} could not be made shorter, which will be tried again: {error}"
            self._tell("sweeper.not_compacted", message, path=self.path, error=str(error))

    def rewrite(self, saved: list[Entry]) -> None:
        """Put a snapshot, with *saved* as the saved sweeps, in the place of the log.

        Others notice, as the file is another one.
        """
        write_log(self.path, self.table.snapshot(saved))
        self.reload()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Inside `locked`: let code of the user run; the table may have changed when it comes back.

        Raises:
            RuntimeError: it comes back in a child that it has forked, which does not hold the lock.
        """
        with self._lock.lent():
            yield
        if self._pid != os.getpid():
            raise RuntimeError(f"a filter of the sweeper in {self.directory} has forked, and returned in the child too")
        self.catch_up()

    def move(self, kind: int, entries: list[Entry], reason: str | None = None) -> LogFile:
        """Write that this process does *kind* to *entries*."""
        return self.write(self.table.transition(kind, self.owner, self._clock(), entries, reason))

    def reset(self, claims: bool) -> LogFile:
        """Write that what was skipped, and with *claims* what is in progress, is to do again."""
        return self.write(self.table.resetting(self.owner, self._clock(), claims))

    def renew(self, *, even_if_fresh: bool = False) -> None:
        """Give a sign of life, if we hold anything and the last sign is some time ago."""
        holder = self.table.holder_of(self.owner)
        now = self._clock()
        if holder is not None and holder.claims and (even_if_fresh or now - holder.seen > self._lease / _SIGNS):
            self.write([[ALIVE, holder.number, now]])

    def reclaim(self) -> list[tuple[Owner, list[Any]]]:
        """Give back what owners that are gone have held; the answer is who, and what."""
        now = self._clock()
        found = [
            (holder.owner, list(holder.claims))
            for holder in self.table.holders
            if holder.claims and holder.owner.token != self.owner.token and is_gone(holder.owner, holder.seen, now)
        ]
        for owner, entries in found:
            self.move(RETURN, entries, f"{owner} is gone")
        return [(owner, [entry.element for entry in entries]) for owner, entries in found]

    def _mend(self, reason: str) -> None:
        if self._lock.is_held():
            # Whoever wrote this died before it could be acknowledged, or the power failed before it was synced.
            self.log.cut(keep=not reason.startswith("cut off"))
            message = f"a crash had torn the last record of {self.path}, which was cut off at {self.log.end}: {reason}"
            self._tell("sweeper.repaired", message, path=self.path, offset=self.log.end, reason=reason)

    def _mend_birth(self) -> None:
        if self._lock.is_held():
            write_log(self.path, [])
            self.reload()


def make_directory(directory: str) -> None:
    """Make *directory*, with those above it, if it is not there."""
    if not os.path.isdir(directory):
        os.makedirs(directory, exist_ok=True)
        sync_directory(os.path.dirname(os.path.abspath(directory)))


@contextmanager
def _collector_paused(worthwhile: bool) -> Iterator[None]:
    if not worthwhile or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
