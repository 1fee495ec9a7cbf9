"""Links when things go wrong: peers that die, hang, talk nonsense, flood, speak another version or are of another user.

Second processes are real, and so is what is done to them. A `Stranger` is a bare ZeroMQ socket that says what it
likes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgpack
import pykka
import pytest
import zmq

from regisseur.actors.actor import Actor
from regisseur.actors.links import (
    LinkFullError,
    LinkSettings,
    PeerLostError,
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
from regisseur.protocols.envelope import VERSION, decode, decode_message, seal
from regisseur.protocols.links import Data, DescribeActor, Goodbye, Hello, Ping, Pong, Received, Refused, Reply, Welcome

NODE = Path(__file__).with_name("link_node.py")
QUICK = LinkSettings(heartbeat=0.1, patience=0.5, first_delay=0.01)
DEADLINE = 20.0
"""Seconds within which all must be over that takes a fraction of one, on a machine that may be busy."""


class Node:
    """A second process, which listens under a name."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(NODE), name, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # it may run on for a moment

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Stranger:
    """A socket that talks to a node, and says what it likes."""

    def __init__(self, path: str, node: str = "00112233aabbccdd") -> None:
        self.node = node
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(DEADLINE * 1000)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.monitor.rcvtimeo = int(DEADLINE * 1000)
        self.socket.connect(path)

    def say(self, message: Any, to: str = "", correlation: int = 0) -> None:
        self.socket.send(seal(message, to, "", correlation))

    def greet(self, window: int = 10_000) -> Welcome:
        self.say(Hello(self.node, None, 1, window))
        welcome = self.hear()
        assert isinstance(welcome, Welcome)
        return welcome

    def hear(self, *but_not: type) -> Any:
        """The next message that is of none of these types."""
        while True:
            frame, *_ = self.socket.recv_multipart()
            message = decode_message(decode(frame))
            if type(message) not in but_not:
                return message

    def wait_until_cut_off(self) -> None:
        self.monitor.recv_multipart()

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)
        self.context.term()


class Echo(Actor):
    """Answers with what it is asked."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message

    def call(self, function: Callable[[], Any]) -> Any:
        """Call *function* on the reactor."""
        return function()


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tempfile.mkdtemp(prefix="links")
    monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
    yield Path(directory)
    shutil.rmtree(directory)


@pytest.fixture
def start_node(meeting: Path) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def start(*args: Any, **settings: Any) -> Node:
        nodes.append(Node(*args, **settings))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()


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


def until(condition: Callable[[], Any]) -> None:
    """Wait for what nothing tells of."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def ask_until_it_works(ref: RemoteRef, message: Any) -> Any:
    while True:
        with contextlib.suppress(PeerLostError):
            return ref.ask(message, timeout=DEADLINE)
        threading.Event().wait(0.01)


# -- death -------------------------------------------------------------------------


