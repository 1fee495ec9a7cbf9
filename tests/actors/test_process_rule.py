"""ProcessLife: whatever happens, and in whatever order, a process ends once and shows a state that makes sense."""

from __future__ import annotations

import errno
import signal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from regisseur.actors._process_rule import (
    Connecting,
    Effect,
    Ended,
    ForceDue,
    InputSent,
    KillWanted,
    ProcessLife,
    Send,
    SetTimer,
    Start,
    TimeoutDue,
    Withdrawn,
)
from regisseur.protocols.messages import (
    STDERR,
    STDOUT,
    InputFailed,
    OutputEnded,
    ProcessExited,
    ProcessSpawned,
    SpawnFailed,
)

SIGNALS = st.sampled_from([signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1])
KILLS = st.builds(
    KillWanted, SIGNALS, st.none() | st.floats(0, 100, allow_nan=False), st.sampled_from([False, False, True])
)
STATUSES = st.none() | st.integers(-64, 255)


def running(**kwargs: float) -> ProcessLife:
    life = ProcessLife(**kwargs)
    life.take(Start(1.0))
    life.take(ProcessSpawned(42, 2.0))
    return life


# -- one thing at a time -----------------------------------------------------------------------------------------------


def test_a_new_process_has_done_nothing() -> None:
    life = ProcessLife()

    assert (life.state, life.started, life.ended, life.error, life.killed) == ("new", False, False, False, False)
    assert life.start_date is life.end_date is life.timeout_date is life.pid is life.exit_code is None


def test_a_start_is_seen_at_once_and_dated_anew_when_it_runs() -> None:
    life = ProcessLife()

    assert life.take(Start(1.0)) == []
    assert (life.started, life.start_date, life.pid) == (True, 1.0, None)
    assert life.take(ProcessSpawned(42, 2.0)) == []
    assert (life.state, life.start_date, life.pid) == ("running", 2.0, 42)


def test_the_exit_ends_it_with_its_status() -> None:
    life = running()

    assert life.take(ProcessExited(3, 5.0)) == [Ended()]
    assert (life.ended, life.end_date, life.exit_code, life.error) == (True, 5.0, 3, False)


def test_a_failed_start_ends_it_with_the_reason() -> None:
    life = ProcessLife()
    life.take(Start(1.0))

    assert life.take(SpawnFailed(errno.ENOENT, "No such file or directory", "/x", 2.0)) == [Ended()]
    assert (life.started, life.ended, life.error, life.exit_code, life.pid) == (True, True, True, None, None)
    assert isinstance(life.error_reason, FileNotFoundError)
    assert (life.error_reason.errno, life.error_reason.filename) == (errno.ENOENT, "/x")


def test_a_failed_start_without_a_file_is_an_oserror_too() -> None:
    life = ProcessLife()
    life.take(Start(1.0))
    life.take(SpawnFailed(errno.EAGAIN, "no more processes", None, 2.0))

    assert isinstance(life.error_reason, BlockingIOError)
    assert str(life.error_reason) == f"[Errno {errno.EAGAIN}] no more processes"


def test_a_status_that_others_took_is_an_error() -> None:
    life = running()
    life.take(ProcessExited(None, 5.0))

    assert (life.ended, life.error, life.exit_code) == (True, True, None)
    assert isinstance(life.error_reason, ChildProcessError)
    assert "other code of this program" in str(life.error_reason)


def test_a_kill_sends_the_signal_and_sets_the_timer_for_sigkill() -> None:
    life = running()

    effects = life.take(KillWanted(signal.SIGTERM, 60.0))

    assert effects == [Send(signal.SIGTERM), SetTimer(60.0, ForceDue())]
    assert (life.killed, life.forced_kill) == (True, False)


def test_a_kill_that_is_never_to_be_forced_sets_no_timer() -> None:
    assert running().take(KillWanted(signal.SIGTERM, None)) == [Send(signal.SIGTERM)]


def test_sigkill_itself_needs_no_forcing() -> None:
    life = running()

    assert life.take(KillWanted(signal.SIGKILL, 1.0)) == [Send(signal.SIGKILL)]
    assert (life.killed, life.forced_kill) == (True, False)


