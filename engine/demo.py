"""The demo: the experiment ``examples/colocation``, run from wherever the package is installed."""

from __future__ import annotations

import contextlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["demo_script", "run_demo"]

_QUICK = ["--seconds", "0.05", "--repeats", "1", "--neighbours", "1"]


def demo_script() -> Path:
    """The script of the demo: beside the packages in a checkout as in an installation.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    script = Path(__file__).resolve().parent.parent / "examples" / "colocation" / "colocation.py"
    if not script.is_file():
        raise FileNotFoundError(f"{script} is missing: install regisseur again, or run it from a checkout")
    return script


def run_demo(directory: Path, *, resume: bool = False, quick: bool = False) -> int:
    """Run the demo's experiment in this process, with its results in *directory*.

    Args:
        directory: the run directory; made where needed.
        resume: go on in it if it holds an earlier run; else a run in it that is complete is an error.
        quick: few and short measurements: to see that it works.

    Returns:
        the exit status: 0, or 1 when *directory* holds a run and *resume* is not given.
    """
    if not resume and (directory / "run.yaml").exists():
        print(f"regisseur: demo: {directory} holds a run already: go on with -C, or name another one", file=sys.stderr)
        return 1
    script = demo_script()
    with _as_program(script, ["-c", str(directory), *(_QUICK if quick else [])]):
        runpy.run_path(str(script), run_name="__main__")
    return 0


@contextlib.contextmanager
def _as_program(script: Path, arguments: list[str]) -> Iterator[None]:
    """Let ``sys.argv`` and ``sys.path`` be what they would be if *script* were run by itself."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
