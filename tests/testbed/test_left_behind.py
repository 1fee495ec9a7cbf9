"""Nothing stays on the hosts of a program that is killed, whatever it was doing."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from machine import Machine, until
from processes import DEADLINE

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed, pytest.mark.slow]

_AT_ONCE = 5.0 + 3.0
"""Seconds after which nothing may be left, on hosts that share a processor with nineteen others."""

_CONTROLLER = """
import sys
from regisseur.actors import Remote
names, params = eval(sys.argv[1])
stubborn = "trap '' TERM HUP; setsid sleep 1000 & sleep 1000 & echo begun; while :; do sleep 1000; done"
print("imported", flush=True)
for number in range(1000):
    long, short = Remote(stubborn, names, params).start(), Remote("seq 1000", names, params).start()
    long.expect("begun")
    short.wait()
    long.kill(auto_force_kill_timeout=0.1).wait()
"""


def test_nothing_is_left_of_programs_that_were_killed_at_random_moments(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    argv = [sys.executable, "-c", _CONTROLLER, repr((names, params))]
    chance = random.Random()
    programs = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    killers = []
    try:
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == b"imported\n"
            killers.append(threading.Timer(chance.uniform(0, 3), program.kill))
            killers[-1].start()
        for killer in killers:
            killer.join(DEADLINE)
        since = time.monotonic()
    finally:
        for program in programs:
            with program:
                program.kill()

    for host in hosts:
        left = since + _AT_ONCE - time.monotonic()
        until(lambda host=host: not host.processes(), f"nothing is left on {host}", left)  # type: ignore[misc]  # called at once
