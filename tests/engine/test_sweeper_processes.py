"""engine.sweeper with many processes: nothing acknowledged is lost, nothing is given twice, whoever dies.

Processes are forked by small programs of their own, since a test program may have threads.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from regisseur.engine import _lease, _store
from regisseur.engine._lease import Owner, is_gone, this_process
from regisseur.engine.sweep import ParamSweeper

PRELUDE = """
import os, random, signal, sys, threading
from regisseur.engine.sweep import ParamSweeper, SweepView, sweep

directory = sys.argv[1]

def forked(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def run(program: str, directory: Path) -> str:
    """Run *program* after the prelude; it fails the test if it fails, or takes a minute."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_four_processes_do_each_combination_exactly_once(tmp_path: Path) -> None:
    run(
        """
def work(number):
    sweeper = ParamSweeper(directory + "/sweeps", range(600))
    with open(f"{directory}/done-{number}", "w") as file:
        while (taken := sweeper.get_next()) is not None:
            sweeper.done(taken)
            print(taken, file=file)

children = [forked(lambda: work(number)) for number in range(4)]
assert [0] * 4 == [wait(pid) for pid in children]
""",
        tmp_path,
    )
    shares = [list(map(int, (tmp_path / f"done-{number}").read_text().split())) for number in range(4)]

    assert list(range(600)) == sorted(each for share in shares for each in share)
    assert ParamSweeper(tmp_path / "sweeps", range(600)).counts() == {
        "total": 600,
        "remaining": 0,
        "inprogress": 0,
        "done": 600,
        "skipped": 0,
    }


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """One to three children take and finish combinations, and tell so; all are killed, wherever they are then.

    Snapshots are made all the time, so kills hit these too.
    """
    told = run(
        """
import regisseur.engine._store as store
store._PATIENCE, store._GROWTH = 30, 0
chance = random.Random(4)
combinations = sweep({"number": range(6000), "kind": ["x"]})
finished = {}   # acknowledged as done or skipped

def work(tell):
    sweeper = ParamSweeper(directory, combinations)
    while (taken := sweeper.get_next()) is not None:
        number = taken["number"]
        os.write(tell, b"claimed %d\\n" % number)
        step = ("done", "skip", "cancel")[min(chance.randrange(8), 2) if number % 5 else 0]
        getattr(sweeper, step)(taken)
        os.write(tell, b"%s %d\\n" % (step.encode(), number))

for life in range(100):
    pipes = [os.pipe() for _ in range(1 + life % 3)]
    chance.random()   # each child has other chances
    children = [forked(lambda: work(theirs)) for _, theirs in pipes]
    for _, theirs in pipes:
        os.close(theirs)
    files = [os.fdopen(ours, "rb") for ours, _ in pipes]
    lines = [files[0].readline() for _ in range(chance.randrange(1, 30))]
    for _ in range(chance.randrange(20000)):   # so that the kill hits any place between two lines
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    assert [-signal.SIGKILL] * len(children) == [wait(pid) for pid in children]
    steps = [line.split() for line in lines] + [line.split() for file in files for line in file]
    for step, number in steps:
        assert step != b"claimed" or int(number) not in finished, (life, number, "was given again")
    finished.update((int(number), step) for step, number in steps if step in (b"done", b"skip"))

    sweeper = ParamSweeper(directory, combinations)
    assert not sweeper.get_inprogress(), "the claims of the dead are free again"
    done, skipped = sweeper.get_done(), sweeper.get_skipped()
    for number, step in finished.items():
        assert combinations[number] in (done if step == b"done" else skipped), (life, number, step, "was lost")
print(len(finished))
""",
        tmp_path,
    )

    assert int(told.split()[-1]) > 300


def test_the_claims_of_the_dead_are_found_when_nothing_else_is_left(tmp_path: Path) -> None:
    run(
        """
sweeper = ParamSweeper(directory, range(3))
ready, never = os.pipe(), os.pipe()

def work():
    ParamSweeper(directory, range(3)).get_next_batch(2)
    os.write(ready[1], b".")
    os.read(never[0], 1)

child = forked(work)
os.read(ready[0], 1)
assert sweeper.get_next() == 2
assert sweeper.get_next() is None, "a live owner is never robbed"
assert sweeper.get_next(lambda remaining: remaining) is None
ParamSweeper(directory, range(3)).full_update()
assert [0, 1, 2] == list(sweeper.get_inprogress())

os.kill(child, signal.SIGKILL)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)   # it stays a zombie
assert sweeper.get_next(lambda remaining: remaining) == 0
assert sweeper.get_next() == 1
assert sweeper.statuses()[1].owner.startswith(f"process {os.getpid()} on ")
assert wait(child) == -signal.SIGKILL
""",
        tmp_path,
    )


def test_a_sweeper_survives_fork_and_parent_and_child_are_two_owners(tmp_path: Path) -> None:
    run(
        """
