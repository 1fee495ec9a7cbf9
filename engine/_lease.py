"""Who holds a combination, and whether that process can still be working on it.

Every claim names its owner: the process, so exactly that it can be told from
any other one, here or elsewhere. What can be known of an owner depends on
where it is:

- on this machine, in this boot and pid namespace: the kernel is asked, so a
  live owner never loses its claim, however long it works, and a dead one
  (zombies too) loses it at once;
- on this machine before it was booted last: it is dead;
- anywhere else (another machine, another container): nothing can be asked, so
  its claims are kept until it has given no sign of life for the seconds of its
  lease. Every operation of its sweeper is such a sign. Clocks of machines that
  share a directory should agree to well within a lease.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

__all__ = ["Owner", "is_gone", "this_process"]


class Owner(NamedTuple):
    """One process that works on combinations; as it stands in the log."""

    token: str
    """Random; no two sweepers have the same."""
    host: str
    machine: str
    """Contents of ``/etc/machine-id``: tells apart machines that have the same name; may be empty."""
    boot: str
    """The kernel's boot id: another one at each boot of each machine."""
    namespace: int
    """Inode of the pid namespace: the same pid in another container is another process."""
    pid: int
    started: int
    """When the process started, in clock ticks since boot: tells it from a later one with the same pid."""
    lease: float
    """Seconds without a sign of life after which other machines may take its claims."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process(lease: float) -> Owner:
    """This process as an owner, with a new token."""
    return Owner(
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        machine=_read("/etc/machine-id"),
        boot=_read("/proc/sys/kernel/random/boot_id"),
        namespace=_pid_namespace(),
        pid=os.getpid(),
        started=_state_of(os.getpid())[1] if os.path.exists("/proc/self/stat") else 0,
        lease=lease,
    )


def is_gone(owner: Owner, seen: float, now: float) -> bool:
    """Whether *owner*, who gave its last sign of life at *seen*, does not work any more.

    Both times are seconds since the epoch.
    """
    if owner.boot and owner.boot == _read("/proc/sys/kernel/random/boot_id"):
        if owner.namespace == _pid_namespace():
            return not _is_alive(owner)
    elif (owner.host, owner.machine) == (socket.gethostname(), _read("/etc/machine-id")) and seen < _boot_time():
        # Two machines cloned from one image may have name and id in common. The owner is gone only
        # if it gave no sign of life since this machine was booted; otherwise it is somewhere else.
        return True
    return now - seen > owner.lease


def _is_alive(owner: Owner) -> bool:
    try:
        state, started = _state_of(owner.pid)
    except OSError:
        return _exists(owner.pid)  # /proc may hide the processes of other users
    return started == owner.started and state not in "ZX"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _state_of(pid: int) -> tuple[str, int]:
    """State letter and start time of process *pid*, from ``/proc/PID/stat`` (proc(5): fields 3 and 22)."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    fields = text.rpartition(")")[2].split()  # field 2, the name, may contain blanks and brackets
    return fields[0], int(fields[19])


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _boot_time() -> float:
    """When this machine was booted, in seconds since the epoch; 0 if the kernel does not say."""
    for line in _read("/proc/stat").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
