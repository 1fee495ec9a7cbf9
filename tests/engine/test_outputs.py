"""Redirected and copied outputs, in processes of their own: every byte in its place, in order, and back again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regisseur.engine import utils
from regisseur.engine.slug import slugify

TALK = """
import os, subprocess, sys
from regisseur.engine.utils import copy_outputs, redirect_outputs
print("before")
undo = {change}
for n in range({times}):
    print("out", n)
    print("err", n, file=sys.stderr)
    subprocess.run("echo child {{}}; echo child-err {{}} >&2".format(n, n), shell=True)
    os.write(1, b"raw %d\\n" % n)
{end}
"""

OUT = "".join(f"out {n}\nchild {n}\nraw {n}\n" for n in range(3))
ERR = "".join(f"err {n}\nchild-err {n}\n" for n in range(3))
BOTH = "".join(f"out {n}\nerr {n}\nchild {n}\nchild-err {n}\nraw {n}\n" for n in range(3))


def talk(directory: Path, change: str, end: str = "", times: int = 3) -> tuple[str, str]:
    """Run a program that talks after *change*; return what came out of its former stdout and stderr."""
    script = TALK.format(change=change, end=end, times=times)
    # Not a terminal, so that python buffers, as in a pipe or under a batch scheduler.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


class TestRedirect:
    def test_everything_goes_into_two_files(self, tmp_path: Path) -> None:
        assert talk(tmp_path, 'redirect_outputs("o", "e")') == ("before\n", "")
        assert (tmp_path / "o").read_text() == OUT
        assert (tmp_path / "e").read_text() == ERR

    def test_both_into_one_file_keep_their_order(self, tmp_path: Path) -> None:
        assert talk(tmp_path, 'redirect_outputs("both", "both")') == ("before\n", "")
        assert (tmp_path / "both").read_text() == BOTH

    def test_files_are_appended_to(self, tmp_path: Path) -> None:
        (tmp_path / "o").write_text("earlier\n")
        talk(tmp_path, 'redirect_outputs("o", "e")')

        assert (tmp_path / "o").read_text() == "earlier\n" + OUT

    def test_it_can_be_taken_back(self, tmp_path: Path) -> None:
        end = 'undo(); undo(); print("after"); print("after", file=sys.stderr)'

        assert talk(tmp_path, 'redirect_outputs("o", "e")', end) == ("before\nafter\n", "after\n")
        assert (tmp_path / "o").read_text() == OUT

    def test_a_file_that_can_not_be_opened_changes_nothing(self, tmp_path: Path) -> None:
        change = """None
try:
    redirect_outputs("o", "no/e")
except FileNotFoundError:
    print("refused")"""
        out, err = talk(tmp_path, change)

        assert sorted(out.splitlines()) == sorted(("before\nrefused\n" + OUT).splitlines())
        assert err == ERR


class TestCopy:
    def test_everything_goes_into_two_files_and_where_it_went_before(self, tmp_path: Path) -> None:
        assert talk(tmp_path, 'copy_outputs("o", "e")') == ("before\n" + OUT, ERR)
        assert (tmp_path / "o").read_text() == OUT
        assert (tmp_path / "e").read_text() == ERR

    def test_both_into_one_file_keep_their_order(self, tmp_path: Path) -> None:
        assert talk(tmp_path, 'copy_outputs("both", "both")') == ("before\n" + BOTH, "")
        assert (tmp_path / "both").read_text() == BOTH

    def test_all_is_there_when_the_program_has_ended(self, tmp_path: Path) -> None:
        out, _ = talk(tmp_path, 'copy_outputs("o", "e")', 'print("x" * 2_000_000); sys.exit(0)')

        assert out.endswith("x" * 2_000_000 + "\n")
        assert (tmp_path / "o").read_text() == out.removeprefix("before\n")

    def test_it_can_be_taken_back(self, tmp_path: Path) -> None:
        end = 'undo(); print("after")'

        assert talk(tmp_path, 'copy_outputs("o", "e")', end) == ("before\n" + OUT + "after\n", ERR)
        assert (tmp_path / "o").read_text() == OUT

    def test_with_a_pty_programs_see_a_terminal_and_lines_stay_as_they_are(self, tmp_path: Path) -> None:
        out, err = talk(tmp_path, 'copy_outputs("o", "e", use_pty=True)', "print(os.isatty(1), os.isatty(2))")

        assert (out, err) == ("before\n" + OUT + "True True\n", ERR)
        assert (tmp_path / "o").read_text() == OUT + "True True\n"

    def test_ctrl_c_does_not_cut_what_is_said_about_it(self, tmp_path: Path) -> None:
        end = """
import signal
try:
    os.killpg(0, signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""
        script = TALK.format(change='copy_outputs("o", "e")', end=end, times=1)
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            capture_output=True,
            start_new_session=True,
            timeout=60,
            check=True,
        )

        assert done.stdout.endswith(b"interrupted\n")
        assert (tmp_path / "o").read_bytes().endswith(b"interrupted\n")

    def test_a_change_upon_a_change_is_taken_back_with_it(self, tmp_path: Path) -> None:
        change = 'redirect_outputs("o", "e"); copy_outputs("o2", "e2")'

        assert talk(tmp_path, change, 'undo(); print("after")') == ("before\nafter\n", "")
        assert (tmp_path / "o").read_text() == OUT
        assert (tmp_path / "o2").read_text() == OUT

    def test_a_forked_child_takes_nothing_back_at_its_exit(self, tmp_path: Path) -> None:
        end = """
sys.stdout.flush()
if os.fork() == 0:
    sys.exit(0)
os.wait()
print("parent")
"""
        out, _ = talk(tmp_path, 'copy_outputs("o", "e")', end)

        assert out.endswith("parent\n")
        assert (tmp_path / "o").read_text() == OUT + "parent\n"


@pytest.mark.parametrize("name", ["copy_outputs", "redirect_outputs", "slugify"])
def test_scripts_find_the_names_in_utils(name: str) -> None:
    assert name in utils.__all__
    assert utils.slugify is slugify
