"""The files of Execo's sweeper: found, and read without trusting them.

To load a pickle is to run a program, so a file from somebody else may do
anything. The unpickler here knows sets, the plain types, and Execo's dict, and
refuses everything else by name. It reads pickles of Python 2 and 3, of all
protocols; byte strings of Python 2 become text.
"""

from __future__ import annotations

import io
import os
import pickle
import re
from typing import Any

from ._space import HashableDict
from ._store_errors import ExecoImportError

__all__ = ["execo_files", "load_pickles"]

_NEXT_PICKLE = re.compile(rb"\.(?=\x80[\x02-\x05])")  # STOP, and PROTO of the next


def execo_files(directory: str) -> list[str]:
    """The files of a store of Execo in *directory*; none if no file of its names holds a pickle."""
    paths = [os.path.join(directory, name) for name in ("done", "inprogress", "sweeps")]
    paths = [path for path in paths if os.path.isfile(path)]
    return paths if any(map(_is_pickle, paths)) else []


def _is_pickle(path: str) -> bool:
    with open(path, "rb") as file:
        if file.read(1) == b"\x80":  # protocol 2 and later
            return True
        file.seek(0)
        try:
            _Unpickler(file).load()
        except _RefusedError:
            pass
        except Exception:  # nearly anything comes of reading some other file as if it were a pickle
            return False
        return True


def load_pickles(path: str) -> tuple[list[Any], int]:
    """The values of all pickles in *path*, and the number of bytes of a last one that was cut short.

    Raises:
        ExecoImportError: one is damaged, with good ones behind it, or holds something that is not plain
            data; the text names it.
        OSError: the file can not be read.
    """
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

    def __init__(self, stream: Any) -> None:
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
