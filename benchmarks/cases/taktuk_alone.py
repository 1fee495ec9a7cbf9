"""``true`` on N nodes of TakTuk, all on this machine, by taktuk alone. usage: N"""

import subprocess
import sys
from pathlib import Path

from measure import Measure

count = int(sys.argv[1])
connector = str(Path(__file__).with_name("taktuk_connector.sh"))
nodes = [word for number in range(count) for word in ("-m", f"host-{number}")]
argv = [
    "taktuk",
    "-s",
    "-o",
    r'status="$rank ended $line\n"',
    "-c",
    connector,
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
