"""What the sweeper costs: claim + done, opening, filters, sharing; beside execo 2.8.2 where that is installed.

    python benchmarks/bench_sweeper.py [combinations]

Execo is looked for in the Python that the environment variable REGISSEUR_BENCH_EXECO names, else in
.venv-bench/bin/python; make one with: python3 -m venv .venv-bench && .venv-bench/bin/pip install execo==2.8.2

Each measurement is made by this same file in a process of its own (``--measure NAME LIBRARY COUNT``),
in a directory beside the checkout, so that the disk is a real one. CPU seconds are those of all its processes.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
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
    "build and save": build,
    "claim + done, durable": pairs,
    "claim + done, a fifth in progress": crowded,
    "open, half done": reopen,
    "get_next, sorting filter": filtered,
    "claim + done, 4 processes": shared,
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


def measured(python: str, name: str, library: str, count: int) -> dict[str, float] | None:
    """The measurement as another process makes it; None if it failed."""
    command = [python, "-W", "ignore", __file__, "--measure", name, library, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def milliseconds(answer: dict[str, float] | None, key: str) -> str:
    """One cell of the table."""
    return f"{answer[key] * 1000:10.3f}" if answer else f"{'-':>10}"


def can_import_execo(python: str) -> bool:
    """Whether *python* is there, and finds Execo."""
    if not os.path.exists(python):
        return False
    return subprocess.run([python, "-W", "ignore", "-c", "import execo_engine"], check=False).returncode == 0


def main(count: int) -> None:
    """Print the table."""
    execo = os.environ.get("REGISSEUR_BENCH_EXECO", str(ROOT / ".venv-bench/bin/python"))
    has_execo = can_import_execo(execo)
    print(f"sweeper, {count:,} combinations; milliseconds for each operation")
    print(f"{'':36}{'regisseur':>10}{'cpu':>10}{'execo':>10}{'cpu':>10}{'ratio':>8}")
    for name in MEASURES:
        ours = measured(sys.executable, name, "regisseur", count)
        theirs = measured(execo, name, "execo", count) if has_execo else None
        ratio = f"{theirs['wall'] / ours['wall']:8.1f}" if ours and theirs else f"{'-':>8}"
        cells = [milliseconds(answer, key) for answer in (ours, theirs) for key in ("wall", "cpu")]
        print(f"{name:36}{''.join(cells)}{ratio}", flush=True)
    if not has_execo:
        print(f"execo 2.8.2 was not found as {execo}; see the top of {os.path.basename(__file__)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
