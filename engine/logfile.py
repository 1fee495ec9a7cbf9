"""Reading ``log.jsonl``, the structured log of a run: for people, for programs, while it is being written or after.

``read_log`` yields one `LogRecord` for each whole line. What the log looks
like is told in `regisseur.actors.journal`.

A line that was torn (its writer was killed, or the disk was full) is reported
and passed over, wherever it stands; a whole record behind it in the same line,
from a writer that went on, is read. Anything else that is not a line of such a
log raises `LogError`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ..protocols.ansi import paint
from .log import logger

__all__ = ["LogError", "LogRecord", "TornLine", "format_record", "level_number", "read_log"]

POLL = 0.2
"""Seconds between two looks at a log that is followed: one ``fstat`` each, under 0.01 % of a CPU."""

_START = b'{"seq":'
"""How each line begins; what else may stand where a line is torn are the zeros of a crashed file system."""

_BLOCK = 1 << 18

_END_OF_TIME = 250_000_000_000
"""Seconds since the epoch, in the year 9892: what calendars can say."""

_OWN_FIELDS: dict[str, type | tuple[type, ...]] = {"ts": (int, float), "event": str, "seq": int, "pid": int}


class LogError(Exception):
    """The file *path* is no log of a run, or can not be read on: line *line* (from 1), for *reason*."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One event of a run."""

    line: int
    """Of the file, from 1."""
    ts: float
    """Seconds since the epoch."""
    event: str
    """Constant dotted name."""
    seq: int
    """Number among the lines of its writer, from 1."""
    pid: int
    """Process that wrote it."""
    fields: Mapping[str, Any]
    """Everything else; not to be changed."""

    @property
    def level(self) -> str:
        """ "debug", "info", "warning", "error", ...; "info" where the line has none."""
        return str(self.fields.get("level", "info"))

    @property
    def actor(self) -> str | None:
        """The actor that told it; None where no actor did."""
        actor = self.fields.get("actor")
        return None if actor is None else str(actor)

    def to_dict(self) -> dict[str, Any]:
        """Return the line as it stands in the log."""
        return {"seq": self.seq, "ts": self.ts, "event": self.event, "pid": self.pid, **self.fields}


@dataclass(frozen=True, slots=True)
class TornLine:
    """A line whose end is missing."""

    path: str
    line: int
    """From 1."""
    data: bytes
    """What is there."""
    at_end: bool
    """True if nothing follows it."""

    def __str__(self) -> str:
        where = "at the end" if self.at_end else "in the middle; what follows it is read"
        return f"{self.path}: line {self.line} is torn after {len(self.data)} bytes, {where}"


def read_log(
    path: str | os.PathLike[str],
    *,
    follow: bool = False,
    ended: Callable[[], bool] | None = None,
    actor: str | None = None,
    level: str | None = None,
    event: str | None = None,
    on_torn: Callable[[TornLine], None] | None = None,
    poll: float = POLL,
) -> Iterator[LogRecord]:
    """Yield the records of the log *path* in the order of the file.

    Args:
        follow: at the end, wait for more.
        ended: with *follow*, asked whenever there is nothing new; once it says True, what came until
            then is still read, and the iterator ends. Without it the iterator never ends.
        actor: only records of this actor; a pattern such as ``Process*`` is allowed.
        level: only records of this level ("warning", ...) and above.
        event: only this event; a pattern such as ``process.*`` is allowed.
        on_torn: told of each torn line, in the thread that iterates; without it the logger warns.
        poll: seconds between two looks, with *follow*.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: at the first step, as `open` does.
        LogError: the file is not such a log, or shrank while it was followed.
        ValueError: *level* is none.
    """
    least = None if level is None else level_number(level)
    tell = on_torn or (lambda torn: logger.warning("%s", torn))
    with Path(path).open("rb", buffering=0) as file:
        lines = _lines(str(path), file, (ended or (lambda: False)) if follow else (lambda: True), poll)
        for number, data, whole in lines:
            record = _parse(str(path), number, data, whole, tell)
            if record is not None and _is_wanted(record, actor, least, event):
                yield record


def level_number(level: str) -> int:
    """Return the number that `logging` has for the level called *level*, in upper or lower case.

    Raises:
        ValueError: there is no such level.
    """
    names = logging.getLevelNamesMapping()
    number = names.get(level.upper())
    if number is None:
        raise ValueError(f"no level {level!r}: use one of {', '.join(name.lower() for name in names)}")
    return number


