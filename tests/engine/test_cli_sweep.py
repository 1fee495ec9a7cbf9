"""``regisseur sweep``: looking at a sweep, changing it without robbing anybody, converting one of Execo."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commandline import call, regisseur
from regisseur.engine._lease import this_process
from regisseur.engine.cli._selection import Selection, show_combination, show_level
from regisseur.engine.sweep import HashableDict, ParamSweeper, SweepView, sweep

Capture = pytest.CaptureFixture[str]

SPACE = sweep({"tool": ["gzip", "x z"], "level": [1, 6, 9]})
"""Numbers 0 to 5."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A sweep whose 0 is done, 1 skipped, 2 in progress, by this process; 3, 4, 5 remain."""
    directory = tmp_path / "sweep"
    sweeper = ParamSweeper(directory, SPACE, save_sweeps=True)
    sweeper.done(sweeper.get_next())
    sweeper.skip(sweeper.get_next(), "no memory")
    sweeper.get_next()
    return directory  # and not the sweeper, which pytest would keep open beyond the end of the test


def states(directory: Path) -> list[str]:
    return [found.state for found in SweepView(directory).statuses()]


ME = str(this_process(0.0))
BEFORE = ["done", "skipped", "inprogress", "remaining", "remaining", "remaining"]


def leave_by_a_dead_process(directory: Path) -> None:
    """Have a process take a combination, and end without a word."""
    program = "import sys\nfrom regisseur.engine import *\nParamSweeper(sys.argv[1]).get_next()"
    subprocess.run([sys.executable, "-c", program, directory], check=True, timeout=60)


class TestStatus:
    @pytest.mark.parametrize("word", ["foo=1", "level=77"])
    def test_a_selection_that_means_nothing_is_told(self, store: Path, word: str) -> None:
        done = regisseur("sweep", "list", store, word)

        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == f"regisseur: sweep: no combination in {store} is meant by that\n"

    def test_a_reason_steers_no_terminal(self, store: Path) -> None:
        assert regisseur("sweep", "skip", store, "3", "--reason", "a\nb\x1b[31m").returncode == 0

        assert "(a b\\x1b[31m)" in regisseur("sweep", "list", store, "3").stdout

    def test_it_counts(self, store: Path, tmp_path: Path) -> None:
        done = regisseur("sweep", "status", "sweep", cwd=tmp_path)

        assert (done.returncode, done.stderr) == (0, "")
        sweep_, total, remaining, inprogress, owner, *rest = done.stdout.splitlines()
        assert [sweep_, total, remaining, inprogress] == [
            "sweep      sweep",
            "total      6",
            "remaining  3",
            "inprogress 1",
        ]
        assert owner.strip() == f"1 by {ME}"
        assert rest == ["done       1", "skipped    1"]

    def test_the_run_directory_will_do(self, store: Path, tmp_path: Path, capsys: Capture) -> None:
        said = call(capsys, "sweep", "status", tmp_path, "--json")

        facts = json.loads(said.out)
        assert facts.pop("owners") == [{"owner": ME, "inprogress": 1, "alive": True}]
        assert facts == {
            "directory": f"{tmp_path}/sweep",
            "total": 6,
            "remaining": 3,
            "inprogress": 1,
            "done": 1,
            "skipped": 1,
            "is_saved": True,
        }

    def test_an_owner_who_is_gone_is_told_apart(self, tmp_path: Path, capsys: Capture) -> None:
        ParamSweeper(tmp_path, SPACE, save_sweeps=True)
        leave_by_a_dead_process(tmp_path)

        assert ", which is gone: they are given back" in call(capsys, "sweep", "status", tmp_path).out
        assert json.loads(call(capsys, "sweep", "status", tmp_path, "--json").out)["owners"][0]["alive"] is False

    def test_of_a_sweep_that_was_not_saved_it_says_so(self, tmp_path: Path, capsys: Capture) -> None:
        ParamSweeper(tmp_path, SPACE).get_next()

        assert "total      1  (those that were taken so far" in call(capsys, "sweep", "status", tmp_path).out

    def test_it_changes_nothing(self, store: Path, tmp_path: Path) -> None:
        files = {path.name: path.read_bytes() for path in (tmp_path / "sweep").iterdir()}
        regisseur("sweep", "status", tmp_path)
        regisseur("sweep", "list", tmp_path)

        assert {path.name: path.read_bytes() for path in (tmp_path / "sweep").iterdir()} == files


