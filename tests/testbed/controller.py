"""A program that is always at work on the hosts, and is killed at a random moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from typing import Any

from machine import Machine
from processes import DEADLINE

__all__ = ["kill_at_random"]

_PROGRAM = """
import sys
from regisseur.actors import Remote, TaktukRemote
kind, names, params = eval(sys.argv[1])
stubborn = "trap '' TERM HUP; setsid sleep 1000 & sleep 1000 & echo begun; while :; do sleep 1000; done"
print("imported", flush=True)
for number in range(1000):
    long, short = kind(stubborn, names, params).start(), kind("seq 1000", names, params).start()
    long.expect("begun")
    short.wait()
    for process in long.processes:
        process.kill(auto_force_kill_timeout=0.1)
    long.wait()
"""


def kill_at_random(kind: str, hosts: list[Machine], params: dict[str, Any], longest: float) -> None:
    """Run it with actions of that *kind*, kill it within so many seconds, and see that nothing is left on any host."""
    names = [host.name for host in hosts]
    argv = [sys.executable, "-c", _PROGRAM, f"{kind}, {names!r}, {params!r}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"imported\n"
        killer = threading.Timer(random.uniform(0, longest), program.kill)
        killer.start()
        killer.join(DEADLINE)

    assert program.returncode == -signal.SIGKILL  # else it was not at work
    for host in hosts:
        host.wait_idle(DEADLINE)
