"""Pausing Python's collector of cycles, where very many objects are made that stay.

It looks through all objects again and again as their number grows, and finds nothing: that takes longer than to make
them. What others leave behind meanwhile is found afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import threading
from collections.abc import Iterator

__all__ = ["collector_paused"]

_MANY = 100
_lock = threading.Lock()
_pauses = 0
_was_enabled = False


@contextlib.contextmanager
def collector_paused(count: int) -> Iterator[None]:
    """Pause the collector inside, if *count* things are many. Thread-safe; several pauses are one."""
    if count < _MANY:
        yield
        return
    global _pauses, _was_enabled
    with _lock:
        _look_after_forks()
        if not _pauses:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            if _pauses == 1 and _was_enabled:
                gc.enable()
            _pauses = max(0, _pauses - 1)  # a fork may have ended them


@functools.cache
def _look_after_forks() -> None:
    os.register_at_fork(after_in_child=_end_pauses)


def _end_pauses() -> None:
    """This is a fork: those who have paused it are other threads, which are not here."""
    global _lock, _pauses
    _lock = threading.Lock()
    if _pauses and _was_enabled:
        gc.enable()
    _pauses = 0