class TestList:
    def test_each_combination_is_a_line(self, store: Path, tmp_path: Path) -> None:
        lines = regisseur("sweep", "list", tmp_path).stdout.splitlines()

        assert lines[0] == "   0  done        tool=gzip level=1"
        assert lines[1] == "   1  skipped     tool=gzip level=6  (no memory)"
        assert lines[2].startswith(f"   2  inprogress  tool=gzip level=9  ({ME} since ")
        assert lines[3] == '   3  remaining   tool="x z" level=1'
        assert len(lines) == 6

    @pytest.mark.parametrize(
        ("words", "numbers"),
        [
            (["--state", "done"], [0]),
            (["-s", "done", "-s", "remaining"], [0, 3, 4, 5]),
            (["2"], [2]),
            (["1-3", "5"], [1, 2, 3, 5]),
            (["tool=gzip"], [0, 1, 2]),
            (["level=1", "level=6", "tool=x z"], [3, 4]),
            (["0-3", "level=1"], [0, 3]),
        ],
    )
    def test_some_may_be_chosen(
        self, store: Path, tmp_path: Path, words: list[str], numbers: list[int], capsys: Capture
    ) -> None:
        said = call(capsys, "sweep", "list", tmp_path, "--json", *words)

        assert said.code == 0
        assert [json.loads(line)["number"] for line in said.out.splitlines()] == numbers

    def test_json_has_all_there_is(self, store: Path, tmp_path: Path, capsys: Capture) -> None:
        (line,) = call(capsys, "sweep", "list", tmp_path, "1", "--json").out.splitlines()

        facts = json.loads(line)
        assert facts.pop("since") > 0
        assert facts == {
            "number": 1,
            "combination": {"tool": "gzip", "level": 6},
            "state": "skipped",
            "owner": None,
            "reason": "no memory",
        }