def test_when_a_peer_is_killed_all_that_waits_for_it_ends_at_once(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    node = start_node("lab")
    connect("lab")
    waiting = [remote("slow@lab").ask(n, block=False) for n in range(100)]
    assert remote("counter@lab").ask("there?") == "there?"
    killed_at = time.monotonic()
    node.kill()

    for future in waiting:
        with pytest.raises(PeerLostError, match=f"'lab' \\(process {node.process.pid}\\) is lost: its process ended"):
            future.get(timeout=DEADLINE)
    assert time.monotonic() - killed_at < 2  # the patience is 5
    with pytest.raises(PeerLostError, match="its process ended"):
        remote("slow@lab").tell(1)
    with pytest.raises(PeerLostError, match="its process ended"):
        remote("slow@lab").ask(1)
    assert not remote("slow@lab").is_alive()
    assert peers() == []


def test_what_a_peer_said_before_it_died_still_counts(start_node: Callable[..., Node], runtime: Runtime) -> None:
    node = start_node("lab")
    connect("lab")
    proxy = remote("counter@lab").proxy()
    stopped, go_on = threading.Event(), threading.Event()

    def hold_the_reactor() -> None:
        stopped.set()
        go_on.wait(DEADLINE)

    answer = proxy.last_words(0.1)
    Echo.start().proxy().call(hold_the_reactor)
    stopped.wait(DEADLINE)
    node.process.wait(DEADLINE)
    go_on.set()

    assert answer.get(timeout=DEADLINE) == "last words"
    with pytest.raises(PeerLostError):
        ask_until_lost(remote("counter@lab"))


def tell_until_full(ref: RemoteRef, text: str) -> int:
    """Returns how many were sent."""

    sent = 0

    def tell() -> None:
        nonlocal sent
        while True:
            ref.tell(sent % 10)
            sent += 1

    with pytest.raises(LinkFullError, match=text):
        tell()
    return sent


def ask_until_lost(ref: RemoteRef) -> None:
    while True:
        ref.ask(1, timeout=DEADLINE)


@pytest.mark.slow
def test_a_peer_that_comes_back_under_its_name_can_be_used_again(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    first = start_node("lab")
    info = connect("lab", settings=LinkSettings(first_delay=0.01))
    counter = remote("counter@lab")
    proxy = counter.proxy()
    by_digits = remote(f"counter@{info.node}")
    first.kill()
    with pytest.raises(PeerLostError):
        ask_until_lost(counter)
    second = start_node("lab")

    assert ask_until_it_works(counter, "back") == "back"
    assert proxy.pid().get(timeout=DEADLINE) == second.process.pid
    with pytest.raises(PeerLostError, match="its process ended"):  # the digits are those of the dead runtime
        by_digits.ask(1)


@pytest.mark.slow
def test_connecting_to_a_lost_node_dials_at_once(start_node: Callable[..., Node], runtime: Runtime) -> None:
    first = start_node("lab")
    connect("lab", settings=LinkSettings(first_delay=1000, longest_delay=1000))
    first.kill()
    until(lambda: not peers())
    second = start_node("lab")

    assert connect("lab", timeout=DEADLINE).pid == second.process.pid


def test_a_killed_node_leaves_files_that_the_next_one_removes(
    start_node: Callable[..., Node], runtime: Runtime, meeting: Path
) -> None:
    start_node("lab").kill()
    assert (meeting / "regisseur" / "lab.sock").exists()
    with pytest.raises(UnreachableError, match=r"nobody listens at .*lab\.sock"):
        connect("lab", timeout=0.2)
    listen(name="here")

    assert sorted(os.listdir(meeting / "regisseur")) == ["here.lock", "here.sock"]


def test_a_node_that_dialed_and_died_is_noticed_by_the_one_that_was_dialed(
    start_node: Callable[..., Node], address: str, runtime: Runtime
) -> None:
    node = start_node("guest", dials="here")
    until(peers)
    waiting = remote("slow@guest").ask(1, block=False)  # by its name, which it told in its greeting
    node.kill()

    with pytest.raises(PeerLostError, match="'guest'"):
        waiting.get(timeout=DEADLINE)


FORK = """
import os, sys, time
from regisseur.actors.links import listen, connect, publish, remote_ref
from regisseur.actors.actor import Actor
class Echo(Actor):
    def on_receive(self, message):
        return message
echo = Echo.start()
listen(name="parent")
publish(echo, "echo")
connect("here")
there = remote_ref("echo@here")
assert there.ask(1) == 1
r, w = os.pipe()
child = os.fork()
if not child:
    try:
        there.tell(1)
    except Exception as error:
        told = str(error)
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd not in ("0", "1", "2")
             and os.path.exists(f"/proc/self/fd/{fd}")]
    sockets = [link for link in links if link.startswith("socket:") or link.endswith(".lock")]
    connect("here")
    fresh = remote_ref("echo@here").ask("from the child")
    os.write(w, repr((told, sockets, fresh)).encode())
    os.close(w)
    while os.getppid() != 1:
        time.sleep(0.01)
    time.sleep(3)
    os._exit(0)
os.close(w)
print(child, os.read(r, 10000).decode(), flush=True)
print(there.ask("still"), flush=True)
sys.stdin.read()
"""


def test_a_forked_child_holds_nothing_of_its_parents_links(address: str, runtime: Runtime, meeting: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", FORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child, _, answer = parent.stdout.readline().partition(" ")
    told, sockets, fresh = eval(answer)  # our own program's repr
    still = parent.stdout.readline()
    try:
        assert "start actors and processes anew here" in told
        assert sockets == []
        assert fresh == "from the child"
        assert still == "still\n"
        until(lambda: any(p.name == "parent" for p in peers()))
        parent.kill()
        until(lambda: not any(p.name == "parent" for p in peers()))  # though the child lives on
        os.kill(int(child), 0)
        with Runtime("next") as other:
            listen(other, "parent")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
        parent.kill()
        parent.communicate()


# -- silence -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_stopped_peer_is_lost_within_the_patience_and_found_again_when_it_goes_on(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    node = start_node("lab")
    connect("lab", settings=QUICK)
    counter = remote("counter@lab")
    node.stop()
    stopped_at = time.monotonic()
    waiting = counter.ask(1, block=False)

    with pytest.raises(PeerLostError, match=r"'lab' .* is lost: no sign of life for 0\.5 seconds"):
        waiting.get(timeout=DEADLINE)
    assert 0.4 < time.monotonic() - stopped_at < 5
    with pytest.raises(PeerLostError):
        counter.tell(1)
    node.go_on()
    assert ask_until_it_works(counter, "awake") == "awake"


@pytest.mark.slow
def test_a_peer_whose_reactor_hangs_is_lost_too(start_node: Callable[..., Node], runtime: Runtime) -> None:
    start_node("lab")
    connect("lab", settings=QUICK)

    with pytest.raises(PeerLostError, match="no sign of life"):
        remote("silent@lab").ask(3, timeout=DEADLINE)


def test_a_stopped_peer_does_not_hold_up_the_end_of_the_runtime(start_node: Callable[..., Node]) -> None:
    node = start_node("lab")
    with Runtime("test") as runtime:
        connect("lab", runtime=runtime)
        ref = remote_ref("counter@lab", runtime=runtime)
        node.stop()
        waiting = ref.ask(1, block=False)
        began = time.monotonic()

    assert time.monotonic() - began < 1.5
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=DEADLINE)


@pytest.mark.slow
def test_a_stopped_node_can_not_be_connected_to_within_the_timeout(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    start_node("lab").stop()
    began = time.monotonic()

    with pytest.raises(UnreachableError, match=r"'lab'.*not answered"):
        connect("lab", timeout=0.2)
    assert time.monotonic() - began < 3


@pytest.mark.slow
def test_a_program_that_was_stopped_itself_does_not_take_its_peers_for_dead(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    start_node("lab")
    info = connect("lab", settings=QUICK)
    Echo.start().proxy().call(lambda: threading.Event().wait(1.5)).get()

    assert remote(f"counter@{info.node}").ask("same") == "same"


# -- floods ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_flood_is_felt_by_its_sender_and_loses_nothing(start_node: Callable[..., Node], runtime: Runtime) -> None:
    start_node("lab", backlog=100)
    connect("lab", settings=LinkSettings(queue=500))
    slow, gate = remote("slow@lab"), remote("gate@lab").proxy()
    for sent in range(400):
        slow.tell(sent)
    slow.wait_for_room(0.5)  # as much as the other side takes
    sent += 1 + tell_until_full(slow, r"'lab' .* is behind: 500 messages")

    assert 500 <= sent <= 700
    until_refused = slow.ask(1, block=False)
    with pytest.raises(LinkFullError):
        until_refused.get(timeout=DEADLINE)
    assert not slow.wait_for_room(0.05)
    _open(gate, slow)
    assert slow.ask("count", timeout=DEADLINE) == sent + 1


def _open(gate: Any, slow: RemoteRef) -> None:
    """Open the gate by a second link: the first is full."""
    with Runtime("second") as second:
        connect("lab", runtime=second)
        waiting = remote_ref("gate@lab", runtime=second).proxy()
        assert waiting.waiting().get(timeout=DEADLINE) <= 700
        waiting.open().get(timeout=DEADLINE)
    assert slow.wait_for_room(DEADLINE)


def test_a_peer_that_does_not_read_makes_the_queue_full_and_nothing_blocks(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    node = start_node("lab")
    connect("lab", settings=LinkSettings(queue=50, queue_bytes=2000))
    counter = remote("counter@lab")
    node.stop()
    assert tell_until_full(counter, "50 messages") < 1000
    with Runtime("other") as other, pytest.raises(UnreachableError):
        connect("lab", runtime=other, timeout=0.1)
    node.go_on()

    assert counter.wait_for_room(DEADLINE)
    assert counter.ask("there again") == "there again"


def test_a_message_larger_than_the_queue_goes_alone(start_node: Callable[..., Node], runtime: Runtime) -> None:
    start_node("lab")
    connect("lab", settings=LinkSettings(queue_bytes=2000))
    counter = remote("counter@lab")

    def tell_two() -> None:  # on the reactor, which can not hear meanwhile that the first was received
        counter.tell(bytes(5000))
        counter.tell(1)

    with pytest.raises(LinkFullError, match=r"1 messages \(5\d\d\d bytes\)"):
        Echo.start().proxy().call(tell_two).get()
    until(lambda: counter.wait_for_room(DEADLINE))
    assert counter.ask(bytes(5000)) == bytes(5000)


def test_a_peer_that_sends_more_than_it_was_given_room_for_is_cut_off(runtime: Runtime) -> None:
    address = listen(name="here", settings=LinkSettings(queue=100, backlog=10))
    gate = threading.Event()

    class Waiting(Echo):
        """Does not get on."""

        blocking = True

        def on_receive(self, message: Any) -> Any:
            gate.wait(DEADLINE)

    waiting = Waiting.start()
    publish(waiting, "waiting")
    stranger = Stranger(address)
    stranger.greet()
    for number in range(2000):
        stranger.say(Data(number), "waiting")

    reason = stranger.hear(Received, Ping)
    assert reason == Goodbye("you send more than there is room for")
    stranger.wait_until_cut_off()
    assert len(cast(Any, waiting.actor_inbox).waiting) <= 1300
    gate.set()
    stranger.close()


def test_a_peer_that_asks_on_without_reading_the_answers_is_cut_off(runtime: Runtime) -> None:
    address = listen(name="here", settings=LinkSettings(queue=100))
    publish(Echo.start(), "echo")
    stranger = Stranger(address)
    stranger.greet()
    for number in range(1, 400):  # and never a word of having received something
        stranger.say(Data(number), "echo", number)

    until(lambda: not peers())
    stranger.wait_until_cut_off()
    stranger.close()


def test_a_flood_of_pings_is_answered_only_so_often(stranger: Stranger) -> None:
    stranger.greet()
    for _ in range(5000):
        stranger.say(Ping())
    stranger.say(Data("end"), "echo", 1)

    pongs = 0
    while type(stranger.hear(Received, Ping)) is Pong:
        pongs += 1
    assert pongs <= 300


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
    yield
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
        connect(str(path), timeout=0.3)


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
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
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
