"""F small files to N hosts by xargs and one scp for each. usage: N F"""

import subprocess
import sys

from measure import Measure, tree_cpu
from put_files import check_and_clear, files
from ssh_targets import KEY, OPTIONS, PORT, USER, hosts

count, size = int(sys.argv[1]), int(sys.argv[2])
with files(size) as (source, target):
    argv = ["xargs", "-P", "64", "-I{}", "scp", "-rpq", *OPTIONS, "-i", KEY, "-P", PORT, source]
    before = tree_cpu()
    with Measure() as measure:
        names = "\n".join(hosts(count))
        done = subprocess.run([*argv, f"{USER}@{{}}:{target}/{{}}"], input=names, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        measure.extra["tree"] = tree_cpu() - before
    check_and_clear(target, hosts(count), size)
