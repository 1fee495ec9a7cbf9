"""N live actors: start them, ask the last, stop them all. usage: N"""

import sys
import time

from measure import Measure

from regisseur.actors.actor import Actor
from regisseur.actors.registry import ActorRegistry


class Member(Actor):
    """One of many."""

    def on_receive(self, message):
        return message


count = int(sys.argv[1])
with Measure() as measure:
    begin = time.monotonic()
    members = [Member.start() for _ in range(count)]
    assert members[-1].ask("here") == "here"
    measure.extra["start_s"] = time.monotonic() - begin
    begin = time.monotonic()
    assert all(ActorRegistry.stop_all())
    measure.extra["stop_s"] = time.monotonic() - begin
