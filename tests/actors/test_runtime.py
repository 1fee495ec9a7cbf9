"""Runtimes: made on first use, several at once, and what becomes of them at the end and in a fork."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pykka
import pytest

from performers import DEADLINE, Asker, Events, Gate, Performer, in_worker
from regisseur.actors import runtime as module
from regisseur.actors.actor import Actor, BlockingActor
from regisseur.actors.future import Future
from regisseur.actors.registry import ActorRegistry
from regisseur.actors.runtime import Runtime, current_runtime, stop_runtime, use_runtime


class Echo(Actor):
    """Gives back what it gets."""

    def on_receive(self, message: Any) -> Any:
        return message


def threads_of(prefix: str) -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t.name.startswith(prefix))


def run_script(script: str, *, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run *script* in a Python of its own, which must end without being ended."""
    begin = """
        import os, sys, threading, time
        from regisseur.actors import *
        import pykka

        class Echo(Actor):
            def on_receive(self, message):
                return message

        class Worker(BlockingActor):
            def on_receive(self, message):
                return message()
    """
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(begin) + textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def check(done: subprocess.CompletedProcess[str], expected: str, code: int = 0) -> None:
    """The script has printed *expected*, and nothing else."""
    assert (done.stdout, done.stderr, done.returncode) == (textwrap.dedent(expected).lstrip(), "", code)


# -- the beginning -----------------------------------------------------------------------------------------------------


