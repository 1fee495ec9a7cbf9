"""Small tools: free ports, results remembered, and texts for names and logs."""

from __future__ import annotations

import errno
import functools
import random
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, AnyStr, ParamSpec, Protocol, TypeVar, cast

from ..protocols.command import compact_output as _compact_output
from ..protocols.command import name_from_cmdline, str_from_cmdline
from .config import configuration
from .host import Host
from .time_utils import Duration, get_seconds

__all__ = [
    "Memoized",
    "checked_min",
    "comma_join",
    "compact_output",
    "do_once",
    "get_port",
    "intr_event_wait",
    "is_string",
    "memoize",
    "name_from_cmdline",
    "non_retrying_intr_cond_wait",
    "singleton_to_collection",
    "str_from_cmdline",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)


class _Ports:
    """The next port to try, kept between calls of get_port."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next: int | None = None
        """None before the first call, which begins anywhere in the range."""


_ports = _Ports()


def get_port() -> int:
    """Return a TCP port of this machine that nobody used a moment ago. Thread-safe.

    Ports are taken in turn from ``configuration["port_range"]`` (the first, and the one after the last), beginning
    anywhere, so that a port does not come twice before all others did.

    Raises:
        OSError: (EADDRINUSE) all of them are in use.
    """
    first, end = configuration["port_range"]
    with _ports.lock:
        for _ in range(end - first):
            port = random.randrange(first, end) if _ports.next is None else _ports.next
            if not first <= port < end:  # the range has changed, or it was the last
                port = first
            _ports.next = port + 1
            if _is_free(port):
                return port
    raise OSError(
        errno.EADDRINUSE,
        f"all ports from {first} to {end - 1} are in use: end what uses them, or change configuration['port_range']",
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


class Memoized(Protocol[_P, _R_co]):
    """A function that remembers what it returned."""

    cache: dict[str, Any]
    """Results, by the text of the arguments; clear it to forget them."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Return the remembered result, or call the function."""


def memoize(obj: Callable[_P, _R]) -> Memoized[_P, _R]:
    """Make a function remember its results, in its ``cache``. Arguments are equal when ``str()`` of them is.

    Calls in several threads at once may call the function more than once.
    """
    cache: dict[str, _R] = {}

    @functools.wraps(obj)
    def memoized(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        key = str(args) + str(kwargs)
        if key not in cache:
            cache[key] = obj(*args, **kwargs)
        return cache[key]

    with_cache = cast(Memoized[_P, _R], memoized)
    with_cache.cache = cache
    return with_cache


class _Once:
    """What do_once did, by key."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.locks: dict[Any, threading.RLock] = {}
        self.results: dict[Any, Any] = {}


_once = _Once()


def do_once(key: Any, func: Callable[..., _R], *args: Any, **kwargs: Any) -> _R:
    """Call *func* if it was not called for *key* before; return what its call for *key* returned.

    Thread-safe: others who come with the same key meanwhile wait for the result. A call that raises does not count.

    Args:
        key: anything hashable.
    """
    call = (func, key)
    with _once.lock:
        lock = _once.locks.setdefault(call, threading.RLock())
    with lock:
        if call not in _once.results:
            _once.results[call] = func(*args, **kwargs)
        return cast(_R, _once.results[call])


def compact_output(s: AnyStr) -> AnyStr:
    """Return *s*, or its head and tail where it is longer than ``configuration["compact_output_threshold"]``."""
    return _compact_output(s, configuration["compact_output_threshold"])


def comma_join(*args: str) -> str:
    """Return the texts that are not empty, joined by ", "."""
    return ", ".join(arg for arg in args if arg)


def singleton_to_collection(arg: Any) -> Collection[Any] | Iterable[Any]:
    """Return *arg* where it is iterable, but not a text or a Host; else a list of it alone; [] for None."""
    if arg is None:
        return []
    if isinstance(arg, (str, Host)) or not isinstance(arg, Iterable):
        return [arg]
    return arg


def is_string(s: object) -> bool:
    """Tell whether *s* is a str."""
    return isinstance(s, str)


def checked_min(a: Any, b: Any) -> Any:
    """Return the smaller of the two; the other one where one is None; None where both are."""
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


def intr_event_wait(event: threading.Event, timeout: Duration | None = None) -> bool:
    """Wait for *event*, in any thread; in the main one, signals (Ctrl-C) are handled meanwhile.

    Args:
        timeout: None for no limit.

    Returns:
        whether the event is set.
    """
    return event.wait(get_seconds(timeout))


def non_retrying_intr_cond_wait(cond: threading.Condition, timeout: Duration | None = None) -> bool:
    """Wait for *cond*, which the thread holds, at most for ``configuration["intr_period"]`` seconds.

    It is for loops that look at their condition again each time, and at other things meanwhile.

    Args:
        timeout: a shorter limit.

    Returns:
        whether the condition was notified in time.
    """
    return cond.wait(checked_min(get_seconds(timeout), configuration["intr_period"]))
