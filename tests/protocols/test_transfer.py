"""The scripts that put files on a host, by the shells that there are; and what they answer."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regisseur.protocols.shell_line import CommandError
from regisseur.protocols.transfer import (
    Answers,
    Target,
    answers,
    ask_step,
    discard_step,
    octal,
    pack_step,
    part_step,
)
from regisseur.protocols.transfer_tar import DIRECTORY, END, FILE, header, padding
from shells import SHELLS, Shell


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """A directory in which sh is that shell."""
    return Shell(request.param, tmp_path)


TOOLS = [
    *("awk", "cat", "chmod", "cmp", "dd", "find", "grep", "mkdir", "mv", "readlink", "rm", "rmdir", "sed"),
    *("sha256sum", "sort", "stat", "tar", "touch"),
]


def run(shell: Shell, line: str, given: bytes, home: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line as a host would; with busybox, by its own tools."""
    path = os.environ["PATH"]
    if shell.name == "busybox":
        tools = Path(shell.path).parent
        for name in TOOLS:
            if not (tools / name).is_symlink():
                (tools / name).symlink_to(os.path.realpath(shell.path))
        path = str(tools)
    argv = ["/bin/sh", "-c", shell.line(line)]
    return subprocess.run(argv, input=given, cwd=home, env={"PATH": path, "HOME": str(home)}, capture_output=True)


def pack(files: dict[bytes, bytes], *, sums: bool = False, last: bool = True, extra: bytes = b"") -> bytes:
    stream = b""
    for name, content in files.items():
        stream += header(b"n/" + name, FILE, 0o640, 10**18, size=len(content)) + content + padding(len(content))
    stream += extra
    if last:
        controls = {b"sizes": sorted(len(content) for content in files.values())}
        lines = {name: b"".join(b"%d\n" % size for size in sizes) for name, sizes in controls.items()}
        if sums:
            lines[b"sha256"] = b"".join(
                sorted(hashlib.sha256(content).hexdigest().encode() + b"\n" for content in files.values())
            )
        for name, content in lines.items():
            stream += header(name, FILE, 0o600, 0, size=len(content)) + content + padding(len(content))
    return stream + END


FILES = {b"a": b"1", b"with\nnewline": b"22", b"-dash": b"", b".hidden": b"3", b"\xff\xfe": b"4", b"d/e/f": b"5"}


def found(place: Path) -> dict[bytes, bytes]:
    names = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return {os.fsencode(path.relative_to(place)): path.read_bytes() for path in names}


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("count", [1, 150])
def test_a_pack_is_unpacked_checked_and_moved(count: int, sums: bool, shell: Shell, tmp_path: Path) -> None:
    files = FILES | {b"f %d" % number: b"%d" % number for number in range(count)}
    home = tmp_path / "home"
    home.mkdir()
    target = Target("1a", b"-to here", several=True, create=True)
    line = pack_step(target, "", keep=False, last=True)

    for _ in range(2):  # onto nothing, and onto what is there
        done = run(shell, line, pack(files, sums=sums), home)

        assert (done.returncode, done.stdout, done.stderr) == (0, b"at d\n", b"")
        assert found(home) == {b"-to here/" + name: content for name, content in files.items()}


def test_what_has_come_in_another_size_or_content_is_not_moved(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    good = {b"a": b"1", b"b": b"2"}
    line = pack_step(Target("1a", b".", several=True), "", keep=False, last=True)

    shorter = run(shell, line, pack(good).replace(b"1\n1\n", b"1\n2\n"), home)
    other = run(shell, line, pack(good, sums=True).replace(b"2" + padding(1), b"X" + padding(1)), home)

    assert (shorter.returncode, other.returncode) == (1, 1)
    assert b"has not the sizes of what was sent" in shorter.stderr
    assert b"another checksum: " in other.stderr
    assert b" n/b\n" in other.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("destination", "place", "at"),
    [(b"new", b"new", "f"), (b"there", b"there/a", "d"), (b"file", b"file", "f"), (b"link", b"file", "f")],
)
def test_a_single_file_takes_the_name_of_what_is_no_directory(
    destination: bytes, place: bytes, at: str, shell: Shell, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "there").mkdir(parents=True)
    (home / "file").write_text("old")
    (home / "link").symlink_to("file")
    line = pack_step(Target("1a", destination, name=b"a"), "", keep=False, last=True)

    done = run(shell, line, pack({b"a": b"new"}), home)

    assert (done.returncode, answers(done.stdout).place, done.stderr) == (0, at, b"")
    assert found(home)[place] == b"new"
    assert (home / "link").is_symlink()


