"""``regisseur config`` and ``regisseur demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from commandline import call, regisseur
from regisseur.engine import demo

Capture = pytest.CaptureFixture[str]

EXECO = """
import logging
configuration = {"log_level": logging.DEBUG, "no_such_thing": 1}
default_connection_params = dict(user="root", keyfile=find_key())
print("executed")
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "execo.conf.py"
    file.write_text(EXECO)
    return file


def file_variable(tmp_path: Path, text: str | None = None) -> dict[str, str]:
    """The environment where a file in *tmp_path* is the configuration; with *text* it is written."""
    file = tmp_path / "made" / "config.yaml"
    if text is not None:
        file.parent.mkdir()
        file.write_text(text)
    return {"REGISSEUR_CONFIG": str(file)}


class TestShow:
    def test_what_is_in_force_is_shown_with_its_source(self, tmp_path: Path) -> None:
        environ = file_variable(
            tmp_path, "configuration: {log_level: DETAIL}\ndefault_connection_params: {user: root}\n"
        )
        done = regisseur("config", "show", environ=environ | {"REGISSEUR_KILL_TIMEOUT": "5"})

        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == f"# {tmp_path}/made/config.yaml"
        assert "  log_level: DETAIL  # file" in lines
        assert "  kill_timeout: 5  # REGISSEUR_KILL_TIMEOUT" in lines
        assert "  user: root  # file" in lines
        assert "  remote_tool: SSH" in lines

    def test_what_is_shown_is_a_configuration_file_that_means_the_same(self, tmp_path: Path) -> None:
        first = regisseur("config", "show", "--json", environ={"REGISSEUR_INTR_PERIOD": "7"})
        text = regisseur("config", "show", environ={"REGISSEUR_INTR_PERIOD": "7"}).stdout
        second = regisseur("config", "show", "--json", environ=file_variable(tmp_path, text))

        def values(shown: str) -> dict[str, dict[str, Any]]:
            sections = json.loads(shown)["settings"]
            return {name: {key: told["value"] for key, told in section.items()} for name, section in sections.items()}

        assert values(second.stdout) == values(first.stdout)
        assert values(first.stdout) == yaml.safe_load(text)

    def test_a_wrong_file_is_4_in_one_line(self, tmp_path: Path) -> None:
        done = regisseur("config", "show", environ=file_variable(tmp_path, "configuration: {kill_timeout: [\n"))

        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.startswith(f"regisseur: config: {tmp_path}/made/config.yaml, line ")
        assert done.stderr.count("\n") == 1


class TestImport:
    def test_plain_values_become_yaml_and_the_rest_is_named(self, old: Path) -> None:
        done = regisseur("config", "import-execo", old)

        assert done.returncode == 0
        assert yaml.safe_load(done.stdout) == {
            "configuration": {"log_level": 10},
            "default_connection_params": {"user": "root"},
        }
        assert [line.split(": ")[3] for line in done.stderr.splitlines()] == ["line 3", "line 4", "line 5"]

    def test_it_may_be_written_where_there_is_no_file_yet(self, old: Path, tmp_path: Path) -> None:
        environ = file_variable(tmp_path)
        first = regisseur("config", "import-execo", old, "--write", environ=environ)
        second = regisseur("config", "import-execo", old, "--write", environ=environ)

        assert (first.returncode, first.stdout) == (0, "")
        assert first.stderr.endswith(f"regisseur: config: written to {tmp_path}/made/config.yaml\n")
        assert second.returncode == 4
        assert "exists, and was not touched" in second.stderr
        assert "  log_level: DEBUG  # file" in regisseur("config", "show", environ=environ).stdout

    def test_json_tells_what_was_found_and_left_out(self, old: Path, capsys: Capture) -> None:
        facts = json.loads(call(capsys, "config", "import-execo", old, "--json").out)

        assert facts["sections"]["default_connection_params"] == {"user": "root"}
        assert [left["line"] for left in facts["left_out"]] == [3, 4, 5]
        assert facts["written"] is None

    @pytest.mark.parametrize(("text", "code"), [(None, 3), ("x = 1\n", 3), ("def f(:\n", 4), ("\0", 4)])
    def test_what_is_of_no_use_has_a_code(self, text: str | None, code: int, tmp_path: Path, capsys: Capture) -> None:
        file = tmp_path / "file.py"
        if text is not None:
            file.write_text(text)
        said = call(capsys, "config", "import-execo", file)

        assert (said.code, said.out) == (code, "")
        assert str(file) in said.err.splitlines()[-1]


class TestDemo:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bool, bool]]:
        """Calls of the demo, which does nothing."""
        calls: list[tuple[Path, bool, bool]] = []

        def run_demo(directory: Path, *, resume: bool, quick: bool) -> int:
            calls.append((directory, resume, quick))
            return 0

        monkeypatch.setattr(demo, "run_demo", run_demo)
        return calls

    def test_it_runs_in_the_directory_that_is_named(
        self, calls: list[tuple[Path, bool, bool]], tmp_path: Path, capsys: Capture
    ) -> None:
        assert call(capsys, "demo", tmp_path / "d", "--quick").code == 0
        assert call(capsys, "demo").code == 0

        assert calls == [(tmp_path / "d", False, True), (Path("demo-run"), False, False)]

    def test_a_run_that_is_there_is_only_continued_where_that_is_wanted(
        self, calls: list[tuple[Path, bool, bool]], tmp_path: Path, capsys: Capture
    ) -> None:
        (tmp_path / "run.yaml").touch()
        refused, continued = call(capsys, "demo", tmp_path), call(capsys, "demo", "-C", tmp_path)

        assert (refused.code, continued.code) == (2, 0)
        assert "holds a run already: go on with it by -C" in refused.err
        assert calls == [(tmp_path, True, False)]

    def test_ctrl_c_says_how_to_go_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        def run_demo(directory: Path, **_: bool) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(demo, "run_demo", run_demo)
        said = call(capsys, "demo", tmp_path)

        assert said.code == 130
        assert said.err == f"regisseur: demo: interrupted: 'regisseur demo -C {tmp_path}' goes on\n"
