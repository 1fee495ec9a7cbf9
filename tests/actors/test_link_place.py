"""Where nodes meet: the directory and who may be in it, names and lengths, what the dead leave behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deadline import DEADLINE
from regisseur.actors._link_place import check_name, find_socket, lock_place, meeting_directories


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path, in which both directories are: unix sockets have little room."""
    directory = Path(tempfile.mkdtemp(prefix="place"))
    (directory / "run").mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory / "run"))
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    shutil.rmtree(directory)


def bound(path: Path) -> None:
    """Leave a socket at *path*."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_the_directory_is_made_for_its_owner_alone(base: Path) -> None:
    old = os.umask(0)
    try:
        place = lock_place("lab")
    finally:
        os.umask(old)

    assert place.path == base / "run" / "regisseur" / "lab.sock"
    assert place.path.parent.stat().st_mode & 0o777 == 0o700
    assert place.path.with_suffix(".lock").stat().st_mode & 0o777 == 0o600
    place.leave()
    assert list(place.path.parent.iterdir()) == []


@pytest.mark.parametrize("value", ["", "relative/path", "/nowhere/at/all"])
def test_without_a_directory_of_the_session_the_temporary_one_serves(
    base: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)

    assert meeting_directories() == [base / f"regisseur-{os.geteuid()}"]


def test_a_node_is_found_in_either_directory(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR")
        place = lock_place("cron")
        bound(place.path)

    assert find_socket("cron") == place.path
    assert find_socket("nobody") is None
    place.leave()


def test_a_directory_that_others_may_enter_is_refused(base: Path) -> None:
    directory = base / "run" / "regisseur"
    directory.mkdir()
    directory.chmod(0o750)

    with pytest.raises(PermissionError, match=r"other users may enter it \(mode 0750\): chmod 700 .*/run/regisseur"):
        lock_place("lab")
    bound(directory / "lab.sock")
    assert find_socket("lab") is None


def test_a_link_or_a_file_in_the_place_of_the_directory_is_refused(base: Path) -> None:
    directory = base / "run" / "regisseur"
    (base / "elsewhere").mkdir(0o700)
    directory.symlink_to(base / "elsewhere")
    with pytest.raises(PermissionError, match="it is not a directory: remove it"):
        lock_place("lab")
    directory.unlink()
    directory.write_text("")
    with pytest.raises(PermissionError, match="it is not a directory: remove it"):
        lock_place("lab")

    assert list((base / "elsewhere").iterdir()) == []


@pytest.mark.requires_root
def test_a_directory_of_another_user_is_refused(base: Path) -> None:
    directory = base / "run" / "regisseur"
    directory.mkdir(0o700)
    os.chown(directory, 65534, 65534)

    with pytest.raises(PermissionError, match="it belongs to user 65534, not to 0"):
        lock_place("lab")


@pytest.mark.requires_root
def test_the_session_of_another_user_is_not_used(base: Path) -> None:
    os.chown(base / "run", 65534, 65534)

    assert meeting_directories() == [base / "regisseur-0"]


def test_a_lock_file_that_is_a_link_is_not_followed(base: Path) -> None:
    place = lock_place("first")
    target = base / "precious"
    target.write_text("precious")
    (place.path.parent / "lab.lock").symlink_to(target)

    with pytest.raises(OSError, match=r"Too many levels of symbolic links: '.*lab\.lock'"):
        lock_place("lab")
    assert target.read_text() == "precious"
    place.leave()


def test_a_name_is_taken_while_its_owner_lives_and_free_afterwards(base: Path) -> None:
    place = lock_place("lab")
    with pytest.raises(FileExistsError, match=f"a node listens as 'lab' already, in process {os.getpid()}"):
        lock_place("lab")
    place.leave()

    lock_place("lab").leave()


KILLED = """
import os, signal, socket, sys
from regisseur.actors._link_place import lock_place
place = lock_place(sys.argv[1])
socket.socket(socket.AF_UNIX).bind(str(place.path))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_left_is_removed_by_the_next_one(base: Path) -> None:
    for name in ("lab", "other"):
        subprocess.run([sys.executable, "-c", KILLED, name], check=False)
    directory = base / "run" / "regisseur"
    left = {f.name for f in directory.iterdir()}
    place = lock_place("lab")

    assert {"other.lock", "other.sock"} <= left
    assert [f.name for f in directory.iterdir()] == ["lab.lock"]
    place.leave()


def test_a_name_too_long_for_the_path_is_hashed(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 107 - len(str(base / "regisseur" / "")) - 1
    long = base / ("x" * (room - 60))
    long.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    name = "n" * 64
    place = lock_place(name)
    bound(place.path)

    assert place.path.name.startswith("+")
    assert len(os.fsencode(place.path)) <= 107
    assert find_socket(name) == place.path
    assert find_socket("m" * 64) is None
    place.leave()


def test_a_directory_too_long_for_any_socket_is_an_error_that_says_so(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = base / ("x" * 100)
    long.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))

    with pytest.raises(OSError, match=r"at most 107 bytes; set XDG_RUNTIME_DIR or TMPDIR to a shorter one"):
        lock_place("lab")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a@b", "a b", "+x", ":x", "n" * 65, "caf\xe9", "x\n"])
def test_what_can_not_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can not be a name"):
        check_name(name)


RACE = """
import sys
from regisseur.actors._link_place import lock_place
print("ready", flush=True)
sys.stdin.readline()
try:
    place = lock_place("lab")
except FileExistsError:
    print("lost", flush=True)
else:
    print("won", flush=True)
sys.stdin.read()
"""


def test_of_many_that_want_one_name_at_once_one_gets_it(base: Path) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    results = [racer.stdout.readline() for racer in racers if racer.stdout is not None]
    for racer in racers:
        racer.communicate(timeout=DEADLINE)

    assert sorted(results) == ["lost\n", "lost\n", "lost\n", "won\n"]
