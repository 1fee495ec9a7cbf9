"""``true`` on N nodes of TakTuk, all on this machine, by taktuk alone. usage: N local|ssh"""

import shlex
import subprocess
import sys

from measure import Measure
from taktuk_targets import connector, hosts

count, way = int(sys.argv[1]), sys.argv[2]
nodes = [word for name in hosts(way, count) for word in ("-m", name)]
argv = [
    "taktuk",
    "-s",
    "-o",
    r'status="$rank ended $line\n"',
    "-c",
    shlex.join(connector(way)),
    *nodes,
    "broadcast",
    "exec",
    "[",
    "true",
    "]",
]
with Measure():
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
assert done.returncode == 0, done.stderr
assert done.stdout.count(" ended 0\n") == count, done.stdout[:1000]
