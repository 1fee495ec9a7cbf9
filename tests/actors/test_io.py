"""The I/O actor: many children, few descriptors, odd circumstances; it survives all of them. With real processes."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from processes import DEADLINE, Ears, Stage, run_script
from regisseur.actors import _maker, _room, _spawn
from regisseur.actors._child import Child, Pipes
from regisseur.actors._environment import environment_block, environment_of_block
from regisseur.actors._io import IoActor
from regisseur.actors.config import configuration
from regisseur.actors.process import STDOUT, Process
from regisseur.actors.runtime import Runtime, current_runtime, use_runtime
from regisseur.protocols.messages import CloseInput, PauseOutput, ResumeOutput, SignalProcess, WriteInput


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


@pytest.fixture
def own() -> Iterator[Runtime]:
    """A runtime for one test, where it may be treated badly."""
    with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
        yield runtime


def actor(runtime: Runtime) -> IoActor:
    _ = runtime.io_address
    assert runtime._io is not None
    return runtime._io


def on_reactor(runtime: Runtime, function: Any) -> Any:
    """Call *function* on the reactor, behind all that was sent before; return its result."""
    results: list[Any] = []
    done = threading.Event()

    def call() -> None:
        try:
            results.append(function())
        finally:
            done.set()

    runtime.bus.call(call)
    assert done.wait(DEADLINE)
    return results[0]


# -- descriptors and processes that run out ----------------------------------------------------------------------------


@pytest.mark.slow
def test_with_256_open_files_200_processes_at_once_are_all_well() -> None:
    script = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from regisseur.actors import Process
processes = [Process(f"cat; echo {n}", shell=True).start() for n in range(200)]
for n, process in enumerate(processes):
    process.write("in ")
    process.close_stdin()
for n, process in enumerate(processes):
    assert process.wait(60).ok, process
    assert process.stdout == f"in {n}\\n", process.dump()
with open("/dev/null") as file:
    pass
print("ok", resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run_script(script) == "ok (256, 256)\n"


@pytest.mark.slow
def test_while_all_places_are_taken_the_rest_of_the_program_still_has_some() -> None:
    script = """
import os, resource, subprocess
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from regisseur.actors import Process
processes = [Process("cat").start() for _ in range(100)]
assert processes[0].pid
running = 0
while running < 30:
    running = sum(process._run.life.pid is not None for process in processes)
files = [open("/dev/null") for _ in range(8)]
assert subprocess.run(["echo", "theirs"], capture_output=True).stdout == b"theirs\\n"
processes[0].kill(auto_force_kill_timeout=1)
assert processes[0].wait(60).killed
for file in files:
    file.close()
for process in processes[1:]:
    process.close_stdin()
assert all(process.wait(60).ok for process in processes)
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_the_soft_limit_is_raised_when_it_is_needed_and_no_further() -> None:
    script = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from regisseur.actors import Process
assert Process("true").run().ok
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64
processes = [Process("cat").start() for _ in range(100)]
assert all(process.pid for process in processes)
for process in processes:
    process.close_stdin()
assert all(process.wait(60).ok for process in processes)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
assert soft == min(4096, hard), (soft, hard)
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_inputs_that_were_parked_can_be_written_to_and_closed() -> None:
    script = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from regisseur.actors import Process
processes = [Process("cat").start() for _ in range(28)]
assert all(process.pid for process in processes)
io = processes[0]._run.runtime._io
assert sum(child.stdin == -2 for child in io._children.values()) > 10
for n, process in enumerate(processes):
    if n % 3 == 0:
        process.write(f"{n}\\n")
    if n % 3 == 1:
        process.kill()
    process.close_stdin()
for n, process in enumerate(processes):
    assert process.wait(60).ok and process.stdout == (f"{n}\\n" if n % 3 == 0 else ""), process
print("ok")
"""
    assert run_script(script) == "ok\n"


def test_when_not_even_one_process_fits_that_is_its_error() -> None:
    script = """
import os, resource
from regisseur.actors import Process
assert Process("true").run(60).ok
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
while True:
    try:
        held.append(os.dup(0))
    except OSError:
        break
process = Process("true", nolog_error=True).run(60)
assert process.error and process.error_reason.errno == 24, process
assert "ulimit -Hn" in str(process.error_reason), process
for fd in held:
    os.close(fd)
assert Process("true").run(60).ok
print("ok")
"""
    assert run_script(script) == "ok\n"


def as_nobody(script: str) -> str:
    """A script that becomes another user once all is imported, for that user may read nothing of ours."""
    user = pwd.getpwnam("nobody")
    return f"""
