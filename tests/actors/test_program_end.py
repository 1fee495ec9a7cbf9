"""What becomes of processes at the end of the program where ``kill_childs_at_end`` is false. With real processes."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processes import DEADLINE, run_script
from sshd import Sshd
from trees import wait_until

SPARE = 'configuration["kill_childs_at_end"] = False'
BEGIN = "from regisseur.actors import *\n"


class Survivors:
    """Processes that live on when their program has ended; the test ends them."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def of(self, said: str) -> list[bool]:
        """Whether each of the processes whose numbers were *said* is alive, and not about to end."""
        fds = []
        for pid in said.split():
            try:
                fds.append(os.pidfd_open(int(pid)))
            except ProcessLookupError:
                fds.append(-1)
        self._fds += [fd for fd in fds if fd != -1]
        return [fd != -1 and not ended(fd, 0.0) for fd in fds]

    def end(self) -> None:
        for fd in self._fds:
            if not ended(fd, 0.0):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)


def ended(fd: int, seconds: float) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


@pytest.fixture
def survivors() -> Iterator[Survivors]:
    made = Survivors()
    yield made
    made.end()


@pytest.mark.parametrize("how", ["script", "variable", "file"])
def test_processes_live_on_if_they_shall_however_that_is_told(how: str, tmp_path: Path, survivors: Survivors) -> None:
    environ = {**os.environ}
    if how == "variable":
        environ["REGISSEUR_KILL_CHILDS_AT_END"] = "false"
    elif how == "file":
        (tmp_path / "config.yaml").write_text("configuration: {kill_childs_at_end: false}\n")
        environ["REGISSEUR_CONFIG"] = str(tmp_path / "config.yaml")
    script = f"""{BEGIN}
{SPARE if how == "script" else ""}
processes = [Process("sleep 1000").start() for _ in range(5)]
processes.append(Process("trap '' TERM; sleep 1000 & echo $!; wait", shell=True).start())
print(processes[-1].expect("[0-9]+", 30)[1].group())
print(*[process.pid for process in processes])
"""
    assert survivors.of(run_script(script, env=environ)) == [True] * 7


def test_what_is_still_to_be_started_and_written_at_the_end_is(tmp_path: Path, survivors: Survivors) -> None:
    script = f"""{BEGIN}
import sys
{SPARE}
for number in range(20):
    here = Process("read line; echo $line $$ > new.$$; mv new.$$ $line; exec sleep 1000", shell=True, cwd=sys.argv[1])
    here.start().write(f"{{number}}\\n")
"""
    run_script(script, str(tmp_path))
    lines = [wait_for(tmp_path / str(number)).split() for number in range(20)]

    assert [number for number, _ in lines] == [str(number) for number in range(20)]
    assert survivors.of(" ".join(pid for _, pid in lines)) == [True] * 20


def wait_for(path: Path) -> str:
    wait_until(path.exists)
    return path.read_text()


def test_it_is_decided_at_the_end_and_the_guardian_knows(survivors: Survivors) -> None:
    script = f"""{BEGIN}
left = Process("sleep 1000 & echo $!; setsid sleep 1000 & echo $!", shell=True).run(30)
print(left.stdout)
process = Process("sleep 1000").start()
print(process.pid)
guardian = process._run.runtime._io._guard._guardian
{SPARE}
print(guardian.pid)
"""
    *pids, guardian = run_script(script).split()

    assert survivors.of(" ".join(pids)) == [True] * 3
    assert survivors.of(guardian) == [False]


def test_a_runtime_that_is_told_to_stop_ends_them_nevertheless(survivors: Survivors) -> None:
    script = f"""{BEGIN}
{SPARE}
print(Process("sleep 1000").start().pid)
stop_runtime()
"""
    assert survivors.of(run_script(script)) == [False]


@pytest.mark.slow
def test_connections_end_in_any_case(start_sshd: Callable[..., Sshd], survivors: Survivors) -> None:
    sshd = start_sshd()
    script = f"""{BEGIN}
from regisseur.actors._proctable import descendants
import os
{SPARE}
action = Remote("echo up; sleep 1000", [{sshd.address!r}] * 2, {sshd.connection_params!r}).start()
assert [index for _, index, _ in action.expect("up", timeout={DEADLINE})] == [0, 0]
masters = descendants(os.getpid())
assert masters
here = Process("sleep 1000").start()
print(here.pid, *masters)
"""
    alone, *masters = survivors.of(run_script(script))

    assert alone
    assert not any(masters)
