"""The guardian: what lives on after its controller is ended, and nothing else.

Each test starts a controller of its own, a small program which starts children that say their pids; then the
controller ends in one way or other, and pidfds tell what ends with it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadline import DEADLINE
from regisseur.actors._claims import HEADER, VARIABLE, Claims
from regisseur.actors._guardian import Guardian
from regisseur.actors._proctable import ProcessEntry
from regisseur.actors._spawn import spawn

CONTROLLER = """
import os, signal, subprocess, sys, time
from regisseur.actors._guardian import Guardian
from regisseur.actors._spawn import spawn
guardian = Guardian()

def start(*argv, watched=True, cookie=True):
    pid = spawn(argv, stdin=0, stdout=1, stderr=2, extra_env=dict([guardian.cookie]) if cookie else None)
    if watched:
        guardian.watch(pid)
        guardian.flush()
    return pid

def reap(pid):
    os.waitpid(pid, 0)
    guardian.ended(pid)
    guardian.flush()

def say(name, pid):
    os.write(1, b"%s %d\\n" % (name.encode(), pid))

say("guardian", guardian.pid)
"""


class Stage:
    """A controller under test and the processes that were heard of, each held by a pidfd."""

    def __init__(self, text: str) -> None:
        self.controller = subprocess.Popen(
            [sys.executable, "-c", CONTROLLER + text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.holders: dict[str, int] = {}
        self.pids: dict[str, int] = {}

    def hear(self, *names: str) -> None:
        """Wait until the processes of these names have said their pids."""
        assert self.controller.stdout is not None
        while not set(names) <= set(self.pids):
            name, _, pid = self.controller.stdout.readline().partition(" ")
            assert pid, f"the controller ended early; heard of {self.pids}"
            self.pids[name] = int(pid)
            self.holders[name] = os.pidfd_open(int(pid))

    def tell(self) -> None:
        """Let the controller go on from where it reads a line."""
        assert self.controller.stdin is not None
        self.controller.stdin.write("\n")
        self.controller.stdin.flush()

    def kill(self) -> None:
        self.controller.kill()
        self.controller.wait()

    def living(self) -> set[str]:
        poll = select.poll()
        for holder in self.holders.values():
            poll.register(holder, select.POLLIN)
        ended = {holder for holder, _ in poll.poll(0)}
        return {name for name, holder in self.holders.items() if holder not in ended}

    def wait_for_end_of(self, *names: str) -> None:
        """Wait until these have ended."""
        start = time.monotonic()
        for name in names:
            left = start + DEADLINE - time.monotonic()
            assert select.select([self.holders[name]], [], [], max(0.0, left))[0], f"{name} did not end"

    def close(self) -> None:
        self.controller.kill()
        living = self.living()
        for name, holder in self.holders.items():
            if name in living:
                signal.pidfd_send_signal(holder, signal.SIGKILL)
            os.close(holder)
        self.controller.communicate()


@pytest.fixture
def stages() -> Iterator[list[Stage]]:
    opened: list[Stage] = []
    yield opened
    for stage in opened:
        stage.close()


CAST = r"""
start("sh", "-c", "echo plain $$; exec sleep 1000")
start("sh", "-c", "trap '' TERM HUP INT; echo stubborn $$; sleep 1000 & echo stubborn-child $!; wait")
start("bash", "-c", "set -m; sleep 1000 & echo job $!; env -i sleep 1000 & echo bare-job $!; echo shell $$; wait")
reap(start("bash", "-c", "set -m; sleep 1000 & echo left-job $!; env -i sleep 1000 & echo left-bare-job $!"))
reap(start("setsid", "-f", "sh", "-c", "echo daemon $$; exec sleep 1000"))
start("sh", "-c", "echo parent $$; env -i setsid sh -c 'echo bare-daemon $$; exec sleep 1000'; wait")
stopped = start("sh", "-c", "kill -STOP $$; exec sleep 1000")
os.waitid(os.P_PID, stopped, os.WSTOPPED)
say("stopped", stopped)
start("sh", "-c", "echo untold $$; exec sleep 1000", watched=False)
start("sh", "-c", "echo unmarked $$; exec sleep 1000", cookie=False)
say("controller", os.getpid())  # only now the guardian knows of the unmarked one
"""
CAST_NAMES = (
    *("plain", "stubborn", "stubborn-child", "job", "bare-job", "shell", "left-job", "left-bare-job", "daemon"),
    *("parent", "bare-daemon", "stopped", "untold", "unmarked", "controller"),
)


@pytest.mark.parametrize("end", ["SIGKILL", "exit", "os._exit"])
def test_all_that_a_controller_started_ends_with_it(stages: list[Stage], end: str) -> None:
    stage = Stage(CAST + f"sys.stdin.readline(); {'os._exit(1)' if end == 'os._exit' else 'sys.exit()'}")
    stages.append(stage)
    stage.hear("guardian", *CAST_NAMES)

    assert {"guardian", *CAST_NAMES} == stage.living()
    if end == "SIGKILL":
        stage.kill()
    else:
        stage.tell()
    stage.wait_for_end_of(*CAST_NAMES, "guardian")

    assert not stage.living()


def test_nothing_else_ends(stages: list[Stage]) -> None:
    foreign = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    other = Stage("start('sh', '-c', 'echo child $$; exec sleep 1000'); sys.stdin.readline()")
    stages.append(other)
    other.hear("guardian", "child")
    stage = Stage(
        "start('sh', '-c', 'echo child $$; exec sleep 1000')\n"
        "say('own', subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)\n"
        "sys.stdin.readline()"
    )
    stages.append(stage)
    stage.hear("guardian", "child", "own")
    stage.kill()
    stage.wait_for_end_of("child", "guardian")
    survived = foreign.poll() is None
    foreign.kill()
    foreign.wait()

    assert survived
    assert stage.living() == {"own"}  # started by the script without our help: its own affair
    assert other.living() == {"guardian", "child"}


def test_a_forked_child_of_the_controller_does_not_hold_the_guardian_back(stages: list[Stage]) -> None:
    stage = Stage(
        "start('sh', '-c', 'echo child $$; exec sleep 1000')\n"
        "forked = os.fork()\n"
        "if not forked:\n"
        "    signal.pause()\n"
        "say('forked', forked)\n"
        "sys.stdin.readline()"
    )
    stages.append(stage)
    stage.hear("guardian", "child", "forked")
    stage.kill()
    stage.wait_for_end_of("child", "guardian")

    assert stage.living() == {"forked"}


def test_the_guardian_of_an_outer_controller_ends_what_an_inner_one_started(stages: list[Stage]) -> None:
    inner = CONTROLLER.replace('say("guardian"', 'say("inner-guardian"') + (
        "say('inner', os.getpid())\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "reap(start('setsid', '-f', 'sh', '-c', 'echo inner-daemon $$; exec sleep 1000'))\n"
        "signal.pause()"
    )
    stage = Stage(f"start(sys.executable, '-c', {inner!r}); sys.stdin.readline()")
    stages.append(stage)
    stage.hear("guardian", "inner", "inner-guardian", "inner-daemon")
    stage.kill()
    stage.wait_for_end_of("inner", "inner-guardian", "inner-daemon", "guardian")

    assert not stage.living()


def test_signals_that_end_others_do_not_end_the_guardian(stages: list[Stage]) -> None:
    stage = Stage("start('sh', '-c', 'echo child $$; exec sleep 1000'); sys.stdin.readline()")
    stages.append(stage)
    stage.hear("guardian", "child")
    wait_until_it_listens(stage.pids["guardian"])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.pidfd_send_signal(stage.holders["guardian"], number)

    assert stage.living() == {"guardian", "child"}
    stage.kill()
    stage.wait_for_end_of("child")


def wait_until_it_listens(pid: int) -> None:
    """Wait until the guardian process has taken its name, the last thing before it waits."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/comm") as name:
            if name.read() == "regisseur-guard\n":
                return
        os.sched_yield()
    pytest.fail("the guardian process did not start")


