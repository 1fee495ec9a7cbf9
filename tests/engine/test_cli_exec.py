"""``regisseur exec``: output as it comes and as it is, exit codes, timeouts, signals, stdin."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from commandline import PROGRAM, regisseur, start
from regisseur.actors.process import Process
from regisseur.engine.cli._here import _failed_start
from regisseur.engine.cli._watch import _Outlet

pytestmark = pytest.mark.slow  # a program is started in each

MB = 1_000_000

READY = "sleep 60 & echo ready; wait"
"""For a shell: what a signal interrupts at any moment, unlike the starting of a child in the foreground."""


def last_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


class TestOutput:
    def test_words_are_joined_and_given_to_a_shell(self) -> None:
        done = regisseur("exec", "echo", "$((1 + 1))", "--timeout")

        assert (done.returncode, done.stdout, done.stderr) == (0, "2 --timeout\n", "")

    def test_without_a_shell_words_are_as_they_are(self) -> None:
        assert regisseur("exec", "--no-shell", "echo", "$HOME", "a  b").stdout == "$HOME a  b\n"
        assert regisseur("exec", "--no-shell", "echo '$HOME'  \"a  b\"").stdout == "$HOME a  b\n"

    def test_stdout_and_stderr_stay_apart(self) -> None:
        done = regisseur("exec", "echo out; echo err >&2")

        assert (done.stdout, done.stderr) == ("out\n", "err\n")

    def test_it_comes_while_the_command_runs(self) -> None:
        with start("exec", "echo first; sleep 60") as process:
            assert last_line(process) == "first\n"
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)

    def test_ten_megabytes_of_any_bytes_come_through_unharmed(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [PROGRAM, "exec", f"head -c {10 * MB} /dev/urandom | tee {tmp_path}/copy"], capture_output=True, check=True
        )

        assert len(done.stdout) == 10 * MB
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256((tmp_path / "copy").read_bytes()).digest()

    def test_a_slow_reader_slows_the_command_down_and_loses_nothing(self) -> None:
        with start("exec", "seq 3000000; echo end >&2") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert not select.select([process.stderr], [], [], 1.0)[0]  # 22 MB do not fit in between
            assert process.stdout.read().count("\n") == 3_000_000
            assert process.stderr.read() == "end\n"

    def test_a_descriptor_that_does_not_block_gets_everything(self, tmp_path: Path) -> None:
        data = os.urandom(10 * MB)
        with (tmp_path / "copy").open("wb") as copy:
            child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=copy)
        assert child.stdin is not None
        with child, child.stdin:
            os.set_blocking(child.stdin.fileno(), False)
            _Outlet(child.stdin.fileno(), lambda error: pytest.fail(str(error))).write(data)

        assert (tmp_path / "copy").read_bytes() == data

    def test_a_reader_who_has_gone_ends_the_command_without_a_word(self) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{PROGRAM} exec yes | head -n 1; echo ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            check=True,
        )

        assert (done.stdout, done.stderr) == ("y\n141\n", "")

    def test_a_full_disk_ends_the_command(self) -> None:
        with Path("/dev/full").open("wb") as full:
            done = regisseur("exec", "echo x; sleep 60", stdout=full)

        assert done.returncode == 4
        assert done.stderr == (
            "regisseur: exec: stdout can not be written: No space left on device: the command was ended\n"
        )


class TestExitCode:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["true"], 0),
            (["exit 3"], 3),
            (["exit 255"], 255),
            (["kill -KILL $$"], 137),
            (["kill -TERM $$"], 143),
            (["no-such-program"], 127),
            (["/etc/passwd"], 126),
            (["--no-shell", "no-such-program"], 127),
            (["--no-shell", "/etc/passwd"], 126),
            (["--no-shell", "/etc/passwd/x"], 126),
            (["--timeout", "0.1", "sleep 60"], 124),
            (["-u", "0.1", "--kill-after", "0.1", "trap '' TERM; while :; do sleep 1; done"], 124),
        ],
        ids=lambda value: value[-1] if isinstance(value, list) else str(value),
    )
    def test_it_is_that_of_the_command(self, arguments: list[str], code: int) -> None:
        assert regisseur("exec", *arguments).returncode == code

    @pytest.mark.parametrize(("number", "code"), [(errno.E2BIG, 126), (errno.ENOENT, 127), (errno.EAGAIN, 4)])
    def test_a_failed_start_is_told_apart_by_its_reason(self, number: int, code: int) -> None:
        process = Process("program")
        process._run.life.error_reason = OSError(number, os.strerror(number))

        assert _failed_start(process).code == code

    def test_what_went_wrong_is_told_unless_it_shall_be_quiet(self) -> None:
        told = regisseur("exec", "-t", "0.1", "sleep 60").stderr
        started = regisseur("exec", "--no-shell", "no-such-program").stderr

        assert told == "regisseur: exec: timed out after 0.1 s, and was ended: sleep 60\n"
        assert started == "regisseur: exec: can not run no-such-program: No such file or directory\n"
        assert regisseur("exec", "-q", "-t", "0.1", "sleep 60").stderr == ""
        assert regisseur("exec", "-q", "--no-shell", "no-such-program").stderr == ""

    def test_what_went_well_is_told_where_it_shall_be_verbose(self) -> None:
        assert regisseur("exec", "exit 3").stderr == ""
        assert re.search(r"ended with 3 after [0-9]+[.][0-9]{3} s", regisseur("exec", "-v", "exit 3").stderr)
        assert "ended by SIGKILL" in regisseur("exec", "-v", "kill -KILL $$").stderr

    def test_it_runs_in_the_directory_that_is_given(self, tmp_path: Path) -> None:
        assert regisseur("exec", "--cwd", tmp_path, "pwd").stdout == f"{tmp_path}\n"
        assert regisseur("exec", "--cwd", tmp_path / "no", "pwd").returncode == 2


class TestSignals:
    def test_ctrl_c_ends_the_command_and_is_130(self) -> None:
        with start("exec", "echo ready; exec sleep 60") as process:
            assert last_line(process) == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()

        assert (process.returncode, out, err) == (130, "", "regisseur: exec: interrupted\n")

    def test_the_command_may_clean_up_after_ctrl_c(self) -> None:
        with start("exec", f"trap 'echo cleaned; exit 5' INT; {READY}") as process:
            assert last_line(process) == "ready\n"
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate()

        assert (process.returncode, out) == (130, "cleaned\n")

    def test_a_second_ctrl_c_ends_what_ignores_the_first(self) -> None:
        with start("exec", "trap '' INT; echo ready; while :; do sleep 1; done") as process:
            assert process.stderr is not None
            assert last_line(process) == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline().startswith("regisseur: exec: still running: ")
            process.send_signal(signal.SIGINT)
            process.communicate()

        assert process.returncode == 130

    def test_kill_after_ends_what_ignores_ctrl_c(self) -> None:
        with start("exec", "-k", "0.1", "trap '' INT; echo ready; while :; do sleep 1; done") as process:
            assert last_line(process) == "ready\n"
            process.send_signal(signal.SIGINT)
            process.communicate()

        assert process.returncode == 130

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_other_signals_are_handed_on(self, number: signal.Signals) -> None:
        with start("exec", f"trap 'echo heard' {number.name[3:]}; {READY}") as process:
            assert last_line(process) == "ready\n"
            process.send_signal(number)
            out, err = process.communicate()

        assert (process.returncode, out) == (128 + number, "heard\n")
        assert err.endswith(f"regisseur: exec: ended by {number.name}\n")

    def test_a_signal_that_was_ignored_before_stays_so(self) -> None:
        with subprocess.Popen(
            ["nohup", PROGRAM, "exec", "-i", "echo ready; read nothing; echo end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert last_line(process) == "ready\n"
            process.send_signal(signal.SIGHUP)
            out, _ = process.communicate()

        assert (process.returncode, out) == (0, "end\n")

    def test_nothing_of_the_command_stays_behind(self, tmp_path: Path) -> None:
        regisseur("exec", f"sleep 60 & echo $! > {tmp_path}/pid")
        pid = int((tmp_path / "pid").read_text())

        done = subprocess.run(["timeout", "10", "tail", f"--pid={pid}", "-f", "/dev/null"], check=False)
        assert done.returncode == 0


class TestStdin:
    def test_it_is_empty_unless_it_is_asked_for(self) -> None:
        assert regisseur("exec", "cat", stdin="text").stdout == ""

    def test_a_pipe_is_passed_on(self) -> None:
        text = "".join(f"{n}\n" for n in range(100_000))

        assert regisseur("exec", "--stdin", "cat", stdin=text).stdout == text

    def test_a_file_is_passed_on(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * MB)
        with (tmp_path / "file").open("rb") as file:
            assert regisseur("exec", "-i", "wc -c", stdin=file).stdout == f"{MB}\n"

    def test_a_command_that_does_not_read_it_ends_all_the_same(self) -> None:
        done = subprocess.run(
            ["bash", "-c", f"yes | {PROGRAM} exec -i 'head -n 1'"], capture_output=True, text=True, check=True
        )

        assert (done.stdout, done.stderr) == ("y\n", "")


class TestJson:
    def facts(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = regisseur("exec", "--json", *arguments)
        (line,) = done.stdout.splitlines()
        return done.returncode, json.loads(line)

    def test_it_tells_all_that_came_of_it(self) -> None:
        code, facts = self.facts("echo out; printf '\\377' >&2; exit 3")

        assert code == 3
        assert 0 < facts.pop("started") <= facts.pop("ended")
        assert facts == {
            "command": "echo out; printf '\\377' >&2; exit 3",
            "exit_code": 3,
            "signal": None,
            "timed_out": False,
            "error": None,
            "stdout": "out\n",
            "stderr": {"bytes": "/w=="},
        }

    def test_it_tells_signals_timeouts_and_failed_starts(self) -> None:
        killed, timed_out = self.facts("kill -KILL $$"), self.facts("-t", "0.1", "sleep 60")
        failed = self.facts("--no-shell", "no-such-program")

        assert (killed[0], killed[1]["signal"], killed[1]["exit_code"]) == (137, "SIGKILL", None)
        assert (timed_out[0], timed_out[1]["timed_out"]) == (124, True)
        assert (failed[0], failed[1]["exit_code"]) == (127, None)
        assert "No such file or directory" in failed[1]["error"]

    def test_much_output_is_all_there(self) -> None:
        _, facts = self.facts(f"head -c {20 * MB} /dev/zero | tr '\\0' x")

        assert len(facts["stdout"]) == 20 * MB


def test_a_wrong_configuration_is_told_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("configuration: {kill_timeout: soon}\n")
    done = regisseur("exec", "echo x", environ={"REGISSEUR_CONFIG": str(config)})

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"regisseur: exec: {config}, line 1: configuration.kill_timeout: expected a number")
    assert done.stderr.count("\n") == 1
