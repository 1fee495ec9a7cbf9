"""What processes read and write: output, handlers, input, expect, lines."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from regisseur.actors import STDERR, ExpectOutputHandler, Journal, Process, ProcessOutputHandler, set_journal

DEADLINE = 10.0


class Lines(ProcessOutputHandler):
    """Keeps the lines it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def read_line(self, process: Any, stream: int, string: str) -> None:
        self.seen.append(string)


# -- output ------------------------------------------------------------------------


def test_binary_output_and_invalid_text_come_as_they_are() -> None:
    data = bytes(range(256)) * 10
    process = Process([sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 10)"]).run()

    assert process.stdout_bytes == data
    assert process.stdout.encode(errors="surrogateescape") == data


def test_output_right_before_the_end_is_never_lost() -> None:
    processes = [Process(f"printf '%s' {n}; exec true", shell=True).start() for n in range(300)]

    assert [p.wait(DEADLINE).stdout for p in processes] == [str(n) for n in range(300)]


def test_output_beyond_the_limit_is_in_a_file_and_reads_as_if_it_were_not(tmp_path: Path) -> None:
    process = Process("seq 100000", output_limit=1000).run()

    expected = "".join(f"{n}\n" for n in range(1, 100001))
    assert process.stdout == expected
    assert process.stdout_bytes == expected.encode()
    assert "[...]" in process.dump()


def test_spooled_output_is_in_the_run_directory_if_there_is_one(tmp_path: Path) -> None:
    previous = set_journal(journal := Journal(tmp_path / "log.jsonl"))
    try:
        process = Process("seq 100000", output_limit=1000).run()
    finally:
        set_journal(previous)
        journal.close()

    files = list((tmp_path / "outputs").iterdir())
    assert hashlib.sha256(process.stdout_bytes).hexdigest() in {
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }


def test_output_that_nobody_wants_is_not_kept() -> None:
    process = Process("echo gone; echo kept >&2", shell=True, default_stdout_handler=False).run()

    assert (process.stdout, process.stderr) == ("", "kept\n")


def test_output_is_there_while_the_process_runs() -> None:
    process = Process("echo early; exec sleep 1000", shell=True).start()
    process.expect("early", timeout=DEADLINE)

    assert process.stdout == "early\n"
    process.kill().wait(DEADLINE)


# -- handlers ----------------------------------------------------------------------


def test_all_kinds_of_handlers_get_the_output(tmp_path: Path) -> None:
    chunks: list[str] = []
    lines, text, binary, named = Lines(), io.StringIO(), io.BytesIO(), tmp_path / "named"
    named.write_text("before\n")
    with (tmp_path / "descriptor").open("wb") as file:
        handlers = [
            lines, lambda process, stream, chunk: chunks.append(chunk), text, binary, str(named), file.fileno()
        ]  # fmt: skip
        Process("printf 'one\\ntwo'", shell=True, stdout_handlers=handlers).run()

    assert lines.seen == ["one", "two"]
    assert "".join(chunks) == text.getvalue() == "one\ntwo"
    assert binary.getvalue() == (tmp_path / "descriptor").read_bytes() == b"one\ntwo"
    assert named.read_text() == "before\none\ntwo"


def test_several_processes_may_append_to_one_file(tmp_path: Path) -> None:
    name = str(tmp_path / "shared")
    processes = [Process(f"echo {n}", stdout_handlers=[name]).start() for n in range(20)]
    for process in processes:
        process.wait(DEADLINE)

    assert sorted(map(int, Path(name).read_text().split())) == list(range(20))


def test_lines_are_whole_however_they_come() -> None:
    lines = Lines()
    Process(r"printf 'a\r\nb\n\303'; sleep 0.05; printf '\251c\n\nd'", shell=True, stdout_handlers=[lines]).run()

    assert lines.seen == ["a", "b", "éc", "", "d"]


def test_a_handler_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ProcessOutputHandler):
        def read_line(self, process: Any, stream: int, string: str) -> None:
            raise RuntimeError("broken on purpose")

    lines = Lines()
    process = Process("seq 3", stdout_handlers=[Broken(), lines]).run(DEADLINE)

    assert (process.ok, lines.seen) == (True, ["1", "2", "3"])
    assert "broken on purpose" in caplog.text


