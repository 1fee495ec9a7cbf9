"""In place of taktuk: speaks as it does of N nodes, without any. Commands write a line each, and end at once."""

import os
import re
import sys

EXEC = re.compile(rb"synchronize\x01([0-9/-]+)\x01exec\x01target\x01([0-9]+)\x01\[\x01(.*)", re.DOTALL)


def record(*fields):
    return b"".join(b"%d:%s," % (len(field), field) for field in fields) + b"\n"


def ranks(text):
    for part in text.split(b"/"):
        low, _, high = part.partition(b"-")
        yield from range(int(low), int(high or low) + 1)


hosts = [sys.argv[place + 1].encode() for place, word in enumerate(sys.argv) if word == "-m"]
count = b"%d" % len(hosts)
nodes = [b"localhost", *hosts]
places = [b"%d" % rank for rank in range(len(nodes))]
sys.stdout.buffer.write(
    b"".join(
        record(b"s", rank, host, b"1", b"", count, rank, b"77", b"", b"")
        for rank, host in zip(places, nodes, strict=True)
    )
)
sys.stdout.buffer.flush()
rest, pid = b"", 1000
while data := os.read(0, 1 << 20):
    *commands, rest = (rest + data).split(b"\x02")
    for found in filter(None, map(EXEC.match, commands)):
        tag, said = found[3][:48], []
        for rank in ranks(found[1]):
            pid += 1
            fields = (places[rank], b"%d" % pid)
            said.append(record(b"s", fields[0], nodes[rank], b"6", b"", count, fields[0], fields[1], tag, b""))
            if found[2] != b"0":
                said.append(record(b"o", *fields, b"a line\n"))
                said.append(record(b"x", *fields, b"0", b"1700000000.123", b"1700000000.456"))
        sys.stdout.buffer.write(b"".join(said))
        sys.stdout.buffer.flush()
