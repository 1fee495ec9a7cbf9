"""The demo: what it leaves behind, and that a kill in its middle costs nothing."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regisseur.engine import read_log
from regisseur.engine.demo import demo_script

SCRIPT = demo_script()
QUICK = ["--seconds", "0.03", "--repeats", "2", "--neighbours", "1"]
PER_REPEAT = 3 * 2 * (2 if len(os.sched_getaffinity(0)) > 1 else 1)


def command(directory: Path) -> list[str]:
    return [sys.executable, str(SCRIPT), "-c", str(directory), *QUICK]


def measured(directory: Path) -> list[tuple[str, ...]]:
    with (directory / "results.csv").open(newline="") as file:
        return [(r["repeat"], r["workload"], r["same_core"], r["other_cores"]) for r in csv.DictReader(file)]


@pytest.mark.slow
def test_the_demo_ends_with_a_table_a_picture_a_sentence_and_a_complete_log(tmp_path: Path) -> None:
    run = tmp_path / "run"

    done = subprocess.run(command(run), capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert "With n = 2 processes on its core the probe keeps" in done.stdout
    assert (run / "results.txt").read_text().count("memory") == 1
    assert (run / "colocation.png").read_bytes().startswith(b"\x89PNG")
    assert len(measured(run)) == 2 * PER_REPEAT
    events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert events[0] == "engine.started"
    assert events[-1] == "engine.ended"
    assert events.count("process.started") == events.count("process.ended") > 2 * PER_REPEAT
    assert events.count("combination.claimed") == events.count("combination.done") == 2 * PER_REPEAT


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 7])
def test_a_demo_that_is_killed_goes_on_where_it_was(tmp_path: Path, rows: int) -> None:
    run = tmp_path / "run"
    victim = subprocess.Popen(command(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for record in read_log(run / "log.jsonl", follow=True) if wait_for(run / "log.jsonl", victim) else ():
            if getattr(record, "event", "") == "combination.done":
                rows -= 1
                if not rows:
                    break
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    before = measured(run)

    again = subprocess.run(command(run), capture_output=True, text=True, timeout=120)

    assert again.returncode == 0, again.stderr
    after = measured(run)
    assert before == after[: len(before)]
    assert len(after) == len(set(after)) == 2 * PER_REPEAT


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> bool:
    """Wait until *process* has made *path*; False if it ended first."""
    while not path.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        return path.exists()
    return True
