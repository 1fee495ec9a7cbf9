"""One short foreign command, run to its end: for facts such as those that git tells.

Not for experiments: it blocks its thread, is not in the log, and starts no
actor; `regisseur.actors.Process` is for those.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

__all__ = ["run_quietly"]


def run_quietly(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[int, bytes, bytes]:
    """Run *argv* in directory *cwd* with no input, and return ``(status, stdout, stderr)``.

    Args:
        argv: the program, searched on PATH, and its arguments; no shell.
        timeout: seconds; a command that takes longer is killed.
        environ: variables to set besides those of this process.

    Returns:
        *status* is 0-255, or the negative number of the signal that ended it.

    Raises:
        FileNotFoundError, PermissionError: there is no such program or directory, or it may not be used.
        TimeoutError: it took longer than *timeout*.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s and was killed: {' '.join(argv)}") from None
    return done.returncode, done.stdout, done.stderr
