"""Where the nodes of a user meet: a directory of mode 0700 with a socket and a lock file for each that listens.

The lock file tells the living from the dead: a node holds a lock on it as long
as it listens, and the kernel drops the lock however the process ends. Only who
holds the lock may make or remove the socket beside it.

The directory is ``regisseur`` in XDG_RUNTIME_DIR where that is the user's own,
else ``regisseur-<uid>`` in the directory for temporary files. Who looks for a
node looks in both, because a job started by cron or ssh may lack the variable.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from pathlib import Path

__all__ = ["Place", "check_name", "find_socket", "lock_place", "meeting_directories"]

_LONGEST_PATH = 107
"""Bytes in the path of a unix socket: the kernel's struct has 108, the last of them 0."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SOCKET, _LOCK = ".sock", ".lock"
_TRIES = 10  # who tidies up holds a dead node's lock for a moment


def check_name(name: str) -> str:
    """Return *name* if it can name a node or a published actor.

    Raises:
        ValueError: it can not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can not be a name: use up to 64 letters, digits, '.', '_' and '-'")
    return name


def meeting_directories() -> list[Path]:
    """The directories in which nodes of this user may listen, the one to listen in first. They need not exist."""
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        with contextlib.suppress(OSError):
            info = os.stat(runtime)
            if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():  # sudo keeps the variable of another user
                found.append(Path(runtime, "regisseur"))
    return [*found, Path(tempfile.gettempdir(), f"regisseur-{os.geteuid()}")]


def _check_directory(path: Path) -> None:
    """Raise PermissionError unless *path* is a directory, no link, of this user alone."""
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode):
        problem = "it is not a directory: remove it"
    elif info.st_uid != os.geteuid():
        problem = f"it belongs to user {info.st_uid}, not to {os.geteuid()}: remove it, or set XDG_RUNTIME_DIR"
    elif info.st_mode & 0o077:
        problem = f"other users may enter it (mode {stat.S_IMODE(info.st_mode):04o}): chmod 700 {path}"
    else:
        return
    raise PermissionError(errno.EPERM, f"nodes can not meet here, {problem}", str(path))


def _stem(directory: Path, name: str) -> str:
    """The file name, without suffix, for a node; a short hash where the name makes the path too long."""
    room = _LONGEST_PATH - len(os.fsencode(directory)) - 1 - len(_SOCKET)
    if len(name) <= room:
        return name
    hashed = "+" + hashlib.sha256(name.encode()).hexdigest()[:16]  # no name begins with "+"
    if len(hashed) > room:
        raise OSError(
            errno.ENAMETOOLONG,
            f"no unix socket fits into this directory: a path has at most {_LONGEST_PATH} bytes; "
            "set XDG_RUNTIME_DIR or TMPDIR to a shorter one",
            str(directory),
        )
    return hashed


class Place:
    """A socket's path that is ours: made by `lock_place`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def leave(self) -> None:
        """Remove the socket, then the lock. After the socket has been closed."""
        for file in (self.path, self.path.with_suffix(_LOCK)):
            with contextlib.suppress(OSError):
                file.unlink()
        os.close(self._lock)

    def forget(self) -> None:
        """In a forked child: close our copy of the lock; it stays with the parent."""
        os.close(self._lock)


def lock_place(name: str) -> Place:
    """Take the place for a node *name*, and remove what a dead one left there.

    Raises:
        FileExistsError: a living process listens under that name.
        PermissionError: the directory is not safe.
        OSError: it can not be made, or its path is too long.
    """
    directory = meeting_directories()[0]
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    _check_directory(directory)
    _tidy(directory)
    path = directory / (_stem(directory, name) + _SOCKET)
    for _ in range(_TRIES):
        lock = _lock(path.with_suffix(_LOCK), os.O_CREAT)
        if lock is not None:
            os.ftruncate(lock, 0)
            os.write(lock, b"%d\n" % os.getpid())
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return Place(path, lock)
        time.sleep(0.01)
    pid = path.with_suffix(_LOCK).read_text(encoding="ascii", errors="replace").strip()
    raise FileExistsError(errno.EEXIST, f"a node listens as {name!r} already, in process {pid or 'unknown'}", str(path))


def _lock(path: Path, flags: int = 0) -> int | None:
    """Open and lock *path*; None if somebody else holds it, or has just removed it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between open and lock the last owner may have removed the file: then our lock protects nothing.
        if os.path.samestat(os.fstat(lock), os.lstat(path)):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _tidy(directory: Path) -> None:
    """Remove the files of nodes whose process is dead."""
    for path in directory.glob("*" + _LOCK):
        lock = None
        with contextlib.suppress(OSError):
            lock = _lock(path)
        if lock is not None:
            Place(path.with_suffix(_SOCKET), lock).leave()


def find_socket(name: str) -> Path | None:
    """The socket of the node *name*, or None if there is none; it may be a dead one's."""
    for directory in meeting_directories():
        with contextlib.suppress(OSError):
            _check_directory(directory)
            path = directory / (_stem(directory, name) + _SOCKET)
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                return path
    return None
