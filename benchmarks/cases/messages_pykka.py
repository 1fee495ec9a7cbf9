"""tell and ask by plain pykka, a thread for each actor. usage: TELLS ASKS"""

import sys
import time

import pykka
from measure import Measure


class Counter(pykka.ThreadingActor):
    """Counts what it is told."""

    use_daemon_thread = True
    count = 0

    def on_receive(self, message):
        self.count += 1
        return self.count


tells, asks = int(sys.argv[1]), int(sys.argv[2])
counter = Counter.start()
counter.ask({"number": 0})
with Measure() as measure:
    begin = time.perf_counter()
    for number in range(tells):
        counter.tell({"number": number})
    assert counter.ask({"number": 0}) == tells + 2
    if tells:
        measure.extra["tell_per_s"] = tells / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for number in range(asks):
        counter.ask({"number": number})
    if asks:
        measure.extra["ask_us"] = 1e6 * (time.perf_counter() - begin) / asks
counter.stop()
