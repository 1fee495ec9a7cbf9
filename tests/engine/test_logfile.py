"""Reading the log of a run: torn lines are reported, what is no log is refused, filters, following, text for people."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regisseur.actors.journal import Journal
from regisseur.engine.logfile import LogError, LogRecord, TornLine, format_record, level_number, read_log


def line(seq: int, event: str = "a.b", **fields: Any) -> bytes:
    return json.dumps({"seq": seq, "ts": 10.5, "event": event, "pid": 1, **fields}, separators=(",", ":")).encode()


def read(path: Path, data: bytes, **options: Any) -> tuple[list[LogRecord], list[TornLine]]:
    path.write_bytes(data)
    torn: list[TornLine] = []
    return list(read_log(path, on_torn=torn.append, **options)), torn


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


class TestTorn:
    def test_what_a_journal_writes_is_read_back(self, log: Path) -> None:
        with Journal(log) as journal:
            journal.event("x", level="error", a=[1, {"b": None}])
            journal.bind(actor="Process[1]").event("y")

        first, second = read_log(log)

        assert (first.line, first.seq, first.event, first.level, first.actor) == (1, 1, "x", "error", None)
        assert first.fields == {"level": "error", "a": [1, {"b": None}]}
        assert (second.line, second.seq, second.event, second.level, second.actor) == (2, 2, "y", "info", "Process[1]")

    def test_a_torn_last_line_is_reported(self, log: Path) -> None:
        records, torn = read(log, line(1) + b"\n" + line(2)[:20])

        assert [record.seq for record in records] == [1]
        assert torn == [TornLine(str(log), 2, line(2)[:20], at_end=True)]

    def test_a_torn_line_in_the_middle_is_reported_and_what_follows_is_read(self, log: Path) -> None:
        records, torn = read(log, line(1) + b"\n" + line(2)[:20] + b"\n" + line(3) + b"\n")

        assert [(record.seq, record.line) for record in records] == [(1, 1), (3, 3)]
        assert torn == [TornLine(str(log), 2, line(2)[:20], at_end=False)]

    def test_a_whole_record_right_behind_a_torn_one_is_read(self, log: Path) -> None:
        records, torn = read(log, line(1)[:25] + line(2) + b"\n")

        assert [record.seq for record in records] == [2]
        assert [piece.data for piece in torn] == [line(1)[:25]]

    def test_an_object_inside_of_a_torn_line_is_no_record(self, log: Path) -> None:
        records, torn = read(log, line(1) + b"\n" + line(2, inner={"seq": 3})[:-1])

        assert [record.seq for record in records] == [1]
        assert len(torn) == 1

    def test_zeros_that_a_crashed_file_system_left_are_reported(self, log: Path) -> None:
        records, torn = read(log, line(1) + b"\n" + bytes(50) + line(2) + b"\n" + bytes(30))

        assert [record.seq for record in records] == [1, 2]
        assert [(piece.line, piece.at_end) for piece in torn] == [(2, False), (3, True)]

    def test_without_a_callback_the_logger_warns(self, log: Path, caplog: pytest.LogCaptureFixture) -> None:
        log.write_bytes(line(1) + b"\n" + line(2)[:20])

        assert [record.seq for record in read_log(log)] == [1]
        assert [entry.getMessage() for entry in caplog.records] == [f"{log}: line 2 is torn after 20 bytes, at the end"]

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_a_log_cut_anywhere_gives_every_whole_line(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        whole = b"".join(line(n, text="é" * n, nested={"seq": n}) + b"\n" for n in range(1, 8))
        cut = data.draw(st.integers(0, len(whole)))
        path = tmp_path_factory.getbasetemp() / "cut.jsonl"

        records, torn = read(path, whole[:cut])

        complete = whole[:cut].count(b"\n")
        missing_newline_only = whole[cut : cut + 1] == b"\n"
        assert [record.seq for record in records] == list(range(1, complete + 1 + missing_newline_only))
        assert len(torn) == (not whole[:cut].endswith(b"\n") and cut > 0 and not missing_newline_only)


class TestNotALog:
    @pytest.mark.parametrize(
        ("data", "number"),
        [
            (b"hello\n", 1),
            (b"\x7fELF\x02\x01\x01", 1),
            (b"[1, 2]\n", 1),
            (b"3\n", 1),
            (b'{"name": "x"}\n', 1),
            (b'{\n  "name": "x"\n}\n', 2),
            (b'{"seq":"1","ts":1,"event":"a","pid":1}\n', 1),
            (b'{"seq":1,"ts":1,"pid":1}\n', 1),
            (b'{"seq":1,"ts":1e300,"event":"a","pid":1}\n', 1),
            (line(1) + b"\nTraceback (most recent call last):\n", 2),
        ],
    )
    def test_what_is_no_log_is_refused_with_its_line(self, log: Path, data: bytes, number: int) -> None:
        with pytest.raises(LogError) as caught:
            read(log, data)

        assert (caught.value.path, caught.value.line) == (str(log), number)
        assert str(caught.value).startswith(f"{log}: line {number}: ")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300))
    def test_no_bytes_raise_anything_else(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any.jsonl"
        try:
            records, _ = read(path, data)
        except LogError:
            return
        assert all(isinstance(record, LogRecord) for record in records)

    def test_an_empty_log_has_no_records(self, log: Path) -> None:
        assert read(log, b"") == ([], [])

    def test_a_missing_file_raises_as_open_does(self, log: Path) -> None:
        with pytest.raises(FileNotFoundError):
            next(read_log(log))


class TestFilters:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        path = tmp_path / "log.jsonl"
        lines = [
            line(1, "process.started", actor="Process[1]"),
            line(2, "process.ended", actor="Process[2]", level="warning"),
            line(3, "engine.failed", level="error"),
            line(4, "odd", level="shouting"),
        ]
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    @pytest.mark.parametrize(
        ("options", "seqs"),
        [
            ({"actor": "Process[1]"}, [1]),
            ({"actor": "Process*"}, [1, 2]),
            ({"actor": "Host"}, []),
            ({"event": "process.*"}, [1, 2]),
            ({"event": "engine.failed"}, [3]),
            ({"level": "warning"}, [2, 3]),
            ({"level": "INFO"}, [1, 2, 3, 4]),
            ({"level": "debug", "event": "process.*", "actor": "Process[2]"}, [2]),
        ],
    )
    def test_records_are_chosen_by_actor_level_and_event(
        self, log: Path, options: dict[str, str], seqs: list[int]
    ) -> None:
        assert [record.seq for record in read_log(log, **options)] == seqs  # type: ignore[arg-type]  # all are text

    def test_an_unknown_level_is_an_error_that_lists_them(self, log: Path) -> None:
        with pytest.raises(ValueError, match="no level 'loud': use one of critical"):
            list(read_log(log, level="loud"))

    def test_levels_have_the_numbers_of_logging(self) -> None:
        assert (level_number("debug"), level_number("Warning")) == (10, 30)


class TestFollowing:
    def test_lines_that_come_later_are_yielded_until_the_run_has_ended(self, log: Path) -> None:
        with Journal(log) as journal:
            journal.event("first")
            ended = threading.Event()
            records = read_log(log, follow=True, ended=ended.is_set, poll=0.001)

            assert next(records).event == "first"
            journal.event("second")
            assert next(records).event == "second"
            journal.event("third")
            ended.set()
            assert [record.event for record in records] == ["third"]

    def test_what_is_written_just_before_the_end_is_still_read(self, log: Path) -> None:
        with Journal(log) as journal:

            def ended() -> bool:
                journal.event("last")  # after the reader saw nothing new, and before it learns of the end
                return True

            assert [record.event for record in read_log(log, follow=True, ended=ended)] == ["last"]

    def test_half_a_line_waits_for_its_other_half(self, log: Path) -> None:
        log.write_bytes(line(1)[:9])
        calls = 0

        def ended() -> bool:
            nonlocal calls
            calls += 1
            if calls == 1:
                with log.open("ab") as file:
                    file.write(line(1)[9:] + b"\n")
            return calls == 2

        def unexpected(torn: TornLine) -> None:
            pytest.fail(str(torn))

        records = read_log(log, follow=True, ended=ended, on_torn=unexpected, poll=0.001)

        assert [record.seq for record in records] == [1]

    def test_a_log_that_shrinks_is_an_error(self, log: Path) -> None:
        log.write_bytes(line(1) + b"\n")
        records: Iterator[LogRecord] = read_log(log, follow=True, poll=0.001)
        next(records)
        log.write_bytes(b"")

        with pytest.raises(LogError, match="became shorter"):
            next(records)


class TestForPeople:
    RECORD = LogRecord(
        1, 1763692310.529, "process.ended", 7, 42, {"actor": "P[1]", "level": "warning", "status": 3, "cmd": "a b"}
    )

    def test_a_record_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "localtime", time.gmtime)

        expected = '2025-11-21 02:31:50.529 WARNING process.ended pid=42 actor=P[1] status=3 cmd="a b"'
        assert format_record(self.RECORD) == expected

    def test_colours_are_optional_and_change_nothing_else(self) -> None:
        plain = format_record(self.RECORD)
        coloured = format_record(self.RECORD, colour=True)

        assert "\x1b[" not in plain
        for word in plain.split():
            assert word in coloured
        assert "\x1b[" in coloured

    def test_control_characters_can_not_steer_the_terminal(self) -> None:
        record = LogRecord(1, 0.0, "e\x1b", 1, 1, {"a\n": "\x1b[2J", "b": ["\x9b", {"k": "\u202e"}], "c": "two\nlines"})

        assert format_record(record, colour=False).isprintable()

    def test_the_line_of_the_log_can_be_had_again(self) -> None:
        assert self.RECORD.to_dict() == {"seq": 7, "ts": 1763692310.529, "event": "process.ended", "pid": 42} | dict(
            self.RECORD.fields
        )
