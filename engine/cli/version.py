"""``regisseur --version``: which release this is, and what it stands on."""

from __future__ import annotations

import importlib.metadata
import platform
import re

from ._console import print_line

__all__ = ["print_version"]

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def print_version(verbose: bool) -> None:
    """Print our version, and with *verbose* below it those of Python and of the libraries that we need."""
    try:
        version = importlib.metadata.version("regisseur")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    print_line(f"regisseur {version}")
    if verbose:
        print_line(f"python {platform.python_version()} ({platform.python_implementation()})")
        for name in _requirements():
            print_line(f"{name} {_version_of(name)}")


def _requirements() -> list[str]:
    """Names of the libraries that we need always, so without those of extras."""
    try:
        lines = importlib.metadata.requires("regisseur") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    names = [match[0] for line in lines if "extra ==" not in line and (match := _NAME.match(line))]
    return sorted(names, key=str.lower)


def _version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "is missing"
