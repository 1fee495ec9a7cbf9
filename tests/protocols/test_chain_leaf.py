"""What a host without python3 runs to take from a hop. That it works is tested in tests/actors/test_chain_put.py."""

from __future__ import annotations

import subprocess

import pytest

from deadline import DEADLINE
from regisseur.protocols.chain_leaf import LEAF_COMMAND, MAGIC, TOOLS, leaf_input


@pytest.mark.parametrize("tool", TOOLS)
def test_the_script_is_one_that_a_shell_can_read_and_the_command_has_nothing_of_it(tool: str) -> None:
    script = leaf_input(bytes(range(32)), tool, "198.51.100.1", 4711, 3, "cat >'a file'")

    assert subprocess.run(["/bin/sh", "-n"], input=script, capture_output=True, check=True).stderr == b""
    assert LEAF_COMMAND == "exec /bin/sh -s"


def test_who_does_not_answer_as_a_hop_gives_nothing() -> None:
    script = leaf_input(bytes(32), "nc", "198.51.100.1", 4711, 0, "wc -c")
    others = {"silence": ":", "noise": "head -c 500 /dev/zero", "a stranger": f"printf '{MAGIC.decode()}%0150d' 7"}
    for says in others.values():
        stranger = f"nc() {{ {says}; }}\n".encode()
        done = subprocess.run(
            ["/bin/sh", "-s"], input=stranger + script, capture_output=True, timeout=DEADLINE, check=False
        )

        assert done.stdout.strip() == b"0"
