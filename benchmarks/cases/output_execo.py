"""stdout of one process, SIZE MiB, by execo. usage: SIZE"""

import sys

from execo import Process
from measure import Measure

size = int(sys.argv[1]) << 20
Process("/bin/true").run()
with Measure():
    process = Process(f"head -c {size} /dev/zero").run()
assert len(process.stdout) == size
