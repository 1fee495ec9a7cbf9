"""Where the commands write: results to stdout, messages to stderr, and whether in colour.

The only room of the command line that knows of streams; `execute` alone writes
to the descriptors themselves, since what a command says is bytes.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

__all__ = [
    "clean",
    "fill_standard_descriptors",
    "print_json",
    "print_line",
    "reader_is_gone",
    "say",
    "send_logs_to_stderr",
    "wants_colour",
    "write_out",
]

_STDOUT = 1


def print_line(line: str) -> None:
    """Write *line* to stdout; what the encoding of stdout lacks is written as ``\\xNN``, ``\\uNNNN``."""
    if sys.stdout is not None:  # a caller may have closed it
        encoding = sys.stdout.encoding or "utf-8"
        with _blaming_stdout():
            sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def print_json(value: Mapping[str, Any]) -> None:
    """Write *value* to stdout as one line of JSON, in UTF-8 whatever the locale; odd values as the log writes them."""
    if sys.stdout is not None:
        line = json_line(value)
        with _blaming_stdout():
            sys.stdout.flush()
            sys.stdout.buffer.write(line)


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return *value* as one line of JSON, as `print_json` writes it."""
    from ...actors._loggable import Renderer

    return Renderer(lambda data: data).render(value) + b"\n"


def write_out() -> None:
    """Bring what was printed to its reader now.

    Raises:
        BrokenPipeError: nobody reads it.
        OSError: it can not be written.
    """
    if sys.stdout is not None:
        with _blaming_stdout():
            sys.stdout.flush()


@contextlib.contextmanager
def _blaming_stdout() -> Iterator[None]:
    """Let an error say that it is about stdout: those of streams name no file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from error


def say(text: str, command: str | None = None) -> None:
    """Tell the user *text* on stderr, as the one line ``regisseur: <command>: <text>``."""
    who = f"regisseur: {command}" if command else "regisseur"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody hears it: that must change nothing
        write_out()  # so that on a terminal it comes behind what was printed before
    if sys.stderr is not None:  # a caller may have closed it: print() would take stdout then
        with contextlib.suppress(OSError, ValueError):
            print(f"{who}: {clean(text)}", file=sys.stderr, flush=True)


def clean(text: str) -> str:
    """Return *text* as one line, without what a terminal might obey (it may quote a file's name or content)."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode-escape", "replace").decode() for c in line)


def wants_colour(stream: TextIO | None) -> bool:
    """Whether to write to *stream* in colour.

    The first of these that is given decides: NO_COLOR (not empty: no), CLICOLOR_FORCE (not 0: yes), CLICOLOR (0: no),
    TERM (dumb: no); then whether it is a terminal.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if os.environ.get("CLICOLOR") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return stream is not None and stream.isatty()


def reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more, without writing to it."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def fill_standard_descriptors() -> None:
    """Open ``/dev/null`` for those of the descriptors 0, 1 and 2 that the caller has closed.

    Else the next file to be opened would get the number, and the output of a command.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one


def send_logs_to_stderr() -> None:
    """Let our loggers write warnings to stderr: in a script they write all to stdout, which here is for results."""
    import logging

    from ...actors.log import logger

    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
            handler.setLevel(logging.WARNING)
