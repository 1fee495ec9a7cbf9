"""Links, in use: a second process whose actors are used as if they lived in this one."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from deadline import DEADLINE
from linknodes import Node, meeting_place, one_try
from regisseur.actors import _link_pack
from regisseur.actors._context import here
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import DeadlockError, Future, Timeout
from regisseur.actors.links import (
    LinkFullError,
    LinkSettings,
    PeerLostError,
    RefusedError,
    RemoteError,
    RemoteProxy,
    RemoteRef,
    UnreachableError,
    connect,
    disconnect,
    listen,
    peers,
    publish,
    remote_ref,
    unpublish,
)
from regisseur.actors.ref import ActorRef
from regisseur.actors.runtime import Runtime, use_runtime
from regisseur.protocols.errors import OversizedError, ProtocolError, UnknownKindError
from regisseur.protocols.message import message

PLAIN = [
    None,
    True,
    -5,
    2**80,
    1.5,
    "text \N{SNOWMAN}",
    b"\x00\xff",
    [1, [2]],
    (1, (2,)),
    {"a": {1: 2}},
    {1, 2},
    frozenset({"x"}),
]


@message("test-links.note")
class Note:
    """As in the node."""

    text: str
    number: int


@message("test-links.blob", bulk=True)
class Blob:
    """As in the node."""

    name: str
    bulk: bytes


@message("test-links.only-here")
class OnlyHere:
    """A message that the node does not know."""


class Collector(Actor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Future[Any] = Future()

    def on_receive(self, message: Any) -> Any:
        """Keep it."""
        self.told.offer(message)
        return message

    def call(self, function: Callable[[], Any]) -> Any:
        """Call *function* on the reactor."""
        return function()


class Gated(BlockingActor):
    """Answers when the gate is open."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate

    def on_receive(self, message: Any) -> None:
        """Wait."""
        self.gate.wait(DEADLINE)


@pytest.fixture(scope="module")
def meeting() -> Iterator[Path]:
    with meeting_place() as directory:
        yield directory


@pytest.fixture(scope="module")
def node(meeting: Path) -> Iterator[Node]:
    node = Node("lab")
    yield node
    node.end()


@pytest.fixture
def runtime(meeting: Path) -> Iterator[Runtime]:
    with Runtime("test") as runtime, use_runtime(runtime):
        yield runtime


@pytest.fixture
def counter(node: Node, runtime: Runtime) -> RemoteRef:
    connect("lab")
    ref = remote_ref("counter@lab")
    assert isinstance(ref, RemoteRef)
    return ref


@pytest.fixture
def home(meeting: Path) -> Iterator[Runtime]:
    """A second runtime in this process, which listens as "home"."""
    with Runtime("home") as home:
        listen(home, "home")
        yield home


def start_in(runtime: Runtime, cls: type[Actor], name: str | None = None, *args: Any) -> ActorRef[Any]:
    with use_runtime(runtime):
        ref = cls.start(*args)
        if name is not None:
            publish(ref, name)
    return ref


# -- messages ----------------------------------------------------------------------


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_arrives_as_what_it_was_sent(counter: RemoteRef, value: Any) -> None:
    answer = counter.ask(value)

    assert value == answer
    assert type(value) is type(answer)


def test_a_registered_message_arrives_as_an_object_of_its_class(counter: RemoteRef) -> None:
    assert Note("HELLO", 2) == counter.ask(Note("hello", 1))


def test_bulk_travels_in_a_frame_of_its_own_and_may_be_larger_than_a_message(counter: RemoteRef) -> None:
    size = 17 * 1024 * 1024

    assert ["big", size] == counter.ask(Blob("big", bytes(size)))


def test_bulk_over_the_limit_is_refused_at_the_sender(counter: RemoteRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_link_pack, "BULK_LIMIT", 1000)
    with pytest.raises(OversizedError):
        counter.tell(Blob("too big", bytes(1001)))

    assert counter.ask(Blob("just fits", bytes(1000))) == ["just fits", 1000]


def test_what_was_told_is_handled_before_what_is_asked_next(counter: RemoteRef) -> None:
    before = counter.proxy().count.get()
    for number in range(500):
        counter.tell(number)

    assert before + 501 == counter.proxy().add(1).get()