def test_a_controller_that_dies_at_once_leaves_nothing(stages: list[Stage]) -> None:
    stage = Stage("say('child', start('sleep', '1000', watched=False)); os.kill(os.getpid(), signal.SIGKILL)")
    stages.append(stage)
    stage.hear("guardian", "child")

    stage.wait_for_end_of("child", "guardian")


def test_a_guardian_that_died_is_replaced_and_its_successor_knows_all(stages: list[Stage]) -> None:
    stage = Stage(
        "import select\n"
        "plain = start('env', '-i', 'sh', '-c', 'echo plain $$; exec sleep 1000')\n"
        "reap(start('bash', '-c', 'set -m; env -i sleep 1000 & echo left-bare-job $!'))\n"
        "reap(start('setsid', '-f', 'sh', '-c', 'echo daemon $$; exec sleep 1000'))\n"
        "sys.stdin.readline()\n"
        "assert guardian.alive() and not guardian.reap()\n"
        "os.kill(guardian.pid, signal.SIGKILL)\n"
        "select.select([guardian.pidfd], [], [])\n"
        "assert not guardian.alive()\n"
        "guardian.watch(plain); guardian.flush()\n"  # no error from the broken socket
        "assert guardian.reap() and guardian.pidfd == -1\n"
        "guardian = Guardian(watch=[plain], after=guardian)\n"
        "say('second', guardian.pid)\n"
        "sys.stdin.readline()\n"
    )
    stages.append(stage)
    stage.hear("guardian", "plain", "left-bare-job", "daemon")
    stage.tell()
    stage.hear("second")

    assert stage.living() == {"second", "plain", "left-bare-job", "daemon"}
    stage.kill()
    stage.wait_for_end_of("plain", "left-bare-job", "daemon", "second")