import os, resource
from regisseur.actors import Process
from regisseur.actors.config import configuration
from regisseur.actors.runtime import stop_runtime
configuration["kill_childs_at_end"] = False
Process("true").run(60)
stop_runtime()
os.setgroups([])
os.setresgid({user.pw_gid}, {user.pw_gid}, {user.pw_gid})
os.setresuid({user.pw_uid}, {user.pw_uid}, {user.pw_uid})
{script}
print("ok")
"""


@pytest.mark.requires_root
def test_when_processes_run_out_starts_wait_for_the_end_of_others() -> None:
    # Root has as many as it likes.
    script = """
resource.setrlimit(resource.RLIMIT_NPROC, (30, 30))
processes = [Process("sleep 0.01").start() for _ in range(100)]
assert all(process.wait(60).ok for process in processes), [p for p in processes if not p.ok][0]
"""
    assert run_script(as_nobody(script)) == "ok\n"


@pytest.mark.requires_root
def test_a_directory_that_can_not_be_entered_by_its_name_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "closed" / "here").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    script = """
process = Process("/bin/pwd").run(60)
assert process.stdout.endswith("/closed/here\\n"), process.dump()
assert "no-such" in str(Process("no-such-program", nolog_error=True).run(60).error_reason)
there = Process("true", cwd=os.getcwd() + "/../here", nolog_error=True).run(60)
assert isinstance(there.error_reason, PermissionError), there
"""
    assert run_script(as_nobody(script), cwd=tmp_path / "closed" / "here") == "ok\n"


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.ENFILE])
def test_a_start_that_is_not_possible_now_waits_for_an_end(
    stage: Stage, own: Runtime, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    running = stage.process("cat").start()
    assert running.pid
    refusals = 0
    spawn = _spawn.spawn

    def refuse(*args: Any, **kwargs: Any) -> int:
        nonlocal refusals
        if actor(own)._children:
            refusals += 1
            raise OSError(number, os.strerror(number))
        return spawn(*args, **kwargs)

    monkeypatch.setattr(_maker, "spawn", refuse)
    waiting = [stage.process(f"echo {n}").start() for n in range(5)]
    while on_reactor(own, lambda: len(actor(own)._waiting)) < 5:
        assert running.running
    running.close_stdin()

    assert [process.wait(DEADLINE).stdout for process in waiting] == [f"{n}\n" for n in range(5)]
    assert 1 <= refusals < 100


def test_it_tries_again_after_a_while_when_others_had_used_up_everything(
    stage: Stage, own: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = stage.process("cat").start()
    assert running.pid
    spawn, refused = _spawn.spawn, threading.Event()

    def refuse_once(*args: Any, **kwargs: Any) -> int:
        if not refused.is_set():
            refused.set()
            raise OSError(errno.EAGAIN, "for now")
        return spawn(*args, **kwargs)

    monkeypatch.setattr(_maker, "spawn", refuse_once)

    assert stage.process("echo at last").run(DEADLINE).stdout == "at last\n"
    assert running.running


def test_when_nothing_of_ours_runs_a_shortage_is_an_error(
    stage: Stage, own: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(errno.EAGAIN, "never")

    assert stage.process("true").run(DEADLINE).ok
    monkeypatch.setattr(_maker, "spawn", refuse)

    assert stage.process("true").run(DEADLINE).error


def test_no_descriptor_is_left_of_processes_that_have_ended(stage: Stage, own: Runtime) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    assert stage.process("true").run(DEADLINE).ok
    before = on_reactor(own, open_files)
    for _ in range(3):
        batch = [stage.process("cat", pty=n % 2 == 0).start() for n in range(10)]
        batch += [stage.process("/no/such").start(), stage.process("true", cwd="/no/such", pty=True).start()]
        for process in batch:
            process.write("x\n")
            process.close_stdin()
        for process in batch:
            assert process.wait(DEADLINE).ended

    assert on_reactor(own, open_files) == before


# -- odd circumstances -------------------------------------------------------------------------------------------------


def test_a_start_that_breaks_in_an_unforeseen_way_is_an_error_and_the_next_goes_on(
    stage: Stage, own: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = _spawn.spawn

    def odd(argv: Any, **kwargs: Any) -> int:
        if argv[0] == b"odd":
            raise RuntimeError("nobody thought \udc80 of this")
        return spawn(argv, **kwargs)

    monkeypatch.setattr(_maker, "spawn", odd)
    broken, fine = stage.process("odd").start(), stage.process("echo fine").start()

    assert "nobody thought" in str(broken.wait(DEADLINE).error_reason)
    assert fine.wait(DEADLINE).stdout == "fine\n"


def test_a_configuration_that_can_not_be_read_breaks_no_start_behind_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("configuration:\n  color_mode: [\n")
    script = """
