"""What tests of hosts have in common: a connector in place of ssh, which runs commands on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["STUB", "STUB_PARAMS"]

STUB = str(Path(__file__).with_name("stub_ssh.sh"))
"""Takes the arguments of ssh; the command finds the address in STUB_HOST."""

STUB_PARAMS: dict[str, Any] = {"ssh": STUB, "multiplex": False}
"""Connection parameters with it."""
