"""stdout of one process, SIZE MiB. usage: SIZE"""

import sys

from measure import Measure

from regisseur.actors.process import Process

size = int(sys.argv[1]) << 20
Process("/bin/true").run()
with Measure():
    process = Process(f"head -c {size} /dev/zero", output_limit=16 << 20).run()
assert process.ok
assert len(process._run.streams[1].output) == size
process.reset()
