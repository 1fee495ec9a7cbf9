"""Where a result comes from: the facts about code, packages, machine and user that ``run.yaml`` keeps.

Every function gives plain data. What can not be found out is None or says why;
nothing here raises because a fact is missing, since a run must start even where
git, ``/proc`` or a user's name is not there.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..actors._run_quietly import run_quietly

__all__ = ["Code", "code_facts", "host_facts", "package_versions", "regisseur_version", "user_name"]

GIT_TIMEOUT = 20.0
"""Seconds for each question to git; a large repository on a slow file system takes some."""

LARGEST_DIFF = 16 * 1024 * 1024
"""Bytes; a larger difference is not kept."""

MOST_UNTRACKED = 100
"""How many files which git does not know are named; all are counted."""

# Reading must not write an index, and must not run programs that a repository's configuration names.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
_GIT_ENVIRON = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_DIFF = ("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")


@dataclass(frozen=True)
class Code:
    """What git says of the directory of a script."""

    facts: dict[str, Any]
    """``repository``, ``commit``, ``branch``, ``dirty``, ``untracked``; or ``repository: None`` and ``reason``."""
    diff: bytes | None
    """The difference between the commit and the files, to be applied with ``git apply``; None if there is none."""


def code_facts(directory: str | os.PathLike[str]) -> Code:
    """Ask git about the repository around *directory*. Blocks, for at most some `GIT_TIMEOUT`."""
    try:
        top = _git(directory, "rev-parse", "--show-toplevel").decode(errors="replace").rstrip("\n")
    except _NoAnswerError as error:
        return Code({"repository": None, "reason": str(error)}, None)
    facts: dict[str, Any] = {"repository": top, "commit": None, "branch": None, "dirty": None}
    try:
        # Both end with 1 where there is none: a detached HEAD, a repository without a commit.
        branch = _git(top, "symbolic-ref", "--short", "-q", "HEAD", allowed=(0, 1))
        commit = _git(top, "rev-parse", "--verify", "-q", "HEAD", allowed=(0, 1))
        facts["branch"] = branch.decode(errors="replace").strip() or None
        facts["commit"] = commit.decode(errors="replace").strip() or None
        status = _git(top, "status", "--porcelain", "-z", "--no-renames").decode(errors="replace").split("\0")
        untracked = [entry[3:] for entry in status if entry.startswith("??")]
        facts["dirty"] = any(entry and not entry.startswith("??") for entry in status)
        if untracked:
            facts["untracked"] = {"count": len(untracked), "first": untracked[:MOST_UNTRACKED]}
        if not (facts["dirty"] and facts["commit"]):
            return Code(facts, None)
        diff = _git(top, *_DIFF)
    except _NoAnswerError as error:
        return Code(facts | {"reason": str(error)}, None)
    if len(diff) > LARGEST_DIFF:
        return Code(facts | {"reason": f"the difference of {len(diff)} bytes is too large to be kept"}, None)
    return Code(facts, diff)


def host_facts() -> dict[str, Any]:
    """Return hostname, kernel, cpu (model, count, usable by this process), memory in bytes, and python."""
    kernel = os.uname()
    return {
        "hostname": kernel.nodename,
        "kernel": f"{kernel.sysname} {kernel.release} {kernel.machine}",
        "cpu": {"model": _cpu_model(), "count": os.cpu_count(), "usable": len(os.sched_getaffinity(0))},
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
    }


def package_versions() -> list[str]:
    """Return ``name==version`` of all installed distributions, sorted; the first on the path where several are."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        # A half-removed package has a directory without a name in it.
        if "Name" in distribution.metadata:
            name = distribution.metadata["Name"]
            found.setdefault(name, f"{name}=={distribution.version}")
    return sorted(found.values(), key=str.lower)


def regisseur_version() -> str | None:
    """Return the version of this package; None where it runs without being installed."""
    try:
        return importlib.metadata.version("regisseur")
    except importlib.metadata.PackageNotFoundError:
        return None


def user_name() -> str:
    """Return the login name, or the number of a user who has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class _NoAnswerError(Exception):
    """Git gave none; the text says why."""


def _git(directory: str | os.PathLike[str], *question: str, allowed: tuple[int, ...] = (0,)) -> bytes:
    try:
        status, answer, complaint = run_quietly(
            [*_GIT, *question], timeout=GIT_TIMEOUT, cwd=directory, environ=_GIT_ENVIRON
        )
    except OSError as error:
        raise _NoAnswerError(f"git could not be asked: {error}") from None
    if status not in allowed:
        text = complaint.decode(errors="replace").strip()
        raise _NoAnswerError(f"git {question[0]} ended with {status}: {text}")
    return answer


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "cpu model", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or None
