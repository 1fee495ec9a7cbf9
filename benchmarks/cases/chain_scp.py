"""A file of M megabytes to N hosts with cables of a given rate by as many scp at once. usage: N M RATE"""

import subprocess
import sys

from chain_bed import bed, check
from measure import Measure

count, size, rate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
with bed(count, size, rate) as (made, file, _):
    with Measure():
        command = ["scp", "-q", "-F", str(made.ssh_config), *options, "-o", "LogLevel=ERROR", str(file)]
        copies = [subprocess.Popen([*command, f"{host}:/tmp/file"]) for host in made.hosts]
        assert [copy.wait() for copy in copies] == [0] * count
    check(made, file)
