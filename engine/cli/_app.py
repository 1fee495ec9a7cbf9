"""The commands together: one typer application, and the border around it.

To add a command: write a room with a function, and name it here. Rooms import
what they need inside of their functions, so that ``--help``, ``--version`` and
completion do not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import config, demo, execute, log, run, sweep, transfer
from ._console import say
from ._errors import ExitCode, report
from .version import print_version

__all__ = ["app", "usage_error"]

usage_error: type[Exception] = typer.BadParameter.__bases__[0]
"""What the parser raises for a wrong command line; typer keeps it in another place in each release."""

_HELP = {"help_option_names": ["-h", "--help"]}
_WORDS_BEHIND = _HELP | {"allow_interspersed_args": False}
"""For commands that hand words on: what stands behind the first one is not for us."""


class _Commands(TyperGroup):
    """All commands; whatever one of them raises becomes a line for the user and an exit code here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that *ctx* names; the answer is the exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, usage_error):
            raise  # the parser's own
        except (Exception, KeyboardInterrupt) as error:
            return report(error, ctx.invoked_subcommand)


app = typer.Typer(
    name="regisseur",
    cls=_Commands,
    context_settings=_HELP,
    rich_markup_mode="markdown",  # so that paragraphs are filled anew
    pretty_exceptions_enable=False,
    help="Run experiments, look at what they did, and steer their sweeps.",
)


@app.callback(invoke_without_command=True)
def _regisseur(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="With --version: also those of libraries.")] = False,
) -> int:
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    if version:
        print_version(verbose)
        return ExitCode.OK
    say("no command: 'regisseur --help' names them")
    return ExitCode.USAGE


def _add(name: str, function: Callable[..., int], settings: dict[str, Any] = _HELP) -> None:
    app.command(name, context_settings=settings)(function)


_add("run", run.run, _WORDS_BEHIND)
_add("exec", execute.execute, _WORDS_BEHIND)
_add("put", transfer.put)
_add("get", transfer.get)
_add("log", log.log)
app.add_typer(sweep.app, name="sweep")
_add("demo", demo.demo)
app.add_typer(config.app, name="config")
