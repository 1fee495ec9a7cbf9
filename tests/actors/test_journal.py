"""The journal: whole lines, numbered, of any values, without secrets, whatever kills or fills the machine."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import logging
import math
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deadline import DEADLINE
from regisseur.actors.journal import Journal, current_journal, set_journal


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def logged(tmp_path: Path, value: Any) -> Any:
    """Return what *value* looks like in the log."""
    path = tmp_path / "log.jsonl"
    with Journal(path) as journal:
        journal.event("test.value", value=value)

        assert journal.lost == 0
    return lines_of(path)[-1]["value"]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: Any
    y: int = 2


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


Pair = collections.namedtuple("Pair", "left right")


class TestLines:
    def test_an_event_is_one_line_with_seq_ts_event_pid_and_its_fields(self, tmp_path: Path) -> None:
        before = time.time()
        with Journal(tmp_path / "log.jsonl") as journal:
            journal.event("process.ended", status=0, host="a")
            journal.event("process.ended", status=1)

        first, second = lines_of(tmp_path / "log.jsonl")

        assert before <= first.pop("ts") <= second.pop("ts") <= time.time()
        assert first == {"seq": 1, "event": "process.ended", "pid": os.getpid(), "status": 0, "host": "a"}
        assert second == {"seq": 2, "event": "process.ended", "pid": os.getpid(), "status": 1}

    def test_bound_fields_stand_in_every_event_and_nowhere_else(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            actor = journal.bind(actor="Process[1]")
            actor.bind(host="b").event("one")
            actor.event("two")
            journal.event("three")

        seen = [(line.get("actor"), line.get("host")) for line in lines_of(tmp_path / "log.jsonl")]

        assert seen == [("Process[1]", "b"), ("Process[1]", None), (None, None)]

    def test_given_fields_that_have_the_names_of_the_log_s_own_get_an_underscore(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            journal.event("child.started", pid=7, seq="s", ts="t", event="e")

        (line,) = lines_of(tmp_path / "log.jsonl")

        assert (line["pid"], line["seq"], line["event"]) == (os.getpid(), 1, "child.started")
        assert (line["pid_"], line["seq_"], line["ts_"], line["event_"]) == (7, "s", "t", "e")

    def test_a_torn_tail_is_ended_before_the_first_line_of_the_next_writer(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        path.write_bytes(b'{"seq":1,"ts":1.0,"event":"a","pid":1}\n{"seq":2,"ts":1.')

        with Journal(path) as journal:
            journal.event("b")

        torn, last = path.read_bytes().splitlines()[1:]
        assert torn == b'{"seq":2,"ts":1.'
        assert json.loads(last)["event"] == "b"

    def test_lines_of_several_threads_do_not_mix_and_have_no_hole_in_seq(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            threads = [
                threading.Thread(target=lambda n=n: [journal.event("t", n=n, text="x" * 300) for _ in range(300)])
                for n in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        lines = lines_of(tmp_path / "log.jsonl")

        assert [line["seq"] for line in lines] == list(range(1, 1201))

    # From 3.12 on fork warns where another test has left a thread; the child here needs none of them.
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_the_child_of_a_fork_writes_on_with_its_own_pid_and_seq(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            journal.event("parent")
            bound = journal.bind(actor="x")
            # Forked from a second thread would be no different; the lock is held to show that it is renewed.
            with journal._appender._lock:
                child = os.fork()
                if child == 0:
                    worker = threading.Thread(target=bound.event, args=("child",))
                    worker.start()
                    worker.join(DEADLINE)
                    os._exit(0 if not worker.is_alive() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            journal.event("parent")

        seen = [(line["event"], line["pid"], line["seq"]) for line in lines_of(tmp_path / "log.jsonl")]

        assert seen == [("parent", os.getpid(), 1), ("child", child, 1), ("parent", os.getpid(), 2)]

    def test_a_signal_handler_may_tell_an_event_while_its_thread_tells_one(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal, journal._appender._lock:
            journal.event("inside")

        assert [line["event"] for line in lines_of(tmp_path / "log.jsonl")] == ["inside"]

    def test_the_current_journal_is_the_one_that_was_set(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            before = set_journal(journal)
            try:
                assert current_journal() is journal
            finally:
                assert set_journal(before) is journal
        assert current_journal() is before

    def test_opening_a_journal_where_there_is_no_directory_raises(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Journal(tmp_path / "no" / "log.jsonl")

    def test_an_event_costs_little(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            best = math.inf
            for _ in range(10):
                begin = time.process_time()
                for _ in range(500):
                    journal.event(
                        "process.ended", actor="Process[1]", host="h", status=0, duration=0.01, command="true"
                    )
                best = min(best, (time.process_time() - begin) / 500)

        assert best < 20e-6  # 4e-6 is usual; the rest is for slow machines


class TestCrash:
    SCRIPT = """
