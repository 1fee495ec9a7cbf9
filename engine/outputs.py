"""Where the standard output and error of this process go: into files, or to both files and their former place.

It is done to the descriptors 1 and 2 themselves, so it holds for whatever
writes there: print, logging, C libraries, and children that inherit them.
Files are appended to, so that a continued run keeps what was said before.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
from collections.abc import Callable

from ..actors._tee import Tee

__all__ = ["copy_outputs", "keep_standard_descriptors", "redirect_outputs", "restore_outputs"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2

_undo: list[Callable[[], None]] = []
"""What takes back each change that is in force, the latest last."""


def redirect_outputs(
    stdout_filename: str | os.PathLike[str], stderr_filename: str | os.PathLike[str]
) -> Callable[[], None]:
    """Let all that this process and its children write go to the end of two files.

    With the same name twice both go into the one file, in the order in which they are written.

    Returns:
        A function which takes this back, and all that was changed later. At exit it is not needed.

    Raises:
        OSError: a file can not be opened; then nothing is changed.
    """
    fds = [_open(stdout_filename)]
    try:
        fds.append(fds[0] if _is_same(stdout_filename, stderr_filename) else _open(stderr_filename))
        return _install(fds[0], fds[-1], lambda: None)
    finally:
        for fd in set(fds):
            os.close(fd)


def copy_outputs(
    stdout_filename: str | os.PathLike[str], stderr_filename: str | os.PathLike[str], use_pty: bool = False
) -> Callable[[], None]:
    """Let all that this process and its children write go to the end of two files as well as where it went before.

    The copying is done by ``tee`` children, which at exit are given 5 seconds to finish.

    With the same name twice one tee copies both streams, since two could not keep their order. Then
    both also come out where stdout did: as with ``2>&1``, stderr is no longer apart.

    Args:
        use_pty: write into pseudo terminals, so that programs behave as on a terminal.

    Returns:
        A function which takes this back, and waits until all is copied.

    Raises:
        FileNotFoundError: there is no ``tee``, or no directory for a file; then nothing is changed.
        OSError: a file or pipe can not be opened; then nothing is changed.
    """
    for filename in (stdout_filename, stderr_filename):
        os.close(_open(filename))  # an error of tee's would come too late for the caller
    _flush()  # what was said before stays out of the files
    tees = [Tee(_STDOUT, [stdout_filename], use_pty=use_pty)]
    try:
        if not _is_same(stdout_filename, stderr_filename):
            tees.append(Tee(_STDERR, [stderr_filename], use_pty=use_pty))
    except BaseException:
        tees[0].close()
        raise

    def finish() -> None:
        for tee in tees:
            tee.close()

    return _install(tees[0].input, tees[-1].input, finish)


def restore_outputs() -> None:
    """Take back all that `redirect_outputs` and `copy_outputs` have done, the latest first."""
    for undo in reversed(_undo.copy()):
        undo()


def keep_standard_descriptors() -> None:
    """Put /dev/null where stdin, stdout or stderr was closed when the program began.

    Else a file that is opened, such as the log, gets that number, and what is meant for stdout goes into it.
    """
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the lowest number that is free: this one


def _install(stdout: int, stderr: int, finish: Callable[[], None]) -> Callable[[], None]:
    """Put duplicates of *stdout* and *stderr* into the places 1 and 2; *finish* comes after they were taken back."""
    _flush()
    former = [os.dup(_STDOUT), os.dup(_STDERR)]
    _put(stdout, stderr)
    buffering = _write_lines_at_once()
    owner = os.getpid()

    def undo() -> None:
        # In the child of a fork the streams are the child's, but the tees are the parent's.
        if undo not in _undo or os.getpid() != owner:
            return
        while _undo[-1] is not undo:  # later changes stand upon this one
            _undo[-1]()
        _undo.pop()
        _flush()
        _put(*former)
        for fd in former:
            os.close(fd)
        buffering()
        finish()

    if not _undo:
        atexit.unregister(restore_outputs)
        atexit.register(restore_outputs)
    _undo.append(undo)
    return undo


def _put(stdout: int, stderr: int) -> None:
    os.dup2(stdout, _STDOUT)
    os.dup2(stderr, _STDERR)


def _write_lines_at_once() -> Callable[[], None]:
    """Make sys.stdout write each line at once, or lines of children and of stderr would overtake it.

    Returns what makes it as it was.
    """
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper) or stream.line_buffering:
        return lambda: None
    stream.reconfigure(line_buffering=True)
    return lambda: stream.reconfigure(line_buffering=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, broken, or None under pythonw
            stream.flush()


def _open(filename: str | os.PathLike[str]) -> int:
    return os.open(filename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _is_same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """True if both names are of one existing file, or the same name."""
    return os.path.realpath(one) == os.path.realpath(other)
