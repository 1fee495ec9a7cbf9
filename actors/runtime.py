"""The runtime: one reactor, one bus, one worker pool, and the actors on them.

A script never has to make one: the first actor or process does
(`current_runtime`). It ends with the interpreter, or when told to; a forked
child gets a fresh one on first use. Tests may make several and install one
with `use_runtime`.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ._context import here
from ._pool import WorkerPool
from ._reactor import Reactor, Timer
from .actor import StopFlag
from .bus import Bus
from .config import configuration
from .exception import ConfigurationError
from .future import disown_futures
from .registry import ActorRegistry

if TYPE_CHECKING:
    from ._io import IoActor

__all__ = ["Runtime", "current_runtime", "stop_runtime", "use_runtime"]

logger = logging.getLogger("regisseur.runtime")

_STOP_SECONDS = 2.0
_SETTLE_SECONDS = 0.5  # for handlers and actors to react to the end of the processes
_SETTLE_PAUSE = 0.005


class Runtime:
    """Where actors live. Start it with `start`, or as a context manager.

    Args:
        name: prefix of the names of its threads.
    """

    def __init__(self, name: str = "regisseur") -> None:
        self.name = name
        self.node = secrets.token_hex(8)
        """Name of this node of the bus: 16 hex digits, new for every runtime."""
        self.pid = os.getpid()
        self._state = "new"
        self._lock = threading.RLock()
        self.bus: Bus
        self.pool: WorkerPool
        self.reactor: Reactor
        self._io: IoActor | None = None
        self._reactor_left = False
        self._stuck = False  # the reactor does not leave, and will close what is its own when it does
        self._stop_hooks: list[Callable[[], None]] = []
        self._fork_hooks: list[Callable[[], None]] = []

    @property
    def running(self) -> bool:
        """Whether actors can live here now."""
        return self._state == "running" and self.pid == os.getpid()

    def start(self) -> Runtime:
        """Start the reactor's thread. Returns the runtime itself.

        Raises:
            RuntimeError: it has been started before.
        """
        with self._lock:
            if self._state != "new":
                raise RuntimeError(f"this runtime is {self._state}: make a new one")
            _install_hooks()
            self.bus = Bus(self)
            self.pool = WorkerPool(self, self.name)
            self.reactor = Reactor(f"{self.name}-reactor")
            self._state = "running"
            _all.add(self)
        self.reactor.start(self._enter_reactor, self._leave_reactor)
        return self

    def stop(self, timeout: float = _STOP_SECONDS, *, spare: bool = False) -> None:
        """End everything that lives here: processes, actors, threads. Any thread but the reactor's.

        Actors are stopped as if they were told to, once the ends of the processes have got about. Every reply that
        somebody waits for ends with `pykka.ActorDeadError`, even where an actor is stuck. Does nothing when it has
        stopped already.

        Args:
            timeout: seconds to wait for the reactor, and again for the workers.
            spare: leave the processes of this machine alive; nobody hears of them any more, and their pipes are closed
                when this program ends, which is to be at once.

        Raises:
            RuntimeError: it was called in the reactor's own thread.
        """
        if here.on_reactor and here.runtime is self and self.pid == os.getpid():
            raise RuntimeError(
                "the reactor's thread can not stop its own runtime: have a worker or another thread do it"
            )
        with self._lock:
            if self._state != "running":
                return
            self._state = "stopping"
        if self.pid == os.getpid():
            self._stop_here(timeout, spare=spare)
        self._state = "stopped"

    def _stop_here(self, timeout: float, *, spare: bool) -> None:
        self.bus.call(lambda: self._end_children(spare=spare))
        # The reactor waits for busy workers to react; one that is about to stop all this is not busy.
        with self.pool.waiting() if here.runtime is self else contextlib.nullcontext():
            self.reactor.thread.join(timeout)
        self.bus.shut()  # which wakes the workers that wait for a reply
        self.pool.stop(timeout)
        self.bus.forget_actors()
        with self._lock:
            self._stuck = not self._reactor_left
            if self._stuck:
                self.reactor.stop()  # when it comes back from whatever holds it up
            else:
                self._close()

    def _leave_reactor(self) -> None:
        """The last that the reactor's thread does."""
        with self._lock:
            self._reactor_left = True
            if self._stuck:
                self._close()  # whoever has stopped the runtime could not wait any longer

    def _close(self) -> None:
        """Close the sockets and the epoll. After the reactor has left, and `Bus.shut`."""
        self.bus.close()
        self.reactor.close()

    def _end_children(self, *, spare: bool) -> None:
        """End all processes, but those to spare, then leave; in between, their actors tell whoever waits."""

        def settle() -> None:
            self._settle(time.monotonic() + _SETTLE_SECONDS, before=0)

        if self._io is None:
            settle()
        else:
            self._io.shut_down(settle, spare=spare)

    def _settle(self, deadline: float, before: int, quiet: int = 0) -> None:
        """Leave when nobody says anything any more: the end of a process ends an action, and that another.

        Two quiet looks in a row are needed, for what was said is heard in the turn between them.
        """
        now = self.bus.activity()
        busy = self.pool.busy or self.reactor.has_idle_calls
        quiet = quiet + 1 if now == before + 1 and not busy else 0
        if quiet == 2 or time.monotonic() > deadline:
            self._leave()
        elif busy:
            self.reactor.call_later(_SETTLE_PAUSE, lambda: self._settle(deadline, now, quiet))
        else:
            self.reactor.call_again(lambda: self._settle(deadline, now, quiet))

    def _leave(self) -> None:
        try:
            self.bus.stop_actors()
            for hook in reversed(self._stop_hooks):
                _run_hook(hook)
        finally:
            self.reactor.stop()

    def __enter__(self) -> Runtime:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def why_closed(self) -> str:
        """Why nothing can be sent any more, as a sentence."""
        if self.pid != os.getpid():
            return (
                f"this belongs to process {self.pid}, of which this process ({os.getpid()}) is a fork: "
                "start actors and processes anew here"
            )
        return "the runtime has been stopped"

    # -- for the parts that live here ------------------------------------------

    @property
    def io_address(self) -> str:
        """Address of the I/O actor, which owns all pipes and children; it is started on first use."""
        if self._io is None:
            with self._lock:
                if self._io is None:
                    from ._io import IoActor

                    self._io = IoActor.start_in(self)
        return self._io.actor_address

    def call_later(self, delay: float, function: Callable[[], None]) -> Timer:
        """Have the reactor call *function* after *delay* seconds. Thread-safe."""
        if here.on_reactor and here.runtime is self:
            return self.reactor.call_later(delay, function)
        timer = Timer(time.monotonic() + delay, function)
        self.bus.call(lambda: self.reactor.arm(timer))
        return timer

    def on_stop(self, hook: Callable[[], None]) -> None:
        """Call *hook* on the reactor when the runtime stops; the last added first."""
        self._stop_hooks.append(hook)

    def on_fork(self, hook: Callable[[], None]) -> None:
        """Call *hook* in a forked child, where this runtime is dead: to close what it inherited."""
        self._fork_hooks.append(hook)

    def _enter_reactor(self) -> None:
        here.runtime = self
        self.bus.attach(self.reactor)

    def abandon(self) -> None:
        """In a forked child: this runtime lives in the parent; close our copies of its descriptors."""
        self._lock = threading.RLock()
        self._state = "stopped"
        self.bus.abandon()
        for hook in self._fork_hooks:
            _run_hook(hook)
        self.reactor.close()


