"""`make bench`: runs all cases, side by side with the peers, and prints one table.

Each measurement is a fresh process; the programs of a case take turns, round
by round, and the median counts, so that a machine whose speed drifts harms all
alike. What counts is the ratio between the rows of a case, and the CPU seconds.

usage: run.py [--rounds N] [--quick] [CASE ...]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sshd import private_sshd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CASES = HERE / "cases"
BUILD = ROOT / "build"
PEERS_PYTHON = Path(os.environ.get("REGISSEUR_BENCH_EXECO", ROOT / ".venv-bench/bin/python"))
LIMIT = 120  # seconds for one measurement; then the peer counts as "too slow"


@dataclass
class Program:
    """One way to do the work of a case."""

    name: str
    argv: list[str]
    rounds: int | None = None
    """Fewer rounds than the others, for the slow ones."""
    limit: float = LIMIT
    figures: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""

    def measure(self) -> None:
        """Run it once and keep what it printed."""
        if self.failure:
            return
        try:
            done = subprocess.run(
                self.argv, capture_output=True, text=True, timeout=self.limit, cwd=CASES, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            self.failure = f"not done after {self.limit:.0f} s"
            return
        except OSError as error:
            self.failure = f"not there ({error.strerror})"
            return
        if done.returncode:
            self.failure = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            return
        self.figures.append(json.loads(done.stdout.strip().splitlines()[-1]))

    def median(self, key: str) -> float | None:
        """The median of a figure over the rounds; None where there is none."""
        values = [figures[key] for figures in self.figures if key in figures]
        return statistics.median(values) if values else None


@dataclass
class Case:
    """A piece of work, and the programs that do it; the first is ours."""

    name: str
    title: str
    target: str
    programs: list[Program]
    per: int = 0
    """So many pieces in it: then microseconds for each are shown."""
    extra: tuple[str, ...] = ()
    """Names of further figures; "tree" is CPU seconds of all programs that were started, the living ones too."""
    over_ssh: bool = False
    """Its programs connect to a private sshd."""


def ours(case: str, *arguments: object) -> Program:
    """Our program of a case."""
    return Program("regisseur", [sys.executable, str(CASES / f"{case}_regisseur.py"), *map(str, arguments)])


def python(name: str, case: str, *arguments: object) -> Program:
    """A program for our own interpreter."""
    return Program(name, [sys.executable, str(CASES / f"{case}.py"), *map(str, arguments)])


def execo(case: str, *arguments: object) -> Program:
    """The program of a case for execo, in its own environment."""
    return Program("execo 2.8.2", [str(PEERS_PYTHON), str(CASES / f"{case}_execo.py"), *map(str, arguments)], rounds=1)


def spawn_loop(count: int) -> Program:
    """The C program, compiled here."""
    BUILD.mkdir(exist_ok=True)
    target = BUILD / "spawn_loop"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is not None:
        subprocess.run([compiler, "-O2", "-o", str(target), str(CASES / "spawn_loop.c")], check=True)
    return Program("C posix_spawn loop", [str(target), str(count)])


def cases(quick: bool) -> list[Case]:
    """All cases, smaller ones if *quick*."""
    some, many = (500, 2000) if quick else (2000, 10000)
    alive = 500 if quick else 5000
    size = 128 if quick else 1024
    actors = 10000 if quick else 100000
    combinations = 10000 if quick else 100000
    tells, asks = (50000, 5000) if quick else (300000, 20000)
    return [
        Case(
            "processes",
            f"{some:,} short processes with captured output (ours: with the structured log)",
            ">= 5 x execo's rate, >= 0.75 x the C loop's, <= 200 us CPU each",
            [
                ours("processes", some),
                spawn_loop(some),
                python("asyncio subprocess", "processes_asyncio", some),
                execo("processes", some),
            ],
            per=some,
        ),
        Case(
            "processes-many",
            f"{many:,} of them",
            "linear: as much for each",
            [ours("processes", many), spawn_loop(many)],
            per=many,
        ),
        Case(
            "alive",
            f"{alive:,} processes alive at once",
            "<= 250 MB, idle CPU < 1 %",
            [ours("alive", alive, 2 if quick else 10)],
            per=alive,
            extra=("start_s", "idle_cpu_percent", "end_s"),
        ),
        Case(
            "output",
            f"stdout of one process, {size:,} MiB",
            ">= 0.7 x the read loop's rate, memory bounded by the spool limit (16 MiB)",
            [ours("output", size), python("os.read loop that keeps it in a file", "output_read_loop", size, "keep")],
        ),
        Case(
            "output-discarded",
            f"stdout of one process, {size:,} MiB, kept nowhere",
            ">= 0.7 x the read loop's rate",
            [ours("output", size, "discard"), python("os.read loop", "output_read_loop", size)],
        ),
        Case(
            "output-small",
            "the same, 40 MiB",
            "",
            [ours("output", 40), python("os.read loop", "output_read_loop", 40), execo("output", 40)],
        ),
        Case(
            "tell",
            f"{tells:,} tells through the bus",
            ">= 300,000/s",
            [ours("messages", tells, 0), python("plain pykka", "messages_pykka", tells, 0)],
            per=tells,
            extra=("tell_per_s",),
        ),
        Case(
            "ask",
            f"{asks:,} asks, one after the other",
            "<= 40 us",
            [ours("messages", 0, asks), python("plain pykka", "messages_pykka", 0, asks)],
            per=asks,
            extra=("ask_us",),
        ),
        Case(
            "actors",
            f"{actors:,} live actors",
            "start and stop in <= 5 s, <= 350 MB",
            [ours("many_actors", actors), python("plain pykka, 2,000", "many_actors_pykka", 2000)],
            extra=("start_s", "stop_s"),
        ),
        *sweeper_cases(combinations),
        *ssh_cases(20 if quick else 100, 200 if quick else 1000),
        *gathering_cases(10000, 10),
        *put_cases(20, 100 if quick else 1000),
        *chain_cases(quick),
        *taktuk_cases(20 if quick else 100, 200 if quick else 2000),
        Case(
            "import",
            "import",
            "<= 150 ms",
            [
                python("regisseur.actors", "import_time", "regisseur.actors"),
                Program("execo 2.8.2", [str(PEERS_PYTHON), str(CASES / "import_time.py"), "execo"]),
            ],
        ),
    ]


def ssh_cases(hosts: int, processes: int) -> list[Case]:
    """Commands on other hosts: by ssh to addresses of this machine, and by a connector that is a program of it."""
    stub = "/bin/true"
    clush = str(Path(sys.executable).parent / "clush")
    tools = [
        python("xargs ssh", "ssh_tools", hosts, "xargs"),
        python("clush", "ssh_tools", hosts, "clush", clush),
        python("pdsh", "ssh_tools", hosts, "pdsh"),
    ]
    return [
        Case(
            "ssh-first",
            f"a command on {hosts} hosts",
            "wall as clush and pdsh; CPU of all programs <= that of xargs ssh + 1 ms for each host",
            [ours("ssh", hosts, "first"), *tools, execo("ssh", hosts, "first")],
            per=hosts,
            extra=("tree",),
            over_ssh=True,
        ),
        Case(
            "ssh-second",
            "another command on them",
            "CPU of all programs <= 1/8 of execo's, wall <= 1/5",
            [ours("ssh", hosts, "second"), execo("ssh", hosts, "second")],
            per=hosts,
            extra=("tree",),
            over_ssh=True,
        ),
        Case(
            "ssh-native-first",
            f"a command on {hosts} hosts by the native connector",
            "CPU of all programs <= 1/5 of that by ssh, <= 1.3 x that of asyncssh alone",
            [
                ours("ssh", hosts, "first", "native"),
                Program("regisseur, by ssh", ours("ssh", hosts, "first").argv),
                Program("regisseur, by ssh, curve25519", ours("ssh", hosts, "first", "lab").argv),
                python("asyncssh alone", "ssh_asyncssh", hosts, "first"),
                python("the same, curve25519 only", "ssh_asyncssh", hosts, "first", "curve25519"),
                python("asyncssh with two sessions, as ours", "ssh_asyncssh", hosts, "first", "guarded"),
            ],
            per=hosts,
            extra=("tree",),
            over_ssh=True,
        ),
        Case(
            "ssh-native-second",
            "another command on them",
            "<= 1.3 x that of asyncssh alone",
            [
                ours("ssh", hosts, "second", "native"),
                python("asyncssh alone", "ssh_asyncssh", hosts, "second"),
            ],
            per=hosts,
            extra=("tree",),
            over_ssh=True,
        ),
        Case(
            "ssh-connectors",
            f"a command on {processes:,} hosts by a connector that is a program of this machine",
            ">= 8 x execo's rate",
            [ours("connectors", processes, stub), execo("connectors", processes, stub)],
            per=processes,
        ),
    ]


def gathering_cases(hosts: int, lines: int) -> list[Case]:
    """Which of many hosts wrote the same, with the folding of their names."""
    titles = {
        "alike": "seven kinds of output",
        "own": "outputs that differ by the host's own name only (which MsgTree does not see)",
        "other": "outputs that all differ",
    }
    return [
        Case(
            f"gathering-{kind}",
            f"gathering {hosts:,} hosts x {lines} lines: {title}",
            "<= 0.2 s",
            [
                ours("gathering", hosts, lines, kind),
                python("clush's MsgTree", "gathering_msgtree", hosts, lines, kind),
            ],
            extra=("groups",),
        )
        for kind, title in titles.items()
    ]


def _tree_cases(hosts: int, way: str, title: str) -> list[Case]:
    """A command that makes the tree, and one that finds it."""
    return [
        Case(
            f"taktuk-{which}-{way}",
            f"{words} {hosts} nodes of TakTuk, {title}",
            target,
            [ours("taktuk", hosts, which, way), python("taktuk alone", "taktuk_alone", hosts, way)],
            per=hosts,
            over_ssh=way == "ssh",
        )
        for which, words, target in (
            ("first", "a command on", "wall <= 1.1 x that of taktuk alone"),
            ("second", "another command on", "wall <= 1/15 of taktuk alone, which connects them anew"),
        )
    ]


def taktuk_cases(hosts: int, many: int) -> list[Case]:
    """Commands over TakTuk. Its nodes are all on this machine, whose processor they share."""
    ways = {"local": "connected by a program that does nothing", "ssh": "connected by ssh"}
    return [
        *(case for way, title in ways.items() for case in _tree_cases(hosts, way, title)),
        Case(
            "taktuk-streams",
            f"a command on {many:,} nodes that a program in place of taktuk makes up, 5 times",
            "<= 100 us CPU for each node and command",
            [python("regisseur", "taktuk_streams", many, 5)],
            per=5 * many,
        ),
    ]


def put_cases(hosts: int, files: int) -> list[Case]:
    """Small files to other hosts."""
    title = f"{files:,} small files to {hosts} hosts"
    tools = [python("xargs scp -r", "put_tools", hosts, files), execo("put", hosts, files)]
    return [
        Case(
            "put-files",
            f"{title}, over connections that stand",
            "wall <= 1/5 of execo's",
            [ours("put", hosts, files, "second"), *tools],
            per=hosts,
            extra=("tree",),
            over_ssh=True,
        ),
        Case(
            "put-first",
            f"{title}, to which there is no connection yet",
            "wall <= 1/5 of execo's",
            [ours("put", hosts, files, "first"), *tools],
            per=hosts,
            extra=("tree",),
            over_ssh=True,
        ),
    ]


def chain_cases(quick: bool) -> list[Case]:
    """A large file to hosts of the test bed, whose cables have the speed that is named. Needs root."""
    made = []
    for hosts, megabytes, rate in [(8, 16, "200mbit")] if quick else [(16, 256, "200mbit"), (8, 512, "1gbit")]:
        arguments = (hosts, megabytes, rate)
        megabits = {"200mbit": 200, "1gbit": 1000}[rate]
        wire = megabytes * 8 * 1.048576 / megabits
        programs = [
            ours("chain", *arguments),
            ours("chain", *arguments, 2),
            python("scp to all at once", "chain_scp", *arguments),
        ]
        programs[1].name = "the same, two hosts crash"
        for program in programs:
            program.rounds, program.limit = 1, 900
        made.append(
            Case(
                f"chain-{rate}",
                f"{megabytes} MiB to {hosts} hosts with {rate} each, over connections that stand; once by the wire: "
                f"{wire:.1f} s",
                f"<= {1.15 * wire + 1:.1f} s; with crashes <= 1.5 x; <= 1/6 of scp's",
                programs,
                extra=("all_have_it", "end"),
            )
        )
    return made


def sweeper_cases(count: int) -> list[Case]:
    """What the sweeper costs, for each operation."""
    titles = {
        "pairs": ("claim + done, durable", "<= 300 us"),
        "crowded": ("claim + done while a fifth is in progress", ""),
        "shared": ("claim + done by 4 processes in one directory", ""),
        "filter": ("get_next with a filter that sorts", ""),
        "open": ("open, half done", "<= 2 s"),
        "build": ("build and save", ""),
    }
    script = str(CASES / "sweeper.py")
    return [
        Case(
            f"sweeper-{name}",
            f"sweeper with {count:,} combinations: {title}",
            target,
            [
                Program("regisseur", [sys.executable, script, name, "regisseur", str(count)]),
                Program(
                    "execo 2.8.2", [str(PEERS_PYTHON), "-W", "ignore", script, name, "execo", str(count)], rounds=1
                ),
            ],
            per=1,
        )
        for name, (title, target) in titles.items()
    ]


def show(case: Case, table: Table) -> None:
    """Add the rows of a case to the table."""
    base = case.programs[0].median("wall")
    table.add_section()
    table.add_row(f"[bold]{case.name}[/]: {case.title}", "", "", "", "", "", f"[dim]{case.target}[/]")
    for program in case.programs:
        if program.failure:
            table.add_row(f"  {program.name}", "", "", "", "", "", f"[red]{program.failure}[/]")
            continue
        wall, cpu = program.median("wall"), program.median("cpu")
        memory = program.median("rss_mb")
        assert wall is not None
        assert cpu is not None
        each = f"{1e6 * wall / case.per:,.0f} / {1e6 * cpu / case.per:,.0f}" if case.per else ""
        ratio = "" if program is case.programs[0] or not base else f"{wall / base:.2f}"
        extras = [f"{key} {value:,.3f}".rstrip("0").rstrip(".") for key in case.extra if (value := program.median(key))]
        table.add_row(
            f"  {program.name}",
            f"{wall:.4f}",
            f"{cpu:.4f}",
            each,
            "" if memory is None else f"{memory:.0f}",
            ratio,
            ", ".join(extras),
        )


def main() -> int:
    """Measure the cases named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of each program (default: 3)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: to see that all cases work")
    parser.add_argument("names", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    chosen = cases(arguments.quick)
    unknown = set(arguments.names) - {n for case in chosen for n in (case.name, case.name.partition("-")[0])}
    if unknown:
        parser.error(f"unknown case {sorted(unknown)[0]!r}; there are {', '.join(c.name for c in chosen)}")
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    for heading in ("", "wall s", "CPU s", "us each: wall / CPU", "MB", "wall, ours = 1", ""):
        table.add_column(heading, justify="left" if not heading else "right")
    names = set(arguments.names)
    chosen = [case for case in chosen if not names or {case.name, case.name.partition("-")[0]} & names]
    with contextlib.ExitStack() as stack:
        if any(case.over_ssh for case in chosen):
            os.environ.update(stack.enter_context(private_sshd()).environment())
        for case in chosen:
            measure(case, 1 if arguments.quick else arguments.rounds)
            show(case, table)
    console.print(table)
    return 0


def measure(case: Case, rounds: int) -> None:
    """Let the programs of a case take turns."""
    for turn in range(rounds):
        for program in case.programs:
            if turn < (program.rounds or rounds):
                print(f"{case.name}: {program.name}, round {turn + 1} of {rounds}", file=sys.stderr)
                program.measure()


if __name__ == "__main__":
    sys.exit(main())
