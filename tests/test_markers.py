"""The markers and the leak checks themselves: each is shown a test that breaks it, in a pytest of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import needs

ROOT = Path(__file__).parent.parent
MARKERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
PACKAGES = re.findall(r"^([\w.+-]+)", (ROOT / "tools/debian-packages.txt").read_text(), re.MULTILINE)

Inner = Callable[..., str]


@pytest.fixture
def inner(tmp_path: Path) -> Inner:
    """Run the tests in a text under our conftest, in a process of its own, and return what pytest printed."""
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -ra -p no:cacheprovider\npythonpath = " + str(ROOT / "tests/support")
        + "\nmarkers =\n" + textwrap.indent("\n".join(MARKERS), "    ")
    )  # fmt: skip

    def run(text: str, *arguments: str, **environment: str) -> str:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(text))
        outer = {name: value for name, value in os.environ.items() if name not in ("CI", "HYPOTHESIS_PROFILE")}
        command = [sys.executable, "-m", "pytest", str(tmp_path), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=outer | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.stdout + done.stderr

    return run


ONE_THAT_NEEDS_SOCAT = """
    import needs, pytest

    @pytest.mark.requires_socat
    def test_it():
        pass
"""


def test_a_test_whose_program_is_absent_is_skipped_and_the_summary_says_why(inner: Inner) -> None:
    output = inner(ONE_THAT_NEEDS_SOCAT, PATH="/nonexistent")

    assert "SKIPPED [1] test_it.py:4: needs socat (Debian package socat), for pairs of serial ports" in output
    assert "left out: 1 test, needs socat (Debian package socat), for pairs of serial ports" in output
    assert "1 skipped" in output


@pytest.mark.requires_root
def test_in_ci_as_root_a_program_that_is_absent_is_an_error(inner: Inner) -> None:
    output = inner(ONE_THAT_NEEDS_SOCAT, PATH="/nonexistent", CI="true")

    assert "needs socat (Debian package socat), for pairs of serial ports: in CI this must be there" in output
    assert "1 error" in output


def test_a_test_whose_program_is_there_runs(inner: Inner, tmp_path: Path) -> None:
    program = tmp_path / "bin/socat"
    program.parent.mkdir()
    program.touch(0o755)

    assert "1 passed" in inner(ONE_THAT_NEEDS_SOCAT, PATH=str(program.parent), CI="true")


def test_a_test_that_leaves_something_behind_fails(inner: Inner) -> None:
    # What can be put right is; and nobody is blamed for what one before has left.
    output = inner(
        """
        import os, subprocess, threading
        import leaks
        leaks.patiently.__defaults__ = (0.1,)
        home, done, kept = os.getcwd(), threading.Event(), []

        def test_a_thread():
            threading.Thread(target=done.wait).start()

        def test_a_child():
            kept.append(os.posix_spawnp("sleep", ["sleep", "30"], os.environ))

        def test_a_zombie():
            kept.append(os.posix_spawnp("true", ["true"], os.environ))

        def test_a_descriptor():
            kept.append(os.open("/dev/null", os.O_RDONLY))

        def test_a_variable():
            os.environ["SOME"] = "thing"

        def test_a_directory():
            os.chdir("/")

        def test_the_innocent():
            assert os.getcwd() == home
            assert "SOME" not in os.environ

        def test_the_last():
            done.set()
            os.kill(kept[0], 9)
            os.waitpid(kept[0], 0)
            os.waitpid(kept[1], 0)
            os.close(kept[2])
        """
    )

    blamed = re.findall(r"ERROR at teardown of (\w+) .*\n.*(?:this test|this file) leaves? behind:\n +(.*)", output)
    assert [(test, re.sub(r"\d+:", "N:", what)) for test, what in blamed] == [
        ("test_a_thread", "thread Thread-1 (wait)"),
        ("test_a_child", "child N: sleep 30"),
        ("test_a_zombie", "child N: ended, but never waited for"),
        ("test_a_descriptor", "descriptor N: /dev/null"),
        ("test_a_variable", "environment: SOME"),
        ("test_a_directory", "working directory: /"),
    ]
    assert "8 passed, 6 errors" in output


def test_what_is_ended_in_time_is_no_leak(inner: Inner) -> None:
    output = inner(
        """
        import os, subprocess, threading

        def test_it(monkeypatch, tmp_path):
            monkeypatch.setenv("SOME", "thing")
            monkeypatch.chdir(tmp_path)
            thread = threading.Timer(0.1, lambda: None)
            thread.start()
            subprocess.run(["true"])
            os.close(os.open("/dev/null", os.O_RDONLY))
        """
    )

    assert "1 passed in" in output


def test_a_default_runtime_may_outlive_a_test_but_not_its_file(inner: Inner) -> None:
    output = inner(
        """
        import threading
        from regisseur.actors.runtime import Runtime, current_runtime

        def reactors():
            return sum(thread.name == "regisseur-reactor" for thread in threading.enumerate())

        def test_one():
            current_runtime()
            assert reactors() == 1

        def test_two():
            assert reactors() == 1
            Runtime().start()

        def test_three(request):
            request.session.config.add_cleanup(lambda: print(f"at the end {reactors()}"))
        """,
        "-s",
    )

    assert "ERROR at teardown of test_one" not in output
    assert re.search("ERROR at teardown of test_two .*a runtime that was not stopped: there are 2", output, re.DOTALL)
    assert "at the end 1" in output  # test_two's: nobody else may stop it


def test_a_hanging_test_is_ended_by_its_time_limit(inner: Inner) -> None:
    output = inner(
        """
        import threading, pytest

        @pytest.mark.timeout(0.2)
        def test_it():
            threading.Event().wait()
        """
    )

    assert "Failed: Timeout" in output
    assert "1 failed" in output


def test_each_need_is_a_registered_marker() -> None:
    registered = {marker.partition(":")[0] for marker in MARKERS}

    assert {name for name in registered if name.startswith("requires_")} == set(needs.NEEDS)


def test_the_package_of_each_need_that_a_test_has_is_installed_by_the_set_up() -> None:
    text = "".join(path.read_text() for path in (ROOT / "tests").glob("*/test_*.py"))
    used = set(re.findall(r"pytest\.mark\.(requires_\w+)", text))
    wanted = {needs.NEEDS[marker].package for marker in used} - {""}

    assert wanted <= set(PACKAGES)


def test_hypothesis_has_no_deadline_and_in_ci_repeats_itself() -> None:
    assert settings.get_profile("dev").deadline is None
    assert settings.get_profile("ci").deadline is None
    assert settings.get_profile("ci").derandomize
    assert settings.get_profile("ci").max_examples > settings.get_profile("dev").max_examples
