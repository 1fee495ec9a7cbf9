"""The log that scripts write and read: ``logger``, and the colours of its lines and of ours: ``style``.

``logger`` is the standard logger "regisseur" with four more levels (DETAIL above DEBUG; TRACE; FDEBUG and IODEBUG
below it) and a handler that writes to what sys.stdout is at that moment, so redirections hold. Its level is
``configuration["log_level"]``, read when it is first needed; change it afterwards with ``logger.setLevel(...)``.

The root logger is not touched, and records go on to it: where it has handlers (logging.basicConfig was called, or a
test runs under pytest), they show each line once more. ``logger.propagate = False`` ends that.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from ..protocols.ansi import paint
from .config import DETAIL, FDEBUG, IODEBUG, TRACE, configuration, refuse_old_names

__all__ = ["DETAIL", "FDEBUG", "IODEBUG", "TRACE", "Logger", "Styler", "get_logger", "logger", "style"]

_TOP = "regisseur"

logging.addLevelName(IODEBUG, "IODEBUG")
logging.addLevelName(FDEBUG, "FDEBUG")
logging.addLevelName(TRACE, "TRACE")
logging.addLevelName(DETAIL, "DETAIL")


class Styler:
    """Writes texts in the colours of ``configuration["color_styles"]``, where ``configuration["color_mode"]`` is true.

    ``style.emph("text")`` is the same as ``style.set("emph", "text")``. A script adds styles of its own with
    ``configuration["color_styles"]["mine"] = ("green", "bold")``.
    """

    def set(self, style: str | int, string: str) -> str:
        """Return *string* in the colours of *style*; as it is where there is no such style.

        Args:
            style: a key of color_styles: a name, or a level of logging.

        Raises:
            ValueError: color_styles has a colour that does not exist.
        """
        if not configuration["color_mode"]:
            return string
        styles = configuration["color_styles"].get(style, ())
        return paint(string, styles.split() if isinstance(styles, str) else styles) if styles else string

    def __getattr__(self, name: str) -> Callable[[str], str]:
        if name.startswith("__"):  # what copy and pickle look for is no style
            raise AttributeError(name)
        return functools.partial(self.set, name)


style = Styler()
"""The one that every part uses."""


class Logger(logging.Logger):
    """A standard logger with methods for the levels iodebug, fdebug, trace and detail."""

    def iodebug(self, message: object, *args: object, **kwargs: Any) -> None:
        """Log what is read and written."""
        self._log_above(IODEBUG, message, args, kwargs)

    def fdebug(self, message: object, *args: object, **kwargs: Any) -> None:
        """Log calls of functions."""
        self._log_above(FDEBUG, message, args, kwargs)

    def trace(self, message: object, *args: object, **kwargs: Any) -> None:
        """Log the steps of processes and actions."""
        self._log_above(TRACE, message, args, kwargs)

    def detail(self, message: object, *args: object, **kwargs: Any) -> None:
        """Log what is too much for INFO, and still about the experiment."""
        self._log_above(DETAIL, message, args, kwargs)

    def _log_above(self, level: int, message: object, args: tuple[object, ...], kwargs: dict[str, Any]) -> None:
        if self.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 2  # the line shows who called detail(), not us
            self.log(level, message, *args, **kwargs)


class _TopLogger(Logger):
    """The logger whose level, until somebody sets one, is the configured one."""

    @property
    def level(self) -> int:
        own: int = self.__dict__["level"]
        return own if own != logging.NOTSET else configuration["log_level"]

    @level.setter
    def level(self, level: int) -> None:
        self.__dict__["level"] = level


class _Formatter(logging.Formatter):
    """Writes "date LEVEL: message"; "date LEVEL thread - function: message" where the level is DEBUG or below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        date = style.set("log_header", record.asctime)
        if logger.getEffectiveLevel() > logging.DEBUG:
            return f"{date} {style.set(record.levelno, f'{record.levelname}:')} {record.message}"
        level, place = style.set(record.levelno, record.levelname), f"{record.threadName} - {record.funcName}:"
        return f"{date} {level} {style.set('log_header', place)} {record.message}"


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to sys.stdout as it is when a record comes."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # not StreamHandler's, which would keep the stream of now
        self._chosen: TextIO | None = None
        self.setFormatter(_Formatter())

    @property
    def stream(self) -> TextIO:
        """Where to write: what setStream() was given, else sys.stdout."""
        return sys.stdout if self._chosen is None else self._chosen

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        self._chosen = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; programs without a standard output have no log."""
        if self.stream is not None:
            super().emit(record)


def get_logger(name: str) -> Logger:
    """Return the standard logger of that *name*, "regisseur" or "regisseur.something", as a Logger."""
    found = logging.getLogger(name)
    if not isinstance(found, Logger):
        # It may have been there before us (somebody set its level), so it is kept and learns our methods.
        found.__class__ = _TopLogger if name == _TOP else Logger
    assert isinstance(found, Logger)
    return found


logger = get_logger(_TOP)
"""The logger of scripts and of ours, under which every other of ours is."""

if not any(isinstance(handler, _StdoutHandler) for handler in logger.handlers):
    logger.addHandler(_StdoutHandler())

if not TYPE_CHECKING:  # a checker would take it that every name exists
    __getattr__ = refuse_old_names(__name__)