sweeper = ParamSweeper(directory, range(6))
assert sweeper.get_next() == 0

def work():
    assert sweeper.get_next() == 1
    sweeper.done(0)         # claimed by the parent
    assert sweeper.get_next() == 2
    assert sweeper.statuses()[2].owner.startswith(f"process {os.getpid()} on ")
    assert [1, 2] == list(sweeper.get_inprogress())

assert wait(forked(work)) == 0
assert [0] == list(sweeper.get_done())
assert [3, 4, 5, 1, 2] == [sweeper.get_next() for _ in range(5)], "what the child held is free, at last"

def cancels():
    sweeper.cancel(5)

assert wait(forked(cancels)) == 0
assert [5] == list(sweeper.get_remaining())
""",
        tmp_path,
    )


def test_a_child_that_is_forked_while_a_thread_holds_the_lock_is_free_to_work(tmp_path: Path) -> None:
    run(
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)   # threads and fork, which is what this is about
sweeper = ParamSweeper(directory, range(6))
inside, go = threading.Event(), threading.Event()

def slow(remaining):
    inside.set()
    go.wait()
    return remaining

thread = threading.Thread(target=lambda: sweeper.get_next(slow))
thread.start()
inside.wait()

def work():
    assert "6 total" in str(sweeper)
    assert sweeper.get_next() == 1      # waits for the parent's thread, as any other process does

child = forked(work)
go.set()
thread.join()
assert wait(child) == 0
""",
        tmp_path,
    )


def test_a_filter_that_returns_in_a_forked_child_too_takes_nothing_there(tmp_path: Path) -> None:
    run(
        """
sweeper = ParamSweeper(directory, range(6))
children = []

def forks(remaining):
    children.append(os.fork())
    return remaining

try:
    assert sweeper.get_next(forks) == 0
except RuntimeError as error:
    assert children == [0] and "has forked" in str(error)
    assert sweeper.get_next() == 1      # the parent has finished by then, or the lock is waited for
    os._exit(0)
assert children != [0]
assert wait(children[0]) == 0
assert [1, 2, 3, 4, 5] == sweeper.get_next_batch(9), "with what the child held"
""",
        tmp_path,
    )


def test_a_killed_parent_leaves_no_lock_with_its_children(tmp_path: Path) -> None:
    run(
        """
told, never = os.pipe(), os.pipe()

def parent():
    sweeper = ParamSweeper(directory, range(6))
    def forks(remaining):
        forked(lambda: (os.write(told[1], b"%d\\n" % os.getpid()), os.close(never[1]), os.read(never[0], 1)))
        return remaining
    sweeper.get_next(lambda remaining: (forks(remaining), os.kill(os.getpid(), signal.SIGKILL)))

assert wait(forked(parent)) == -signal.SIGKILL
orphan = int(os.read(told[0], 20))
try:
    assert ParamSweeper(directory, range(6), lock_timeout=30).get_next() == 0
finally:
    os.kill(orphan, signal.SIGKILL)
""",
        tmp_path,
    )


