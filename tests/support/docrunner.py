"""Runs the blocks of a page: Python in one interpreter, commands in bash, all in one temporary directory.

The blocks of a session run in the order of the page and share names, files and working directory, as they would for
somebody who types them in. What does not belong into a test is not run but looked at: ``make X`` must name a target.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import yaml

from docpages import Block, PageError, commands

__all__ = ["Session", "check_block", "is_make", "matches", "run_page"]

_LIMIT = 60
"""Seconds for one block."""

_INTERPRETER = """
import json, os, sys, traceback
names = {"__name__": "__main__"}
answers = os.fdopen(int(sys.argv[1]), "w")
for request in sys.stdin:
    page, line, text = json.loads(request)
    error = ""
    try:
        exec(compile("\\n" * (line - 1) + text, page, "exec"), names)
    except BaseException:
        error = traceback.format_exc()
    sys.stdout.flush()
    print(json.dumps(error), file=answers, flush=True)
"""


_MARK = "-- end of command:"
_STEP = "{}\n__status=$?; printf '\\n%s %d\\n' '" + _MARK + "' $__status; (exit $__status)\n"


class Session:
    """One interpreter and one directory, for blocks that belong together. Use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self._environment = {
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "MPLBACKEND": "Agg",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
        }
        self._python: subprocess.Popen[str] | None = None
        self._answers = -1

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._python is not None:
                self._end_python(failed=kind is not None)
        finally:
            self._log.close()

    def run(self, block: Block) -> None:
        """Run a block.

        Raises:
            PageError: it failed, or printed something else than the page says.
        """
        if block.tag == "python":
            self._run_python(block)
        else:
            self._run_commands(block)

    # -- Python ------------------------------------------------------------------------

    def _run_python(self, block: Block) -> None:
        where = f"{block.page}:{block.line}"
        python = self._python or self._start_python()
        assert python.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            python.stdin.write(json.dumps([block.page, block.line, block.text]) + "\n")
            python.stdin.flush()
        with _time_limit(python):
            answer = self._next_answer()
        if answer is None:
            raise PageError(f"{where}: the interpreter ended, or took over {_LIMIT} s\n{self._said()}")
        if error := json.loads(answer):
            raise PageError(f"{where}: the block failed\n{error}{self._said()}")

    def _start_python(self) -> subprocess.Popen[str]:
        self._answers, theirs = os.pipe()
        self._python = subprocess.Popen(
            [sys.executable, "-c", _INTERPRETER, str(theirs)],
            stdin=subprocess.PIPE, stdout=self._log, stderr=subprocess.STDOUT, pass_fds=[theirs], text=True,
            cwd=self._directory, env=self._environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        return self._python

    def _next_answer(self) -> str | None:
        answer = b""
        while not answer.endswith(b"\n"):
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                return None
            answer += piece
        return answer.decode()

    def _end_python(self, *, failed: bool) -> None:
        python = self._python
        assert python is not None
        assert python.stdin is not None
        os.close(self._answers)
        with _time_limit(python):
            with contextlib.suppress(BrokenPipeError):
                python.stdin.close()
            status = python.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(python.pid, signal.SIGKILL)  # what the blocks have started and left
        if status and not failed:
            raise PageError(f"the interpreter of the page ended with {status}\n{self._said()}")

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()

    # -- commands ----------------------------------------------------------------------

    def _run_commands(self, block: Block) -> None:
        """Run a block in one bash, so that ``cd``, variables and ``$?`` reach the next line."""
        steps = list(commands(block))
        script = "".join(_STEP.format("true" if is_make(step.text) else step.text) for step in steps)
        bash = subprocess.Popen(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self._directory, env=self._environment, start_new_session=True,
        )  # fmt: skip
        with bash, _time_limit(bash):
            output, _ = bash.communicate()
        *results, rest = output.split(f"\n{_MARK} ")
        texts = [text if at == 0 else text.partition("\n")[2] for at, text in enumerate([*results, rest])]
        statuses = [int(text.partition("\n")[0]) for text in [*results[1:], rest]] if results else []
        for at, step in enumerate(steps):
            where = f"{block.page}:{step.line}: {step.text!r}"
            if at >= len(statuses):
                raise PageError(f"{where} did not end, or ended the shell\n{texts[at]}")
            is_asked_for = at + 1 < len(steps) and "$?" in steps[at + 1].text
            if statuses[at] and not is_asked_for:
                raise PageError(f"{where} ended with {statuses[at]}\n{texts[at]}")
            if step.expected is not None and not is_make(step.text) and not matches(step.expected, texts[at]):
                raise PageError(f"{where} printed\n{texts[at]}\nwhere the page says\n{step.expected}")


@contextlib.contextmanager
def _time_limit(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process, with its group, that takes too long; whoever waits for it then sees that it has ended."""

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(_LIMIT, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def matches(expected: str, output: str) -> bool:
    """Whether an output is as the page says: ``...`` stands for anything, space at the ends of lines for nothing."""

    def plain(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip().splitlines())

    pattern = ".*".join(map(re.escape, plain(expected).split("...")))
    return re.fullmatch(pattern, plain(output), re.DOTALL) is not None


def is_make(command: str) -> bool:
    """Whether a command is a call of ``make``."""
    return re.match(r"make\b", command) is not None


def check_make(command: str, root: Path, where: str) -> None:
    """See that a ``make`` command names targets that there are, without doing what they do."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    dry_run = ["bash", "-c", command.replace("make", "make --dry-run", 1)]
    done = subprocess.run(dry_run, cwd=root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise PageError(f"{where}: no such target?\n{done.stderr}")


def check_block(block: Block, root: Path) -> None:
    """Look at a block that is not run: data must be valid, a target of make must be there.

    Raises:
        PageError: it is not so.
    """
    where = f"{block.page}:{block.line}"
    try:
        if block.tag == "yaml":
            list(yaml.safe_load_all(block.text))
        elif block.tag == "json":
            json.loads(block.text)
        elif block.tag == "toml":
            tomllib.loads(block.text)
    except ValueError as error:  # of json and toml
        raise PageError(f"{where}: {error}") from error
    except yaml.YAMLError as error:
        raise PageError(f"{where}: {error}") from error
    if block.tag in ("console", "sh"):
        for command in commands(block):
            if is_make(command.text):
                check_make(command.text, root, f"{block.page}:{command.line}")


def run_page(blocks: list[Block], directory: Path, root: Path) -> None:
    """Run and check the blocks of a page, in order.

    Raises:
        PageError: what the first block that is wrong does, and where it stands.
    """
    with contextlib.ExitStack() as stack:
        session: Session | None = None
        for number, block in enumerate(blocks):
            check_block(block, root)
            if block.new_session and session is not None:
                stack.close()
                session = None
            if block.tag not in ("python", "console", "sh") or block.not_run:
                continue
            if session is None:
                place = directory / f"session-{number}"
                place.mkdir()
                session = stack.enter_context(Session(place))
            session.run(block)
