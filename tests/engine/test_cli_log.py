"""``regisseur log``: filters, JSON, following a live run to its end, and what is no log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import PROGRAM, call, regisseur, start
from deadline import DEADLINE
from regisseur.actors.journal import Journal
from regisseur.engine.rundir import RunDirectory
from users import AS_ORDINARY_USER


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run that is alive: this process."""
    run = RunDirectory.create(tmp_path / "run", argv=["bench.py"])
    yield run
    run.end("ok")


@pytest.fixture
def journal(run: RunDirectory) -> Iterator[Journal]:
    with run.open_journal() as journal:
        journal.event("run.began", size=3)
        journal.event("process.ended", actor="Process[1]", level="warning", status=1)
        yield journal


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


class TestRecords:
    @pytest.mark.usefixtures("journal")
    def test_each_is_a_line(self, run: RunDirectory) -> None:
        done = regisseur("log", run.path)

        assert (done.returncode, done.stderr) == (0, "")
        first, second = done.stdout.splitlines()
        assert first.endswith(f"INFO    run.began pid={os.getpid()} size=3")
        assert second.endswith(f"WARNING process.ended pid={os.getpid()} actor=Process[1] status=1")

    @pytest.mark.usefixtures("journal")
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ([], ["run.began", "process.ended"]),
            (["--actor", "Process[1]"], ["process.ended"]),
            (["-a", "Process*"], ["process.ended"]),
            (["--level", "warning"], ["process.ended"]),
            (["-l", "ERROR"], []),
            (["--event", "run.began"], ["run.began"]),
            (["-e", "process.*", "-l", "info"], ["process.ended"]),
        ],
    )
    def test_options_choose_among_them(
        self, run: RunDirectory, options: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, "log", run.path, "--json", *options)

        assert [json.loads(line)["event"] for line in said.out.splitlines()] == expected
        assert (said.code, said.err) == (0, "")

    @pytest.mark.usefixtures("journal")
    def test_json_is_what_stands_in_the_log(self, run: RunDirectory) -> None:
        assert regisseur("log", run.path, "--json").stdout == run.log_file.read_text()

    @pytest.mark.usefixtures("journal")
    def test_the_file_by_itself_will_do(self, run: RunDirectory, tmp_path: Path) -> None:
        run.log_file.rename(tmp_path / "kept.jsonl")

        assert len(regisseur("log", tmp_path / "kept.jsonl").stdout.splitlines()) == 2

    @pytest.mark.usefixtures("journal")
    def test_a_torn_line_is_named_and_passed_over(self, run: RunDirectory) -> None:
        with run.log_file.open("a") as file:
            file.write('{"seq":3,"ts"')
        done = regisseur("log", run.path)

        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
        assert done.stderr == f"regisseur: log: {run.log_file}: line 3 is torn after 13 bytes, at the end\n"


class TestNoLog:
    def test_what_is_not_there_is_3(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        nothing = call(capsys, "log", tmp_path / "no")
        empty = call(capsys, "log", tmp_path)

        assert (nothing.code, nothing.err) == (3, f"regisseur: log: there is no run {tmp_path}/no\n")
        assert (empty.code, empty.out) == (3, "")
        assert empty.err == (f"regisseur: log: {tmp_path} is not the directory of a run: there is no log.jsonl in it\n")

    @pytest.mark.parametrize("data", [b"hello\n", b"\x00\xff\xfe\n", b"[1]\n", b'{"seq":1}\n'])
    def test_what_is_no_log_is_4(self, tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_bytes(data)
        said = call(capsys, "log", tmp_path / "file")

        assert (said.code, said.out) == (4, "")
        assert said.err.startswith(f"regisseur: log: {tmp_path}/file: line 1: not a line of a run's log")
        assert said.err.count("\n") == 1

    def test_what_may_not_be_read_is_4(self, tmp_path: Path) -> None:
        (tmp_path / "log.jsonl").touch(mode=0o000)
        done = regisseur("log", tmp_path, by=AS_ORDINARY_USER)

        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr == f"regisseur: log: {tmp_path}/log.jsonl: Permission denied\n"

    @pytest.mark.usefixtures("journal")
    def test_a_description_that_is_damaged_only_matters_for_following(
        self, run: RunDirectory, capsys: pytest.CaptureFixture[str]
    ) -> None:
        description = run.run_file.read_bytes()
        run.run_file.write_text("a: [")
        plain, follow = call(capsys, "log", run.path), call(capsys, "log", "-f", run.path)
        run.run_file.write_bytes(description)

        assert plain.code == 0
        assert follow.code == 4
        assert follow.err.startswith(f"regisseur: log: run directory {run.path}: run.yaml can not be read: ")
        assert follow.err.count("\n") == 1


@pytest.mark.slow
class TestFollow:
    def test_it_shows_what_comes_and_ends_with_the_run(self, run: RunDirectory, journal: Journal) -> None:
        with start("log", "--follow", run.path) as process:
            assert "run.began" in line_of(process)
            assert "process.ended" in line_of(process)
            journal.event("step", number=1)
            assert "step" in line_of(process)
            assert process.poll() is None
            journal.event("last")
            run.end("ok")
            out, err = process.communicate(timeout=DEADLINE)

        assert out.endswith(f"last pid={os.getpid()}\n")
        assert (process.returncode, err) == (0, "")

    def test_it_ends_when_the_run_is_killed(self, tmp_path: Path) -> None:
        text = "print('ready', flush=True)\nimport time\ntime.sleep(60)\n"
        (tmp_path / "script.py").write_text(text)
        with start("run", "--run-dir", "r", "script.py", cwd=tmp_path) as experiment:
            assert line_of(experiment) == "ready\n"
            with start("log", "-f", "r", cwd=tmp_path) as process:
                assert "engine.started" in line_of(process)
                experiment.kill()
                experiment.communicate()
                out, err = process.communicate(timeout=DEADLINE)

        assert (process.returncode, out, err) == (0, "", "")

    def test_of_a_run_that_has_ended_it_shows_all_and_ends(self, run: RunDirectory, journal: Journal) -> None:
        journal.close()
        run.end("ok")
        done = regisseur("log", "-f", run.path)

        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)

    @pytest.mark.usefixtures("journal")
    def test_ctrl_c_ends_it_without_a_word(self, run: RunDirectory) -> None:
        with start("log", "-f", run.path) as process:
            line_of(process), line_of(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE)

        assert (process.returncode, out, err) == (130, "", "")

    @pytest.mark.usefixtures("journal")
    def test_it_ends_when_its_reader_does_though_nothing_comes_any_more(self, run: RunDirectory) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{PROGRAM} log -f {run.path} | head -n 1"],
            capture_output=True, text=True, timeout=DEADLINE, check=True,
        )  # fmt: skip

        assert (len(done.stdout.splitlines()), done.stderr) == (1, "")

    def test_of_a_log_by_itself_it_says_that_there_is_no_end(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            journal.event("alone")
        with start("log", "-f", tmp_path / "log.jsonl") as process:
            assert process.stderr is not None
            assert "alone" in line_of(process)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=DEADLINE)

        assert process.returncode == 130
        assert "to tell the end of the run: Ctrl-C ends this" in err
