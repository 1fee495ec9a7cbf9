"""Handlers: each kind gets what it should, in order, and none holds up or breaks anything but itself."""

from __future__ import annotations

import io
import os
import queue
import select
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, Ears, Stage
from regisseur.actors._handlers import HandlerQueue
from regisseur.actors._pool import WorkerPool
from regisseur.actors.process import (
    STDERR,
    STDOUT,
    Process,
    ProcessLifecycleHandler,
    ProcessOutputHandler,
    stream_name,
)
from regisseur.actors.runtime import Runtime, current_runtime, use_runtime


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


class Lines(ProcessOutputHandler):
    """Keeps the lines it is told; does not call the constructor of its base."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def read_line(self, process: Any, stream: int, string: str) -> None:
        self.seen.append(string)


class Chunks(ProcessOutputHandler):
    """Keeps all it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, int, Any, bool, bool]] = []

    def read(self, process: Any, stream: int, string: Any, eof: bool, error: bool) -> None:
        self.seen.append((process, stream, string, eof, error))


# -- what each kind gets -----------------------------------------------------------------------------------------------


def test_streams_have_names() -> None:
    assert [stream_name(stream) for stream in (STDOUT, STDERR, 7)] == ["stdout", "stderr", "7"]


def test_a_handler_is_told_chunks_and_the_end(stage: Stage) -> None:
    chunks = Chunks()
    process = stage.shell("echo one; read x; echo two", stdout_handlers=[chunks]).start()
    assert process.expect("one", DEADLINE)[0] == 0
    process.write("\n")
    process.wait(DEADLINE)

    assert {(p, stream, error) for p, stream, _, _, error in chunks.seen} == {(process, STDOUT, False)}
    assert [eof for _, _, _, eof, _ in chunks.seen] == [False] * (len(chunks.seen) - 1) + [True]
    assert "".join(text for _, _, text, _, _ in chunks.seen) == "one\ntwo\n"


def test_the_end_is_told_even_where_nothing_was_written_or_started(stage: Stage) -> None:
    for cmd in ("true", "/no/such"):
        chunks = Chunks()
        process = stage.process(cmd, stdout_handlers=[chunks], stderr_handlers=[chunks]).run(DEADLINE)
        assert sorted(told[1:] for told in chunks.seen) == [(n, "", True, False) for n in (STDOUT, STDERR)]
        assert {told[0] for told in chunks.seen} == {process}


def test_a_binary_handler_gets_the_bytes(stage: Stage) -> None:
    chunks = Chunks()
    chunks.binary = True
    stage.process(["printf", r"\377\0a\303"], stdout_handlers=[chunks]).run(DEADLINE)

    assert b"".join(data for _, _, data, _, _ in chunks.seen) == b"\xff\0a\xc3"


def test_text_comes_decoded_however_the_bytes_were_cut(stage: Stage) -> None:
    chunks = Chunks()
    process = stage.process("cat", stdout_handlers=[chunks]).start()
    for byte in "é€\n".encode() + b"\xff":
        size = len(process.stdout_bytes)
        process.write(bytes([byte]))
        while len(process.stdout_bytes) == size:
            assert process.running
    process.close_stdin()
    process.wait(DEADLINE)

    assert [text for _, _, text, _, _ in chunks.seen if text] == ["é", "€", "\n", "\udcff"]


def test_lines_come_without_their_ends_and_the_last_one_too(stage: Stage) -> None:
    lines = Lines()
    stage.process(["printf", r"a\r\nb\n\nc\rd\360\237\230\200\n\xffe"], stdout_handlers=[lines]).run(DEADLINE)

    assert lines.seen == ["a", "b", "", "c", "d😀", "\udcffe"]


def test_the_lines_of_a_terminal_have_no_empty_ones_between_them(stage: Stage) -> None:
    lines = Lines()
    stage.process("seq 1000", pty=True, stdout_handlers=[lines]).run(DEADLINE)

    assert lines.seen == [str(n) for n in range(1, 1001)]