def test_an_ask_without_blocking_gives_a_future_that_can_be_awaited(counter: RemoteRef) -> None:
    async def ask() -> Any:
        return await counter.ask("soon", block=False)

    assert asyncio.run(ask()) == "soon"


def test_what_is_not_plain_data_is_refused_at_the_sender_and_named(counter: RemoteRef) -> None:
    with pytest.raises(TypeError, match="Thread is not plain data"):
        counter.tell({"a": [threading.current_thread()]})
    with pytest.raises(TypeError, match="function is not plain data"):
        counter.proxy().add(test_plain_data_arrives_as_what_it_was_sent)
    with pytest.raises(OversizedError):
        counter.ask(bytes(17 * 1024 * 1024))
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(ProtocolError, match="can not be packed"):
        counter.ask(cyclic)

    assert counter.ask("still there") == "still there"


def test_an_answer_that_can_not_travel_is_an_error_of_the_asker(counter: RemoteRef) -> None:
    with pytest.raises(TypeError, match=r"the answer can not travel: .*lock is not plain data"):
        counter.proxy().secret().get(timeout=DEADLINE)


def test_a_message_of_a_kind_unknown_there_ends_the_ask_and_not_the_link(counter: RemoteRef) -> None:
    for _ in range(5):
        with pytest.raises(UnknownKindError, match=r"test-links\.only-here"):
            counter.ask(OnlyHere())

    assert counter.ask(1) == 1


# -- errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "cls", "args"),
    [
        ("value", ValueError, ("the reason",)),
        ("key", KeyError, ("the reason",)),
        ("dead", pykka.ActorDeadError, ("the reason",)),
        ("os", FileNotFoundError, (2, "No such file or directory")),
    ],
)
def test_a_well_known_exception_arrives_as_itself_and_says_whence(
    counter: RemoteRef, node: Node, how: str, cls: type[Exception], args: tuple[Any, ...]
) -> None:
    with pytest.raises(cls) as caught:
        counter.proxy().fail(how).get()

    assert cls is type(caught.value)
    assert args == caught.value.args
    assert [f"raised in node 'lab' (process {node.process.pid})"] == caught.value.__notes__
    if isinstance(caught.value, OSError):
        assert caught.value.filename == "/nowhere"


def test_any_other_exception_arrives_as_a_remote_error(counter: RemoteRef) -> None:
    with pytest.raises(RemoteError) as caught:
        counter.proxy().fail("unknown").get()

    assert caught.value.type_name == "UnknownThereError"
    assert caught.value.text == "what is this"
    assert "UnknownThereError in node 'lab'" in str(caught.value)


def test_an_ask_ends_within_its_timeout_and_names_the_actor(home: Runtime, runtime: Runtime) -> None:
    gate = threading.Event()
    start_in(home, Gated, "never", gate)
    connect("home")
    never = remote_ref("never@home")
    with pytest.raises(Timeout, match=r"no reply from never@home after 0\.05 seconds"):
        never.ask(1, timeout=0.05)
    with pytest.raises(Timeout, match=r"no reply from never@home after 0\.05 seconds"):
        never.ask(1, block=False, timeout=0.05).get(timeout=DEADLINE)
    gate.set()


# -- actors ------------------------------------------------------------------------


def test_a_proxy_calls_reads_sets_and_traverses(counter: RemoteRef) -> None:
    proxy = counter.proxy()
    assert isinstance(proxy, RemoteProxy)
    proxy.count = 5

    assert proxy.count.get() == 5
    assert proxy.add(2, twice=True).get() == 9
    proxy.add.defer(1)
    assert proxy.count.get() == 10
    hour = proxy.clock.hour.get()
    assert hour + 1 == proxy.clock.tick().get()
    assert {"add", "clock", "count"} <= set(dir(proxy))
    assert "tick" in dir(proxy.clock)
    assert counter.proxy() == proxy
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = proxy.nothing


@pytest.mark.parametrize(
    "path",
    [
        ("_secret",),
        ("__class__",),
        ("actor_runtime",),
        ("clock", "_x"),
        ("hidden_box", "tick"),
        ("received", "clear"),
        (),
    ],
)
def test_only_public_attributes_can_be_used_from_another_node(counter: RemoteRef, path: tuple[str, ...]) -> None:
    for access in (
        pykka.messages.ProxyGetAttr(path),
        pykka.messages.ProxySetAttr(path, 1),
        pykka.messages.ProxyCall(path, (), {}),
    ):
        with pytest.raises(PermissionError, match="not for other nodes"):
            counter.ask(access)


