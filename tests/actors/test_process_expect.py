"""expect: what is found, from where on, and when the waiting ends. With real processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from processes import DEADLINE, Ears, Stage
from regisseur.actors.future import DeadlockError
from regisseur.actors.process import STDERR, STDOUT, ExpectOutputHandler, Process
from regisseur.actors.runtime import current_runtime


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


def found(result: Any) -> tuple[int, str]:
    """Index and text of a match."""
    index, match = result
    assert match is not None, "nothing was found"
    return index, match.group()


# -- one process -------------------------------------------------------------------------------------------------------


def test_a_search_begins_behind_the_match_before_it(stage: Stage) -> None:
    process = stage.process("echo one two three two").run(DEADLINE)

    assert found(process.expect("two")) == (0, "two")
    assert found(process.expect("t.o")) == (0, "two")
    assert process.expect("two", 0) == (None, None)


def test_of_several_regexes_the_first_that_matches_wins_and_the_others_take_nothing(stage: Stage) -> None:
    process = stage.process("echo one two three").run(DEADLINE)

    assert found(process.expect(["three", "one"])) == (1, "one")
    assert found(process.expect(["three", "one"])) == (0, "three")


@pytest.mark.parametrize(
    "regexes",
    ["b.", re.compile("b."), ["x", "b."], ("x", re.compile("b.")), ["x", re.compile("b.")]],
)
def test_regexes_are_one_or_many_text_or_compiled(stage: Stage, regexes: Any) -> None:
    assert found(stage.process("echo abc").run(DEADLINE).expect(regexes))[1] == "bc"


def test_a_list_of_regexes_is_not_changed(stage: Stage) -> None:
    regexes = ["x", "b"]
    stage.process("echo abc").run(DEADLINE).expect(regexes)

    assert regexes == ["x", "b"]


def test_text_is_compiled_for_lines(stage: Stage) -> None:
    process = stage.process("printf 'a\\nb\\nc'").run(DEADLINE)

    assert found(process.expect("^b$")) == (0, "b")


@pytest.mark.parametrize(
    ("regexes", "error"), [("(", re.error), ([], ValueError), ([b"x"], TypeError), (5, TypeError), ([5], TypeError)]
)
def test_what_is_no_regex_is_an_error_of_the_caller(stage: Stage, regexes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        stage.process("echo x").expect(regexes)


def test_a_stream_that_is_none_is_an_error_of_the_caller(stage: Stage) -> None:
    with pytest.raises(ValueError, match="no stream 3"):
        stage.process("echo x").expect("x", stream=3)


def test_it_waits_for_what_comes(stage: Stage) -> None:
    process = stage.process("cat").start()
    process.write("question ")
    assert process.expect("answer", 0.01) == (None, None)
    process.write("ans")
    process.write("wer\n")

    assert found(process.expect("answer", DEADLINE)) == (0, "answer")


def test_a_match_may_lie_across_what_came_at_different_times(stage: Stage) -> None:
    process = stage.process("cat").start()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = pool.submit(process.expect, "é+ n+", DEADLINE)
    for byte in "é é n".encode():
        process.write(bytes([byte]))

    assert found(waiting.result(DEADLINE)) == (0, "é n")
    pool.shutdown()


def test_zero_only_looks_and_is_no_failure(stage: Stage) -> None:
    process = stage.process("cat").start()

    assert process.expect("x", 0) == (None, None)
    assert process.expect("x", timeout=0.0) == (None, None)
    assert (process.expect_fail, process.ok) == (False, True)
    process.write("x\n")
    while process.expect("x", 0) == (None, None):
        assert process.running


@pytest.mark.parametrize("timeout", [0.02, "0.02", "0:0:0.02"])
def test_the_time_limit_ends_it_and_is_a_failure(stage: Stage, timeout: Any) -> None:
    process = stage.process("cat").start()

    assert process.expect("x", timeout) == (None, None)
    assert (process.expect_fail, process.ok) == (True, False)


def test_the_default_limit_is_that_of_the_process(stage: Stage) -> None:
    process = stage.process("cat", default_expect_timeout=0.02).start()

    assert process.expect("x") == (None, None)
    assert process.expect_fail


def test_none_is_no_limit_whatever_the_default(stage: Stage) -> None:
    process = stage.process("cat", default_expect_timeout=0).start()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = pool.submit(process.expect, "x", None)
    with pytest.raises(TimeoutError):
        waiting.result(0.05)
    process.write("x")

    assert found(waiting.result(DEADLINE)) == (0, "x")
    pool.shutdown()


@pytest.mark.parametrize("timeout", [None, 1000])
def test_the_end_of_the_stream_ends_it_and_is_a_failure(stage: Stage, timeout: Any) -> None:
    process = stage.shell("echo out; exec >&-; read line").start()  # cat would end at once, for lack of an output

    assert process.expect("never", timeout) == (None, None)
    assert process.expect_fail
    assert process.running
    assert stage.process("/no/such").start().expect("x") == (None, None)


def test_what_was_written_last_is_searched_before_the_end_is_told(stage: Stage) -> None:
    for _ in range(50):
        assert found(stage.process("printf 'no end'").start().expect("no end$", None)) == (0, "no end")


def test_stderr_has_a_position_of_its_own(stage: Stage) -> None:
    process = stage.shell("echo x; echo x y >&2").run(DEADLINE)

    assert found(process.expect("x")) == (0, "x")
    assert found(process.expect("x", stream=STDERR)) == (0, "x")
    assert found(process.expect("y", stream=STDERR)) == (0, "y")


def test_each_thread_has_a_position_of_its_own_even_with_the_number_of_another(stage: Stage) -> None:
    process = stage.process("echo one two").run(DEADLINE)
    results: list[Any] = []
    for _ in range(20):  # one after the other: the system gives the same number to many of them
        thread = threading.Thread(target=lambda: results.append((threading.get_ident(), process.expect("one", 0))))
        thread.start()
        thread.join()

    assert [found(result) for _, result in results] == [(0, "one")] * 20
    assert found(process.expect("two")) == (0, "two")
    assert process.expect("one", 0) == (None, None)


def test_without_backtracking_only_what_comes_is_searched(stage: Stage) -> None:
    process = stage.process("cat").start()
    process.write("old\n")
    assert process.expect("old", DEADLINE)[0] == 0
    begun = threading.Event()
    results: list[Any] = []

    def expect() -> None:
        assert process.expect("old|new", 0, backtrack=False) == (None, None)
        begun.set()
        results.append(process.expect("old|new", DEADLINE, backtrack=False))

    thread = threading.Thread(target=expect)
    thread.start()
    assert begun.wait(DEADLINE)
    process.write("new\n")
    thread.join()

    assert found(results[0]) == (0, "new")


def test_it_may_begin_before_the_start(stage: Stage) -> None:
    process = stage.process("echo here", default_stdout_handler=False)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = pool.submit(process.expect, "here", DEADLINE)
    with pytest.raises(TimeoutError):
        waiting.result(0.02)
    process.start()

    assert found(waiting.result(DEADLINE)) == (0, "here")
    assert process.wait(DEADLINE).stdout == ""
    pool.shutdown()


def test_a_reset_ends_the_wait_for_what_never_started(stage: Stage) -> None:
    process = stage.process("echo here")
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = pool.submit(process.expect, "here", None)
    with pytest.raises(TimeoutError):
        waiting.result(0.02)
    process.reset()

    assert waiting.result(DEADLINE) == (None, None)
    pool.shutdown()


def test_it_searches_what_lies_in_a_file_too(stage: Stage) -> None:
    process = stage.process("seq 300000", output_limit=10).start()

    assert found(process.expect("^299999$", DEADLINE)) == (0, "299999")
    assert found(process.expect("^300000$", DEADLINE)) == (0, "300000")


@pytest.mark.slow
def test_to_wait_in_vain_costs_no_more_than_it_must(stage: Stage) -> None:
    process = stage.process("seq 5000000").start()

    assert process.expect("never", DEADLINE) == (None, None)
    assert process.wait(DEADLINE).ended


def test_it_works_in_a_handler(stage: Stage) -> None:
    results: list[Any] = []

    def answer(process: Any, stream: int, chunk: str) -> None:
        other = Process("cat").start()
        other.write(chunk)
        results.append(other.expect("hello", DEADLINE))
        other.kill().wait(DEADLINE)

    stage.process("echo hello", stdout_handlers=[answer]).run(DEADLINE)

    assert found(results[0]) == (0, "hello")


def test_the_reactor_may_look_but_not_wait(stage: Stage) -> None:
    process = stage.process("cat").start()
    results: list[Any] = []
    done = threading.Event()

    def on_reactor() -> None:
        results.append(process.expect("x", 0))
        try:
            process.expect("x", DEADLINE)
        except DeadlockError as error:
            results.append(str(error))
        done.set()

    current_runtime().bus.call(on_reactor)
    assert done.wait(DEADLINE)

    assert results[0] == (None, None)
    assert "must not wait" in results[1]


# -- a handler for many ------------------------------------------------------------------------------------------------


def test_a_handler_waits_for_many_processes(stage: Stage) -> None:
    up = ExpectOutputHandler()
    processes = [stage.shell(f"echo server {n} up; cat", stdout_handlers=[up]).start() for n in range(5)]
    seen: dict[Any, str] = {}
    while len(seen) < 5:
        results = up.expect(["down", r"server (\d) up"], DEADLINE)
        assert results
        for (process, stream), (index, match) in results.items():
            assert (stream, index) == (1, 1)
            assert process not in seen
            seen[process] = match.group(1)

    assert [seen[process] for process in processes] == ["0", "1", "2", "3", "4"]


def test_it_returns_as_soon_as_one_matches_and_goes_on_behind_the_match(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    one, other = (stage.process("cat", stdout_handlers=handler).start() for _ in range(2))
    one.write("x y\n")

    assert {key[0] for key in handler.expect("x", DEADLINE)} == {one}
    assert {key[0] for key in handler.expect("y", DEADLINE)} == {one}
    assert handler.expect("x", 0) == {}
    other.write("x\n")
    assert {key[0] for key in handler.expect("x", DEADLINE)} == {other}


def test_it_tells_the_streams_apart(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    process = stage.shell("echo x >&2; cat", stdout_handlers=[handler], stderr_handlers=[handler]).start()

    assert set(handler.expect("x", DEADLINE)) == {(process, STDERR)}


def test_it_gives_up_after_its_limit_and_at_zero_only_looks(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    stage.process("cat", stdout_handlers=[handler]).start()

    assert handler.expect("x", 0) == {}
    assert handler.expect("x", "0.02") == {}


def test_it_gives_up_when_all_streams_have_ended_and_not_before(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    stage.process("/no/such", stdout_handlers=[handler]).run(DEADLINE)
    late = stage.process("cat", stdout_handlers=[handler]).start()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = pool.submit(handler.expect, "x")
    with pytest.raises(TimeoutError):
        waiting.result(0.05)
    late.write("x")
    assert {key[0] for key in waiting.result(DEADLINE)} == {late}
    waiting = pool.submit(handler.expect, "x")
    late.close_stdin()

    assert waiting.result(DEADLINE) == {}
    pool.shutdown()


def test_a_process_that_is_started_again_begins_anew_with_it(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    process = stage.process("cat", stdout_handlers=[handler]).start()
    process.write("old")
    process.close_stdin()
    process.wait(DEADLINE)
    process.reset().start()
    process.write("new")

    assert [match.group() for _, match in handler.expect("old|new", DEADLINE).values()] == ["new"]


def test_a_process_may_wait_by_a_handler_and_leaves_the_others_their_matches(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    one, other = (stage.process("cat", stdout_handlers=[handler]).start() for _ in range(2))
    other.write("x\n")
    assert other.expect("x", DEADLINE)[0] == 0

    assert one.expect("x", 0.02, expect_output_handler=handler) == (None, None)
    assert one.expect_fail
    assert found(other.expect("x", 0, expect_output_handler=handler)) == (0, "x")
    assert other.expect("x", 0, expect_output_handler=handler) == (None, None)


def test_a_handler_that_was_not_given_to_a_process_is_told_what_has_come_and_what_comes(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    process = stage.process("cat").start()
    process.write("old é\n")
    assert process.expect("old é", DEADLINE)[0] == 0
    assert found(process.expect("o.d .", DEADLINE, expect_output_handler=handler)) == (0, "old é")
    process.write("new\n")

    assert found(process.expect("o.d|new", DEADLINE, expect_output_handler=handler)) == (0, "new")
    process.write("last\n")
    assert handler.expect("last", DEADLINE).keys() == {(process, STDOUT)}
    process.close_stdin()
    assert process.expect("more", None, expect_output_handler=handler) == (None, None)


def test_what_has_come_is_not_told_to_a_handler_without_backtrack(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    process = stage.process("cat").start()
    process.write("old\n")
    assert process.expect("old", DEADLINE)[0] == 0
    first = process.expect("old|new", 0, backtrack=False, expect_output_handler=handler)
    process.write("new\n")

    assert first == (None, None)
    assert found(process.expect("old|new", DEADLINE, expect_output_handler=handler)) == (0, "new")


def test_a_handler_can_be_attached_when_all_is_over_and_before_the_start(stage: Stage) -> None:
    ended = stage.shell("echo out; echo err >&2").run(DEADLINE)
    assert ended.expect("err", None, STDERR, expect_output_handler=ExpectOutputHandler())[0] == 0
    later, given = ExpectOutputHandler(), ExpectOutputHandler()
    process = stage.process("cat", stdout_handlers=[given])
    for handler in (later, given):
        assert process.expect("x", 0, expect_output_handler=handler) == (None, None)
    process.start().write("x\n")

    for handler in (later, given):
        assert process.expect("x", DEADLINE, expect_output_handler=handler)[0] == 0
        assert process.expect("x", 0, expect_output_handler=handler) == (None, None)
    process.close_stdin()
    process.reset().start().write("again\n")
    assert process.expect("x|again", DEADLINE, expect_output_handler=later)[0] == 0


def test_nothing_is_lost_or_doubled_where_a_handler_is_attached_while_much_comes(stage: Stage) -> None:
    class Keeping(ExpectOutputHandler):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
            self.seen.append(string)
            super().read(process, stream, string, eof, error)

    for limit in (1 << 24, 1000):  # then it is spooled
        handlers = [Keeping() for _ in range(20)]
        process = stage.process("seq 200000", output_limit=limit).start()
        for handler in handlers:
            process.expect("^no such$", 0, expect_output_handler=handler)
        for handler in handlers:
            assert process.expect("^200000$", DEADLINE, expect_output_handler=handler)[0] == 0
            assert process.expect("more", None, expect_output_handler=handler) == (None, None)

        whole = process.wait(DEADLINE).stdout
        assert whole == "".join(f"{number}\n" for number in range(1, 200001))
        assert ["".join(handler.seen) == whole for handler in handlers] == [True] * 20


def test_what_is_not_kept_is_shown_to_a_handler_from_then_on(stage: Stage) -> None:
    handler = ExpectOutputHandler()
    process = stage.process("cat", default_stdout_handler=False).start()
    assert process.expect("x", 0, expect_output_handler=handler) == (None, None)
    process.write("x\n")

    assert process.expect("x", DEADLINE, expect_output_handler=handler)[0] == 0


def test_a_handler_that_fails_on_what_it_is_told_later_is_logged(stage: Stage) -> None:
    class Failing(ExpectOutputHandler):
        def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
            raise ValueError("no")

    with Ears() as ears:
        process = stage.process("echo x").run(DEADLINE)
        assert process.expect("x", 0, expect_output_handler=Failing()) == (None, None)
        assert re.fullmatch("an output handler of .* failed on stdout", ears.next())


def test_a_subclass_need_not_call_the_constructor(stage: Stage) -> None:
    class Mine(ExpectOutputHandler):
        def __init__(self, word: str) -> None:
            self.word = word

    handler = Mine("x")
    process = stage.process("echo x", stdout_handlers=[handler]).start()

    assert set(handler.expect(handler.word, DEADLINE)) == {(process, 1)}


def test_asyncio_may_expect_in_a_thread(stage: Stage) -> None:
    async def main() -> Any:
        process = stage.process("cat").start()
        waiting = asyncio.create_task(asyncio.to_thread(process.expect, "x", DEADLINE))
        await asyncio.sleep(0)
        process.write("x")
        return await waiting

    assert found(asyncio.run(main())) == (0, "x")
