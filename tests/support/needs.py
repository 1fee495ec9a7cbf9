"""What of the machine a test may need: a plug-in that leaves tests out, or in CI fails them.

A test says ``@pytest.mark.requires_socat``. Where socat is absent the test is skipped, and the end of the run says
how many were and why. Not so in CI as root: there the set-up installs all that is listed in
tools/debian-packages.txt, so a need that is not met is an error of the set-up, and the tests that have it fail.
What no set-up can bring, since the machine itself does not allow it, is left out there too.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass

import pytest

__all__ = ["NEEDS", "Need", "impossible", "is_strict", "missing"]

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
    "requires_testbed": Need("nft", "nftables", "for hosts in namespaces of their own"),
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


@functools.cache
def impossible(marker: str) -> str | None:
    """Return why the machine itself does not allow what tests with this marker do, None if it does.

    Asked only where `missing` finds nothing.
    """
    if marker != "requires_testbed":
        return None
    trial = "ip link add bridge type bridge && nft add table bridge trial"
    command = ["unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "sh", "-c", trial]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    else:
        said = done.stderr.strip() if done.returncode else ""
    return f"namespaces and networks can not be made here ({said})" if said else None


def is_strict() -> bool:
    """Whether a need that is not met is an error: in CI, as root, where the set-up can install everything."""
    return os.environ.get("CI", "") not in ("", "0", "false") and os.geteuid() == 0


def _reasons(item: pytest.Item) -> tuple[list[str], list[str]]:
    """What is missing; and where that is nothing, what is impossible."""
    markers = sorted({mark.name for mark in item.iter_markers()} & NEEDS.keys())
    lacking = [reason for marker in markers if (reason := missing(marker))]
    return lacking, [] if lacking else [reason for marker in markers if (reason := impossible(marker))]


_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that can't run here; as marks, so that the report names their lines."""
    left_out = config.stash[_LEFT_OUT] = Counter[str]()
    for item in items:
        lacking, hopeless = _reasons(item)
        reasons = hopeless if is_strict() else lacking + hopeless
        if reasons:
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))
            left_out.update(reasons[:1])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose need is not met although it must be."""
    if is_strict() and (lacking := _reasons(item)[0]):
        pytest.fail(f"{'; '.join(lacking)}: in CI this must be there", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests were left out, and why."""
    for reason, count in sorted(config.stash.get(_LEFT_OUT, Counter()).items()):
        terminalreporter.write_line(f"left out: {count} test{'s' if count > 1 else ''}, {reason}")
