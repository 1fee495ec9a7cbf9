"""Scripts in the manner of Execo's users, with only the imports changed: processes, actions and small tools."""

from __future__ import annotations

import re
from pathlib import Path

from scripts import play

WARNING = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING: terminated: "


# -- processes -----------------------------------------------------------------------------------


def test_a_failed_process_is_warned_of_with_its_flags_and_outputs(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        p = Process("echo some text; echo the reason >&2; exit 3", shell=True).run()
        flags = p.ok, p.finished_ok, p.exit_code, p.error, p.timeouted, p.killed, p.forced_kill
        print(" ".join(map(str, flags)))  # as one text: the warning may be written meanwhile
        """,
    )

    text = "\n".join(said)
    assert re.search(
        WARNING + r"<Process\('echo some text; .*', name=echo some text; .*, started=True, start_date=.*, ended=True, "
        r"end_date=.*, killed=False, .*error=False, .*timeouted=False, .*exit_code=3, ok=False, pid=\d+\)>\n"
        r"stdout:\nsome text\n\nstderr:\nthe reason\n",
        text,
    )
    assert "False False 3 False False False False" in text


def test_what_a_script_chose_to_ignore_or_not_to_log_it_does_not_hear_of(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        quiet = dict(nolog_exit_code=True, nolog_timeout=True, nolog_error=True)
        for p in (Process("sh -c 'exit 2'", **quiet), Process("sh -c 'exit 2'", ignore_exit_code=True, **quiet),
                  Process("sleep 10", timeout=0.1, **quiet),
                  Process("sleep 10", timeout="00:00:00.1", ignore_timeout=True, **quiet),
                  Process("/no/such/program", **quiet), Process("/no/such/program", ignore_error=True, **quiet)):
            with p:
                p.run()
            print(p.ok, p.exit_code, p.timeouted, p.killed, p.error)
        """,
    )

    assert said == [
        "False 2 False False False",
        "True 2 False False False",
        "False -15 True True False",
        "True -15 True True False",
        "False None False False True",
        "True None False False True",
    ]


def test_a_server_is_waited_for_used_and_killed(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        server = Process("echo starting; while read line; do echo got $line; done", shell=True)
        server.ignore_exit_code = server.nolog_exit_code = True
        with server.start():
            print(server.expect("^starting$", timeout=10)[0])
            print("one", file=server)
            server.write("two\\n")
            for word in "one", "two":
                index, match = server.expect(["nothing", r"got (\\w+)"], timeout=10)
                print(index, match.group(1))
            print(server.running)
        server.wait()
        print(server.killed, server.ok, server.running, repr(server.stdout))
        """,
    )

    assert said == ["0", "1 one", "1 two", "True", r"True True False 'starting\ngot one\ngot two\n'"]


def test_a_command_is_tried_again_until_it_works(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        p = Process("echo x >> tries; test $(wc -l < tries) -ge 3", shell=True, nolog_exit_code=True)
        tries = 0
        while not p.run().finished_ok:
            tries += 1
            p.reset()
            assert (p.started, p.ended, p.exit_code, p.stdout) == (False, False, None, "")
        print(tries, p.ok, Process("cat tries").run().stdout.split())
        p = Process("sh -c 'trap : TERM; echo up; sleep 10 & wait; sleep 10'").start()
        p.expect("up")
        print(p.wait(timeout=0.05).ended)
        p.kill(auto_force_kill_timeout=0.2).wait()
        print(p.killed, p.forced_kill, p.ok, p.exit_code)
        """,
    )

    assert said == ["2 True ['x', 'x', 'x']", "False", "True True True -9"]


def test_handlers_of_all_kinds_get_the_output(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        class Sum(ProcessOutputHandler):
            def __init__(self):
                super(Sum, self).__init__()
                self.total = 0
            def read_line(self, process, stream, line):
                self.total += int(line)

        class Chunks(ProcessOutputHandler):
            def read(self, process, stream, string, eof, error):
                if eof:
                    print("eof", stream == STDOUT, error)

        class Life(ProcessLifecycleHandler):
            def start(self, process):
                print("start", process.name)
            def end(self, process):
                print("end", process.exit_code)
                over.set()

        import threading
        over = threading.Event()
        numbers = Sum()
        chunks = []
        with open("opened", "w") as opened:
            p = Process("printf '1\\\\n2\\\\n39'; echo problem >&2", shell=True, name="counter",
                        lifecycle_handlers=[Life()],
                        stdout_handlers=[numbers, "named", opened, opened.fileno(),
                                         lambda process, stream, chunk: chunks.append(chunk)],
                        stderr_handlers=["named.err", Chunks()], default_stdout_handler=False).run()
        over.wait(10)
        print(numbers.total, repr(p.stdout), repr(p.stderr), "".join(chunks).split())
        print(open("named").read().split(), open("named.err").read().strip(), open("opened").read().count("39"))
        Process("echo more", stdout_handlers=["named"]).run()
        print(open("named").read().split())
        """,
    )

    assert said == [
        "start counter",
        "eof False False",
        "end 0",
        r"42 '' 'problem\n' ['1', '2', '39']",
        "['1', '2', '39'] problem 2",
        "['1', '2', '39more']",
    ]


def test_an_error_in_a_handler_is_logged_and_stops_nothing(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        class Broken(ProcessOutputHandler):
            def read_line(self, process, stream, line):
                raise ValueError("cannot read " + line)

        p = Process("echo this", stdout_handlers=[Broken(), "file"]).run()
        print(p.ok, p.stdout.strip(), open("file").read().strip())
        """,
    )

    assert said[-1] == "True this this"
    assert re.match(r".* ERROR: .*<Process\('echo this'.* stdout", said[0])
    assert said[-2] == "ValueError: cannot read this"


