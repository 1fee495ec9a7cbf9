"""Links and peers that are not to be trusted: nonsense on the socket, other versions, other users.

A `Stranger` is a bare ZeroMQ socket that says what it likes.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from linknodes import DEADLINE, Echo, Stranger, meeting_place, until
from regisseur.actors.links import (
    LinkSettings,
    RefusedError,
    RemoteRef,
    UnreachableError,
    connect,
    listen,
    peers,
    publish,
    remote_ref,
)
from regisseur.actors.runtime import Runtime, use_runtime
from regisseur.protocols.envelope import VERSION, decode, seal
from regisseur.protocols.links import Data, DescribeActor, Goodbye, Hello, Ping, Received, Refused, Reply, Welcome

QUICK = LinkSettings(heartbeat=0.1, patience=0.5, first_delay=0.01)


@pytest.fixture
def meeting() -> Iterator[Path]:
    with meeting_place() as directory:
        yield directory


@pytest.fixture
def runtime(meeting: Path) -> Iterator[Runtime]:
    with Runtime("test") as runtime, use_runtime(runtime):
        yield runtime


@pytest.fixture
def address(runtime: Runtime) -> str:
    """Of this node, which has published an `Echo`."""
    publish(Echo.start(), "echo")
    return listen(name="here")


@pytest.fixture
def stranger(address: str) -> Iterator[Stranger]:
    stranger = Stranger(address)
    yield stranger
    stranger.close()


def remote(address: str) -> RemoteRef:
    ref = remote_ref(address)
    assert isinstance(ref, RemoteRef)
    return ref


# -- nonsense ----------------------------------------------------------------------


def test_raw_garbage_on_the_socket_disturbs_nobody(address: str, stranger: Stranger, runtime: Runtime) -> None:
    stranger.greet()
    path = address.removeprefix("ipc://")
    random_bytes = random.Random(1).randbytes
    garbage = [b"GET / HTTP/1.1\r\n\r\n" * 50, b"\xff" * 10_000, b"\0" * 10_000, b""]
    garbage += [random_bytes(999) for _ in range(9)]
    for data in garbage:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(path)
            with contextlib.suppress(OSError):
                raw.sendall(data)

    stranger.say(Data("still served"), "echo", 7)
    assert stranger.hear(Received) == Reply("still served")


def test_three_bad_frames_and_the_peer_is_cut_off(stranger: Stranger, caplog: pytest.LogCaptureFixture) -> None:
    stranger.greet()
    for frame in (b"\xc1", b"", b"\x93\x01\xa1a\xa1b"):
        stranger.socket.send(frame)

    goodbye = stranger.hear()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason.startswith("you sent 3 bad frames, the last: ")
    stranger.wait_until_cut_off()
    assert [m for m in caplog.messages if m.startswith("bad frame no. ")] == [
        m for m in caplog.messages if f"'{stranger.node}' (process {os.getpid()}) is dropped" in m
    ]
    assert len([m for m in caplog.messages if m.startswith("bad frame no. ")]) == 3


def test_two_bad_frames_are_dropped_and_forgiven(stranger: Stranger) -> None:
    stranger.greet()
    stranger.socket.send(b"\xc1")
    stranger.socket.send_multipart([seal(Data(1), "echo"), b"bulk", b"and", b"more"])
    stranger.say(Data("served"), "echo", 7)

    assert stranger.hear(Received) == Reply("served")


def frame(kind: str, *body: Any, version: int = VERSION) -> bytes:
    packed: bytes = msgpack.packb([version, "echo", "", 0, 0, kind, body])
    return packed


BAD = {
    "a second greeting": [seal(Hello("00112233aabbccdd", None, 1, 1), "")],
    "an answer to no greeting": [seal(Welcome("00112233aabbccdd", None, 1, 1), "")],
    "a refusal of no greeting": [seal(Refused("no"), "")],
    "more received than sent": [seal(Received(99), "")],
    "less received than before": [seal(Received(-1), "")],
    "a bulk frame that is not wanted": [seal(Data(1), "echo"), b"bulk"],
    "a ping with luggage": [seal(Ping(), ""), b"bulk"],
    "a field is missing": [frame("link.data")],
    "arguments that are none": [frame("link.call", ["add"], 5, {})],
    "a path that is none": [frame("link.call", "add", [], {})],
    "references without a body": [frame("link.refs", "link.data", 1, {})],
    "references in references": [frame("link.refs", "link.refs", ["link.data", [1], {}], {})],
    "another version": [frame("link.data", 1, version=VERSION + 1)],
    "too many items": [msgpack.packb([VERSION, "e", "", 0, 0, "link.data", [1], 8])],
}


@pytest.mark.parametrize("frames", BAD.values(), ids=BAD.keys())
def test_what_no_node_would_say_is_a_bad_frame(stranger: Stranger, frames: list[bytes]) -> None:
    stranger.greet()
    for _ in range(3):
        stranger.socket.send_multipart(frames)

    assert isinstance(stranger.hear(Received), Goodbye)
    stranger.wait_until_cut_off()


@pytest.mark.parametrize(
    "hello",
    [
        Hello("x" * 16, None, 1, 1),
        Hello("00", None, 1, 1),
        Hello("00112233aabbccdd", "a@b", 1, 1),
        Hello("00112233aabbccdd", None, 1, 0),
        Data("no greeting at all"),
        DescribeActor(),
    ],
    ids=repr,
)
def test_who_does_not_greet_properly_is_not_let_in(stranger: Stranger, hello: Any) -> None:
    for _ in range(3):
        stranger.say(hello, "echo", 1)

    assert isinstance(stranger.hear(), Goodbye)
    stranger.wait_until_cut_off()
    assert peers() == []


@pytest.mark.slow
def test_who_never_greets_is_cut_off_after_a_while(runtime: Runtime) -> None:
    stranger = Stranger(listen(name="here", settings=QUICK))
    stranger.socket.send(b"\xc1")

    stranger.wait_until_cut_off()
    stranger.close()


@pytest.mark.slow
def test_whatever_frames_come_the_node_goes_on(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """Mutations of good frames, by one short-lived peer after the other; a good peer is served in between."""
    rng = random.Random(20_261_121)
    good = [
        seal(Hello("00112233aabbccdd", "x", 1, 100), ""),
        seal(Data({"a": [1, (2,), "x"]}), "echo", "s", 5),
        msgpack.packb([VERSION, "echo", "s", 6, 0, "link.call", [["call"], [1], {"k": 2}]]),
        msgpack.packb([VERSION, "echo", "s", 7, 0, "link.refs", ["link.data", [["t"]], {"t": "a@b"}]]),
        seal(Received(1), ""),
        seal(Reply(1), "", "", 3),
        seal(DescribeActor(), "echo", "", 9),
    ]
    witness = Stranger(address, "ffeeddccbbaa9988")
    witness.greet()
    for turn in range(40):
        peer = Stranger(address)
        peer.say(Hello(peer.node, None, 1, 100))
        for _ in range(50):
            frames = [_mutated(rng, rng.choice(good)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
            peer.socket.send_multipart(frames)
        peer.wait_until_cut_off()
        peer.close()
        witness.say(Data(turn), "echo", turn + 1)
        assert witness.hear(Received, Ping) == Reply(turn)
    witness.close()

    assert [r for r in caplog.records if r.exc_info or r.levelname == "ERROR"] == []


def _mutated(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[place:place] = rng.randbytes(rng.randint(1, 8))
            case 1:
                del data[place : place + rng.randint(1, 8)]
            case 2 if place < len(data):
                data[place] = rng.randrange(256)
            case _:
                data = data[:place]
    return bytes(data)


def test_an_answer_that_nobody_asked_for_is_ignored(stranger: Stranger, runtime: Runtime) -> None:
    stranger.greet()
    asked = remote(f"nobody@{stranger.node}").ask("a question", block=False)
    other = Stranger(listen(), "0123456789abcdef")
    other.greet()
    for number in range(1, 200):  # it guesses the number of the question, which was asked of another
        other.say(Reply("forged"), "", number)
    other.say(Data("served"), "echo", 1)

    assert other.hear(Received, Ping) == Reply("served")
    assert not asked.done()
    other.close()


def test_an_answer_that_is_no_message_is_an_error_of_the_asker(stranger: Stranger, runtime: Runtime) -> None:
    stranger.greet()
    asked = remote(f"nobody@{stranger.node}").ask("a question", block=False)
    frame, *_ = stranger.socket.recv_multipart()
    number = decode(frame).correlation
    stranger.socket.send(msgpack.packb([VERSION, "", "", number, 0, "link.reply", []]))

    with pytest.raises(ValueError, match=r"link\.reply: field 'value' is missing"):
        asked.get(timeout=DEADLINE)


# -- refusals ----------------------------------------------------------------------


def test_a_node_of_another_version_is_refused_and_both_versions_are_named(
    stranger: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    stranger.socket.send(msgpack.packb([VERSION + 1, "", "", 0, 0, "link.hello", ["something", "new"]]))

    refused = stranger.hear()
    assert refused == Refused(f"it speaks version {VERSION} of the protocol, this node speaks {VERSION + 1}")
    stranger.wait_until_cut_off()
    assert f"it speaks version {VERSION + 1} of the protocol, this node speaks {VERSION}" in caplog.text


@contextlib.contextmanager
def fake_node(path: Path, answer: bytes) -> Iterator[None]:
    """A node that answers every greeting with *answer*."""
    context = zmq.Context()
    server = context.socket(zmq.ROUTER)
    server.linger = 0
    server.rcvtimeo = 50
    server.bind(f"ipc://{path}")
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            with contextlib.suppress(zmq.Again):
                name, *_ = server.recv_multipart()
                server.send_multipart([name, answer])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        server.close()
        context.term()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            msgpack.packb([VERSION + 1, "", "", 0, 0, "link.welcome", []]),
            RefusedError,
            f"it speaks version {VERSION + 1} of the protocol, this node speaks {VERSION}",
        ),
        (seal(Refused("go away"), ""), RefusedError, "go away"),
        (seal(Hello("00112233aabbccdd", None, 1, 1), ""), UnreachableError, "not answered"),
        (b"\xc1", UnreachableError, "not answered"),
    ],
    ids=["another version", "refused", "a greeting in place of an answer", "nonsense"],
)
def test_a_node_that_does_not_answer_properly_is_an_error_of_who_connects(
    runtime: Runtime, meeting: Path, answer: bytes, error: type[Exception], text: str
) -> None:
    path = meeting / "fake.sock"
    with fake_node(path, answer), pytest.raises(error, match=text):
        connect(str(path), timeout=DEADLINE if error is RefusedError else 0.3)


OTHER_USER = """
import os, sys, zmq
os.setgroups([])
os.setresuid(65534, 65534, 65534)
context = zmq.Context()
dealer = context.socket(zmq.DEALER)
dealer.linger = 0
dealer.rcvtimeo = 300
dealer.connect(sys.argv[1])
dealer.send(bytes.fromhex(sys.argv[2]))
try:
    print(dealer.recv())
except zmq.Again:
    print("nothing")
dealer.close()
context.term()
"""


@pytest.mark.slow
@pytest.mark.requires_root
def test_a_peer_of_another_user_is_cut_off_even_if_it_can_open_the_socket(
    address: str, meeting: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = address.removeprefix("ipc://")
    for place, mode in ((meeting, 0o711), (meeting / "regisseur", 0o711), (Path(path), 0o777)):
        place.chmod(mode)  # as no user should
    hello = seal(Hello("00112233aabbccdd", None, 1, 100), "").hex()
    program = [sys.executable, "-c", OTHER_USER, address, hello]
    out = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE, check=True, env={"PATH": "/bin"})

    assert out.stdout == "nothing\n"
    assert peers() == []
    until(lambda: "it is of another user" in caplog.text)
