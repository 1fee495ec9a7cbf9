"""Campaigns in the manner of Execo's users, with only the imports changed; and what idioms of long ago are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import perform, play

CAMPAIGN = """
from regisseur.actors import *
from regisseur.engine import *
import os

class Campaign(Engine):
    def __init__(self):
        super(Campaign, self).__init__()
        self.args_parser.add_argument("--most", type=int, default=100)
        self.args_parser.add_argument("word", nargs="?", default="hello")

    def init(self):
        self.results = os.path.join(self.result_dir, "results.txt")
        logger.info("init in %s", os.path.basename(self.result_dir))

    def run(self):
        sweeper = ParamSweeper(os.path.join(self.result_dir, "sweeps"),
                               sweep({"n": [1, 2], "how": {"slow": {"delay": [0, 1]}, "fast": {}}}))
        while len(sweeper.get_remaining()) > 0 and self.args.most > 0:
            comb = sweeper.get_next(filtr=lambda combs: sorted(combs, key=lambda comb: (comb["how"], -comb["n"])))
            self.args.most -= 1
            logger.detail("now %s", slugify(comb))
            process = Process("echo %s %s" % (self.args.word, slugify(comb)), stdout_handlers=[self.results]).run()
            if process.finished_ok:
                sweeper.done(comb)
            else:
                sweeper.cancel(comb)
        logger.info("%s", sweeper)

if __name__ == "__main__":
    Campaign().start()
"""


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = play(tmp_path, CAMPAIGN, "-c", "out", "--most", "2", "good morning")
    second = play(tmp_path, CAMPAIGN, "-c", "out", "-l", "DETAIL")

    assert [line.partition("INFO: ")[2] for line in first[2:]] == [
        "run in directory out",
        "init in out",
        "sweeps <6 total, 2 done, 0 skipped, 0 in progress, 4 remaining>",
    ]
    assert "good morning" in first[0]
    assert second[-1].endswith("sweeps <6 total, 6 done, 0 skipped, 0 in progress, 0 remaining>")
    assert sum("DETAIL: now " in line for line in second) == 4
    assert (tmp_path / "out/results.txt").read_text().splitlines() == [
        "good morning n-2-how-fast", "good morning n-1-how-fast", "hello n-2-how-slow-delay-0",
        "hello n-2-how-slow-delay-1", "hello n-1-how-slow-delay-0", "hello n-1-how-slow-delay-1",
    ]  # fmt: skip


TALK = """
from regisseur.engine import *
import os, sys

class Talk(Engine):
    def run(self):
        print("by print", flush=True)
        print("by stderr", file=sys.stderr)
        os.system("echo by a child")
        logger.warning("by the logger")

Talk().start()
"""


@pytest.mark.parametrize(
    ("options", "said", "files"),
    [
        (["-R"], [], {"stdout": ["by print", "by a child"], "stderr": ["by stderr"]}),
        (["-R", "-M"], [], {"stdout+stderr": ["by print", "by stderr", "by a child"]}),
        (["-L"], ["by print", "by a child"], {"stdout": ["by print", "by a child"], "stderr": ["by stderr"]}),
        ([], ["by print", "by a child"], {}),
    ],
)
def test_an_engine_sends_its_outputs_where_the_options_say(
    tmp_path: Path, options: list[str], said: list[str], files: dict[str, list[str]]
) -> None:
    def spoken(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("by")]

    performed = perform(tmp_path, TALK, "-c", "out", *options)
    found = {path.name: path.read_text() for path in (tmp_path / "out").glob("std*")}

    assert performed.returncode == 0
    assert spoken(performed.stdout) == said
    assert {name: spoken(text) for name, text in found.items()} == files
    assert all("WARNING: by the logger" in text for name, text in found.items() if name != "stderr")


def test_engines_name_their_run_and_may_choose_another_directory(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        from regisseur.engine import *
        import os
        logger.setLevel("WARNING")

        class Plain(Engine):
            def init(self):
                print("base prepares")
            def run(self):
                print("base runs")

        class Mine(Plain):
            def init(self):
                print("mine prepares", self.args is not None, os.path.isdir(self.result_dir))
            def run(self):
                print("mine runs")

        class Chosen(Engine):
            def setup_run_name(self):
                self.run_name = "monday"
            def setup_result_dir(self):
                self.result_dir = os.path.join("runs", self.run_name)
            def run(self):
                print(self.result_dir, self.engine_dir == os.path.dirname(os.path.abspath(__file__)))

        Mine().start([])
        Chosen().start([])
        Mine().run()
        """,
    )

    assert said == [
        "base prepares",
        "mine prepares True True",
        "base runs",
        "mine runs",
        "runs/monday True",
        "mine runs",
    ]
    assert (tmp_path / "runs/monday").is_dir()
    names = [path.name for path in tmp_path.iterdir() if path.name.startswith("Mine_")]
    assert [bool(re.fullmatch(r"Mine_\d{8}_\d{6}_[+-]\d{4}", name)) for name in names] == [True]


def test_workers_in_several_processes_share_a_sweeper(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        from regisseur.engine import *
        import multiprocessing

        def work(queue):
            sweeper = ParamSweeper("sweeps", sweep({"n": range(30)}))
            mine = []
            while True:
                comb = sweeper.get_next()
                if not comb:
                    break
                process = Process("echo %d" % comb["n"]).run()
                mine.append(int(process.stdout))
                sweeper.done(comb)
            queue.put(mine)

        if __name__ == "__main__":
            Process("true").run()  # so that there are threads of ours when it forks
            fork = multiprocessing.get_context("fork")
            queue = fork.Queue()
            workers = [fork.Process(target=work, args=(queue,)) for i in range(3)]
            for worker in workers:
                worker.start()
            done = sum([queue.get() for worker in workers], [])
            for worker in workers:
                worker.join()
            sweeper = ParamSweeper("sweeps", sweep({"n": range(30)}))
            print(sorted(done) == list(range(30)), sweeper)
            print(sweep_stats(sweeper.stats())["done_ratio"]["n"][7], len(sweeper.get_done() - {None}))
        """,
    )

    assert said == ["True sweeps <30 total, 30 done, 0 skipped, 0 in progress, 0 remaining>", "1.0 30"]


OLD = """
from regisseur.actors import *
from regisseur.actors.config import make_connection_params
from regisseur.engine import *

class OldOptions(Engine):
    def init(self):
        self.options_parser.add_option("-x")

class OldCall(Engine):
    def run(self):
        if Process("true").run().ok():
            print("not reached")
"""


@pytest.mark.parametrize(
    ("idiom", "advice"),
    [
        ("from regisseur.actors import default_connexion_params", "write default_connection_params"),
        ("from regisseur.actors.log import set_style", "write style.set"),
        ("make_connection_params(connexion_params={})", "write connection_params"),
        ("OldOptions().start(['-c', 'out'])", "self.args_parser"),
        ("OldCall().start(['-c', 'out'])", "write .ok without parentheses"),
    ],
)
def test_an_idiom_of_long_ago_is_answered_with_the_new_one(tmp_path: Path, idiom: str, advice: str) -> None:
    performed = perform(tmp_path, f"{OLD}\n{idiom}\n")

    assert performed.returncode == 1
    assert advice in "\n".join(performed.stderr.splitlines()[-2:])
