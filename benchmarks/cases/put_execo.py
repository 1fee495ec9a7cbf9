"""Put of F small files to N hosts by execo. usage: N F"""

import sys

import execo
from measure import Measure, tree_cpu
from put_files import check_and_clear, files
from ssh_targets import KEY, OPTIONS, PORT, USER, hosts

count, size = int(sys.argv[1]), int(sys.argv[2])
execo.configuration["kill_childs_at_end"] = False
params = {"user": USER, "port": int(PORT), "keyfile": KEY, "scp_options": (*OPTIONS, "-rp")}
execo.Remote("true", ["127.0.0.254"], {**params, "ssh_options": ("-tt", *OPTIONS)}).run()
with files(size) as (source, target):
    before = tree_cpu()
    with Measure() as measure:
        put = execo.Put(hosts(count), [str(source)], f"{target}/{{{{{{host}}}}}}", params).run()
        assert put.ok
        measure.extra["tree"] = tree_cpu() - before
    check_and_clear(target, hosts(count), size)