def test_an_attribute_that_is_not_there_is_an_attribute_error(counter: RemoteRef) -> None:
    with pytest.raises(AttributeError):
        counter.ask(pykka.messages.ProxyGetAttr(("nothing",)))
    with pytest.raises(AttributeError):
        counter.ask(pykka.messages.ProxyGetAttr(("nothing", "at", "all")))


def test_only_published_actors_can_be_reached(node: Node, runtime: Runtime, counter: RemoteRef) -> None:
    for address in ("Counter-7@lab", "nobody@lab", ":Counter-7@lab", "IoActor-1@lab"):
        ref = remote_ref(address)
        with pytest.raises(pykka.ActorDeadError, match="no living actor is published as"):
            ref.ask(1)
        assert not ref.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            ref.proxy()


def test_a_message_for_nobody_is_a_dead_letter_there(home: Runtime, runtime: Runtime) -> None:
    echo = start_in(home, Collector, "echo")
    connect("home")
    remote_ref("nobody@home").tell("lost")
    remote_ref("echo@home").ask("and now this")

    assert home.bus.dead_letters == 1
    assert echo.is_alive()


def test_an_actor_stops_and_its_name_is_free_again(home: Runtime, runtime: Runtime) -> None:
    first = start_in(home, Collector, "echo")
    connect("home")
    echo = remote_ref("echo@home")
    assert echo.is_alive()
    assert first.actor_urn == echo.actor_urn

    assert echo.stop() is True
    assert not first.is_alive()
    assert not echo.is_alive()
    assert echo.stop() is False
    assert echo.stop(block=False).get(timeout=DEADLINE) is False
    start_in(home, Collector, "echo")
    assert echo.is_alive()


def test_a_name_has_one_actor_and_can_be_taken_back(runtime: Runtime, home: Runtime) -> None:
    one, two = Collector.start(), Collector.start()
    publish(one, "one")
    publish(one, "one")
    publish(one, "uno")
    with pytest.raises(ValueError, match="'one' is the name of"):
        publish(two, "one")
    with pytest.raises(ValueError, match="can not be a name"):
        publish(two, "a@b")
    with pytest.raises(ValueError, match="not an actor of this runtime"):
        publish(start_in(home, Collector), "three")
    with pytest.raises(TypeError, match="not a reference"):
        publish("three", "three")  # type: ignore[arg-type]  # wrong on purpose

    assert unpublish("one")
    assert not unpublish("one")
    publish(two, "one")
    two.stop()
    publish(one, "one")
    with pytest.raises(pykka.ActorDeadError):
        publish(two, "two")


# -- references --------------------------------------------------------------------


def test_a_reference_in_a_message_can_be_used_where_it_arrives(counter: RemoteRef, node: Node) -> None:
    me = Collector.start()
    counter.proxy().tell_me(me, "hello").get()

    told = me.proxy().told.get().get(timeout=DEADLINE)
    assert {"from": node.process.pid, "text": "hello"} == told


def test_a_reference_comes_home_as_the_actors_own(counter: RemoteRef) -> None:
    me = Collector.start()

    back: Any = counter.ask({"me": [me], me: "key", "text": "\0ref-0"})
    assert back["me"][0] is me
    assert back[me] == "key"
    assert back["text"] == "\0ref-0"


def test_a_reference_to_an_unpublished_actor_publishes_it_by_being_sent(counter: RemoteRef) -> None:
    child = counter.proxy().child().get()

    assert isinstance(child, RemoteRef)
    assert child.proxy().add(3).get() == 3
    assert child == counter.ask(child)
    assert hash(child) == hash(counter.ask(child))
    assert child.stop()


def test_a_node_that_only_dials_can_be_reached_by_its_digits(home: Runtime, runtime: Runtime) -> None:
    connect("home")
    publish(Collector.start(), "me")

    back = remote_ref(f"me@{runtime.node}", runtime=home)
    assert isinstance(back, RemoteRef)
    assert back.ask("hi") == "hi"