class TestChange:
    def test_skip_takes_what_remains(self, store: Path, tmp_path: Path) -> None:
        done = regisseur("sweep", "skip", tmp_path, "level=9", "tool=x z", "--reason", "too slow")

        assert (done.returncode, done.stdout, done.stderr) == (0, 'skipped 5: tool="x z" level=9\n', "")
        assert states(store) == [*BEFORE[:5], "skipped"]
        assert SweepView(store).statuses()[5].reason == "too slow"

    def test_cancel_gives_back_what_was_skipped(self, store: Path, tmp_path: Path) -> None:
        done = regisseur("sweep", "cancel", tmp_path, "0-1", "--json")

        assert json.loads(done.stdout) == {"cancelled": [{"number": 1, "combination": {"tool": "gzip", "level": 6}}]}
        assert states(store) == ["done", "remaining", *BEFORE[2:]]

    @pytest.mark.parametrize("command", ["cancel", "skip"])
    def test_nothing_is_taken_from_a_live_process(
        self, command: str, store: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        said = call(capsys, "sweep", command, tmp_path, "--all")

        assert (said.code, said.out) == (4, "")
        assert "1 of the selected are in progress (2), the first by process" in said.err
        assert said.err.count("\n") == 1
        assert states(store) == BEFORE

    @pytest.mark.parametrize(("command", "state"), [("cancel", "remaining"), ("skip", "skipped")])
    def test_force_takes_it(self, command: str, state: str, store: Path, tmp_path: Path, capsys: Capture) -> None:
        assert call(capsys, "sweep", command, tmp_path, "2", "--force").code == 0

        assert states(store)[2] == state

    def test_what_a_dead_process_had_is_free(self, tmp_path: Path) -> None:
        ParamSweeper(tmp_path, SPACE, save_sweeps=True)
        leave_by_a_dead_process(tmp_path)
        done = regisseur("sweep", "skip", tmp_path, "0")

        assert (done.returncode, done.stdout) == (0, "skipped 0: tool=gzip level=1\n")
        assert "which is gone, are to do again" in done.stderr

    def test_a_sweep_that_was_not_saved_is_changed_too(self, tmp_path: Path, capsys: Capture) -> None:
        sweeper = ParamSweeper(tmp_path, SPACE)
        sweeper.cancel(sweeper.get_next())

        assert call(capsys, "sweep", "skip", tmp_path, "0").code == 0
        assert sweeper.get_skipped() == {SPACE[0]}

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["cancel", "3"], "nothing to do: of the 1 selected none is inprogress or skipped; they are remaining"),
            (["skip", "0"], "nothing to do: of the 1 selected none is remaining or inprogress; they are done"),
            (["skip", "color=red"], "no combination in"),
            (["skip", "6"], "there is no combination 6 in"),
            (["cancel", "4-9"], "there is no combination 6 in"),
        ],
    )
    def test_nothing_to_do_is_3(
        self, arguments: list[str], text: str, store: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        said = call(capsys, "sweep", arguments[0], tmp_path, *arguments[1:])

        assert (said.code, said.out) == (3, "")
        assert text in said.err
        assert said.err.count("\n") == 1
        assert states(store) == BEFORE


class TestNoSweep:
    @pytest.mark.parametrize("command", [["status"], ["list"], ["skip", "--all"], ["cancel", "--all"]])
    def test_what_is_no_sweep_is_3_and_made_none(self, command: list[str], tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "file").touch()
        for name, text in {
            "no": "no does not exist",
            "file": "file is not a directory",
            ".": "no sweeper's store",
        }.items():
            said = call(capsys, "sweep", command[0], tmp_path / name, *command[1:])

            assert (said.code, said.out) == (3, "")
            assert text in said.err
            assert said.err.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("command", [["status"], ["list"], ["skip", "--all"], ["cancel", "--all"]])
    def test_a_damaged_one_is_4_and_left_as_it_is(
        self, command: list[str], store: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        log = tmp_path / "sweep" / "sweep.log"
        damaged = bytearray(log.read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        log.write_bytes(damaged)
        said = call(capsys, "sweep", command[0], tmp_path, *command[1:])

        assert (said.code, said.out) == (4, "")
        assert "is damaged at byte" in said.err
        assert said.err.count("\n") == 1
        assert log.read_bytes() == damaged

    def test_one_of_execo_is_4_and_says_how_to_convert_it(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "done").write_bytes(pickle.dumps("a"))
        said = call(capsys, "sweep", "status", tmp_path)

        assert said.code == 4
        assert f"regisseur sweep import {tmp_path}" in said.err


class TestImport:
    def execo(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "done").write_bytes(pickle.dumps("a") + pickle.dumps("b"))
        (directory / "sweeps").write_bytes(pickle.dumps({"a", "b", "c", "d"}))
        (directory / "inprogress").write_bytes(pickle.dumps({"c"}))

    def test_a_store_of_execo_becomes_one_of_ours(self, tmp_path: Path) -> None:
        self.execo(tmp_path / "old")
        done = regisseur("sweep", "import", "old", cwd=tmp_path)

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[0] == "old: 2 done, 1 given back, 4 in the sweep as it was saved"
        assert (tmp_path / "old" / "done.execo").exists()
        assert SweepView(tmp_path / "old").counts() == {
            "total": 4, "remaining": 2, "inprogress": 0, "done": 2, "skipped": 0,
        }  # fmt: skip

    def test_it_may_be_made_elsewhere(self, tmp_path: Path, capsys: Capture) -> None:
        self.execo(tmp_path / "old")
        said = call(capsys, "sweep", "import", tmp_path / "old", "--to", tmp_path / "new", "--json")

        facts = json.loads(said.out)
        assert (facts["destination"], facts["done"], facts["given_back"]) == (f"{tmp_path}/new", 2, ["c"])
        assert sorted(path.name for path in (tmp_path / "old").iterdir()) == ["done", "inprogress", "sweeps"]

    def test_a_record_that_was_cut_short_is_told(self, tmp_path: Path, capsys: Capture) -> None:
        self.execo(tmp_path / "old")
        with (tmp_path / "old" / "done").open("ab") as file:
            file.write(pickle.dumps("torn")[:-3])
        said = call(capsys, "sweep", "import", tmp_path / "old")

        assert said.code == 0
        assert "was cut short by a crash" in said.err

    def test_code_in_it_is_refused(self, tmp_path: Path, capsys: Capture) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return print, ("executed",)

        (tmp_path / "done").write_bytes(pickle.dumps(Evil()))
        said = call(capsys, "sweep", "import", tmp_path)

        assert (said.code, said.out) == (4, "")
        assert "builtins.print" in said.err

    def test_a_directory_without_one_is_3(self, tmp_path: Path, capsys: Capture) -> None:
        said = call(capsys, "sweep", "import", tmp_path)

        assert said.code == 3
        assert said.err.startswith(f"regisseur: sweep: there is no sweep of Execo in {tmp_path}")


class TestSelection:
    @pytest.mark.parametrize(
        ("level", "words"),
        [
            ("gzip", ["gzip"]),
            ("x z", ["x z", '"x z"']),
            (10, ["10", "10.0", "1e1"]),
            (0.5, ["0.5", ".5"]),
            (True, ["True"]),
            (None, ["None"]),
            ((1, "a"), ["(1, 'a')"]),
            ("", ["", '""']),
        ],
    )
    def test_a_level_is_found_by_what_is_shown_and_by_what_means_the_same(self, level: Any, words: list[str]) -> None:
        for word in words:
            assert Selection([f"x={word}"]).takes(0, HashableDict(x=level))
        assert not Selection(["x=other"]).takes(0, HashableDict(x=level))

    def test_true_is_not_1(self) -> None:
        assert not Selection(["x=1"]).takes(0, HashableDict(x=True))

    def test_factors_need_not_be_texts(self) -> None:
        assert Selection(["1=2"]).takes(0, {1: 2})

    def test_combinations_that_are_no_dicts_have_numbers_only(self) -> None:
        assert Selection(["0"]).takes(0, "a")
        assert not Selection(["a=b"]).takes(0, "a")
        assert show_combination("a b") == '"a b"'

    def test_what_a_terminal_might_obey_is_escaped(self) -> None:
        assert show_level("\x1b[31m") == '"\\u001b[31m"'

    @pytest.mark.parametrize("word", ["", "x", "=1", "1-", "-1", "1-2-3", "3-1", "\u0661"])
    def test_anything_else_selects_nothing(self, word: str) -> None:
        with pytest.raises(ValueError, match="selects nothing"):
            Selection([word])