import sys, threading
from regisseur.actors.journal import Journal
journal = Journal(sys.argv[1])
def work(n):
    tell = journal.bind(actor=f"Worker[{n}]").event
    while True:
        tell("work.done", text="x" * 700, n=n)
for n in range(3):
    threading.Thread(target=work, args=(n,), daemon=True).start()
work(3)
"""

    def test_sigkill_tears_at_most_the_last_line_and_leaves_no_hole_in_seq(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        chance = random.Random(4)
        for _ in range(6):
            size = path.stat().st_size if path.exists() else 0
            enough = size + chance.randrange(1, 400_000)
            child = subprocess.Popen([sys.executable, "-c", self.SCRIPT, str(path)])
            try:
                while not path.exists() or path.stat().st_size < enough:
                    assert child.poll() is None
                    os.sched_yield()
            finally:
                child.kill()
                child.wait()
            *lines, tail = path.read_bytes().split(b"\n")
            records = [json.loads(line) for line in lines if line.endswith(b"}")]
            mine = [record["seq"] for record in records if record["pid"] == child.pid]

            assert mine == list(range(1, len(mine) + 1))
            assert len(mine) > 0
            # Only where an earlier writer was killed may a line be torn.
            torn = [line for line in lines if not line.endswith(b"}")]
            assert len(torn) + bool(tail) <= 6

    def test_a_full_disk_raises_nothing_is_told_once_and_counted(self, caplog: pytest.LogCaptureFixture) -> None:
        with Journal("/dev/full") as journal, caplog.at_level(logging.WARNING, "regisseur"):
            for _ in range(3):
                journal.event("lost")

        assert journal.lost == 3
        assert journal.error is not None
        assert [record.getMessage() for record in caplog.records] == [
            "/dev/full can not be written, events are lost: [Errno 28] No space left on device"
        ]

    def test_a_disk_with_room_again_goes_on_with_a_whole_line(self, tmp_path: Path) -> None:
        script = """