_lock = threading.Lock()
_current: Runtime | None = None
_all: weakref.WeakSet[Runtime] = weakref.WeakSet()
_inherited: list[Any] = []  # runtimes of the parent: kept, so that no finalizer touches their sockets
_hooks_installed = False


def current_runtime() -> Runtime:
    """The runtime of this process, started on first use. Thread-safe.

    Inside an actor or a handler it is the runtime that runs it.
    """
    global _current
    if here.runtime is not None:
        return here.runtime  # even when it is ending: what runs in it must not bring up another
    runtime = _current
    if runtime is not None and runtime.running:
        return runtime
    with _lock:
        if _current is None or not _current.running:
            _current = Runtime().start()
        return _current


def stop_runtime(timeout: float = _STOP_SECONDS) -> None:
    """Stop the runtime of this process, if there is one; the next use starts a fresh one."""
    runtime = _current
    if runtime is not None:
        runtime.stop(timeout)


@contextlib.contextmanager
def use_runtime(runtime: Runtime) -> Iterator[Runtime]:
    """Make *runtime*, which is running, the current one of this process for a while: for tests."""
    global _current
    with _lock:
        previous, _current = _current, runtime
    try:
        yield runtime
    finally:
        with _lock:
            _current = previous


def _run_hook(hook: Callable[[], None]) -> None:
    """Call *hook*; what it raises is logged, for the others must have their turn."""
    try:
        hook()
    except OSError:
        pass  # what it wanted to close or end is gone
    except Exception:
        logger.exception("%r failed at the end of the runtime", hook)


def _install_hooks() -> None:
    """See to the end of the interpreter and to forked children: once in a process, with its first runtime."""
    global _hooks_installed
    if not _hooks_installed:
        _hooks_installed = True
        atexit.register(_stop_all)
        os.register_at_fork(after_in_child=_after_fork)


def _stop_all() -> None:
    """The program ends: stop all that lives here."""
    spare = not _ends_processes()
    for runtime in list(_all):
        runtime.stop(spare=spare)


def _ends_processes() -> bool:
    """Whether processes are to end with the program."""
    try:
        return bool(configuration["kill_childs_at_end"])
    except ConfigurationError:  # then it could start none; whoever asked was told why
        return True


def _after_fork() -> None:
    """In a forked child no thread of ours runs: forget the parent's runtimes, without touching its sockets."""
    global _current, _lock
    _lock = threading.Lock()
    here.runtime, here.actor, here.on_reactor = None, None, False
    for runtime in list(_all):
        _inherited.append(runtime)
        runtime.abandon()
    _all.clear()
    _current = None
    ActorRegistry.forget_all()
    StopFlag.renew_lock()
    disown_futures()