def test_kills_before_the_process_is_there_wait_for_it_in_order() -> None:
    life = ProcessLife()
    life.take(Start(1.0))
    assert life.take(KillWanted(signal.SIGUSR1, None)) == []
    assert life.take(KillWanted(signal.SIGTERM, 7.0)) == []
    assert not life.killed

    effects = life.take(ProcessSpawned(42, 2.0))

    assert effects == [Send(signal.SIGUSR1), Send(signal.SIGTERM), SetTimer(7.0, ForceDue())]
    assert life.killed


def test_what_is_killed_before_it_has_begun_ends_as_by_that_signal() -> None:
    killed, forced, late, withdrawn = [ProcessLife(timeout=10.0, kill_timeout=5.0) for _ in range(4)]
    for life in (killed, forced, late, withdrawn):
        life.take(Start(1.0))
        life.take(Connecting(1.0))
    killed.take(KillWanted(signal.SIGINT, None))
    forced.take(KillWanted(signal.SIGTERM, 1.0))
    forced.take(ForceDue())
    late.take(TimeoutDue())

    for life in (killed, forced, late, withdrawn):
        life.take(Withdrawn(2.0))

    assert [life.exit_code for life in (killed, forced, late, withdrawn)] == [-2, -9, -15, None]
    assert [life.error for life in (killed, forced, late, withdrawn)] == [False] * 4


def test_a_kill_before_the_start_is_no_kill() -> None:
    life = ProcessLife()

    assert life.take(KillWanted(signal.SIGTERM, 1.0)) == []
    assert life.take(Start(1.0)) == life.take(ProcessSpawned(1, 2.0)) == []
    assert not life.killed


def test_a_signal_that_was_sent_already_is_not_sent_again() -> None:
    life = running()

    assert life.take(KillWanted(signal.SIGTERM, None, sent=True)) == []
    assert life.killed


def test_the_time_limit_begins_with_the_process_and_ends_in_sigterm_and_sigkill() -> None:
    life = ProcessLife(timeout=10.0, kill_timeout=5.0)
    life.take(Start(1.0))
    assert life.timeout_date is None

    assert life.take(ProcessSpawned(42, 2.0)) == [SetTimer(10.0, TimeoutDue())]
    assert life.timeout_date == 12.0
    assert life.take(TimeoutDue()) == [Send(signal.SIGTERM), SetTimer(5.0, ForceDue())]
    assert (life.timeouted, life.killed, life.forced_kill) == (True, True, False)
    assert life.take(ForceDue()) == [Send(signal.SIGKILL)]
    assert life.forced_kill


def test_it_is_forced_only_once() -> None:
    life = running()
    life.take(KillWanted(signal.SIGTERM, 1.0))
    life.take(KillWanted(signal.SIGTERM, 2.0))

    assert life.take(ForceDue()) == [Send(signal.SIGKILL)]
    assert life.take(ForceDue()) == []


@pytest.mark.parametrize(
    ("sent", "written", "failed"), [(0, 0, False), (5, 5, False), (5, 6, False), (5, 4, True), (5, 0, True)]
)
def test_input_that_was_not_taken_is_a_write_error(sent: int, written: int, failed: bool) -> None:
    life = running()
    for _ in range(sent):
        life.take(InputSent(1))
    life.take(ProcessExited(0, 5.0, written))

    assert life.write_error is failed


def test_each_stream_has_its_own_read_error() -> None:
    life = running()
    life.take(OutputEnded(STDOUT, 0))
    assert (life.stdout_ioerror, life.stderr_ioerror) == (False, False)
    life.take(OutputEnded(STDERR, errno.EIO))
    assert (life.stdout_ioerror, life.stderr_ioerror) == (False, True)
    life.take(OutputEnded(STDOUT, errno.EIO))
    assert (life.stdout_ioerror, life.stderr_ioerror) == (True, True)


# -- everything in any order ------------------------------------------------------------------------------------------


