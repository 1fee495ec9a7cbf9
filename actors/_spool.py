"""Spool files: where output beyond the limit of memory goes, how long it stays, and what the log gets of it.

In a run, the file lies in a directory below the run's outputs, so that what
the log keeps of it is the same file under another name; else it lies with the
temporary files. It goes away with the process object that it belongs to.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .journal import current_journal

if TYPE_CHECKING:
    from .journal import Journal

__all__ = ["log_file", "spool_file"]

_BELOW_OUTPUTS = ".spool"
_TRIES = 10


def spool_file(owner: object) -> tuple[str, weakref.finalize[Any, Any]]:
    """Make an empty file, and return its path and what removes it: when called, or when *owner* is no more.

    Raises:
        OSError: there is no place for it.
    """
    journal = current_journal()
    if journal is None:
        fd, path = tempfile.mkstemp(prefix="regisseur-output-")
    else:
        fd, path = _make_below(journal.outputs)
    os.close(fd)
    return path, weakref.finalize(owner, _remove, path, os.getpid())


def _make_below(outputs: Path) -> tuple[int, str]:
    directory = outputs / _BELOW_OUTPUTS
    for _ in range(_TRIES):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # it was the last file there that has just been removed
            return tempfile.mkstemp(prefix="output-", dir=directory)
    raise FileNotFoundError(f"{directory} goes away again and again")


def _remove(path: str, pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork that ends: the file is its parent's
    with contextlib.suppress(OSError):  # gone already, perhaps with its directory
        os.unlink(path)
    directory = os.path.dirname(path)
    if os.path.basename(directory) == _BELOW_OUTPUTS:
        with contextlib.suppress(OSError):  # there are others
            os.rmdir(directory)


def log_file(journal: Journal, name: str, path: str) -> dict[str, Any]:
    """Have *journal* keep the spool file *path*, and return what the log says of it. Blocks while it reads the file.

    The journal may write the file anew, without secrets; the process goes on reading the one it has written.
    """
    for kept in (journal.outputs / name, journal.outputs / f"{name}-{os.path.basename(path)}"):
        with contextlib.suppress(OSError):  # the name is taken; the run began later than this; there are no links here
            os.link(path, kept)
            return journal.store_output(name, kept)
    return journal.store_output(name, Path(path))