def test_importing_starts_nothing() -> None:
    script = """
        import os, signal, sys, threading
        before = [signal.getsignal(n) for n in range(1, 32)], len(os.listdir("/proc/self/fd")), dict(os.environ)
        from regisseur.actors import *
        from regisseur import actors
        after = [signal.getsignal(n) for n in range(1, 32)], len(os.listdir("/proc/self/fd")), dict(os.environ)
        print(before == after, threading.active_count(), actors.runtime._current)
        print(open(f"/proc/self/task/{os.getpid()}/children").read())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=DEADLINE, check=False
    )

    assert done.stdout == "True 1 None\n\n", done.stderr


def test_the_runtime_of_the_process_is_made_on_first_use_and_once() -> None:
    done = run_script("""
        from regisseur.actors import runtime
        ref = Echo.start()
        print(runtime._current is current_runtime() is current_runtime(), current_runtime().running)
        print(threading.active_count(), [t.name for t in threading.enumerate()][1:])
    """)

    check(done, "True True\n2 ['regisseur-reactor']\n")


def test_many_threads_that_use_it_first_at_the_same_time_get_the_same_one() -> None:
    done = run_script("""
        barrier = threading.Barrier(8)
        seen = []

        def use():
            barrier.wait()
            seen.append(current_runtime())

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(seen), len(set(seen)))
    """)

    check(done, "8 1\n")


def test_a_runtime_has_one_thread_until_something_blocks() -> None:
    with Runtime("lean") as runtime, use_runtime(runtime):
        Echo.start().ask("x")
        assert threads_of("lean") == ["lean-reactor"]
        Asker.start().ask(lambda a: None)
        assert threads_of("lean") == ["lean-reactor", "lean-worker-1"]

    assert threads_of("lean") == []


def test_a_runtime_is_started_once() -> None:
    runtime = Runtime("once")
    with pytest.raises(AttributeError):
        runtime.bus  # noqa: B018  # to see that there is none before the start
    with runtime, pytest.raises(RuntimeError, match="this runtime is running: make a new one"):
        runtime.start()
    with pytest.raises(RuntimeError, match="this runtime is stopped: make a new one"):
        runtime.start()


def test_several_runtimes_live_side_by_side_and_their_actors_talk() -> None:
    with Runtime("one") as one, Runtime("two") as two:
        with use_runtime(one):
            first = Asker.start()
        with use_runtime(two):
            second = Asker.start()
            third = Echo.start()

        assert first.ask(lambda a: a.actor_runtime is one)
        assert second.ask(lambda a: a.actor_runtime is two)
        assert first.ask(lambda a: second.ask(lambda b: third.ask("through both"))) == "through both"
        assert first.ask(lambda a: type(a).start().ask(lambda b: b.actor_runtime is one)), (
            "a child lives with its parent"
        )
        one.stop()
        assert not first.is_alive()
        assert third.ask("still there") == "still there"


def test_use_runtime_gives_back_the_one_before() -> None:
    before = module._current
    with Runtime("outer") as outer, Runtime("inner") as inner, use_runtime(outer):
        with use_runtime(inner):
            assert current_runtime() is inner
        assert current_runtime() is outer
    assert module._current is before


def test_a_runtime_may_live_in_threads_other_than_the_main_one() -> None:
    results: list[Any] = []

    def live() -> None:
        with Runtime("elsewhere") as runtime:
            with use_runtime(runtime):
                ref = Asker.start()
            results.append(ref.ask(lambda a: 42))

    thread = threading.Thread(target=live)
    thread.start()
    thread.join(DEADLINE)

    assert results == [42]
    assert threads_of("elsewhere") == []


# -- the end -----------------------------------------------------------------------------------------------------------


def test_stop_ends_threads_and_descriptors_and_may_be_repeated() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    runtime = Runtime("short").start()
    with use_runtime(runtime):
        refs: list[Any] = [Echo.start(), Asker.start()]
        refs[1].ask(lambda a: None)
    for _ in range(3):
        runtime.stop()

    assert not runtime.running
    assert threads_of("short") == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not any(ref.is_alive() for ref in refs)
    assert not any(ref in ActorRegistry.get_all() for ref in refs)


def test_two_threads_may_stop_a_runtime_at_the_same_time() -> None:
    runtime = Runtime("twice").start()
    threads = [threading.Thread(target=runtime.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)

    assert not runtime.running
    assert threads_of("twice") == []


def test_stop_stops_the_actors_the_last_started_first() -> None:
    events = Events()

    class Named(Performer):
        def on_stop(self) -> None:
            self.events.add(self.actor_address)

    with Runtime("stage") as runtime, use_runtime(runtime):
        refs = [Named.start(events) for _ in range(5)]
        refs[-1].ask(lambda a: None)

    assert [n for n in events.names if n != "on_start"] == [ref.actor_address for ref in refs][::-1]


def test_stop_stops_actors_in_workers_too(gate: Gate) -> None:
    events = Events()
    with Runtime("stage") as runtime, use_runtime(runtime):
        in_worker(Performer).start(events)

    assert events.names == ["on_start", "on_stop"]


def test_after_the_stop_old_references_fail_clearly_and_at_once() -> None:
    with Runtime("gone") as runtime, use_runtime(runtime):
        ref = Echo.start()
        proxy = ref.proxy()

    for use in (lambda: ref.tell("x"), lambda: ref.ask("x"), ref.proxy, lambda: proxy.on_receive("x").get()):
        with pytest.raises(pykka.ActorDeadError):
            use()
    assert ref.stop() is False
    assert ref.ask("x", block=False).done()
    with pytest.raises(pykka.ActorDeadError, match="the runtime has been stopped"):
        runtime.bus.tell(ref.actor_address, "x")
    with pytest.raises(pykka.ActorDeadError, match="the runtime has been stopped"):
        runtime.call_later(0.0, lambda: None)
    with use_runtime(runtime):
        assert current_runtime() is not runtime
        stop_runtime()


def test_stop_ends_every_future_that_somebody_waits_for(gate: Gate) -> None:
    with Runtime("stage") as runtime, use_runtime(runtime):
        slow = Asker.start()
        futures = [slow.ask(lambda a: gate(), block=False) for _ in range(10)]
        futures.append(futures[0].map(str))
        futures.append(futures[1].join(futures[2]))
        assert gate.reached.wait(DEADLINE)
        errors: list[Any] = []
        waiting = [threading.Thread(target=lambda f=f: errors.append(f.exception(DEADLINE))) for f in futures]
        for thread in waiting:
            thread.start()
        runtime.stop(timeout=0.05)
        for thread in waiting:
            thread.join(DEADLINE)
        gate.open()

    assert {type(e) for e in errors} == {pykka.ActorDeadError}
    assert len(errors) == 12


def test_stop_ends_every_future_even_if_the_reactor_is_stuck(gate: Gate) -> None:
    runtime = Runtime("stuck").start()
    with use_runtime(runtime):
        ref = Echo.start()
    runtime.bus.call(gate)
    assert gate.reached.wait(DEADLINE)
    future = ref.ask("x", block=False)

    runtime.stop(timeout=0.05)

    with pytest.raises(pykka.ActorDeadError, match="the runtime has been stopped"):
        future.get(timeout=0)
    assert not ref.is_alive()
    gate.open()
    runtime.reactor.thread.join(DEADLINE)
    assert not runtime.reactor.thread.is_alive()


def test_an_actor_in_a_worker_may_stop_its_runtime() -> None:
    runtime = Runtime("suicidal").start()
    with use_runtime(runtime):
        ref = Asker.start()
    ref.tell(lambda a: a.actor_runtime.stop(timeout=0.2))
    assert ref.actor_stopped.wait(DEADLINE)
    runtime.reactor.thread.join(DEADLINE)

    assert not runtime.running


def test_the_reactor_can_not_stop_its_runtime_and_is_told_so() -> None:
    with Runtime("stage") as runtime, use_runtime(runtime):

        class Stops(Actor):
            def on_receive(self, message: Any) -> None:
                self.actor_runtime.stop()

        with pytest.raises(RuntimeError, match="can not stop its own runtime"):
            Stops.start().ask("x", timeout=DEADLINE)
        assert runtime.running


def test_hooks_run_at_the_stop_the_last_first_whatever_they_raise(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fail(error: Exception) -> None:
        seen.append(type(error).__name__)
        raise error

    with Runtime("stage") as runtime:
        runtime.on_stop(lambda: seen.append(threading.current_thread().name))
        runtime.on_stop(lambda: fail(OSError("it is gone")))
        runtime.on_stop(lambda: fail(ValueError("oops")))

    assert seen == ["ValueError", "OSError", "stage-reactor"]
    assert [str(r.exc_info[1]) for r in caplog.records if r.levelno == logging.ERROR and r.exc_info] == ["oops"]


def test_what_runs_in_a_runtime_that_ends_does_not_bring_up_another() -> None:
    before = module._current
    seen: list[Any] = []

    class Late(BlockingActor):
        def on_stop(self) -> None:
            try:
                seen.append(Echo.start())
            except pykka.ActorDeadError as error:
                seen.append(error)

    with Runtime("stage") as runtime, use_runtime(runtime):
        Late.start()

    (late,) = seen
    assert isinstance(late, pykka.ActorDeadError) or not late.is_alive()
    assert module._current is before


# -- later -------------------------------------------------------------------------------------------------------------


def test_calls_for_later_come_in_order_from_any_thread_and_can_be_taken_back(gate: Gate) -> None:
    with Runtime("stage") as runtime:
        seen: list[str] = []
        done: Future[None] = Future()
        runtime.bus.call(gate)  # none may come before all have been made
        assert gate.reached.wait(DEADLINE)
        runtime.call_later(0.01, lambda: (seen.append("third"), done.set())[0])  # type: ignore[func-returns-value]
        runtime.call_later(-2000.0, lambda: seen.append("first"))
        runtime.call_later(-1000.0, lambda: seen.append("second"))
        runtime.call_later(-1000.0, lambda: seen.append("never")).cancel()
        gate.open()
        done.get(timeout=DEADLINE)

    assert seen == ["first", "second", "third"]


def test_a_call_for_later_counts_from_when_it_was_made_and_not_from_when_the_reactor_heard(gate: Gate) -> None:
    with Runtime("stage") as runtime:
        runtime.bus.call(gate)
        assert gate.reached.wait(DEADLINE)
        called: Future[float] = Future()
        begun = time.monotonic()
        timer = runtime.call_later(0.05, lambda: called.set(time.monotonic()))
        gate.open()
        called.get(timeout=DEADLINE)

    assert begun <= timer.due - 0.05 <= time.monotonic()


# -- forks -------------------------------------------------------------------------------------------------------------

FORK = """
    import warnings
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork.*", DeprecationWarning)

    def in_child(function):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                function()
                sys.stdout.flush()
                code = 0
            finally:
                os._exit(code)
        print("child ended with", os.waitpid(pid, 0)[1])

    def error_of(function):
        try:
            return function()
        except pykka.ActorDeadError as error:
            return "is a fork" in str(error) or "of which this one is a fork" in str(error)
