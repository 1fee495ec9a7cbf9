"""`Engine`: the frame of an experiment script: command line, run directory, log, and the calls of init and run.

A script defines a subclass and starts it::

    class Bench(Engine):
        def __init__(self):
            super().__init__()
            self.args_parser.add_argument("--hosts", type=int, default=3)

        def run(self):
            logger.info("%d hosts, results in %s", self.args.hosts, self.result_dir)

    if __name__ == "__main__":
        Bench().start()

`Engine.start` goes: parse the command line, name the run, choose the result
directory, begin a session in it (see `regisseur.engine.rundir`), send the
outputs where the options say, open the journal, then ``init`` and ``run``.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..actors.journal import Journal, set_journal
from ..actors.log import logger as top_logger
from ._old_idioms import explain_old_idiom
from .log import JournalHandler, logger
from .outputs import copy_outputs, keep_standard_descriptors, redirect_outputs, restore_outputs
from .rundir import Outcome, RunDirectory, newest_run

__all__ = ["Engine", "run_meth_on_engine_ancestors"]

_OLD_NAMES = {
    "options_parser": "add options and arguments to self.args_parser, an argparse.ArgumentParser: "
    "self.args_parser.add_argument('--name', ...)",
    "options": "read self.args, the argparse.Namespace that holds options and positional arguments by name",
}


def run_meth_on_engine_ancestors(instance: object, method_name: str) -> None:
    """Call the method *method_name* of each class of *instance* that defines it, ancestors first, each once.

    So a subclass adds to what its ancestors do without a call of ``super()``.
    """
    for cls in reversed(type(instance).__mro__):
        if cls.__dict__.get(method_name) is not None:
            cls.__dict__[method_name].__get__(instance, cls)()


class Engine:
    """The base of experiment engines. ``run`` may also be called alone, without `start`: then nothing is recorded."""

    def __init__(self) -> None:
        """Set up the attributes; a subclass with an ``__init__`` of its own calls this one first."""
        self.engine_dir: str = _defining_directory(type(self))
        """Directory of the module that defines the class; the current one in an interactive session."""
        self.args_parser: argparse.ArgumentParser = _make_parser(type(self).__name__)
        """Parser of the command line: add options and arguments in ``__init__``. An option of yours
        with the name of one of ours takes its place."""
        self.args: Any = None
        """What was parsed, an argparse.Namespace; None before `start`."""
        self.run_name: str | None = None
        """Name of this run; None before `start`."""
        self.result_dir: str | None = None
        """Where results go: the run directory; None before `start`."""
        self.run_directory: RunDirectory | None = None
        """The same with all that is in it; None before `start`."""

    if not TYPE_CHECKING:  # a checker would take it that every name exists

        def __getattr__(self, name: str) -> NoReturn:
            advice = _OLD_NAMES.get(name)
            text = f"no attribute {name!r}" if advice is None else f"no {name!r} any more: {advice}"
            raise AttributeError(f"{type(self).__name__!r} object has {text}", name=name, obj=self)

    def start(self, engineargs: Sequence[str] | None = None) -> None:
        """Run the experiment as the command line says, and record it in the run directory.

        Args:
            engineargs: the arguments, without a program's name; without it those of ``sys.argv`` now.

        Raises:
            SystemExit: the arguments are wrong or ask for help, as argparse does.
            RunDirectoryInUseError: another live run has the directory.
            RunDirectoryError: the directory has a ``run.yaml`` that can not be read.
            OSError: the directory can not be made or written.

        What init or run raise is recorded and raised again. Outputs that were redirected or copied
        stay so until the program ends, so that a traceback goes there too.
        """
        keep_standard_descriptors()
        arguments = list(sys.argv[1:] if engineargs is None else engineargs)
        self.args = self.args_parser.parse_args(arguments, namespace=_Arguments())
        self._set_log_level()
        self.setup_run_name()
        directory = self._choose_result_dir()
        program = sys.argv[0] if sys.argv else ""
        run = RunDirectory.create(
            directory,
            name=self.run_name,
            engine=type(self).__name__,
            argv=[program, *arguments],
            code=self.engine_dir,
        )
        self.run_directory = run
        with _recorded(run, type(self).__name__, arguments):
            self._send_outputs()
            logger.info("command line arguments: %s", [program, *arguments])
            logger.info("command line: %s", shlex.join([program, *arguments]))
            logger.info("run in directory %s", directory)
            run_meth_on_engine_ancestors(self, "init")
            run_meth_on_engine_ancestors(self, "run")

    def setup_run_name(self) -> None:
        """Set `run_name`: the class, and the time in seconds; may be overridden. Called by `start`, after parsing."""
        self.run_name = f"{type(self).__name__}_{time.strftime('%Y%m%d_%H%M%S_%z')}"

    def setup_result_dir(self) -> None:
        """Set `result_dir`: the directory `run_name` in the current one; may be overridden.

        Called by `start` where the command line does not name a directory. Another run that was
        started there in the same second keeps its directory: this one gets a number. A name that a
        `setup_run_name` of yours gives is taken as it is: a run in that directory is continued.
        """
        wanted = os.path.join(os.path.abspath(os.curdir), str(self.run_name))
        path, number = wanted, 1
        while os.path.exists(path) and type(self).setup_run_name is Engine.setup_run_name:
            number += 1
            path = f"{wanted}_{number}"
        self.result_dir = path

    def init(self) -> None:
        """Prepare; may be defined by each class, and is called for each, ancestors first. Here it does nothing."""

    def run(self) -> None:
        """Run the experiment; may be defined by each class, and is called for each, ancestors first."""

    def _set_log_level(self) -> None:
        wanted: str | None = getattr(self.args, "log_level", None)
        if wanted is None:
            return
        try:
            top_logger.setLevel(int(wanted) if wanted.lstrip("-").isdigit() else wanted.upper())
        except ValueError:
            names = ", ".join(logging.getLevelNamesMapping())
            self.args_parser.error(f"argument -l: no log level {wanted!r}: use a number or one of {names}")

    def _choose_result_dir(self) -> str:
        """Set `result_dir` as -c, -C or `setup_result_dir` want it, and return it."""
        wanted: str | None = getattr(self.args, "use_dir", None)
        if not wanted:
            self.setup_result_dir()
            if self.result_dir is None:
                raise ValueError(f"{type(self).__name__}.setup_result_dir() must set self.result_dir, and did not")
            if getattr(self.args, "continue_run", False):
                newest = newest_run(Path(self.result_dir).parent, type(self).__name__)
                if newest is None:
                    logger.info("no earlier run of %s to continue in: this is a new one", type(self).__name__)
                else:
                    self.result_dir = str(newest)
        else:
            self.result_dir = wanted
        return self.result_dir

    def _send_outputs(self) -> None:
        mode = getattr(self.args, "output_mode", None)
        if not mode:
            return
        assert self.result_dir is not None, "chosen before the session began"
        names = (
            ("stdout+stderr", "stdout+stderr") if getattr(self.args, "merge_outputs", False) else ("stdout", "stderr")
        )
        stdout, stderr = (os.path.join(self.result_dir, name) for name in names)
        restore_outputs()  # those of an engine that was started before in this program
        logger.info("%s stdout / stderr to %s and %s", mode, stdout, stderr)
        if mode == "copy":
            copy_outputs(stdout, stderr)
        else:
            redirect_outputs(stdout, stderr)


@contextlib.contextmanager
def _recorded(run: RunDirectory, engine: str, arguments: list[str]) -> Iterator[None]:
    """Keep the journal of *run* while the experiment goes on, and record how it ends in journal and directory."""
    try:
        journal = run.open_journal()
    except OSError as error:
        _end_session(run, *_failure(error))
        raise
    outcome: Outcome = "ok"
    details: dict[str, Any] = {}
    try:
        with journal, _current(journal):
            number = len(run.sessions)
            journal.event("engine.started", engine=engine, run=run.name, session=number, arguments=arguments)
            try:
                yield
            except BaseException as error:
                explain_old_idiom(error)
                outcome, details = _failure(error)
                raise
            finally:
                _tell_end(journal, engine, outcome, details)
    finally:
        _end_session(run, outcome, details)


@contextlib.contextmanager
def _current(journal: Journal) -> Iterator[None]:
    """Make *journal* the current one, and have it hear what loggers say."""
    previous = set_journal(journal)
    handler = JournalHandler(logging.INFO)
    top_logger.addHandler(handler)
    try:
        yield
    finally:
        top_logger.removeHandler(handler)
        set_journal(previous)


def _failure(error: BaseException) -> tuple[Outcome, dict[str, Any]]:
    """Return how a run ended that raised *error*, and what to record of it."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return "ok", {}
    try:
        text = str(error)
    except Exception:  # it is the user's exception, and may have a broken __str__
        text = "its text can not be had"
    details = {
        "error": {"type": type(error).__name__, "text": text},
        "traceback": "".join(traceback.format_exception(error)),
    }
    return ("signal" if isinstance(error, KeyboardInterrupt) else "exception"), details


