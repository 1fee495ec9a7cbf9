"""A command on N nodes that a program in place of taktuk makes up: what is left is our own work. usage: N ROUNDS"""

import sys
from pathlib import Path

from measure import Measure

from regisseur.actors import TaktukRemote
from regisseur.actors.runtime import stop_runtime

count, rounds = int(sys.argv[1]), int(sys.argv[2])
stand_in = (sys.executable, str(Path(__file__).with_name("taktuk_stand_in.py")))
params = {"taktuk": stand_in}
hosts = [f"host-{number}" for number in range(count)]
assert TaktukRemote("true", hosts, params).run().ok
with Measure():
    for _ in range(rounds):
        action = TaktukRemote("true", hosts, params).run()
        assert action.ok
        assert action.processes[-1].stdout == "a line\n"
stop_runtime()