"""


def test_a_forked_child_gets_a_runtime_of_its_own() -> None:
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        parent = current_runtime()
        echo, worker = Echo.start(), Worker.start()
        worker.ask(lambda: None)

        def child():
            print("registry", ActorRegistry.get_all())
            print("echo", Echo.start().ask("in the child"), current_runtime() is parent, current_runtime().running)
            print("worker", Worker.start().ask(lambda: Echo.start().ask(os.getpid() != parent.pid)))
            stop_runtime()

        in_child(child)
        print(echo.ask("in the parent"), worker.ask(lambda: "too"), parent.running)
    """)
    )

    check(
        done,
        """
        registry []
        echo in the child False True
        worker True
        child ended with 0
        in the parent too True
        """,
    )


def test_in_a_forked_child_old_handles_give_a_clear_error_and_never_hang() -> None:
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        gate = threading.Event()
        echo, worker = Echo.start(), Worker.start()
        proxy = echo.proxy()
        pending = worker.ask(gate.wait, block=False)
        mapped = pending.map(str)
        ready = echo.ask("ready", block=False)
        ready.get()

        def child():
            import asyncio, concurrent.futures

            async def awaited():
                await pending

            for use in (
                lambda: echo.tell("x"),
                lambda: echo.ask("x"),
                lambda: echo.ask("x", block=False).get(),
                lambda: proxy.on_receive("x").get(),
                pending.get,
                pending.result,
                pending.exception,
                mapped.get,
                lambda: asyncio.run(awaited()),
                lambda: echo._bus.call(print),
                lambda: echo.actor_inbox.put("x"),
            ):
                print(error_of(use), end=" ")
            print(echo.stop(), worker.stop(block=False).get(), ready.get())

        in_child(child)
        gate.set()
        print(pending.get(), mapped.get(), echo.ask("alive"))
    """)
    )

    check(
        done,
        """
        True True True True True True True True True True True False False ready
        child ended with 0
        True True alive
        """,
    )


def test_processes_of_a_parent_are_not_waited_for_in_its_forked_child() -> None:
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        process = Process("cat").start()

        def child():
            print(error_of(process.wait), error_of(process.kill))
            print(Process("echo from the child").run().stdout, end="")
            stop_runtime()

        in_child(child)
        process.write(b"from the parent")
        process.close_stdin() if hasattr(process, "close_stdin") else process.kill()
        process.wait()
        print(process.ended)
    """)
    )

    check(done, "True True\nfrom the child\nchild ended with 0\nTrue\n")


