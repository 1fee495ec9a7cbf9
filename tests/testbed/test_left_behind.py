"""Nothing stays on the hosts of a program that is killed, whatever it was doing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from machine import Machine
from processes import DEADLINE
from regisseur.protocols.remote_shell import wrapped

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed, pytest.mark.slow]

_AT_ONCE = 2 * 5.0
"""Seconds after which nothing may be left: five, but these hosts share a processor with nineteen others."""

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
    for process in long.processes:
        process.kill(auto_force_kill_timeout=0.1)
    long.wait()
"""


def test_nothing_is_left_of_a_program_that_was_killed_at_a_random_moment(
    hosts: list[Machine], names: list[str], params: dict[str, Any]
) -> None:
    argv = [sys.executable, "-c", _CONTROLLER, repr((names, params))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"imported\n"
        killer = threading.Timer(random.uniform(0, 3), program.kill)
        killer.start()
        killer.join(DEADLINE)
    since = time.monotonic()

    assert program.returncode == -signal.SIGKILL  # else it was not at work
    for host in hosts:
        host.wait_idle(since + _AT_ONCE - time.monotonic())


def test_a_command_that_begins_when_its_connection_is_gone_already_ends(hosts: list[Machine]) -> None:
    command = wrapped("trap '' TERM HUP; setsid sleep 1000 & sleep 1000", "0123456789abcdef.1", watch=True)
    orphan = '( sleep .2; SSH_CONNECTION=gone exec setsid sh -c "$0" ) </dev/null >/dev/null 2>&1 &'

    hosts[0].run("sh", "-c", orphan, command)

    hosts[0].wait_idle(_AT_ONCE)
