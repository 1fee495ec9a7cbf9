"""Action: a set of processes that start together, and what all kinds of actions have in common.

An `Action` is a handle. Starting it makes an `ActionActor`, which changes the
state that the handle shows; any thread may use a handle. What becomes of the
processes is data: one look at `ok` tells.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from ..protocols.expect import compile_patterns
from ..protocols.messages import STDOUT
from ._action_actor import ActionActor, ActionRun, Part
from ._action_expect import expect_each, expect_with
from ._action_rule import ActionLife, Ended, KillWanted, ParallelLife, Start, StartParts, WindowLife
from ._expect import ExpectOutputHandler, Regexes
from ._handlers import HandlerQueue
from ._process_base import Duration
from .future import Future, Timeout
from .gathering import HostGroup, StreamName, gather_output
from .log import style
from .report import Report, Stats
from .runtime import current_runtime
from .time_utils import format_unixts, get_seconds

if TYPE_CHECKING:
    import re

    from ._process import Process
    from .runtime import Runtime

__all__ = ["Action", "ActionLifecycleHandler"]

logger = logging.getLogger("regisseur")


class ActionLifecycleHandler:
    """Told of the start and the end of actions; override what you need.

    Called in a worker thread. The calls for one action come in order, one at a time. What they raise is logged.
    """

    def start(self, action: Any) -> None:
        """*action* has been started; its processes start at this moment."""

    def end(self, action: Any) -> None:
        """*action* has ended. Who waits for it, and an action of which it is a part, go on after this call."""

    def reset(self, action: Any) -> None:
        """*action* is being reset, to be started again. Called in the thread that resets it."""


class Action:
    """A set of processes that start together. It ends when all of them have.

    Make one of the subclasses, or fill `processes` before the start.

    Args:
        lifecycle_handlers: `ActionLifecycleHandler` objects.
        name: what it is called in logs and reports; default: the class and a number.
        default_expect_timeout: seconds (or what `get_seconds` takes), for `expect`; None: as long as it takes.
        fanout: how many of its parts run at a time, of those that would start together: the next one starts when one
            has ended; None: all of them.

    Raises:
        ValueError: the fan-out is less than one.

    An action can be awaited, and used as a context manager which kills it at the end (without waiting).
    """

    _life: type[ActionLife] = ParallelLife

    def __init__(
        self,
        lifecycle_handlers: Iterable[Any] | None = None,
        name: str | None = None,
        default_expect_timeout: Duration = None,
        fanout: int | None = None,
    ) -> None:
        if fanout is not None and fanout < 1:
            raise ValueError(f"a fan-out is at least 1, not {fanout!r}")
        self.fanout = fanout
        self.lifecycle_handlers = [] if lifecycle_handlers is None else list(lifecycle_handlers)
        self.default_expect_timeout = None if default_expect_timeout is None else get_seconds(default_expect_timeout)
        self._name = name
        self._processes: list[Process] = []
        self._run = self._new_run()
        self._handler_queue: tuple[Runtime, HandlerQueue] | None = None

    def _new_run(self) -> ActionRun:
        if self.fanout is not None and self._life is ParallelLife:
            return ActionRun(self, WindowLife(self.fanout))
        return ActionRun(self, self._life())

    # -- what is known of it -------------------------------------------------------

    @property
    def name(self) -> str:
        """What it is called in logs and reports."""
        return self._default_name() if self._name is None else self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def _default_name(self) -> str:
        return f"{type(self).__name__} {id(self):#x}"

    @property
    def processes(self) -> list[Process]:
        """Its processes, in order."""
        return self._processes

    @processes.setter
    def processes(self, processes: Iterable[Process]) -> None:
        self._processes = list(processes)

    @property
    def started(self) -> bool:
        """It was told to start."""
        return self._run.life.started

    @property
    def ended(self) -> bool:
        """It was started, and all its processes that were started have ended."""
        return self._run.life.ended

    @property
    def running(self) -> bool:
        """Started and not ended."""
        life = self._run.life
        return life.started and not life.ended

    @property
    def killed(self) -> bool:
        """`kill` was called while it ran."""
        return self._run.life.killed

    @property
    def start_date(self) -> float | None:
        """When it was started: seconds since the epoch."""
        return self._run.life.start_date

    @property
    def end_date(self) -> float | None:
        """When it ended: seconds since the epoch."""
        return self._run.life.end_date

    @property
    def error_reason(self) -> BaseException | None:
        """What kept a part of it from being started at all (such as a command that can not be split into words)."""
        return self._run.life.error_reason

    @property
    def ok(self) -> bool:
        """All its processes are `ok`, and all could be started that should."""
        return self.error_reason is None and all(process.ok for process in self.processes)

    @property
    def finished_ok(self) -> bool:
        """Started, ended and ok."""
        return self.started and self.ended and self.ok

    # -- starting and ending -----------------------------------------------------------

    def _parts(self) -> Sequence[Part]:
        """What it starts, kills and resets."""
        return self.processes

    def _check(self, parts: Sequence[Part]) -> None:
        """Raise ValueError if *parts* can not be started."""
        seen: set[int] = set()
        for action in _sub_actions(parts):
            if action.started:
                raise ValueError(f"{self!r} can not start {action!r}, which was started already: call its reset()")
            if id(action) in seen:
                raise ValueError(f"{self!r} can not start {action!r}, which is in it twice: make two of it")
            seen.add(id(action))

    def _fresh_run(self) -> ActionRun:
        """The run that can be started, or was."""
        if self._run.done.done() and not self.started:  # another action should have started it, but ended before
            self._run = self._new_run()
        return self._run

    def start(self) -> Self:
        """Start it, and return at once.

        Raises:
            ValueError: it was started already; or it holds an action that was, or that is in it twice. Nothing happens.
            Exception: what a process raised at its start. Those that were started already are killed.
        """
        run = self._fresh_run()
        parts = list(self._parts())
        if run.permit:
            self._check(parts)
        try:
            run.permit.pop()
        except IndexError:
            raise ValueError(f"{self!r} was started already: call reset() before you start it again") from None
        run.parts = parts
        run.lifecycle = list(self.lifecycle_handlers)
        run.runtime = current_runtime()
        actor = ActionActor(run)
        if parts:
            run.runtime.bus.launch(actor)
            for sub_action in _sub_actions(parts):
                sub_action._fresh_run().parent = run.address
        effects = run.life.take(Start(time.time(), len(parts)))
        run.begin()
        for effect in effects:
            if type(effect) is StartParts:
                run.start_parts(effect.parts)
            elif type(effect) is Ended:
                run.finish(lambda: None)
        return self

    def run(self, timeout: Duration = None) -> Self:
        """Start it and wait: ``start().wait(timeout)``."""
        return self.start().wait(timeout)

    def wait(self, timeout: Duration = None) -> Self:
        """Wait until it has ended and its lifecycle handlers know, or until *timeout* is over.

        A lifecycle handler of the action itself may wait for it too: it does not wait for the handlers.

        Args:
            timeout: seconds, or what `get_seconds` takes; None: as long as it takes. The action goes on after it.

        Raises:
            ValueError: it was never started, nor was an action that will start it.
        """
        run = self._run
        if not self._will_end():
            raise ValueError(f"{self!r} was not started: call start() or run() first")
        in_handler = self._handler_queue is not None and self._handler_queue[1].runs_here
        with contextlib.suppress(Timeout):
            (run.over if in_handler else run.done).result(get_seconds(timeout))
        return self

    def kill(self) -> Self:
        """Have all its running processes killed, and start no more; return at once.

        It is never lost, however early it comes. No effect when the action has ended or was never started.
        """
        if self.running:
            self._run.tell(KillWanted())
        return self

    def reset(self) -> Self:
        """Kill it and wait if it runs, then return it and all its processes to the state before the start."""
        if self.started:
            self.kill().wait()
        for handler in self.lifecycle_handlers:
            self._call_handler(handler, "reset")
        for part in self._parts():
            part.reset()
        self._run = self._new_run()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # -- futures -------------------------------------------------------------------------

    @property
    def future(self) -> Future[Self]:
        """The future of its end, set to the action itself, whether it is ok or not.

        It is set on the reactor: callbacks must not block. That of an action
        which is a part of another is set too when the other ends without having started it.
        """
        return self._run.done

    def __await__(self) -> Generator[Any, None, Self]:
        """Start it if need be, and wait for its end without blocking the event loop."""
        if not self._will_end():
            self.start()
        return self.future.__await__()

    # -- its output ----------------------------------------------------------------------

    def expect(
        self,
        regexes: Regexes,
        timeout: Duration | bool = False,
        stream: int = STDOUT,
        backtrack: bool = True,
        expect_output_handler: ExpectOutputHandler | None = None,
    ) -> list[tuple[Process, int, re.Match[str]] | tuple[Process, None, None]]:
        """Wait until the output of each of its processes matches one of *regexes*.

        Args:
            regexes, stream, backtrack, expect_output_handler: as for `Process.expect`.
            timeout: seconds for all of them together; None: as long as their streams are open; 0: look once;
                False: `default_expect_timeout`.

        Returns:
            for each process, in order, (process, index of the regex, match), or (process, None, None): nothing was
            found before the timeout or the end of the stream. Then its `expect_fail` is set, unless *timeout* is 0.
        """
        patterns = compile_patterns(regexes)
        seconds = self.default_expect_timeout if timeout is False else get_seconds(timeout)
        processes = self.processes
        if expect_output_handler is not None:
            matches = expect_with(expect_output_handler, processes, patterns, seconds, stream, backtrack=backtrack)
        else:
            matches = expect_each(processes, patterns, seconds, stream, backtrack=backtrack)
        found: list[Any] = []
        for process, match in zip(processes, matches, strict=True):
            if match[0] is None and seconds != 0:
                process.expect_fail = True
            found.append((process, *match))
        return found

    def gathered(self, stream: StreamName = "stdout", own_names: bool = True) -> list[HostGroup]:
        """Gather what its hosts have written so far: return the groups of hosts that wrote the same, the largest first.

        Args:
            stream: "stdout", "stderr", or "both", which is all of stdout and then all of stderr.
            own_names: take outputs for equal that differ only by the name of the host which wrote them; in the text
                of the group ``{{{host}}}`` stands for it (``{{{short}}}`` for its part before the first dot).

        Returns:
            (nodeset, hosts, text) for each group, such as ``("node[1-3]", ["node1", "node2", "node3"], "Linux\\n")``.
            Processes of this machine are in none.

        Raises:
            ValueError: there is no such stream.
        """
        return gather_output(self.processes, stream, own_names=own_names)

    # -- as numbers and text -------------------------------------------------------------

    def stats(self) -> Stats:
        """Numbers for a `Report`: how its processes went, all together."""
        return {**self._aggregate(self.processes), "sub_stats": []}

    def _aggregate(self, parts: Iterable[Any]) -> Stats:
        sub_stats = [part.stats() for part in parts]
        return Report.aggregate_stats({**Report.empty_stats(), "name": self.name, "sub_stats": sub_stats})

    def _arguments(self) -> list[str]:
        """The arguments without a name, for repr."""
        return []

    def __repr__(self) -> str:
        given = self._arguments() + ([] if self._name is None else [f"name={self._name!r}"])
        return style.object_repr(f"{type(self).__name__}({', '.join(given)})")

    def __str__(self) -> str:
        stats = self.stats()
        facts = [f"{flag}={getattr(self, flag)}" for flag in ("name", "started", "ended", "killed")]
        facts += [f"{date}={format_unixts(stats[date])}" for date in ("start_date", "end_date")]
        facts += [f"{key}={value}" for key, value in stats.items() if key.startswith("num_")]
        if self.error_reason is not None:
            facts.append(f"error_reason={self.error_reason!r}")
        return f"<{style.object_repr(type(self).__name__)}({', '.join([*self._arguments(), *facts, f'ok={self.ok}'])})>"

    # -- called by its run -----------------------------------------------------------------

    def _will_end(self) -> bool:
        """It runs or has run; or it is a part of a running action, which starts it or ends without."""
        return self.started or self._run.parent is not None

    def _let_go(self, parts: Sequence[Part]) -> None:
        """Those of *parts* that are actions and were not started will not be: have nobody wait for them."""
        for action in _sub_actions(parts):
            if not action.started:
                action._run.done.offer(action)

    def _facts_of_parts(self, parts: Sequence[Any]) -> dict[str, Any]:
        """What the log says of *parts* when the action has ended."""
        return {"processes": [part._run.address for part in parts]}

    def _call_handlers(
        self, handlers: Sequence[Any], hook: str, runtime: Runtime, then: Callable[[], None] | None = None
    ) -> None:
        """Have the lifecycle handlers called in a worker, after those calls that were asked for before; and *then*."""
        if self._handler_queue is None or self._handler_queue[0] is not runtime:
            self._handler_queue = (runtime, HandlerQueue(runtime.pool, lambda: None))
        try:
            for handler in handlers:
                self._handler_queue[1].submit(functools.partial(self._call_handler, handler, hook))
            if then is not None:
                self._handler_queue[1].submit(then)
        except RuntimeError:  # the runtime has been stopped: nobody is called any more
            if then is not None:
                then()

    def _call_handler(self, handler: Any, hook: str) -> None:
        try:
            getattr(handler, hook)(self)
        except Exception:
            logger.exception("a lifecycle handler of %s failed on its %s", self, hook)


def _sub_actions(parts: Iterable[Part]) -> Iterator[Action]:
    """The actions among *parts*, those within them, and so on."""
    for part in parts:
        if isinstance(part, Action):
            yield part
            yield from _sub_actions(part._parts())