def test_the_references_of_many_actors_that_ended_are_forgotten(home: Runtime, runtime: Runtime) -> None:
    start_in(home, Collector, "echo")
    connect("home")
    echo = remote_ref("echo@home")
    for _ in range(400):
        ref = Collector.start()
        assert echo.ask(ref) is ref
        ref.stop()

    keeper = runtime.bus.keep_links(dict)
    assert len(keeper.exports._addresses) < 150


def test_an_address_of_this_node_gives_the_actors_own_reference(home: Runtime) -> None:
    echo = start_in(home, Collector, "echo")

    assert remote_ref("echo@home", runtime=home) is echo
    assert remote_ref(f"echo@{home.node}", runtime=home) is echo
    nobody = remote_ref("nobody@home", runtime=home)
    with pytest.raises(pykka.ActorDeadError, match="'nobody'"):
        nobody.ask(1)
    early = RemoteRef(home, "later@home")
    start_in(home, Collector, "later")
    assert early.ask("now") == "now"


@pytest.mark.parametrize("address", ["", "x", "@lab", "x@"])
def test_what_is_no_address_is_refused(runtime: Runtime, address: str) -> None:
    with pytest.raises(ValueError, match="NAME@NODE"):
        remote_ref(address)


def test_on_the_reactor_waiting_for_another_node_is_an_error_and_not_a_hang(counter: RemoteRef) -> None:
    proxy = Collector.start().proxy()
    with pytest.raises(DeadlockError):
        proxy.call(listen).get()
    with pytest.raises(DeadlockError):
        proxy.call(lambda: counter.ask(1)).get()
    with pytest.raises(DeadlockError):
        proxy.call(lambda: counter.proxy()).get()
    with pytest.raises(DeadlockError):
        proxy.call(lambda: counter.wait_for_room(1)).get()

    assert proxy.call(counter.is_alive).get() is True
    assert proxy.call(lambda: counter.ask("later", block=False)).get().get(timeout=DEADLINE) == "later"
    assert here.actor is None


# -- making links ------------------------------------------------------------------


def test_connecting_tells_who_is_there_and_twice_makes_one_link(node: Node, runtime: Runtime) -> None:
    peer = connect("lab")

    assert ("lab", node.process.pid) == (peer.name, peer.pid)
    assert peer == connect("lab", block=False).get(timeout=DEADLINE)
    assert peer == connect(peer.node)
    path = os.path.join(os.environ["XDG_RUNTIME_DIR"], "regisseur", "lab.sock")
    assert peer == connect(path)
    assert peer == connect("ipc://" + path)
    assert [peer] == peers()
    assert remote_ref(f"counter@{peer.node}").ask("x") == "x"


def test_connecting_waits_for_a_node_that_comes_later(meeting: Path, runtime: Runtime) -> None:
    connected = connect("late", block=False, timeout=DEADLINE)
    with Runtime("late") as late:
        listen(late, "late")

        assert connected.get(timeout=DEADLINE).name == "late"


def test_a_node_that_is_not_there_is_an_error_that_says_where_was_looked(meeting: Path, runtime: Runtime) -> None:
    with pytest.raises(UnreachableError, match=f"'nobody'.*{meeting}/regisseur"):
        connect("nobody", timeout=0)
    with one_try(), pytest.raises(UnreachableError, match="nobody listens at /nowhere"):
        connect("ipc:///nowhere", timeout=DEADLINE)
    assert not disconnect("nobody")


def test_what_was_not_connected_to_is_lost_with_advice(runtime: Runtime) -> None:
    ref = remote_ref("counter@unheard")
    with pytest.raises(PeerLostError, match="node 'unheard' is lost: there is no link to it: connect to it first"):
        ref.tell(1)
    with pytest.raises(pykka.ActorDeadError, match="unheard"):
        ref.ask(1, block=False).get(timeout=DEADLINE)
    assert not ref.is_alive()
    with pytest.raises(PeerLostError):
        ref.stop()


def test_a_node_does_not_connect_to_itself(home: Runtime) -> None:
    with pytest.raises(RefusedError, match="this node itself"):
        connect("home", runtime=home)


