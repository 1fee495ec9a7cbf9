"""Nothing stays on the hosts of a program that is killed, whatever it was doing."""

from __future__ import annotations

from typing import Any

from controller import kill_at_random
from machine import Machine
from marks import SLOW_ON_THE_BED
from processes import DEADLINE
from regisseur.protocols.remote_shell import wrapped

pytestmark = SLOW_ON_THE_BED


def test_nothing_is_left_of_a_program_that_was_killed_at_a_random_moment(
    hosts: list[Machine], params: dict[str, Any]
) -> None:
    kill_at_random("Remote", hosts, params, 3)


def test_a_command_that_begins_when_its_connection_is_gone_already_ends(hosts: list[Machine]) -> None:
    command = wrapped("trap '' TERM HUP; setsid sleep 1000 & sleep 1000", "0123456789abcdef.1", watch=True)
    orphan = 'while kill -0 $$; do sleep .05; done; SSH_CONNECTION=gone exec setsid sh -c "$0"'

    hosts[0].run("sh", "-c", f"( {orphan} ) </dev/null >/dev/null 2>&1 &", command)

    hosts[0].wait_idle(DEADLINE)
