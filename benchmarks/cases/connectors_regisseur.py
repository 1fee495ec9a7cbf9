"""Remote("true") on N hosts over a connector that is a program of this machine. usage: N CONNECTOR"""

import logging
import sys

from measure import Measure

from regisseur.actors import Process, Remote

logging.getLogger("regisseur").setLevel(logging.ERROR)
count, connector = int(sys.argv[1]), sys.argv[2]
Process("/bin/true").run()
params = {"ssh": connector, "multiplex": False}
with Measure():
    remote = Remote("true", [f"host-{number}" for number in range(count)], params).run()
assert remote.ok
