"""How long a test waits at most for what takes a moment."""

from __future__ import annotations

__all__ = ["DEADLINE"]

DEADLINE = 60.0
"""Seconds: on a busy machine a moment may last long."""
