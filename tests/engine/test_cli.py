"""The command line as a whole: version, usage errors, exit codes, streams, colours, completion."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import PROGRAM, call, regisseur
from regisseur.actors.exception import ConfigurationError
from regisseur.engine.cli import main
from regisseur.engine.cli._console import clean, wants_colour
from regisseur.engine.cli._errors import CommandError, ExitCode, explain, report
from regisseur.engine.logfile import LogError
from regisseur.engine.rundir import RunDirectoryInUseError
from regisseur.engine.sweep import SweepStoreBusyError, SweepStoreMissingError

COMMANDS = [
    *(["run"], ["exec"], ["put"], ["get"], ["log"], ["demo"]),
    *(["sweep", name] for name in ("status", "list", "cancel", "skip", "import")),
    *(["config", name] for name in ("show", "import-execo")),
]


class TestVersion:
    def test_the_version_is_printed(self) -> None:
        done = regisseur("--version")

        assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "regisseur", "")

    def test_with_v_python_and_the_libraries_are_told_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version", "-v"]) == 0

        names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
        assert names[:2] == ["regisseur", "python"]
        assert {"pykka", "pyzmq", "msgpack", "typer"} <= set(names)
        assert "matplotlib" not in names

    def test_the_command_line_itself_loads_nothing_large(self) -> None:
        program = """
import sys, regisseur.engine
before = set(sys.modules)
from regisseur.engine.cli import main
main(["--version"])
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}), file=sys.stderr)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert not {"rich", "yaml", "jinja2", "httplib2", "structlog", "matplotlib"} & set(eval(done.stderr))

    def test_the_module_is_the_same_command(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "regisseur.engine", "--version"], capture_output=True, text=True, check=True
        )

        assert done.stdout == regisseur("--version").stdout


class TestUsage:
    @pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
    def test_every_command_has_help(self, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        for option in ("--help", "-h"):
            assert main([*command, option]) == 0
            assert "Usage: regisseur" in capsys.readouterr().out

    def test_a_wrong_command_line_gets_one_line_and_2(self) -> None:
        done = regisseur("exec", "--frobnicate", "true")

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "regisseur: exec: No such option: --frobnicate; see 'regisseur exec --help'\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["nonsense"],
            ["--nonsense"],
            ["sweep"],
            ["sweep", "nonsense"],
            *([*command, "--nonsense"] for command in COMMANDS),
            *(command for command in COMMANDS if command not in (["demo"], ["config", "show"])),
            ["exec", "--timeout", "soon", "true"],
            ["exec", "--kill-after", "-1", "true"],
            ["exec", "--cwd", "/nonexistent", "true"],
            ["exec", "--no-shell", "echo 'a"],
            ["log", ".", "--level", "loud"],
            ["run", "--run-dir", "x", "--continue", "script.py"],
            ["sweep", "list", ".", "--state", "lost"],
            ["sweep", "list", ".", "nonsense"],
            ["sweep", "cancel", "."],
            ["sweep", "skip", ".", "--all", "1"],
            ["sweep", "list", ".", "3-1"],
            ["exec", "-S", "true"],
            ["exec", "-f", "3", "true"],
            ["exec", "--color", "always", "true"],
            ["put", "-w", "n1", "", "place"],
            ["get", "-w", "n1", "file", ""],
            ["run", ""],
            ["run", "--run-dir", "", "script.py"],
            ["demo", ""],
            ["log", ""],
            ["sweep", "status", ""],
        ],
        ids=" ".join,
    )
    def test_each_wrong_command_line_gets_one_line_and_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, *arguments)

        assert (said.code, said.out) == (ExitCode.USAGE, "")
        assert said.err.startswith("regisseur: ")
        assert said.err.count("\n") == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "text", "code"),
        [
            (CommandError("who knows", ExitCode.NOTHING), "who knows", 3),
            (FileNotFoundError(2, "No such file", "/x"), "/x: No such file", 3),
            (PermissionError(13, "Permission denied", b"/x"), "/x: Permission denied", 4),
            (OSError(28, "No space left"), "No space left", 4),
            (SweepStoreMissingError("/x"), "no sweeper's store is in /x", 3),
            (SweepStoreBusyError("/x", 3.0), "/x stayed locked", 4),
            (RunDirectoryInUseError("/x", 7, "here"), "in use by process 7 on here", 4),
            (LogError("/x", 3, "not a line"), "/x: line 3: not a line", 4),
            (ConfigurationError("/x", "bad", line=2), "/x, line 2: bad", 4),
            (KeyError("x"), "this is a fault in Regisseur: KeyError: 'x'", 70),
        ],
    )
    def test_an_error_has_a_text_and_a_code(self, error: Exception, text: str, code: int) -> None:
        found, status = explain(error)

        assert text in found
        assert status == code

    def test_an_error_is_told_in_one_line_that_steers_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert report(CommandError("a\x1b[31m\nb\x07 \udcff", ExitCode.NOTHING), "log") == 3

        assert capsys.readouterr().err == "regisseur: log: a\\x1b[31m b\\x07 \\udcff\n"

    def test_debug_shows_the_traceback_too(self) -> None:
        plain = regisseur("log", "/nonexistent")
        debug = regisseur("log", "/nonexistent", environ={"REGISSEUR_DEBUG": "1"})

        assert (plain.returncode, plain.stderr) == (3, "regisseur: log: there is no run /nonexistent\n")
        assert debug.returncode == 3
        assert debug.stderr.startswith("Traceback")
        assert debug.stderr.endswith(plain.stderr)

    def test_texts_of_other_languages_stay_as_they_are(self) -> None:
        assert clean("é ü 漢\n  x") == "é ü 漢 x"


