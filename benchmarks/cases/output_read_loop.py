"""stdout of one process, SIZE MiB, by a plain loop of os.read that throws it away, or keeps it in a file.

usage: SIZE [keep]
"""

import os
import subprocess
import sys
import tempfile

from measure import Measure

size = int(sys.argv[1]) << 20
keep = sys.argv[2:] == ["keep"]
with tempfile.TemporaryFile(buffering=0) as file, Measure():
    process = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
    seen = 0
    while data := os.read(process.stdout.fileno(), 65536):
        seen += len(data)
        if keep:
            file.write(data)
    process.wait()
assert seen == size
