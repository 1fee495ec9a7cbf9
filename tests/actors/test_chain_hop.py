"""The program of a hop, run as on a host, with sockets of this machine: what it takes, refuses, and leaves behind."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE
from regisseur.actors import _chain_wire as wire
from regisseur.actors._chain_program import BOOT, program, program_input
from regisseur.protocols.shell_line import sh
from regisseur.protocols.transfer_tar import END, FILE, header, padding
from trees import wait_until

pytestmark = pytest.mark.slow

KEY = bytes(range(32))
PYTHONS = sorted({sys.executable, *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3"))})
"""Those that there are."""


class Program:
    """A running hop, or head."""

    def __init__(self, directory: Path, setup: dict[str, Any], python: str = sys.executable) -> None:
        self.directory = directory
        self.heard: list[dict[str, Any]] = []
        environ = {**os.environ, "OLDPWD": str(directory.parent), "SSH_CONNECTION": "127.0.0.1 9 127.0.0.2 22"}
        directory.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [python, "-I", "-S", "-c", BOOT],
            cwd=directory,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(program_input())
        self.order(**setup)

    def order(self, **words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, what: str) -> dict[str, Any]:
        """The next that it says of this kind; its threads say other things before or after, for others to ask."""
        assert self.process.stdout is not None
        found = next((words for words in self.heard if words["say"] == what), None)
        if found is not None:
            self.heard.remove(found)
            return found
        for line in self.process.stdout:
            words: dict[str, Any] = json.loads(line)
            if words["say"] == what:
                return words
            self.heard.append(words)
        assert self.process.stderr is not None
        raise AssertionError(f"it never says {what}: {self.process.stderr.read()!r}")

    def end(self) -> str:
        """Close its stdin; return what it has said on stderr when it has ended."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        said = self.process.stderr.read().decode()
        self.process.wait(DEADLINE)
        return said


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start one; all are ended."""
    started: list[Program] = []

    def begin(*args: Any, **kwargs: Any) -> Program:
        started.append(Program(*args, **kwargs))
        return started[-1]

    yield begin
    for each in started:
        each.process.kill()
        for pipe in (each.process.stdin, each.process.stdout, each.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        each.process.wait()


class Upstream:
    """Stands for another hop: lets *serve* answer the first that connects, with what that wants."""

    def __init__(self, serve: Callable[[socket.socket, int, int], None], key: bytes = KEY) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._run, args=(serve, key))
        self._thread.start()

    @property
    def place(self) -> list[Any]:
        return ["127.0.0.1", self.listener.getsockname()[1]]

    def _run(self, serve: Callable[[socket.socket, int, int], None], key: bytes) -> None:
        with self.listener, self.listener.accept()[0] as link:
            try:
                self.asked.append(wire.challenge(link, key))
                serve(link, *self.asked[0])
                link.shutdown(socket.SHUT_WR)
                link.recv(1)
            except (OSError, wire.Refused):
                pass

    def join(self) -> None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


def data_frame(segment: int, block: int, data: bytes, crc: int | None = None) -> bytes:
    return wire.HEADER.pack(wire.DATA, segment, block, len(data), zlib.crc32(data) if crc is None else crc) + data


CONTENT = os.urandom(5 * wire.BLOCK // 2)
BLOCKS = [CONTENT[at : at + wire.BLOCK] for at in range(0, len(CONTENT), wire.BLOCK)]


def pack(directory: Path, content: bytes = CONTENT) -> Path:
    """A tar stream of one file, as a `Put` makes it."""
    sizes = b"%d\n" % len(content)
    stream = header(b"n/file", FILE, 0o640, 10**18, size=len(content)) + content + padding(len(content))
    stream += header(b"sizes", FILE, 0o600, 0, size=len(sizes)) + sizes + padding(len(sizes)) + END
    path = directory / "pack"
    path.write_bytes(stream)
    return path


def setup_of(steps: list[Any], **more: Any) -> dict[str, Any]:
    return {"role": "hop", "key": KEY.hex(), "steps": steps, "silence": 20, "report": 0.1, **more}


def start_head(start: Start, tmp_path: Path, *files: Path) -> tuple[Program, list[Any]]:
    head = start(tmp_path / "head", {"role": "head", "key": KEY.hex(), "count": len(files)})
    head.order(do="listen", address="127.0.0.3")
    for number, file in enumerate(files):
        head.order(do="segment", segment=number, path=str(file), size=file.stat().st_size)
    return head, ["127.0.0.3", head.hear("listens")["port"]]


# -- the text ----------------------------------------------------------------------------------------------------------


def test_the_program_is_such_that_python_3_6_can_run_it() -> None:
    ast.parse(program(), feature_version=(3, 6))

    assert "Callable" not in program()
    assert "import annotations" not in program()
    assert "_chain_wire" not in program()


def test_the_command_that_reads_it_is_a_word_that_every_shell_takes() -> None:
    assert sh(BOOT, "name").count(BOOT) == 1


def test_a_python_that_has_not_what_it_takes_is_as_good_as_none(tmp_path: Path) -> None:
    text = program().replace("import zlib", "import no_such_module")
    given = b"%d\n%b" % (len(text.encode()), text.encode())

    assert subprocess.run([sys.executable, "-I", "-S", "-c", BOOT], input=given, check=False).returncode == 67


# -- what it takes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_files_go_from_the_head_to_a_hop_and_from_there_to_the_next(python: str, start: Start, tmp_path: Path) -> None:
    file = pack(tmp_path)
    _, head = start_head(start, tmp_path, file)
    first, second = (start(tmp_path / f".regisseur-{n}", setup_of([None]), python=python) for n in ("a", "b"))
    ready = first.hear("ready")
    for hop, upstreams in ((first, [[-1, *head]]), (second, [[0, ready["address"], ready["port"]]])):
        hop.order(do="follow", upstreams=upstreams)
        hop.order(do="go", pack="exit 1", last=f"cat >{tmp_path}/{hop.directory.name[-1]}")

    assert (first.hear("from")["upstream"], second.hear("from")["upstream"]) == (-1, 0)
    for hop in (first, second):
        assert hop.hear("complete")["bytes"] == file.stat().st_size
    for hop in (first, second):
        hop.hear("placed")
        hop.order(do="bye")
        assert hop.process.wait(DEADLINE) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == file.read_bytes()


def test_it_goes_on_with_the_next_upstream_where_the_one_before_broke_off(start: Start, tmp_path: Path) -> None:
    breaks_off = Upstream(lambda link, *_: link.sendall(data_frame(0, 0, BLOCKS[0]) + data_frame(0, 1, BLOCKS[1])))
    rest = Upstream(
        lambda link, segment, block: link.sendall(
            data_frame(0, 2, BLOCKS[2])
            + wire.HEADER.pack(wire.SEGMENT, 0, len(CONTENT), 0, 0)
            + wire.HEADER.pack(wire.END, 0, 0, 0, 0)
        )
    )
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="follow", upstreams=[[1, *breaks_off.place], [0, *rest.place]])
    hop.order(do="go", pack="", last=f"cat >{tmp_path}/came")
    hop.hear("placed")
    breaks_off.join()
    hop.order(do="bye")
    rest.join()

    assert (breaks_off.asked, rest.asked) == ([(0, 0)], [(0, 2)])
    assert (tmp_path / "came").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (data_frame(0, 0, BLOCKS[0], crc=1), "a block has another checksum"),
        (data_frame(0, 1, BLOCKS[0]), "what it sends is not what was asked for"),
        (data_frame(1, 0, BLOCKS[0]), "what it sends is not what was asked for"),
        (wire.HEADER.pack(wire.DATA, 0, 0, wire.BLOCK + 1, 0), "what it sends is not what was asked for"),
        (wire.HEADER.pack(wire.SEGMENT, 0, 5, 0, 0), "what it sends is not what was asked for"),
        (b"", "the connection has ended"),
    ],
    ids=["checksum", "block", "segment", "length", "end", "broken off"],
)
def test_what_is_not_as_it_should_be_is_not_taken(sent: bytes, reason: str, start: Start, tmp_path: Path) -> None:
    bad = Upstream(lambda link, *_: link.sendall(sent))
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="follow", upstreams=[[7, *bad.place]])
    hop.order(do="go", pack="", last="")

    assert hop.hear("lost") == {"say": "lost", "upstream": 7, "reason": reason}
    assert hop.hear("dry") == {"say": "dry", "segment": 0, "bytes": 0, "total": 0}
    hop.end()
    bad.join()


def test_an_upstream_that_falls_silent_is_left_and_one_that_only_waits_is_not(start: Start, tmp_path: Path) -> None:
    waiting, silent_was_left, over = threading.Event(), threading.Event(), threading.Event()

    def wait(link: socket.socket, *_asked: int) -> None:
        while not silent_was_left.is_set():
            link.sendall(wire.HEADER.pack(wire.PAUSE, 0, 0, 0, 0))
            waiting.set()
            silent_was_left.wait(0.1)
        link.sendall(data_frame(0, 0, BLOCKS[0]))
        over.wait(DEADLINE)

    def fall_silent(link: socket.socket, *_asked: int) -> None:
        link.sendall(data_frame(0, 0, BLOCKS[0]))
        over.wait(DEADLINE)

    upstreams, hops = (Upstream(wait), Upstream(fall_silent)), []
    for number, upstream in enumerate(upstreams):
        hops.append(start(tmp_path / f".regisseur-{number}", setup_of([None], silence=10)))
        hops[number].order(do="follow", upstreams=[[number, *upstream.place]])
        hops[number].order(do="go", pack="", last="")
        assert waiting.wait(DEADLINE)  # so that one waits for longer than the other is silent
    waits, left = hops

    assert left.hear("lost") == {"say": "lost", "upstream": 1, "reason": "nothing has come from it"}
    assert left.hear("dry")["bytes"] == wire.BLOCK
    silent_was_left.set()
    while waits.hear("at")["bytes"] < wire.BLOCK:
        assert [words for words in waits.heard if words["say"] == "lost"] == []
    over.set()
    for hop, upstream in zip(hops, upstreams, strict=True):
        hop.end()
        upstream.join()


def test_what_no_other_host_has_comes_by_a_named_pipe_from_where_it_was(start: Start, tmp_path: Path) -> None:
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="feed", segment=0, size=len(CONTENT), pipe="f1")
    hop.order(do="go", pack="", last=f"cat >{tmp_path}/came")
    wanted = hop.hear("feed")
    (hop.directory / wanted["pipe"]).write_bytes(CONTENT[: wire.BLOCK + 5])  # and breaks off
    dry = hop.hear("dry")
    hop.order(do="feed", segment=0, size=len(CONTENT), pipe="f2")
    wanted = hop.hear("feed")
    (hop.directory / wanted["pipe"]).write_bytes(CONTENT[wanted["bytes"] :])
    hop.hear("placed")
    hop.order(do="bye")

    assert (dry["segment"], dry["bytes"], wanted["bytes"]) == (0, wire.BLOCK, wire.BLOCK)
    assert (tmp_path / "came").read_bytes() == CONTENT
    assert hop.process.wait(DEADLINE) == 0


def test_it_puts_large_files_to_their_places_with_mode_and_time(start: Start, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(CONTENT)
    first, last = pack(tmp_path, b""), tmp_path / "last"
    shutil.copy(first, last)
    _, head = start_head(start, tmp_path, first, large, last)
    part = {"part": 0, "size": len(CONTENT), "mode": 0o640, "mtime": 10**18 + 7, "name": os.fsencode("d/\udcff").hex()}
    hop = start(tmp_path / ".regisseur-i", setup_of([None, part, None]))
    hop.order(do="follow", upstreams=[[-1, *head]])
    hop.order(do="go", pack="true", last="true")
    hop.hear("placed")
    came = hop.directory / "n" / "d" / "\udcff"

    assert came.read_bytes() == CONTENT
    assert (came.stat().st_mode & 0o7777, came.stat().st_mtime_ns) == (0o640, 10**18 + 7)


# -- what it refuses ---------------------------------------------------------------------------------------------------


def test_who_does_not_know_the_key_gets_nothing(start: Start, tmp_path: Path) -> None:
    ready = start(tmp_path / ".regisseur-i", setup_of([None])).hear("ready")
    place = (ready["address"], ready["port"])
    with socket.create_connection(place, 20) as link, pytest.raises(OSError, match="ended"):
        wire.prove(link, bytes(32), 0, 0)
    with socket.create_connection((ready["address"], ready["port"]), 20) as link:
        link.sendall(os.urandom(500))
        sent = b"".join(iter(lambda: _received(link), b""))

    assert len(sent) == len(wire._MAGIC) + 32  # the challenge, and no more


def _received(link: socket.socket) -> bytes:
    try:
        return link.recv(1 << 16)
    except ConnectionResetError:
        return b""


def test_it_takes_nothing_from_who_does_not_know_the_key(start: Start, tmp_path: Path) -> None:
    stranger = Upstream(lambda link, *_: link.sendall(data_frame(0, 0, BLOCKS[0])), key=bytes(32))
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="follow", upstreams=[[7, *stranger.place]])
    hop.order(do="go", pack="", last="")

    assert hop.hear("lost")["upstream"] == 7
    assert hop.hear("dry")["bytes"] == 0
    stranger.join()


def test_it_listens_only_where_its_host_is_reached(start: Start, tmp_path: Path) -> None:
    ready = start(tmp_path / ".regisseur-i", setup_of([None])).hear("ready")

    assert (ready["address"], ready["client"]) == ("127.0.0.2", "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ready["port"]), 20)


def test_the_key_is_not_to_be_seen_from_outside(start: Start, tmp_path: Path) -> None:
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.hear("ready")
    proc = Path(f"/proc/{hop.process.pid}")

    assert KEY.hex().encode() not in proc.joinpath("cmdline").read_bytes() + proc.joinpath("environ").read_bytes()
    assert not [path for path in hop.directory.iterdir() if KEY.hex().encode() in path.read_bytes()]


# -- what it leaves behind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stdin ends", "SIGTERM"])
def test_nothing_half_done_stays_when_it_ends(how: str, start: Start, tmp_path: Path) -> None:
    hold = threading.Event()

    def send_some(link: socket.socket, *_: int) -> None:
        link.sendall(data_frame(0, 0, BLOCKS[0]))
        hold.wait(DEADLINE)

    upstream = Upstream(send_some)
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="follow", upstreams=[[7, *upstream.place]])
    hop.order(do="go", pack="", last="")
    while hop.hear("at")["bytes"] < wire.BLOCK:
        pass
    assert (hop.directory / "s0").stat().st_size == wire.BLOCK
    if how == "SIGTERM":
        hop.process.terminate()
    said = hop.end()
    hold.set()
    upstream.join()

    assert said == ""
    assert not hop.directory.exists()


def test_a_script_that_fails_is_told_by_its_words_and_status(start: Start, tmp_path: Path) -> None:
    _, head = start_head(start, tmp_path, pack(tmp_path))
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="follow", upstreams=[[-1, *head]])
    hop.order(do="go", pack="", last="echo what went wrong >&2; exit 3")

    assert hop.process.wait(DEADLINE) == 3
    assert hop.end() == "what went wrong\n"
    wait_until(lambda: not hop.directory.exists())


def test_a_file_that_became_shorter_is_told(start: Start, tmp_path: Path) -> None:
    file = pack(tmp_path)
    head = start(tmp_path / "head", {"role": "head", "key": KEY.hex(), "count": 1})
    head.order(do="listen", address="127.0.0.3")
    place = ["127.0.0.3", head.hear("listens")["port"]]
    hop = start(tmp_path / ".regisseur-i", setup_of([None]))
    hop.order(do="follow", upstreams=[[-1, *place]])
    hop.order(do="go", pack="", last="")

    assert head.hear("want") == {"say": "want", "segment": 0}
    head.order(do="segment", segment=0, path=str(file), size=file.stat().st_size + 10)
    assert head.hear("shrunk") == {"say": "shrunk", "segment": 0, "missing": 10}
