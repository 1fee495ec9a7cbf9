"""``true`` on N hosts by xargs and ssh, by clush, or by pdsh, 64 at a time. usage: N xargs|clush|pdsh [clush's path]"""

import os
import shlex
import subprocess
import sys

from measure import Measure, tree_cpu
from ssh_targets import KEY, OPTIONS, PORT, USER, hosts

count, tool = int(sys.argv[1]), sys.argv[2]
options = [*OPTIONS, "-i", KEY, "-p", PORT]
names = hosts(count)
environment = {**os.environ, "PDSH_SSH_ARGS_APPEND": shlex.join(options)}
if tool == "xargs":
    argv = ["xargs", "-P", "64", "-I{}", "ssh", *options, f"{USER}@{{}}", "true"]
elif tool == "clush":
    argv = [sys.argv[3], "-q", "-f", "64", "-l", USER, "-o", shlex.join(options), "-w", ",".join(names), "true"]
else:
    argv = ["pdsh", "-R", "ssh", "-f", "64", "-l", USER, "-w", ",".join(names), "true"]
before = tree_cpu()
with Measure() as measure:
    done = subprocess.run(argv, input="\n".join(names), text=True, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    measure.extra["tree"] = tree_cpu() - before
