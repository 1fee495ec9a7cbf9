"""The structlog side of the journal: the logger that actors hold, and its chain of processors.

A module of its own, because importing structlog takes longer than importing
the rest of `actors`: `Journal` imports it when the first one is opened.

An event goes ``EventLogger.event -> stamp -> render -> Appender.event``; the
last one, which writes, lives in `journal`.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import structlog
from structlog.typing import EventDict, WrappedLogger

from ._loggable import Renderer
from ._mask import OWN_FIELDS, Masker

__all__ = ["EventLogger", "LineSink", "event_logger"]


class LineSink(Protocol):
    """Where rendered lines go. Thread-safe, and never raises an Exception."""

    pid: int
    """The process that writes; changes in the child of a fork."""

    def event(self, line: bytes) -> None:
        """Write *line*, the inside of a JSON object behind its opening brace."""

    def refuse(self, name: str, error: Exception) -> None:
        """Count event *name* as lost because of *error*."""


class EventLogger(structlog.BoundLoggerBase):
    """A structlog logger with one verb, and the fields bound to it. Thread-safe.

    ``bind``, ``unbind`` and ``new`` give another logger, as structlog documents them.
    """

    def event(self, name: str, /, **fields: Any) -> None:
        """Write the event *name*, a constant dotted name, with *fields*; never raises an Exception.

        What the values look like in the log is told in `regisseur.actors.journal`.
        """
        try:
            if "event" in fields:  # structlog keeps the name of the event under this key
                fields["event_"] = fields.pop("event")
            (line,), _ = self._process_event("event", name, fields)
            self._logger.event(line)
        except Exception as error:  # telling what happens must never change what happens
            self._logger.refuse(name, error)


def event_logger(sink: LineSink, masker: Masker) -> EventLogger:
    """Return a logger that writes into *sink* what *masker* leaves.

    The chain is given here in full: nothing depends on ``structlog.configure()``, which belongs to
    the user's program.
    """

    def stamp(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        name = event_dict.pop("event")
        stamped = {"ts": time.time(), "event": name, "pid": sink.pid, **event_dict}
        if len(stamped) != len(event_dict) + 3 or "seq" in event_dict:
            renamed = {f"{key}_" if key in OWN_FIELDS else key: value for key, value in event_dict.items()}
            stamped = {"ts": time.time(), "event": name, "pid": sink.pid, **renamed}
        return stamped

    renderer = Renderer(masker.hide_in_bytes)

    def render(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> bytes:
        line = renderer.render(event_dict)
        if masker.is_touched(line):
            line = masker.hide_in_line(line)
        return line[1:]

    # structlog gives a proxy that makes a logger at each use; bind() gives the logger itself.
    logger: EventLogger = structlog.wrap_logger(
        sink,
        processors=[stamp, render],
        wrapper_class=EventLogger,
        context_class=dict,
    ).bind()
    return logger
