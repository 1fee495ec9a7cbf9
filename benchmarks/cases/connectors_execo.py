"""Remote("true") on N hosts over a connector that is a program of this machine, by execo. usage: N CONNECTOR"""

import sys

import execo
from measure import Measure

count, connector = int(sys.argv[1]), sys.argv[2]
execo.Process("/bin/true").run()
with Measure():
    remote = execo.Remote(
        "true", [f"host-{number}" for number in range(count)], {"ssh": connector, "ssh_options": ()}
    ).run()
assert remote.ok
