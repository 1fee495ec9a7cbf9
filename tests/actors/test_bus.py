"""The bus: messages in order, by value or by reference, from any thread and at any moment."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import signal
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pykka
import pytest

from linknodes import until
from performers import DEADLINE, Asker, Gate, Performer, in_worker
from regisseur.actors._context import here
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import Future, Timeout
from regisseur.actors.ref import ActorRef
from regisseur.actors.runtime import Runtime
from regisseur.protocols import message as message_module
from regisseur.protocols.errors import FieldError, MalformedError, OversizedError, ProtocolError
from regisseur.protocols.message import message
from regisseur.protocols.messages import OutputRead, ProcessExited, SignalProcess, SpawnProcess, WriteInput
from regisseur.protocols.plain import LIMIT

pytestmark = pytest.mark.usefixtures("stage")


class Collector(Actor):
    """Keeps all messages; gives them back when it is asked for with None."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message is None:
            return self._seen
        self._seen.append(message)
        return message


@pytest.fixture
def collector(base: type[Actor], stage: Runtime) -> ActorRef[Collector]:
    return (in_worker(Collector) if base.blocking else Collector).start()


@pytest.fixture
def own_kinds() -> Iterator[None]:
    """Message types that a test registers are gone after it."""
    kinds, classes = set(message_module._by_kind), set(message_module._by_class)
    yield
    for kind in message_module._by_kind.keys() - kinds:
        del message_module._by_kind[kind]
    for cls in message_module._by_class.keys() - classes:
        del message_module._by_class[cls]


def settle(runtime: Runtime) -> Literal[False]:
    """Wait until the reactor has handed out all that was sent, and what it sent to itself because of that."""
    future: Future[None] = Future()
    runtime.bus.call(functools.partial(runtime.bus.call, future.set))
    future.get(timeout=DEADLINE)
    return False


def eventually(runtime: Runtime, condition: Callable[[], bool]) -> bool:
    """Whether *condition* comes true while the reactor goes round."""
    return any(condition() or settle(runtime) for _ in range(1000))


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_messages_of_one_thread_arrive_in_order_whatever_their_kind(collector: ActorRef[Collector]) -> None:
    sent: list[Any] = []
    for number in range(500):
        sent += [ProcessExited(number, 1.5), f"object {number}", OutputRead(1, b"%d" % number), {"number": number}]
    for each in sent:
        collector.tell(each)

    assert collector.ask(None) == sent


class Echo(Actor):
    """Sends what it is told to another actor: two messages of ours, an object, and one with bulk, n times."""

    def __init__(self, to: str, count: int) -> None:
        super().__init__()
        self._to = to
        self._count = count

    def on_receive(self, _: Any) -> None:
        tell = self.actor_runtime.bus.tell
        for number in range(self._count):
            tell(self._to, ProcessExited(number, 0.0))
            tell(self._to, SignalProcess("p", number, descendants=False))
            tell(self._to, ["object", number])
            tell(self._to, OutputRead(number, b"bulk"))
            tell(self._to, ProcessExited(number, 1))  # an int where the class says float


def test_messages_of_the_reactor_to_itself_arrive_in_order_whatever_their_kind(
    stage: Runtime, collector: ActorRef[Collector]
) -> None:
    Echo.start(collector.actor_address, 50).tell("go")
    settle(stage)
    assert eventually(stage, lambda: len(collector.ask(None, block=True)) == 250)
    seen = collector.ask(None)
    assert [
        sent
        for n in range(50)
        for sent in (
            ProcessExited(n, 0.0),
            SignalProcess("p", n, descendants=False),
            ["object", n],
            OutputRead(n, b"bulk"),
            ProcessExited(n, 1.0),
        )
    ] == seen


def test_actors_that_answer_each_other_for_ever_leave_the_reactor_time_for_others(stage: Runtime) -> None:
    class Player(Actor):
        def on_receive(self, message: Any) -> None:
            if message != "stop" and not self.actor_stopped.is_set():
                stage.bus.tell(message, self.actor_address)

    one, other = Player.start(), Player.start()
    one.tell(other.actor_address)
    assert in_worker(Collector).start().ask("late", timeout=DEADLINE) == "late"
    one.stop()
    other.stop()