import os
from regisseur.actors import Process
process = Process("true", nolog_error=True)
try:
    process.run(60)
except Exception as error:
    print(type(error).__name__)
else:
    print(process.error, "config.yaml" in str(process.error_reason))
os.environ["REGISSEUR_CONFIG"] = "/dev/null"
print(Process("echo fine").run(60).stdout, end="")
"""
    out = run_script(script, env={**os.environ, "REGISSEUR_CONFIG": str(tmp_path / "config.yaml")})

    assert out == "True True\nfine\n"


def test_messages_for_processes_that_are_not_there_change_nothing(stage: Stage, own: Runtime) -> None:
    assert stage.process("true").run(DEADLINE).ok
    nobody = "ProcessActor-0"
    for message in (
        SignalProcess(nobody, signal.SIGTERM, False),
        SignalProcess(nobody, signal.SIGTERM, True),
        WriteInput(nobody, b"x"),
        CloseInput(nobody),
        PauseOutput(nobody, STDOUT),
        ResumeOutput(nobody, STDOUT),
    ):
        own.bus.tell(own.io_address, message)

    assert stage.process("echo alive").run(DEADLINE).stdout == "alive\n"


def test_what_goes_wrong_with_one_message_is_logged_and_the_actor_lives_on(stage: Stage, own: Runtime) -> None:
    process = stage.process("cat").start()
    assert process.pid
    with Ears("regisseur.io") as ears:
        own.bus.tell(own.io_address, SignalProcess(process._run.address, 12345, descendants=False))  # none such
        assert ears.next() == f"what {process._run.address} wants could not be done; the others go on"

    assert stage.process("echo alive").run(DEADLINE).stdout == "alive\n"
    process.close_stdin()
    assert process.wait(DEADLINE).exit_code == 0


def test_a_pause_and_a_resume_of_a_stream(stage: Stage, own: Runtime) -> None:
    process = stage.process("cat").start()
    assert process.pid
    own.bus.tell(own.io_address, PauseOutput(process._run.address, STDOUT))
    process.write("held\n")
    assert stage.process("echo others").run(DEADLINE).ok
    assert process.stdout == ""
    own.bus.tell(own.io_address, ResumeOutput(process._run.address, STDOUT))

    assert process.expect("held", DEADLINE)[0] == 0


def test_output_goes_into_the_file_in_order_however_busy_the_bus_is(stage: Stage, own: Runtime) -> None:
    # Between the decision to read straight into the file and the reading, chunks are still on their way.
    process = stage.shell("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done", output_limit=100).start()
    stop = threading.Event()

    def call_often() -> None:
        for _ in range(2000):
            own.bus.call(lambda: None)

    def flood() -> None:
        while not stop.is_set():
            on_reactor(own, call_often)

    flooding = threading.Thread(target=flood)
    flooding.start()
    process.wait(DEADLINE)
    stop.set()
    flooding.join()

    assert process._run.streams[STDOUT].diverted
    assert process.stdout == "".join(f"{n}\n" for n in range(20000))


def test_a_guardian_that_dies_is_replaced_and_knows_what_runs() -> None:
    script = """
