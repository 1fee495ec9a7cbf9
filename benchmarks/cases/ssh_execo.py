"""Remote("true") on N hosts by execo. usage: N first|second"""

import sys

import execo
from measure import Measure, tree_cpu
from ssh_targets import KEY, OPTIONS, PORT, USER, hosts

count, which = int(sys.argv[1]), sys.argv[2]
execo.configuration["kill_childs_at_end"] = False
params = {"user": USER, "port": int(PORT), "keyfile": KEY, "ssh_options": ("-tt", *OPTIONS)}
execo.Remote("true", ["127.0.0.254"], params).run()
before = tree_cpu()
with Measure() as measure:
    first = execo.Remote("true", hosts(count), params).run()
    assert first.ok
    measure.extra["tree"] = tree_cpu() - before
    if which == "second":
        before = tree_cpu()
        measure.begin_again()
        assert execo.Remote("true", hosts(count), params).run().ok
        measure.extra["tree"] = tree_cpu() - before