def test_two_nodes_that_dial_each_other_at_once_are_linked(home: Runtime, runtime: Runtime) -> None:
    listen(runtime, "away")
    one = connect("home", block=False)
    two = connect("away", block=False, runtime=home)

    assert one.get(timeout=DEADLINE).name == "home"
    assert two.get(timeout=DEADLINE).name == "away"
    start_in(home, Collector, "a")
    start_in(runtime, Collector, "b")
    assert remote_ref("a@home", runtime=runtime).ask(1) == 1
    assert remote_ref("b@away", runtime=home).ask(2) == 2
    assert len(peers(home)) == 1
    assert disconnect("home", runtime=runtime)


def test_a_name_that_two_nodes_claim_is_that_of_its_socket(meeting: Path, home: Runtime, runtime: Runtime) -> None:
    assert listen(home, "home") == f"ipc://{meeting}/regisseur/home.sock"
    assert listen(home) == listen(home, "home")
    with pytest.raises(ValueError, match="listens as 'home' already"):
        listen(home, "other")
    with pytest.raises(FileExistsError, match=f"listens as 'home' already, in process {os.getpid()}"):
        listen(runtime, "home")


def test_a_node_without_a_name_is_found_by_its_digits(meeting: Path, runtime: Runtime) -> None:
    with Runtime("nameless") as nameless:
        address = listen(nameless)

        assert address == f"ipc://{meeting}/regisseur/{nameless.node}.sock"
        assert nameless.node == connect(nameless.node).node


def test_after_disconnecting_messages_fail_and_nothing_dials_again(home: Runtime, runtime: Runtime) -> None:
    start_in(home, Collector, "echo")
    connect("home")
    echo = remote_ref("echo@home")
    assert disconnect("home")

    with pytest.raises(PeerLostError, match="it was disconnected"):
        echo.ask(1)
    assert peers() == []
    assert not disconnect("home")
    connect("home")
    assert echo.ask(1) == 1


def test_links_add_no_thread(home: Runtime, runtime: Runtime) -> None:
    start_in(home, Collector, "echo")
    before = {t.name for t in threading.enumerate()}
    connect("home")
    remote_ref("echo@home").ask(1)

    assert before == {t.name for t in threading.enumerate()}


def test_stopping_the_runtime_removes_the_socket_and_every_descriptor(meeting: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    one, two = Runtime("one").start(), Runtime("two").start()
    listen(one, "one")
    listen(two, "two")
    start_in(one, Collector, "echo")
    connect("one", runtime=two)
    ref = remote_ref("echo@one", runtime=two)
    waiting = ref.ask(1, block=False)
    waiting.get(timeout=DEADLINE)
    connect("two", runtime=one)
    two.stop()
    one.stop()

    assert [f for f in os.listdir(meeting / "regisseur") if f.startswith(("one", "two"))] == []
    assert before == set(os.listdir("/proc/self/fd"))
    with pytest.raises(pykka.ActorDeadError, match="the runtime has been stopped"):
        ref.tell(1)


def test_a_peer_that_stops_in_order_is_known_to_have_said_goodbye(home: Runtime, meeting: Path) -> None:
    with Runtime("leaving") as leaving:
        gate = threading.Event()
        start_in(leaving, Gated, "gated", gate)
        listen(leaving, "leaving")
        connect("leaving", runtime=home)
        waiting = remote_ref("gated@leaving", runtime=home).ask(1, block=False)
        waiting.add_done_callback(lambda _: gate.set())

    with pytest.raises(PeerLostError, match=r"'leaving' .* it said goodbye: its runtime has been stopped"):
        waiting.get(timeout=DEADLINE)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="queue must be positive"):
        LinkSettings(queue=0)
    with pytest.raises(ValueError, match="no time to answer"):
        LinkSettings(heartbeat=1, patience=1.5)


def test_the_queue_of_a_link_is_bounded_and_room_can_be_waited_for(home: Runtime, runtime: Runtime) -> None:
    start_in(home, Collector, "echo")
    connect("home", settings=LinkSettings(queue=10))
    echo = remote_ref("echo@home")

    def flood() -> None:
        for number in range(11):
            echo.tell(number)

    with pytest.raises(LinkFullError, match=r"node 'home' .* is behind: 10 messages \(\d+ bytes\) are on their way"):
        Collector.start().proxy().call(flood).get()  # on the reactor, which can not flush meanwhile
    assert echo.wait_for_room(DEADLINE)  # type: ignore[union-attr]  # a remote one
    assert echo.ask("again") == "again"
