"""tell and ask through the bus. usage: TELLS ASKS"""

import sys
import time

from measure import Measure

from regisseur.actors.actor import Actor
from regisseur.protocols.message import message


@message("benchmark.tick")
class Tick:
    """Counted by `Counter`."""

    number: int


class Counter(Actor):
    """Counts what it is told."""

    count = 0

    def on_receive(self, message):
        self.count += 1
        return self.count


tells, asks = int(sys.argv[1]), int(sys.argv[2])
counter = Counter.start()
counter.ask(Tick(0))
with Measure() as measure:
    begin = time.perf_counter()
    for number in range(tells):
        counter.tell(Tick(number))
    assert counter.ask(Tick(0)) == tells + 2
    if tells:
        measure.extra["tell_per_s"] = tells / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for number in range(asks):
        counter.ask(Tick(number))
    if asks:
        measure.extra["ask_us"] = 1e6 * (time.perf_counter() - begin) / asks
