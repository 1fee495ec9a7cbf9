"""Headers of tar streams: what tarfile reads is what was written; and so does tar(1)."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from regisseur.protocols.transfer_tar import BLOCK, DIRECTORY, END, FILE, LINK, header, padding

names = st.binary(min_size=1, max_size=300).map(lambda name: name.replace(b"\0", b"0").strip(b"/") or b"n")
times = st.integers(-(10**18), 5 * 10**18)


def exact(member: tarfile.TarInfo) -> int:
    text = member.pax_headers.get("mtime")
    if text is None:
        return int(member.mtime) * 10**9
    seconds, _, fraction = text.partition(".")
    sign = -1 if text.startswith("-") else 1
    return int(seconds) * 10**9 + sign * int(fraction.ljust(9, "0"))


@given(name=names, mode=st.integers(0, 0o7777), time=times, content=st.binary(max_size=1000))
@example(name=b"x" * 100, mode=0, time=-1, content=b"")
@example(name=b"x" * 101, mode=0, time=-1_500_000_000, content=b"")
@example(name=b"x", mode=0o644, time=-500_000_000, content=b"x" * 512)
def test_a_file_is_read_as_it_was_written(name: bytes, mode: int, time: int, content: bytes) -> None:
    stream = header(name, FILE, mode, time, size=len(content)) + content + padding(len(content)) + END

    with tarfile.open(fileobj=io.BytesIO(stream), encoding="utf-8", errors="surrogateescape") as tar:
        (member,) = tar.getmembers()
        read = tar.extractfile(member)

    assert read is not None
    assert os.fsencode(member.name) == name.rstrip(b"/")
    assert (member.mode, exact(member), member.isfile()) == (mode, time, True)


@given(name=names, link=names)
def test_links_and_directories_are_read_as_they_were_written(name: bytes, link: bytes) -> None:
    stream = header(name, LINK, 0o777, 0, link=link) + header(name, DIRECTORY, 0o755, 10**9) + END

    with tarfile.open(fileobj=io.BytesIO(stream), encoding="utf-8", errors="surrogateescape") as tar:
        first, second = tar.getmembers()

    assert (first.issym(), os.fsencode(first.linkname)) == (True, link)
    assert (second.isdir(), os.fsencode(second.name)) == (True, name)


def test_a_size_beyond_octal_digits_is_read() -> None:
    block = header(b"huge", FILE, 0o600, 0, size=1 << 40)

    assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").size == 1 << 40


def test_all_is_made_of_blocks() -> None:
    for length in (1, 100, 101, 1000):
        assert len(header(b"x" * length, FILE, 0, 1)) % BLOCK == 0
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def test_tar_takes_all_kinds_of_names_and_times(tmp_path: Path) -> None:
    wanted = [b"plain", b"with\nnewline", b"\xff\xfe", b"long" * 60, b"-dash", "é".encode()]
    stream = b"".join(header(name, FILE, 0o640, 10**18 + 123_456_789) for name in wanted) + END

    subprocess.run(["tar", "-xpof", "-"], input=stream, cwd=tmp_path, check=True)

    assert sorted(os.listdir(os.fsencode(tmp_path))) == sorted(wanted)
    assert {os.stat(path).st_mtime_ns for path in tmp_path.iterdir()} == {10**18 + 123_456_789}
