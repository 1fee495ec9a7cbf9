"""Waiting for several actions or processes, and sorting out the hosts that failed."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Collection, Iterable
from typing import Any, Protocol, TypeVar

from ._action_base import Action
from ._context import here
from .future import DeadlockError, Future
from .host import Host, HostLike
from .time_utils import Duration, get_seconds

__all__ = ["filter_bad_hosts", "wait_all_actions", "wait_any_actions", "wait_multiple_actions"]


class _Waitable(Protocol):
    """An action or a process."""

    @property
    def started(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    @property
    def future(self) -> Future[Any]: ...


W = TypeVar("W", bound=_Waitable)


def wait_any_actions(actions: Iterable[W], timeout: Duration | None = None) -> list[W]:
    """Wait until at least one of *actions* has ended, or until *timeout* is over.

    Args:
        actions: actions, or processes.
        timeout: seconds, or what `get_seconds` takes; None: as long as it takes.

    Returns:
        those that have ended, in the order given; also after the timeout.

    Raises:
        ValueError: none of them was started, and there is no timeout.
        DeadlockError: called on the reactor, which must not wait.
    """
    return _wait(actions, timeout, concurrent.futures.FIRST_COMPLETED)


def wait_all_actions(actions: Iterable[W], timeout: Duration | None = None) -> list[W]:
    """Wait until all of *actions* have ended, or until *timeout* is over.

    An action that is a part of another, and will not be started because that one has ended, is not waited for.

    Args, Returns: as for `wait_any_actions`.

    Raises:
        ValueError: one of them was not started, and there is no timeout.
        DeadlockError: called on the reactor, which must not wait.
    """
    return _wait(actions, timeout, concurrent.futures.ALL_COMPLETED)


wait_multiple_actions = wait_any_actions
"""An older name."""


def _wait(actions: Iterable[W], timeout: Duration | None, until: str) -> list[W]:
    waited = list(actions)
    seconds = get_seconds(timeout)
    idle = [action for action in waited if not _will_end(action)]
    if seconds is None and idle and (until == concurrent.futures.ALL_COMPLETED or len(idle) == len(waited)):
        raise ValueError(f"{idle[0]!r} was not started: call start() first, or give a timeout")
    futures = [action.future for action in waited]
    if not all(future.done() for future in futures):
        _wait_here(futures, seconds, until)
    return [action for action in waited if action.ended]


def _will_end(action: _Waitable) -> bool:
    return action._will_end() if isinstance(action, Action) else action.started


def _wait_here(futures: list[Future[Any]], seconds: float | None, until: str) -> None:
    """Wait in the present thread, as a result of a future is waited for."""
    if here.on_reactor:
        raise DeadlockError("the reactor's thread must not wait for actions: use the callbacks of their futures")
    stand_in = contextlib.nullcontext() if here.runtime is None else here.runtime.pool.waiting()
    with stand_in:
        concurrent.futures.wait(futures, seconds, until)


def filter_bad_hosts(action: Action, hosts: Collection[HostLike] | HostLike) -> list[HostLike]:
    """The *hosts*, as given and in order, without those on which a process of *action* is not ok.

    Hosts are compared as `Host` objects: one with another user is another.
    """
    bad = {process.host for process in action.processes if not process.ok}
    given = [hosts] if isinstance(hosts, (str, Host)) else hosts
    return [host for host in given if Host(host) not in bad]
