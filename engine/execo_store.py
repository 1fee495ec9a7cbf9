"""Stores that Execo's sweeper wrote: read without trusting them, and converted.

Execo keeps three files in the directory: ``done``, one pickle for each
combination that is done, appended; ``inprogress`` and ``sweeps``, one pickled
set each. To load a pickle is to run a program, so a directory from somebody
else may do anything. `import_execo_store` loads with an unpickler that knows
sets, the plain types, and Execo's dict, and refuses everything else by name.

Pickles of Python 2 and 3, of all protocols, are read; byte strings of Python 2
become text.
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from ._space import HashableDict
from ._store import StoreReader, execo_files, make_directory
from ._store_elements import checked, ordered
from ._store_errors import ExecoImportError, SweepStoreBusyError, SweepStoreMissingError
from ._store_file import LOG_NAME, sync_directory, write_log
from ._store_lock import StoreLock
from ._store_table import DONE, ELEMENTS, TODO, Table

__all__ = ["ExecoImport", "import_execo_store"]

_NEXT_PICKLE = re.compile(rb"\.(?=\x80[\x02-\x05])")  # STOP, and PROTO of the next
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
        found = {os.path.basename(path): _load(path) for path in paths}
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


# Reading pickles


def _load(path: str) -> tuple[list[Any], int]:
    """The values of all pickles in *path*, and the number of bytes of a last one that was cut short."""
    with open(path, "rb") as file:
        data = file.read()
    stream = io.BytesIO(data)
    values: list[Any] = []
    while stream.tell() < len(data):
        start = stream.tell()
        try:
            values.append(_converted(_Unpickler(stream).load()))
        except _RefusedError as error:
            raise ExecoImportError(path, start, str(error)) from None
        except Exception as error:  # a damaged pickle can raise nearly anything
            was_cut = isinstance(error, EOFError) or "truncated" in str(error)
            if was_cut and not _goes_on(data, start):
                return values, len(data) - start
            raise ExecoImportError(path, start, f"a damaged record: {error or type(error).__name__}") from None
    return values, 0


def _goes_on(data: bytes, start: int) -> bool:
    """Whether a whole pickle stands behind the bad one at *start*, which is then damaged, and not cut short."""
    for match in _NEXT_PICKLE.finditer(data, start):
        try:
            _Unpickler(io.BytesIO(data[match.end() :])).load()
        except Exception:  # it is no pickle: look on
            continue
        return True
    return False


class _RefusedError(Exception):
    """The pickle wants something that is not plain data."""


class _Loaded(HashableDict):
    """Stands for Execo's dict while a pickle is read; `_converted` makes ours of it."""

    def __setstate__(*_: Any) -> None:  # called on an object, or on the class itself by a forger
        """Ignore attributes: the dict has none, and those of this class are not for pickles to set."""


class _Unpickler(pickle.Unpickler):
    """Knows the classes that Execo's files are made of, and calls nothing else."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8", errors="surrogateescape")

    def find_class(self, module: str, name: str) -> Any:
        """What stands for the class or function *name* of *module*."""
        if name == "HashableDict" and module.partition(".")[0] == "execo_engine":
            return _Loaded
        known = _KNOWN.get((module, name))
        if known is None:
            raise _RefusedError(
                f"it holds an object of the class (or a call of) {module}.{name}, which a combination of plain data "
                "does not need; it was not loaded"
            )
        return known

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: Execo wrote no references to things outside."""
        raise _RefusedError(f"it refers to something outside of the file ({pid!r:.40})")


def _reconstructor(kind: Any, base: Any, state: Any) -> Any:
    """What protocols 0 and 1 call to make an object of a subclass of dict."""
    if kind is not _Loaded or base is not dict or not isinstance(state, dict):
        raise _RefusedError(f"it makes an object of {kind!r:.60} in a way that is not that of a dict")
    return _Loaded(state)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes in protocols 0 to 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError("it encodes something that is not text")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """How Python 3 writes ``b""`` in protocols 0 to 2. (``bytes`` itself would take a number, and all memory.)"""
    return b""


_KNOWN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    **{(module, "_reconstructor"): _reconstructor for module in ("copyreg", "copy_reg")},
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in {
            "set": set,
            "frozenset": frozenset,
            "dict": dict,
            "list": list,
            "tuple": tuple,
            "bytes": _empty_bytes,
        }.items()
    },
}


def _converted(value: Any) -> Any:
    """*value* with our dicts in the place of those that were loaded."""
    if isinstance(value, dict):
        made = HashableDict if isinstance(value, _Loaded) else dict
        return made((_converted(name), _converted(level)) for name, level in value.items())
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(_converted, value))
    return value