def test_a_blocked_handler_holds_up_its_own_process_only() -> None:
    go, entered = threading.Event(), threading.Event()

    def block(process: Any, stream: int, chunk: str) -> None:
        entered.set()
        go.wait(DEADLINE)

    blocked = Process("seq 3", stdout_handlers=[block]).start()
    assert entered.wait(DEADLINE)
    lines = Lines()

    assert Process("seq 2", stdout_handlers=[lines]).run(DEADLINE).ok
    assert lines.seen == ["1", "2"]
    assert not blocked.future.done()
    go.set()
    assert blocked.wait(DEADLINE).ok


def test_many_blocked_handlers_do_not_use_up_the_workers() -> None:
    go = threading.Event()
    blocked = [Process("echo x", stdout_handlers=[lambda *_: go.wait(DEADLINE)]).start() for _ in range(30)]
    lines = Lines()

    assert Process("seq 2", stdout_handlers=[lines]).run(DEADLINE).ok
    assert lines.seen == ["1", "2"]
    go.set()
    assert all(process.wait(DEADLINE).ok for process in blocked)


def test_a_fast_producer_waits_for_a_slow_handler() -> None:
    go, seen = threading.Event(), []

    def slow(process: Any, stream: int, chunk: str) -> None:
        go.wait(DEADLINE)
        seen.append(len(chunk))

    size = 30 << 20
    process = Process(f"head -c {size} /dev/zero", stdout_handlers=[slow], default_stdout_handler=False).start()
    other = Process("seq 5").run(DEADLINE)
    read_so_far = process._run.streams[1].size

    assert other.ok
    assert process.running
    assert read_so_far < size / 2
    go.set()
    assert process.wait(60).ok
    assert sum(seen) == size


def test_what_is_no_handler_is_refused() -> None:
    with pytest.raises(TypeError, match="can not handle output"):
        Process("true", stdout_handlers=[3.14]).start()


# -- input -------------------------------------------------------------------------


def test_input_text_bytes_and_print_reach_the_process_and_its_end_is_seen() -> None:
    process = Process("cat").start()
    process.write("text é\n")
    process.write(b"bytes\n")
    print("printed", 1, file=process)

    process.close_stdin()

    assert process.wait(DEADLINE).stdout == "text é\nbytes\nprinted 1\n"
    assert process.ok


def test_a_big_write_to_a_slow_reader_blocks_nobody() -> None:
    data = os.urandom(10 << 20)
    process = Process("sleep 0.1; sha256sum", shell=True).start()

    process.write(data)
    process.close_stdin()

    assert Process("true").run(DEADLINE).ok
    assert process.wait(DEADLINE).stdout.split()[0] == hashlib.sha256(data).hexdigest()


def test_writing_to_what_has_ended_is_a_write_error() -> None:
    process = Process("true").run()
    assert process.ok

    process.write("too late")

    assert (process.write_error, process.ok) == (True, False)
    process.ignore_write_error = True
    assert process.ok


def test_writing_to_what_does_not_read_is_a_write_error() -> None:
    process = Process("exec <&-; echo closed; exec sleep 1000", shell=True, nolog_write_error=True).start()
    process.expect("closed", timeout=DEADLINE)

    process.write("nobody reads this")
    process.kill().wait(DEADLINE)

    assert process.write_error


# -- expect ------------------------------------------------------------------------


def test_expect_goes_on_behind_the_previous_match() -> None:
    process = Process("echo one two one three", shell=True).run()

    first, second = process.expect("one"), process.expect(["three", "one"])

    assert (first[0], first[1] and first[1].group()) == (0, "one")
    assert (second[0], second[1] and second[1].group()) == (1, "one")
    assert process.expect(re.compile("three"))[0] == 0
    assert not process.expect_fail


def test_expect_at_the_end_of_the_output_gives_up_at_once() -> None:
    process = Process("echo nothing", nolog_expect_fail=True).run()

    assert process.expect("something") == (None, None)
    assert (process.expect_fail, process.ok) == (True, False)
    process.ignore_expect_fail = True
    assert process.ok


def test_expect_gives_up_after_its_timeout_and_zero_only_looks() -> None:
    process = Process("sleep 1000", default_expect_timeout=0.01).start()

    assert process.expect("x", timeout=0) == (None, None)
    assert not process.expect_fail
    assert process.expect("x") == (None, None)
    assert process.expect_fail
    process.kill().wait(DEADLINE)


def test_expect_leaves_the_given_list_alone_and_takes_tuples() -> None:
    process = Process("echo abc").run()
    regexes: list[Any] = ["x", "b"]

    assert process.expect(regexes)[0] == 1
    assert regexes == ["x", "b"]
    assert process.expect(("c",))[0] == 0


