"""Commands on hosts over a real ssh and a real server: by a connector of their own, and over a shared connection."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ports import free_port
from processes import DEADLINE, QUIET, run_out_of_time
from regisseur.actors import connection_errors as errors
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.exception import ProcessesFailed
from regisseur.actors.known_hosts import forget_host_keys
from regisseur.actors.port_forwarder import PortForwarder
from regisseur.actors.process import ProcessLifecycleHandler
from regisseur.actors.remote import Remote
from shells import mark, marked
from sshd import WAYS, Sshd, params_of
from trees import wait_until

pytestmark = [pytest.mark.requires_sshd, pytest.mark.usefixtures("stage")]  # its end closes shared connections


@pytest.fixture(params=WAYS)
def params(request: pytest.FixtureRequest, sshd: Sshd) -> dict[str, Any]:
    """Connection parameters for the server."""
    return {**sshd.connection_params, **params_of(request.param)}


@pytest.fixture
def plain(params: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The same, with keys in a file of the test."""
    return {**params, "known_hosts": str(tmp_path / "known_hosts")}


@contextlib.contextmanager
def started(cmd: str, host: str, params: dict[str, Any], **kwargs: Any) -> Iterator[SshProcess]:
    process = SshProcess(cmd, host, params, **{**QUIET, **kwargs}).start()
    try:
        yield process
    finally:
        process.kill(auto_force_kill_timeout=0.5)
        assert process.wait(DEADLINE).ended


def run(cmd: str, host: str, params: dict[str, Any], **kwargs: Any) -> SshProcess:
    with started(cmd, host, params, **kwargs) as process:
        return process.wait(DEADLINE)


def wait_until_gone(seconds: str) -> None:
    """Wait until nobody on the host sleeps so long."""
    wait_until(lambda: not marked("sleep", seconds))


# -- what a command says and how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cmd", "out", "err", "code"),
    [
        ("echo out; echo err >&2", "out\n", "err\n", 0),
        ("echo $((1+1)) '$HOME' \"a  b\"; exit 3", "2 $HOME a  b\n", "", 3),
        ("exit 255", "", "", 255),
        ("exit 200", "", "", 200),
        ("kill -9 $$", "", "", -9),
        ("no-such-program 2>/dev/null", "", "", 127),
        ("head -c 300000 /dev/zero | tr '\\0' x; printf é", 300000 * "x" + "é", "", 0),
    ],
)
def test_a_command_says_and_ends_as_it_would_here(
    cmd: str, out: str, err: str, code: int, sshd: Sshd, params: dict[str, Any]
) -> None:
    process = run(cmd, sshd.address, params)

    assert (process.exit_code, process.error) == (code, False)
    assert (process.stdout, process.stderr) == (out, err)


def test_input_reaches_the_command_and_its_end_too(sshd: Sshd, params: dict[str, Any]) -> None:
    with started("sed s/^/:/; echo end", sshd.address, params) as process:
        process.write(b"a\nb\n" * 10000)
        process.close_stdin()

        assert process.wait(DEADLINE).stdout == ":a\n:b\n" * 10000 + "end\n"


def test_with_a_terminal_there_is_one_stream(sshd: Sshd, params: dict[str, Any]) -> None:
    process = run("tty; echo err >&2; exit 5", sshd.address, {**params, "pty": True})

    assert re.fullmatch(r"/dev/pts/\d+\r?\nerr\r?\n", process.stdout)
    assert (process.stderr, process.exit_code) == ("", 5)


def test_many_commands_on_one_host_at_once(sshd: Sshd, params: dict[str, Any]) -> None:
    numbers = list(range(8))  # fewer than a server refuses (MaxStartups)

    action = Remote("echo {{numbers}}", [sshd.address] * len(numbers), params).run(DEADLINE)

    assert [process.stdout for process in action.processes] == [f"{number}\n" for number in numbers]


# -- ends --------------------------------------------------------------------------------------------------------------


def test_handlers_are_told_of_the_start_and_the_end_of_what_can_not_connect(params: dict[str, Any]) -> None:
    calls: list[str] = []

    class Diary(ProcessLifecycleHandler):
        def start(self, process: Any) -> None:
            calls.append("start")

        def end(self, process: Any) -> None:
            calls.append("end")
            told.set()

    told = threading.Event()
    process = run("true", "127.0.0.1", {**params, "port": free_port()}, lifecycle_handlers=[Diary()])

    assert isinstance(process.error_reason, errors.RefusedError)
    assert process.error_reason.said.strip() == process.stderr.strip() != ""
    assert told.wait(DEADLINE)
    assert calls == ["start", "end"]


@pytest.mark.parametrize("pty", [False, True])
def test_a_signal_reaches_the_command_and_its_end_is_told(pty: bool, sshd: Sshd, params: dict[str, Any]) -> None:
    cmd = "trap 'echo usr' USR1; trap 'echo bye; exit 3' TERM; echo up; while :; do read -r x; done"
    with started(cmd, sshd.address, params, pty=pty) as process:
        assert process.expect("up", DEADLINE)[0] == 0
        process.kill(signal.SIGUSR1)
        assert process.expect("usr", DEADLINE)[0] == 0
        process.kill()

        assert process.wait(DEADLINE).exit_code == 3
        assert "bye" in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "timeout"])
