"""The logger of engines, and the handler that carries what loggers say into the journal of the run."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from ..actors.journal import current_journal
from ..actors.log import get_logger

__all__ = ["JournalHandler", "logger"]

logger = get_logger("regisseur.engine")
"""The logger "regisseur.engine", for engines and the scripts around them."""


class JournalHandler(logging.Handler):
    """Writes each record as the event ``log.<level>`` into the current journal, where there is one.

    Fields: level, logger, message, and for an exception error (``{"type", "text"}``) and traceback.
    Runs in whichever thread logs.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; what can not be formatted is told as logging does, on stderr."""
        journal = current_journal()
        if journal is None:
            return
        try:
            level = record.levelname.lower()
            fields: dict[str, Any] = {"level": level, "logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[1] is not None:
                fields["error"] = record.exc_info[1]
                fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
            journal.event(f"log.{level}", **fields)
        except Exception:  # wrong arguments of a log call are the caller's, and must not stop it
            self.handleError(record)
