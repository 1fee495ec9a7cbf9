"""``regisseur run``: a script as Python would run it, the run directory around it, engines that make their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commandline import regisseur, start
from regisseur.engine.rundir import RunDirectory

pytestmark = pytest.mark.slow  # a program is started in each

PROCESS = "from regisseur.actors import Process\nProcess('echo hello').run()\n"

ENGINE = """
from regisseur.engine import Engine

class Bench(Engine):
    def __init__(self):
        super().__init__()
        self.args_parser.add_argument("--size", type=int, default=1)

    def run(self):
        print("size", self.args.size)

if __name__ == "__main__":
    Bench().start()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


def script(here: Path, text: str, name: str = "script.py") -> str:
    (here / name).write_text(text)
    return name


def events(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def the_run(here: Path, pattern: str) -> RunDirectory:
    (directory,) = here.glob(pattern)
    return RunDirectory.open(directory)


@contextlib.contextmanager
def in_use(directory: Path) -> Iterator[None]:
    """This process has a run in *directory*."""
    run = RunDirectory.create(directory)
    yield
    run.end("ok")


class TestScript:
    def test_it_sees_what_it_would_see_under_python(self, here: Path) -> None:
        name = script(here, "import sys, helper\nprint(__name__, __file__, sys.argv, sys.path[0], helper.x)\n")
        script(here, "x = 7\n", "helper.py")
        done = regisseur("run", name, "-v", "--", "--run-dir", "y", cwd=here)

        assert done.returncode == 0
        assert done.stdout == f"__main__ script.py ['script.py', '-v', '--', '--run-dir', 'y'] {here} 7\n"

    def test_its_name_may_be_any_bytes(self, here: Path) -> None:
        name = os.fsdecode(b"odd\xff.py")
        (here / name).write_text(PROCESS)
        done = [regisseur("run", "-C", name, cwd=here) for _ in range(2)]

        assert [one.returncode for one in done] == [0, 0]
        assert len(the_run(here, "odd*_*").sessions) == 2

    def test_its_modules_are_found_from_another_directory(self, here: Path) -> None:
        (here / "sub").mkdir()
        script(here / "sub", "import helper\n")
        script(here / "sub", "print('found')\n", "helper.py")

        assert regisseur("run", "sub/script.py", cwd=here).stdout == "found\n"

    def test_a_directory_with_a_main_module_is_a_script_too(self, here: Path) -> None:
        (here / "program").mkdir()
        script(here / "program", "print('found')\n", "__main__.py")

        assert regisseur("run", "program", cwd=here).stdout == "found\n"

    @pytest.mark.parametrize(
        ("text", "code"),
        [("pass", 0), ("raise SystemExit", 0), ("raise SystemExit(5)", 5), ("raise SystemExit('no')", 1)],
    )
    def test_its_exit_status_is_ours(self, here: Path, text: str, code: int) -> None:
        assert regisseur("run", script(here, text), cwd=here).returncode == code

    def test_the_text_that_it_exits_with_is_shown(self, here: Path) -> None:
        assert regisseur("run", "--run-dir", "r", script(here, "raise SystemExit('no')"), cwd=here).stderr == "no\n"

    def test_what_it_raises_is_shown_as_python_does(self, here: Path) -> None:
        done = regisseur("run", "--run-dir", "r", script(here, "def f():\n    1/0\n\nf()\n"), cwd=here)

        assert done.returncode == 1
        assert done.stderr.startswith('Traceback (most recent call last):\n  File "script.py", line 4, in <module>\n')
        assert done.stderr.endswith("ZeroDivisionError: division by zero\n")

    def test_a_mistake_in_its_syntax_is_shown_as_python_does(self, here: Path) -> None:
        done = regisseur("run", "--run-dir", "r", script(here, "def f(:\n"), cwd=here)

        assert done.returncode == 1
        assert done.stderr.startswith('  File "script.py", line 1\n')
        assert "SyntaxError" in done.stderr

    def test_a_script_that_is_not_there_is_3(self, here: Path) -> None:
        done = regisseur("run", "no.py", cwd=here)

        assert (done.returncode, done.stderr) == (3, "regisseur: run: there is no script no.py\n")
        assert list(here.iterdir()) == []

    def test_ctrl_c_is_130_and_is_recorded(self, here: Path) -> None:
        name = script(here, "import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
        with start("run", "--run-dir", "r", name, cwd=here) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()

        assert (process.returncode, err) == (130, "regisseur: run: interrupted\n")
        assert RunDirectory.open(here / "r").outcome == "signal"

    def test_the_child_of_a_fork_ends_without_touching_the_record(self, here: Path) -> None:
        text = "import os\npid = os.fork()\nif not pid:\n    raise SystemExit(7)\nprint(os.waitpid(pid, 0)[1] >> 8)\n"
        done = regisseur("run", "--run-dir", "r", script(here, text), cwd=here)

        assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")
        run = RunDirectory.open(here / "r")
        assert (run.outcome, len(run.sessions)) == ("ok", 1)


class TestRecord:
    def test_what_a_script_does_is_in_a_run_directory_of_its_name(self, here: Path) -> None:
        done = regisseur("run", script(here, PROCESS), "a", "b", cwd=here)

        run = the_run(here, "script_*")
        assert done.stderr == f"regisseur: run: recorded in {run.path}\n"
        assert (run.engine, run.outcome) == ("script.py", "ok")
        assert run.sessions[0].facts["argv"] == ["script.py", "a", "b"]
        assert [event["event"] for event in events(run.path)] == [
            "engine.started",
            "process.started",
            "process.ended",
            "engine.ended",
        ]

    def test_what_it_raises_is_recorded(self, here: Path) -> None:
        regisseur("run", "--run-dir", "r", script(here, "1/0"), cwd=here)

        assert RunDirectory.open(here / "r").outcome == "exception"
        assert events(here / "r")[-1]["error"]["type"] == "ZeroDivisionError"

    def test_a_run_that_is_there_is_continued(self, here: Path) -> None:
        name = script(here, PROCESS)
        for _ in range(2):
            assert regisseur("run", "--run-dir", "r", name, cwd=here).stderr == ""

        assert len(RunDirectory.open(here / "r").sessions) == 2

    def test_continue_takes_the_newest_run_of_this_script(self, here: Path) -> None:
        mine, other = script(here, PROCESS), script(here, PROCESS, "other.py")
        regisseur("run", "--run-dir", "old", mine, cwd=here)
        regisseur("run", "--run-dir", "new", mine, cwd=here)
        regisseur("run", "--run-dir", "others", other, cwd=here)
        regisseur("run", "-C", mine, cwd=here)

        sessions = {name: len(RunDirectory.open(here / name).sessions) for name in ("old", "new", "others")}
        assert sessions == {"old": 1, "new": 2, "others": 1}

    def test_continue_begins_where_there_is_none(self, here: Path) -> None:
        assert regisseur("run", "-C", script(here, PROCESS), cwd=here).returncode == 0

        assert the_run(here, "script_*").outcome == "ok"

    def test_a_run_directory_in_use_is_4_and_left_alone(self, here: Path) -> None:
        with in_use(here / "r"):
            done = regisseur("run", "--run-dir", "r", script(here, "print('ran')"), cwd=here)

        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.startswith("regisseur: run: run directory r: in use by process")
        assert done.stderr.count("\n") == 1

    def test_a_run_directory_that_can_not_be_made_is_4(self, here: Path) -> None:
        done = regisseur("run", "--run-dir", "script.py/r", script(here, "print('ran')"), cwd=here)

        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr == (
            "regisseur: run: can not record in script.py/r: Not a directory: name another one by --run-dir\n"
        )

    def test_a_wrong_configuration_is_4_before_the_script_runs(self, here: Path) -> None:
        (here / "config.yaml").write_text("configuration: [")
        name = script(here, "print('ran')")
        done = regisseur("run", name, cwd=here, environ={"REGISSEUR_CONFIG": str(here / "config.yaml")})

        assert (done.returncode, done.stdout) == (4, "")
        assert "config.yaml, line" in done.stderr
        assert done.stderr.count("\n") == 1


class TestEngine:
    def test_an_engine_has_its_own_run_directory_and_no_second_one(self, here: Path) -> None:
        done = regisseur("run", script(here, ENGINE), "--size", "3", cwd=here)

        assert done.returncode == 0
        assert "size 3" in done.stdout
        assert "recorded in" not in done.stderr
        run = the_run(here, "*_*")
        assert (run.engine, len(run.sessions)) == ("Bench", 1)

    def test_the_directory_that_is_named_becomes_that_of_the_engine(self, here: Path) -> None:
        name = script(here, ENGINE)
        for _ in range(2):
            regisseur("run", "--run-dir", "r", name, cwd=here)

        run = RunDirectory.open(here / "r")
        assert sorted(path.name for path in here.iterdir()) == ["r", "script.py"]
        assert (run.engine, len(run.sessions)) == ("Bench", 2)
        assert [event["event"] for event in events(run.path)].count("engine.started") == 2

    def test_continue_is_that_of_the_engine(self, here: Path) -> None:
        name = script(here, ENGINE)
        regisseur("run", name, cwd=here)
        regisseur("run", "--continue", name, cwd=here)

        assert len(the_run(here, "Bench_*").sessions) == 2

    def test_an_engine_of_another_module_is_found_too(self, here: Path) -> None:
        script(here, ENGINE, "bench.py")
        regisseur("run", script(here, "from bench import Bench\nBench().start([])\n"), cwd=here)

        assert the_run(here, "*_[0-9]*").engine == "Bench"

    def test_what_came_before_the_engine_stays_recorded(self, here: Path) -> None:
        regisseur("run", script(here, PROCESS + ENGINE), cwd=here)

        assert the_run(here, "Bench_*").outcome == "ok"
        before = the_run(here, "script_*")
        assert before.outcome == "ok"
        assert [event["event"] for event in events(before.path)][1:3] == ["process.started", "process.ended"]

    def test_the_usage_errors_of_an_engine_are_2_and_leave_nothing(self, here: Path) -> None:
        done = regisseur("run", script(here, ENGINE), "--size", "large", cwd=here)

        assert done.returncode == 2
        assert "invalid int value: 'large'" in done.stderr
        assert [path.name for path in here.iterdir()] == ["script.py"]

    def test_what_the_script_wrote_into_the_directory_stays(self, here: Path) -> None:
        text = "open('r/mine', 'w').close()\n" + ENGINE.replace(".start()", ".start(['-c', 'other'])")
        regisseur("run", "--run-dir", "r", script(here, text), cwd=here)

        assert [path.name for path in (here / "r").iterdir()] == ["mine"]
        assert RunDirectory.open(here / "other").outcome == "ok"

    def test_an_engine_in_a_directory_in_use_is_4_in_one_line(self, here: Path) -> None:
        with in_use(here / "used"):
            done = regisseur("run", script(here, ENGINE), "-c", "used", cwd=here)

        assert done.returncode == 4
        assert done.stderr.startswith("regisseur: run: run directory used: in use by process")
        assert done.stderr.count("\n") == 1
