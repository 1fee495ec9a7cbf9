"""The script that makes the stream of a Get, and how the stream is read."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.transfer_get import EDGE, checksums, foot_size, foot_status, get_step, head_at, head_size
from shells import SHELLS, Shell
from users import AS_ORDINARY_USER


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """A directory in which sh is that shell."""
    return Shell(request.param, tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The directory that names are relative to."""
    made = tmp_path / "home"
    (made / "d" / "e f").mkdir(parents=True)
    for name in ("d/-dash", "d/e f/with\nnewline", "1.log", "2.log", "*"):
        (made / name).write_text(name * 50)
    (made / "d" / "link").symlink_to("-dash")
    (made / "to d").symlink_to("d")
    return made


def run(
    shell: Shell, names: list[bytes], home: Path, *, checksum: bool = False, skip: int = 0, by: Sequence[str] = ()
) -> tuple[int, bytes, bytes]:
    line = shell.line(get_step(names, checksum=checksum, skip=skip))
    env = {**os.environ, "HOME": str(home)}
    done = subprocess.run([*by, "/bin/sh", "-c", line], cwd=home, capture_output=True, env=env)
    return done.returncode, done.stdout, done.stderr


def members(stream: bytes) -> set[str]:
    listing = foot_size(stream[-EDGE:])
    assert listing is not None
    with tarfile.open(fileobj=io.BytesIO(stream[EDGE : len(stream) - EDGE - listing]), ignore_zeros=True) as tar:
        return {member.name.removeprefix("./") for member in tar}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([b"d"], {"d", "d/-dash", "d/link", "d/e f", "d/e f/with\nnewline"}),
        ([b"d/e f/"], {"e f", "e f/with\nnewline"}),
        ([b"?.log"], {"1.log", "2.log"}),
        ([b"1.log", b"d/e f/*"], {"1.log", "with\nnewline"}),
        ([b"*"], {"*"}),
        ([b"~/1.log"], {"1.log"}),
        ([b"to d"], {"to d", "to d/-dash", "to d/link", "to d/e f", "to d/e f/with\nnewline"}),
        ([b"d/e f/.."], {"d", "d/-dash", "d/link", "d/e f", "d/e f/with\nnewline"}),
    ],
)
def test_names_and_patterns_bring_what_they_mean(
    names: list[bytes], expected: set[str], shell: Shell, home: Path
) -> None:
    status, stream, said = run(shell, names, home)

    assert (status, said, head_at(stream)) == (0, b"", 0)
    assert foot_status(stream[-EDGE:]) == 0
    assert members(stream) == expected


def test_the_head_tells_the_size_and_the_listing_the_checksums(shell: Shell, home: Path) -> None:
    status, stream, said = run(shell, [b"d"], home, checksum=True)

    listing = foot_size(stream[-EDGE:])
    assert listing is not None
    files = {b"d/-dash": b"d/-dash" * 50, b"d/e f/with\nnewline": b"d/e f/with\nnewline" * 50}
    assert (status, said) == (0, b"")
    assert head_size(stream[:EDGE]) == sum(map(len, files.values()))
    assert checksums(stream[len(stream) - EDGE - listing : len(stream) - EDGE]) == {
        name: hashlib.sha256(content).hexdigest().encode() for name, content in files.items()
    }


def test_what_has_come_already_is_left_out(shell: Shell, home: Path) -> None:
    whole = run(shell, [b"d", b"1.log"], home, checksum=True)[1]

    for skip in (1, 1000, len(whole) - EDGE - 1):
        status, rest, _ = run(shell, [b"d", b"1.log"], home, checksum=True, skip=skip)

        assert (status, rest) == (0, whole[:EDGE] + whole[EDGE + skip :])


def told(said: list[str], home: Path) -> bytes:
    return b"".join([f"regisseur: {text.format(home)}\n".encode() for text in said])


def test_what_is_missing_is_told_and_the_rest_is_sent(shell: Shell, home: Path) -> None:
    names = [b"none", b"1.log", b"*.none", b"d/e f"]
    expected = told(["there is no {}/none", "there is no {}/*.none"], home)

    status, stream, said = run(shell, names, home, checksum=True)

    assert (status, said) == (0, expected)
    assert members(stream) == {"1.log", "e f", "e f/with\nnewline"}
    assert head_size(stream[:EDGE]) == 50 * len("1.log" + "d/e f/with\nnewline")
    assert foot_status(stream[-EDGE:]) == 1
    assert run(shell, names, home, checksum=True, skip=1000) == (0, stream[:EDGE] + stream[EDGE + 1000 :], expected)


def test_what_can_not_be_read_is_told_and_the_rest_is_sent(shell: Shell, home: Path) -> None:
    (home / "1.log").chmod(0)

    status, stream, said = run(shell, [b"1.log", b"2.log"], home, by=AS_ORDINARY_USER)

    assert (status, foot_status(stream[-EDGE:])) == (0, 1)
    assert b"1.log: " in said
    assert members(stream) == {"2.log"}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([b"none"], ["there is no {}/none"]),
        ([b"*.none", b"none"], ["there is no {}/*.none", "there is no {}/none"]),
        ([b"1.log", b"/"], ["a whole file system can not be fetched"]),
    ],
)
def test_where_there_is_nothing_no_stream_is_written(
    names: list[bytes], said: list[str], shell: Shell, home: Path
) -> None:
    assert run(shell, names, home) == (1, b"", told(said, home))


# -- reading -----------------------------------------------------------------------------------------------------------

contents = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(str.encode), st.binary()
)


@given(contents)
def test_a_listing_of_sha256sum_is_read_whatever_the_names(files: dict[bytes, bytes]) -> None:
    expected = {
        name.removeprefix(b"./"): hashlib.sha256(content).hexdigest().encode() for name, content in files.items()
    }
    lines = []
    for name, content in files.items():
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\" if escaped != name else b""
        lines.append(mark + hashlib.sha256(content).hexdigest().encode() + b"  ./" + escaped)

    assert checksums(b"\n".join(lines)) == expected


def test_listings_of_other_programs_are_read() -> None:
    digest = b"0" * 64

    assert checksums(digest + b" *./a b\n" + digest + b" *./c") == {b"a b": digest, b"c": digest}
    assert checksums(b"123 4 ./a b\n5 6 ./c\nd") == {b"a b": b"123 4", b"c\nd": b"5 6"}
    assert checksums(b"") == {}


@given(st.binary(max_size=200))
def test_what_is_no_head_or_foot_is_not_taken_for_one(data: bytes) -> None:
    assert head_at(data) is None
    assert foot_size(data) is foot_status(data) is None


def test_a_head_may_stand_behind_what_startup_files_write() -> None:
    head = b"regisseur get %49d\n" % 12

    assert (head_at(b"Welcome!\n" + head), head_size(head), len(head)) == (9, 12, EDGE)
