"""N short processes with captured output, by execo. usage: N"""

import sys

from execo import Process
from measure import Measure

count = int(sys.argv[1])
Process("/bin/true").run()
with Measure():
    processes = [Process("/bin/true").start() for _ in range(count)]
    for process in processes:
        process.wait()
assert all(process.ok for process in processes)