def test_what_is_killed_leaves_nothing_on_the_host(end: str, sshd: Sshd, params: dict[str, Any]) -> None:
    seconds = mark()
    cmd = f"sleep {seconds} & setsid sleep {seconds} & echo up; sleep {seconds}"
    with started(cmd, sshd.address, params, timeout=1000) as process:
        assert process.expect("up", DEADLINE)[0] == 0
        if end == "kill":
            process.kill()
        else:
            run_out_of_time(process)
        assert process.wait(DEADLINE).ended

    assert (process.killed, process.exit_code) == (True, -signal.SIGTERM)
    assert process.timeouted == (end == "timeout")
    wait_until_gone(seconds)


@pytest.mark.slow
def test_nothing_is_left_on_the_host_when_the_program_is_killed(sshd: Sshd, params: dict[str, Any]) -> None:
    seconds = mark()
    script = f"""
from regisseur.actors import *
action = Remote("sleep {seconds} & setsid sleep {seconds} & echo up; trap '' TERM; sleep {seconds}",
                [{sshd.address!r}] * 3, {params!r}).start()
print([index for _, index, _ in action.expect("up", timeout={DEADLINE})], flush=True)
action.wait()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "[0, 0, 0]\n"
            wait_until(lambda: len(marked("sleep", seconds)) == 9)
        finally:
            program.kill()

    wait_until_gone(seconds)


def test_a_detached_command_stays(sshd: Sshd, params: dict[str, Any]) -> None:
    seconds = mark()
    process = run(f"sleep {seconds}", sshd.address, params, detach=True)

    try:
        assert process.ok
        os.kill(int(process.stdout), 0)
    finally:
        os.kill(int(process.stdout), signal.SIGKILL)


# -- connections that fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"port": free_port}, errors.RefusedError),
        ({"keyfile": "/nonexistent/key"}, errors.BadKeyFileError),
        ({"host_rewrite_func": ("^.*$", "no-such-host.invalid")}, errors.UnknownNameError),
        ({"host_keys": "strict", "known_hosts": "/dev/null"}, errors.HostKeyUnknownError),
    ],
)
def test_each_way_to_fail_has_its_error(
    changes: dict[str, Any], kind: type[Exception], sshd: Sshd, plain: dict[str, Any]
) -> None:
    changed = {key: value() if callable(value) else value for key, value in changes.items()}

    process = run("echo never", sshd.address, {**plain, "connect_retries": 0, **changed})

    assert (process.error, process.exit_code, process.ok) == (True, None, False)
    assert isinstance(process.error_reason, kind), process.error_reason
    assert process.stdout == ""


def test_a_key_that_the_host_does_not_take_is_told(sshd: Sshd, plain: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)

    assert isinstance(run("true", sshd.address, {**plain, "keyfile": file}).error_reason, errors.PermissionDeniedError)


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_was_deployed_anew_is_refused_until_its_key_is_forgotten(
    way: str, start_sshd: Callable[..., Sshd]
) -> None:
    server = start_sshd()
    params = {**server.connection_params, "idle_timeout": 0, **params_of(way)}
    first = run("true", server.address, params)
    assert (first.ok, first.stderr) == (True, "")
    assert server.known_hosts.read_text().startswith(f"[{server.address}]:{server.port} ")

    server.stop()
    server.new_host_key()
    server.start()

    assert isinstance(run("true", server.address, params).error_reason, errors.HostKeyChangedError)
    assert forget_host_keys(server.address, params) == 1
    assert run("true", server.address, params).ok


def test_without_a_check_any_key_will_do_and_nothing_is_said(sshd: Sshd, plain: dict[str, Any]) -> None:
    process = run("true", sshd.address, {**plain, "host_keys": "off"})

    assert (process.ok, process.stderr) == (True, "")
    assert not Path(plain["known_hosts"]).exists()


@pytest.mark.parametrize(("lab_network", "algorithm"), [(False, "sntrup761x25519-sha512"), (True, "curve25519-sha256")])
def test_a_laboratory_may_exchange_keys_at_less_cost(
    lab_network: bool, algorithm: str, start_sshd: Callable[..., Sshd]
) -> None:
    server = start_sshd(KexAlgorithms="sntrup761x25519-sha512@openssh.com,curve25519-sha256")
    params = {**server.connection_params, "multiplex": False, "lab_network": lab_network}
    params["ssh_options"] = (*params["ssh_options"], "-v")

    process = run("true", server.address, params)

    assert f"kex: algorithm: {algorithm}" in process.stderr


# -- ports -------------------------------------------------------------------------------------------------------------


def test_a_port_really_listens_when_the_forwarder_says_so(sshd: Sshd) -> None:
    for _ in range(3):
        forwarder = PortForwarder(sshd.address, sshd.address, sshd.port, connection_params=sshd.connection_params)
        with forwarder, socket.create_connection(("127.0.0.1", forwarder.local_port)) as client:
            assert client.recv(8) == b"SSH-2.0-"
        assert forwarder.wait(DEADLINE).ok


def test_a_port_in_use_is_told(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        arguments = (sshd.address, sshd.address, sshd.port, port)
        forwarder = PortForwarder(*arguments, connection_params=sshd.connection_params, **QUIET)
        with (
            pytest.raises(ProcessesFailed, match=f"can not listen on 127.0.0.1:{port}: Address already in use"),
            forwarder,
        ):
            pass

    assert isinstance(forwarder.error_reason, OSError)
