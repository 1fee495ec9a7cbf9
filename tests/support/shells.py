"""Real shells for what is meant for the shell of a remote host, and an eye on the processes that they start."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

from deadline import DEADLINE

__all__ = ["DEADLINE", "SHELLS", "Hosted", "Shell", "is_alive", "mark", "marked", "read_line", "wait_for_death"]


SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]


class Shell:
    """A directory in which ``sh`` is the shell of this name; nothing else of the machine changes."""

    def __init__(self, name: str, directory: Path) -> None:
        program = shutil.which(name)
        assert program is not None
        self.name = name
        self.path = str(directory / name / "sh")
        os.makedirs(directory / name, exist_ok=True)
        if not os.path.lexists(self.path):
            os.symlink(program, self.path)

    def line(self, line: str) -> str:
        """*line*, by this shell in place of /bin/sh."""
        return line.replace("/bin/sh", self.path)


class Hosted:
    """Processes that a test starts as a host would, each leading a session; all end with it."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self.pids: list[int] = []
        """Others that are to be ended."""

    def start(self, *argv: str, **kwargs: Any) -> subprocess.Popen[bytes]:
        """A process with pipes."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(argv, **{"start_new_session": True, **pipes, **kwargs})
        self._started.append(process)
        return process

    def close(self) -> None:
        """End all."""
        for pid in [*self.pids, *(process.pid for process in self._started if process.poll() is None)]:
            for end in (os.killpg, os.kill):
                try:
                    end(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        for process in self._started:
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            process.wait(DEADLINE)


def read_line(stream: IO[bytes] | None, deadline: float = DEADLINE) -> bytes:
    """The next line of a pipe, read byte by byte, so that select sees the rest."""
    assert stream is not None
    line = b""
    until = time.monotonic() + deadline
    while not line.endswith(b"\n"):
        assert select.select([stream], [], [], max(0.0, until - time.monotonic()))[0], f"no line, only {line!r}"
        byte = os.read(stream.fileno(), 1)
        assert byte, f"it ends, after {line!r}"
        line += byte
    return line


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b") ")[2][:1] not in (b"Z", b"X")


def wait_for_death(pid: int, deadline: float = DEADLINE) -> None:
    """Return when the process has ended; fail if it does not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], deadline)[0], f"process {pid} still runs"
    finally:
        os.close(fd)


def mark() -> str:
    """A number of seconds for sleep that nobody else sleeps, be it in another run of the tests: see `marked`."""
    return f"{1000 + os.getpid() % 1000}.{time.monotonic_ns() % 10**9:09d}"


def marked(*words: str) -> list[int]:
    """Pids of the processes in whose command lines all *words* are arguments."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if all(word.encode() in arguments for word in words):
            found.append(int(directory.name))
    return found
