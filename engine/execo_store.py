"""Stores that Execo's sweeper wrote: converted, without trusting them.

Execo keeps three files in the directory: ``done``, one pickle for each
combination that is done, appended; ``inprogress`` and ``sweeps``, one pickled
set each. They are read by `_store_execo`, which never runs them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from ._store import StoreReader, make_directory
from ._store_elements import checked, ordered
from ._store_errors import ExecoImportError, SweepStoreBusyError, SweepStoreMissingError
from ._store_execo import execo_files, load_pickles
from ._store_file import LOG_NAME, sync_directory, write_log
from ._store_lock import StoreLock
from ._store_table import DONE, ELEMENTS, TODO, Table

__all__ = ["ExecoImport", "import_execo_store"]

_LOCK_WAIT = 10.0  # seconds for another process in the destination


class ExecoImport(NamedTuple):
    """What `import_execo_store` found and did."""

    destination: str
    """The directory that holds the new store."""
    done: int
    """Combinations that are done."""
    sweeps: int
    """Combinations of the saved sweeps; 0: Execo had not saved them."""
    given_back: list[Any]
    """Combinations that were in progress: nobody is known to work on them, so they are to do."""
    torn: dict[str, int]
    """For each file whose last record was cut short by a crash: the bytes that could not be read."""
    kept: list[str]
    """The old files, under the names that they have now."""


def import_execo_store(
    directory: str | os.PathLike[str], destination: str | os.PathLike[str] | None = None
) -> ExecoImport:
    """Convert the store of Execo's ParamSweeper in *directory* to one that ours can open.

    Args:
        destination: where to make the new store; *directory* is then left as it is. None: in
            *directory* itself, where the old files get the ending ``.execo``.

    Raises:
        SweepStoreMissingError: there are no files of Execo's sweeper.
        ExecoImportError: a record is damaged, or holds objects of a class that is not allowed (the
            text names it), or the destination has a store already. Nothing was changed.
        SweepStoreBusyError: a running Execo uses the directory.
        OSError: the files can not be read or written.
    """
    source = os.fspath(directory)
    target = source if destination is None else os.fspath(destination)
    paths = execo_files(source)
    if not paths:
        raise SweepStoreMissingError(source)
    with _locked_against_execo(source, paths):
        found = {os.path.basename(path): load_pickles(path) for path in paths}
        torn = {path: found[os.path.basename(path)][1] for path in paths if found[os.path.basename(path)][1]}
        records = {name: values for name, (values, _) in found.items()}
        done = _elements(source, "done", records.get("done", []))
        sweeps = _elements(source, "sweeps", _only_set(source, "sweeps", records))
        working = _elements(source, "inprogress", _only_set(source, "inprogress", records))
        make_directory(target)
        with StoreLock.at(target).held(_LOCK_WAIT):
            _write(target, done, sweeps, may_exist=target == source)
        kept = [_rename(path) for path in paths] if target == source else paths
        sync_directory(source)
    finished = set(done)
    given_back = [each for each in working if each not in finished]
    return ExecoImport(target, len(finished), len(sweeps), given_back, torn, kept)


@contextmanager
def _locked_against_execo(directory: str, paths: list[str]) -> Iterator[None]:
    """See that no Execo is in the middle of an operation: it locks its files while it writes them."""
    with ExitStack() as stack:
        for path in paths:
            file = stack.enter_context(open(path, "rb"))
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                raise SweepStoreBusyError(directory, 0.0) from None
        yield


def _only_set(directory: str, name: str, records: dict[str, list[Any]]) -> list[Any]:
    values = records.get(name, [])
    if not values:
        return []
    if len(values) > 1 or not isinstance(values[0], (set, frozenset)):
        raise ExecoImportError(os.path.join(directory, name), 0, "one set was expected in it")
    return ordered(values[0])  # Execo has no order, so any will do that is always the same


def _elements(directory: str, name: str, values: list[Any]) -> list[Any]:
    try:
        return checked(values)
    except TypeError as error:
        raise ExecoImportError(os.path.join(directory, name), 0, str(error)) from None


def _write(directory: str, done: list[Any], sweeps: list[Any], *, may_exist: bool) -> None:
    path = os.path.join(directory, LOG_NAME)
    if os.path.exists(path):
        # An import that was interrupted before it had renamed the old files can be finished.
        there = StoreReader(directory).table
        if may_exist and all(each in there.index and there.index[each].state == DONE for each in done):
            return
        raise ExecoImportError(path, 0, "there is a sweeper's store already, and it is another one")
    finished = set(done)
    elements = list(dict.fromkeys([*sweeps, *done]))
    table = Table()
    table.take([ELEMENTS, 0, elements, bytes(DONE if each in finished else TODO for each in elements)])
    write_log(path, table.snapshot([table.index[each] for each in sweeps]))


def _rename(path: str) -> str:
    kept = f"{path}.execo"
    number = 1
    while os.path.exists(kept):
        number += 1
        kept = f"{path}.execo-{number}"
    os.rename(path, kept)
    return kept