def format_record(record: LogRecord, *, colour: bool = False) -> str:
    """Return *record* as one line for people: local time, level, event, ``key=value`` ...

    Control characters in values are escaped, so that output in the log can not steer the terminal.
    """
    seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.ts))
    stamp = f"{seconds}.{int(record.ts % 1 * 1000):03d}"
    level = _printable(f"{record.level.upper():7}")
    fields = {"pid": record.pid, **record.fields}
    fields.pop("level", None)
    pairs = " ".join(f"{_printable(key)}={_value(value)}" for key, value in fields.items())
    event = _printable(record.event)
    if colour:
        stamp = paint(stamp, ["cyan"])
        level = paint(level, _COLOURS.get(record.level, ["green"]))
        event = paint(event, ["bold"])
    return f"{stamp} {level} {event} {pairs}"


_COLOURS = {"warning": ["magenta"], "error": ["red", "bold"], "critical": ["red", "bold"], "debug": ["blue"]}


def _lines(path: str, file: BinaryIO, ended: Callable[[], bool], poll: float) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number, line without newline, True if it had one); wait at the end until *ended*."""
    number, rest, last = 0, b"", False
    while True:
        block = file.read(max(_BLOCK, len(rest)))  # growing, or a very long line would be copied again and again
        if block:
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                yield number, line, True
        elif last:
            break
        elif not (last := ended()):  # when it has ended, there is one more look, for what came before it did
            if os.fstat(file.fileno()).st_size < file.tell():
                raise LogError(path, number, "the file became shorter while it was read")
            time.sleep(poll)
    if rest:
        yield number + 1, rest, False


def _parse(path: str, number: int, data: bytes, whole: bool, tell: Callable[[TornLine], None]) -> LogRecord | None:
    """Return the record in *data*, the last one if a torn one stands before it; None if there is none."""
    if not data:
        return None  # a writer ended a line that another one had ended already
    try:
        return _record(path, number, orjson.loads(data))
    except orjson.JSONDecodeError as error:
        if not _START.startswith(data.lstrip(b"\0")[: len(_START)]):
            raise LogError(path, number, f"not a line of a run's log: {error}") from None
    # Torn. Where its writer was one of several, the next line stands right behind what there is of it.
    record = None
    begin = data.rfind(_START)
    if begin > 0:
        # It may also be an object inside of the torn line.
        with contextlib.suppress(orjson.JSONDecodeError, LogError):
            record = _record(path, number, orjson.loads(data[begin:]))
    tell(TornLine(path, number, data if record is None else data[:begin], at_end=not whole))
    return record


def _record(path: str, number: int, line: Any) -> LogRecord:
    if not isinstance(line, dict):
        raise LogError(path, number, f"not a line of a run's log: a JSON {type(line).__name__}, not an object")
    fields = dict(line)
    own = {name: fields.pop(name, None) for name in _OWN_FIELDS}
    for name, value in own.items():
        if not isinstance(value, _OWN_FIELDS[name]):
            raise LogError(path, number, f"not a line of a run's log: its field {name!r} is {value!r}")
    if not 0 <= own["ts"] < _END_OF_TIME:
        raise LogError(path, number, f"not a line of a run's log: its time is {own['ts']!r}")
    return LogRecord(number, float(own["ts"]), own["event"], own["seq"], own["pid"], fields)


def _is_wanted(record: LogRecord, actor: str | None, least: int | None, event: str | None) -> bool:
    if actor is not None and not (record.actor is not None and _matches(record.actor, actor)):
        return False
    if event is not None and not _matches(record.event, event):
        return False
    return least is None or logging.getLevelNamesMapping().get(record.level.upper(), logging.INFO) >= least


def _matches(name: str, pattern: str) -> bool:
    # Equality first: the names of actors have brackets in them.
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _value(value: Any) -> str:
    if not isinstance(value, str):
        return _printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    if value and value.isprintable() and not set(value) & set(" =\"'"):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _printable(text: str) -> str:
    """Return *text* with what a terminal might obey escaped as JSON does."""
    return text if text.isprintable() else json.dumps(text)[1:-1]
