"""The environment of a process to be, as one block of bytes: what it was when the process was told to start.

The start itself comes a little later, in another thread, when a script may have changed os.environ again. A block is
made once and used as long as the environment stays the same: the look whether it has costs a microsecond.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ._spawn import undecoded_environ

__all__ = ["environment_block", "environment_of_block"]

_last: tuple[dict[bytes, bytes], bytes] = ({}, b"")
"""The last os.environ seen and its block. Thread-safe: replaced as a whole."""


def environment_block(env: Mapping[str, str] | None = None) -> bytes:
    """Return *env*, or os.environ as it is now, each NAME=value followed by a null byte. Thread-safe.

    Raises:
        ValueError: a name is empty or has "=" in it, or there is a null byte somewhere, or text that can't be encoded.
        TypeError: a name or value is no text.
    """
    global _last
    if env is not None:
        variables = {_encoded(name): _encoded(value) for name, value in env.items()}
        for name in variables:
            if not name or b"=" in name:
                raise ValueError(f"impossible name of an environment variable: {os.fsdecode(name)!r}")
        return _block(variables)
    source = undecoded_environ()
    known, block = _last
    if known != source:
        copy = dict(source)
        block = _block(copy)
        _last = copy, block
    return block


def environment_of_block(block: bytes) -> dict[str, str]:
    """Return what `environment_block` made *block* of."""
    pairs = (os.fsdecode(pair).partition("=") for pair in block.split(b"\0") if pair)
    return {name: value for name, _, value in pairs}


def _encoded(text: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError(f"null byte in an environment variable: {text!r}")
    return encoded


def _block(variables: Mapping[bytes, bytes]) -> bytes:
    # A nameless one may have come from who started us; nobody could use it.
    return b"".join([name + b"=" + value + b"\0" for name, value in variables.items() if name])