def test_messages_of_many_threads_arrive_once_each_and_in_order_for_each_thread(
    collector: ActorRef[Collector],
) -> None:
    def send(thread: int) -> None:
        for number in range(300):
            collector.tell(SignalProcess(f"thread {thread}", number, False))
            collector.tell((thread, number))
            collector.tell(OutputRead(thread, b"%d" % number))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = collector.ask(None, block=True)

    assert len(seen) == 6 * 900
    in_order = list(range(300))
    for n in range(6):
        name = f"thread {n}"
        assert [m[1] for m in seen if isinstance(m, tuple) and m[0] == n] == in_order
        assert [m.signal for m in seen if isinstance(m, SignalProcess) and m.process == name] == in_order
        assert [int(m.bulk) for m in seen if isinstance(m, OutputRead) and m.stream == n] == in_order


def test_a_message_of_a_registered_type_arrives_as_an_equal_copy(collector: ActorRef[Collector]) -> None:
    sent = SpawnProcess("Process-1", (b"ls", b"-l"), cwd=b"/tmp")
    arrived = collector.ask(sent)

    assert arrived == sent
    assert arrived is not sent


def test_any_other_object_is_handed_over_as_it_is(collector: ActorRef[Collector]) -> None:
    for each in (object(), [1], {"a": 1}, lambda: None, threading.Lock(), Future[int](), b"bytes", ValueError("v")):
        assert collector.ask(each) is each


def test_objects_that_were_handed_over_are_not_kept(stage: Runtime, collector: ActorRef[Collector]) -> None:
    for number in range(100):
        collector.ask([number])

    assert eventually(stage, lambda: stage.bus._objects == {})


def test_bulk_bytes_of_any_size_arrive_behind_their_message(collector: ActorRef[Collector]) -> None:
    for size in (0, 1, 65_536, LIMIT + 1):
        data = bytes(size)
        assert collector.ask(WriteInput("Process-1", data)) == WriteInput("Process-1", data)


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data")], ids=lambda d: type(d).__name__)
def test_bulk_bytes_may_be_any_buffer_and_arrive_as_bytes(collector: ActorRef[Collector], data: Any) -> None:
    arrived = collector.ask(OutputRead(1, data), block=True)

    assert arrived.bulk == b"data"
    assert type(arrived.bulk) is bytes


def test_plain_data_in_a_message_arrives_as_it_was(own_kinds: None, collector: ActorRef[Collector]) -> None:
    @message("test.anything")
    class Anything:
        value: Any

    value = {"a": (1, {2, frozenset([b"x"])}), 2**70: [None, True, 1.5]}

    assert collector.ask(Anything(value)) == Anything(value)


# -- what can not be sent ----------------------------------------------------------------------------------------------


def test_what_can_not_travel_is_an_error_of_the_sender_and_all_goes_on(
    own_kinds: None, collector: ActorRef[Collector]
) -> None:
    @message("test.anything")
    class Anything:
        value: Any

    bad: list[tuple[Any, type[Exception]]] = [
        (Anything(object()), TypeError),
        (Anything([lambda: None]), TypeError),
        (ProcessExited(object(), 1.0), TypeError),  # type: ignore[arg-type]  # that is the point
        (ProcessExited(2**70, 1.0), MalformedError),
        (SignalProcess("\udcff", 15, False), ProtocolError),
        (SpawnProcess("p", (b"x" * LIMIT,)), OversizedError),
        (OutputRead(1, "text"), TypeError),  # type: ignore[arg-type]  # that is the point
        (OutputRead(1, None), TypeError),  # type: ignore[arg-type]  # that is the point
        (OutputRead(1, 5), TypeError),  # type: ignore[arg-type]  # that is the point
    ]
    for each, error in bad:
        with pytest.raises(error):
            collector.tell(each)
        with pytest.raises(error):
            collector.ask(each, timeout=DEADLINE)
        collector.tell(OutputRead(2, b"after it"))
        assert collector.ask(ProcessExited(0, 2.0), timeout=DEADLINE) == ProcessExited(0, 2.0)

    assert collector.ask(None) == [OutputRead(2, b"after it"), ProcessExited(0, 2.0)] * len(bad)


