"""ControlSockets: the directory, private to this program, of the sockets by which its connections are shared."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile

__all__ = ["ControlSockets"]

_LONGEST_PATH = 107
"""Bytes in the path of a unix socket: the kernel's struct has 108, the last of them 0."""
_SUFFIX = 17
"""Bytes that ssh adds to the path while it makes the socket: a dot and 16 random letters."""


class ControlSockets:
    """See the module. The directory is made when the first path is wanted. For the reactor's thread."""

    def __init__(self) -> None:
        self._directory: str | None = None
        self._numbers = itertools.count(1)
        self._pid = os.getpid()

    def new_path(self) -> str:
        """A path at which there is nothing.

        Raises:
            OSError: no directory can be made whose paths are short enough for a socket.
        """
        if self._directory is None:
            self._directory = _short_directory()
        return os.path.join(self._directory, str(next(self._numbers)))

    def remove(self) -> None:
        """Remove the directory with all that is in it; not in a forked child, whose parent uses it."""
        if self._directory is not None and self._pid == os.getpid():
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def _short_directory() -> str:
    """A new directory of mode 0700."""
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]
    error: OSError | None = None
    for place in places:
        if len(os.fsencode(place)) + len("/regisseur-12345678/123456") + _SUFFIX > _LONGEST_PATH or not place:
            continue
        try:
            return tempfile.mkdtemp(prefix="regisseur-", dir=place)
        except OSError as problem:
            error = error or problem
    raise error or OSError(f"no directory for sockets among {places} is short enough: set TMPDIR to a shorter one")
