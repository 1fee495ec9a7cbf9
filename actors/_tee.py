"""``tee`` children: they copy what is written into a pipe (or pty) to our former output and to files."""

from __future__ import annotations

import os
import subprocess
import tty
from collections.abc import Sequence

__all__ = ["Tee"]


class Tee:
    """A running ``tee -a``: what is written to `input` goes to descriptor *output* and to the end of *files*.

    It lives in a session of its own, so that Ctrl-C, which the terminal sends to the whole
    foreground group, does not cut the last words of the program that it copies.
    """

    def __init__(self, output: int, files: Sequence[str | os.PathLike[str]], *, use_pty: bool = False) -> None:
        """Start it.

        Args:
            output: an open descriptor; the child has a duplicate.
            files: created where needed, and appended to.
            use_pty: give it a pseudo terminal in place of a pipe, so that who writes sees a terminal.

        Raises:
            FileNotFoundError: there is no ``tee`` on PATH.
            OSError: no pipe or process could be made.
        """
        source, self.input = os.openpty() if use_pty else os.pipe()
        """Descriptor to write to, not inherited by children; `Tee.close` closes it."""
        try:
            if use_pty:
                tty.setraw(self.input)  # a terminal would make "\r\n" of each "\n"
            self._process = subprocess.Popen(
                ["tee", "-a", "--", *(os.fspath(file) for file in files)],
                stdin=source,
                stdout=output,
                # At the end of a pty tee reports an input/output error, which is how a pty ends.
                stderr=subprocess.DEVNULL if use_pty else None,
                start_new_session=True,
            )
        except BaseException:
            os.close(self.input)
            raise
        finally:
            os.close(source)

    def close(self, timeout: float = 5.0) -> bool:
        """Close `input`, and wait up to *timeout* seconds until all is written; return whether it is.

        It is not while a child that inherited the descriptor is alive; then tee goes on copying for it.
        """
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True
