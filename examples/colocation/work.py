"""One busy process of the colocation experiment. Needs nothing but the standard library.

usage: work.py WORKLOAD CPU SECONDS

It moves itself to processor CPU, prints "ready", reads from stdin when to
begin (on the monotonic clock, which all processes of a machine share), works
for SECONDS, and prints how many operations a second it did.
"""

import os
import sys
import time


def integer_operations(count):
    """Arithmetic on small whole numbers."""
    value = 1
    for _ in range(count):
        value = (value * 1103515245 + 12345) & 0x7FFFFFFF
    return value


def float_operations(count):
    """Arithmetic on floating point numbers."""
    value = 0.5
    for _ in range(count):
        value = 3.9 * value * (1.0 - value)
    return value


SOURCE = bytearray(8 << 20)
TARGET = bytearray(8 << 20)


def memory_operations(count):
    """Moving 8 KiB at a time through 16 MiB, more than the caches next to a core hold."""
    for index in range(count):
        place = (index * 7919 * 8192) % (len(SOURCE) - 8192)
        TARGET[place : place + 8192] = SOURCE[place : place + 8192]


WORKLOADS = {"integer": integer_operations, "float": float_operations, "memory": memory_operations}
BATCH = 2000  # operations between two looks at the clock


def main():
    workload, cpu, seconds = WORKLOADS[sys.argv[1]], int(sys.argv[2]), float(sys.argv[3])
    os.sched_setaffinity(0, {cpu})
    workload(BATCH)
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    time.sleep(max(0.0, begin - time.monotonic()))
    end = begin + seconds
    operations = 0
    while (now := time.monotonic()) < end:
        workload(BATCH)
        operations += BATCH
    print("rate", operations / (now - begin), flush=True)


if __name__ == "__main__":
    main()
