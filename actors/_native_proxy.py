"""ProxyCommand: the program that connects to a host in our place, as ssh's configuration may have it.

Run as ssh runs it: by a shell, with one socket for its input and output; what it says is kept. asyncssh could run it,
too, but without a shell, and would leave its end to a thread.

Beside it waits a process that ends it when this program is gone, however that ended: for that closes a pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess

__all__ = ["ProxyCommand"]

# The pipe comes as stdin, the socket as stdout. The process that waits must not hold the socket.
_SCRIPT = """exec 3<&0
{ read x <&3; kill -9 0; } >/dev/null 2>&1 &
exec 0<&1 3<&-
exec %s"""
_TAIL = 4096  # bytes of its stderr that are of interest


class ProxyCommand:
    """See the module. Its `socket` belongs to who connects by it.

    Args:
        command: for a shell.

    Raises:
        OSError: there are no descriptors or processes to be had.
    """

    def __init__(self, command: str) -> None:
        with contextlib.ExitStack() as failing:
            self._said = os.memfd_create("stderr")
            failing.callback(os.close, self._said)
            self.socket, theirs = socket.socketpair()
            failing.push(self.socket)
            with theirs:
                life, self._life = os.pipe()
                failing.callback(os.close, self._life)
                try:
                    self._process = subprocess.Popen(
                        ["/bin/sh", "-c", _SCRIPT % command],
                        stdin=life,
                        stdout=theirs.fileno(),
                        stderr=self._said,
                        start_new_session=True,
                    )
                finally:
                    os.close(life)
            failing.pop_all()

    def descriptors(self) -> list[int]:
        """Those that are open, but for the socket."""
        return [self._said, self._life]

    def end(self) -> str:
        """End it, and return what it has said at last. To be called once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        size = os.fstat(self._said).st_size
        said = os.pread(self._said, _TAIL, max(0, size - _TAIL))
        os.close(self._said)
        os.close(self._life)
        return said.decode(errors="replace")
