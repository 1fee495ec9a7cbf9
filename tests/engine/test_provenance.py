"""Facts about code, packages and machine: true where they can be had, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regisseur.actors._run_quietly import run_quietly
from regisseur.engine import provenance


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "script.py").write_text("print(1)\n")
    git(tmp_path, "add", "script.py")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_clean_repository_has_a_commit_and_a_branch(repository: Path) -> None:
    code = provenance.code_facts(repository)

    assert code.diff is None
    assert code.facts == {
        "repository": str(repository),
        "commit": git(repository, "rev-parse", "HEAD").strip(),
        "branch": "trunk",
        "dirty": False,
    }


def test_the_difference_of_a_dirty_repository_can_be_applied(repository: Path) -> None:
    (repository / "script.py").write_text("print(2)\n")
    (repository / "new é.txt").write_text("untracked")
    (repository / "sub").mkdir()

    code = provenance.code_facts(repository / "sub")

    assert (code.facts["dirty"], code.facts["untracked"]) == (True, {"count": 1, "first": ["new é.txt"]})
    assert code.diff is not None
    git(repository, "checkout", "-q", "script.py")
    (repository / "x.diff").write_bytes(code.diff)
    git(repository, "apply", "x.diff")
    assert (repository / "script.py").read_text() == "print(2)\n"


def test_programs_that_a_repository_names_are_not_run(repository: Path) -> None:
    (repository / ".gitattributes").write_text("* diff=evil\n")
    for key in ("diff.external", "diff.evil.textconv", "diff.evil.command", "core.fsmonitor"):
        git(repository, "config", key, f"touch {repository}/ran; false")
    (repository / "script.py").write_text("print(2)\n")

    provenance.code_facts(repository)

    assert not (repository / "ran").exists()


def test_a_detached_head_and_a_repository_without_a_commit_are_facts_too(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q", "-b", "trunk")

    assert provenance.code_facts(repository).facts["branch"] is None
    assert provenance.code_facts(empty).facts["commit"] is None
    assert provenance.code_facts(empty).facts["branch"] == "trunk"


def test_without_a_repository_or_git_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    outside = tmp_path / "outside"
    outside.mkdir()
    without = provenance.code_facts(outside)
    monkeypatch.setenv("PATH", "")
    nowhere = provenance.code_facts(outside)

    assert without.facts["repository"] is None
    assert "not a git repository" in without.facts["reason"]
    assert nowhere.facts["repository"] is None
    assert "git could not be asked" in nowhere.facts["reason"]


def test_a_difference_that_is_too_large_is_not_kept(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LARGEST_DIFF", 10)
    (repository / "script.py").write_text("print(2)\n")

    code = provenance.code_facts(repository)

    assert code.diff is None
    assert code.facts["dirty"] is True
    assert "too large" in code.facts["reason"]


def test_the_facts_of_the_host_are_those_of_this_one() -> None:
    facts = provenance.host_facts()

    assert facts["hostname"] == os.uname().nodename
    assert facts["cpu"]["count"] == os.cpu_count()
    assert facts["memory"] > 1 << 20
    assert facts["python"]["executable"] == sys.executable


def test_installed_packages_are_listed_with_versions_once_each() -> None:
    packages = provenance.package_versions()

    names = [package.split("==")[0].lower() for package in packages]
    assert "structlog" in names
    assert len(set(names)) == len(names)
    assert all("==" in package for package in packages)


class TestRunQuietly:
    def test_status_and_both_outputs_are_returned(self, tmp_path: Path) -> None:
        script = "import os, sys; print(os.environ['V'], os.getcwd()); print('e', file=sys.stderr); sys.exit(3)"

        answer = run_quietly([sys.executable, "-c", script], timeout=30, cwd=tmp_path, environ={"V": "v"})

        assert answer == (3, f"v {tmp_path}\n".encode(), b"e\n")

    def test_a_command_that_takes_too_long_is_killed_and_named(self) -> None:
        with pytest.raises(TimeoutError, match=r"tail did not end within 0\.05 s and was killed: tail -f /dev/null"):
            run_quietly(["tail", "-f", "/dev/null"], timeout=0.05)

    def test_a_missing_program_raises(self) -> None:
        with pytest.raises(FileNotFoundError):
            run_quietly(["no-such-program-here"], timeout=1)
