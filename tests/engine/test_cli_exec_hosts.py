"""``regisseur exec`` on many hosts: which hosts, what is shown of their output, exit codes. Over a stub of ssh."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from commandline import PROGRAM, regisseur, start
from hosts import STUB

pytestmark = pytest.mark.slow  # a program is started in each

NO_CONFIG = {"REGISSEUR_CONFIG": "/nonexistent/config.yaml"}


@pytest.fixture(scope="module")
def connector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stub of ssh that can not reach hosts which are called down..., and is cut off in the middle on lost..."""
    path = tmp_path_factory.mktemp("connector") / "connector"
    path.write_text(
        "#!/bin/sh\nfor word; do case $word in\n"
        'down*) echo "ssh: connect to host $word port 22: Connection refused" >&2; exit 255;;\n'
        'lost*) echo begun; echo "Connection to $word closed by remote host." >&2; exit 255;;\n'
        f'esac; done\nexec {STUB} "$@"\n'
    )
    path.chmod(0o755)
    return path


def on_hosts(connector: Path, *arguments: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """``regisseur exec`` by the stub, without the groups of whoever runs this."""
    environ = {**NO_CONFIG, **kwargs.pop("environ", {})}
    return regisseur("exec", "--connector", str(connector), *arguments, environ=environ, **kwargs)


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


class TestHosts:
    def said(self, connector: Path, *arguments: str | Path, **kwargs: Any) -> list[str]:
        done = on_hosts(connector, *arguments, "-N", "echo $STUB_HOST", **kwargs)
        assert done.returncode == 0, done.stderr
        return lines(done.stdout)

    def test_node_sets_lists_and_repeated_options_add_up(self, connector: Path) -> None:
        said = self.said(connector, "-w", "n[1-2],m1", "-w", "n[2-3]", "-x", "m1,n2", "-x", "k")

        assert said == ["n1", "n3"]

    def test_one_that_is_left_out_as_pdsh_does_it_is_not_there(self, connector: Path) -> None:
        assert self.said(connector, "-w", "n[1-3],-n2") == ["n1", "n3"]

    def test_hosts_may_come_from_stdin_or_a_file(self, connector: Path, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("n[1-2]  # both\n\n# n3\nn4 n5\n")

        assert self.said(connector, "-w", "-", stdin="n1\nn2\n") == ["n1", "n2"]
        assert self.said(connector, "-w", f"m,^{tmp_path}/list", "-x", "n5") == ["m", "n1", "n2", "n4"]

    def test_groups_come_from_a_file(self, connector: Path, tmp_path: Path) -> None:
        groups = tmp_path / "groups.yaml"
        groups.write_text('a: n[1-3]\nb: [m, "@a"]\n')
        named = {"environ": {"REGISSEUR_GROUPS": str(groups)}}
        beside = {"environ": {"REGISSEUR_CONFIG": str(tmp_path / "config.yaml")}}

        assert self.said(connector, "-g", "a", **named) == ["n1", "n2", "n3"]
        assert self.said(connector, "-g", "b", "-X", "a", **beside) == ["m"]
        assert self.said(connector, "-a", "--groups", groups) == ["m", "n1", "n2", "n3"]
        assert self.said(connector, "-w", "@b!n[1-2]", "--groups", groups) == ["m", "n3"]

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["-w", "n[1-2"], "node set 'n[1-2': missing bracket"),
            (["-w", "n[2-1]"], "bad range"),
            (["-w", "@nobody"], "no group 'nobody' (groups come from /nonexistent/groups.yaml)"),
            (["-g", "nobody"], "no group 'nobody'"),
            (["-a"], "-a: there are no groups in /nonexistent/groups.yaml"),
            (["-w", "n1", "-x", "n[1-2]"], "all 1 hosts are excluded: there is nothing to do"),
            (["-w", "-"], "no host is named"),
            (["-w", "^/nonexistent/list"], "^/nonexistent/list: the list of hosts can not be read: No such file"),
            (["-w", "n[1-99999999]"], "these are 99999999 names, and at most 1000000 are taken"),
            (["-w", "n1,u@n1", "--outdir", "."], "--outdir and --errdir: n1 is named twice, with several users"),
            (["-w", "n1", "--outdir", "/tmp", "--errdir", "/tmp/."], "both name /tmp: give each its own"),
            (["-w", "n1", "--groups", "/nonexistent/g"], "/nonexistent/g: No such file or directory"),
            (["-w", "a/b"], "'a/b' can not be the name of a host"),
            (["-w", "^{dir}/options"], "'-oProxyCommand=x' can not be the name of a host"),
            (["-w", "n1", "--groups", "{dir}/options"], "expected groups"),
            (["-w", "n1", "-t", "soon"], "--connect-timeout: "),
            (["-w", "n1", "-u", "soon"], "--timeout: "),
            (["-w", "n1", "-f", "0"], "--fanout"),
            (["-w", "n1", "--color", "red"], "--color"),
            (["-w", "n1", "--cwd", "/"], "--cwd is for a command on this machine"),
            (["-w", "n1", "--connector", "'"], "--connector"),
            (["-w", "n1", "-o", "-p '"], "-o"),
            (["-w", "n1", "--outdir", "/dev/null/x"], "/dev/null/x: Not a directory"),
            (["-w", "-", "-i"], "-i: stdin holds the hosts"),
            (["-x", "n1"], "is for hosts: name some by -w, -a or -g"),
        ],
    )
    def test_what_makes_no_sense_gets_one_line_and_2(
        self, connector: Path, tmp_path: Path, arguments: list[str], text: str
    ) -> None:
        (tmp_path / "options").write_text("-oProxyCommand=x\n")
        done = on_hosts(connector, *(word.replace("{dir}", str(tmp_path)) for word in arguments), "echo ran")

        assert (done.returncode, done.stdout) == (2, "")
        assert text in done.stderr
        assert done.stderr.count("\n") == 1


