"""TaktukRemote("true") on N nodes of TakTuk, all on this machine, by regisseur. usage: N first|second local|ssh"""

import contextlib
import sys
import time
from pathlib import Path

from measure import Measure
from taktuk_targets import connector, hosts

from regisseur.actors import Process, TaktukRemote
from regisseur.actors.runtime import stop_runtime


def command_lines():
    """Of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            yield path.read_bytes()


count, which, way = int(sys.argv[1]), sys.argv[2], sys.argv[3]
params = {"taktuk_connector": connector(way), "taktuk_connector_options": ()}
names = hosts(way, count)
Process("/bin/true").run()
with Measure() as measure:
    first = TaktukRemote("true", names, params).run()
    assert first.ok, next(process.error_reason for process in first.processes if not process.ok)
    if which == "second":
        measure.begin_again()
        second = TaktukRemote("true", names, params).run()
        assert second.ok
stop_runtime()
while any(b"regisseur-supervisor" in line for line in command_lines()):  # so that they do not disturb what comes next
    time.sleep(0.1)