# -- actions and reports ---------------------------------------------------------------------------


def test_actions_in_parallel_and_in_sequence_end_in_a_report(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        quiet = {"nolog_exit_code": True}
        prepare = ParallelActions([Local("mkdir %s" % d) for d in ("a", "b")], name="prepare")
        work = ParallelActions([Local("ls", name="list"), Local("false", process_args=quiet)], name="work")
        clean = Local("rmdir a b", name="clean")
        everything = SequentialActions([prepare, work, clean])
        everything.run()
        print(everything.name, everything.ok, everything.finished_ok, len(everything.processes))
        print(work.processes[0].stdout.split())
        work.hide_subactions = True
        report = Report([everything])
        report.name = "all"
        print(report.to_string())
        print([report.stats()[key] for key in ("num_processes", "num_ok", "num_non_zero_exit_codes")])
        """,
    )

    assert said[:2] == ["SequentialActions 3 actions False False 5", "['a', 'b', 'script.py']"]
    table = said[2:-2]
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    counts = r" \d+s? +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) *"
    assert table[0].split() == ["Name", "start", "end", "total"]
    assert table[1].split() == "length startd ended error timout fkilld expfld wrterr ret!=0 ok".split()  # noqa: SIM905  # as printed
    assert {table[2], table[-3]} == {"-" * 79}
    names = [re.split(r"  +(?=\d)", line) for line in table[3:-3:2] + table[-2:-1]]
    assert [name for name, *_ in names] == [
        "SequentialActions 3 actions", "  prepare", "    mkdir a", "    mkdir b", "  work", "  clean", "all",
    ]  # fmt: skip
    assert all(re.fullmatch(rf"{date} {date} \d *", " ".join(rest)) for _, *rest in names)
    assert re.fullmatch(counts, table[-1]).groups() == ("5", "5", "0", "0", "0", "0", "0", "1", "4")  # type: ignore[union-attr]  # None fails too
    assert said[-1] == "[5, 4, 1]"


def test_a_script_hears_of_the_lives_of_its_actions(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        class Notes(ActionLifecycleHandler):
            def __init__(self):
                self.notes = []
            def start(self, action):
                self.notes.append("start")
            def end(self, action):
                self.notes.append("end")
            def reset(self, action):
                self.notes.append("reset")

        notes = Notes()
        action = Local("true", lifecycle_handlers=[notes])
        for i in range(2):
            action.run()
            print(notes.notes)
            action.reset()
        try:
            action.start().start()
        except ValueError as error:
            print("refused")
        """,
    )

    assert said == ["['start', 'end']", "['start', 'end', 'reset', 'start', 'end']", "refused"]


def test_waiting_for_some_killing_the_others_and_sorting_out_hosts(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        short, long, later = Local("true"), Local("sleep 100"), Local("touch later")
        sequence = SequentialActions([long, later])
        for action in short, sequence:
            action.start()
        print(wait_any_actions([sequence, short], timeout=10) == [short])
        print(wait_all_actions([short, sequence], timeout="00:00:00.1") == [short])
        sequence.kill()
        print(len(wait_all_actions([short, sequence])), sequence.ok, long.processes[0].killed, later.started)

        check = Action(name="check")
        hosts = [Host("a"), Host("b", user="me"), Host("c")]
        for host in hosts:
            check.processes.append(Process("test %s != b" % host.address, nolog_exit_code=True))
            check.processes[-1].host = host
        check.run()
        print(check.ok, filter_bad_hosts(check, hosts), filter_bad_hosts(check, ["c", "a"]))
        found = check.reset().run().expect("x", timeout=0)
        print([(process.host.address, index, match) for process, index, match in found][:1])
        """,
    )

    assert said == [
        "True",
        "True",
        "2 True True False",
        "False [Host('a'), Host('c')] ['c', 'a']",
        "[('a', None, None)]",
    ]


def test_an_action_of_the_scripts_own_substitutes_in_its_commands(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        from regisseur.actors.host import get_hosts_list
        from regisseur.actors.substitutions import get_caller_context, remote_substitute

        class OnEach(Action):
            def __init__(self, cmd, hosts, **kwargs):
                super(OnEach, self).__init__(**kwargs)
                context = get_caller_context()
                hosts = get_hosts_list(hosts)
                for index, host in enumerate(hosts):
                    self.processes.append(Process(remote_substitute(cmd, hosts, index, context)))
                    self.processes[-1].host = host

        def double(words):
            return [2 * word for word in words]

        def main():
            names = ["x", "y"]
            action = OnEach("echo {{{host}}} {{names}} {{double(names)}} {{[len(names)]}}", ["h1", "h2", "h3"])
            print([p.stdout.split() for p in action.run().processes])

        main()
        """,
    )

    assert said == ["[['h1', 'x', 'xx', '2'], ['h2', 'y', 'yy', '2'], ['h3', 'x', 'xx', '2']]"]


