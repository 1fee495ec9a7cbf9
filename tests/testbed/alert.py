"""How soon it is noticed that a host is gone, in the tests that are about that."""

from __future__ import annotations

from typing import Any

__all__ = ["ALERT", "SOON"]

ALERT: dict[str, Any] = {"alive_interval": 3}
"""Connection parameters. A host that is well is lost if this machine stands still for three times as long."""
SOON = 45.0
"""Seconds until a host that is gone is lost. By the parameters' default it takes longer: three times fifteen."""
