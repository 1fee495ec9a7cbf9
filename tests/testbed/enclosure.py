"""Enclosure: namespaces of network, mounts and processes in which a test bed lives, and which end as one.

Its pid 1 reads from a pipe that only we hold. When we are gone, killed or not, it reads the end and exits; then the
kernel kills all processes in there, and with the last of them mounts, interfaces and addresses go. So nothing is left
of a bed whose owner was killed, and a new one has nothing to clean up.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

__all__ = ["BedError", "Enclosure", "run"]

_LIMIT = 60.0  # seconds for one command

# The disks of the hosts, and the files of `ip netns`, lie in memory. A shell that waits for one child buries the others
# too: those who have lost their parent.
_INIT = """
set -e
mount -t tmpfs -o mode=755 testbed /run
mkdir /run/netns /run/sshd /run/testbed
ip link set lo up
echo ready
exec 3<&0 # in the background, 0 is /dev/null
cat <&3 >/dev/null 2>&1 &
exec >/dev/null 2>&1
wait $!
"""


class BedError(AssertionError):
    """A command that makes or changes the bed has failed; says which, and what it said."""


def run(*command: str, text: str = "") -> str:
    """Run a command to its end with *text* as its input; return what it says.

    Raises:
        BedError: it did not exit with 0.
    """
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode:
        raise BedError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Enclosure:
    """Made by its constructor, ended by `end`, and with this process at the latest.

    Raises:
        BedError: it can not be made here.
    """

    def __init__(self) -> None:
        flags = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
        self._keeper = subprocess.Popen(
            ["unshare", *flags, "sh", "-c", _INIT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which end the bed themselves
        )
        keeper = self._keeper
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        with keeper.stdout, keeper.stderr:
            if keeper.stdout.readline() != "ready\n":
                keeper.kill()
                keeper.wait()
                raise BedError(f"namespaces for the test bed can not be made: {keeper.stderr.read().strip()}")
        (child,) = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
        self.pid = int(child)
        """Of its pid 1, as it is seen from here."""

    def run(self, *command: str, text: str = "") -> str:
        """Run a command in there, see `run`. What it leaves running becomes a child of pid 1."""
        return run("nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--", *command, text=text)

    def path(self, path: str) -> Path:
        """How a file in there is named from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def end(self) -> None:
        """Kill all that runs in there, and wait until it is gone."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(_LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
