"""Old idioms: scripts for Execo before 2.2 call what is an attribute by now, and Python's error does not tell that."""

from __future__ import annotations

import linecache
import re
import traceback

__all__ = ["explain_old_idiom"]

_ATTRIBUTES = frozenset(
    {
        *("cmd", "end_date", "ended", "error", "error_reason", "exit_code", "finished_ok", "forced_kill", "host"),
        *("killed", "name", "ok", "pid", "processes", "running", "start_date", "started", "stderr", "stdout"),
        *("timeout", "timeouted"),
    }
)
"""What processes and actions have as attributes."""

_CALL = re.compile(r"\.(\w+)\([^()]*\)$")


def explain_old_idiom(error: BaseException) -> None:
    """Add a note to *error* where it comes of a call such as ``process.ok()``: it tells what to write instead.

    Reads the line of the script that raised it. Does nothing with any other error.
    """
    if not isinstance(error, TypeError) or not str(error).endswith("object is not callable"):
        return
    call = _CALL.search(_failed_expression(error))
    if call is not None and call[1] in _ATTRIBUTES:
        error.add_note(f"{call[1]} is an attribute, not a method: write .{call[1]} without parentheses")


def _failed_expression(error: BaseException) -> str:
    """Return the text at the end of the traceback that Python would underline; "" where it is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    frame = frames[-1]
    if frame.lineno is None or frame.end_lineno is None or frame.colno is None or frame.end_colno is None:
        return ""
    lines = [linecache.getline(frame.filename, number).encode() for number in range(frame.lineno, frame.end_lineno + 1)]
    lines[-1] = lines[-1][: frame.end_colno]  # the columns count bytes of UTF-8
    # One more, for a call whose attribute stands on a line of its own begins behind the dot.
    lines[0] = lines[0][max(0, frame.colno - 1) :]
    return b"".join(lines).decode(errors="replace")
