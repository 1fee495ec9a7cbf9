"""What processes write: all of it, as it was, in memory or in a file; and lines(). With real processes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, Ears, Stage, run_script
from regisseur.actors._streams import Deadline
from regisseur.actors.config import configuration
from regisseur.actors.journal import Journal, set_journal
from regisseur.actors.process import STDERR, STDOUT, Process


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "run").mkdir()
    with Journal(tmp_path / "run" / "log.jsonl") as made:
        previous = set_journal(made)
        yield made
        set_journal(previous)


def python(script: str, *args: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys\n{script}", *args]


# -- as it was ---------------------------------------------------------------------------------------------------------


def test_the_two_streams_stay_apart(stage: Stage) -> None:
    process = stage.shell("echo out; echo err >&2").run(DEADLINE)

    assert (process.stdout, process.stderr) == ("out\n", "err\n")
    assert (process.stdout_bytes, process.stderr_bytes) == (b"out\n", b"err\n")


def test_bytes_come_as_they_are_and_text_can_be_turned_back_into_them(stage: Stage) -> None:
    data = bytes(range(256)) * 300 + b"\0\0\xff\xfe\n\r\n\xc3"
    process = stage.process("cat").start()
    process.write(data)
    process.close_stdin()
    process.wait(DEADLINE)

    assert process.stdout_bytes == data
    assert process.stdout.encode(errors="surrogateescape") == data


def test_a_character_that_comes_in_two_halves_is_one(stage: Stage) -> None:
    process = stage.process(
        python("for b in b'\\xc3\\xa9\\xe2\\x82\\xac': os.write(1, bytes([b])); sys.stdin.readline()")
    )
    process.start()
    seen = []
    for _ in range(5):
        size = len(process.stdout_bytes)
        while len(process.stdout_bytes) == size:
            assert process.running
        seen.append(process.stdout)
        process.write("\n")

    assert seen == ["", "é", "é", "é", "é€"]
    assert process.wait(DEADLINE).stdout == "é€"


def test_half_a_character_at_the_end_is_shown_too(stage: Stage) -> None:
    assert stage.process(["printf", r"ab\303"]).run(DEADLINE).stdout == "ab\udcc3"


def test_output_is_there_while_the_process_runs(stage: Stage) -> None:
    process = stage.shell("echo early; cat").start()

    assert process.expect("early", DEADLINE)[0] == 0
    assert (process.stdout, process.running) == ("early\n", True)


def test_what_is_not_to_be_kept_is_not(stage: Stage) -> None:
    process = stage.shell("echo out; echo err >&2", default_stdout_handler=False).run(DEADLINE)

    assert (process.stdout, process.stdout_bytes, process.stderr) == ("", b"", "err\n")
    process = stage.shell("echo out; echo err >&2")
    process.default_stderr_handler = False
    assert (process.run(DEADLINE).stdout, process.stderr) == ("out\n", "")


@pytest.mark.slow
def test_what_is_written_right_before_the_exit_is_never_lost(stage: Stage) -> None:
    text = "".join(f"{n}\n" for n in range(2000))
    script = f"printf %s '{text}'; printf %s '{text}' >&2"
    for _ in range(20):
        processes = [stage.process(["sh", "-c", script]).start() for _ in range(50)]
        for process in processes:
            process.wait(DEADLINE)
            assert process.stdout == process.stderr == text
            process.reset()


def test_nor_is_it_on_a_terminal(stage: Stage) -> None:
    text = "".join(f"{n}\n" for n in range(500))
    for _ in range(200):
        process = stage.process(["printf", "%s", text], pty=True).run(DEADLINE)
        assert process.stdout == text.replace("\n", "\r\n")
        process.reset()


def test_a_grandchild_that_keeps_the_output_open_does_not_delay_the_end(stage: Stage) -> None:
    process = stage.shell("sleep 1000 & echo $!").run(DEADLINE)

    assert process.ended
    os.kill(int(process.stdout), 9)


def test_a_grandchild_that_writes_for_ever_does_not_delay_it_either(stage: Stage) -> None:
    process = stage.shell("yes & echo $! >&2; echo all mine").run(DEADLINE)

    assert "all mine\n" in process.stdout
    os.kill(int(process.stderr), 9)


def test_a_process_that_closes_its_output_runs_on(stage: Stage) -> None:
    process = stage.shell("echo x; exec >&- 2>&-; read line").start()  # cat would end at once, for lack of an output
    lines = list(process.lines())

    assert lines == ["x"]
    assert process.running
    process.close_stdin()
    assert process.wait(DEADLINE).ended


def test_one_that_writes_for_ever_does_not_hold_up_the_others(stage: Stage) -> None:
    noisy = [stage.process("yes", default_stdout_handler=False).start() for _ in range(2)]
    for _ in range(30):
        assert stage.process("echo heard").run(DEADLINE).stdout == "heard\n"
    done = [stage.process("sleep 1000", timeout=0.01).start() for _ in range(5)]

    assert all(process.wait(DEADLINE).timeouted for process in done)
    assert all(process.running for process in noisy)
    for process in noisy:
        assert process.kill().wait(DEADLINE).killed


@pytest.mark.slow
def test_many_processes_that_write_much_at_once_lose_nothing(stage: Stage, spool: Path) -> None:
    script = "data = sys.argv[1].encode() * 4096\nfor _ in range(1024): sys.stdout.buffer.write(data)"
    processes = [stage.process(python(script, str(n)), output_limit=1 << 20).start() for n in range(8)]

    for n, process in enumerate(processes):
        process.wait(DEADLINE)
        assert process.stdout_bytes == str(n).encode() * (4 << 20), process.dump()


# -- the terminal ------------------------------------------------------------------------------------------------------


def test_a_terminal_is_stdin_and_stdout_and_stderr_is_not(stage: Stage) -> None:
    process = stage.shell("test -t 0 && test -t 1 && ! test -t 2 && tty; echo err >&2", pty=True).run(DEADLINE)

    assert process.stdout.startswith("/dev/pts/")
    assert process.stdout.endswith("\r\n")
    assert (process.stderr, process.exit_code) == ("err\n", 0)


def test_it_is_the_controlling_terminal(stage: Stage) -> None:
    process = stage.process(["sh", "-c", "echo through > /dev/tty"], pty=True).run(DEADLINE)

    assert (process.stdout, process.ok) == ("through\r\n", True)


def test_a_shell_on_it_has_job_control(stage: Stage) -> None:
    shell = stage.process(["bash", "--norc", "--noprofile", "-i"], pty=True, env={**os.environ, "PS1": "ready> "})
    shell.start().expect("ready", DEADLINE, stream=STDERR)
    shell.write("sleep 1000 &\n")
    shell.write("jobs; kill %1; wait; echo status $?\n")

    assert shell.expect(r"\[1\]\+?\s+Running\s+sleep 1000", DEADLINE)[0] == 0
    assert shell.expect(r"^status \d+\r\n", DEADLINE)[0] == 0
    shell.write("sh -c 'echo asl''eep; exec sleep 1001'\n")
    assert shell.expect("asleep", DEADLINE)[0] == 0
    shell.write("\x03")  # Control-C
    shell.write("echo interrupted $?\n")
    assert shell.expect("interrupted 130", DEADLINE)[0] == 0
    # Only the shell itself puts this together, and shows it when it has made the terminal ready for its next line:
    # what is typed before that, the terminal reads, and an end of file is then lost.
    shell.write("PS1='la''st> '\n")
    assert shell.expect("last> ", DEADLINE, stream=STDERR)[0] == 0
    shell.close_stdin()
    assert shell.wait(DEADLINE).ended


def test_output_on_it_goes_on_when_a_program_has_closed_it_for_a_while(stage: Stage) -> None:
    process = stage.shell("echo one; exec 3>&1 >&-; echo two >&3", pty=True).run(DEADLINE)

    assert process.stdout == "one\r\ntwo\r\n"


# -- beyond the limit --------------------------------------------------------------------------------------------------

NUMBERS = "".join(f"{n}\n" for n in range(1, 100001))


def test_beyond_the_limit_it_is_in_a_file_and_reads_the_same(stage: Stage, spool: Path) -> None:
    process = stage.process("seq 100000", output_limit=1000).run(DEADLINE)

    assert len(list(spool.iterdir())) == 1
    assert next(spool.iterdir()).stat().st_mode & 0o777 == 0o600
    assert process.stdout == NUMBERS
    assert process.stdout_bytes == NUMBERS.encode()
    assert list(process.lines()) == NUMBERS.splitlines()
    assert process.expect("^99999$", 0)[0] == 0


def test_up_to_the_limit_no_file_is_made(stage: Stage, spool: Path) -> None:
    process = stage.process("seq 100000", output_limit=len(NUMBERS)).run(DEADLINE)

    assert process.stdout == NUMBERS
    assert list(spool.iterdir()) == []


def test_each_stream_has_its_own_limit(stage: Stage, spool: Path) -> None:
    process = stage.shell("seq 1000; seq 1000 >&2", output_limit=10).run(DEADLINE)

    assert len(list(spool.iterdir())) == 2
    assert process.stdout == process.stderr == "".join(f"{n}\n" for n in range(1, 1001))


def test_a_limit_changed_before_the_start_counts(stage: Stage, spool: Path) -> None:
    process = stage.process("seq 1000")
    process.output_limit = 10
    process.run(DEADLINE)

    assert len(list(spool.iterdir())) == 1


def test_the_file_goes_away_with_a_reset(stage: Stage, spool: Path) -> None:
    process = stage.process("seq 1000", output_limit=10).run(DEADLINE)
    process.reset()

    assert list(spool.iterdir()) == []
    process.run(DEADLINE)
    assert len(list(spool.iterdir())) == 1


def test_the_file_goes_away_with_the_process_object(spool: Path) -> None:
    process = Process("seq 1000", output_limit=10).run(DEADLINE)
    assert len(list(spool.iterdir())) == 1
    del process
    deadline = Deadline(DEADLINE)
    while list(spool.iterdir()):  # the reactor may be about to leave the function that told of the end
        assert deadline.left()
        gc.collect()


def test_the_file_goes_away_with_the_program_and_not_with_its_forks(tmp_path: Path) -> None:
    script = """
