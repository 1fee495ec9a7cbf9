"""For all tests: what they may need of the machine, what they must not leave behind, and hypothesis' two profiles.

Markers and time limits stand in pyproject.toml; `needs` and `leaks` in tests/support tell the rest.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings

pytest_plugins = ["leaks", "needs", "sshd"]

# No deadline in either: machines are shared, and a slow moment is no bug. In CI the same examples every time, so that
# a failure there is about the change, and more of them; new ones are for the developer's runs to find.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

# Under nohup SIGHUP is ignored, and in the background of a script SIGINT and SIGQUIT are; and so they would be in all
# that the tests start, for children keep that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
