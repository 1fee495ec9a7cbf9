"""SshProcess: its command line, what it shows, and that it lives as a process of this machine does."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB, STUB_PARAMS
from processes import DEADLINE, QUIET, Stage
from regisseur.actors import connection_errors as errors
from regisseur.actors._ssh_process import SshProcess, get_process
from regisseur.actors.config import default_connection_params
from regisseur.actors.connection_params import ConnectionParams
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host import Host
from regisseur.actors.process import Process


class RemoteStage(Stage):
    """Makes processes of the stub, and ends them all with the test."""

    def ssh(self, cmd: Any, host: Any = "h1", **kwargs: Any) -> SshProcess:
        made = SshProcess(cmd, host, **{"connection_params": STUB_PARAMS, **QUIET, **kwargs})
        self.processes.append(made)
        return made


@pytest.fixture
def stage() -> Iterator[RemoteStage]:
    with RemoteStage() as made:
        yield made


# -- what it is --------------------------------------------------------------------------------------------------------


def test_it_keeps_what_it_was_given_and_a_copy_of_the_host() -> None:
    host = Host("h1", user="u")

    process = SshProcess("echo a", host, STUB_PARAMS, timeout=3)

    assert (process.remote_cmd, process.host, process.timeout) == ("echo a", host, 3)
    assert process.host is not host
    assert process.connection_params is STUB_PARAMS


def test_its_command_line_is_the_connector_its_options_the_address_and_the_command() -> None:
    params = {"ssh": ("my", "ssh"), "ssh_options": ("-v",), "port": 3, "host_rewrite_func": ("$", ".net")}

    cmd = SshProcess("echo a; echo b", Host("h1", user="u"), params).cmd

    assert list(cmd[:3]) == ["my", "ssh", "-v"]
    assert list(cmd[-6:]) == ["-o", "User=u", "-o", "Port=3", "h1.net", "echo a; echo b"]


def test_words_are_quoted_for_the_shell_of_the_host() -> None:
    assert SshProcess(("echo", "a b", "$HOME"), "h1").remote_cmd == "echo 'a b' '$HOME'"


def test_it_is_called_as_its_command_and_shows_the_real_one() -> None:
    process = SshProcess("echo  a", Host("h1", user="u"), {"ssh": "/x"}, timeout=3)

    assert process.name == "echo a"
    assert repr(process) == "SshProcess('echo  a', Host('h1', user='u'), connection_params={'ssh': '/x'}, timeout=3.0)"
    assert str(process).startswith("<SshProcess('echo  a', name=echo a, host=h1, started=False, ")
    assert ', real cmd="/x -o BatchMode=yes ' in str(process)
    assert str(process).endswith("-o User=u h1 'echo  a'\")>")


def test_what_it_is_made_of_may_be_changed_before_the_start(stage: RemoteStage) -> None:
    process = stage.ssh("echo a", "h1", connection_params=None)
    process.remote_cmd = "echo $STUB_HOST b"
    process.host = Host("h2")
    process.connection_params = STUB_PARAMS

    assert process.run(DEADLINE).stdout == "h2 b\n"
    with pytest.raises(AttributeError, match="change these"):
        process.cmd = "echo"


def test_a_terminal_comes_from_the_parameters_and_is_asked_for_of_ssh() -> None:
    assert "-tt" not in SshProcess("x", "h1").cmd
    assert "-tt" in SshProcess("x", "h1", {"pty": True}).cmd
    assert "-tt" in SshProcess("x", "h1", pty=True).cmd
    assert not SshProcess("x", "h1", ConnectionParams(pty=True), pty=False).pty


def test_wrong_parameters_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match="did you mean host_keys"):
        SshProcess("x", "h1", {"host_key": "off"})
    with pytest.raises(TypeError, match="SshProcess: connexion_params is gone: write connection_params"):
        SshProcess("x", "h1", connexion_params={})
    with pytest.raises(TypeError, match="must be a str or a Host"):
        SshProcess("x", None)  # type: ignore[arg-type]  # which is the point


def test_the_defaults_of_the_script_count(monkeypatch: pytest.MonkeyPatch, stage: RemoteStage) -> None:
    monkeypatch.setitem(default_connection_params, "ssh", STUB)

    assert stage.ssh("echo $STUB_HOST", connection_params=None).run(DEADLINE).stdout == "h1\n"


# -- what becomes of it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cmd", "out", "err", "code"),
    [
        ("echo $STUB_HOST", "h1\n", "", 0),
        ("echo out; echo err >&2; exit 3", "out\n", "err\n", 3),
        (("printf", "%s|", "a  b", "'"), "a  b|'|", "", 0),
        ("printf 'a\\nb'; exit 200", "a\nb", "", 200),
    ],
)
def test_output_and_exit_code_are_those_of_the_command(
    cmd: Any, out: str, err: str, code: int, stage: RemoteStage
) -> None:
    process = stage.ssh(cmd).run(DEADLINE)

    assert (process.stdout, process.stderr, process.exit_code) == (out, err, code)
    assert process.ok == (code == 0)


def test_a_program_that_is_not_found_is_exit_code_127(stage: RemoteStage) -> None:
    process = stage.ssh("no-such-program-here").run(DEADLINE)

    assert (process.exit_code, process.error) == (127, False)


def test_a_connector_that_is_not_found_is_an_error(stage: RemoteStage) -> None:
    process = stage.ssh("true", connection_params={"ssh": "/no/such/ssh"}).run(DEADLINE)

    assert (process.error, process.exit_code, process.ok) == (True, None, False)
    assert "/no/such/ssh" in str(process.error_reason)


def test_what_is_written_to_it_goes_to_the_command(stage: RemoteStage) -> None:
    process = stage.ssh("cat; echo end").start()
    print("a", "b", file=process)
    process.close_stdin()

    assert process.wait(DEADLINE).stdout == "a b\nend\n"


def test_a_kill_and_a_timeout_end_it(stage: RemoteStage) -> None:
    killed = stage.ssh("sleep 100").start()
    late = stage.ssh("sleep 100", timeout=0.1).start()

    assert killed.kill().wait(DEADLINE).ended
    assert (killed.killed, killed.ok) == (True, True)
    assert late.wait(DEADLINE).ended
    assert (late.timeouted, late.ok) == (True, False)


def test_it_can_be_run_again(stage: RemoteStage) -> None:
    process = stage.ssh("echo $STUB_HOST").run(DEADLINE)

    assert process.reset().stdout == ""
    assert process.run(DEADLINE).stdout == "h1\n"


def test_output_handlers_and_expect_work_on_it(stage: RemoteStage) -> None:
    heard: list[str] = []
    process = stage.ssh(
        "echo ready; cat >&2", stdout_handlers=[lambda process, stream, chunk: heard.append(chunk)]
    ).start()

    assert process.expect("^ready$", timeout=DEADLINE)[0] == 0
    process.close_stdin()
    process.wait(DEADLINE)
    assert "".join(heard) == "ready\n"


def test_a_terminal_makes_one_stream_of_all_lines(stage: RemoteStage) -> None:
    process = stage.ssh("tty >/dev/null && echo terminal", pty=True).run(DEADLINE)

    assert process.stdout == "terminal\r\n"


# -- connections that fail ---------------------------------------------------------------------------------------------


def connector(directory: Path, text: str) -> dict[str, Any]:
    """Connection parameters with a connector that does as *text* says."""
    program = directory / "connector"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return {**STUB_PARAMS, "ssh": str(program)}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ssh: Could not resolve hostname h1: Name or service not known", errors.UnknownNameError),
        ("ssh: connect to host h1 port 22: No route to host", errors.NoRouteError),
        ("ssh: connect to host h1 port 22: Connection refused", errors.RefusedError),
        ("ssh: connect to host h1 port 22: Connection timed out", errors.ConnectTimeoutError),
        ("u@h1: Permission denied (publickey).", errors.PermissionDeniedError),
        ("Host key verification failed.", errors.HostKeyUnknownError),
        ("something nobody knows", errors.ConnectionFailedError),
    ],
)
def test_a_connector_that_fails_is_an_error_of_its_own_and_no_exit_code(
    said: str, kind: type[Exception], stage: RemoteStage, tmp_path: Path
) -> None:
    process = stage.ssh("echo out", connection_params=connector(tmp_path, f"echo '{said}' >&2; exit 255"))
    process.run(DEADLINE)

    assert type(process.error_reason) is kind
    assert (process.error, process.exit_code, process.ok) == (True, None, False)
    assert "h1" in str(process.error_reason)
    assert process.stats()["num_errors"] == 1


@pytest.mark.parametrize("text", ["echo out; echo words >&2; exit 255", "exit 255"])
def test_a_connection_that_is_lost_while_the_command_runs_is_an_error(
    text: str, stage: RemoteStage, tmp_path: Path
) -> None:
    process = stage.ssh("true", connection_params=connector(tmp_path, text)).run(DEADLINE)

    assert type(process.error_reason) is errors.ConnectionLostError
    assert (process.error, process.exit_code) == (True, None)


def test_a_command_that_itself_ends_with_255_is_no_error(stage: RemoteStage) -> None:
    process = stage.ssh("echo 'Permission denied (publickey).' >&2; exit 255").run(DEADLINE)

    assert (process.error, process.exit_code, process.stderr) == (False, 255, "Permission denied (publickey).\n")


def test_a_connector_that_is_killed_is_no_error(stage: RemoteStage, tmp_path: Path) -> None:
    params = connector(tmp_path, "trap 'exit 255' TERM; echo up; while :; do sleep 0.05; done")
    process = stage.ssh("true", connection_params=params).start()
    assert process.expect("up", DEADLINE)[0] == 0

    process.kill().wait(DEADLINE)

    assert (process.ended, process.killed, process.error, process.ok) == (True, True, False, True)


@pytest.mark.parametrize("number", [1, 6, 9, 15])
def test_a_command_that_a_signal_has_ended_has_minus_its_number(number: int, stage: RemoteStage) -> None:
    process = stage.ssh(f"echo out; kill -{number} $$").run(DEADLINE)

    assert (process.exit_code, process.stdout, process.stderr, process.error) == (-number, "out\n", "", False)


def test_a_detached_command_stays_and_its_pid_is_told(stage: RemoteStage, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    process = stage.ssh(f"cat {go} > {go}.copy; mv {go}.copy {go}.done", detach=True).run(DEADLINE)

    assert (process.ok, process.error) == (True, False)
    detached = int(process.stdout)
    os.kill(detached, 0)
    pidfd = os.pidfd_open(detached)
    go.write_text("on")
    assert select.select([pidfd], [], [], DEADLINE)[0]
    os.close(pidfd)
    assert (tmp_path / "go.done").read_text() == "on"
    assert "detach=True" in repr(process)


# -- get_process -------------------------------------------------------------------------------------------------------


def test_get_process_runs_it_there_where_a_host_is_given_else_here() -> None:
    here = get_process("true", host=None, connection_params=STUB_PARAMS, timeout=3)
    there = get_process("true", host="h1", connection_params=STUB_PARAMS, timeout=3)

    assert type(here) is Process
    assert repr(here) == "Process('true', timeout=3.0)"
    assert isinstance(there, SshProcess)
    assert (there.host, there.connection_params, there.timeout) == (Host("h1"), STUB_PARAMS, 3)
    with pytest.raises(TypeError, match="get_process: connexion_params is gone"):
        get_process("true", connexion_params=None)


def test_the_stub_passes_over_all_that_ssh_takes(stage: RemoteStage) -> None:
    options = ("-i", "key", "-p", "3", "-v", "-tt", "-S", "none", "-o", "A=b c")
    process = stage.ssh(f"{sys.executable} -c 'print(1)'", connection_params={**STUB_PARAMS, "ssh_options": options})

    assert process.run(DEADLINE).stdout == "1\n"
