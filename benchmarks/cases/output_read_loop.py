"""stdout of one process, SIZE MiB, by a plain loop of os.read that throws it away. usage: SIZE"""

import os
import subprocess
import sys

from measure import Measure

size = int(sys.argv[1]) << 20
with Measure():
    process = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
    seen = 0
    while data := os.read(process.stdout.fileno(), 65536):
        seen += len(data)
    process.wait()
assert seen == size