class TestCommand:
    def test_braces_name_the_host_and_all_others_are_left_alone(self, connector: Path) -> None:
        done = on_hosts(connector, "-w", "n[1-2]", "-N", "echo '{{{host}}} {{.Names}} {{1 + 1}}'")

        assert lines(done.stdout) == ["n1 {{.Names}} {{1 + 1}}", "n2 {{.Names}} {{1 + 1}}"]

    def test_without_a_shell_each_word_arrives_as_it_is(self, connector: Path) -> None:
        one = on_hosts(connector, "-w", "n1", "-N", "--no-shell", "echo", "$HOME", "a  b")
        other = on_hosts(connector, "-w", "n1", "-N", "--no-shell", "echo '$HOME' 'a  b'")

        assert (one.stdout, other.stdout) == ("$HOME a  b\n", "$HOME a  b\n")

    def test_user_and_options_reach_the_connector(self, tmp_path: Path) -> None:
        shows = tmp_path / "shows"
        shows.write_text('#!/bin/sh\nfor word; do case $word in exec*) exit;; esac; printf "%s " "$word"; done\n')
        shows.chmod(0o755)
        done = on_hosts(shows, "-w", "n1,root@n2", "-l", "me", "-o", "Port=22", "-o", "-i key", "-t", "7", "-N", "true")
        first, second = lines(done.stdout)

        assert first.startswith("-o Port=22 -i key ")
        assert first.endswith(" -o User=me n1 ")
        assert second.endswith(" -o User=root n2 ")
        assert " ConnectTimeout=7 " in first

    def test_no_more_than_the_fan_out_run_at_a_time(self, connector: Path, tmp_path: Path) -> None:
        count = f"cd {tmp_path}; mkdir $STUB_HOST; ls | wc -l; rmdir $STUB_HOST"
        done = on_hosts(connector, "-w", "n[1-8]", "-N", "-f", "2", count)

        assert max(map(int, done.stdout.split())) <= 2


