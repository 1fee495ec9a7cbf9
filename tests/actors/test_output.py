"""Output: the same bytes in memory and in a file, bounded memory, and nothing lost when the disk is full."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.actors._output import Output

Pipe = list[int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """The reading and the writing end of a pipe; whoever closes one takes it out."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "outputs" / "stdout")


def no_spool() -> str:
    pytest.fail("nothing was to be spooled")


class FullDisk:
    """Lets `room` bytes through to files, and then refuses as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self.really_write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: memoryview) -> int:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return self.really_write(descriptor, data)
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.really_write(descriptor, data[: self.room])
        self.room -= written
        return written


# -- in memory and beyond ----------------------------------------------------------------------------------------------


def test_an_output_up_to_the_limit_stays_in_memory() -> None:
    output = Output(10, no_spool)
    for piece in (b"01234", b"", b"56789"):
        output.append(piece)

    assert (len(output), output.read(), output.spooled, output.path) == (10, b"0123456789", False, None)


def test_beyond_the_limit_all_of_it_is_in_the_file(file: str) -> None:
    output = Output(10, file)
    for piece in (b"01234", b"56789", b"x", b"y"):
        output.append(piece)

    assert output.spooled
    assert file == output.path
    assert Path(file).read_bytes() == b"0123456789xy" == output.read()
    assert len(output) == 12
    output.close()


def test_the_file_is_for_its_owner_alone_and_not_inherited(file: str) -> None:
    os.makedirs(os.path.dirname(file))
    Path(file).touch(0o666)  # as if made before by somebody careless
    output = Output(0, file)
    output.append(b"secret")

    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert not os.get_inheritable(output._file)
    output.close()


def test_the_place_of_the_file_may_be_asked_for_when_it_is_needed(tmp_path: Path) -> None:
    asked = []

    def place() -> str:
        asked.append(True)
        return str(tmp_path / "here")

    output = Output(3, place)
    output.append(b"123")
    assert not asked
    output.append(b"4")
    output.append(b"5")

    assert asked == [True]
    assert (tmp_path / "here").read_bytes() == b"12345"
    output.close()


def test_a_file_with_contents_is_never_overwritten(file: str) -> None:
    os.makedirs(os.path.dirname(file))
    for name in (file, f"{file}.1"):
        Path(name).write_bytes(b"of an earlier run")
    output = Output(0, file)
    output.append(b"new")

    assert f"{file}.2" == output.path
    assert Path(file).read_bytes() == b"of an earlier run"
    assert Path(f"{file}.2").read_bytes() == b"new"
    output.close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    (tmp_path / "link").symlink_to(target)
    output = Output(0, str(tmp_path / "link"))
    output.append(b"data")

    assert output.error is not None
    assert output.error.errno == errno.ELOOP
    assert target.read_bytes() == b""


def test_a_view_may_be_given_and_its_memory_used_again() -> None:
    buffer = bytearray(b"first")
    output = Output(100, no_spool)
    output.append(memoryview(buffer))
    buffer[:] = b"other"

    assert output.read() == b"first"


def test_an_output_takes_next_to_no_memory_while_it_is_empty() -> None:
    assert sys.getsizeof(Output(100, no_spool)) < 150


def test_many_small_pieces_do_not_take_more_memory_than_they_hold() -> None:
    output = Output(1 << 20, no_spool)
    for _ in range(200_000):
        output.append(b"x")

    assert len(output._chunks) < 10
    assert output.read() == b"x" * 200_000


def test_spooling_gives_the_memory_back(file: str) -> None:
    output = Output(1 << 20, file)
    output.append(b"x" * (1 << 20))
    output.text()
    output.append(b"y")

    assert not output._chunks
    assert output._decoded == (0, "")
    output.close()


def test_everything_stays_readable_after_close_and_the_descriptor_is_released(file: str) -> None:
    output = Output(2, file)
    output.append(b"abc")
    descriptor = output._file
    output.close()
    output.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)

    assert (output.read(), output.text()) == (b"abc", "abc")


def test_what_comes_after_close_is_counted_as_lost() -> None:
    output = Output(100, no_spool)
    output.append(b"abc")
    output.close()
    output.append(b"de")

    assert (output.read(), output.lost) == (b"abc", 2)


def test_clear_removes_the_file_and_begins_anew(file: str) -> None:
    output = Output(2, file)
    output.append(b"abc")
    output.close()
    output.clear()

    assert not os.path.exists(file)
    assert (len(output), output.read(), output.text(), output.spooled) == (0, b"", "", False)

    output.append(b"defg")
    assert Path(file).read_bytes() == b"defg" == output.read()
    output.clear()


# -- the ways to read --------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 100), st.integers(-1, 200))
def test_all_ways_to_read_agree_wherever_the_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], limit: int, number: int
) -> None:
    whole = b"".join(pieces)
    output = Output(limit, str(tmp_path_factory.mktemp("spool") / "file"))
    for piece in pieces:
        output.append(piece)
    output.close()

    assert whole == output.read()
    assert len(whole) == len(output)
    assert (len(whole) > limit) == output.spooled
    assert whole.decode("utf-8", "surrogateescape") == output.text()
    assert hashlib.sha256(whole).hexdigest() == output.digest()
    assert whole[: max(0, number)] == output.head(number)
    assert (whole[-number:] if number > 0 else b"") == output.tail(number)
    assert whole[max(0, number) :] == b"".join(output.iter_chunks(max(0, number)))


def test_a_large_file_is_read_in_blocks(file: str) -> None:
    output = Output(0, file)
    output.append(b"x" * (3 << 20))

    assert [len(chunk) for chunk in output.iter_chunks()] == [1 << 20] * 3
    assert [len(chunk) for chunk in output.iter_chunks((3 << 20) - 5)] == [5]
    output.close()


@given(st.text(max_size=60), st.data(), st.sampled_from([5, 1000]))
def test_text_that_is_looked_at_while_it_comes_grows_only_at_its_end(
    tmp_path_factory: pytest.TempPathFactory, text: str, data: st.DataObject, limit: int
) -> None:
    raw = text.encode("utf-8", "surrogatepass") + data.draw(st.binary(max_size=5))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    output = Output(limit, str(tmp_path_factory.mktemp("spool") / "file"))
    seen = ""
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        output.append(raw[start:end])
        assert output.text().startswith(seen)
        seen = output.text()
    output.close()

    assert raw.decode("utf-8", "surrogateescape") == output.text()


def test_a_character_cut_in_two_is_held_back_until_it_is_whole() -> None:
    output = Output(100, no_spool)
    seen = []
    for piece in (b"caf\xc3", b"\xa9", b"\xc3"):
        output.append(piece)
        seen.append(output.text())
    output.close()

    assert seen == ["caf", "café", "café"]
    assert output.text() == "café\udcc3"


def test_text_is_decoded_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(1000, no_spool)
    output.append(b"a" * 100)
    decoded = []
    really_decode = codecs.utf_8_decode

    def decode(data: bytes, errors: str, final: bool) -> tuple[str, int]:
        decoded.append(len(data))
        return really_decode(data, errors, final)

    monkeypatch.setattr(codecs, "utf_8_decode", decode)
    first = output.text()
    assert output.text() is first
    output.append(b"b" * 10)
    output.text()

    assert decoded == [100, 10]


def test_a_file_that_was_cut_or_removed_is_an_error_that_names_it(file: str) -> None:
    output = Output(0, file)
    output.append(b"0123456789")
    os.truncate(file, 4)
    with pytest.raises(OSError, match="ends after 4 of 10 bytes"):
        output.read()
    os.unlink(file)
    with pytest.raises(FileNotFoundError, match=file):
        output.text()
    output.close()


def test_readers_always_see_a_beginning_of_the_output_while_it_is_written_and_spooled(file: str) -> None:
    whole = bytes(range(256)) * 4000
    output = Output(len(whole) // 2, file)
    wrong: list[str] = []
    ready = threading.Barrier(4)
    finished = threading.Event()

    def look() -> None:
        ready.wait()
        while True:
            last = finished.is_set()
            seen = output.read()
            text = output.text()
            if not whole.startswith(seen) or not whole.decode("utf-8", "surrogateescape").startswith(text):
                wrong.append(f"{len(seen)} bytes, {len(text)} characters")
            if last:
                return

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    ready.wait()
    for start in range(0, len(whole), 7777):
        output.append(whole[start : start + 7777])
    output.close()
    finished.set()
    for reader in readers:
        reader.join()

    assert not wrong
    assert whole == output.read()


# -- straight from a pipe ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 3, 1000])
def test_splice_moves_a_pipe_to_its_end_whether_spooled_or_not(pipe: Pipe, file: str, limit: int) -> None:
    output = Output(limit, file)
    output.append(b"first,")
    os.write(pipe[1], b"then this")
    os.close(pipe.pop())
    moved: list[int] = []
    while not moved or moved[-1]:
        moved.append(output.splice_from(pipe[0], 5))

    assert moved == [5, 4, 0]
    assert output.read() == b"first,then this"
    assert len(output) == 15
    output.append(b".")
    assert output.read() == b"first,then this."
    output.close()


@pytest.mark.parametrize("limit", [0, 1000])
def test_splice_from_an_empty_pipe_says_so_as_read_does(pipe: Pipe, file: str, limit: int) -> None:
    os.set_blocking(pipe[0], False)
    output = Output(limit, file)
    output.append(b"first")
    with pytest.raises(BlockingIOError):
        output.splice_from(pipe[0], 5)

    assert output.read() == b"first"
    output.close()


def test_splice_does_not_mix_what_it_moves_with_what_it_moved_before(pipe: Pipe) -> None:
    output = Output(100, no_spool)
    for piece in (b"first,", b"second,"):
        os.write(pipe[1], piece)
        output.splice_from(pipe[0], 50)

    assert output.read() == b"first,second,"


# -- a full disk -------------------------------------------------------------------------------------------------------


def test_no_room_to_begin_a_file_leaves_all_in_memory_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    FullDisk(monkeypatch, room=4)
    output = Output(8, file)
    for piece in (b"01234", b"56789", b"abc"):
        output.append(piece)

    assert (output.read(), output.text(), output.spooled) == (b"01234567", "01234567", False)
    assert output.error is not None
    assert (output.error.errno, output.lost) == (errno.ENOSPC, 5)
    assert not os.path.exists(file)


def test_no_more_room_in_the_file_keeps_what_is_there_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch, file: str, pipe: Pipe
) -> None:
    FullDisk(monkeypatch, room=7)
    output = Output(2, file)
    os.write(pipe[1], b"and more")
    for piece in (b"0123", b"4567", b"89"):
        output.append(piece)
    moved = output.splice_from(pipe[0], 100)

    assert (output.read(), len(output), moved) == (b"0123456", 7, 8)
    assert output.error is not None
    assert (output.error.errno, output.lost) == (errno.ENOSPC, 1 + 2 + 8)
    output.close()


def test_a_real_full_device_raises_nothing() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    output = Output(2, "/dev/full/file")
    output.append(b"12")
    output.append(b"345")

    assert output.error is not None
    assert (output.read(), output.lost) == (b"12", 3)


def test_a_place_that_can_not_be_named_loses_nothing_that_is_held() -> None:
    def broken() -> str:
        raise ValueError("no run directory")

    output = Output(2, broken)
    output.append(b"12")
    output.append(b"345")

    assert output.read() == b"12"
    assert "no run directory" in str(output.error)
    assert output.lost == 3