import os, sys, tempfile
from regisseur.actors import Process
process = Process("seq 1000", output_limit=10).run()
pid = os.fork()
if pid == 0:
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
assert len(os.listdir(tempfile.gettempdir())) == 1
assert process.stdout.endswith("1000\\n")
"""
    run_script(script, env={**os.environ, "TMPDIR": str(tmp_path)})

    assert list(tmp_path.iterdir()) == []


def test_a_read_while_it_is_written_shows_what_is_there(stage: Stage, spool: Path) -> None:
    process = stage.shell("seq 1000; read x; seq 1001 2000", output_limit=10).start()
    assert process.expect("^1000$", DEADLINE)[0] == 0
    assert process.stdout == "".join(f"{n}\n" for n in range(1, 1001))
    process.write("\n")

    assert process.wait(DEADLINE).stdout == "".join(f"{n}\n" for n in range(1, 2001))


def test_a_dump_of_much_output_is_short(stage: Stage, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "compact_output_threshold", 20)
    process = stage.process("seq 100000", output_limit=10).run(DEADLINE)

    assert process.dump() == f"{process}\nstdout:\n1\n2\n3\n4\n5\n\n[...]\n\n100000\n\nstderr:\n".replace(
        "\n\n100000", "\n99\n100000"
    )


@pytest.mark.usefixtures("journal")
def test_in_a_run_the_file_lies_in_the_run_directory_and_stays_there(stage: Stage, tmp_path: Path, spool: Path) -> None:
    outputs = tmp_path / "run" / "outputs"
    process = stage.process("seq 100000", output_limit=1000).run(DEADLINE)

    assert list(spool.iterdir()) == []
    kept = [path for path in outputs.iterdir() if path.is_file()]
    assert [path.name for path in kept] == [f"{process._run.address}.stdout"]
    assert kept[0].read_text() == process.stdout == NUMBERS
    process.reset()
    assert [path.name for path in outputs.iterdir()] == [kept[0].name]
    assert kept[0].read_text() == NUMBERS


def test_the_log_hides_secrets_in_it_and_the_process_still_shows_what_was_written(
    stage: Stage, tmp_path: Path, journal: Journal
) -> None:
    journal.add_secret("top-secret-word")
    process = stage.shell("echo top-secret-word; seq 100000", output_limit=1000).run(DEADLINE)

    assert process.stdout == f"top-secret-word\n{NUMBERS}"
    kept = (tmp_path / "run" / "outputs" / f"{process._run.address}.stdout").read_text()
    assert kept == f"***\n{NUMBERS}"


def test_it_is_kept_for_the_log_where_files_can_have_but_one_name(
    stage: Stage, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    process = stage.process("seq 100000", output_limit=1000).run(DEADLINE)
    kept = tmp_path / "run" / "outputs" / f"{process._run.address}.stdout"

    assert kept.read_text() == NUMBERS
    process.reset()
    assert kept.read_text() == NUMBERS
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_full_disk_loses_only_what_does_not_fit_and_is_told(stage: Stage, tmp_path: Path) -> None:
    def refuse(owner: object) -> Any:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch, Ears() as ears:
        patch.setattr("regisseur.actors._streams.spool_file", refuse)
        process = stage.shell("seq 1000; echo err >&2", output_limit=100).run(DEADLINE)
        heard = ears.next()

    assert process.stdout_bytes == "".join(f"{n}\n" for n in range(1, 1001)).encode()[:100]
    assert (process.stdout_ioerror, process.stderr_ioerror, process.stderr) == (True, False, "err\n")
    assert "stdout_error=[Errno 28] No space left on device" in heard


@pytest.mark.slow
def test_memory_is_bounded_by_the_limit(tmp_path: Path) -> None:
    script = """
