"""What of the machine a test may need: a plug-in that leaves tests out, or in CI fails them.

A test says ``@pytest.mark.requires_socat``. Where socat is absent the test is skipped, and the end of the run says
how many were and why. Not so in CI as root: there the set-up installs all that is listed in
tools/debian-packages.txt, so a need that is not met is an error of the set-up, and the tests that have it fail.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass

import pytest

__all__ = ["NEEDS", "Need", "is_strict", "missing"]

_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps servers; not on the PATH of ordinary users."""


@dataclass(frozen=True)
class Need:
    """What a marker stands for."""

    program: str
    """Must be found on PATH or among the servers; empty where it is not a program that is needed."""
    package: str
    """Debian's package that has it; empty where there is none."""
    why: str
    """What the tests do with it, to follow "needs socat, ..."."""


NEEDS = {
    "requires_root": Need("", "", "for what only root may do"),
    "requires_socat": Need("socat", "socat", "for pairs of serial ports"),
    "requires_sshd": Need("sshd", "openssh-server", "for a private server on the loopback interface"),
    "requires_taktuk": Need("taktuk", "taktuk", "for its tree of connections"),
    "requires_oar": Need("oarsub", "", "for jobs of an OAR server"),
    "requires_slurm": Need("sbatch", "slurm-client", "for jobs of a Slurm controller"),
    "requires_libvirt": Need("virsh", "libvirt-clients", "for virtual machines"),
}
"""Marker to what it needs. A new one also goes to pyproject.toml, and its package to tools/debian-packages.txt."""


def missing(marker: str) -> str | None:
    """Return why a test with this marker can't run here, None if it can."""
    need = NEEDS[marker]
    if not need.program:
        return None if os.geteuid() == 0 else f"needs to be root, {need.why}"
    if shutil.which(need.program, path=f"{os.environ.get('PATH', os.defpath)}:{_ADMIN_PATH}"):
        return None
    package = f"Debian package {need.package}" if need.package else "not in Debian"
    return f"needs {need.program} ({package}), {need.why}"


def is_strict() -> bool:
    """Whether a need that is not met is an error: in CI, as root, where the set-up can install everything."""
    return os.environ.get("CI", "") not in ("", "0", "false") and os.geteuid() == 0


def _reasons(item: pytest.Item) -> list[str]:
    markers = {mark.name for mark in item.iter_markers()} & NEEDS.keys()
    return [reason for marker in sorted(markers) if (reason := missing(marker))]


_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that can't run here; as marks, so that the report names their lines."""
    left_out = config.stash[_LEFT_OUT] = Counter[str]()
    if is_strict():
        return
    for item in items:
        reasons = _reasons(item)
        if reasons:
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))
            left_out.update(reasons[:1])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose need is not met although it must be."""
    if is_strict() and (reasons := _reasons(item)):
        pytest.fail(f"{'; '.join(reasons)}: in CI this must be there", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests were left out, and why."""
    for reason, count in sorted(config.stash.get(_LEFT_OUT, Counter()).items()):
        terminalreporter.write_line(f"left out: {count} test{'s' if count > 1 else ''}, {reason}")
