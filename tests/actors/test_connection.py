"""Standing connections: what a host's actor makes of refusals, losses, limits and kills, over a real ssh and sshd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, QUIET
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.connection_errors import ConnectionLostError, HostBusyError, RefusedError
from regisseur.actors.remote import Remote
from regisseur.actors.runtime import Runtime
from shells import mark, marked
from sshd import Sshd, params_of
from trees import wait_until

pytestmark = [pytest.mark.requires_sshd, pytest.mark.usefixtures("stage")]

Start = Callable[..., Sshd]


@pytest.fixture(params=["shared connection", "native"])
def start_sshd(request: pytest.FixtureRequest, start_sshd: Start) -> Start:
    """Starts a server, to which connections stand in one way or the other."""

    def start(**options: Any) -> Sshd:
        server = start_sshd(**options)
        server.more_params = params_of(request.param)
        return server

    return start


def process(cmd: str, server: Sshd, **kwargs: Any) -> SshProcess:
    """A process on *server* that says nothing of itself."""
    return SshProcess(cmd, server.address, server.connection_params, **{**QUIET, **kwargs})


def test_commands_that_follow_each_other_share_one_connection(start_sshd: Start) -> None:
    server = start_sshd()
    first = process("true", server).run(DEADLINE)
    connections = server.connections()
    others = [process("true", server).start() for _ in range(20)]

    assert first.ok
    assert all(other.wait(DEADLINE).ok for other in others)
    assert server.connections() == connections
    assert len(connections) == 1
    assert {other.pid for other in others} == {first.pid}


def test_more_commands_than_a_connection_takes_get_another_and_none_is_seen_to_fail(start_sshd: Start) -> None:
    server = start_sshd(MaxSessions=4)
    processes = [process("cat", server).start() for _ in range(12)]
    for each in processes:
        each.write("x\n")
        assert each.expect("x", DEADLINE)[0] == 0  # all twelve run at the same time
    for each in processes:
        each.close_stdin()

    assert [(each.wait(DEADLINE).ok, each.stdout) for each in processes] == [(True, "x\n")] * 12


def test_a_busy_server_is_asked_again_until_it_lets_all_in(start_sshd: Start) -> None:
    server = start_sshd(MaxStartups="3:100:3")
    hosts = [f"127.0.0.{number + 1}" for number in range(20)]
    remote = Remote("echo hi", hosts, server.connection_params, process_args=QUIET).run(DEADLINE)

    assert [each.error_reason for each in remote.processes if not each.ok] == []
    assert {each.stdout for each in remote.processes} == {"hi\n"}


def test_a_server_that_stays_busy_is_an_error_of_its_own(start_sshd: Start) -> None:
    server = start_sshd(MaxStartups="1:100:1", LoginGraceTime=60)
    with occupied(server):
        params = {**server.connection_params, "connect_retries": 1}
        failed = SshProcess("true", server.address, params, **QUIET).run(DEADLINE)

    assert isinstance(failed.error_reason, HostBusyError)
    assert failed.error
    assert failed.exit_code is None


def test_a_connection_that_is_lost_fails_what_ran_over_it_and_the_next_command_gets_another(start_sshd: Start) -> None:
    server = start_sshd()
    running = process("echo begun; sleep 1000", server).start()
    assert running.expect("begun", DEADLINE)[0] == 0
    server.stop()
    running.wait(DEADLINE)
    server.start()

    assert isinstance(running.error_reason, ConnectionLostError)
    assert running.exit_code is None
    assert not running.ok
    assert process("true", server).run(DEADLINE).ok


def test_a_server_that_is_not_there_is_refused_at_once(start_sshd: Start) -> None:
    server = start_sshd()
    server.stop()
    failed = process("true", server).run(DEADLINE)

    assert isinstance(failed.error_reason, RefusedError)
    assert failed.error_reason.host == server.address


def test_a_kill_before_the_connection_is_there_withdraws_the_command(start_sshd: Start, tmp_path: Path) -> None:
    server = start_sshd()
    killed = process(f"touch {tmp_path}/ran", server).start().kill().wait(DEADLINE)

    assert killed.killed
    assert killed.ok
    assert killed.exit_code == -signal.SIGTERM
    assert process("true", server).run(DEADLINE).ok
    if killed.pid is None:
        assert not (tmp_path / "ran").exists()


def test_a_timeout_counts_the_time_of_connecting(start_sshd: Start) -> None:
    server = start_sshd(MaxStartups="1:100:1", LoginGraceTime=60)
    with occupied(server):
        late = process("true", server, timeout=0.3).run(DEADLINE)

    assert late.timeouted
    assert not late.ok
    assert (late.pid, late.exit_code) == (None, -signal.SIGTERM)


def test_all_that_a_command_has_started_ends_with_its_handle(start_sshd: Start, tmp_path: Path) -> None:
    server = start_sshd()
    seconds = mark()
    script = f"trap '' TERM; setsid sleep {seconds} & sleep {seconds} & env -i sleep {seconds} & echo begun; wait"
    running = process(script, server).start()
    assert running.expect("begun", DEADLINE)[0] == 0
    running.kill(auto_force_kill_timeout=0.2).wait(DEADLINE)

    assert running.forced_kill
    assert running.exit_code == -signal.SIGKILL
    wait_until(lambda: not marked("sleep", seconds))


def test_nothing_is_left_on_the_host_when_the_program_is_killed(start_sshd: Start) -> None:
    server = start_sshd()
    seconds = mark()
    code = (
        "import sys; from regisseur.actors import Remote; "
        f"r = Remote(\"trap '' TERM; setsid sleep {seconds} & sleep {seconds} & echo begun; wait\", sys.argv[2:], "
        "eval(sys.argv[1])).start(); r.expect('begun'); print('begun', flush=True); r.wait()"
    )
    argv = [sys.executable, "-c", code, repr(server.connection_params), *[f"127.0.0.{n}" for n in range(1, 6)]]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"begun\n"
        program.kill()

    wait_until(lambda: not marked("sleep", seconds))


def test_the_end_of_the_runtime_closes_connections_and_removes_their_sockets(start_sshd: Start, stage: Runtime) -> None:
    server = start_sshd()
    assert process("true", server).run(DEADLINE).ok
    assert server.connections()
    stage.stop()

    deadline = time.monotonic() + DEADLINE
    while server.connections():
        assert time.monotonic() < deadline


def test_an_idle_connection_is_closed(start_sshd: Start) -> None:
    server = start_sshd()
    params = {**server.connection_params, "idle_timeout": 0.2}
    assert SshProcess("true", server.address, params, **QUIET).run(DEADLINE).ok

    deadline = time.monotonic() + DEADLINE
    while server.connections():
        assert time.monotonic() < deadline
    assert SshProcess("true", server.address, params, **QUIET).run(DEADLINE).ok


def test_what_stays_in_the_background_does_not_hold_up_the_end(start_sshd: Start) -> None:
    server = start_sshd()
    done = process("sleep 1000 & echo done", server).run(DEADLINE)

    assert done.ended
    assert done.stdout == "done\n"
    assert done.exit_code == 0


def test_a_slow_reader_holds_up_the_command_and_not_the_memory(start_sshd: Start) -> None:
    server = start_sshd()
    reader, others = process("head -c 100000000 /dev/zero", server).start(), [process("true", server) for _ in range(5)]

    assert all(other.run(DEADLINE).ok for other in others)
    assert reader.wait(DEADLINE).ok
    assert len(reader.stdout_bytes) == 100_000_000


def test_descriptors_are_given_back(start_sshd: Start) -> None:
    server = start_sshd()
    process("true", server).run(DEADLINE)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        process("true", server).run(DEADLINE)

    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def occupied(server: Sshd) -> socket.socket:
    """A connection that never logs in, to a server that allows one such."""
    deadline = time.monotonic() + DEADLINE
    while True:
        held = socket.create_connection((server.address, server.port))
        if held.recv(4) == b"SSH-":
            return held
        held.close()
        assert time.monotonic() < deadline
