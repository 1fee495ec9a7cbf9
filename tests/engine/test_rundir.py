"""The run directory: sessions are added and never lost, one live run at a time, the dead told from the living."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from regisseur.engine import provenance
from regisseur.engine.rundir import (
    RunDirectory,
    RunDirectoryError,
    RunDirectoryInUseError,
    newest_run,
)

HOLDER = """
import sys
from regisseur.engine.rundir import RunDirectory
run = RunDirectory.create(sys.argv[1])
run.open_journal().event("alive")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def holder(run_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with a live run in *run_path*."""
    command = [sys.executable, "-c", HOLDER, str(run_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def ended(path: Path, **options: Any) -> RunDirectory:
    run = RunDirectory.create(path, **options)
    run.end("ok")
    return run


class TestSessions:
    def test_a_run_is_described_from_its_start(self, run_path: Path, tmp_path: Path) -> None:
        run = RunDirectory.create(run_path, name="n", engine="E", argv=["script.py", "-x"], code=tmp_path)
        try:
            content = yaml.safe_load(run.run_file.read_text())
        finally:
            run.end("ok")
        (session,) = content["sessions"]

        assert (content["name"], content["engine"]) == ("n", "E")
        assert session["argv"] == ["script.py", "-x"]
        assert session["cwd"] == os.getcwd()
        assert session["process"]["pid"] == os.getpid()
        assert session["host"] == provenance.host_facts()
        assert session["packages"] == provenance.package_versions()
        assert session["regisseur"] == provenance.regisseur_version()
        assert {"user", "code", "started"} <= set(session)
        assert not {"ended", "outcome"} & set(session)

    def test_the_end_is_added(self, run_path: Path) -> None:
        run = RunDirectory.create(run_path)
        run.end("exception", error={"type": "ValueError", "text": "bad"})
        run.end("ok")

        (session,) = RunDirectory.open(run_path).sessions

        assert session.outcome == "exception"
        assert session.facts["error"] == {"type": "ValueError", "text": "bad"}
        assert session.ended is not None
        assert session.started <= session.ended
        assert session.facts["duration"] == pytest.approx(session.ended - session.started, abs=1e-3)

    def test_a_further_session_loses_nothing_of_the_earlier_ones(self, run_path: Path) -> None:
        first = RunDirectory.create(run_path, name="first", engine="E", argv=["one"])
        with first.open_journal() as journal:
            journal.event("one")
        first.end("exception")
        before = yaml.safe_load(first.run_file.read_text())["sessions"][0]

        second = RunDirectory.create(run_path, name="second", engine="F", argv=["two"])
        with second.open_journal() as journal:
            journal.event("two")
        second.end("ok")

        run = RunDirectory.open(run_path)
        assert (run.name, run.engine) == ("first", "E")
        assert [session.facts["argv"] for session in run.sessions] == [["one"], ["two"]]
        assert run.sessions[0].facts == before
        assert [json.loads(line)["event"] for line in run.log_file.read_text().splitlines()] == ["one", "two"]

    def test_secrets_of_the_environment_are_hidden(self, run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_TOKEN", "hunter2hunter2")
        run = RunDirectory.create(run_path, argv=["x", "--token=hunter2hunter2", "a\udcff"])
        run.end("exception", error={"text": "hunter2hunter2 refused"})

        text = run.run_file.read_text()

        assert "hunter2" not in text
        assert run.sessions[0].facts["argv"] == ["x", "--token=***", "a\\udcff"]

    def test_the_difference_of_the_code_is_kept_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_TOKEN", "hunter2hunter2")
        diffs = [b"one\n", b"one\n", b"two hunter2hunter2\n", None]
        monkeypatch.setattr(
            provenance, "code_facts", lambda _: provenance.Code({"repository": "/r", "commit": "c"}, diffs.pop(0))
        )
        for _ in range(4):
            ended(tmp_path / "run")

        kept = [session.facts["code"].get("diff") for session in RunDirectory.open(tmp_path / "run").sessions]

        assert [diff and diff["path"] for diff in kept] == ["code.diff", "code.diff", "code-3.diff", None]
        assert kept[2]["masked"]
        assert (tmp_path / "run" / "code.diff").read_bytes() == b"one\n"
        assert (tmp_path / "run" / "code-3.diff").read_bytes() == b"two ***\n"

    def test_run_yaml_is_replaced_as_a_whole(self, run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(provenance, "code_facts", lambda _: provenance.Code({"repository": None}, None))
        run = RunDirectory.create(run_path)
        before = run.run_file.read_bytes()

        def fail(_fd: int) -> None:
            raise OSError(errno.ENOSPC, "disk full")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            run.end("ok")

        assert run.run_file.read_bytes() == before
        assert sorted(path.name for path in run_path.iterdir()) == ["run.yaml"]


class TestOutcome:
    def test_a_live_run_is_running_and_reading_disturbs_nothing(
        self, run_path: Path, holder: subprocess.Popen[bytes]
    ) -> None:
        run = RunDirectory.open(run_path)

        assert run.outcome == "running"
        assert run.sessions[0].pid == holder.pid

    def test_a_run_without_an_end_and_without_its_process_was_killed(
        self, run_path: Path, holder: subprocess.Popen[bytes]
    ) -> None:
        run = RunDirectory.open(run_path)
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie

        assert run.outcome == "killed"
        holder.wait()
        assert run.outcome == "killed"

    def test_an_end_that_comes_later_is_seen(self, run_path: Path) -> None:
        run = RunDirectory.create(run_path)
        reader = RunDirectory.open(run_path)

        assert (run.outcome, reader.outcome) == ("running", "running")
        run.end("signal")
        assert (run.outcome, reader.outcome) == ("signal", "signal")

    def test_a_session_before_another_one_has_ended_somehow(self, run_path: Path) -> None:
        RunDirectory.create(run_path)._lock.release()  # type: ignore[union-attr]  # as the kernel does at a kill
        ended(run_path)

        assert [session.outcome for session in RunDirectory.open(run_path).sessions] == ["killed", "ok"]

    def test_of_a_run_on_another_machine_the_end_is_unknown(self, run_path: Path) -> None:
        run = RunDirectory.create(run_path)
        content = yaml.safe_load(run.run_file.read_text())
        content["sessions"][0]["process"] |= {"host": "elsewhere", "machine": "m", "boot": "b"}
        run.end("ok")
        run.run_file.write_text(yaml.safe_dump(content))

        assert RunDirectory.open(run_path).outcome == "unknown"


class TestLock:
    def test_a_directory_with_a_live_run_is_refused_with_its_pid(
        self, run_path: Path, holder: subprocess.Popen[bytes]
    ) -> None:
        with pytest.raises(RunDirectoryInUseError) as caught:
            RunDirectory.create(run_path)

        error = caught.value
        assert (error.path, error.pid, error.host) == (str(run_path), holder.pid, os.uname().nodename)
        assert str(error).startswith(f"run directory {run_path}: in use by process {holder.pid} on ")
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.pid) == (str(error), error.pid)

    def test_the_lock_of_a_dead_process_is_taken_over(self, run_path: Path, holder: subprocess.Popen[bytes]) -> None:
        holder.kill()
        holder.wait()

        run = ended(run_path)

        assert [session.outcome for session in run.sessions] == ["killed", "ok"]
        assert not (run_path / "run.lock").exists()

    def test_a_child_of_the_run_that_outlives_it_does_not_hold_the_lock(self, run_path: Path) -> None:
        script = HOLDER.replace("sys.stdin.read()", "import os\nif os.fork() == 0: sys.stdin.read()\nos._exit(0)")
        command = [sys.executable, "-c", script, str(run_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.wait(30) == 0
            ended(run_path)

    # From 3.12 on fork warns where another test has left a thread; the child here needs none of them.
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_forked_child_does_not_end_the_run_of_its_parent(self, run_path: Path) -> None:
        run = RunDirectory.create(run_path)
        child = os.fork()
        if child == 0:
            run.end("exception")
            os._exit(0)
        os.waitpid(child, 0)

        with pytest.raises(RunDirectoryInUseError):
            RunDirectory.create(run_path)
        run.end("ok")
        assert run.outcome == "ok"

    def test_a_start_that_fails_gives_the_lock_back(self, run_path: Path) -> None:
        run_path.mkdir()
        (run_path / "run.yaml").write_text("not: a run")
        for _ in range(2):
            with pytest.raises(RunDirectoryError, match=r"run.yaml is not the description of a run"):
                RunDirectory.create(run_path)
        assert (run_path / "run.yaml").read_text() == "not: a run"

    def test_without_flock_the_name_in_the_file_is_the_lock(
        self, run_path: Path, holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def flock(_fd: int, _operation: int) -> None:
            raise OSError(errno.ENOSYS, "not implemented")

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(RunDirectoryInUseError, match=f"process {holder.pid} on"):
            RunDirectory.create(run_path)
        holder.kill()
        holder.wait()
        ended(run_path)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "is not the description of a run"),
            ("[1]", "is not the description of a run"),
            ("format: 99\nsessions: []", "has format 99"),
            ("format: 1\nsessions: []", "has no sessions"),
            ("format: 1\nsessions: [{}]", "has a session 1 that is not complete"),
            ("format: 1\nsessions: [3]", "has a session 1 that is not complete"),
            ("a: [", "can not be read"),
            ("!!python/object/apply:os.system [true]", "can not be read"),
        ],
    )
    def test_a_description_that_is_none_is_refused_with_the_reason(
        self, run_path: Path, text: str, reason: str
    ) -> None:
        run_path.mkdir()
        (run_path / "run.yaml").write_text(text)

        with pytest.raises(RunDirectoryError) as caught:
            RunDirectory.open(run_path)
        assert str(caught.value).startswith(f"run directory {run_path}: run.yaml {reason}")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    @pytest.mark.parametrize("name", ["missing", "file", "empty"])
    def test_what_is_no_run_directory_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").write_text("x")
        (tmp_path / "empty").mkdir()

        with pytest.raises(RunDirectoryError, match=r"not one, there is no run\.yaml in it"):
            RunDirectory.open(tmp_path / name)

    def test_the_newest_run_of_an_engine_is_found(self, tmp_path: Path) -> None:
        ended(tmp_path / "b", engine="E")
        ended(tmp_path / "a", engine="E")
        ended(tmp_path / "c", engine="F")
        (tmp_path / "d").mkdir()
        (tmp_path / "e").mkdir()
        (tmp_path / "e" / "run.yaml").write_text("a: [")

        assert newest_run(tmp_path, "E") == tmp_path / "a"
        ended(tmp_path / "b")
        assert newest_run(tmp_path, "E") == tmp_path / "b"
        assert newest_run(tmp_path, "G") is None
        assert newest_run(tmp_path / "missing", "E") is None
