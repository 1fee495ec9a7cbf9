"""Gather outputs of hosts, folding included. usage: HOSTS LINES KIND"""

import sys
from types import SimpleNamespace

from gathering_outputs import outputs
from measure import Measure

import regisseur.actors.nodeset  # noqa: F401 - so that loading it is not measured, as it is not for the other
from regisseur.actors.gathering import gather_output

processes = [
    SimpleNamespace(host=SimpleNamespace(address=name), stdout=text, stderr="")
    for name, text in outputs(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
]
with Measure() as measure:
    measure.extra["groups"] = len(gather_output(processes))
