"""Remote("true") on N hosts by regisseur. usage: N first|second [native|lab]"""

import sys

from measure import Measure, tree_cpu
from ssh_targets import KEY, PORT, USER, hosts

from regisseur.actors import Process, Remote
from regisseur.actors.runtime import stop_runtime

count, which = int(sys.argv[1]), sys.argv[2]
params = {"user": USER, "port": int(PORT), "keyfile": KEY, "connect_window": 64}
if sys.argv[3:] == ["native"]:
    params["connector"] = "native"
elif sys.argv[3:] == ["lab"]:
    params["lab_network"] = True  # keys are exchanged as asyncssh does it with this sshd
Process("/bin/true").run()
Remote("true", ["127.0.0.254"], params).run()  # so that all that is made once is there
before = tree_cpu()
with Measure() as measure:
    first = Remote("true", hosts(count), params).run()
    assert first.ok, next(process.error_reason for process in first.processes if not process.ok)
    measure.extra["tree"] = tree_cpu() - before
    if which == "second":
        before = tree_cpu()
        measure.begin_again()
        second = Remote("true", hosts(count), params).run()
        assert second.ok
        measure.extra["tree"] = tree_cpu() - before
stop_runtime()
