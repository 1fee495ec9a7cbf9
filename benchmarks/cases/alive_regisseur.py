"""N processes alive at once: start them, stay idle for a while, end them. usage: N IDLE_SECONDS"""

import sys
import threading
import time

from measure import Measure

from regisseur.actors.process import Process

count, idle = int(sys.argv[1]), float(sys.argv[2])
with Measure() as measure:
    begin = time.monotonic()
    processes = [Process("/bin/sleep 1000").start() for _ in range(count)]
    assert all(process.pid for process in processes)
    measure.extra["start_s"] = time.monotonic() - begin
    cpu = time.process_time()
    threading.Event().wait(idle)
    measure.extra["idle_cpu_percent"] = 100 * (time.process_time() - cpu) / idle
    begin = time.monotonic()
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
    measure.extra["end_s"] = time.monotonic() - begin
assert all(process.killed and process.exit_code == -15 for process in processes)
