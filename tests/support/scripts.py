"""Scripts as users write them, run as programs of their own in a directory of the test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

__all__ = ["perform", "play"]


def perform(directory: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *script*, of lines that may be indented, with *arguments* and without configuration, in Paris."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REGISSEUR", "CLICOLOR"))}
    environment |= {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "none"), "TZ": "Europe/Paris"}
    (directory / "script.py").write_text(textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def play(directory: Path, script: str, *arguments: str) -> list[str]:
    """Do the same with a script that goes well and says nothing on stderr; return the lines that it printed."""
    performed = perform(directory, script, *arguments)
    assert (performed.returncode, performed.stderr) == (0, "")
    return performed.stdout.splitlines()