import resource
from regisseur.actors import Process
Process("true").run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
process = Process("head -c 300000000 /dev/zero", output_limit=1 << 20).run()
size = sum(len(chunk) for chunk in process._run.streams[1].output.iter_chunks())
assert size == 300000000, size
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    grown = int(run_script(script, env={**os.environ, "TMPDIR": str(tmp_path)}))

    assert grown < 60  # MiB


def test_much_output_is_the_same_in_memory_in_a_file_and_through_handlers(stage: Stage, spool: Path) -> None:
    script = "import random\nr = random.Random(1)\n"
    script += "for _ in range(300): sys.stdout.buffer.write(r.randbytes(r.randrange(200000)))"
    expected = hashlib.sha256(subprocess.run(python(script), capture_output=True, check=True).stdout).hexdigest()
    seen = hashlib.sha256()

    class Hash:
        mode = "wb"

        def write(self, data: bytes) -> None:
            seen.update(data)

    processes = [
        stage.process(python(script), output_limit=1 << 30).start(),
        stage.process(python(script), output_limit=1 << 10).start(),
        stage.process(python(script), output_limit=1 << 20, stdout_handlers=[Hash()]).start(),
    ]

    assert [hashlib.sha256(p.wait(DEADLINE).stdout_bytes).hexdigest() for p in processes] == [expected] * 3
    assert seen.hexdigest() == expected