def test_a_handler_may_have_both_streams_of_many_processes(stage: Stage) -> None:
    seen: dict[tuple[Any, int], list[str]] = {}

    class Both(ProcessOutputHandler):
        def read_line(self, process: Any, stream: int, string: str) -> None:
            seen.setdefault((process, stream), []).append(string)

    both = Both()
    script = "for n in $(seq 100); do printf {}; printf $n; echo; printf $n >&2; echo >&2; done"
    processes = [
        stage.shell(script.format(n), stdout_handlers=[both], stderr_handlers=[both]).start() for n in range(5)
    ]
    for n, process in enumerate(processes):
        process.wait(DEADLINE)
        assert seen[process, STDOUT] == [f"{n}{line}" for line in range(1, 101)]
        assert seen[process, STDERR] == [str(line) for line in range(1, 101)]


def test_a_callable_gets_process_stream_and_text(stage: Stage) -> None:
    seen: list[tuple[Any, int, str]] = []
    process = stage.shell("echo out; echo err >&2; exec >&-; exec true")
    process.stdout_handlers = process.stderr_handlers = [lambda *args: seen.append(args)]
    process.run(DEADLINE)

    assert sorted(seen[index][1:] for index in range(len(seen))) == [(1, "out\n"), (2, "err\n")]
    assert {process for process, _, _ in seen} == {process}


