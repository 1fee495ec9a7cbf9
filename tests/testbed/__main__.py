"""Hosts to try things on by hand: ``python tests/testbed 4`` for an interactive Python, or with a command to run.

The command finds the names of the hosts in TESTBED_HOSTS, and in TESTBED_SSH_CONFIG a file for ``ssh -F``.
"""

from __future__ import annotations

import argparse
import code
import os
import subprocess
import tempfile
from pathlib import Path

from bed import Bed


def main() -> int:
    """Make the bed; run the command, or an interpreter; end the bed."""
    parser = argparse.ArgumentParser(prog="tests/testbed", description="Real hosts on this machine, for a while.")
    parser.add_argument("count", type=int, nargs="?", default=4, help="how many (default: %(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="to run beside them; none: an interactive Python")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="testbed-") as directory, Bed(arguments.count, Path(directory)) as bed:
        names = {"TESTBED_HOSTS": " ".join(host.name for host in bed.hosts), "TESTBED_SSH_CONFIG": str(bed.ssh_config)}
        if arguments.command:
            return subprocess.run(arguments.command, env=os.environ | names, check=False).returncode
        banner = f"ssh -F {bed.ssh_config} {bed.hosts[0]}; from Python: hosts[0].crash(), .boot(), .hang(), .thaw() ..."
        code.interact(banner, local={"bed": bed, "hosts": bed.hosts}, exitmsg="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
