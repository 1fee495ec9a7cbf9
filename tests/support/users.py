"""Whose rights a program of a test has."""

from __future__ import annotations

import os

__all__ = ["AS_ORDINARY_USER"]

AS_ORDINARY_USER: list[str] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Words before a command that may not read and write just anything, though root starts it (util-linux)."""
