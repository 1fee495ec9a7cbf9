"""Ports for servers that a test starts."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

_PORTS = range(10_000, 25_000)
"""Below those which Linux gives to clients (32768 on), so that none takes one before the server does, or while it is
down; and below those which `get_port` gives."""


def free_port() -> int:
    """A port of all addresses on which nobody listens."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"none of 100 ports from {_PORTS} is free")
