"""What the files of tests are marked with that do something slow to the hosts of the bed."""

from __future__ import annotations

import pytest

__all__ = ["SLOW_ON_THE_BED"]

SLOW_ON_THE_BED = [
    pytest.mark.requires_root,
    pytest.mark.requires_sshd,
    pytest.mark.requires_testbed,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
