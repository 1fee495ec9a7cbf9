"""N short processes with captured output and the structured log. usage: N"""

import sys
import tempfile
from pathlib import Path

from measure import Measure

from regisseur.actors.journal import Journal, set_journal
from regisseur.actors.process import Process

count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as directory:
    set_journal(Journal(Path(directory) / "log.jsonl"))
    Process("/bin/true").run()
    with Measure():
        processes = [Process("/bin/true").start() for _ in range(count)]
        for process in processes:
            process.wait()
    assert all(process.ok for process in processes)
    assert len(Path(directory, "log.jsonl").read_bytes().splitlines()) == 2 * count + 2
