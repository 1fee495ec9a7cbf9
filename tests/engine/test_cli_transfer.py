"""``regisseur put`` and ``get``: files to and from many hosts. Over a stub of ssh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commandline import PROGRAM, regisseur
from hosts import STUB

pytestmark = pytest.mark.slow  # a program is started in each


def to_hosts(command: str, *arguments: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    environ = {"REGISSEUR_CONFIG": "/nonexistent/config.yaml", **kwargs.pop("environ", {})}
    return regisseur(command, "--connector", STUB, *arguments, environ=environ, **kwargs)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with some files, and a directory."""
    here = tmp_path / "here"
    (here / "dir").mkdir(parents=True)
    (here / "file").write_text("text\n")
    (here / "dir" / "with a blank").write_text("more\n")
    return here


def test_files_go_to_all_hosts_and_come_back(files: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    put = to_hosts("put", "-p", "-w", "n[1-3]", "-x", "n2", files / "file", files / "dir", f"{there}/{{{{{{host}}}}}}")
    get = to_hosts("get", "-w", "n[1,3]", f"{there}/n[13]/file", f"{there}/{{{{{{host}}}}}}/dir", tmp_path / "back")

    assert (put.returncode, put.stdout, put.stderr) == (0, "", "regisseur: put: 2 ok\n")
    assert sorted(path.name for path in there.iterdir()) == ["n1", "n3"]
    assert (there / "n1" / "dir" / "with a blank").read_text() == "more\n"
    assert (get.returncode, get.stderr) == (0, "regisseur: get: 2 ok\n")
    assert (tmp_path / "back" / "n1" / "file").read_text() == "text\n"
    assert (tmp_path / "back" / "n3" / "dir" / "with a blank").read_text() == "more\n"


def test_the_name_of_the_host_may_stand_where_it_is_wanted(files: Path, tmp_path: Path) -> None:
    to_hosts("get", "-w", "n[1-2]", files / "file", f"{tmp_path}/{{{{{{host}}}}}}/sub")

    assert (tmp_path / "n2" / "sub" / "file").read_text() == "text\n"


def test_what_fails_on_hosts_is_told_by_hosts_and_reason(files: Path, tmp_path: Path) -> None:
    get = to_hosts("get", "-w", "n[1-3]", f"{tmp_path}/no-{{{{{{host}}}}}}", tmp_path / "back")
    put = to_hosts("put", "-q", "-w", "n[1-3]", files / "file", "/nonexistent/dir/file")

    assert get.stderr.splitlines() == [
        f"regisseur: get: n[1-3]: there is no {tmp_path}/no-{{{{{{host}}}}}}",
        "regisseur: get: 3 failed",
    ]
    assert get.returncode == 1
    assert put.stderr.splitlines()[0].startswith("regisseur: put: n[1-3]: ")
    assert put.returncode == 1


def test_of_several_files_those_that_are_there_come_and_each_that_is_missing_gets_a_line(
    files: Path, tmp_path: Path
) -> None:
    (files / "of n2").write_text("2\n")
    names = [f"{files}/{name}" for name in ("file", "none", "of {{{host}}}", "*.log")]

    get = to_hosts("get", "-v", "-w", "n[1-3]", *names, tmp_path / "back")

    assert get.stderr.splitlines()[-4:] == [
        f"regisseur: get: n[1-3]: there is no {files}/none",
        f"regisseur: get: n[1-3]: there is no {files}/*.log",
        f"regisseur: get: n[1,3]: there is no {files}/of {{{{{{host}}}}}}",
        "regisseur: get: 3 failed",
    ]
    assert f"regisseur: get: n2: there is no {files}/none; there is no {files}/*.log after " in get.stderr
    assert get.returncode == 1
    assert {path.name for path in (tmp_path / "back" / "n1").iterdir()} == {"file"}
    assert {path.name for path in (tmp_path / "back" / "n2").iterdir()} == {"file", "of n2"}


def test_what_tar_says_is_told_without_what_says_nothing_and_not_too_much_of_it(files: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    tar = tools / "tar"
    tar.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "for number in range(25): print(f'tar: ./{number}: Cannot open: Permission denied', file=sys.stderr)\n"
        "sys.exit('tar: Exiting with failure status due to previous errors')\n"
    )
    tar.chmod(0o755)

    get = to_hosts(
        "get", "-w", "n1", files / "file", tmp_path / "back", environ={"PATH": f"{tools}:{os.environ['PATH']}"}
    )

    *told, more, end = get.stderr.splitlines()
    assert told == [f"regisseur: get: n1: tar: ./{number}: Cannot open: Permission denied" for number in range(20)]
    assert more == "regisseur: get: n1: and 5 more such messages; --json has all of them"
    assert (end, get.returncode) == ("regisseur: get: 1 failed", 1)


def test_a_host_that_can_not_be_reached_is_4(files: Path, tmp_path: Path) -> None:
    refuses = tmp_path / "refuses"
    refuses.write_text("#!/bin/sh\necho 'ssh: connect to host n1 port 22: Connection refused' >&2\nexit 255\n")
    refuses.chmod(0o755)
    done = regisseur("put", "--connector", refuses, "-w", "n1", files / "file", "x")

    assert "regisseur: put: n1: it refuses connections" in done.stderr
    assert done.stderr.endswith("regisseur: put: 1 unreachable\n")
    assert done.returncode == 4


@pytest.mark.parametrize("command", ["put", "get"])
def test_so_is_one_whose_connector_is_not_there(command: str, files: Path, tmp_path: Path) -> None:
    done = regisseur(command, "--connector", tmp_path / "none", "-w", "n[1-2]", files / "file", tmp_path / "x")

    assert done.stderr.splitlines() == [
        f"regisseur: {command}: n[1-2]: {tmp_path}/none can not be started: No such file or directory",
        f"regisseur: {command}: 2 unreachable",
    ]
    assert done.returncode == 4


def test_a_place_that_is_not_there_names_the_option_that_makes_it(files: Path, tmp_path: Path) -> None:
    put = to_hosts("put", "-w", "n[1-2]", files / "file", files / "dir", tmp_path / "no" / "place")

    assert put.returncode == 1
    assert put.stderr.startswith(f"regisseur: put: n[1-2]: there is no directory {tmp_path}/no/place (-p makes it)\n")


def test_json_has_an_object_for_each_host_and_a_summary(files: Path, tmp_path: Path) -> None:
    done = to_hosts("put", "--json", "-w", "n[1-2]", files / "file", f"{tmp_path}/{{{{{{host}}}}}}")
    *hosts, end = [json.loads(line) for line in done.stdout.splitlines()]

    assert sorted((facts["host"], facts["status"], facts["bytes"]) for facts in hosts) == [
        ("n1", "ok", 5),
        ("n2", "ok", 5),
    ]
    assert (end["summary"]["ok"], end["bytes"]) == (2, 10)


def test_progress_is_told_in_bytes(files: Path, tmp_path: Path) -> None:
    done = to_hosts("put", "-P", "-w", "n[1-2]", files / "file", f"{tmp_path}/{{{{{{host}}}}}}")

    assert "2 of 2 done, 0 running, 0.0 of 0.0 MB\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["put", "-w", "n1", "/nonexistent/file", "x"], "/nonexistent/file: there is no such file"),
        (["put", "-w", "n1", "/etc/passwd"], "behind them the place"),
        (["put", "/etc/passwd", "x"], "name hosts by -w, -a or -g"),
        (["get", "x", "y"], "name hosts by -w, -a or -g"),
        (["get", "-w", "n1", "{{x}}", "y"], "double braces would be taken for an expression"),
        (["get", "-w", "n[1", "x", "y"], "missing bracket"),
        (["get", "-w", "n1", "--retries", "-1", "x", "y"], "--retries"),
        (["get", "-w", "n1", "-u", "soon", "x", "y"], "--timeout"),
    ],
)
def test_what_makes_no_sense_gets_one_line_and_2(arguments: list[str], text: str) -> None:
    done = to_hosts(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_signal_ends_it_and_nothing_half_is_left(tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\necho > {fifo}\nexec sleep 60\n")
    slow.chmod(0o755)
    (tmp_path / "file").write_text("x")
    with subprocess.Popen(
        [PROGRAM, "put", "--connector", slow, "-w", "n1", tmp_path / "file", tmp_path / "copy"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        fifo.read_text()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (143, "regisseur: put: n1: killed\nregisseur: put: 1 killed\n")
    assert not (tmp_path / "copy").exists()


def test_by_a_chain_each_host_gets_the_files_and_json_tells_how(files: Path, tmp_path: Path) -> None:
    place = f"{tmp_path}/{{{{{{host}}}}}}"
    said = to_hosts("put", "--chain", "-p", "-w", "n[1-3]", files / "file", files / "dir", place)
    done = to_hosts("put", "--chain", "--json", "-p", "-w", "n[4-5]", files / "file", place)
    *hosts, end = [json.loads(line) for line in done.stdout.splitlines()]

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "regisseur: put: 3 ok\n")
    assert (tmp_path / "n3" / "dir" / "with a blank").read_text() == "more\n"
    assert (tmp_path / "n5" / "file").read_text() == "text\n"
    assert sorted(host["host"] for host in hosts) == ["n4", "n5"]
    assert {(host["kind"], host["bytes"]) for host in hosts} == {("python3", 5)}
    # Where this machine is busy, a host may have had to go on with another source than its first.
    assert all(host["sources"] for host in hosts)
    assert {"connection"} <= {source for host in hosts for source in host["sources"]} <= {"connection", "n4", "n5"}
    assert end["bytes"] == 10


def test_by_a_chain_what_fails_on_a_host_is_told_by_reason(files: Path, tmp_path: Path) -> None:
    done = to_hosts("put", "--chain", "-w", "n[1-3]", files / "file", "/nonexistent/dir/file")

    assert done.stderr.splitlines()[0].startswith("regisseur: put: n[1-3]: cannot make a directory")
    assert done.returncode == 1