def test_a_large_file_comes_in_parts_and_goes_on_where_it_was(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    content = os.urandom(200_000)
    target = Target("1a", b"to", name=b"d")
    first = header(b"m0", FILE, 0o600, 10**18 + 10**9)
    assert run(shell, pack_step(target, "", keep=True, last=False), first + END, home).returncode == 0
    part = {"number": 0, "path": b"d/x y", "size": len(content), "mode": 0o640}

    broken = run(shell, part_step(target, "f", **part, units=0), content[:150_000], home)  # type: ignore[arg-type]  # one dict

    assert broken.returncode == 1
    assert b"has 150000 bytes, and should have 200000" in broken.stderr
    assert answers(run(shell, ask_step(target, "f", 0, b"d/x y"), b"", home).stdout) == Answers("f", 150_000)
    units = 150_000 >> 16
    rest = run(shell, part_step(target, "f", **part, units=units), content[units << 16 :], home)  # type: ignore[arg-type]  # one dict
    assert (rest.returncode, rest.stderr) == (0, b"")
    assert answers(run(shell, ask_step(target, "f", 0, b"d/x y"), b"", home).stdout) == Answers("f", None)
    sizes = b"200000\n"
    end = header(b"n/d", DIRECTORY, 0o750, 10**18) + header(b"sizes", FILE, 0o600, 0, size=len(sizes)) + sizes
    last = run(shell, pack_step(target, "f", keep=True, last=True), end + padding(len(sizes)) + END, home)
    assert (last.returncode, last.stderr) == (0, b"")
    assert (home / "to" / "x y").read_bytes() == content
    assert (home / "to" / "x y").stat().st_mtime == 10**9 + 1
    assert os.listdir(home) == ["to"]
    again = run(shell, pack_step(target, "f", keep=True, last=True, again=True), END, home)
    assert again.returncode == 0  # it had been done already


def test_what_is_half_done_is_discarded_wherever_it_is(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for place in (home, home / "to"):
        (place / ".regisseur-1a" / "locked").mkdir(parents=True)
        (place / ".regisseur-1a" / "locked").chmod(0o500)

    done = run(shell, discard_step(Target("1a", b"to")), b"", home)

    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in home.rglob("*")) == ["to"]


# -- words and answers -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60).filter(lambda text: b"\0" not in text))
@example(b"it's\n\n")
@example(b"\\c\\0101%s!")
@settings(max_examples=30)
def test_a_word_is_read_back_by_printf(text: bytes) -> None:
    word = octal(text)
    done = subprocess.run(["/bin/sh", "-c", f"printf '%b.' '{word}'"], capture_output=True, check=True)

    assert done.stdout == text + b"."
    assert not set(word) & set("'!\n")
    assert "\\\\" not in word


def test_a_null_byte_can_not_be_in_a_name() -> None:
    with pytest.raises(CommandError, match="null byte"):
        octal(b"a\0b")


@given(st.binary())
@example(b"Welcome!\nat d\nhas 12\n")
@example(b"at ")
@example(b"has x\nhas -1\n")
def test_answers_of_any_kind_are_read(said: bytes) -> None:
    read = answers(said)

    assert read.place in ("", "d", "f")
    assert read.has is None or read.has >= 0


def test_an_answer_that_is_cut_off_does_not_count() -> None:
    assert answers(b"noise\nat d\nhas 12") == Answers("d", None)
    assert answers(b"noise\nat d\nhas 12\n") == Answers("d", 12)