class AnyLife(RuleBasedStateMachine):
    """Takes events in any order, also in one that can not be, and remembers what must come of them."""

    def __init__(self) -> None:
        super().__init__()
        self.life = ProcessLife(timeout=10.0, kill_timeout=5.0)
        self.effects: list[Effect] = []
        self.wanted: list[int] = []
        """Signals that must be sent when the process is there."""
        self.input_failed = False
        self.now = 0.0

    def take(self, event: object) -> list[Effect]:
        before = {name: getattr(self.life, name) for name in ProcessLife.__slots__}
        effects = self.life.take(event)
        self.effects += effects
        if before["ended"]:
            assert effects == []
            after = {name: getattr(self.life, name) for name in ProcessLife.__slots__}
            late = {"write_error", "stdout_ioerror", "stderr_ioerror", "input_sent"}
            assert {n: v for n, v in before.items() if n not in late} == {
                n: v for n, v in after.items() if n not in late
            }
        return effects

    def later(self) -> float:
        self.now += 1.0
        return self.now

    @rule()
    def start(self) -> None:
        self.take(Start(self.later()))

    @rule()
    def spawned(self) -> None:
        starting = self.life.state == "starting"
        effects = self.take(ProcessSpawned(42, self.later()))
        if starting:
            assert [e.signal for e in effects if isinstance(e, Send)] == self.wanted
            assert SetTimer(10.0, TimeoutDue()) in effects
        else:
            assert effects == []

    @rule(number=st.sampled_from([errno.ENOENT, errno.EACCES, errno.EMFILE]), name=st.none() | st.just("/x"))
    def spawn_failed(self, number: int, name: str | None) -> None:
        self.take(SpawnFailed(number, "reason", name, self.later()))

    @rule(kill=KILLS)
    def kill(self, kill: KillWanted) -> None:
        state = self.life.state
        effects = self.take(kill)
        sent = [e.signal for e in effects if isinstance(e, Send)]
        if state == "starting":
            assert effects == []
            self.wanted += [] if kill.sent else [kill.signal]
        elif state == "running":
            assert sent == ([] if kill.sent else [kill.signal])
            forced = kill.force_after is not None and kill.signal != signal.SIGKILL
            assert [e.delay for e in effects if isinstance(e, SetTimer)] == ([kill.force_after] if forced else [])
            assert self.life.killed
        else:
            assert effects == []

    @rule()
    def timeout(self) -> None:
        running = self.life.state == "running"
        effects = self.take(TimeoutDue())
        assert effects == ([Send(signal.SIGTERM), SetTimer(5.0, ForceDue())] if running else [])

    @rule()
    def force(self) -> None:
        due = self.life.state == "running" and not self.life.forced_kill
        assert self.take(ForceDue()) == ([Send(signal.SIGKILL)] if due else [])

    @rule(stream=st.sampled_from([STDOUT, STDERR]), number=st.sampled_from([0, errno.EIO]))
    def output_ended(self, stream: int, number: int) -> None:
        self.take(OutputEnded(stream, number))

    @rule(size=st.integers(1, 100))
    def input_sent(self, size: int) -> None:
        self.take(InputSent(size))

    @rule()
    def input_fails(self) -> None:
        self.input_failed = True
        self.take(InputFailed(errno.EPIPE))

    @rule(status=STATUSES, missing=st.integers(0, 3))
    def exited(self, status: int | None, missing: int) -> None:
        ended = self.life.ended
        written = max(0, self.life.input_sent - missing)
        lost = written < self.life.input_sent
        self.take(ProcessExited(status, self.later(), written))
        if not ended:
            self.input_failed |= lost

    @precondition(lambda self: self.life.ended)
    @rule()
    def end_again(self) -> None:
        assert self.take(ProcessExited(0, self.later())) == []
        assert self.take(SpawnFailed(errno.EIO, "late", None, self.later())) == []

    @invariant()
    def it_ends_exactly_once(self) -> None:
        assert self.effects.count(Ended()) == int(self.life.ended)

    @invariant()
    def nothing_is_sent_before_it_runs_or_after_it_has_ended(self) -> None:
        if self.life.pid is None:
            assert not [effect for effect in self.effects if not isinstance(effect, Ended)]
        if self.life.ended:
            assert self.effects[-1] == Ended()

    @invariant()
    def the_state_makes_sense(self) -> None:
        life = self.life
        assert life.started is (life.state != "new")
        assert life.ended is (life.state == "ended")
        assert (life.start_date is None) is (not life.started)
        assert (life.end_date is None) is (not life.ended)
        assert life.end_date is None or life.start_date is None or life.start_date <= life.end_date
        assert life.error is (life.error_reason is not None)
        assert not life.error or life.ended
        assert (life.exit_code is not None) is (life.ended and not life.error)
        assert (life.timeout_date is not None) is (life.pid is not None)
        assert not (life.timeouted or life.forced_kill) or life.killed
        assert life.write_error is self.input_failed


TestAnyLife = AnyLife.TestCase