class TestOutput:
    def test_each_line_stands_behind_its_host(self, connector: Path) -> None:
        done = on_hosts(connector, "-w", "n[1-2]", "echo a; echo b; echo e >&2")

        assert lines(done.stdout) == ["n1: a", "n1: b", "n2: a", "n2: b"]
        assert lines(done.stderr) == ["n1: e", "n2: e", "regisseur: exec: 2 ok"]

    def test_it_comes_while_the_command_runs(self, connector: Path) -> None:
        with start("exec", "--connector", connector, "-w", "n[1-2]", "echo up; exec sleep 60") as process:
            assert process.stdout is not None
            assert sorted([process.stdout.readline(), process.stdout.readline()]) == ["n1: up\n", "n2: up\n"]
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)

    def test_a_line_without_end_is_completed(self, connector: Path) -> None:
        assert lines(on_hosts(connector, "-w", "n[1-2]", "printf 'a\\nb'").stdout) == [
            "n1: a",
            "n1: b",
            "n2: a",
            "n2: b",
        ]

    def test_parts_of_lines_are_never_mixed(self, connector: Path) -> None:
        half = "i=0; while [ $i -lt 200 ]; do printf $STUB_HOST; printf ' %s\\n' $STUB_HOST; i=$((i + 1)); done"
        done = on_hosts(connector, "-w", "n[1-8]", half)

        assert set(done.stdout.splitlines()) == {f"n{n}: n{n} n{n}" for n in range(1, 9)}
        assert done.stdout.count("\n") == 1600

    def test_ten_megabytes_of_any_bytes_come_through(self, connector: Path, tmp_path: Path) -> None:
        make = f"head -c 10000000 /dev/urandom | tee {tmp_path}/copy"
        done = subprocess.run(
            [PROGRAM, "exec", "--connector", connector, "-w", "n1", "-N", make], capture_output=True, check=True
        )

        assert done.stdout.removesuffix(b"\n") == (tmp_path / "copy").read_bytes().removesuffix(b"\n")

    def test_gathered_output_is_shown_once_under_its_hosts(self, connector: Path) -> None:
        command = "echo I am $STUB_HOST; test $STUB_HOST = n7 && echo odd; echo e >&2; true"
        done = on_hosts(connector, "-b", "-w", "n[1-9]", command)

        assert done.stdout == (
            "---------------\nn[1-6,8-9] (8)\n---------------\nI am {{{host}}}\n"
            "---------------\nn7\n---------------\nI am n7\nodd\n"
        )
        assert lines(done.stderr) == [*(f"n{n}: e" for n in range(1, 10)), "regisseur: exec: 9 ok"]

    def test_with_b_stderr_is_gathered_too(self, connector: Path) -> None:
        done = on_hosts(connector, "-BN", "-w", "n[1-9]", "printf out; echo err >&2")

        assert (done.stdout, done.stderr) == ("out\nerr\n", "regisseur: exec: 9 ok\n")

    def test_lines_can_be_in_the_order_of_hosts_or_gathered_one_by_one(self, connector: Path) -> None:
        command = "echo same; echo $STUB_HOST; test $STUB_HOST = n3 || echo more"
        ordered = on_hosts(connector, "-L", "-w", "n[1-3]", command)
        gathered = on_hosts(connector, "-bL", "-w", "n[1-3]", command)

        assert ordered.stdout.splitlines() == [
            "n1: same", "n1: n1", "n1: more", "n2: same", "n2: n2", "n2: more", "n3: same", "n3: n3",
        ]  # fmt: skip
        assert gathered.stdout.splitlines() == ["n[1-3]: same", "n[1-3]: {{{host}}}", "n[1-2]: more"]

    def test_differences_are_those_from_what_most_wrote(self, connector: Path) -> None:
        command = "echo $STUB_HOST; test $STUB_HOST = n3 && echo other || echo same"
        done = on_hosts(connector, "--diff", "-w", "n[1-9],down1", command)
        none = on_hosts(connector, "--diff", "-w", "n[1-9]", "echo $STUB_HOST")

        assert done.stdout.splitlines() == [
            "--- n[1-2,4-9] (8)", "+++ n3 (1)", "@@ -1,2 +1,2 @@", " {{{host}}}", "-same", "+other",
        ]  # fmt: skip
        assert none.stdout == ""

    def test_files_get_the_output_of_each_host_as_it_was(self, connector: Path, tmp_path: Path) -> None:
        out, err = tmp_path / "a" / "out", tmp_path / "err"
        for _ in range(2):  # the second time they are there already
            done = on_hosts(
                connector, "--outdir", out, "--errdir", err, "-w", "n[1-2]", "printf $STUB_HOST; echo e$STUB_HOST >&2"
            )

            assert lines(done.stdout) == ["n1: n1", "n2: n2"]
            assert {path.name: path.read_text() for path in out.iterdir()} == {"n1": "n1", "n2": "n2"}
            assert {path.name: path.read_text() for path in err.iterdir()} == {"n1": "en1\n", "n2": "en2\n"}

    def test_names_are_in_colour_where_that_is_wanted(self, connector: Path) -> None:
        always = on_hosts(connector, "--color", "always", "-w", "n1", "echo x; echo y >&2", environ={"NO_COLOR": "1"})
        auto = on_hosts(connector, "-w", "n1", "echo x", environ={"CLICOLOR_FORCE": "1"})
        never = on_hosts(connector, "--color", "never", "-w", "n1", "echo x", environ={"CLICOLOR_FORCE": "1"})

        assert always.stdout == "\x1b[34mn1:\x1b[0m x\n"
        assert always.stderr.startswith("\x1b[31mn1:\x1b[0m y\n")
        assert (auto.stdout, never.stdout) == ("\x1b[34mn1:\x1b[0m x\n", "n1: x\n")

    def test_progress_is_told_on_stderr(self, connector: Path) -> None:
        done = on_hosts(connector, "-P", "-w", "n[1-3]", "test $STUB_HOST != n2")

        assert "3 of 3 done, 1 not ok, 0 running\n" in done.stderr
        assert done.stdout == ""

    def test_a_reader_who_has_gone_ends_all_without_a_word(self, connector: Path) -> None:
        command = f"{PROGRAM} exec --connector {connector} -w n[1-3] yes"
        done = subprocess.run(
            ["bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"],
            capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

        assert done.stdout[2:] == ": y\n141\n"
        assert done.stderr == ""

    def test_a_full_disk_ends_all(self, connector: Path, tmp_path: Path) -> None:
        (tmp_path / "n1").symlink_to("/dev/full")
        with Path("/dev/full").open("wb") as full:
            done = on_hosts(connector, "-w", "n[1-2]", "echo x; exec sleep 60", stdout=full)
            gathered = on_hosts(connector, "-b", "-w", "n[1-2]", "echo x", stdout=full)
        file = on_hosts(connector, "--outdir", tmp_path, "-w", "n[1-2]", "echo x; exec sleep 60")

        assert (done.returncode, gathered.returncode, file.returncode) == (4, 4, 4)
        assert gathered.stderr.endswith("regisseur: exec: stdout can not be written: No space left on device\n")
        assert done.stderr.splitlines()[-1] == (
            "regisseur: exec: stdout can not be written: No space left on device: the commands were ended"
        )
        assert f"{tmp_path}/n1: No space left on device" in file.stderr.splitlines()[-1]


class TestStdin:
    def test_what_is_piped_in_goes_to_all(self, connector: Path) -> None:
        text = "".join(f"{n}\n" for n in range(100_000))
        done = on_hosts(connector, "-b", "-f", "1", "-w", "n[1-3]", "cat", stdin=text)

        assert done.stdout == f"---------------\nn[1-3] (3)\n---------------\n{text}"

    def test_so_does_a_file(self, connector: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 1_000_000)
        with (tmp_path / "file").open("rb") as file:
            done = on_hosts(connector, "-bN", "-w", "n[1-3]", "wc -c", stdin=file)

        assert done.stdout == "1000000\n"

    def test_it_comes_as_it_is_written(self, connector: Path) -> None:
        with subprocess.Popen(
            [PROGRAM, "exec", "--connector", connector, "-w", "n1", "cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            for line in (b"a\n", b"b\n"):
                process.stdin.write(line)
                assert process.stdout.readline() == b"n1: " + line
            process.stdin.close()

        assert process.returncode == 0

    def test_it_can_be_left_to_others(self, connector: Path) -> None:
        assert on_hosts(connector, "-nN", "-w", "n1", "cat; echo end", stdin="text").stdout == "end\n"

    def test_hosts_that_come_from_stdin_are_not_for_the_command(self, connector: Path) -> None:
        assert on_hosts(connector, "-N", "-w", "-", "cat; echo end", stdin="n1\n").stdout == "end\n"

    def test_an_endless_one_does_not_keep_it_from_ending(self, connector: Path) -> None:
        done = subprocess.run(
            ["bash", "-c", f"yes | {PROGRAM} exec --connector {connector} -w n[1-2] -bN 'head -n 1'"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip

        assert done.stdout == "y\n"


class TestEnd:
    @pytest.mark.parametrize(
        ("arguments", "code", "summary"),
        [
            (["n[1-3]", "true"], 0, "3 ok"),
            (["n[1-3]", "test $STUB_HOST != n2"], 1, "2 ok, 1 failed"),
            (["n[1-3]", "exit 255"], 1, "3 failed"),
            (["n[1-3]", "kill -KILL $$"], 1, "3 failed"),
            (["n1,down[1-2]", "exit 3"], 4, "1 failed, 2 unreachable"),
            (["n1,lost1", "true"], 4, "1 ok, 1 lost"),
            (["n[1-2]", "-u", "0.5", "test $STUB_HOST = n1 || exec sleep 60"], 124, "1 ok, 1 timed out"),
            (["n1,down1", "-u", "0.5", "exec sleep 60"], 4, "1 unreachable, 1 timed out"),
            (["n[1-3]", "-S", "test $STUB_HOST = n2 && exit 7; exit 3"], 7, "3 failed"),
            (["n[1-3]", "-S", "kill -KILL $$"], 137, "3 failed"),
            (["n1,down1", "-S", "exit 3"], 255, "1 failed, 1 unreachable"),
            (["n[1-2]", "-Su", "0.5", "test $STUB_HOST = n1 && exit 3; exec sleep 60"], 124, "1 failed, 1 timed out"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )  # fmt: skip
    def test_it_is_counted_and_is_the_exit_code(
        self, connector: Path, arguments: list[str], code: int, summary: str
    ) -> None:
        done = on_hosts(connector, "-w", *arguments, last_of=2 if "timed out" in summary else 0)

        assert done.stderr.splitlines()[-1] == f"regisseur: exec: {summary}"
        assert done.returncode == code

    def test_failures_are_told_by_hosts_and_reason(self, connector: Path) -> None:
        done = on_hosts(
            connector, "-w", "n[1-5],down[1-2]", "case $STUB_HOST in n[12]) exit 3;; n5) kill -KILL $$;; esac"
        )
        told = [line.removeprefix("regisseur: exec: ") for line in done.stderr.splitlines() if "regisseur" in line]

        assert told[:2] == ["n[1-2]: ended with 3", "n5: ended by SIGKILL"]
        assert told[2].startswith("down[1-2]: it refuses connections (ssh: connect to host {{{host}}} port 22: ")
        assert told[3:] == ["2 ok, 3 failed, 2 unreachable"]

    def test_quiet_tells_of_failures_only(self, connector: Path) -> None:
        good = on_hosts(connector, "-q", "-w", "n[1-2]", "echo x")
        bad = on_hosts(connector, "-q", "-w", "n[1-2]", "test $STUB_HOST = n1")

        assert (lines(good.stdout), good.stderr) == (["n1: x", "n2: x"], "")
        assert bad.stderr == "regisseur: exec: n2: ended with 1\nregisseur: exec: 1 ok, 1 failed\n"

    def test_verbose_tells_of_each(self, connector: Path) -> None:
        done = on_hosts(connector, "-v", "-w", "n[1-2]", "true")

        assert lines(done.stderr)[0].startswith("regisseur: exec: 2 ok")
        assert re.fullmatch(r"regisseur: exec: n1: ended with 0 after [0-9]+[.][0-9]{3} s", lines(done.stderr)[1])

    def test_json_has_an_object_for_each_host_and_a_summary(self, connector: Path) -> None:
        done = on_hosts(connector, "--json", "-w", "n[1-2],down1", "echo $STUB_HOST; printf '\\377' >&2; exit 3")
        *hosts, end = [json.loads(line) for line in done.stdout.splitlines()]
        by_name = {facts["host"]: facts for facts in hosts}
        first = by_name["n1"]

        assert done.returncode == 4
        assert sorted(by_name) == ["down1", "n1", "n2"]
        assert 0 < first.pop("started") <= first.pop("ended")
        assert first == {
            "host": "n1", "status": "failed", "exit_code": 3, "signal": None, "error": None,
            "stdout": "n1\n", "stderr": {"bytes": "/w=="},
        }  # fmt: skip
        assert by_name["down1"]["status"] == "unreachable"
        assert by_name["down1"]["exit_code"] is None
        assert "refuses connections" in by_name["down1"]["error"]
        assert end["summary"] == {
            "ok": 0, "failed": 2, "unreachable": 1, "lost": 0, "timed_out": 0, "killed": 0, "not_started": 0,
        }  # fmt: skip
        assert end["hosts"] == 3

    def test_json_holds_groups_where_output_is_gathered(self, connector: Path) -> None:
        done = on_hosts(connector, "--json", "-b", "-w", "n[1-2]", "echo $STUB_HOST")

        assert json.loads(done.stdout.splitlines()[-1])["groups"] == [
            {"nodeset": "n[1-2]", "hosts": ["n1", "n2"], "text": "{{{host}}}\n"}
        ]

    def test_nothing_of_the_commands_stays_behind(self, connector: Path, tmp_path: Path) -> None:
        on_hosts(connector, "-w", "n1", f"sleep 60 & echo $! > {tmp_path}/pid")
        pid = int((tmp_path / "pid").read_text())

        done = subprocess.run(["timeout", "10", "tail", f"--pid={pid}", "-f", "/dev/null"], check=False)
        assert done.returncode == 0
        assert os.getpid() != pid
