"""ProxyCommand: the program that connects to a host in our place, as ssh's configuration may have it.

Run as ssh runs it: by a shell, with one socket for its input and output; what it says is kept. asyncssh could run it,
too, but without a shell, and would leave its end to a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess

__all__ = ["ProxyCommand"]

_TAIL = 4096  # bytes of its stderr that are of interest


class ProxyCommand:
    """See the module. Its `socket` belongs to who connects by it.

    Args:
        command: for a shell.

    Raises:
        OSError: there are no descriptors or processes to be had.
    """

    def __init__(self, command: str) -> None:
        self._said = os.memfd_create("stderr")
        try:
            self.socket, theirs = socket.socketpair()
        except BaseException:
            os.close(self._said)
            raise
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._said,
                start_new_session=True,
            )
        except BaseException:
            self.socket.close()
            os.close(self._said)
            raise
        finally:
            theirs.close()

    def end(self) -> str:
        """End it, and return what it has said at last. To be called once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        size = os.fstat(self._said).st_size
        said = os.pread(self._said, _TAIL, max(0, size - _TAIL))
        os.close(self._said)
        return said.decode(errors="replace")
