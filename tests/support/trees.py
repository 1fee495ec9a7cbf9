"""What tests of transfers have in common: a directory with all that may be in one, and programs in place of a host's.

A program in place of another is found first in PATH there. It can stop in the middle, which is where things go wrong.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deadline import DEADLINE
from regisseur.actors.action import Action

__all__ = ["FINE", "UNTIL_LET_GO", "Tools", "described", "left_over", "make_tree", "outcomes", "unlock", "wait_until"]


FINE = (0, None, "")
"""The outcome of a process with which all went well."""
UNTIL_LET_GO = 'until [ -e "$mark.gone" ]; do sleep .05; done'
"""What a program in place of another does until the test lets it go."""


def outcomes(action: Action) -> list[tuple[Any, ...]]:
    """How the processes of an action have ended: exit code, reason of an error, stderr."""
    return [(process.exit_code, process.error_reason, process.stderr) for process in action.processes]


def make_tree(root: Path) -> Path:
    """A directory with all that may be in one."""
    tree = root / "a tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "locked").mkdir()
    contents = {
        "plain": b"1\n",
        "with\nnewline": b"2\n",
        "-dash": b"3\n",
        'it\'s "quoted" $HOME `x` \\n !': b"4\n",
        "sub/" + "long" * 50: b"5\n",
        "sub/.hidden": b"",
        "locked/kept": b"6\n",
        "binary": os.urandom(70_000),
        "large": os.urandom(250_000),
        "sub/larger": os.urandom(400_001),
    }
    for number, (name, content) in enumerate(contents.items()):
        path = tree / name
        path.write_bytes(content)
        path.chmod([0o644, 0o600, 0o755, 0o440][number % 4])
        os.utime(path, ns=(10**18, 10**18 + number * 1_234_567_891))
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe")).write_bytes(b"not UTF-8")
    (tree / "link").symlink_to("sub/.hidden")
    (tree / "dangling").symlink_to("/nowhere/" + "far/" * 40)
    os.utime(tree / "sub", ns=(10**18, 5 * 10**17 + 1))
    (tree / "locked").chmod(0o555)
    return tree


def unlock(root: Path) -> None:
    """Let what is below *root* be removed."""
    for path in root.rglob("locked"):
        path.chmod(0o755)


def described(tree: Path) -> dict[bytes, tuple[Any, ...]]:
    """All that a transfer keeps."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for directory, names, files in os.walk(os.fsencode(tree)):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            content: Any = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(tree))] = (info.st_mode, info.st_mtime_ns, content)
    return found


def left_over(root: Path) -> list[str]:
    """What a transfer should have removed."""
    return [str(path) for path in root.rglob(".regisseur-*")]


class Tools:
    """Programs in place of those of a host.

    Args:
        directory: for them, and for the marks that they leave.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.path = f"{directory}:{os.environ['PATH']}"
        self.calls = directory / "calls"
        self.variables = f"HOME={directory} PATH={self.path}"
        """For a server of ssh."""

    def replace(self, name: str, script: str) -> None:
        """Have *script* run for *name*. ``$real`` is that program, ``$mark`` a path."""
        real = shutil.which(name)
        file = self.directory / name
        file.write_text(
            f'#!/bin/sh\nreal={real} mark={self.directory}/mark\necho {name} "$@" >>{self.calls}\n{script}\n'
        )
        file.chmod(0o755)

    def block(self, name: str, before: str = "", unless: str = "count=1", then: str = "sleep 1000") -> None:
        """Have the first call of *name* do *before*, and then *then*; the others are as usual.

        Args:
            unless: what is not the call that is meant; the supervisor of a connection, for one, reads its orders by dd.
        """
        first = f'mkdir "$mark.first" 2>/dev/null && {{ {before}\ntouch "$mark"; {then}; exit 2; }}'
        self.replace(name, f'case $* in *{unless}*) ;; *) {first};; esac\nexec $real "$@"')

    def wait_until_blocked(self) -> None:
        """Wait for that call."""
        wait_until((self.directory / "mark").exists)

    def let_go(self) -> None:
        """End that call, if it is to do `UNTIL_LET_GO`."""
        (self.directory / "mark.gone").touch()


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until it has happened."""
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)
