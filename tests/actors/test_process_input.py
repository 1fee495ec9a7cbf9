"""What is written to processes: it arrives, its end too, and what does not arrive is told. With real processes."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from processes import DEADLINE, Ears, Stage
from regisseur.actors._process_actor import ProcessActor
from regisseur.actors._run import Run
from regisseur.actors.bus import Bus
from regisseur.actors.process import Process
from regisseur.protocols.messages import SpawnProcess


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


def test_text_bytes_and_what_is_printed_arrive_in_order(stage: Stage) -> None:
    process = stage.process("cat").start()
    process.write("é\n")
    process.write(b"\xff\0")
    process.write(bytearray(b"mutable"))
    process.write("")
    process.write("\udcfe")
    print("printed", 1, file=process)
    print("flushed", file=process, flush=True)
    process.close_stdin()

    assert process.wait(DEADLINE).stdout_bytes == b"\xc3\xa9\n\xff\0mutable\xfeprinted 1\nflushed\n"
    assert process.ok


def test_what_is_written_before_it_runs_waits_for_it(stage: Stage) -> None:
    processes = []
    for n in range(50):
        process = stage.process("cat").start()
        process.write(f"{n}\n")
        process.write("second\n")
        process.close_stdin()
        processes.append(process)

    assert [process.wait(DEADLINE).stdout for process in processes] == [f"{n}\nsecond\n" for n in range(50)]
    assert all(process.ok for process in processes)


def test_to_write_to_what_was_not_started_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"Process\('cat'\) was not started"):
        Process("cat").write("x")


@pytest.mark.parametrize("nothing", [3, [1], None, 2.5, object()])
def test_what_is_neither_text_nor_bytes_can_not_be_written(stage: Stage, nothing: Any) -> None:
    process = stage.process("cat").start()
    with pytest.raises(TypeError, match=f"not {type(nothing).__name__} ") as error:
        process.write(nothing)
    assert repr(nothing) in str(error.value)
    process.write(memoryview(b"rest")[1:])
    process.close_stdin()

    assert (process.wait(DEADLINE).stdout_bytes, process.ok) == (b"est", True)


def test_without_its_end_a_reader_waits(stage: Stage) -> None:
    process = stage.process("cat").start()
    process.write("x\n")
    assert process.expect("x", DEADLINE)[0] == 0

    assert process.wait(0.01).running
    process.close_stdin()
    process.close_stdin()
    assert process.wait(DEADLINE).ok


def test_what_is_written_behind_the_end_is_a_write_error(stage: Stage) -> None:
    process = stage.process("cat").start()
    process.write("before")
    process.close_stdin()
    process.write("behind")

    assert process.wait(DEADLINE).stdout == "before"
    assert (process.write_error, process.exit_code, process.ok) == (True, 0, False)


def test_much_input_for_a_slow_reader_holds_up_nobody(stage: Stage) -> None:
    data = random.Random(1).randbytes(10 << 20)
    script = (
        "import hashlib, sys; sys.stdin.buffer.readline(); print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    )
    slow = stage.process("sh -c 'kill -STOP $$; exec sha256sum'").start()
    slow.write(data)
    slow.close_stdin()
    assert stage.process("echo meanwhile").run(DEADLINE).stdout == "meanwhile\n"
    other = stage.process([sys.executable, "-c", script]).start()
    other.write("\n")
    other.write(data)
    other.close_stdin()

    assert other.wait(DEADLINE).stdout.strip() == hashlib.sha256(data).hexdigest()
    assert slow.running
    while b"T (stopped)" not in _status(slow.pid):
        assert slow.running
    os.kill(slow.pid or 0, 18)
    assert slow.wait(DEADLINE).stdout.split()[0] == hashlib.sha256(data).hexdigest()
    assert (slow.write_error, other.write_error) == (False, False)


def _status(pid: int | None) -> bytes:
    with open(f"/proc/{pid}/status", "rb") as status:
        return status.read()


def test_threads_may_write_at_once_and_no_write_is_torn(stage: Stage) -> None:
    process = stage.process("cat").start()
    lines = [f"{n}:" + str(n) * 5000 + "\n" for n in range(10)]

    def write(line: str) -> None:
        for _ in range(20):
            process.write(line)

    threads = [threading.Thread(target=write, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.close_stdin()

    got = process.wait(DEADLINE).stdout.splitlines(keepends=True)
    assert sorted(got) == sorted(lines * 20)


# -- what does not arrive ----------------------------------------------------------------------------------------------


def test_who_does_not_read_all_makes_a_write_error(stage: Stage) -> None:
    process = stage.process("head -c 1").start()
    process.write("x" * (1 << 20))

    assert process.wait(DEADLINE).stdout == "x"
    assert (process.write_error, process.exit_code, process.ok) == (True, 0, False)


def test_who_closes_its_input_makes_a_write_error_as_well(stage: Stage) -> None:
    process = stage.shell("exec <&-; echo closed; exec sleep 1000").start()
    assert process.expect("closed", DEADLINE)[0] == 0
    process.write("x")
    process.kill()

    assert process.wait(DEADLINE).write_error


def test_what_is_written_after_the_end_is_a_write_error_and_is_logged() -> None:
    process = Process("true").run(DEADLINE)
    with Ears() as ears:
        process.write("late")
        assert ears.next() == f"{process} has ended: what is written to it now is lost"

    assert (process.write_error, process.ok) == (True, False)
    process.ignore_write_error = True
    assert process.ok
    silent = Process("true", nolog_write_error=True).run(DEADLINE)
    with Ears() as ears:
        silent.write("late")
        assert ears.all() == []
    assert silent.write_error


def test_what_is_written_to_what_could_not_start_is_a_write_error(stage: Stage) -> None:
    process = stage.process("/no/such").start()
    process.write("x")

    assert process.wait(DEADLINE).write_error


def test_a_write_that_comes_too_late_is_told_however_it_crosses_the_end(stage: Stage) -> None:
    for n in range(100):
        process = stage.process("head -c 1").start()
        process.write("1")
        for _ in range(n):
            process.write("2")
        process.wait(DEADLINE)
        process.write("3")
        assert process.write_error
        process.reset()


def test_a_signal_handler_may_kill_what_is_being_started(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    process = stage.process("cat")
    tell = Bus.tell

    def interrupted(bus: Bus, to: str, message: Any, **kwargs: Any) -> None:
        tell(bus, to, message, **kwargs)
        if isinstance(message, SpawnProcess):
            process.kill()  # as if a signal came just now, while this thread is in the middle of start()

    monkeypatch.setattr(Bus, "tell", interrupted)

    assert process.run(DEADLINE).killed


def test_what_is_asked_between_the_two_halves_of_a_start_is_not_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Run.launch

    def slow_launch(run: Run, actor: ProcessActor) -> None:
        process: Any = run.process
        assert process.started
        for use in (lambda: process.write("early\n"), process.close_stdin):
            other = threading.Thread(target=use)
            other.start()
            other.join()
        launch(run, actor)

    monkeypatch.setattr(Run, "launch", slow_launch)
    process = stage.process("cat").run(DEADLINE)

    assert (process.stdout, process.ok) == ("early\n", True)


# -- the terminal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "line\n", "no end", "two\nlines, no end"])
def test_the_end_of_input_on_a_terminal_is_seen_wherever_the_line_is(stage: Stage, text: str) -> None:
    process = stage.shell("stty -echo; echo ready; cat; echo over", pty=True).start()
    assert process.expect("ready\r\n", DEADLINE)[0] == 0
    process.write(text)
    process.close_stdin()

    expected = text.replace("\n", "\r\n") + "over\r\n"
    assert process.wait(DEADLINE).stdout == "ready\r\n" + expected
    assert process.ok


def test_the_end_of_input_is_the_key_that_the_terminal_has_for_it(stage: Stage) -> None:
    process = stage.shell("stty -echo eof ^E; echo ready; cat; echo over", pty=True).start()
    assert process.expect("ready\r\n", DEADLINE)[0] == 0
    process.write("\x04\n")
    process.close_stdin()

    assert process.wait(DEADLINE).stdout == "ready\r\n\x04\r\nover\r\n"


def test_a_terminal_can_be_written_to_behind_an_end(stage: Stage) -> None:
    process = stage.shell("stty -echo; echo ready; cat; echo between; cat; echo over", pty=True).start()
    assert process.expect("ready\r\n", DEADLINE)[0] == 0
    process.write("a\n")
    process.close_stdin()
    assert process.expect("between", DEADLINE)[0] == 0
    process.write("b\n")
    process.close_stdin()

    assert process.wait(DEADLINE).stdout.split() == ["ready", "a", "between", "b", "over"]


def test_much_input_through_a_terminal_arrives_while_its_output_is_read(stage: Stage) -> None:
    process = stage.shell("stty raw -echo; echo ready; exec head -c 1000000", pty=True).start()
    assert process.expect("ready", DEADLINE)[0] == 0
    data = random.Random(2).randbytes(1000000).translate(bytes(32 + byte % 64 for byte in range(256)))
    process.write(data)

    assert process.wait(DEADLINE).stdout_bytes.partition(b"\n")[2] == data
    assert not process.write_error


def test_what_is_written_to_a_terminal_that_nobody_has_open_is_a_write_error(stage: Stage) -> None:
    process = stage.shell("exec <&- >&-; echo closed >&2; exec sleep 1000", pty=True).start()
    list(process.lines())
    process.write("x")
    process.kill()

    assert process.wait(DEADLINE).write_error
