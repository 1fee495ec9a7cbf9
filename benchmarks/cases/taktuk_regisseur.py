"""TaktukRemote("true") on N nodes of TakTuk, all on this machine, by regisseur. usage: N first|second"""

import sys
from pathlib import Path

from measure import Measure

from regisseur.actors import Process, TaktukRemote
from regisseur.actors.runtime import stop_runtime

count, which = int(sys.argv[1]), sys.argv[2]
connector = str(Path(__file__).with_name("taktuk_connector.sh"))
params = {"taktuk_connector": connector, "taktuk_connector_options": ()}
hosts = [f"host-{number}" for number in range(count)]
Process("/bin/true").run()
with Measure() as measure:
    first = TaktukRemote("true", hosts, params).run()
    assert first.ok, next(process.error_reason for process in first.processes if not process.ok)
    if which == "second":
        measure.begin_again()
        second = TaktukRemote("true", hosts, params).run()
        assert second.ok
stop_runtime()
