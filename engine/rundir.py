"""The run directory: everything about one run in one place.

::

    <run>/
      run.yaml        what was run: one entry for each session, a start in this directory
      log.jsonl       the structured log; all sessions, one after the other
      outputs/        outputs too large for the log
      sweep/          the store of a parameter sweeper
      code.diff       how the code differed from its commit (code-2.diff, ... for later sessions)
      run.lock        there only while the run is alive

`RunDirectory.create` begins a run, or a further session of one that was begun
before: of what is there nothing is lost. `RunDirectory.open` reads, and
disturbs nothing. ``run.yaml`` is replaced as a whole, by rename: a reader
never sees half of it, and a crash leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from ..actors._mask import Masker, clean_text
from ..actors.journal import Journal
from . import provenance
from ._lease import Owner, is_gone, this_process
from ._runlock import RunLock

__all__ = ["Outcome", "RunDirectory", "RunDirectoryError", "RunDirectoryInUseError", "Session", "newest_run"]

FORMAT = 1
"""Version of ``run.yaml``; a reader refuses a later one."""

Outcome = Literal["ok", "exception", "signal", "running", "killed", "unknown"]
"""How a session ended.

"ok", "exception" and "signal" (Ctrl-C) are what it said itself. Where it said nothing: "running" if
its process is alive, "killed" if it is not, "unknown" if it was started on another machine.
"""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class RunDirectoryError(Exception):
    """The directory *path* can not be used as a run directory, for *reason*."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"run directory {self.path}: {self.reason}"


class RunDirectoryInUseError(RunDirectoryError):
    """A live run has the directory *path*: process *pid* (None if not known) on *host*."""

    def __init__(self, path: str, pid: int | None, host: str) -> None:
        super().__init__(path, "")
        self.args = (path, pid, host)
        self.pid = pid
        self.host = host
        who = "another process" if pid is None else f"process {pid} on {host}"
        self.reason = f"in use by {who}: wait until it has ended, end it, or choose another directory"


@dataclass(frozen=True)
class Session:
    """One start in a run directory."""

    number: int
    """From 1."""
    facts: Mapping[str, Any]
    """As ``run.yaml`` has them: started, process, argv, cwd, user, host, code, regisseur, packages, ended, ..."""
    is_last: bool

    @property
    def started(self) -> float:
        """Seconds since the epoch."""
        return _from_iso(self.facts["started"])

    @property
    def ended(self) -> float | None:
        """Seconds since the epoch; None where it did not say."""
        return _from_iso(self.facts["ended"]) if self.facts.get("ended") else None

    @property
    def pid(self) -> int:
        """The process, on the machine that `facts` names."""
        return int(self.facts["process"]["pid"])

    @property
    def outcome(self) -> Outcome:
        """How it ended; finds out now whether it is alive."""
        if self.facts.get("outcome"):
            return cast("Outcome", self.facts["outcome"])
        if not self.is_last:
            return "killed"  # the next one could only begin because this one's lock was free
        owner = Owner(token="", lease=0.0, **self.facts["process"])
        if is_gone(owner, self.started, self.started):
            return "killed"
        here = this_process(0.0)
        return "running" if (owner.boot, owner.namespace) == (here.boot, here.namespace) else "unknown"