def _tell_end(journal: Journal, engine: str, outcome: Outcome, details: dict[str, Any]) -> None:
    if outcome == "ok":
        journal.event("engine.ended", engine=engine)
    else:
        journal.event("engine.failed", level="error", engine=engine, outcome=outcome, **details)


def _end_session(run: RunDirectory, outcome: Outcome, details: dict[str, Any]) -> None:
    details.pop("traceback", None)  # that is in the log
    try:
        run.end(outcome, **details)
    except OSError as error:  # the disk is full: what the experiment itself raised is of more use
        logger.error("%s: how the run ended could not be recorded: %s", run.run_file, error)


class _Arguments(argparse.Namespace):
    """What was parsed. Scripts of long ago expect a list of positional arguments: they are told what to do."""

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(
            "engine.args is no list of positional arguments: declare them with "
            "self.args_parser.add_argument('name') and read self.args.name"
        )

    __getitem__ = __iter__ = __len__ = _refuse

    def __bool__(self) -> bool:
        return True


def _make_parser(engine: str) -> argparse.ArgumentParser:
    # "resolve" lets a script have an option -C of its own, as it could before there was ours.
    parser = argparse.ArgumentParser(description=f"engine: {engine}", conflict_handler="resolve")
    parser.add_argument(
        "-l", dest="log_level", metavar="LEVEL", help="log level, a name or number; default: as configured"
    )
    outputs = parser.add_mutually_exclusive_group()
    outputs.add_argument(
        "-L",
        dest="output_mode",
        action="store_const",
        const="copy",
        default=False,
        help="copy stdout and stderr to the files stdout and stderr in the result directory",
    )
    outputs.add_argument(
        "-R",
        dest="output_mode",
        action="store_const",
        const="redirect",
        help="redirect stdout and stderr to the files stdout and stderr in the result directory",
    )
    parser.add_argument(
        "-M",
        dest="merge_outputs",
        action="store_true",
        help="with -L or -R: both into one file, stdout+stderr, in the order in which they were written",
    )
    directory = parser.add_mutually_exclusive_group()
    directory.add_argument(
        "-c", dest="use_dir", metavar="DIR", help="use the result directory DIR; a run that is there is continued"
    )
    directory.add_argument(
        "-C",
        "--continue",
        dest="continue_run",
        action="store_true",
        help="continue in the newest result directory of this engine; in a new one if there is none",
    )
    return parser


def _defining_directory(cls: type) -> str:
    try:
        return os.path.dirname(os.path.realpath(inspect.getfile(cls)))
    except (TypeError, OSError):  # defined at a prompt
        return os.getcwd()