# -- tools -----------------------------------------------------------------------------------------------


def test_times_are_read_slept_and_written(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        import datetime
        print(get_seconds("01:30:00"), get_seconds(datetime.timedelta(minutes=1)), get_seconds("12"), get_seconds(None))
        print(get_unixts("2014-06-05 12:00:00"), get_unixts("2014-06-05 10:00:00Z"), get_unixts(3), get_unixts(None))
        print(format_date(1401962400), format_duration(90061), format_duration("00:01:01"), format_date(None))
        print(format_date(get_unixts("2014-06-05 12:00:00.25"), True), format_duration(1.5, showms=True))
        timer = Timer(timeout=60)
        print(sleep(0.05) >= 0.05, sleep(until=timer.start_date() - 5), timer.wait_elapsed(0.06).elapsed() >= 0.06)
        print(0 < timer.remaining() < 60, Timer().remaining())
        """,
    )

    assert said == [
        "5400.0 60.0 12.0 None",
        "1401962400.0 1401962400.0 3.0 None",
        "2014-06-05 12:00:00+02:00 1d1h1m1s 1m1s None",
        "2014-06-05 12:00:00.250+02:00 1.500s",
        "True None True",
        "True None",
    ]


def test_a_script_changes_the_configuration_and_sees_it_used(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        from regisseur.actors.config import make_connection_params
        from regisseur.actors.ssh_utils import get_rewritten_host_address, get_scp_command, get_ssh_command
        from regisseur.actors.utils import get_port, memoize

        default_connection_params.update({"user": "root", "ssh_options": ("-q",)})
        default_connection_params["host_rewrite_func"] = lambda host: host + ".example.org"
        print([get_ssh_command(port=2222)[i] for i in (0, 1, -3, -1)])
        print(get_ssh_command(user="me", connection_params={"keyfile": "key"})[-4:])
        print(get_rewritten_host_address("a", None), make_connection_params({"user": "you"})["user"])
        print(get_scp_command(connection_params={"scp": "/opt/scp", "scp_options": ("-p",), "user": None})[:2])
        configuration["port_range"] = (28000, 28010)
        print(28000 <= get_port() < 28010, configuration["remote_tool"] == SSH, configuration["kill_timeout"])
        configuration["compact_output_threshold"] = 20
        print(Process("seq 1000").run().dump().splitlines()[1:5])
        calls = []
        count = memoize(lambda word: calls.append(word) or len(calls))
        print(count("a"), count("a"), count("b"), len(count.cache))
        print(Host(Host("a", user="u"), port=3), Host("a") == Host("a"), len({Host("a"), Host("a", user="u")}))
        """,
    )

    assert said == [
        "['ssh', '-q', 'User=root', 'Port=2222']",
        "('-o', 'User=me', '-i', 'key')",
        "a.example.org you",
        "('/opt/scp', '-p')",
        "True True 60",
        "['stdout:', '1', '2', '3']",
        "1 1 2 2",
        "Host('a', user='u', port=3) True 2",
    ]


def test_the_logger_has_more_levels_and_styles_colour_where_wanted(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        """
        from regisseur.actors import *
        from regisseur.engine import *
        from regisseur.actors.log import logger as top, style
        logger.detail("unseen")
        logger.info("%s is %s", "this", style.emph("seen"))
        top.setLevel("TRACE")
        logger.trace("and this")
        top.setLevel(15)
        logger.trace("unseen")
        logger.detail("but this")
        configuration["color_mode"] = True
        configuration["color_styles"]["mine"] = ("green", "bold")
        print(repr(style.mine("x")), repr(style.set("emph", "x")), style.nosuch("plain"))
        """,
    )

    assert [line.partition(",")[2][4:] for line in said[:3]] == [
        "INFO: this is seen",
        "TRACE: and this",
        "DETAIL: but this",
    ]
    assert said[3:] == [r"'\x1b[32m\x1b[1mx\x1b[m' '\x1b[36mx\x1b[m' plain"]
