"""A host that says very much, beside others that are talked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.remote import Remote

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_sshd, pytest.mark.requires_testbed, pytest.mark.slow]

_SIZE = 1 << 30  # bytes
_MEMORY = 150 << 20  # bytes that the program may grow by
_ANSWERS = 5  # of all the others while it lasts, at least; it takes seconds


@pytest.mark.timeout(300)
def test_a_gibibyte_from_one_host_takes_little_memory_and_does_not_hold_up_the_others(
    names: list[str], usual: dict[str, Any]
) -> None:
    count = 0

    def add_up(_process: object, _stream: int, text: str) -> None:
        nonlocal count
        count += len(text)

    others = Remote("cat", names[1:], usual).start()
    others.write("begin\n")
    assert [index for _, index, _ in others.expect("begin\n", timeout=DEADLINE)] == [0] * 19
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = memory("VmRSS")
    arguments: dict[str, Any] = {"default_stdout_handler": False, "stdout_handlers": add_up}
    flood = SshProcess(f"head -c {_SIZE} /dev/zero", names[0], usual, **arguments).start()
    answers = 0
    while not flood.ended:
        others.write(f"{answers}.\n")
        assert [index for _, index, _ in others.expect(rf"^{answers}\.\n", timeout=DEADLINE)] == [0] * 19
        answers += 1
    flood.wait(DEADLINE)
    peak = memory("VmHWM")
    others.close_stdin()

    assert (flood.ok, count) == (True, _SIZE)
    assert peak - before < _MEMORY
    assert answers >= _ANSWERS
    assert others.wait(DEADLINE).ok


def memory(field: str) -> int:
    """Of this program, in bytes: VmRSS now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)
