#!/usr/bin/env python3
"""What does sharing a core cost?

One process, the probe, works on a processor core, while others keep the same
core and the other cores busy. How many operations a second are left to it?

    ./colocation.py                 # measures for about a minute, in a new result directory
    ./colocation.py -C              # goes on where the last run was stopped, however that was
    ./colocation.py --help

The result directory then holds results.csv (a row for each combination),
results.txt (the table), colocation.png (the picture) and log.jsonl (all that happened).
"""

import os
import sys
import time
from pathlib import Path

from results import Results, relative_rates, summary, table
from rich.console import Console

from regisseur.actors import Process
from regisseur.engine import Engine, ParamSweeper, logger, sweep
from regisseur.engine.progress import SweepProgress

WORK = Path(__file__).with_name("work.py")


class Colocation(Engine):
    """Measures every combination of workload and neighbours, several times."""

    def __init__(self):
        super().__init__()
        add = self.args_parser.add_argument
        add("--seconds", type=float, default=0.35, help="measure each combination so long (default: %(default)s)")
        add("--repeats", type=int, default=2, help="measure each so often (default: %(default)s)")
        add("--neighbours", type=int, default=3, help="at most so many on the same core, and on the others")

    def init(self):
        """Set up the sweep: what there is to measure, and what was measured already."""
        self.cpus = sorted(os.sched_getaffinity(0))
        most = range(self.args.neighbours + 1)
        combinations = sweep(
            {
                "repeat": range(self.args.repeats),
                "workload": ["integer", "float", "memory"],
                "same_core": most,
                "other_cores": most if len(self.cpus) > 1 else [0],
            }
        )
        self.results = Results(Path(self.result_dir) / "results.csv")
        self.sweeper = ParamSweeper(os.path.join(self.result_dir, "sweep"), combinations, save_sweeps=True)
        # A row is written before its combination is done. Who was killed in between left a row: that counts.
        self.sweeper.done_batch(c for c in combinations if c in self.results and c not in self.sweeper.get_done())

    def run(self):
        """Measure what remains, then show what came out."""
        with SweepProgress(self.sweeper) as progress:
            while (combination := self.sweeper.get_next()) is not None:
                rate = self.measure(combination)
                if rate is None:
                    self.sweeper.skip(combination, reason="a process failed")
                else:
                    self.results.add(combination, rate)
                    self.sweeper.done(combination)
                progress.update()
        self.show()

    def measure(self, combination):
        """Run the probe and its neighbours; return the probe's operations a second, or None."""
        core, others = self.cpus[0], self.cpus[1:]
        places = [core] * (1 + combination["same_core"])
        places += [others[i % len(others)] for i in range(combination["other_cores"])]
        command = f"{sys.executable} -I -S {WORK} {combination['workload']} {{}} {self.args.seconds}"
        processes = [Process(command.format(cpu), timeout=60) for cpu in places]
        for process in processes:
            process.start()
        for process in processes:
            process.expect("ready", timeout=30)
        begin = time.monotonic() + 0.02  # all at the same moment, or the first would work alone for a while
        for process in processes:
            process.write(f"{begin}\n")
        for process in processes:
            process.wait()
        if not all(process.ok for process in processes):
            logger.warning("%s: %s", combination, [process.error_reason or process.exit_code for process in processes])
            return None
        return float(processes[0].stdout.split()[-1])

    def show(self):
        """Write the table, the picture and the sentence."""
        rates = relative_rates(self.results.rows())
        with open(os.path.join(self.result_dir, "results.txt"), "w") as file:
            Console(file=file, width=100).print(table(rates), summary(rates), sep="\n", soft_wrap=True)
        console = Console(markup=False, highlight=False)
        console.print(table(rates))
        try:
            from figure import draw
        except ImportError:
            console.print("No picture: it needs matplotlib (pip install 'regisseur[plots]').")
        else:
            console.print(f"Picture: {draw(rates, os.path.join(self.result_dir, 'colocation.png'))}")
        console.print(summary(rates), soft_wrap=True)


if __name__ == "__main__":
    Colocation().start()