class RunDirectory:
    """The directory of one run. Not thread-safe: it belongs to the thread that runs the experiment."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name *path*, without looking at it; use `create` or `open`."""
        self.path = Path(os.path.abspath(path))  # a script may change its directory later
        self.run_file = self.path / "run.yaml"
        self.log_file = self.path / "log.jsonl"
        self.outputs = self.path / "outputs"
        self.sweep = self.path / "sweep"
        self.report = self.path / "report.html"
        self._content: dict[str, Any] = {"format": FORMAT, "name": self.path.name, "engine": None, "sessions": []}
        self._lock: RunLock | None = None
        self._seen: tuple[int, int] | None = None  # inode and mtime of run.yaml when it was read

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        engine: str | None = None,
        argv: Sequence[str] | None = None,
        code: str | os.PathLike[str] | None = None,
    ) -> RunDirectory:
        """Begin a session in *path*, which is made where needed; the caller must `end` it.

        Blocks while it asks git and the list of packages, some 0.05 s in all.

        Args:
            name: of the run; without it the name of the directory. Kept from the first session.
            engine: the class that runs, if one does.
            argv: the command line; without it ``sys.argv``. Secrets of the environment are hidden in it.
            code: the directory whose repository is recorded; without it that of the script
                ``argv[0]``, or the current one if there is no such file.

        Raises:
            RunDirectoryInUseError: a live run has it.
            RunDirectoryError: its ``run.yaml`` can not be read.
            OSError: it can not be made or written.
        """
        run = cls(path)
        run.path.mkdir(parents=True, exist_ok=True)
        lock = RunLock.take(run.path / "run.lock")
        if not isinstance(lock, RunLock):
            raise RunDirectoryInUseError(str(path), lock and lock.pid, lock.host if lock else "?")
        try:
            if run.run_file.exists():
                run._read()
            else:
                names = {"name": clean_text(name or run.path.name), "engine": engine and clean_text(engine)}
                run._content |= names
            run._begin(sys.argv if argv is None else argv, code, lock.owner)
        except BaseException:
            lock.release()
            raise
        run._lock = lock
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Read the run directory *path*; it may be alive, and is not disturbed.

        Raises:
            RunDirectoryError: it is none, or its ``run.yaml`` can not be read.
        """
        run = cls(path)
        run._read()
        return run

    @property
    def name(self) -> str:
        """The name of the run."""
        return str(self._content["name"])

    @property
    def engine(self) -> str | None:
        """The class of the engine that ran; None if none did."""
        return cast("str | None", self._content.get("engine"))

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All starts, the first one first; as they were when this directory was opened."""
        entries = self._content["sessions"]
        return tuple(Session(n, facts, n == len(entries)) for n, facts in enumerate(entries, 1))

    @property
    def outcome(self) -> Outcome:
        """How the last session ended; reads ``run.yaml`` again where that has changed. Cheap enough to ask often."""
        if self._lock is None and not self.sessions[-1].facts.get("outcome"):
            self._read()
        return self.sessions[-1].outcome

    def open_journal(self) -> Journal:
        """Open the log for writing. The caller closes it."""
        return Journal(self.log_file, outputs=self.outputs)

    def end(self, outcome: Outcome, **details: Any) -> None:
        """Record how this session ended, with *details* (plain data), and let the directory go.

        A second call, or one on a directory that was only opened for reading, changes nothing.

        Raises:
            OSError: ``run.yaml`` can not be written; the directory is let go all the same.
        """
        if self._lock is None or self._lock.owner.pid != os.getpid():
            return
        lock, self._lock = self._lock, None
        session = self._content["sessions"][-1]
        started = _from_iso(session["started"])
        ended = time.time()
        session |= {"ended": _to_iso(ended), "duration": round(ended - started, 6), "outcome": outcome}
        masker = Masker(os.environ)
        session |= {key: _hidden(value, masker) for key, value in details.items()}
        try:
            self._write()
        finally:
            lock.release()

    def _begin(self, argv: Sequence[str], code: str | os.PathLike[str] | None, owner: Owner) -> None:
        masker = Masker(os.environ)
        process = owner._asdict()
        del process["token"], process["lease"]
        session = {
            "started": _to_iso(time.time()),
            "process": process,
            "argv": [_hidden(str(argument), masker) for argument in argv],
            "cwd": clean_text(os.getcwd()),
            "user": provenance.user_name(),
            "host": provenance.host_facts(),
            "code": self._record_code(_script_directory(argv) if code is None else Path(code), masker),
            "regisseur": provenance.regisseur_version(),
            "packages": provenance.package_versions(),
        }
        self._content["sessions"].append(session)
        self._write()

    def _record_code(self, directory: Path, masker: Masker) -> dict[str, Any]:
        code = provenance.code_facts(directory)
        if code.diff is None:
            return code.facts
        diff = masker.hide_in_bytes(code.diff)
        digest = hashlib.sha256(diff).hexdigest()
        for earlier in self._content["sessions"]:
            kept = earlier["code"].get("diff")
            if kept and kept["sha256"] == digest:
                return code.facts | {"diff": dict(kept)}
        number = len(self._content["sessions"]) + 1
        file = self.path / ("code.diff" if number == 1 else f"code-{number}.diff")
        _replace(file, diff)
        kept = {"path": file.name, "size": len(diff), "sha256": digest}
        if diff != code.diff:
            kept["masked"] = True  # and so it will not apply as it is
        return code.facts | {"diff": kept}

    def _read(self) -> None:
        try:
            status = self.run_file.stat()
            if self._seen == (status.st_ino, status.st_mtime_ns):
                return
            content = yaml.load(self.run_file.read_bytes(), _Loader)
        except (FileNotFoundError, NotADirectoryError):
            raise RunDirectoryError(str(self.path), "not one, there is no run.yaml in it") from None
        except (OSError, yaml.YAMLError) as error:
            raise RunDirectoryError(str(self.path), f"run.yaml can not be read: {error}") from None
        reason = _what_is_wrong(content)
        if reason:
            raise RunDirectoryError(str(self.path), f"run.yaml {reason}")
        self._content, self._seen = content, (status.st_ino, status.st_mtime_ns)

    def _write(self) -> None:
        text = yaml.dump(self._content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        _replace(self.run_file, text.encode())


def newest_run(directory: str | os.PathLike[str], engine: str) -> Path | None:
    """Return the run directory right inside *directory* where *engine* was started last; None if there is none.

    What can not be read is passed over.
    """
    found: list[tuple[float, Path]] = []
    for path in _directories(directory):
        with contextlib.suppress(RunDirectoryError):
            run = RunDirectory.open(path)
            if run.engine == clean_text(engine):
                found.append((run.sessions[-1].started, path))
    return max(found)[1] if found else None


def _directories(directory: str | os.PathLike[str]) -> Iterable[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(directory) if entry.is_dir()]
    except OSError:
        return []


def _script_directory(argv: Sequence[str]) -> Path:
    script = Path(argv[0]) if argv else Path()
    return script.resolve().parent if script.is_file() else Path.cwd()


def _what_is_wrong(content: Any) -> str | None:
    """Return what makes *content* unusable as that of a ``run.yaml``; None if nothing does."""
    if not isinstance(content, dict) or "format" not in content:
        return "is not the description of a run"
    if content["format"] != FORMAT:
        return f"has format {content['format']!r}, and this release reads {FORMAT}: use the release that wrote it"
    sessions = content.get("sessions")
    if not isinstance(sessions, list) or not sessions:
        return "has no sessions"
    for number, session in enumerate(sessions, 1):
        try:
            view = Session(number, session, is_last=False)
            _ = view.started, view.ended, Owner(token="", lease=0.0, **session["process"]), session["code"].get("diff")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return f"has a session {number} that is not complete: {error!r}"
    return None


def _hidden(value: Any, masker: Masker) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item, masker) for key, item in value.items()}
    return masker.hide_in_text(clean_text(value)) if isinstance(value, str) else value


def _replace(path: Path, data: bytes) -> None:
    """Make *data* the content of *path*, so that a crash at any instant leaves the old or the new content."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _to_iso(ts: float) -> str:
    return datetime.datetime.fromtimestamp(ts, datetime.UTC).astimezone().isoformat()


def _from_iso(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