import os, signal, sys
from regisseur.actors import Process
process = Process(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done"]).start()
assert process.expect("up", 60)[0] == 0
io = process._run.runtime._io
first = io._guard._guardian
os.kill(first.pid, signal.SIGKILL)
while io._guard._guardian in (first, None):
    pass
assert Process("true").run(60).ok
print(process.pid, flush=True)
sys.stdin.read()
"""
    controller = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with controller:
        assert controller.stdout is not None
        said = controller.stdout.readline()
        assert "the guardian process has died unexpectedly; starting another" in said
        process = os.pidfd_open(int(controller.stdout.readline()))
        controller.kill()
    assert select.select([process], [], [], DEADLINE)[0]
    os.close(process)


def test_without_a_guardian_processes_carry_no_mark() -> None:
    script = """
import os
from regisseur.actors import Process
from regisseur.actors.config import configuration
configuration["kill_childs_at_end"] = False
process = Process("env").run(60)
assert process.ok and "REGISSEUR" not in process.stdout, process.stdout
assert process._run.runtime._io._guard._guardian is None
print("ok")
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REGISSEUR")}
    assert run_script(script, env=environ) == "ok\n"


def test_what_waits_to_start_when_the_runtime_stops_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
        running = Process("sleep 1000").start()
        assert running.pid

        def refuse(*_: Any, **__: Any) -> int:
            raise OSError(errno.EAGAIN, "not now")

        monkeypatch.setattr(_maker, "spawn", refuse)
        waiting = [Process("true", nolog_error=True).start() for _ in range(5)]
        while on_reactor(runtime, lambda: len(actor(runtime)._waiting)) < 5:
            assert running.running

    assert all(process.wait(DEADLINE).error for process in waiting)
    assert all("the runtime has been stopped" in str(process.error_reason) for process in waiting)
    assert running.wait(DEADLINE).killed


def test_a_start_while_the_runtime_stops_does_not_hang() -> None:
    for _ in range(10):
        started: list[Process] = []
        some = threading.Event()

        with Runtime("regisseur-stage") as runtime:

            def start(started: list[Process] = started, some: threading.Event = some, own: Runtime = runtime) -> None:
                while own.running:
                    started.append(Process("true", nolog_error=True).start())
                    if len(started) == 5:
                        some.set()
                started.extend(Process("true", nolog_error=True).start() for _ in range(3))

            runtime.pool.submit(start)
            assert some.wait(DEADLINE)

        for process in started:
            with contextlib.suppress(pykka.ActorDeadError):
                assert process.wait(DEADLINE).ended
            assert process.future.done()


# -- its parts ---------------------------------------------------------------------------------------------------------


def test_an_environment_survives_the_way_to_the_actor() -> None:
    env = {"A": "", "B": "x=y\n", "É": "\udc80€"}

    assert environment_of_block(environment_block(env)) == env
    assert environment_of_block(environment_block({})) == {}
    assert environment_of_block(environment_block()) == dict(os.environ)


def test_the_block_of_an_unchanged_environment_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = environment_block()
    assert environment_block() is first
    monkeypatch.setenv("NEW", "1")
    assert b"\0NEW=1\0" in environment_block()
    monkeypatch.delenv("NEW")
    assert environment_block() == first


class _Limits:
    """The limits of open files, as if they were these."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, _: int, limits: tuple[int, int]) -> None:
        if limits[0] > limits[1] != -1:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits


@pytest.mark.parametrize(
    ("soft", "hard", "steps"),
    [
        (1024, 1024, []),
        (1024, 4096, [4096]),
        (1024, 10000, [4096, 8192, 10000]),
        (1024, 1 << 30, [4096, 8192, 16384]),
        (1024, -1, [4096, 8192, 16384]),
        (5000, 1 << 30, [10000, 20000, 40000]),
    ],
)
def test_the_limit_is_doubled_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, steps: list[int]
) -> None:
    limits = _Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)
    room = _room.Room()
    try:
        assert room.first_reserved == soft - 64
        taken: list[int] = []
        while len(taken) < 3 and room.make([]):
            taken.append(limits.now[0])
        assert taken == steps
        assert room.first_reserved == limits.now[0] - 64
        limits.now = (1 << 20, hard)  # the script has raised it
        assert room.make([])
        assert room.first_reserved == (1 << 20) - 64
    finally:
        room.close()


def test_few_places_are_reserved_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = _Limits(64, 64)
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    room = _room.Room()
    room.close()

    assert room.first_reserved == 56


def test_input_is_written_a_part_at_a_time_and_counted() -> None:
    pipes = Pipes(use_pty=False)
    child = Child("nobody", 0, -1, pipes)
    try:
        child.add_input(b"x" * (5 << 20))
        child.add_input(b"end")
        got = 0
        while not child.write_some():
            assert child.written - got <= 1 << 20
            got += len(os.read(pipes.theirs[0], 1 << 20))
        got += len(os.read(pipes.theirs[0], 1 << 20))
        assert got == child.written == (5 << 20) + 3
        assert child.midline
    finally:
        pipes.close_ours()
        pipes.close_theirs()


def test_a_process_may_be_started_from_the_reactor_itself(stage: Stage) -> None:
    process = stage.process("echo from the reactor")
    on_reactor(current_runtime(), process.start)

    assert process.wait(DEADLINE).stdout == "from the reactor\n"


def test_the_configuration_is_as_it_was() -> None:
    assert configuration["kill_childs_at_end"] is True
