"""One input for many processes: each gets all of it at its own pace, and memory and disk stay bounded."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET
from regisseur.actors import shared_input
from regisseur.actors.process import Process, ProcessLifecycleHandler, SshProcess
from regisseur.actors.shared_input import SharedInput


class Feeder(ProcessLifecycleHandler):
    """Feeds what starts."""

    def __init__(self, source: SharedInput) -> None:
        self.source = source

    def start(self, process: Process) -> None:
        self.source.feed(process)


class Stage:
    """Makes processes that read one input, and ends all with the test."""

    def __init__(self, source: SharedInput) -> None:
        self.source = source
        self.processes: list[Process] = []

    def read_by(self, command: str, **kwargs: object) -> Process:
        process = Process(command, shell=True, lifecycle_handlers=[Feeder(self.source)], **{**QUIET, **kwargs})
        self.processes.append(process)
        return process.start()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(SharedInput())
    yield made
    for process in made.processes:
        process.kill().wait(DEADLINE)
    made.source.close()


def test_each_gets_all_of_it_also_who_starts_late(stage: Stage) -> None:
    first = stage.read_by("cat")
    stage.source.append(b"one\n")
    assert first.expect("one", DEADLINE)[0] == 0
    stage.source.append(b"two\n")
    stage.source.end()
    first.wait(DEADLINE)
    second = stage.read_by("cat").wait(DEADLINE)

    assert (first.stdout, second.stdout) == ("one\ntwo\n", "one\ntwo\n")
    assert first.ok
    assert second.ok


def test_much_of_any_bytes_arrives_unharmed(stage: Stage) -> None:
    data = os.urandom(5_000_000)
    readers = [stage.read_by("md5sum") for _ in range(3)]
    for begin in range(0, len(data), 99_999):
        stage.source.append(data[begin : begin + 99_999])
    stage.source.end()

    for reader in readers:
        assert reader.wait(DEADLINE).stdout.split()[0] == hashlib.md5(data).hexdigest()


def test_one_that_does_not_read_holds_up_no_other(stage: Stage) -> None:
    stage.read_by("exec sleep 60")
    stage.source.append(b"x" * 5_000_000)
    stage.source.end()

    assert stage.read_by("wc -c").wait(DEADLINE).stdout.split() == ["5000000"]


def test_one_that_ends_before_it_has_read_all_is_ok(stage: Stage) -> None:
    stage.source.append(b"first\n" * 1_000_000)
    process = stage.read_by("head -n 1").wait(DEADLINE)

    assert process.stdout == "first\n"
    assert process.exit_code == 0


def test_an_empty_input_is_an_end(stage: Stage) -> None:
    stage.source.end()

    assert stage.read_by("cat").wait(DEADLINE).stdout == ""


def test_a_terminal_is_fed_too(stage: Stage) -> None:
    stage.source.append(b"text\n")
    stage.source.end()

    assert stage.read_by("stty -echo; cat", pty=True).wait(DEADLINE).stdout.endswith("text\r\n")


def test_a_file_is_read_from_its_position_on_and_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"skipped" + b"x" * 1_000_000)
    with path.open("rb") as file:
        os.lseek(file.fileno(), 7, os.SEEK_SET)
        source = SharedInput(file.fileno())
        commands = [SshProcess("wc -c", "h", STUB_PARAMS, lifecycle_handlers=[Feeder(source)]) for _ in range(2)]
        for process in commands:
            process.start()
        said = [process.wait(DEADLINE).stdout.split() for process in commands]
        source.close()

    assert said == [["1000000"], ["1000000"]]


def test_who_adds_is_told_when_it_is_enough_and_when_it_is_not(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_input, "_MUCH", 1000)
    monkeypatch.setattr(shared_input, "_LITTLE", 100)
    wanted = threading.Event()

    stage.source.append(b"x" * 1000)
    assert not stage.source.when_wanted(wanted.set)
    stage.source.append(b"x" * 1000)
    assert stage.source.when_wanted(wanted.set)
    assert not wanted.is_set()
    stage.read_by("exec sleep 60")
    assert wanted.wait(DEADLINE)
    assert not stage.source.when_wanted(wanted.set)
