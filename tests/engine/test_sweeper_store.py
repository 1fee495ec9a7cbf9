"""engine._store: what the sweeper's log survives, and how it says that it did not."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regisseur.engine import _store, _store_file
from regisseur.engine.sweep import (
    HashableDict,
    ParamSweeper,
    SweepStoreBusyError,
    SweepStoreCorruptError,
    SweepStoreError,
    SweepStoreMissingError,
    SweepStoreVersionError,
    SweepView,
)
from regisseur.protocols.records import decode_records, encode_record

ELEMENTS: list[Any] = [HashableDict(a=number, b=["x" * number]) for number in range(5)] + ["six", ("seven", 7)]

Picture = list[tuple[Any, str, str | None]]


def picture(sweeper: ParamSweeper | SweepView) -> Picture:
    """The state and reason of every element."""
    return [(each.combination, each.state, each.reason) for each in sweeper.statuses()]


class Crashed(BaseException):
    """Stands for the death of the process at this point."""


def a_life(directory: Path) -> list[tuple[int, Picture]]:
    """Use a sweeper in all ways; the answer is the size of the log, and what it must say, after each step."""
    sweeper = ParamSweeper(directory, ELEMENTS)
    steps: list[Callable[[], Any]] = [
        sweeper.get_next,
        lambda: sweeper.done(ELEMENTS[0]),
        lambda: sweeper.get_next_batch(3),
        lambda: sweeper.skip(ELEMENTS[1], "too hot"),
        lambda: sweeper.cancel(ELEMENTS[2], "node lost"),
        lambda: sweeper.done_batch([ELEMENTS[3], ELEMENTS[5]]),
        lambda: sweeper.skip(ELEMENTS[0]),
        sweeper.get_next,
        lambda: sweeper.reset(),
        lambda: sweeper.skip(ELEMENTS[6], "\u00e9"),
        lambda: sweeper.get_next_batch(2),
    ]
    log = directory / "sweep.log"
    moments = [(log.stat().st_size, picture(sweeper))]
    for step in steps:
        step()
        moments.append((log.stat().st_size, picture(sweeper)))
    return moments


def store_with(directory: Path, data: bytes) -> Path:
    directory.mkdir(parents=True)
    (directory / "sweep.log").write_bytes(data)
    return directory


class TestTornTails:
    @pytest.mark.slow
    def test_a_log_cut_off_at_any_byte_has_all_that_was_acknowledged_before(self, tmp_path: Path) -> None:
        moments = a_life(tmp_path / "whole")
        data = (tmp_path / "whole" / "sweep.log").read_bytes()

        for size in range(len(data) + 1):
            directory = store_with(tmp_path / "cut" / str(size), data[:size])
            kept, expected = max(
                [moment for moment in moments if moment[0] <= size] or moments[:1], key=lambda each: each[0]
            )
            sweeper = ParamSweeper(directory, ELEMENTS)

            assert picture(sweeper) == expected, size
            # An owner's record may stand whole before a claim that is torn; it does no harm.
            assert kept <= (directory / "sweep.log").stat().st_size <= max(size, moments[0][0])
            sweeper.done(ELEMENTS[4])
            assert picture(ParamSweeper(directory, ELEMENTS)) == picture(sweeper)

    @pytest.mark.parametrize("tail", [b"\0" * 5000, b"\xc5RGS garbage that is no record", b"x"])
    def test_what_a_power_cut_leaves_behind_the_last_record_is_cut_off(self, tmp_path: Path, tail: bytes) -> None:
        size, expected = a_life(tmp_path)[-1]
        with open(tmp_path / "sweep.log", "ab") as log:
            log.write(tail)

        assert expected == picture(ParamSweeper(tmp_path, ELEMENTS))
        assert size == (tmp_path / "sweep.log").stat().st_size

    def test_a_damaged_last_record_is_put_aside_before_it_is_cut_off(self, tmp_path: Path) -> None:
        moments = a_life(tmp_path)
        data = bytearray((tmp_path / "sweep.log").read_bytes())
        data[-1] ^= 1
        (tmp_path / "sweep.log").write_bytes(data)
        ParamSweeper(tmp_path, ELEMENTS)
        before, expected = moments[-2]

        assert data[before:] == (tmp_path / f"sweep.log.damaged-{before}").read_bytes()
        assert expected == picture(ParamSweeper(tmp_path, ELEMENTS))

    def test_a_torn_tail_that_another_process_leaves_behind_is_repaired_in_flight(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        sweeper.get_next()
        with open(tmp_path / "sweep.log", "ab") as log:
            log.write(encode_record("never finished")[:-3])

        assert list(sweeper.get_inprogress()) == [0]  # a look repairs nothing, it may be a write that is under way
        assert sweeper.get_next() == 1
        assert list(ParamSweeper(tmp_path, range(5)).get_inprogress()) == [0, 1]

    def test_a_view_leaves_a_torn_tail_alone(self, tmp_path: Path) -> None:
        _, expected = a_life(tmp_path)[-1]
        with open(tmp_path / "sweep.log", "ab") as log:
            log.write(encode_record("never finished")[:-3])
        data = (tmp_path / "sweep.log").read_bytes()

        assert sorted(expected, key=repr) == sorted(
            picture(SweepView(tmp_path)) + [each for each in expected if each[1] == "remaining" and each[2] is None],
            key=repr,
        )
        assert data == (tmp_path / "sweep.log").read_bytes()


class TestDamage:
    @pytest.mark.slow
    def test_a_changed_byte_anywhere_is_noticed_and_costs_at_most_the_last_record(self, tmp_path: Path) -> None:
        moments = a_life(tmp_path / "whole")
        data = (tmp_path / "whole" / "sweep.log").read_bytes()
        last = moments[-2][0]

        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 0x40
            directory = store_with(tmp_path / "damaged" / str(place), bytes(damaged))
            if place >= last:
                assert moments[-2][1] == picture(ParamSweeper(directory, ELEMENTS))
                continue
            with pytest.raises(SweepStoreCorruptError) as caught:
                ParamSweeper(directory, ELEMENTS)

            assert str(directory / "sweep.log") == caught.value.path
            assert max([size for size, _ in moments if size <= place] or [0]) <= caught.value.offset <= place
            assert damaged == (directory / "sweep.log").read_bytes()
            with pytest.raises(SweepStoreCorruptError):
                SweepView(directory)

    def test_what_is_sound_before_the_damage_can_be_kept_as_the_error_says(self, tmp_path: Path) -> None:
        moments = a_life(tmp_path)
        data = bytearray((tmp_path / "sweep.log").read_bytes())
        data[moments[6][0] + 3] ^= 1
        (tmp_path / "sweep.log").write_bytes(data)
        with pytest.raises(SweepStoreCorruptError, match="truncate -s") as caught:
            ParamSweeper(tmp_path)
        os.truncate(caught.value.path, caught.value.offset)

        assert moments[6][1] == picture(ParamSweeper(tmp_path, ELEMENTS))

    def test_damage_that_comes_while_a_sweeper_works_is_found_before_it_writes(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        other = ParamSweeper(tmp_path, range(5))
        sweeper.get_next()
        size = (tmp_path / "sweep.log").stat().st_size
        sweeper.done(0)
        sweeper.get_next()
        data = bytearray((tmp_path / "sweep.log").read_bytes())
        data[size + 20] ^= 1
        other_size = len(data)
        (tmp_path / "sweep.log").write_bytes(data)

        late = ParamSweeper.__new__(ParamSweeper)
        with pytest.raises(SweepStoreCorruptError):
            other.get_next()
        with pytest.raises(SweepStoreCorruptError):
            late.__init__(tmp_path, range(5))  # type: ignore[misc]  # as the constructor does
        assert other_size == (tmp_path / "sweep.log").stat().st_size

    def test_a_snapshot_is_never_taken_for_a_torn_tail(self, tmp_path: Path) -> None:
        ParamSweeper(tmp_path, ELEMENTS, save_sweeps=True)
        data = (tmp_path / "sweep.log").read_bytes()
        header = decode_records(data).offsets[1]

        for size in range(header, len(data)):
            (tmp_path / "sweep.log").write_bytes(data[:size])
            with pytest.raises(SweepStoreCorruptError, match="snapshot"):
                ParamSweeper(tmp_path)
            assert data[:size] == (tmp_path / "sweep.log").read_bytes()

    @pytest.mark.parametrize(
        "data",
        [
            b"Mon Jan  1 00:00:00 started\n",
            b"\0" * 100,
            encode_record({"another": "log"}),
            encode_record([0, "x", 1, 0]),
        ],
    )
    def test_a_file_that_is_no_log_of_a_sweeper_is_left_alone(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "sweep.log").write_bytes(data)

        for opened in (ParamSweeper, SweepView):
            with pytest.raises(SweepStoreCorruptError):
                opened(tmp_path)
        assert data == (tmp_path / "sweep.log").read_bytes()

    @pytest.mark.parametrize(
        "record",
        [
            "text",
            [],
            [99],
            [1, 7, [], 0.0],
            [6, 5, 0.0, [0], [], None],
            [7, -1, 0.0, [12345], [], None],
            [2, 3, ["x"], b"\0"],
            [[], 1],
        ],
    )
    def test_a_record_that_makes_no_sense_is_damage_though_its_checksum_is_right(
        self, tmp_path: Path, record: Any
    ) -> None:
        size = a_life(tmp_path)[-1][0]
        with open(tmp_path / "sweep.log", "ab") as log:
            log.write(encode_record(record))

        with pytest.raises(SweepStoreCorruptError, match=r"makes no sense|was expected") as caught:
            ParamSweeper(tmp_path)
        assert size == caught.value.offset

    def test_a_log_of_a_newer_release_is_refused_with_its_version(self, tmp_path: Path) -> None:
        (tmp_path / "sweep.log").write_bytes(encode_record([0, "regisseur sweep", 2, {"what": "ever"}]))

        with pytest.raises(SweepStoreVersionError, match="format 2, and this release reads format 1"):
            ParamSweeper(tmp_path)

    def test_a_store_that_is_removed_under_a_sweeper_is_missed(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(3))
        (tmp_path / "sweep.log").unlink()

        with pytest.raises(SweepStoreMissingError):
            sweeper.get_next()

    @pytest.mark.parametrize(
        "error",
        [
            SweepStoreError("p"),
            SweepStoreMissingError("p"),
            SweepStoreCorruptError("p", 3, "why"),
            SweepStoreVersionError("p", 2, 1),
            SweepStoreBusyError("p", 1.5),
        ],
    )
    def test_errors_can_be_pickled_and_are_never_silent(self, error: SweepStoreError) -> None:
        copy = pickle.loads(pickle.dumps(error))

        assert (type(error), vars(error), str(error)) == (type(copy), vars(copy), str(copy))
        assert " p" in str(error)


class TestSnapshots:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_store, "_PATIENCE", 10)

    def test_the_log_stays_small_however_long_it_is_used(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(20))
        largest = 0
        for _ in range(500):
            sweeper.cancel(sweeper.get_next())
            largest = max(largest, (tmp_path / "sweep.log").stat().st_size)

        assert largest < 6000

    def test_a_snapshot_says_all_that_the_log_said_and_others_notice_it(self, tmp_path: Path) -> None:
        expected = a_life(tmp_path / "whole")[-1][1]
        sweeper = ParamSweeper(tmp_path / "whole", ELEMENTS)
        other, view = ParamSweeper(tmp_path / "whole", ELEMENTS), SweepView(tmp_path / "whole")
        owners = [each.owner for each in sweeper.statuses()]
        times = [each.since for each in sweeper.statuses()]
        identity = (tmp_path / "whole" / "sweep.log").stat().st_ino
        sweeper._store.rewrite([])

        assert identity != (tmp_path / "whole" / "sweep.log").stat().st_ino
        for each in (sweeper, other, ParamSweeper(tmp_path / "whole", ELEMENTS)):
            assert expected == picture(each)
            assert owners == [status.owner for status in each.statuses()]
            assert times == [status.since for status in each.statuses()]
        assert picture(SweepView(tmp_path / "whole")) == picture(view)
        assert other.get_next() == expected[-3][0] or other.get_next() is None

    def test_what_was_done_before_it_was_skipped_is_known_after_a_snapshot(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(3))
        sweeper.done(0)
        sweeper.skip(0, "hot")
        sweeper.skip(1, "cold")
        sweeper._store.rewrite([])
        sweeper = ParamSweeper(tmp_path, range(3))

        assert picture(sweeper) == [(0, "skipped", "hot"), (1, "skipped", "cold"), (2, "remaining", None)]
        sweeper.reset()
        assert picture(sweeper) == [(0, "done", None), (1, "remaining", None), (2, "remaining", None)]

    @pytest.mark.parametrize("point", ["open", "write", "fsync 1", "rename", "fsync 2"])
    def test_a_crash_at_any_point_of_making_a_snapshot_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
    ) -> None:
        _, expected = a_life(tmp_path)[-1]
        sweeper = ParamSweeper(tmp_path, ELEMENTS)

        def crash(*_: Any, **__: Any) -> Any:
            raise Crashed

        class Torn:
            """A file of which half a write gets through."""

            def __init__(self, path: str, mode: str) -> None:
                self.file = open(path, mode)  # noqa: SIM115  # closed below

            def __enter__(self) -> Torn:
                return self

            def __exit__(self, *_: Any) -> None:
                self.file.close()

            def fileno(self) -> int:
                return self.file.fileno()

            def write(self, data: bytes) -> None:
                self.file.write(data[: len(data) // 2])
                self.file.flush()
                raise Crashed

        with monkeypatch.context() as patch:
            syncs: list[Callable[[int], Any]] = [os.fsync, crash] if point == "fsync 2" else [crash]
            if point == "open":
                patch.setattr(_store_file, "open", crash, raising=False)
            elif point == "write":
                patch.setattr(_store_file, "open", Torn, raising=False)
            elif point == "rename":
                patch.setattr(os, "rename", crash)
            else:
                patch.setattr(os, "fsync", lambda fd: syncs.pop(0)(fd))
            with pytest.raises(Crashed):
                sweeper._store.rewrite([])

        for each in (sweeper, ParamSweeper(tmp_path, ELEMENTS)):
            assert expected == picture(each)
            each.update()
        sweeper._store.rewrite([])
        assert expected == picture(ParamSweeper(tmp_path, ELEMENTS))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.lock", "sweep.log"]

    def test_a_full_disk_only_puts_a_snapshot_off(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sweeper = ParamSweeper(tmp_path, range(50))

        def full(*_: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", full)
            for number in range(30):
                assert sweeper.get_next() == number
                sweeper.cancel(number)
                sweeper.done(number)

        assert list(range(30)) == list(ParamSweeper(tmp_path, range(50)).get_done())
        assert not (tmp_path / "sweep.log.new").exists()

    def test_the_mode_of_the_log_is_kept(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        (tmp_path / "sweep.log").chmod(0o660)
        sweeper._store.rewrite([])

        assert (tmp_path / "sweep.log").stat().st_mode & 0o777 == 0o660


class TestDisk:
    def test_a_step_writes_a_few_bytes_however_many_combinations_there_are(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, ({"number": number} for number in range(20_000)))
        sweeper.get_next_batch(5_000)
        before = (tmp_path / "sweep.log").stat().st_size
        for _ in range(100):
            sweeper.done(sweeper.get_next())

        assert (tmp_path / "sweep.log").stat().st_size - before < 100 * 100

    def test_a_write_that_fails_half_way_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        other = ParamSweeper(tmp_path, range(5))
        sweeper.get_next()
        before = (tmp_path / "sweep.log").read_bytes()
        write = os.write

        def full(fd: int, data: bytes) -> int:
            if len(data) > 10:
                return write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for step in (sweeper.get_next, lambda: sweeper.done(0), lambda: other.get_next_batch(3)):
                with pytest.raises(OSError, match="No space left"):
                    step()

        assert before == (tmp_path / "sweep.log").read_bytes()
        assert [sweeper.get_next(), other.get_next()] == [1, 2]

    def test_done_and_skip_are_on_the_disk_when_they_return_and_claims_need_not_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        synced: list[int] = []
        real = os.fdatasync

        def fdatasync(fd: int) -> None:
            real(fd)
            synced.append(os.fstat(fd).st_size)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        sweeper.get_next()
        assert synced == []
        steps: list[Callable[[], None]] = [lambda: sweeper.done(0), lambda: sweeper.skip(1), sweeper.reset]
        for step in [*steps, steps[0]]:
            step()
            assert (tmp_path / "sweep.log").stat().st_size == synced[-1]
        assert len(synced) == 4

    def test_an_interrupt_between_writing_and_knowing_is_caught_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))

        def interrupted(_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(sweeper._store.table, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                sweeper.get_next()

        assert list(sweeper.get_inprogress()) == [0]
        assert sweeper.get_next() == 1

    def test_a_view_opens_nothing_for_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = a_life(tmp_path)[-1][1]
        (tmp_path / "sweep.lock").unlink()
        opened: list[int] = []
        real = os.open

        def watched(path: Any, flags: int, *rest: Any) -> int:
            opened.append(flags)
            return real(path, flags, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", watched)
            view = SweepView(tmp_path)
            view.statuses()

        assert opened == [os.O_RDONLY | os.O_CLOEXEC]
        assert [path.name for path in tmp_path.iterdir()] == ["sweep.log"]
        assert {each for each, *_ in picture(view)} <= {each for each, *_ in expected}

    def test_many_sweepers_that_come_and_go_leave_no_descriptors_open(self, tmp_path: Path) -> None:
        keep = ParamSweeper(tmp_path, range(5))
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(20):
            sweeper = ParamSweeper(tmp_path, range(5))
            sweeper._store.rewrite([])
            keep.update()
            del sweeper

        assert before == sorted(os.listdir("/proc/self/fd"))


class TestLock:
    def test_a_store_that_stays_locked_is_busy(self, tmp_path: Path) -> None:
        sweeper = ParamSweeper(tmp_path, range(5), lock_timeout=0.05)
        with open(tmp_path / "sweep.lock", "rb+") as other:
            fcntl.flock(other, fcntl.LOCK_EX)

            with pytest.raises(SweepStoreBusyError, match=r"for 0\.05 s"):
                sweeper.get_next()
            assert len(sweeper.get_remaining()) == 5  # a look needs no lock
        assert sweeper.get_next() == 0

    def test_a_signal_handler_may_look_but_not_touch(self, tmp_path: Path) -> None:
        sweeper, other = ParamSweeper(tmp_path, range(5)), ParamSweeper(tmp_path, range(5))

        with sweeper._store.locked():
            for each in (sweeper, other):
                assert "5 remaining" in str(each)
                with pytest.raises(RuntimeError, match="signal handler"):
                    each.get_next()

        assert [sweeper.get_next(), other.get_next()] == [0, 1]

    def test_new_records_begin_where_the_last_ended(self, tmp_path: Path) -> None:
        a_life(tmp_path)
        found = decode_records((tmp_path / "sweep.log").read_bytes())

        assert found.torn == ""
        assert found.values[0][:3] == [0, "regisseur sweep", 1]


class TestRemoteFileSystems:
    @pytest.mark.parametrize(
        ("kind", "remote"), [("nfs4", True), ("nfs", True), ("fuse.sshfs", True), ("ext4", False), ("tmpfs", False)]
    )
    def test_they_are_known_by_the_table_of_mounts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, remote: bool
    ) -> None:
        device = tmp_path.stat().st_dev
        line = f"36 35 {os.major(device)}:{os.minor(device)} / /home rw,noatime shared:1 - {kind} server:/home rw\n"
        (tmp_path / "mounts").write_text("30 1 9:99 / / rw - nfs x rw\n" + line)
        real = open
        monkeypatch.setattr(_store_file, "open", lambda _, **how: real(tmp_path / "mounts", **how), raising=False)

        assert remote == _store_file.is_remote(str(tmp_path))

    def test_every_record_leaves_the_machine_and_every_operation_looks_for_those_of_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_store, "is_remote", lambda _: True)
        sweeper = ParamSweeper(tmp_path, range(5))
        synced: list[int] = []
        opened: list[Any] = []
        sync, opens = os.fdatasync, os.open
        monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(fd) or sync(fd))  # type: ignore[func-returns-value]  # None is false
        monkeypatch.setattr(os, "open", lambda path, *how: opened.append(path) or opens(path, *how))  # type: ignore[func-returns-value]  # the same
        sweeper.get_next()

        assert len(synced) == 1
        assert [str(tmp_path / "sweep.log")] == opened
        assert not _store_file.is_remote("/proc")

    def test_a_stale_handle_means_that_the_log_was_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweeper = ParamSweeper(tmp_path, range(5))
        stale, fstat = sweeper._store.log._fd, os.fstat

        def of(fd: int) -> os.stat_result:
            if fd == stale:
                raise OSError(errno.ESTALE, "Stale file handle")
            return fstat(fd)

        ParamSweeper(tmp_path, range(5))._store.rewrite([])
        keep = os.open(tmp_path / "sweep.log", os.O_RDONLY)  # so that the new file does not get the old number
        monkeypatch.setattr(os, "fstat", of)

        assert sweeper.get_next() == 0
        os.close(keep)
