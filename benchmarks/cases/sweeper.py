"""One measurement of a sweeper. usage: NAME regisseur|execo COMBINATIONS

NAME is a key of MEASURES. The directory is beside the checkout, so that the
disk is a real one. Prints seconds and CPU seconds (children included) for each
operation.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PAIRS = 500  # claim + done pairs of which the mean is taken
SHARED = 1200  # combinations that four processes share


def combinations(library: Any, count: int) -> Any:
    """*count* combinations of five factors."""
    ten = list(range(10))
    return library.sweep(
        {
            "a": ten,
            "b": [f"b{i}" for i in ten],
            "c": [i / 4 for i in ten],
            "d": ten,
            "rest": list(range(max(1, count // 10_000))),
        }
    )[:count]


def library_of(name: str) -> Any:
    """The module that has sweep and ParamSweeper."""
    return importlib.import_module("execo_engine" if name == "execo" else "regisseur.engine.sweep")


Answer = tuple[int, Callable[[], Any]]
"""How many operations there are, and what runs them all."""


def build(library: Any, directory: str, count: int) -> Answer:
    """Make a new directory and save the sweeps in it."""
    given = combinations(library, count)
    return 1, lambda: library.ParamSweeper(directory, given, save_sweeps=True)


def pairs(library: Any, directory: str, count: int) -> Answer:
    """get_next and done, one after the other."""
    sweeper = library.ParamSweeper(directory, combinations(library, count))

    def run() -> None:
        for _ in range(PAIRS):
            sweeper.done(sweeper.get_next())

    return PAIRS, run


def crowded(library: Any, directory: str, count: int) -> Answer:
    """The same while a fifth of all is in progress."""
    sweeper = library.ParamSweeper(directory, combinations(library, count))
    sweeper.get_next_batch(count // 5)

    def run() -> None:
        for _ in range(PAIRS // 5):
            sweeper.done(sweeper.get_next())

    return PAIRS // 5, run


def reopen(library: Any, directory: str, count: int) -> Answer:
    """Open a directory that is half done, each combination claimed and done by itself."""
    given = combinations(library, count)
    sweeper = library.ParamSweeper(directory, given)
    real = os.fsync, os.fdatasync
    os.fsync = os.fdatasync = lambda _: None  # the filling is not what is measured
    if library.__name__ == "execo_engine":
        sweeper.done_batch(sweeper.get_next_batch(count // 2))  # its file is the same, and takes hours otherwise
    else:
        for _ in range(count // 2):
            sweeper.done(sweeper.get_next())
    os.fsync, os.fdatasync = real
    del sweeper
    return 1, lambda: library.ParamSweeper(directory, given)


def filtered(library: Any, directory: str, count: int) -> Answer:
    """get_next with a filter that sorts all that remain."""
    sweeper = library.ParamSweeper(directory, combinations(library, count))

    def run() -> None:
        for _ in range(10):
            sweeper.get_next(lambda remaining: sorted(remaining, key=lambda each: each["d"]))

    return 10, run


def shared(library: Any, directory: str, count: int) -> Answer:
    """Four processes claim and finish 1,200 combinations together."""
    given = combinations(library, SHARED)

    def work() -> None:
        sweeper = library.ParamSweeper(directory, given)
        while (taken := sweeper.get_next()) is not None:
            sweeper.done(taken)

    def run() -> None:
        children = []
        for _ in range(4):
            pid = os.fork()
            if not pid:
                work()
                os._exit(0)
            children.append(pid)
        for pid in children:
            if os.waitpid(pid, 0)[1]:
                raise RuntimeError("a child failed")

    return SHARED, run


MEASURES = {
    "build": build,
    "pairs": pairs,
    "crowded": crowded,
    "open": reopen,
    "filter": filtered,
    "shared": shared,
}


def measure(name: str, library_name: str, count: int) -> None:
    """Print one measurement as JSON: seconds and CPU seconds for each operation."""
    library = library_of(library_name)
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-sweeper-") as directory:
        number, run = MEASURES[name](library, directory, count)
        before = cpu_seconds()
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
        cpu = cpu_seconds() - before
    print(json.dumps({"wall": wall / number, "cpu": cpu / number}))


def cpu_seconds() -> float:
    """Of this process and the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