def test_each_thread_has_its_own_position() -> None:
    process = Process("echo mark").run()
    found = []

    def look() -> None:
        found.append(process.expect("mark")[0])

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [0, 0, 0]


def test_expect_without_backtracking_sees_only_what_comes() -> None:
    process = Process("echo old; read x; echo new; exec sleep 1000", shell=True).start()
    process.expect("old", timeout=DEADLINE)
    found: list[Any] = []

    def look() -> None:
        ready.set()
        found.append(process.expect(r"old|new", timeout=DEADLINE, backtrack=False))

    ready = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    ready.wait()
    while not process._run.streams[1].listeners:
        ready.wait(0.001)
    process.write("\n")
    thread.join()

    assert found[0][1].group() == "new"
    process.kill().wait(DEADLINE)


def test_expect_works_on_stderr_and_on_output_that_is_not_kept() -> None:
    process = Process(
        "read x; echo out; echo err >&2; exec sleep 1000", shell=True, default_stdout_handler=False
    ).start()
    assert process.expect("nothing yet", timeout=0) == (None, None)
    process.write("go\n")

    assert process.expect("err", stream=STDERR, timeout=DEADLINE)[0] == 0
    assert process.expect("out", timeout=DEADLINE)[0] == 0
    assert process.stdout == ""
    process.kill().wait(DEADLINE)


def test_one_handler_waits_for_many_processes() -> None:
    up = ExpectOutputHandler()
    processes = [Process(f"echo server {n} up; exec sleep 1000", shell=True, stdout_handlers=[up]) for n in range(3)]
    for process in processes:
        process.start()

    seen: dict[Any, Any] = {}
    while len(seen) < 3:
        found = up.expect(r"server (\d) up", timeout=DEADLINE)
        assert found
        seen.update(found)

    assert sorted(match.group(1) for _, match in seen.values()) == ["0", "1", "2"]
    assert up.expect("server", timeout=0) == {}
    for process in processes:
        process.kill().wait(DEADLINE)


# -- lines -------------------------------------------------------------------------


def test_lines_can_be_iterated_over_while_they_come() -> None:
    process = Process("read x; echo got $x; read x; echo got $x", shell=True).start()
    seen = []
    process.write("a\n")
    for line in process.lines(timeout=DEADLINE):
        seen.append(line)
        process.write("b\n")

    assert seen == ["got a", "got b"]
    assert list(process.lines()) == seen


def test_lines_can_be_iterated_over_in_asyncio() -> None:
    async def main() -> list[str]:
        process = Process(r"for n in 1 2 3; do printf '%s\r\n' $n; sleep 0.01; done; printf end", shell=True).start()
        return [line async for line in process.lines()]

    assert asyncio.run(main()) == ["1", "2", "3", "end"]


def test_a_line_that_does_not_come_in_time_is_a_timeout() -> None:
    process = Process("sleep 1000").start()

    with pytest.raises(TimeoutError, match=r"no line came within 0\.01 seconds"):
        next(iter(process.lines(timeout=0.01)))
    process.kill().wait(DEADLINE)


# -- the log -----------------------------------------------------------------------


def test_the_log_has_the_start_the_steering_and_the_end_of_a_process(tmp_path: Path) -> None:
    from regisseur.engine import read_log

    previous = set_journal(journal := Journal(tmp_path / "log.jsonl"))
    try:
        process = Process("cat; echo err >&2", shell=True, env={"API_TOKEN": "s3cret", "PATH": os.environ["PATH"]})
        process.start()
        process.write("hello\n")
        process.close_stdin()
        process.wait(DEADLINE)
        sleeping = Process("sleep 1000").start()
        assert sleeping.pid
        sleeping.kill().wait(DEADLINE)
        Process("/nowhere", nolog_error=True).run()
    finally:
        set_journal(previous)
        journal.close()

    records = list(read_log(tmp_path / "log.jsonl"))
    events = [record.event for record in records]
    assert events[:4] == ["process.started", "process.write", "process.close-stdin", "process.ended"]
    assert events[4:] == ["process.started", "process.kill", "process.ended", "process.failed"]
    started, _, _, ended = (record.fields for record in records[:4])
    assert started["argv"] == ["/bin/sh", "-c", "cat; echo err >&2"]
    assert started["env"]["API_TOKEN"] == "***"
    assert (ended["exit_code"], ended["stdout"], ended["stderr"]) == (0, "hello\n", "err\n")
    assert "s3cret" not in (tmp_path / "log.jsonl").read_text()
