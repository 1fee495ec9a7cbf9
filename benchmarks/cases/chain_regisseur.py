"""A file of M megabytes to N hosts with cables of a given rate by ChainPut. usage: N M RATE [CRASHES]

The time is that until the last host that lives has the file; "end" that until the action has ended.
"""

import sys
import time

from chain_bed import bed, check
from measure import Measure

from regisseur.actors import ChainPut, Remote
from regisseur.actors.runtime import stop_runtime

count, size, rate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
crashes = int(sys.argv[4]) if len(sys.argv) > 4 else 0
quiet = {"nolog_error": True}


def wait(condition):
    while not condition():
        time.sleep(0.02)


with bed(count, size, rate) as (made, file, params):
    names = [host.name for host in made.hosts]
    assert Remote("true", names, params).run().ok
    dead = [made.hosts[count * (number + 1) // (crashes + 1) - 1] for number in range(crashes)]
    with Measure() as measure:
        begin = time.monotonic()
        put = ChainPut(names, file, "/tmp", params, retries=0, process_args=quiet).start()
        for number, host in enumerate(dead):
            process = put.processes[made.hosts.index(host)]
            part = (number + 1) / (crashes + 1)
            wait(lambda process=process, part=part: process.progress.done > part * file.stat().st_size)
            host.crash()
        living = [process for process, host in zip(put.processes, made.hosts, strict=True) if host not in dead]
        wait(lambda: all(process.hop.placed or process.ended for process in living))
        taken = time.monotonic() - begin
        put.wait()
        measure.extra = {"end": time.monotonic() - begin, "all_have_it": taken}
    assert all(process.ok for process in living), [str(process.error_reason) for process in living]
    check(made, file, dead)
    stop_runtime()
