"""stdout of one process, SIZE MiB, kept as always, or not kept. usage: SIZE [discard]"""

import sys

from measure import Measure

from regisseur.actors.process import Process

size = int(sys.argv[1]) << 20
keep = sys.argv[2:] != ["discard"]
Process("/bin/true").run()
with Measure():
    process = Process(f"head -c {size} /dev/zero", output_limit=16 << 20, default_stdout_handler=keep).run()
assert process.ok
assert process.stats()["num_ok"] == 1
assert len(process._run.streams[1].output) == (size if keep else 0)
assert process._run.streams[1].size == size
process.reset()
