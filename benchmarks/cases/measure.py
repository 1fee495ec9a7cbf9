"""What every measured program prints: one JSON object with wall and CPU seconds, and the peak of memory.

Stands alone, so that any interpreter can import it.
"""

import json
import os
import resource
import time


class Measure:
    """Context manager: measures what runs inside, and prints it at its end; keys may be added to ``extra``."""

    def __init__(self):
        self.extra = {}

    def __enter__(self):
        self.begin_again()
        return self

    def begin_again(self):
        """Measure from here on."""
        before = os.times()
        self._cpu = before.user + before.system
        self._children = before.children_user + before.children_system
        self._begin = time.monotonic()

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        wall = time.monotonic() - self._begin
        after = os.times()
        figures = {
            "wall": wall,
            "cpu": after.user + after.system - self._cpu,
            "children": after.children_user + after.children_system - self._children,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(figures | self.extra), flush=True)


def tree_cpu():
    """CPU seconds of this process and of all that it has started, dead or alive."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents, used = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(name)] = int(fields[1])
            used[int(name)] = sum(map(int, fields[11:15])) / ticks
    total = 0.0
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        if ancestor == os.getpid():
            total += used[pid]
    return total