def test_a_child_that_is_forked_from_an_actor_is_as_free_as_any() -> None:
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        worker = Worker.start()

        def child():
            print(Worker.start().ask(lambda: "in the child"), threading.active_count())
            stop_runtime()

        worker.ask(lambda: in_child(child))
        print(worker.ask(lambda: "in the parent"))
    """)
    )

    check(done, "in the child 3\nchild ended with 0\nin the parent\n")


def test_forks_in_the_midst_of_messages_of_many_threads_come_through() -> None:
    """Whatever lock is held at the moment of the fork, the child must not wait for it."""
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        busy = True
        echoes, workers = [Echo.start() for _ in range(3)], [Worker.start() for _ in range(3)]

        def chatter(number):
            while busy:
                echoes[number].tell("x")
                echoes[number].ask("x")
                workers[number].ask(lambda: Echo.start().stop())
                Echo.start().stop(block=False)

        threads = [threading.Thread(target=chatter, args=(n,)) for n in range(3)]
        for thread in threads: thread.start()

        def child():
            assert Worker.start().ask(lambda: Echo.start().ask("child")) == "child"
            assert Echo.start().stop()
            stop_runtime()

        for _ in range(20):
            in_child(child)
        busy = False
        for thread in threads: thread.join()
    """),
        seconds=60,
    )

    check(done, "child ended with 0\n" * 20)


@pytest.mark.slow
def test_a_pool_of_multiprocessing_that_forks_may_use_actors_in_each_worker() -> None:
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        import multiprocessing

        echo = Echo.start()

        def work(number):
            return Worker.start().ask(lambda: Echo.start().ask(number * number))

        with multiprocessing.get_context("fork").Pool(3) as pool:
            print(pool.map(work, range(20)) == [n * n for n in range(20)])
            pool.close()
            pool.join()
        print(echo.ask("in the parent"))
    """)
    )

    check(done, "True\nin the parent\n")


def test_a_runtime_that_was_started_by_hand_is_safe_in_a_fork_too() -> None:
    done = run_script(
        textwrap.dedent(FORK)
        + textwrap.dedent("""
        runtime = Runtime("by-hand").start()
        with use_runtime(runtime):
            ref = Echo.start()
        in_child(lambda: print(error_of(lambda: ref.ask("x")), runtime.running))
        print(ref.ask("alive"), runtime.running)
    """)
    )

    check(done, "True False\nchild ended with 0\nalive True\n")


# -- the end of the interpreter ----------------------------------------------------------------------------------------


def test_the_interpreter_ends_quietly_with_actors_running() -> None:
    done = run_script("""
refs = [Echo.start() for _ in range(1000)] + [Worker.start() for _ in range(20)]
for ref in refs[-20:]: ref.ask(lambda: None)
current_runtime().call_later(3600, print)
pending = refs[0].ask("x", block=False)
runtime = Runtime("by-hand").start()
    """)

    check(done, "")


def test_the_interpreter_ends_with_an_actor_that_never_returns() -> None:
    done = run_script("""
reached = threading.Event()
stuck = Worker.start().ask(lambda: (reached.set(), time.sleep(1000)), block=False)
reached.wait()
    """)

    check(done, "")


def test_a_message_sent_before_the_end_of_the_script_is_handled() -> None:
    done = run_script("""
        class Printer(Worker):
            def on_stop(self):
                print("on_stop", flush=True)

        printer = Printer.start()
        for number in range(50):
            printer.tell(lambda n=number: print(n, flush=True))
        printer.stop(block=False)
    """)

    check(done, "".join(f"{n}\n" for n in range(50)) + "on_stop\n")


def test_the_exit_code_of_a_script_that_fails_is_its_own() -> None:
    done = run_script("""
        Echo.start()
        sys.exit("the script says why")
    """)

    assert (done.stdout, done.stderr, done.returncode) == ("", "the script says why\n", 1)


def test_a_script_may_leave_by_os_exit() -> None:
    check(run_script("Worker.start().ask(lambda: None); os._exit(3)"), "", 3)
