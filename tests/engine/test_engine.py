"""The engine: ancestors first, result directories as the options say, and every run recorded however it ends."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regisseur.actors.journal import current_journal
from regisseur.actors.log import logger as top_logger
from regisseur.engine.engine import Engine, run_meth_on_engine_ancestors
from regisseur.engine.log import logger
from regisseur.engine.rundir import RunDirectory, RunDirectoryInUseError

NAME = r"Bench_\d{8}_\d{6}_[+-]\d{4}"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs in a directory of its own, and leaves the level of the logger as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bench.py"])
    level = top_logger.level
    yield
    top_logger.setLevel(level)


class Bench(Engine):
    """Notes what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[Any] = []
        self.args_parser.add_argument("--size", type=int, default=1)
        self.args_parser.add_argument("names", nargs="*")

    def init(self) -> None:
        self.called.append("Bench.init")

    def run(self) -> None:
        self.called.append("Bench.run")


def events(directory: str | None) -> list[dict[str, Any]]:
    assert directory is not None
    return [json.loads(line) for line in (Path(directory) / "log.jsonl").read_text().splitlines()]


class TestLifeCycle:
    def test_init_then_run_of_all_classes_are_called_ancestors_first_and_once(self) -> None:
        class Mixin:
            called: list[str]

            def run(self) -> None:
                self.called.append("Mixin.run")

        class Silent(Bench):
            pass

        class Sub(Silent, Mixin):
            def init(self) -> None:
                self.called.append("Sub.init")

            def run(self) -> None:
                self.called.append("Sub.run")

        engine = Sub()
        engine.start([])

        assert engine.called == ["Bench.init", "Sub.init", "Mixin.run", "Bench.run", "Sub.run"]

    def test_arguments_are_there_in_init_and_run(self) -> None:
        class Sub(Bench):
            def init(self) -> None:
                self.called.append(self.args.size)

            def run(self) -> None:
                self.called.append((self.args.names, self.args.output_mode, self.args.merge_outputs))

        engine = Sub()
        engine.start(["--size", "3", "a", "b"])

        assert engine.called == ["Bench.init", 3, "Bench.run", (["a", "b"], False, False)]

    def test_without_arguments_those_of_the_program_now_are_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.argv", ["bench.py", "--size", "7"])
        engine = Bench()
        engine.start()

        assert engine.args.size == 7
        assert engine.run_directory is not None
        assert engine.run_directory.sessions[0].facts["argv"] == ["bench.py", "--size", "7"]

    def test_run_may_be_called_without_start(self, tmp_path: Path) -> None:
        engine = Bench()
        engine.run()

        assert engine.called == ["Bench.run"]
        assert (engine.args, engine.run_name, engine.result_dir) == (None, None, None)
        assert list(tmp_path.iterdir()) == []

    def test_the_directory_of_the_module_is_known(self) -> None:
        assert Bench().engine_dir == os.path.dirname(__file__)

    def test_any_method_of_ancestors_can_be_called_this_way(self) -> None:
        engine = Bench()
        run_meth_on_engine_ancestors(engine, "init")

        assert engine.called == ["Bench.init"]