@pytest.mark.parametrize("farewell", ["release", "dismiss"])
def test_a_released_or_dismissed_guardian_ends_nothing(stages: list[Stage], farewell: str) -> None:
    stage = Stage(
        "start('sh', '-c', 'echo child $$; exec sleep 1000')\n"
        f"sys.stdin.readline(); guardian.{farewell}(); say('controller', os.getpid()); sys.stdin.readline()"
    )
    stages.append(stage)
    stage.hear("guardian", "child")
    stage.tell()
    stage.hear("controller")
    stage.kill()
    stage.wait_for_end_of("guardian")

    assert stage.living() == {"child"}


def test_abandoning_it_after_fork_has_no_effect_on_it() -> None:
    guardian = Guardian()
    child = os.fork()
    if not child:
        guardian.abandon()
        os._exit(7 if not guardian.alive() and guardian.pidfd == -1 else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    alive = guardian.alive()
    guardian.dismiss()

    assert (status, alive) == (7, True)
    assert not guardian.alive()


def test_dismissing_it_twice_is_harmless_and_leaves_no_process_and_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    guardian = Guardian()
    guardian.dismiss()
    guardian.dismiss()
    guardian.flush()

    assert guardian.reap()
    assert len(before) == len(os.listdir("/proc/self/fd"))
    with pytest.raises(ProcessLookupError):
        os.kill(guardian.pid, 0)


def test_a_guardian_that_can_not_be_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        Guardian()

    assert len(before) == len(os.listdir("/proc/self/fd"))


def test_news_beyond_what_the_socket_takes_wait_and_arrive_whole(stages: list[Stage]) -> None:
    stage = Stage(
        "os.kill(guardian.pid, signal.SIGSTOP)\n"
        "for pid in range(100_000, 200_000): guardian.watch(pid)\n"
        "guardian.flush()\n"
        "child = start('env', '-i', 'sh', '-c', 'echo child $$; exec sleep 1000')\n"
        "sys.stdin.readline()\n"
        "os.kill(guardian.pid, signal.SIGCONT)\n"
        "while guardian._unsent: guardian.flush()\n"
        "say('controller', os.getpid()); sys.stdin.readline()"
    )
    stages.append(stage)
    stage.hear("guardian", "child")
    stage.tell()
    stage.hear("controller")
    stage.kill()

    stage.wait_for_end_of("child", "guardian")


def test_an_empty_session_is_forgotten_and_an_inhabited_one_is_not() -> None:
    guardian = Guardian()
    null = os.open(os.devnull, os.O_RDWR)
    source, sink = os.pipe()
    try:
        empty = spawn(["true"], stdin=null, stdout=null, stderr=null)
        shell = spawn(["bash", "-c", "set -m; sleep 1000 & echo $!"], stdin=null, stdout=sink, stderr=null)
        job = int(os.read(source, 100))
        for pid in (empty, shell):
            os.waitpid(pid, 0)
            guardian.ended(pid)
        os.kill(job, signal.SIGKILL)

        assert [shell] == list(guardian._lingering)
    finally:
        guardian.dismiss()
        for descriptor in (null, source, sink):
            os.close(descriptor)


# -- the rule ----------------------------------------------------------------------------------------------------------

COOKIE = "0123456789abcdef" * 2


def claims(*records: tuple[str, int, int], since: int = 100) -> Claims:
    rule = Claims()
    rule.take(stream(*records, since=since))
    return rule


def stream(*records: tuple[str, int, int], since: int = 100) -> bytes:
    header = COOKIE.encode() + since.to_bytes(8, "little")
    assert len(header) == HEADER
    return header + b"".join(
        name.encode() + pid.to_bytes(4, "little") + when.to_bytes(8, "little") for name, pid, when in records
    )


def process(pid: int, *, session: int, started: int, parent: int = 1, state: str = "S") -> ProcessEntry:
    return ProcessEntry(pid, state, parent, pid, session, threads=1, started=started)


def selected(rule: Claims, *table: ProcessEntry, marked: tuple[int, ...] = (), ended: int = 500) -> set[int]:
    def environment(pid: int) -> bytes:
        return f"A=1\0{VARIABLE}={COOKIE}\0".encode() if pid in marked else b"A=1\0"

    return {entry.pid for entry in rule.select({entry.pid: entry for entry in table}, ended, environment, spare={9})}


def test_a_session_whose_leader_was_not_reaped_is_ours_with_all_its_members() -> None:
    rule = claims(("W", 20, 0))
    old, new = process(20, session=20, started=200), process(21, session=20, started=700)

    assert selected(rule, old, new, process(22, session=22, started=200)) == {20, 21}


def test_a_session_number_that_was_given_out_again_is_not_ours() -> None:
    rule = claims(("W", 20, 0), ("W", 30, 0), ("E", 30, 300))

    assert not selected(rule, process(20, session=20, started=501), process(30, session=30, started=301))


def test_a_session_is_still_ours_while_one_member_is_as_old_as_its_leader() -> None:
    rule = claims(("W", 30, 0), ("E", 30, 300))

    assert selected(rule, process(31, session=30, started=300), process(32, session=30, started=450)) == {31, 32}


def test_a_zombie_proves_its_session_though_it_needs_no_signal() -> None:
    rule = claims(("W", 20, 0))
    dead, new = process(20, session=20, started=200, state="Z"), process(21, session=20, started=700)

    assert selected(rule, dead, new) == {21}


def test_a_session_that_was_forgotten_is_not_ours() -> None:
    assert not selected(claims(("W", 20, 0), ("F", 20, 0)), process(20, session=20, started=200))


def test_what_carries_the_cookie_and_its_descendants_are_ours() -> None:
    table = [process(40, session=40, started=200)]
    table += [process(41, session=41, started=200, parent=40), process(42, session=42, started=200, parent=41)]

    assert selected(claims(), *table, marked=(40,)) == {40, 41, 42}


def test_init_the_spared_and_processes_older_than_the_controller_are_never_ours() -> None:
    rule = claims(("W", 20, 0))
    table = [process(pid, session=20, started=200) for pid in (1, 9)] + [process(20, session=20, started=99)]

    assert not selected(rule, *table, marked=(1, 9, 20))


@pytest.mark.parametrize(
    ("environment", "ours"),
    [
        (f"{VARIABLE}={COOKIE}\0", True),
        (f"A=b\0{VARIABLE}=outer:{COOKIE}:inner\0B=c\0", True),
        (f"{VARIABLE}={COOKIE}", True),
        (f"{VARIABLE}={COOKIE}x\0", False),
        (f"X{VARIABLE}={COOKIE}\0", False),
        (f"A={VARIABLE}={COOKIE}\0", False),
        (f"{VARIABLE}=\0B={COOKIE}\0", False),
        ("", False),
    ],
)
def test_the_cookie_counts_only_as_a_part_of_its_variable(environment: str, ours: bool) -> None:
    assert ours == claims().marked(environment.encode())


@given(st.lists(st.tuples(st.sampled_from("WEF"), st.integers(1, 40), st.integers(0, 2**40))), st.data())
def test_the_stream_may_be_cut_anywhere(records: list[tuple[str, int, int]], data: st.DataObject) -> None:
    whole = claims(*records)
    text = stream(*records)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = Claims()
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces.take(text[start:end])

    assert (whole.sessions, whole.since) == (pieces.sessions, pieces.since)