import resource, sys
from regisseur.actors.journal import Journal
journal = Journal(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for n in range(20):
    journal.event("n", n=n, long="x" * 300)  # the limit is in the middle of such a text
assert journal.lost and journal.error
lost = journal.lost
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.event("again")
assert journal.lost == lost
"""
        path = tmp_path / "log.jsonl"
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True)
        lines = path.read_bytes().splitlines()
        whole = [json.loads(line) for line in lines if line.endswith(b"}")]

        assert [len(lines) - len(whole), whole[-1]["event"], whole[-1]["seq"]] == [1, "again", 21]

    def test_events_after_close_are_counted_as_lost(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "log.jsonl")
        journal.close()
        journal.close()
        journal.event("late")

        assert journal.lost == 1


class TestValues:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            ("é", "é"),
            (b"plain", "plain"),
            (b"\xff\xfe", {"bytes": "//4="}),
            (bytearray(b"x"), "x"),
            ("a\udcff", "a\\udcff"),
            ({"a\udcff": 1}, {"a\\udcff": 1}),
            (ValueError("bad"), {"type": "ValueError", "text": "bad"}),
            (Path("/a/b"), "/a/b"),
            ({3, 1, 2}, [1, 2, 3]),
            ({"a", 1}, ["a", 1]),
            ({1: "a", "1": "b", None: "c"}, {"1": "a", "1'": "b", "None": "c"}),
            (Point(Point(b"\xff")), {"x": {"x": {"bytes": "/w=="}, "y": 2}, "y": 2}),
            (Pair(1, {2}), {"left": 1, "right": [2]}),
            (Colour.RED, "red"),
            (math.nan, None),
            (math.inf, None),
            (10**30, "1" + "0" * 30),
            ([10**30], ["1" + "0" * 30]),
            (types.MappingProxyType({"a": 1}), {"a": 1}),
            (datetime.timedelta(minutes=1), 60.0),
            (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
            (decimal.Decimal("1.5"), "Decimal('1.5')"),
            (range(3), "range(0, 3)"),
        ],
    )
    def test_odd_values_have_a_form_in_json(self, tmp_path: Path, value: Any, expected: Any) -> None:
        assert logged(tmp_path, value) == expected

    def test_an_object_with_a_broken_repr_is_told_about_all_the_same(self, tmp_path: Path) -> None:
        assert "Broken" in logged(tmp_path, Broken())
        assert "Broken" in logged(tmp_path, {1: [Broken()]})["1"][0]

    def test_a_structure_that_holds_itself_ends(self, tmp_path: Path) -> None:
        loop: dict[str, Any] = {}
        loop["me"] = [loop, loop]

        assert set(logged(tmp_path, loop)) == {"me"}

    def test_a_very_deep_structure_is_cut(self, tmp_path: Path) -> None:
        deep: list[Any] = []
        for _ in range(5000):
            deep = [deep]

        assert isinstance(logged(tmp_path, deep), list)

    def test_numpy_scalars_and_arrays_are_numbers(self, tmp_path: Path) -> None:
        numpy = pytest.importorskip("numpy")

        assert logged(tmp_path, [numpy.float64(1.5), numpy.int32(3), numpy.arange(2)]) == [1.5, 3, [0, 1]]

    @settings(max_examples=150, deadline=None)
    @given(
        st.dictionaries(
            st.text(),
            st.recursive(
                st.none() | st.integers() | st.floats() | st.binary() | st.text(st.characters()) | st.booleans(),
                lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text() | st.binary(), inner),
                max_leaves=8,
            ),
            max_size=4,
        )
    )
    def test_whatever_the_fields_are_the_line_is_json(
        self, tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any.jsonl"
        path.unlink(missing_ok=True)
        with Journal(path) as journal:
            journal.event("any", **fields)

        assert journal.lost == 0
        assert [line["event"] for line in lines_of(path)] == ["any"]


class TestSecrets:
    SECRET = 'pa"ss/w\\ord\té'

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_api_Token", self.SECRET)
        monkeypatch.setenv("DB_PASSWORD", "hunter2hunter2")
        monkeypatch.setenv("SHORT_SECRET", "abc")
        monkeypatch.setenv("PIN_KEY", "123456")

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("is hunter2hunter2, hunter2hunter2!", "is ***, ***!"),
            (f"<{SECRET}>", "<***>"),
            (json.dumps([SECRET]), '["***"]'),
            (json.dumps([SECRET], ensure_ascii=False), '["***"]'),
            ("https://u:pa%22ss%2Fw%5Cord%09%C3%A9@host/", "https://u:***@host/"),
            (["-p", {"hunter2hunter2": b"hunter2hunter2"}], ["-p", {"***": "***"}]),
            (b"\xffhunter2hunter2", {"bytes": "/yoqKg=="}),
            (123456, "***"),
            (0.123456, "***"),
            ("abc", "abc"),
        ],
    )
    def test_a_secret_of_the_environment_is_hidden_in_every_form(
        self, tmp_path: Path, value: Any, expected: Any
    ) -> None:
        assert logged(tmp_path, value) == expected

    def test_the_log_s_own_fields_and_names_stay_readable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MODE_KEY", "process")
        monkeypatch.setattr("regisseur.actors._eventlog.time", types.SimpleNamespace(time=lambda: 123456.5))
        with Journal(tmp_path / "log.jsonl") as journal:
            journal.event("process.started", process="process")

        (line,) = lines_of(tmp_path / "log.jsonl")

        assert (line["event"], line["ts"], line["process"]) == ("process.started", 123456.5, "***")

    @pytest.mark.parametrize("name", ["env", "environment"])
    def test_secret_names_in_an_environment_are_hidden_whatever_their_value(self, tmp_path: Path, name: str) -> None:
        with Journal(tmp_path / "log.jsonl") as journal:
            environ = {"A_TOKEN": "x", "B_secret": 5, "C_KEY": None, "PATH": "/bin", "D_PASSWORD": "newly given"}
            journal.event("process.started", **{name: environ}, command={"env": {"X_KEY": "y"}})
            journal.event("process.ended", stdout="the newly given one")

        first, second = lines_of(tmp_path / "log.jsonl")

        hidden = {"A_TOKEN": "***", "B_secret": "***", "C_KEY": "***", "PATH": "/bin", "D_PASSWORD": "***"}
        assert first[name] == hidden
        assert first["command"] == {"env": {"X_KEY": "***"}}
        assert second["stdout"] == "the *** one"

    def test_a_secret_may_be_added_later_and_at_opening(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "log.jsonl", secrets=["first-one"]) as journal:
            journal.add_secret("second-one\n")
            journal.event("x", a="first-one", b="second-one", c="third-one")

        (line,) = lines_of(tmp_path / "log.jsonl")

        assert [line["a"], line["b"], line["c"]] == ["***", "***", "third-one"]

    @pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 7])
    def test_a_secret_across_two_blocks_of_a_large_output_is_hidden(self, tmp_path: Path, size: int) -> None:
        source = tmp_path / "spool"
        source.write_bytes(b"x" * size + b"hunter2hunter2" + b"y" * 100)
        with Journal(tmp_path / "log.jsonl") as journal:
            kept = journal.store_output("stdout", source)

        stored = (tmp_path / kept["path"]).read_bytes()

        assert stored == b"x" * size + b"***" + b"y" * 100
        assert (kept["size"], kept["sha256"]) == (len(stored), hashlib.sha256(stored).hexdigest())


class TestOutputs:
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Any:
        with Journal(tmp_path / "log.jsonl") as journal:
            yield journal

    def test_a_short_output_goes_into_the_log(self, journal: Journal, tmp_path: Path) -> None:
        digest = hashlib.sha256(b"hello\n").hexdigest()

        assert journal.store_output("out", "hello\n") == {"size": 6, "sha256": digest, "text": "hello\n"}
        assert journal.store_output("out", b"\xff")["bytes"] == "/w=="
        assert not (tmp_path / "outputs").exists()

    def test_a_long_output_goes_into_a_file(self, journal: Journal, tmp_path: Path) -> None:
        data = b"z" * 4097

        kept = journal.store_output("out", data)

        assert kept == {"size": 4097, "sha256": hashlib.sha256(data).hexdigest(), "path": "outputs/out"}
        assert (tmp_path / "outputs" / "out").read_bytes() == data

    def test_a_file_is_copied_and_one_that_is_there_already_stays(self, journal: Journal, tmp_path: Path) -> None:
        source = tmp_path / "spool"
        source.write_bytes(b"z" * 5000)

        first = journal.store_output("out", source)
        second = journal.store_output("out", tmp_path / first["path"])

        assert first == second
        assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["out"]

    def test_a_secret_in_a_file_that_is_there_already_is_hidden(self, journal: Journal, tmp_path: Path) -> None:
        journal.add_secret("confidential")
        (tmp_path / "outputs").mkdir()
        spool = tmp_path / "outputs" / "spool"
        spool.write_bytes(b"confidential" + b"z" * 5000)

        kept = journal.store_output("out", spool)

        assert (kept["path"], kept["size"]) == ("outputs/spool", 5003)
        assert spool.read_bytes() == b"***" + b"z" * 5000
        assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["spool"]

    def test_names_are_safe_and_never_collide(self, journal: Journal, tmp_path: Path) -> None:
        names = ["../../etc/passwd", "a b", "a/b", "a_b", "a_b-2", "", ".hidden", "é" * 300, "n" * 300]

        paths = [journal.store_output(name, b"x" * 5000)["path"] for name in names * 2]

        assert len(set(paths)) == len(paths)
        assert {pathlib.PurePath(path).parent.name for path in paths} == {"outputs"}
        assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == sorted(
            pathlib.PurePath(path).name for path in paths
        )

    def test_an_output_that_can_not_be_stored_says_why(self, journal: Journal, tmp_path: Path) -> None:
        (tmp_path / "outputs").write_text("in the way")

        assert "error" in journal.store_output("out", b"x" * 5000)
        assert "No such file" in journal.store_output("out", tmp_path / "missing")["error"]


def test_importing_the_journal_does_not_import_structlog() -> None:
    code = "import regisseur.actors.journal, sys; sys.exit('structlog' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_structlog_s_global_configuration_is_neither_used_nor_changed(tmp_path: Path) -> None:
    structlog = pytest.importorskip("structlog")
    structlog.configure(processors=[lambda *_: pytest.fail("the user's chain was called")])
    try:
        with Journal(tmp_path / "log.jsonl") as journal:
            journal.bind(a=1).event("x")
    finally:
        structlog.reset_defaults()

    assert len(lines_of(tmp_path / "log.jsonl")) == 1


def test_sigint_while_events_are_told_leaves_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    interrupted = 0

    def interrupt(_signal: int, _frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    with Journal(path) as journal:
        try:
            while interrupted < 200:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0002)  # in here: it may ring at once
                    while True:
                        journal.event("x", a=1)
                except KeyboardInterrupt:
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)

    seqs = [line["seq"] for line in lines_of(path)]

    assert seqs == list(range(1, len(seqs) + 1))
