"""Scripts in the manner of Execo's users, with only the imports changed: commands on hosts, and groups of them.

Each runs over the stub, and where there is a real server over shared connections of ssh and by asyncssh.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from scripts import play
from sshd import params_of

Perform = Callable[..., list[str]]

PREAMBLE = """
from regisseur.actors import *
default_connection_params.update({params!r})
hosts = ["127.0.0.1", "localhost"]
"""


_OVER_SSH = [pytest.param(way, marks=pytest.mark.requires_sshd) for way in ("shared connection", "native")]


@pytest.fixture(scope="module", params=["stub", *_OVER_SSH])
def params(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Connection parameters for this machine."""
    if request.param == "stub":
        return STUB_PARAMS
    return {**request.getfixturevalue("sshd").connection_params, **params_of(request.param)}


@pytest.fixture
def perform(params: dict[str, Any], tmp_path: Path) -> Perform:
    """Performs a script that has `hosts`, two of them, which are this machine."""

    def play_there(script: str, *arguments: str) -> list[str]:
        (tmp_path / "hosts_here.py").write_text(PREAMBLE.format(params=params))
        return play(tmp_path, script, *arguments)

    return play_there


def test_a_command_on_all_hosts_and_what_each_says(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        cmd = Remote("echo on {{{host}}}; echo trouble >&2", hosts)
        cmd.run()
        print(cmd.ok, cmd.finished_ok, cmd.name, len(cmd.processes))
        for p in cmd.processes:
            print(p.host.address, p.ok, p.exit_code, p.stdout.strip(), p.stderr.strip())
        print(Remote("whoami", Host("localhost")).run().processes[0].stdout == Process("whoami").run().stdout)
    """)

    assert said == [
        "True True echo on {{{host}}}; echo trouble >&2 2",
        "127.0.0.1 True 0 on 127.0.0.1 trouble",
        "localhost True 0 on localhost trouble",
        "True",
    ]


def test_a_server_on_one_host_and_clients_on_the_other(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        rates = [10, 20, 30]
        server = SshProcess("echo listening on 5001; while read line; do echo got $line; done", hosts[0])
        client = Remote("echo bandwidth: {{rates}} Mbit/s", [hosts[1]] * 3)
        with server.start():
            print(server.expect(r"listening on (\\d+)", timeout=20)[1].group(1))
            print("one", file=server)
            print(server.expect("^got one$", timeout=20)[0])
            client.run()
            print(server.running, client.ok)
        server.wait()
        print(server.killed, server.ok, server.running)
        print([float(p.stdout.split()[1]) for p in client.processes])
    """)

    assert said == ["5001", "0", "True True", "True True False", "[10.0, 20.0, 30.0]"]


def test_pairs_of_hosts_by_substitution(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        def pairs(hosts):
            servers = [Host(h) for h in hosts]
            traffic = Remote("echo {{{host}}} to {{[h.address for h in reversed(servers)]}}, {{rounds}} rounds", hosts)
            return traffic
        rounds = ("3", "5")
        print([p.stdout.strip() for p in pairs(hosts).run().processes])
    """)

    assert said == ["['127.0.0.1 to localhost, 3 rounds', 'localhost to 127.0.0.1, 5 rounds']"]


def test_hosts_that_fail_are_left_out_of_what_follows(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        check = Remote("test {{{host}}} = localhost", hosts, process_args={"nolog_exit_code": True})
        check.run()
        good = filter_bad_hosts(check, hosts)
        print(check.ok, good, [p.exit_code for p in check.processes])
        quiet = dict(ignore_exit_code=True, ignore_timeout=True, nolog_exit_code=True, nolog_timeout=True)
        late = Remote("sleep 100", good, process_args=dict(timeout=0.3, **quiet)).run()
        p = late.processes[0]
        print(late.ok, p.timeouted, p.killed)
        missing = SshProcess("no-such-program 2>/dev/null", good[0], nolog_exit_code=True).run()
        print(missing.ok, missing.error, missing.exit_code)
        warned = Remote("exit 3", good).run()
    """)

    assert said[:3] == ["False ['localhost'] [1, 0]", "True True True", "False False 127"]
    assert "WARNING: terminated: <SshProcess('exit 3', name=exit 3, host=localhost, started=True" in said[3]


