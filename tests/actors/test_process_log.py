"""What the journal is told of processes: all that steered them and all that they answered. With real processes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, Stage
from regisseur.actors import _process_log
from regisseur.actors.host import Host
from regisseur.actors.journal import Journal, set_journal
from regisseur.actors.process import Process


class Run:
    """A run with its journal."""

    def __init__(self, directory: Path, journal: Journal) -> None:
        self.directory = directory
        self.journal = journal
        self.stage = Stage()

    def process(self, cmd: Any, **kwargs: Any) -> Process:
        return self.stage.process(cmd, **kwargs)

    def lines(self, process: Process | None = None) -> list[dict[str, Any]]:
        """What the journal says (of one process), without what every line has."""
        lines = [json.loads(line) for line in (self.directory / "log.jsonl").read_text().splitlines()]
        if process is not None:
            lines = [line for line in lines if line.get("actor") == process._run.address]
        return [{k: v for k, v in line.items() if k not in ("seq", "ts", "pid")} for line in lines]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Journal(tmp_path / "log.jsonl") as journal:
        made = Run(tmp_path, journal)
        previous = set_journal(journal)
        try:
            with made.stage:
                yield made
        finally:
            set_journal(previous)


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


# -- start and end -----------------------------------------------------------------------------------------------------


def test_a_start_and_an_end_are_told_with_all_that_was_seen(run: Run) -> None:
    process = run.process("sh -c 'echo out; echo err >&2; exit 3'", name="n").run(DEADLINE)

    assert run.lines(process) == [
        {
            "event": "process.started", "actor": process._run.address, "name": "n", "child": process.pid,
            "argv": ["sh", "-c", "echo out; echo err >&2; exit 3"], "at": process.start_date,
        },
        {
            "event": "process.ended", "actor": process._run.address, "exit_code": 3, "at": process.end_date,
            "stdout": "out\n", "stderr": "err\n",
        },
    ]  # fmt: skip


def test_what_was_given_beyond_the_command_is_told_too(run: Run, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "MODE": "fast"}
    process = run.process("true", env=env, cwd=tmp_path, pty=True, timeout="0:1:00", rlimits={"nofile": 50})
    process.host = Host("node-1")
    started = run.lines(process.run(DEADLINE))[0]

    assert started["env"] == env
    assert (started["cwd"], started["pty"], started["timeout"]) == (str(tmp_path), True, 60.0)
    assert started["host"] == "node-1"
    assert started["argv"] == ["prlimit", "--nofile=50:50", "--", "true"]


def test_a_start_that_fails_is_told_with_its_reason(run: Run) -> None:
    process = run.process("/no/such x").run(DEADLINE)

    assert run.lines(process) == [
        {
            "event": "process.failed", "level": "warning", "actor": process._run.address, "name": "/no/such x",
            "argv": ["/no/such", "x"], "error": "No such file or directory (ENOENT)", "at": process.end_date,
        }
    ]  # fmt: skip


def test_what_is_worth_a_warning_is_told_at_that_level(run: Run) -> None:
    fine = Process("true").run(DEADLINE)
    bad = Process("false").run(DEADLINE)
    silent = Process("false", nolog_exit_code=True).run(DEADLINE)

    levels = [run.lines(process)[-1].get("level", "info") for process in (fine, bad, silent)]
    assert levels == ["info", "warning", "info"]


def test_the_end_is_in_the_log_before_anybody_who_waits_hears_of_it(run: Run) -> None:
    for size in (10, 10000, 300000):
        for _ in range(10):
            process = run.process(f"head -c {size} /dev/zero", output_limit=100000).run(DEADLINE)
            assert events(run.lines(process)) == ["process.started", "process.ended"]


def test_a_stolen_status_is_told(run: Run) -> None:
    process = run.process("cat").start()
    pid = process.pid
    assert pid is not None
    process.close_stdin()
    try:
        os.waitpid(pid, 0)
        stolen = True
    except ChildProcessError:  # we were faster
        stolen = False
    process.wait(DEADLINE)
    end = run.lines(process)[-1]

    assert (end["exit_code"] is None, "error" in end) == (stolen, stolen)


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_stream_that_stayed_empty(run: Run) -> None:
    end = run.lines(run.process("true").run(DEADLINE))[-1]

    assert "stdout" not in end
    assert "stderr" not in end


def test_output_that_is_no_text_is_told_as_base64(run: Run) -> None:
    end = run.lines(run.process(["printf", r"\377\0a"]).run(DEADLINE))[-1]

    assert base64.b64decode(end["stdout"]["bytes"]) == b"\xff\0a"


@pytest.mark.parametrize("limit", [1 << 20, 1000])
def test_a_long_output_is_a_file_that_is_told_with_its_digest(run: Run, limit: int) -> None:
    process = run.process("seq 10000", output_limit=limit).run(DEADLINE)
    told = run.lines(process)[-1]["stdout"]
    data = (run.directory / told["path"]).read_bytes()

    assert data == process.stdout_bytes
    assert (told["size"], told["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(("size", "inline"), [(4096, True), (4097, False)])
def test_up_to_4096_bytes_stand_in_the_log_itself(run: Run, size: int, inline: bool) -> None:
    told = run.lines(run.process(["printf", "%s", "x" * size]).run(DEADLINE))[-1]["stdout"]

    assert (told == "x" * size) is inline


def test_of_what_was_not_kept_size_and_digest_of_what_handlers_saw_are_told(run: Run) -> None:
    seen: list[str] = []
    shown = run.process("seq 10000", default_stdout_handler=False, stdout_handlers=[lambda *a: seen.append(a[2])])
    unseen = run.process("seq 10000", default_stdout_handler=False)

    data = "".join(f"{n}\n" for n in range(1, 10001)).encode()
    assert run.lines(shown.run(DEADLINE))[-1]["stdout"] == {
        "size": len(data), "sha256": hashlib.sha256(data).hexdigest()
    }  # fmt: skip
    assert "".join(seen).encode() == data
    assert run.lines(unseen.run(DEADLINE))[-1]["stdout"] == {"size": len(data)}


def test_what_a_full_disk_lost_is_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(owner: object) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("regisseur.actors._streams.spool_file", refuse)
    process = run.process("seq 1000", output_limit=100).run(DEADLINE)
    told = run.lines(process)[-1]["stdout"]

    assert (told["size"], told["text"]) == (100, process.stdout)
    assert (told["lost"], told["error"]) == (3893 - 100, "[Errno 28] No space left on device")


def test_an_end_that_can_not_be_logged_is_an_end_nevertheless(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no log today")

    monkeypatch.setattr("regisseur.actors._process_actor.log_end", fail)

    assert run.process("true").run(DEADLINE).ok


# -- what steers it ----------------------------------------------------------------------------------------------------


def test_what_is_written_is_told_in_order_and_so_is_the_end_of_it(run: Run) -> None:
    process = run.process("cat").start()
    process.write("text é\n")
    process.write(b"\xff")
    process.close_stdin()
    lines = run.lines(process.wait(DEADLINE))

    assert events(lines)[1:4] == ["process.write", "process.write", "process.close-stdin"]
    assert (lines[1]["size"], lines[1]["text"]) == (8, "text é\n")
    assert base64.b64decode(lines[2]["text"]["bytes"]) == b"\xff"


def test_a_long_input_is_a_file_that_is_told_with_its_digest(run: Run) -> None:
    data = os.urandom(100000)
    process = run.process("sha256sum").start()
    process.write(data)
    process.close_stdin()
    told = run.lines(process.wait(DEADLINE))[1]

    assert (told["event"], told["size"], told["sha256"]) == (
        "process.write", len(data), hashlib.sha256(data).hexdigest()
    )  # fmt: skip
    assert (run.directory / told["path"]).read_bytes() == data


def test_a_write_that_fails_is_told(run: Run) -> None:
    process = run.process("sh -c 'exec <&-; echo closed; exec sleep 1000'").start()
    assert process.expect("closed", DEADLINE)[0] == 0
    process.write("x")
    process.kill()
    lines = run.lines(process.wait(DEADLINE))

    assert {"process.write-failed", "process.kill"} <= set(events(lines))
    assert lines[-1]["write_error"] is True


def test_kills_and_their_force_are_told(run: Run) -> None:
    process = run.process("trap '' TERM; echo ready; while :; do sleep 1000; done", shell=True).start()
    assert process.expect("ready", DEADLINE)[0] == 0
    process.kill(auto_force_kill_timeout=0.02)
    lines = run.lines(process.wait(DEADLINE))

    assert events(lines) == ["process.started", "process.kill", "process.force-kill", "process.ended"]
    assert lines[1]["signal"] == signal.SIGTERM
    assert (lines[-1]["killed"], lines[-1]["forced_kill"], lines[-1]["exit_code"]) == (True, True, -9)


def test_a_kill_without_effect_is_not_told(run: Run) -> None:
    process = run.process("true").run(DEADLINE)
    process.kill()

    assert "process.kill" not in events(run.lines(process))


def test_a_time_limit_is_told(run: Run) -> None:
    process = run.process("sleep 1000", timeout=0.02).run(DEADLINE)
    lines = run.lines(process)

    assert events(lines) == ["process.started", "process.timeout", "process.ended"]
    assert (lines[-1]["timeouted"], lines[-1]["killed"]) == (True, True)


def test_an_expect_in_vain_is_told_at_the_end(run: Run) -> None:
    process = run.process("cat").start()
    process.expect("x", 0.01)
    process.close_stdin()

    assert run.lines(process.wait(DEADLINE))[-1]["expect_fail"] is True


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secrets_of_its_environment_are_masked_wherever_they_turn_up(run: Run) -> None:
    env = {"PATH": os.environ["PATH"], "API_TOKEN": "s3cr3t-token", "DB_PASSWORD": "pass-word-1", "MODE": "fast"}
    process = run.process("echo $API_TOKEN; cat; seq 10000; echo $DB_PASSWORD", shell=True, env=env).start()
    process.write("my pass-word-1\n")
    process.close_stdin()
    process.wait(DEADLINE)
    lines = run.lines(process)

    assert lines[0]["env"] == {**env, "API_TOKEN": "***", "DB_PASSWORD": "***"}
    for path in [run.directory / "log.jsonl", *(run.directory / "outputs").iterdir()]:
        assert b"s3cr3t-token" not in path.read_bytes(), path
        assert b"pass-word-1" not in path.read_bytes(), path
    assert process.stdout.startswith("s3cr3t-token\nmy pass-word-1\n")


def test_the_table_lists_all_events_there_are() -> None:
    files = [Path(_process_log.__file__), Path(_process_log.__file__).with_name("_process_actor.py")]
    told = {event for file in files for event in re.findall(r'"(process\.[a-z-]+)"', file.read_text())}

    assert told == set(re.findall(r"^(process\.[a-z-]+)", _process_log.__doc__ or "", re.MULTILINE))