def test_a_file_name_is_appended_to_and_shared(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log").write_text("before\n")
    processes = []
    for name in ("log", str(tmp_path / "log"), Path("log"), "./log"):
        processes.append(stage.shell("for n in $(seq 500); do echo $n; done", stdout_handlers=[name]).start())
    monkeypatch.chdir("/")
    for process in processes:
        process.wait(DEADLINE)

    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "before"
    assert sorted(lines[1:], key=int) == sorted([str(n) for n in range(1, 501)] * 4, key=int)


def test_a_file_is_made_even_where_nothing_is_written(stage: Stage, tmp_path: Path) -> None:
    stage.process("true", stdout_handlers=[tmp_path / "empty"]).run(DEADLINE)

    assert (tmp_path / "empty").read_bytes() == b""


def test_many_processes_share_one_descriptor_of_a_file(stage: Stage, tmp_path: Path) -> None:
    processes = [stage.process("cat", stdout_handlers=[tmp_path / "log"]).start() for _ in range(100)]
    for process in processes:
        process.write("x\n")
    for process in processes:
        assert process.expect("x", DEADLINE)[0] == 0
    for process in processes:
        process.close_stdin()
        process.wait(DEADLINE)
    target = str(tmp_path / "log")

    assert (tmp_path / "log").read_text() == "x\n" * 100
    assert not [fd for fd in os.listdir("/proc/self/fd") if _link(fd) == target]


def _link(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_a_file_that_can_not_be_opened_is_told_once_and_stops_nothing(stage: Stage, tmp_path: Path) -> None:
    lines = Lines()
    with Ears() as ears:
        with Runtime("regisseur-stage") as runtime, use_runtime(runtime):
            process = stage.process("seq 50000", stdout_handlers=[tmp_path / "no" / "such", lines]).run(DEADLINE)
        heard = ears.all()

    assert (process.ok, len(lines.seen)) == (True, 50000)
    assert len(heard) == 1
    assert "an output handler of <Process('seq 50000', " in heard[0]
    assert heard[0].endswith(" failed on stdout")


def test_a_descriptor_is_written_to_and_left_open(stage: Stage, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        stage.process("seq 3", stdout_handlers=[file.fileno()]).run(DEADLINE)
        stage.process(["printf", r"\377"], stdout_handlers=[file.fileno()]).run(DEADLINE)
        file.write(b"!")

    assert (tmp_path / "file").read_bytes() == b"1\n2\n3\n\xff!"


def test_a_descriptor_that_does_not_block_is_waited_for(stage: Stage) -> None:
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        process = stage.process("head -c 300000 /dev/zero", stdout_handlers=[write]).start()
        size = 0
        while size < 300000:
            assert select.select([read], [], [], DEADLINE)[0]
            size += len(os.read(read, 65536))
        assert process.wait(DEADLINE).ok
    finally:
        os.close(read)
        os.close(write)


def test_objects_with_write_get_text_or_bytes_as_they_like(stage: Stage, tmp_path: Path) -> None:
    class Own:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

    own = Own()
    with (
        (tmp_path / "text").open("w", encoding="ascii") as text,
        (tmp_path / "binary").open("wb") as binary,
        (tmp_path / "raw").open("wb", buffering=0) as raw,
        tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as named,
    ):
        memory, strings = io.BytesIO(), io.StringIO()
        handlers = [own, text, binary, raw, named, memory, strings]
        stage.process(["printf", r"a\303\251\n\377"], stdout_handlers=handlers).run(DEADLINE)

        data = b"a\xc3\xa9\n\xff"
        assert own.text == strings.getvalue() == "aé\n\udcff"
        assert (tmp_path / "text").read_text() == "a\\xe9\n\\udcff"  # flushed, and what it has no letter for
        assert [Path(f.name).read_bytes() for f in (binary, raw, named)] == [data] * 3
        assert memory.getvalue() == data


def test_one_handler_need_not_be_in_a_list(stage: Stage, tmp_path: Path) -> None:
    lines = Lines()
    with (tmp_path / "file").open("w+") as file:
        for handler in (lines, str(tmp_path / "named"), tmp_path / "named", file, lines.seen.append):
            process = stage.process("echo x", stdout_handlers=handler)
            assert process.stdout_handlers == [handler]
            if handler != lines.seen.append:
                process.run(DEADLINE)

    assert lines.seen == ["x"]
    assert (tmp_path / "named").read_text() == "x\nx\n"
    assert (tmp_path / "file").read_text() == "x\n"


def test_what_can_not_handle_output_is_an_error_of_the_caller_and_starts_nothing(stage: Stage) -> None:
    process = stage.process("true", stdout_handlers=[3.14])

    with pytest.raises(TypeError, match=r"3\.14 can not handle output: give a ProcessOutputHandler, a callable"):
        process.start()
    assert not process.started
    process.stdout_handlers = []
    assert process.run(DEADLINE).ok


def test_handlers_may_be_changed_until_the_start(stage: Stage) -> None:
    first, second = Lines(), Lines()
    process = stage.process("echo x", stdout_handlers=[first])
    process.stdout_handlers.append(second)
    process.run(DEADLINE)

    assert (first.seen, second.seen) == (["x"], ["x"])


def test_handlers_see_what_is_not_kept(stage: Stage) -> None:
    lines = Lines()
    process = stage.process("seq 3", default_stdout_handler=False, stdout_handlers=[lines]).run(DEADLINE)

    assert (process.stdout, lines.seen) == ("", ["1", "2", "3"])


def test_a_wait_ends_when_the_handlers_have_seen_all(stage: Stage) -> None:
    for _ in range(30):
        lines = Lines()
        stage.process("seq 1000", stdout_handlers=[lines]).run(DEADLINE)
        assert len(lines.seen) == 1000


@pytest.mark.slow
def test_a_line_of_100_mb_costs_no_more_than_it_must(stage: Stage) -> None:
    lines = Lines()
    script = "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo short"
    stage.shell(script, default_stdout_handler=False, stdout_handlers=[lines]).run(DEADLINE)

    assert [len(line) for line in lines.seen] == [100000000, 5]


# -- what they can not do ----------------------------------------------------------------------------------------------


def test_a_handler_that_raises_is_logged_and_stops_nothing(stage: Stage) -> None:
    lines = Lines()

    def broken(process: Any, stream: int, chunk: str) -> None:
        raise RuntimeError("broken on purpose")

    with Ears() as ears:
        process = stage.process("seq 3", stdout_handlers=[broken, lines]).run(DEADLINE)
        heard = ears.next()

    assert (process.ok, lines.seen, process.stdout) == (True, ["1", "2", "3"], "1\n2\n3\n")
    assert "an output handler of <Process('seq 3', " in heard


def test_a_line_that_makes_it_raise_does_not_keep_the_others_from_it(stage: Stage) -> None:
    class Picky(Lines):
        def read_line(self, process: Any, stream: int, string: str) -> None:
            if string == "2":
                raise ValueError(string)
            super().read_line(process, stream, string)

    picky = Picky()
    with Ears() as ears:
        stage.process("seq 3", stdout_handlers=[picky]).run(DEADLINE)
        assert ears.next().endswith("failed on a line of stdout")

    assert picky.seen == ["1", "3"]


def test_a_blocked_handler_holds_up_its_own_process_alone(stage: Stage) -> None:
    go, entered = threading.Event(), threading.Event()

    def block(process: Any, stream: int, chunk: str) -> None:
        entered.set()
        assert go.wait(DEADLINE)

    blocked = stage.process("seq 3", stdout_handlers=[block]).start()
    assert entered.wait(DEADLINE)
    lines = Lines()
    others = [stage.process("seq 100", stdout_handlers=[lines]).start() for _ in range(20)]

    assert all(process.wait(DEADLINE).ok for process in others)
    assert len(lines.seen) == 2000
    assert not blocked.future.done()
    go.set()
    assert blocked.wait(DEADLINE).ok


def test_many_blocked_handlers_do_not_use_up_the_workers(stage: Stage) -> None:
    go = threading.Event()
    blocked = [stage.process("echo x", stdout_handlers=[lambda *_: go.wait(DEADLINE)]).start() for _ in range(30)]
    lines = Lines()

    assert stage.process("seq 2", stdout_handlers=[lines]).run(DEADLINE).ok
    assert lines.seen == ["1", "2"]
    go.set()
    assert all(process.wait(DEADLINE).ok for process in blocked)


def test_a_fast_producer_is_paused_while_its_handler_is_blocked(stage: Stage) -> None:
    size = 30 << 20
    go, entered, seen = threading.Event(), threading.Event(), {STDOUT: 0, STDERR: 0}

    def block(process: Any, stream: int, chunk: str) -> None:
        entered.set()
        assert go.wait(DEADLINE)
        seen[stream] += len(chunk)

    script = f"head -c {size} /dev/zero & head -c {size} /dev/zero >&2; wait"
    kept = {"default_stdout_handler": False, "default_stderr_handler": False}
    process = stage.shell(script, stdout_handlers=[block], stderr_handlers=[block], **kept).start()
    assert entered.wait(DEADLINE)
    streams = process._run.streams
    while not (streams[STDOUT].paused and streams[STDERR].paused):
        assert process.running
    # Both directions stand still now: what is read from them does not grow while others are served.
    for _ in range(3):
        assert stage.process("seq 1000").run(DEADLINE).ok

    bound = HandlerQueue.HIGH + 8 * (1 << 20)
    assert streams[STDOUT].size + streams[STDERR].size < 2 * bound
    go.set()
    assert process.wait(DEADLINE).ok
    assert seen == {STDOUT: size, STDERR: size}


def test_a_producer_of_tiny_pieces_is_paused_too(stage: Stage) -> None:
    go, entered = threading.Event(), threading.Event()
    count = 0

    def block(process: Any, stream: int, chunk: str) -> None:
        nonlocal count
        entered.set()
        assert go.wait(DEADLINE)
        count += len(chunk)

    queue_of_task = HandlerQueue.HIGH // HandlerQueue.TASK
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HandlerQueue, "HIGH", 100 * HandlerQueue.TASK)
        patch.setattr(HandlerQueue, "LOW", 10 * HandlerQueue.TASK)
        process = stage.process("cat", stdout_handlers=[block]).start()
        process.write("0")
        assert entered.wait(DEADLINE)
        while not process._run.streams[STDOUT].paused:
            process.write("x")
            assert process.expect("x", DEADLINE)[0] == 0
        held = process._run.streams[STDOUT].size
        go.set()
        process.write("end")
        process.close_stdin()
        assert process.wait(DEADLINE).ok

    assert held <= 110
    assert queue_of_task <= 1 << 16
    assert count == process._run.streams[STDOUT].size


def test_a_terminal_is_paused_as_well_even_when_it_is_written_to(stage: Stage) -> None:
    go, entered = threading.Event(), threading.Event()

    def block(process: Any, stream: int, chunk: str) -> None:
        entered.set()
        assert go.wait(DEADLINE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HandlerQueue, "HIGH", 20 * HandlerQueue.TASK)
        process = stage.process("yes", pty=True, stdout_handlers=[block], default_stdout_handler=False).start()
        assert entered.wait(DEADLINE)
        stream = process._run.streams[STDOUT]
        while not stream.paused:
            assert process.running
        process.write("x" * 100000)
        for _ in range(3):
            assert stage.process("seq 1000").run(DEADLINE).ok
        size = stream.size
        for _ in range(3):
            assert stage.process("seq 1000").run(DEADLINE).ok
        assert stream.size == size
        process.kill(9)
        go.set()
        assert process.wait(DEADLINE).ended


def test_when_a_process_ends_while_its_handler_is_blocked_nothing_is_lost(stage: Stage) -> None:
    go, seen = threading.Event(), []

    def block(process: Any, stream: int, chunk: str) -> None:
        assert go.wait(DEADLINE)
        seen.append(chunk)

    process = stage.process("head -c 500000 /dev/zero", stdout_handlers=[block]).start()
    while not process.ended:
        assert process.started
    assert not process.future.done()
    assert process.exit_code == 0
    go.set()
    process.wait(DEADLINE)

    assert "".join(seen) == "\0" * 500000


@pytest.mark.slow
def test_a_runtime_that_stops_lets_nobody_wait_for_a_blocked_handler() -> None:
    go, entered = threading.Event(), threading.Event()

    def block(process: Any, stream: int, chunk: str) -> None:
        entered.set()
        go.wait(DEADLINE)

    with Runtime("regisseur-stage") as runtime:
        with use_runtime(runtime):
            process = Process("echo x", stdout_handlers=[block]).start()
        assert entered.wait(DEADLINE)
        while not process.ended:
            pass
        runtime.stop(timeout=1.0)
        assert process.wait(DEADLINE).stdout == "x\n"
        go.set()


# -- lifecycle handlers ------------------------------------------------------------------------------------------------


class Diary(ProcessLifecycleHandler):
    def __init__(self) -> None:
        self.notes: list[tuple[str, bool, bool, bool]] = []
        self.threads: set[str] = set()
        self.started = threading.Event()
        self.ended = threading.Event()

    def note(self, what: str, process: Any) -> None:
        self.notes.append((what, process.started, process.ended, process.error))
        self.threads.add(threading.current_thread().name)

    def start(self, process: Any) -> None:
        self.note("start", process)
        self.started.set()

    def end(self, process: Any) -> None:
        self.note("end", process)
        self.ended.set()

    def reset(self, process: Any) -> None:
        self.note("reset", process)


def test_start_end_and_reset_are_told_in_order_and_not_by_the_reactor(stage: Stage) -> None:
    diary = Diary()
    process = stage.process("cat", lifecycle_handlers=[diary]).start()
    assert diary.started.wait(DEADLINE)
    process.close_stdin()
    process.wait(DEADLINE)
    process.reset()

    assert diary.notes == [
        ("start", True, False, False), ("end", True, True, False), ("reset", True, True, False)
    ]  # fmt: skip
    assert not [name for name in diary.threads if "reactor" in name]


def test_a_start_that_fails_is_told_as_a_start_and_an_end(stage: Stage) -> None:
    diary = Diary()
    stage.process("/no/such", lifecycle_handlers=[diary]).run(DEADLINE)
    assert diary.ended.wait(DEADLINE)

    assert diary.notes == [("start", True, True, True), ("end", True, True, True)]


def test_a_reset_waits_for_the_end_to_be_told(stage: Stage) -> None:
    for _ in range(30):
        diary = Diary()
        stage.process("true", lifecycle_handlers=[diary]).run(DEADLINE).reset()
        assert [note[0] for note in diary.notes] == ["start", "end", "reset"]
        assert diary.notes[1] == ("end", True, True, False)


def test_lifecycle_handlers_that_raise_are_logged_and_the_others_told(stage: Stage) -> None:
    class Broken(ProcessLifecycleHandler):
        def start(self, process: Any) -> None:
            raise RuntimeError("at the start")

        end = reset = start

    diary = Diary()
    with Ears() as ears:
        process = stage.process("true", lifecycle_handlers=[Broken(), diary]).run(DEADLINE).reset()
        heard = [ears.next() for _ in range(3)]

    assert [text.rpartition(" failed on ")[2] for text in heard] == ["start", "end", "reset"]
    assert [note[0] for note in diary.notes] == ["start", "end", "reset"]
    assert not process.started


def test_output_is_handled_between_start_and_end(stage: Stage) -> None:
    order: list[str] = []
    done = threading.Event()

    class Order(ProcessLifecycleHandler):
        def start(self, process: Any) -> None:
            order.append("start")

        def end(self, process: Any) -> None:
            order.append("end")
            done.set()

    stage.process("seq 3", lifecycle_handlers=Order(), stdout_handlers=lambda *_: order.append("output")).run(DEADLINE)
    assert done.wait(DEADLINE)

    assert order[0] == "start"
    assert order[-1] == "end"
    assert set(order[1:-1]) == {"output"}


def test_a_process_may_be_started_again_by_its_own_end(stage: Stage) -> None:
    runs: list[int] = []
    done = threading.Event()

    class Again(ProcessLifecycleHandler):
        def end(self, process: Any) -> None:
            runs.append(process.pid)
            if len(runs) < 5:
                process.reset().start()
            else:
                done.set()

    stage.process("true", lifecycle_handlers=[Again()]).start()
    assert done.wait(DEADLINE)

    assert len(set(runs)) == 5


def test_an_end_handler_may_wait_for_the_process(stage: Stage) -> None:
    seen: list[bool] = []
    done = threading.Event()

    class Wait(ProcessLifecycleHandler):
        def end(self, process: Any) -> None:
            seen.append(process.wait(DEADLINE).ended)
            done.set()

    stage.process("true", lifecycle_handlers=[Wait()]).start()
    assert done.wait(DEADLINE)

    assert seen == [True]


@pytest.mark.parametrize(
    "wait",
    [
        lambda process: process.wait(DEADLINE),
        lambda process: process.ended_event.wait(DEADLINE),
        lambda process: process.kill().wait(DEADLINE),
    ],
    ids=["wait", "event", "kill"],
)
def test_a_start_handler_may_wait_for_the_end_of_the_process(stage: Stage, wait: Callable[[Any], Any]) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    class Wait(ProcessLifecycleHandler):
        def start(self, process: Any) -> None:
            wait(process)
            seen.put(process.ended)

    process = stage.process("sleep 0.1", lifecycle_handlers=[Wait()], stdout_handlers=lambda *_: None)

    assert process.run(DEADLINE).ended
    assert seen.get(timeout=DEADLINE) is True


def test_an_output_handler_may_wait_for_the_end_of_the_process(stage: Stage) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    def wait(process: Any, stream: int, chunk: str) -> None:
        seen.put(chunk)
        if "1" in chunk:
            seen.put(process.wait(DEADLINE).ended)

    process = stage.shell("echo 1; read line; echo 2", stdout_handlers=wait).start()
    assert seen.get(timeout=DEADLINE) == "1\n"
    process.write("go\n")

    assert [seen.get(timeout=DEADLINE) for _ in range(2)] == ["2\n", True]


# -- the queue ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> WorkerPool:
    return current_runtime().pool


def test_the_queue_runs_its_tasks_in_order_one_at_a_time(pool: WorkerPool) -> None:
    queue = HandlerQueue(pool, lambda: None)
    running, ran, done = threading.Lock(), [], threading.Event()

    def task(n: int) -> None:
        assert running.acquire(blocking=False)
        ran.append(n)
        running.release()

    for n in range(1000):
        queue.submit(lambda n=n: task(n))  # type: ignore[misc]  # the default binds early
    queue.submit(done.set)
    assert done.wait(DEADLINE)

    assert ran == list(range(1000))


def test_the_queue_says_when_it_is_full_and_tells_when_it_has_drained(pool: WorkerPool) -> None:
    drained, go, done = threading.Event(), threading.Event(), threading.Event()
    queue = HandlerQueue(pool, drained.set)
    queue.submit(lambda: assert_set(go))
    size = HandlerQueue.HIGH // 4

    assert [queue.submit(lambda: None, size) for _ in range(6)] == [False] * 3 + [True] * 3
    assert not drained.is_set()
    go.set()
    queue.submit(done.set)
    assert drained.wait(DEADLINE)
    assert done.wait(DEADLINE)
    assert queue.submit(lambda: None, size) is False


def assert_set(event: threading.Event) -> None:
    assert event.wait(DEADLINE)


def test_the_queue_goes_on_after_a_task_that_raises(pool: WorkerPool) -> None:
    def fail() -> None:
        raise RuntimeError

    queue, done = HandlerQueue(pool, fail), threading.Event()
    with Ears() as ears:
        queue.submit(fail, HandlerQueue.HIGH + 1)  # and so drained() is called, which fails as well
        queue.submit(done.set)
        assert done.wait(DEADLINE)
        assert [ears.next() for _ in range(2)] == ["a handler failed"] * 2


def test_the_queue_knows_its_own_thread(pool: WorkerPool) -> None:
    queue = HandlerQueue(pool, lambda: None)
    seen: list[bool] = []
    done = threading.Event()
    queue.submit(lambda: seen.append(queue.runs_here))
    queue.submit(done.set)
    assert done.wait(DEADLINE)

    assert seen == [True]
    assert not queue.runs_here