def test_actions_on_hosts_side_by_side_and_in_turn_with_a_report(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        prepare = Remote("mkdir -p work.{{{host}}}", hosts, name="prepare")
        work = ParallelActions([Remote("echo a", hosts[:1], name="left"), Remote("echo b", hosts[1:], name="right")])
        clean = Remote("rmdir work.{{{host}}}", hosts, name="clean")
        everything = SequentialActions([prepare, work, clean])
        everything.run()
        print(everything.ok, [p.stdout.strip() for p in work.processes])
        report = Report([everything])
        print([report.stats()[key] for key in ("num_processes", "num_ok", "num_errors", "num_finished_ok")])
        print([line.split()[0] for line in report.to_string().splitlines()[3:12:2]])
        for action in (clean, prepare):
            action.reset()
        print(prepare.run().ok, clean.run().ok)
    """)

    assert said == [
        "True ['a', 'b']",
        "[6, 6, 0, 6]",
        "['SequentialActions', 'prepare', 'ParallelActions', 'left', 'right']",
        "True True",
    ]


def test_a_script_starts_waits_a_while_and_kills(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        load = Remote("echo $$; exec sleep 1000", hosts).start()
        print([index for process, index, match in load.expect(r"\\d+", timeout=20)])
        print(load.wait(timeout=0.05).ended)
        print(wait_any_actions([load], timeout=0.05) == [])
        load.kill()
        load.wait()
        print(load.ended, load.ok, [p.killed for p in load.processes])
    """)

    assert said == ["[0, 0]", "False", "True", "True True [True, True]"]


def test_handlers_hear_what_hosts_say(perform: Perform, tmp_path: Path) -> None:
    said = perform("""
        from hosts_here import *
        class Sum(ProcessOutputHandler):
            def __init__(self):
                super(Sum, self).__init__()
                self.by_host = {}
            def read_line(self, process, stream, line):
                self.by_host[process.host.address] = self.by_host.get(process.host.address, 0) + int(line)

        total = Sum()
        args = dict(stdout_handlers=[total, "out.{{{host}}}"], default_stdout_handler=False)
        action = Remote("seq {{[10, 20]}}", hosts, process_args=args).run()
        print(sorted(total.by_host.items()), [p.stdout for p in action.processes])
        print([len(open("out." + host).readlines()) for host in hosts])
    """)

    assert said == ["[('127.0.0.1', 55), ('localhost', 210)] ['', '']", "[10, 20]"]


def test_input_is_written_to_all_hosts(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        action = Remote("read name; echo hello $name from {{{host}}}", hosts).start()
        print("world", file=action)
        print([p.stdout.strip() for p in action.wait().processes])
    """)

    assert said == ["['hello world from 127.0.0.1', 'hello world from localhost']"]


def test_parameters_rewritten_addresses_and_factories(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        from regisseur.actors.config import make_connection_params
        from regisseur.actors.process import get_process
        from regisseur.actors.host import get_hosts_set, get_unique_hosts_list
        params = make_connection_params({"host_rewrite_func": lambda host: host.replace("node", "127.0.0.")})
        action = get_remote("echo {{{host}}}", ["node1", "node1"], connection_params=params)
        print(action.run().ok, [p.stdout.strip() for p in action.processes], action.hosts)
        print(ActionFactory(remote_tool=SSH).get_remote("true", hosts).run().ok)
        print(get_process("echo there", host=hosts[0]).run().stdout.strip(), get_process("echo here").run().ok)
        print(len(get_hosts_set(hosts + hosts)), get_unique_hosts_list(hosts + hosts))
        p = SshProcess(("printf", "%s|", "a b", "$HOME"), hosts[0]).run()
        print(p.stdout, p.remote_cmd, p.cmd[-2])
    """)

    assert said == [
        "True ['node1', 'node1'] [Host('node1'), Host('node1')]",
        "True",
        "there True",
        "2 [Host('127.0.0.1'), Host('localhost')]",
        "a b|$HOME| printf '%s|' 'a b' '$HOME' 127.0.0.1",
    ]


def test_a_campaign_on_hosts(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        from regisseur.engine import *
        import os

        class Bench(Engine):
            def run(self):
                sweeper = ParamSweeper(os.path.join(self.result_dir, "sweeps"), sweep({"size": [1, 2], "how": "ab"}))
                while len(sweeper.get_remaining()) > 0:
                    comb = sweeper.get_next()
                    out = os.path.join(self.result_dir, slugify(comb) + ".{{{host}}}.out")
                    action = Remote("echo %(how)s %(size)s on {{{host}}}" % comb, hosts,
                                    process_args={"stdout_handlers": [out]}).run()
                    if action.finished_ok:
                        sweeper.done(comb)
                print(len(sweeper.get_done()))
                print(sorted(name for name in os.listdir(self.result_dir) if name.endswith(".out"))[:2])

        Bench().start(["-c", "results"])
    """)

    assert [line for line in said if "INFO" not in line] == [
        "4",
        "['size-1-how-a.127.0.0.1.out', 'size-1-how-a.localhost.out']",
    ]


def test_a_port_is_forwarded(perform: Perform) -> None:
    said = perform("""
        from hosts_here import *
        with PortForwarder(hosts[0], "localhost", 80) as forwarder:
            print(forwarder.forwarding.is_set(), forwarder.running, forwarder.local_port > 0)
        print(forwarder.wait().killed)
    """)

    assert said == ["True True True", "True"]