class TestStreams:
    def test_a_reader_who_has_gone_ends_it_without_a_word(self, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"
        log.write_text("".join(f'{{"seq":{n},"ts":1.0,"event":"x","pid":1}}\n' for n in range(1, 20_000)))
        done = subprocess.run(
            ["bash", "-c", f"{PROGRAM} log {log} | head -n 1; echo ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.splitlines()[1:] == ["141"]
        assert done.stderr == ""

    def test_a_full_disk_is_told_in_one_line(self) -> None:
        with Path("/dev/full").open("wb") as full:
            done = regisseur("config", "show", stdout=full)

        assert (done.returncode, done.stderr) == (4, "regisseur: config: stdout: No space left on device\n")

    @pytest.mark.parametrize("words", [["--help"], ["exec", "--help"], ["sweep", "--help"]], ids=" ".join)
    def test_a_full_disk_is_told_of_the_help_too(self, words: list[str]) -> None:
        with Path("/dev/full").open("wb") as full:
            done = regisseur(*words, stdout=full)

        assert done.returncode == 4
        assert done.stderr.endswith("No space left on device\n")
        assert done.stderr.count("\n") == 1

    def test_streams_that_the_caller_has_closed_do_no_harm(self) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{PROGRAM} exec 'echo a; echo b >&2' <&- >&- 2>&-"], capture_output=True, check=False
        )

        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_messages_do_not_go_to_stdout_where_stderr_is_closed(self) -> None:
        done = subprocess.run(["bash", "-c", f"{PROGRAM} exec -v 'echo a' 2>&-"], capture_output=True, check=False)

        assert (done.returncode, done.stdout) == (0, b"a\n")

    def test_what_the_encoding_lacks_is_escaped(self, tmp_path: Path) -> None:
        (tmp_path / "log.jsonl").write_text('{"seq":1,"ts":1.0,"event":"x","pid":1,"text":"é"}\n')
        done = regisseur("log", tmp_path, environ={"PYTHONIOENCODING": "ascii"})

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("text=\\xe9\n")


class TestColours:
    @pytest.mark.parametrize(
        ("environ", "terminal", "expected"),
        [
            ({}, True, True),
            ({}, False, False),
            ({"NO_COLOR": "1"}, True, False),
            ({"NO_COLOR": ""}, True, True),
            ({"CLICOLOR_FORCE": "1"}, False, True),
            ({"CLICOLOR_FORCE": "0"}, False, False),
            ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, True, False),
            ({"CLICOLOR": "0"}, True, False),
            ({"CLICOLOR": "0", "CLICOLOR_FORCE": "1"}, False, True),
            ({"TERM": "dumb"}, True, False),
        ],
    )
    def test_variables_come_before_the_terminal(
        self, environ: dict[str, str], terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        master, slave = pty.openpty()
        with os.fdopen(master, "wb"), os.fdopen(slave, "w") as stream, Path(os.devnull).open("w") as other:
            assert wants_colour(stream if terminal else other) is expected

    def test_the_log_is_in_colour_where_it_is_forced(self, tmp_path: Path) -> None:
        (tmp_path / "log.jsonl").write_text('{"seq":1,"ts":1.0,"event":"x","pid":1}\n')

        assert "\033[" not in regisseur("log", tmp_path).stdout
        assert "\033[" in regisseur("log", tmp_path, environ={"CLICOLOR_FORCE": "1"}).stdout
        assert "\033[" not in regisseur("log", tmp_path, environ={"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}).stdout
        assert "\033[" in regisseur("log", "--help", environ={"CLICOLOR_FORCE": "1", "TERM": "xterm"}).stdout


class TestCompletion:
    def test_the_script_of_the_calling_shell_is_printed(self) -> None:
        done = subprocess.run(
            ["bash", "-c", f"PATH={Path(PROGRAM).parent}:$PATH; regisseur --show-completion; true"],
            capture_output=True,
            text=True,
            check=True,
        )

        assert "complete -o default -F _regisseur_completion regisseur" in done.stdout

    @pytest.mark.parametrize(
        ("shell", "expected"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete")]
    )
    def test_the_script_of_a_named_shell_is_printed(self, shell: str, expected: str) -> None:
        done = regisseur(environ={"_REGISSEUR_COMPLETE": f"source_{shell}"})

        assert done.returncode == 0
        assert expected in done.stdout

    def test_groups_of_hosts_are_completed(self, tmp_path: Path) -> None:
        (tmp_path / "groups.yaml").write_text("compute: n[1-3]\ncold: x\nstorage: y\n")
        environ = {"_REGISSEUR_COMPLETE": "complete_bash", "COMP_WORDS": "regisseur exec -g co", "COMP_CWORD": "3"}
        done = regisseur(environ={**environ, "REGISSEUR_GROUPS": str(tmp_path / "groups.yaml")})

        assert done.stdout.split() == ["compute", "cold"]

    def test_commands_and_options_are_completed(self) -> None:
        def complete(words: str, at: int) -> list[str]:
            environ = {"_REGISSEUR_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
            return regisseur(environ=environ).stdout.split()

        assert complete("regisseur sw", 1) == ["sweep"]
        assert complete("regisseur sweep st", 2) == ["status"]
        assert complete("regisseur log --fol", 2) == ["--follow"]
        assert complete("regisseur exec --gat", 2) == ["--gather", "--gather-all"]
        assert complete("regisseur exec --color n", 3) == ["never"]
