"""``regisseur demo``: a small campaign on this machine, to see what one looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import say
from ._errors import CommandError, ExitCode, named_path

__all__ = ["demo"]


def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where its results go.", show_default=True, parser=named_path)
    ] = Path("demo-run"),
    resume: Annotated[
        bool, typer.Option("--continue", "-C", help="Go on with the run that is in DIR; begin if there is none.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure little: just see that it works.")] = False,
) -> int:
    """Run a small campaign: what does sharing a processor core cost?

    Takes about a minute on two cores. Kill it half way, and run it again with -C: it goes on where it was.
    """
    if (directory / "run.yaml").exists() and not resume:
        raise CommandError(
            f"{directory} holds a run already: go on with it by -C, or name another directory", ExitCode.USAGE
        )
    from ..demo import run_demo

    try:
        code = run_demo(directory, resume=resume, quick=quick)
    except KeyboardInterrupt:
        say(f"interrupted: 'regisseur demo -C {directory}' goes on", "demo")
        return ExitCode.INTERRUPTED
    if code == ExitCode.OK:
        say(f"what happened stands in {directory}: see 'regisseur log {directory}'", "demo")
    return code
