"""Put of F small files to N hosts by regisseur. usage: N F first|second"""

import sys

from measure import Measure, tree_cpu
from put_files import check_and_clear, files
from ssh_targets import KEY, PORT, USER, hosts

from regisseur.actors import Process, Put, Remote
from regisseur.actors.runtime import stop_runtime

count, size, which = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
params = {"user": USER, "port": int(PORT), "keyfile": KEY}
Process("/bin/true").run()
Remote("true", ["127.0.0.254"], params).run()  # so that all that is made once is there
with files(size) as (source, target):
    if which == "second":
        assert Remote("true", hosts(count), params).run().ok
    before = tree_cpu()
    with Measure() as measure:
        put = Put(hosts(count), [source], f"{target}/{{{{{{host}}}}}}", params).run()
        assert put.ok, next(process.error_reason or process.stderr for process in put.processes if not process.ok)
        measure.extra["tree"] = tree_cpu() - before
    check_and_clear(target, hosts(count), size)
stop_runtime()