# -- lines -------------------------------------------------------------------------------------------------------------


def test_lines_come_one_by_one_while_the_process_runs(stage: Stage) -> None:
    process = stage.process(["cat"]).start()
    lines = iter(process.lines(timeout=DEADLINE))
    seen = []
    for text in ("one\n", "two\r\nthree\n", "é\n"):
        process.write(text)
        seen.append(next(lines))
    process.write("\nno end")
    process.close_stdin()

    assert seen == ["one", "two", "three"]
    assert list(lines) == ["é", "", "no end"]


def test_lines_of_a_process_that_has_ended_are_all_there(stage: Stage) -> None:
    process = stage.shell("printf 'a\\nb'; printf '1\\r\\n2\\r3\\n' >&2").run(DEADLINE)

    assert list(process.lines()) == ["a", "b"]
    assert list(process.lines()) == ["a", "b"]
    assert list(process.lines(STDERR)) == ["1", "2", "3"]


def test_lines_of_what_could_not_start_are_none(stage: Stage) -> None:
    assert list(stage.process("/no/such").start().lines()) == []


def test_lines_are_kept_for_their_reader_though_stdout_shows_nothing(stage: Stage) -> None:
    process = stage.process("seq 3", default_stdout_handler=False)
    lines = process.lines()
    process.start()

    assert list(lines) == ["1", "2", "3"]
    assert process.stdout == ""


def test_a_line_that_does_not_come_in_time_is_a_timeout(stage: Stage) -> None:
    process = stage.shell("echo one; while :; do printf x; sleep 0.001; done").start()
    lines = iter(process.lines(timeout="0:0:0.05"))

    assert next(iter(process.lines(timeout=DEADLINE))) == "one"
    assert next(lines) == "one"
    with pytest.raises(TimeoutError, match=r"no line came within 0\.05 seconds"):
        next(lines)


def test_readers_may_stop_and_do_not_disturb_each_other(stage: Stage) -> None:
    process = stage.process("seq 100").start()
    for line in process.lines():
        if line == "50":
            break
    with_thread: list[str] = []
    thread = threading.Thread(target=lambda: with_thread.extend(process.lines()))
    thread.start()
    assert list(process.lines()) == [str(n) for n in range(1, 101)]
    thread.join()

    assert with_thread == [str(n) for n in range(1, 101)]
    assert process._run.streams[STDOUT].listeners == []


def test_lines_in_asyncio_leave_the_loop_free(stage: Stage) -> None:
    process = stage.process("cat").start()

    async def main() -> list[str]:
        seen = []
        process.write("1\n")
        async for line in process.lines():
            seen.append(line)
            await asyncio.sleep(0)
            if line == "5":
                process.close_stdin()
            else:
                process.write(f"{int(line) + 1}\n")
        return seen

    assert asyncio.run(main()) == ["1", "2", "3", "4", "5"]
    assert process._run.streams[STDOUT].listeners == []


def test_a_loop_that_was_closed_in_the_middle_harms_nobody(stage: Stage) -> None:
    process = stage.process("cat").start()
    readers = []

    async def main() -> None:
        lines = process.lines().__aiter__()
        readers.append(lines)
        process.write("one\n")
        assert await lines.__anext__() == "one"

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    process.write("two\n")
    process.close_stdin()

    assert process.wait(DEADLINE).stdout == "one\ntwo\n"


@pytest.mark.slow
def test_a_line_of_100_mb_costs_no_more_than_it_must(stage: Stage, spool: Path) -> None:
    process = stage.process(["sh", "-c", "head -c 100000000 /dev/zero | tr '\\0' x; echo"]).start()
    lines = list(process.lines())

    assert [len(line) for line in lines] == [100000000]
