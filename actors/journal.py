"""The journal: the structured log of one run, one JSON object a line, written by structlog.

A line::

    {"seq":7,"ts":1763692310.52,"event":"process.ended","pid":4711,"actor":"Process[3]","status":0}

======  ========================================================================
field   meaning
======  ========================================================================
seq     1, 2, 3, ... of one writer (a process that has opened, or inherited by
        fork, the journal); a number that is missing is a line that was lost
ts      seconds since the epoch when the event was told
event   a constant dotted name: what happened; the values are in the fields
pid     the process that writes
level   "debug", "info", "warning", "error": absent means "info"
actor   who tells it, where an actor does
======  ========================================================================

and whatever fields the event has. A given field with the name of one of the
first four gets an underscore behind it (``pid_``). `regisseur.actors._loggable`
tells how values become JSON, `regisseur.actors._mask` which secrets are hidden.

Each line is one ``write`` to a file opened with O_APPEND: lines of several
threads and processes never mix, and SIGKILL tears at most the last one. Who
opens the journal again ends such a torn line first, so that it stays alone.
Nothing is written with ``fsync``: what a program has told survives its own
death, but the last seconds may not survive that of the machine.

Reading is the business of `regisseur.engine.logfile`.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._mask import Masker
from ._output_store import INLINE_LIMIT, OutputStore

if TYPE_CHECKING:
    from types import TracebackType

    from ._eventlog import EventLogger

__all__ = ["Journal", "current_journal", "set_journal"]

_logger = logging.getLogger("regisseur.journal")


class Journal:
    """The structured log of one run, open for writing. Thread-safe, and safe after fork.

    In the child of a fork it goes on writing to the same file, as a writer with its own pid and seq.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        outputs: str | os.PathLike[str] | None = None,
        secrets: Iterable[str] | None = None,
    ) -> None:
        """Open *path* for appending, and create it where needed.

        Args:
            path: the file, ``log.jsonl`` of a run directory.
            outputs: the directory for outputs too large for a line, made when the first one is
                stored; without it ``outputs`` beside *path*.
            secrets: texts to hide besides the secrets of the environment.

        Raises:
            OSError: the file can not be opened. Later errors do not raise: see `error`.
        """
        # Imported here because it takes longer than all the rest of the package.
        from ._eventlog import event_logger

        self.path = Path(os.path.abspath(path))  # a script may change its directory later
        self._masker = Masker(os.environ, secrets or ())
        self.outputs = self.path.parent / "outputs" if outputs is None else Path(os.path.abspath(outputs))
        """The directory of the outputs that are too large for a line."""
        self._outputs = OutputStore(self.outputs, self._masker)
        self._appender = _Appender(self.path)
        self._events = event_logger(self._appender, self._masker)
        self.event = self._events.event
        """``event(name, /, **fields)``: write one event; never raises an Exception."""
        _watch_forks(self._appender)

    @property
    def error(self) -> OSError | None:
        """The last failure to write (a full disk, for instance); None if all went well."""
        return self._appender.error

    @property
    def lost(self) -> int:
        """How many events of this writer could not be written."""
        return self._appender.lost

    def bind(self, **fields: Any) -> EventLogger:
        """Return a logger whose ``event(name, **fields)`` writes here, with *fields* in every event."""
        logger: EventLogger = self._events.bind(**fields)
        return logger

    def add_secret(self, secret: str) -> None:
        """Hide *secret* in all that is written from now on; under 6 characters it is passed over."""
        self._masker.add(secret)

    def store_output(
        self, name: str, data_or_path: str | bytes | os.PathLike[str], *, inline: int = INLINE_LIMIT
    ) -> dict[str, Any]:
        """Keep an output for the log, and return what the event shall say of it. Never raises OSError.

        Blocks while it reads, hashes and writes: some 0.6 s for a file of 1 GiB that is in the outputs
        directory, 1.6 s where there are secrets to look for.

        Args:
            name: what to call it; made safe as a name of a file, and unique in the directory.
            data_or_path: the output, or a file that holds it. A file in the outputs directory stays
                where it is; another one is copied.
            inline: bytes up to which the output itself is returned, and no file written.

        Returns:
            ``{"size": bytes, "sha256": hex, "text": ...}`` for a short output (``"bytes"``, base64, in
            place of ``"text"`` if it is not UTF-8); ``{"size", "sha256", "path"}`` for a long one,
            with the path relative to the log's directory. All three describe what is stored, which
            is the output without secrets. Where it could not be stored ``"error"`` says why.
        """
        kept = self._outputs.store(name, data_or_path, inline)
        if "path" in kept:
            kept["path"] = os.path.relpath(kept["path"], self.path.parent)
        return kept

    def close(self) -> None:
        """Close the file; events told later count as lost. Closing twice is harmless."""
        self._appender.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_current: Journal | None = None


def current_journal() -> Journal | None:
    """Return the journal of the run that is going on in this process, or None. Thread-safe."""
    return _current


def set_journal(journal: Journal | None) -> Journal | None:
    """Make *journal* the current one, for all threads, and return the one before. Neither is closed."""
    global _current
    previous, _current = _current, journal
    return previous


class _Appender:
    """Writes lines at the end of a file, and numbers them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pid = os.getpid()
        self.error: OSError | None = None
        self.lost = 0
        self._seq = 0
        # Not a plain lock: a signal handler of the user's may log while its own thread is in here.
        self._lock = threading.RLock()
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._torn = self._ends_torn()

    def event(self, line: bytes) -> None:
        with self._lock:
            seq = self._seq + 1
            data = b'{"seq":%d,%b\n' % (seq, line)
            if self._torn:
                data = b"\n" + data
            # Counted before it is written: a KeyboardInterrupt can come right behind the write, but not
            # between these two lines.
            self._seq = seq
            try:
                written = os.write(self._fd, data)
            except OSError as error:
                self._fail(error)
                return
            if written == len(data):
                self._torn = False
                return
            # A disk that fills up takes the beginning of a line. The next one must not go on in it.
            self._torn = True
            self._fail(OSError(f"only {written} of {len(data)} bytes of a line could be written"))

    def refuse(self, name: str, error: Exception) -> None:
        with self._lock:
            self.lost += 1
            if self.lost == 1:
                _logger.warning("%s: event %r could not be written: %r", self.path, name, error)

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def after_fork_in_child(self) -> None:
        """Become a writer of its own: the lock may be held by a thread which the child does not have."""
        self._lock = threading.RLock()
        self.pid = os.getpid()
        self._seq = 0
        self.lost = 0

    def _fail(self, error: OSError) -> None:
        first = self.error is None
        self.lost += 1
        self.error = error
        if first:  # once, or a full disk would flood the terminal; this record also comes back here as an event
            _logger.warning("%s can not be written, events are lost: %s", self.path, error)

    def _ends_torn(self) -> bool:
        """True if the last writer was killed in the middle of a line."""
        size = os.fstat(self._fd).st_size
        return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"


_appenders: weakref.WeakSet[_Appender] = weakref.WeakSet()
_forks_watched = False


def _watch_forks(appender: _Appender) -> None:
    """Have *appender* told when it finds itself in the child of a fork."""
    global _forks_watched
    _appenders.add(appender)
    if not _forks_watched:
        _forks_watched = True
        os.register_at_fork(after_in_child=_after_fork_in_child)


def _after_fork_in_child() -> None:
    for appender in list(_appenders):
        appender.after_fork_in_child()
