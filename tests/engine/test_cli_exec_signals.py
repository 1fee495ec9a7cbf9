"""``regisseur exec`` on many hosts: Ctrl-C once tells who still runs, twice ends all; what a terminal shows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commandline import PROGRAM, start
from hosts import STUB
from regisseur.actors.process import Process

pytestmark = pytest.mark.slow  # a program is started in each

UP = "echo up; exec sleep 60"


@contextmanager
def running(*arguments: str | Path, hosts: int = 3, command: str = UP) -> Iterator[subprocess.Popen[str]]:
    """``exec`` on some hosts, of which each has said that it is up."""
    with start("exec", "--connector", STUB, "-w", f"n[1-{hosts}]", *arguments, command) as process:
        try:
            assert process.stdout is not None
            for _ in range(hosts):
                assert process.stdout.readline().endswith(": up\n")
            yield process
        finally:
            process.kill()


def gone(pid: int) -> bool:
    """Whether the process has ended, within some seconds."""
    return subprocess.run(["timeout", "10", "tail", f"--pid={pid}", "-f", "/dev/null"], check=False).returncode == 0


def test_ctrl_c_tells_who_still_runs_and_goes_on(tmp_path: Path) -> None:
    command = f"echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; echo end"
    with running(command=command) as process:
        assert process.stderr is not None
        os.kill(process.pid, signal.SIGINT)
        line = process.stderr.readline()
        (tmp_path / "go").touch()
        out, err = process.communicate(timeout=60)

    assert line == "regisseur: exec: still running: n[1-3] (3 of 3); Ctrl-C again within 5 s ends all\n"
    assert sorted(out.splitlines()) == ["n1: end", "n2: end", "n3: end"]
    assert (process.returncode, err) == (0, "regisseur: exec: 3 ok\n")


def test_a_second_ctrl_c_ends_all() -> None:
    with running() as process:
        assert process.stderr is not None
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.readline().startswith("regisseur: exec: still running: n[1-3] (3 of 3)")
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert err == "regisseur: exec: n[1-3]: killed\nregisseur: exec: 3 killed\n"
    assert process.returncode == 130


def test_those_that_wait_for_their_turn_are_told_apart_and_never_start() -> None:
    with start("exec", "--connector", STUB, "-f", "2", "-w", "n[1-5]", UP) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "n[1-2] (2 of 5, 3 have yet to start)" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert out == ""
    assert err.endswith("regisseur: exec: 2 killed, 3 not started\n")
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_another_signal_ends_all_at_once(number: signal.Signals) -> None:
    with running() as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert err.endswith("regisseur: exec: 3 killed\n")
    assert process.returncode == 128 + number


def test_a_command_that_ignores_signals_is_ended_all_the_same(tmp_path: Path) -> None:
    command = f"trap '' TERM INT HUP; echo $$ > {tmp_path}/$STUB_HOST; echo up; while :; do sleep 1; done"
    with running(command=command, hosts=2) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        pids = [int(path.read_text()) for path in tmp_path.iterdir()]

    assert process.returncode == 143
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_nothing_is_left_when_it_is_killed_itself(tmp_path: Path) -> None:
    with running(command=f"echo $$ > {tmp_path}/$STUB_HOST; {UP}", hosts=2) as process:
        process.kill()
        process.wait()
        pids = [int(path.read_text()) for path in tmp_path.iterdir()]

        assert len(pids) == 2
        assert all(gone(pid) for pid in pids)


def test_a_reader_who_does_not_read_does_not_keep_it_from_ending() -> None:
    with running(command="echo up; exec yes", hosts=1) as process:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)

    assert process.returncode == 143


def test_what_was_gathered_so_far_is_shown() -> None:
    command = "echo x; echo up >&2; exec sleep 60"
    with start("exec", "--connector", STUB, "-b", "-w", "n[1-2]", command) as process:
        assert process.stderr is not None
        assert {process.stderr.readline(), process.stderr.readline()} == {"n1: up\n", "n2: up\n"}
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)

    assert out == "---------------\nn[1-2] (2)\n---------------\nx\n"


def test_keys_on_a_terminal_do_the_same() -> None:
    command = [PROGRAM, "exec", "--connector", STUB, "-w", "n[1-3]", UP]
    with Process(command, pty=True, nolog_exit_code=True).start() as process:
        for _ in range(3):
            assert process.expect(r"n\d:\S* up", 60)[0] == 0
        process.write("\x03")
        assert process.expect(r"still running: n\[1-3\] \(3 of 3\)", 60, stream=2)[0] == 0
        process.write("\x03")
        process.wait(60)

    assert process.exit_code == 130
    assert process.stderr.endswith("3 killed\n")


def test_how_far_it_is_stands_below_the_output_on_a_terminal() -> None:
    options = f"-i -P --color never --connector {STUB} -w 'n[1-2]'"
    with Process(f"{PROGRAM} exec {options} 'read word; echo got $word' 2>&1", shell=True, pty=True).start() as process:
        assert process.expect("0 of 2 done, [0-2] running", 60)[0] == 0
        process.write("word\n\x04")
        process.wait(60)

    told = [line.rpartition("\x1b[K")[2] for line in process.stdout.split("\r\n")]
    assert sorted(line for line in told if "got" in line) == ["n1: got word", "n2: got word"]
    assert "2 of 2 done, 0 running" in told
