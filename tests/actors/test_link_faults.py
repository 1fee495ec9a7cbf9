"""Links when things go wrong: peers that die, hang and flood.

Second processes are real, and so is what is done to them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pykka
import pytest

from linknodes import DEADLINE, Echo, Node, Stranger, meeting_place, one_try, until
from regisseur.actors.links import (
    LinkFullError,
    LinkSettings,
    PeerLostError,
    RemoteRef,
    UnreachableError,
    connect,
    listen,
    peers,
    publish,
    remote_ref,
)
from regisseur.actors.runtime import Runtime, use_runtime
from regisseur.protocols.links import Data, Goodbye, Ping, Pong, Received

QUICK = LinkSettings(heartbeat=0.1, patience=0.5, first_delay=0.01)


@pytest.fixture
def meeting() -> Iterator[Path]:
    with meeting_place() as directory:
        yield directory


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


def remote(address: str) -> RemoteRef:
    ref = remote_ref(address)
    assert isinstance(ref, RemoteRef)
    return ref


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
    node.kill()

    for future in waiting:
        with pytest.raises(PeerLostError, match=f"'lab' \\(process {node.process.pid}\\) is lost: its process ended"):
            future.get(timeout=DEADLINE)
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

    answer = proxy.last_words()
    Echo.start().proxy().call(hold_the_reactor)
    assert stopped.wait(DEADLINE)
    with Runtime("second") as second:  # what it says there, it says behind its answer
        connect("lab", runtime=second)
        witness = remote_ref("counter@lab", runtime=second).proxy()
        until(lambda: witness.has_spoken.get(timeout=DEADLINE))
    node.kill()
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
    with one_try(), pytest.raises(UnreachableError, match=r"nobody listens at .*lab\.sock"):
        connect("lab", timeout=DEADLINE)
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
    time.sleep(1000)
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

    with pytest.raises(PeerLostError, match=r"'lab' .* is lost: no sign of life for 0\.5 seconds"):
        counter.ask(1, block=False).get(timeout=DEADLINE)
    with pytest.raises(PeerLostError):
        counter.tell(1)
    node.go_on()
    assert ask_until_it_works(counter, "awake") == "awake"


@pytest.mark.slow
def test_a_peer_whose_reactor_hangs_is_lost_too(start_node: Callable[..., Node], runtime: Runtime) -> None:
    start_node("lab")
    connect("lab", settings=QUICK)

    with pytest.raises(PeerLostError, match="no sign of life"):
        remote("silent@lab").ask(1000, timeout=DEADLINE)


def test_a_stopped_peer_does_not_hold_up_the_end_of_the_runtime(start_node: Callable[..., Node]) -> None:
    node = start_node("lab")
    with Runtime("test") as runtime:
        connect("lab", runtime=runtime, settings=LinkSettings(patience=10 * DEADLINE))
        ref = remote_ref("counter@lab", runtime=runtime)
        node.stop()
        waiting = ref.ask(1, block=False)

    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=DEADLINE)


@pytest.mark.slow
def test_a_stopped_node_can_not_be_connected_to_within_the_timeout(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    start_node("lab").stop()

    with pytest.raises(UnreachableError, match=r"'lab'.*not answered"):
        connect("lab", timeout=0.2)


@pytest.mark.slow
def test_a_program_that_was_stopped_itself_does_not_take_its_peers_for_dead(
    start_node: Callable[..., Node], runtime: Runtime
) -> None:
    start_node("lab", patience=1000)
    patient = LinkSettings(heartbeat=1.0, patience=5.0)
    info = connect("lab", settings=patient)
    Echo.start().proxy().call(lambda: threading.Event().wait(patient.patience + 1.0)).get()

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


def test_a_flood_of_pings_is_answered_only_so_often(runtime: Runtime) -> None:
    stranger = Stranger(listen(name="here", settings=LinkSettings(heartbeat=1000, patience=2000)))
    publish(Echo.start(), "echo")
    stranger.greet()
    for _ in range(5000):
        stranger.say(Ping())
    stranger.say(Data("end"), "echo", 1)

    pongs = 0
    while type(stranger.hear(Received, Ping)) is Pong:
        pongs += 1
    assert pongs == 100  # so many for each heartbeat
    stranger.close()