def test_a_question_that_could_not_be_sent_is_not_remembered(stage: Runtime, collector: ActorRef[Collector]) -> None:
    with pytest.raises(OversizedError):
        collector.ask(SpawnProcess("p", (b"x" * LIMIT,)))

    assert stage.bus._asked == {}


def test_a_question_that_can_not_be_opened_ends_with_the_error(
    collector: ActorRef[Collector], caplog: pytest.LogCaptureFixture
) -> None:
    ill_typed: Any = (1, 2)

    with pytest.raises(FieldError, match="argv"):
        collector.ask(SpawnProcess("p", ill_typed), timeout=DEADLINE)
    collector.tell(SpawnProcess("p", ill_typed))

    assert collector.ask("alive", timeout=DEADLINE) == "alive"
    assert f"a message for {collector.actor_address} could not be opened" in caplog.text


# -- dead letters ------------------------------------------------------------------------------------------------------


def test_a_message_for_nobody_is_counted_and_logged(stage: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(12):
        stage.bus.tell("Nobody-1", ProcessExited(0, 1.0))
    settle(stage)

    assert stage.bus.dead_letters == 12
    lines = [r.getMessage() for r in caplog.records if r.name == "regisseur.bus"]
    assert lines == [f"dead letter no. {n}: ProcessExited for Nobody-1" for n in range(1, 11)]  # and then each 1000th


def test_a_question_for_nobody_ends_with_an_error_and_is_no_dead_letter(stage: Runtime) -> None:
    with pytest.raises(pykka.ActorDeadError, match="Nobody-1 stopped before handling the message"):
        stage.bus.ask("Nobody-1", "question").get(timeout=DEADLINE)

    assert stage.bus.dead_letters == 0


def test_messages_that_wait_when_an_actor_stops_are_dead_letters(stage: Runtime, gate: Gate) -> None:
    ref = in_worker(Performer).start()
    ref.tell(lambda a: gate())
    assert gate.reached.wait(DEADLINE)
    stopped = ref.stop(block=False)
    for _ in range(5):
        ref.tell("too late")
    gate.open()
    stopped.get(timeout=DEADLINE)

    assert eventually(stage, lambda: stage.bus.dead_letters == 5)


def test_a_reply_that_nobody_waits_for_goes_nowhere(stage: Runtime) -> None:
    stage.bus.reply("", 12345, "value")
    stage.bus.reply_error("", 12345, ValueError())


# -- asking by address -------------------------------------------------------------------------------------------------


def test_an_actor_is_found_by_its_address(stage: Runtime, collector: ActorRef[Collector]) -> None:
    assert stage.bus.find(collector.actor_address) is collector
    assert stage.bus.find("Nobody-1") is None
    assert stage.bus.ask(collector.actor_address, "by address").get(timeout=DEADLINE) == "by address"


def test_an_ask_by_address_may_have_a_timeout_which_names_the_address(stage: Runtime, gate: Gate) -> None:
    slow = Asker.start()
    asked = stage.bus.ask(slow.actor_address, lambda a: gate(), timeout=0.01)

    with pytest.raises(Timeout, match=rf"no reply from {slow.actor_address} after 0\.01 seconds"):
        asked.get(timeout=DEADLINE)
    gate.open()
    assert slow.ask(lambda a: "alive", timeout=DEADLINE) == "alive"
    assert stage.bus._asked == {}


# -- sender and cause --------------------------------------------------------------------------------------------------


def test_what_an_actor_does_bears_the_cause_of_what_it_was_told(stage: Runtime) -> None:
    causes: list[int] = []

    class Chain(Actor):
        def on_receive(self, message: int) -> None:
            causes.append(here.cause)
            if message:
                self.actor_ref.tell(message - 1)

    ref = Chain.start()
    for expected in (4, 8):
        ref.tell(3)
        assert eventually(stage, lambda expected=expected: len(causes) == expected)  # type: ignore[misc]  # binds early

    assert len(set(causes[:4])) == len(set(causes[4:])) == 1
    assert 0 < causes[0] < causes[4]


def test_what_the_reactor_calls_is_not_on_behalf_of_the_actor_before(stage: Runtime, gate: Gate) -> None:
    seen: list[Any] = []
    ref = Performer.start()
    stage.bus.call(gate)  # so that both that follow are handled in one go
    assert gate.reached.wait(DEADLINE)
    ref.tell(lambda a: seen.append(here.actor))
    stage.bus.call(lambda: seen.append(here.actor))
    gate.open()
    settle(stage)

    assert [str(ref), "None"] == [str(a) for a in seen]


# -- at awkward moments ------------------------------------------------------------------------------------------------


def test_a_signal_handler_may_send_while_its_thread_is_sending(collector: ActorRef[Collector]) -> None:
    from_handler: list[int] = []

    def handle(_signal: int, _frame: types.FrameType | None) -> None:
        number = len(from_handler)
        from_handler.append(number)
        collector.tell(OutputRead(9, b"from the handler"))
        collector.tell(("from the handler", number))

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        number = 0
        while len(from_handler) < 100:
            collector.tell(OutputRead(1, b"%d" % number))
            collector.tell(SignalProcess("p", number, False))
            number += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    seen = collector.ask(None, timeout=DEADLINE, block=True)

    assert [int(m.bulk) for m in seen if isinstance(m, OutputRead) and m.stream == 1] == list(range(number))
    assert [m.signal for m in seen if isinstance(m, SignalProcess)] == list(range(number))
    assert sorted(m[1] for m in seen if isinstance(m, tuple)) == from_handler  # handlers interrupt each other too
    assert seen.count(OutputRead(9, b"from the handler")) == len(from_handler)


def test_who_asks_while_its_own_thread_is_sending_gets_a_reply(stage: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler or a finalizer may do, at the worst moments."""
    collector = Collector.start()
    bus, send = stage.bus, stage.bus._send
    seen: list[Any] = []

    def ask() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(bus, "_send", send)
            bus.tell(collector.actor_address, "handler")
            seen.append(list(collector.ask(None, timeout=DEADLINE, block=True)))

    def send_and_be_interrupted(*arguments: Any) -> None:
        ask()
        send(*arguments)
        ask()

    until(lambda: not bus._awake)  # else there is no need to wake it, and nothing to interrupt
    monkeypatch.setattr(bus, "_send", send_and_be_interrupted)
    collector.tell(OutputRead(1, b"whole"))
    monkeypatch.undo()

    assert seen == [[OutputRead(1, b"whole"), "handler"], [OutputRead(1, b"whole"), "handler", "handler"]]


def test_a_send_that_is_broken_off_keeps_up_no_other(
    stage: Runtime, collector: ActorRef[Collector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by KeyboardInterrupt."""
    bus, send = stage.bus, stage.bus._send
    breaks = [False, True]

    def send_and_break_off(*arguments: Any) -> None:
        if breaks.pop():
            send(*arguments)
        raise KeyboardInterrupt

    told: list[int] = []
    while breaks:  # it need not be woken for a message that comes while it is awake, for whatever reason
        until(lambda: not bus._awake)
        monkeypatch.setattr(bus, "_send", send_and_break_off)
        told.append(len(told))
        with contextlib.suppress(KeyboardInterrupt):
            collector.tell(told[-1])
        monkeypatch.undo()

    assert [each for each in collector.ask(None, timeout=DEADLINE, block=True) if each is not None] == told


def test_an_actor_that_ends_while_others_send_to_it_leaves_no_question_open(stage: Runtime, base: type[Actor]) -> None:
    kind = in_worker(Performer) if base.blocking else Performer
    futures: list[Future[Any]] = []
    for _ in range(30):
        ref = kind.start()
        barrier = threading.Barrier(3)

        def ask_on(ref: ActorRef[Performer], barrier: threading.Barrier) -> None:
            barrier.wait(DEADLINE)
            futures.extend(ref.ask(lambda a: 1, block=False) for _ in range(30))

        threads = [threading.Thread(target=ask_on, args=(ref, barrier)) for _ in range(2)]
        for thread in threads:
            thread.start()
        barrier.wait(DEADLINE)
        ref.tell(lambda a: a.fail("oops"))
        for thread in threads:
            thread.join()

    errors = [f.exception(timeout=DEADLINE) for f in futures]

    assert len(errors) == 30 * 60
    assert {type(e) for e in errors} <= {type(None), pykka.ActorDeadError}
    assert stage.bus._asked == {}


# -- who hears of an end -----------------------------------------------------------------------------------------------


def test_watchers_are_called_once_on_the_reactor_when_the_actor_has_ended(
    stage: Runtime, performer_class: type[Performer]
) -> None:
    ref = performer_class.start()
    told: Future[tuple[str, str]] = Future()

    def watcher(actor: Actor) -> None:
        told.set((actor.actor_address, threading.current_thread().name))

    assert stage.bus.watch(ref.actor_address, watcher)
    assert not told.done()
    ref.stop()

    assert told.get(timeout=DEADLINE) == (ref.actor_address, "stage-reactor")
    assert not stage.bus.watch(ref.actor_address, watcher)


def test_a_watcher_hears_of_the_end_after_the_last_hook(stage: Runtime, gate: Gate) -> None:
    class Slow(BlockingActor):
        def on_stop(self) -> None:
            gate()

    ref = Slow.start()
    told: Future[str | None] = Future()
    stage.bus.watch(ref.actor_address, lambda a: told.set("told"))
    ref.stop(block=False)
    assert gate.reached.wait(DEADLINE)
    settle(stage)

    assert not told.done()
    gate.open()
    assert told.get(timeout=DEADLINE) == "told"


def test_a_watch_may_be_taken_back(stage: Runtime, performer_class: type[Performer]) -> None:
    ref = performer_class.start()
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    first, second = (functools.partial(lambda name, actor: told.put(name), name) for name in ("first", "second"))
    for watcher in (first, second):
        stage.bus.watch(ref.actor_address, watcher)
    for _ in range(2):
        stage.bus.unwatch(ref.actor_address, first)
    stage.bus.unwatch("Nobody-1", first)
    ref.stop()

    assert told.get(timeout=DEADLINE) == "second"  # and the first would have been told before it
    assert stage.bus._watchers == {}


@pytest.mark.parametrize("how", ["stop", "failure", "on_start", "on_stop", "on_failure", "exit"])
def test_a_dead_actor_knows_why_it_failed(performer_class: type[Performer], stage: Runtime, how: str) -> None:
    def fail(*_: Any) -> None:
        raise SystemExit(3) if how == "exit" else RuntimeError(f"{how} failure")

    kind: Any = type("Failing", (performer_class,), {how: fail} if how.startswith("on_") else {})
    ref: Any = kind.start()
    told: Future[str | None] = Future()
    if not stage.bus.watch(ref.actor_address, lambda a: told.set(ref.actor_stopped.failure)):
        told.set(ref.actor_stopped.failure)
    if how in ("failure", "exit"):
        ref.tell(fail)
    elif how == "on_failure":
        ref.tell(lambda a: a.fail("the first failure counts"))
    else:
        ref.stop()

    expected = {"stop": None, "on_failure": "ValueError: the first failure counts", "exit": "SystemExit: 3"}
    assert told.get(timeout=DEADLINE) == expected.get(how, f"RuntimeError: {how} failure")