class TestLeases:
    ELSEWHERE: ClassVar[dict[str, Any]] = {
        "host": "paradoxe-3",
        "machine": "m2",
        "boot": "b2",
        "namespace": 1,
        "pid": 1,
        "started": 1,
    }

    def test_this_process_is_alive_and_a_pid_that_was_used_again_is_not_its_owner(self) -> None:
        me = this_process(60.0)

        assert not is_gone(me, 0.0, 1e12)
        assert is_gone(me._replace(started=me.started - 1), 1e12, 1e12)
        assert is_gone(me._replace(pid=2**22 + 1), 1e12, 1e12)

    def test_another_process_that_may_not_be_looked_at_is_alive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def hidden(pid: int) -> Any:
            raise FileNotFoundError(pid)

        me = this_process(60.0)
        monkeypatch.setattr(_lease, "_state_of", hidden)

        assert not is_gone(me._replace(pid=1), 0.0, 1e12)
        assert is_gone(me._replace(pid=2**22 + 1), 1e12, 1e12)

    @pytest.mark.parametrize("field", ["boot", "namespace"])
    def test_an_owner_elsewhere_is_gone_when_its_lease_has_passed(self, field: str) -> None:
        there = this_process(60.0)._replace(host="paradoxe-3")
        there = there._replace(boot="other") if field == "boot" else there._replace(namespace=7)

        assert not is_gone(there, 1000.0, 1060.0)
        assert is_gone(there, 1000.0, 1060.1)
        assert not is_gone(there, 1000.0, 900.0)

    def test_an_owner_from_before_this_machine_was_booted_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = this_process(1e9)._replace(boot="the one before")
        monkeypatch.setattr(_lease, "_boot_time", lambda: 5000.0)

        assert is_gone(before, 4999.0, 5001.0)
        assert not is_gone(before, 5000.5, 5001.0)  # a clone of this machine, with its name and id, is at work
        assert not is_gone(before._replace(machine="another"), 4999.0, 5001.0)

    def test_claims_of_another_machine_are_kept_for_its_lease_and_signs_of_life_renew_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [1_000_000.0]
        here = ParamSweeper(tmp_path, range(4))
        monkeypatch.setattr(_store, "this_process", lambda lease: this_process(lease)._replace(**self.ELSEWHERE))
        there = ParamSweeper(tmp_path, range(4), lease=100.0)
        for sweeper in (here, there):
            sweeper._store._clock = lambda: now[0]

        assert there.get_next_batch(2) == [0, 1]
        assert here.get_next_batch(2) == [2, 3]
        now[0] += 99
        assert here.get_next() is None
        there.done(1)  # a sign of life
        now[0] += 99
        assert here.get_next() is None
        there.renew()
        now[0] += 99
        assert here.get_next() is None
        assert there.get_next() is None  # so is asking, when the last sign is a quarter of the lease ago
        now[0] += 99
        assert here.get_next() is None
        now[0] += 2
        assert here.get_next() == 0

    def test_a_lost_lease_takes_nothing_away_and_done_is_done(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [1_000_000.0]
        monkeypatch.setattr(_store, "this_process", lambda lease: this_process(lease)._replace(**self.ELSEWHERE))
        there = ParamSweeper(tmp_path, range(4), lease=100.0)
        monkeypatch.undo()
        here = ParamSweeper(tmp_path, range(4))
        for sweeper in (here, there):
            sweeper._store._clock = lambda: now[0]
        there.get_next_batch(4)
        now[0] += 101
        assert here.get_next_batch(4) == [0, 1, 2, 3]

        there.cancel(0)  # it is another's by now
        there.skip(1)
        assert list(here.get_inprogress()) == [0, 1, 2, 3]
        there.done(2)
        assert list(here.get_done()) == [2]
        here.done(3)
        there.skip(3)
        there.cancel(3)
        here.cancel(2)
        here.done(2)
        assert list(here.get_done()) == [2, 3]
        assert here.get_next() is None

    def test_an_owner_is_shown_as_process_and_host(self) -> None:
        assert str(Owner(token="t", lease=1.0, **self.ELSEWHERE)) == "process 1 on paradoxe-3"