class TestResultDirectory:
    def test_it_is_named_after_class_and_time_in_the_current_directory(self, tmp_path: Path) -> None:
        engine = Bench()
        engine.start([])

        assert re.fullmatch(NAME, engine.run_name or "")
        assert engine.result_dir == str(tmp_path / str(engine.run_name))
        assert RunDirectory.open(engine.result_dir).outcome == "ok"

    def test_two_runs_in_one_second_have_two_directories(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.strftime", lambda *_: "now")
        engines = [Bench(), Bench(), Bench()]
        for engine in engines:
            engine.start([])

        names = [os.path.basename(engine.result_dir or "") for engine in engines]

        assert names == ["Bench_now", "Bench_now_2", "Bench_now_3"]

    def test_c_names_it_and_continues_what_is_there(self) -> None:
        for _ in range(2):
            engine = Bench()
            engine.start(["-c", "a/b"])

            assert engine.result_dir == "a/b"
        assert len(RunDirectory.open("a/b").sessions) == 2
        assert [line["session"] for line in events("a/b") if line["event"] == "engine.started"] == [1, 2]

    def test_capital_c_continues_in_the_newest_of_this_engine(self) -> None:
        class Other(Bench):
            pass

        for directory in ("old", "new"):
            Bench().start(["-c", directory])
        Other().start(["-c", "other"])
        engine = Bench()
        engine.start(["-C"])

        assert os.path.basename(engine.result_dir or "") == "new"
        assert len(RunDirectory.open("new").sessions) == 2

    def test_capital_c_begins_a_new_run_where_there_is_none(self) -> None:
        engine = Bench()
        engine.start(["--continue"])

        assert re.fullmatch(NAME, os.path.basename(engine.result_dir or ""))

    def test_name_and_directory_may_be_overridden(self, tmp_path: Path) -> None:
        class Mine(Bench):
            def setup_run_name(self) -> None:
                self.run_name = f"mine-{self.args.size}"

            def setup_result_dir(self) -> None:
                self.result_dir = f"results/{self.run_name}"

        for options in (["--size", "4"], ["--size", "4", "-C"]):
            engine = Mine()
            engine.start(options)

            assert engine.result_dir == "results/mine-4"
        assert RunDirectory.open("results/mine-4").name == "mine-4"
        assert len(RunDirectory.open(tmp_path / "results" / "mine-4").sessions) == 2

    def test_a_name_that_stays_the_same_continues_the_run_of_that_name(self, tmp_path: Path) -> None:
        class Named(Bench):
            def setup_run_name(self) -> None:
                self.run_name = "mine"

        for _ in range(2):
            Named().start(["-c", ""])  # an empty name is none

        assert len(RunDirectory.open(tmp_path / "mine").sessions) == 2

    def test_a_directory_in_use_is_refused_and_nothing_runs(self) -> None:
        held = RunDirectory.create("d")
        engine = Bench()
        try:
            with pytest.raises(RunDirectoryInUseError, match=f"process {os.getpid()} on"):
                engine.start(["-c", "d"])
        finally:
            held.end("ok")

        assert engine.called == []

    @pytest.mark.parametrize("options", [["-c", "d", "-C"], ["-L", "-R"], ["--unknown"], ["-l", "loud"]])
    def test_options_that_make_no_sense_end_with_status_2(
        self, options: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            Bench().start(options)

        assert caught.value.code == 2
        assert "usage:" in capsys.readouterr().err

    def test_a_script_may_have_options_with_our_names(self) -> None:
        engine = Bench()
        engine.args_parser.add_argument("-C", "--cores", type=int)
        engine.args_parser.add_argument("-L", dest="length")
        engine.start(["-C", "4", "-L", "9"])

        assert (engine.args.cores, engine.args.length) == (4, "9")


class TestRecord:
    def test_the_journal_is_there_while_it_runs_and_the_former_one_afterwards(self) -> None:
        class Sub(Bench):
            def run(self) -> None:
                journal = current_journal()
                assert journal is not None
                journal.event("mine", x=1)

        before = current_journal()
        engine = Sub()
        engine.start(["--size", "2"])

        assert current_journal() is before
        lines = events(engine.result_dir)
        told = [line["event"] for line in lines if not line["event"].startswith("log.")]
        assert told == ["engine.started", "mine", "engine.ended"]
        assert (lines[0]["engine"], lines[0]["arguments"], lines[0]["session"]) == ("Sub", ["--size", "2"], 1)

    def test_an_error_is_recorded_and_raised_again(self) -> None:
        class Sub(Bench):
            def run(self) -> None:
                raise ValueError("all is wrong")

        engine = Sub()
        with pytest.raises(ValueError, match="all is wrong"):
            engine.start([])

        failed = events(engine.result_dir)[-1]
        assert (failed["event"], failed["level"], failed["outcome"]) == ("engine.failed", "error", "exception")
        assert failed["error"] == {"type": "ValueError", "text": "all is wrong"}
        assert 'raise ValueError("all is wrong")' in failed["traceback"]
        (session,) = RunDirectory.open(str(engine.result_dir)).sessions
        assert (session.outcome, session.facts["error"]["type"]) == ("exception", "ValueError")
        assert current_journal() is None

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [(KeyboardInterrupt(), "signal"), (SystemExit(0), "ok"), (SystemExit(), "ok"), (SystemExit(3), "exception")],
    )
    def test_ways_to_end_are_told_apart(self, error: BaseException, outcome: str) -> None:
        class Sub(Bench):
            def run(self) -> None:
                raise error

        engine = Sub()
        with pytest.raises(type(error)):
            engine.start([])

        assert RunDirectory.open(str(engine.result_dir)).outcome == outcome
        assert events(engine.result_dir)[-1]["event"] == ("engine.ended" if outcome == "ok" else "engine.failed")

    def test_an_error_without_a_text_does_not_hide_itself(self) -> None:
        class NastyError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        class Sub(Bench):
            def run(self) -> None:
                raise NastyError

        engine = Sub()
        with pytest.raises(NastyError):
            engine.start([])

        assert events(engine.result_dir)[-1]["error"]["type"] == "NastyError"

    def test_what_loggers_say_is_in_the_log(self) -> None:
        class Sub(Bench):
            def run(self) -> None:
                logger.info("hello %s", "you")
                try:
                    raise KeyError("k")
                except KeyError:
                    logging.getLogger("regisseur.somewhere").exception("odd")
                logger.debug("not asked for")

        engine = Sub()
        engine.start(["-l", "info"])
        logger.warning("after the run")

        lines = {line.get("message"): line for line in events(engine.result_dir)}
        assert lines["hello you"]["event"] == "log.info"
        assert lines["hello you"]["logger"] == "regisseur.engine"
        assert (lines["odd"]["event"], lines["odd"]["level"]) == ("log.error", "error")
        assert lines["odd"]["error"] == {"type": "KeyError", "text": "'k'"}
        assert "Traceback" in lines["odd"]["traceback"]
        assert not {"not asked for", "after the run"} & set(lines)

    @pytest.mark.parametrize(("given", "level"), [("debug", 10), ("WARNING", 30), ("15", 15), ("detail", 15)])
    def test_l_sets_the_level(self, given: str, level: int) -> None:
        Bench().start(["-l", given])

        assert top_logger.level == level

    def test_a_script_may_change_its_directory(self, tmp_path: Path) -> None:
        class Sub(Bench):
            def run(self) -> None:
                os.chdir("/")
                journal = current_journal()
                assert journal is not None
                assert journal.store_output("x", b"x" * 5000)["path"] == "outputs/x"

        Sub().start(["-c", "d"])

        assert (tmp_path / "d" / "outputs" / "x").exists()
        assert RunDirectory.open(tmp_path / "d").outcome == "ok"

    def test_a_log_that_can_not_be_opened_ends_the_run_and_is_recorded(self) -> None:
        os.makedirs("d/log.jsonl")
        with pytest.raises(IsADirectoryError):
            Bench().start(["-c", "d"])

        assert RunDirectory.open("d").outcome == "exception"


class TestOldWays:
    @pytest.mark.parametrize(
        ("name", "advice"), [("options_parser", "self.args_parser"), ("options", "self.args, the argparse.Namespace")]
    )
    def test_old_attributes_tell_the_new_one(self, name: str, advice: str) -> None:
        with pytest.raises(AttributeError, match=re.escape(advice)):
            getattr(Bench(), name)

    def test_other_attributes_that_are_not_there_are_an_error_as_usual(self) -> None:
        with pytest.raises(AttributeError, match="'Bench' object has no attribute 'x'"):
            getattr(Bench(), "x")  # noqa: B009  # a checker knows that it is not there

    def test_a_script_may_have_attributes_of_the_old_names(self) -> None:
        class Sub(Bench):
            def __init__(self) -> None:
                super().__init__()
                self.options = 3

        assert Sub().options == 3

    def test_args_used_as_a_list_tell_the_new_way(self) -> None:
        engine = Bench()
        engine.start(["a"])

        uses: list[Callable[[], object]] = [
            lambda: engine.args[0],
            lambda: len(engine.args),
            lambda: list(engine.args),
        ]
        for use in uses:
            with pytest.raises(TypeError, match=r"self\.args_parser\.add_argument\('name'\)"):
                use()
        assert isinstance(engine.args, argparse.Namespace)


SCRIPT = """
import os, sys
from regisseur.engine.engine import Engine
from regisseur.engine.log import logger

class Bench(Engine):
    def run(self):
        print("out")
        print("err", file=sys.stderr)
        os.system("echo child; echo child-err >&2")
        %s

if __name__ == "__main__":
    Bench().start()
"""


def start(directory: Path, *options: str, then: str = "pass") -> subprocess.CompletedProcess[str]:
    (directory / "bench.py").write_text(SCRIPT % then)
    command = [sys.executable, "bench.py", "-l", "error", "-c", "d", *options]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


class TestProgram:
    """The whole way, in a program of its own."""

    def test_r_redirects_outputs_a_traceback_too(self, tmp_path: Path) -> None:
        done = start(tmp_path, "-R", then="raise ValueError('at the end')")

        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
        assert (tmp_path / "d" / "stdout").read_text() == "out\nchild\n"
        err = (tmp_path / "d" / "stderr").read_text()
        assert err.startswith("err\nchild-err\nTraceback")
        assert err.endswith("ValueError: at the end\n")

    @pytest.mark.parametrize("options", ["", "-R", "-L"])
    def test_with_a_closed_stdout_what_is_meant_for_it_does_not_come_into_the_log(
        self, tmp_path: Path, options: str
    ) -> None:
        (tmp_path / "bench.py").write_text(SCRIPT % "os.write(1, b'meant for stdout')")
        command = f"exec {shlex.quote(sys.executable)} bench.py -c d {options} >&-"
        subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=60, check=True)

        assert events(str(tmp_path / "d"))[-1]["event"] == "engine.ended"
        assert "meant for stdout" not in (tmp_path / "d" / "log.jsonl").read_text()

    def test_l_copies_outputs(self, tmp_path: Path) -> None:
        done = start(tmp_path, "-L")

        assert (done.stdout, done.stderr) == ("out\nchild\n", "err\nchild-err\n")
        assert (tmp_path / "d" / "stdout").read_text() == done.stdout
        assert (tmp_path / "d" / "stderr").read_text() == done.stderr

    @pytest.mark.parametrize("how", ["-L", "-R"])
    def test_m_merges_them_in_order(self, tmp_path: Path, how: str) -> None:
        start(tmp_path, how, "-M")

        assert (tmp_path / "d" / "stdout+stderr").read_text() == "out\nerr\nchild\nchild-err\n"

    def test_a_killed_run_is_seen_as_killed_and_can_be_continued(self, tmp_path: Path) -> None:
        done = start(tmp_path, then="os.kill(os.getpid(), 9)")

        assert done.returncode == -signal.SIGKILL
        assert RunDirectory.open(tmp_path / "d").outcome == "killed"
        assert start(tmp_path).returncode == 0
        assert [session.outcome for session in RunDirectory.open(tmp_path / "d").sessions] == ["killed", "ok"]
        told = [line["event"] for line in events(str(tmp_path / "d")) if line["event"].startswith("engine.")]
        assert told == ["engine.started", "engine.started", "engine.ended"]
