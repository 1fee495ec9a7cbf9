"""``regisseur exec``, ``put`` and ``get`` over a real server, by each of the ways that there are to a host."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from commandline import PROGRAM, regisseur
from shells import wait_for_death
from sshd import Sshd

pytestmark = [pytest.mark.slow, pytest.mark.requires_sshd]

WAYS = {
    "own connections": "multiplex: false",
    "standing connections": "multiplex: true",
    "native": "connector: native",
}
HOSTS = "127.0.0.[1-4]"


@pytest.fixture(params=WAYS)
def environ(request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path) -> dict[str, str]:
    """With a configuration by which all addresses of the loopback interface are reached over the server."""
    if request.param == "native":
        pytest.importorskip("asyncssh")
    params = sshd.connection_params
    config = tmp_path / "config.yaml"
    config.write_text(
        "default_connection_params:\n"
        f"  user: {params['user']}\n  port: {params['port']}\n  keyfile: {params['keyfile']}\n"
        f"  known_hosts: {tmp_path}/known_hosts\n  {WAYS[request.param]}\n"
        + ("" if request.param == "native" else f"  ssh_options: {list(params['ssh_options'])}\n")
    )
    return {"REGISSEUR_CONFIG": str(config)}


def test_output_comes_behind_the_names_of_hosts(environ: dict[str, str]) -> None:
    done = regisseur("exec", "-w", HOSTS, "echo $SSH_CONNECTION | cut -d' ' -f 3; echo e >&2", environ=environ)

    assert sorted(done.stdout.splitlines()) == [f"127.0.0.{n}: 127.0.0.{n}" for n in range(1, 5)]
    assert done.stderr.splitlines()[-1] == "regisseur: exec: 4 ok"
    assert sorted(done.stderr.splitlines()[:-1]) == [f"127.0.0.{n}: e" for n in range(1, 5)]
    assert done.returncode == 0


def test_stdin_goes_to_all_and_equal_output_is_shown_once(environ: dict[str, str]) -> None:
    text = "".join(f"{n}\n" for n in range(100_000))
    done = regisseur("exec", "-b", "-w", HOSTS, "cat", environ=environ, stdin=text)

    assert done.stdout == f"---------------\n127.0.0.[1-4] (4)\n---------------\n{text}"
    assert done.returncode == 0


def test_how_it_ended_is_counted(environ: dict[str, str]) -> None:
    command = "set -- $SSH_CONNECTION; case $3 in *1) ;; *2) exit 3;; *3) kill -KILL $$;; *) exec sleep 60;; esac"
    done = regisseur("exec", "-u", "3", "-w", HOSTS, command, environ=environ, last_of=4)

    assert done.stderr.splitlines()[-4:] == [
        "regisseur: exec: 127.0.0.2: ended with 3",
        "regisseur: exec: 127.0.0.3: ended by SIGKILL",
        "regisseur: exec: 127.0.0.4: timed out after 3 s, and was ended",
        "regisseur: exec: 1 ok, 2 failed, 1 timed out",
    ]
    assert done.returncode == 124


def test_hosts_that_can_not_be_reached_are_told_with_the_reason(environ: dict[str, str]) -> None:
    done = regisseur("exec", "-w", "no-such-host.invalid,127.0.0.1", "echo x", environ=environ)

    assert done.stdout == "127.0.0.1: x\n"
    assert "regisseur: exec: no-such-host.invalid: its name is not known" in done.stderr
    assert done.stderr.splitlines()[-1] == "regisseur: exec: 1 ok, 1 unreachable"
    assert done.returncode == 4


def test_who_may_not_log_in_is_told_so(environ: dict[str, str]) -> None:
    done = regisseur("exec", "-l", "nobody-of-that-name", "-w", "127.0.0.[1-2]", "echo x", environ=environ)

    assert "regisseur: exec: 127.0.0.[1-2]: it does not let us in" in done.stderr
    assert done.returncode == 4


def test_ctrl_c_twice_leaves_nothing_on_the_hosts(environ: dict[str, str], tmp_path: Path) -> None:
    command = f"echo $$ > {tmp_path}/pid-$(echo $SSH_CONNECTION | cut -d' ' -f 3); echo up; sleep 600 & exec sleep 600"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("REGISSEUR")} | environ
    with subprocess.Popen(
        [PROGRAM, "exec", "-w", HOSTS, command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert sorted(process.stdout.readline() for _ in range(4)) == [f"127.0.0.{n}: up\n" for n in range(1, 5)]
        process.send_signal(signal.SIGINT)
        assert "still running: 127.0.0.[1-4] (4 of 4)" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.endswith("regisseur: exec: 4 killed\n")
    pids = [path.read_text() for path in tmp_path.glob("pid-*")]
    assert len(pids) == 4
    for pid in pids:
        wait_for_death(int(pid))


def test_files_go_there_and_come_back(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "with a blank").write_text("text\n")
    there = tmp_path / "{{{host}}}"
    put = regisseur("put", "-p", "--checksum", "-w", HOSTS, tmp_path / "dir", there, environ=environ)
    get = regisseur("get", "-w", HOSTS, there / "dir", tmp_path / "back", environ=environ)

    assert (put.returncode, put.stderr) == (0, "regisseur: put: 4 ok\n")
    assert (get.returncode, get.stderr) == (0, "regisseur: get: 4 ok\n")
    assert (tmp_path / "back" / "127.0.0.3" / "dir" / "with a blank").read_text() == "text\n"
