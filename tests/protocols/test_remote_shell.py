"""What is put around a command on another host, run by real shells, and the trailer that tells how it ended."""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deadline import DEADLINE
from regisseur.protocols.remote_shell import CommandError, TrailerFilter, detached, here, wrapped
from shells import SHELLS, Hosted, Shell, is_alive, marked, read_line, wait_for_death

CONNECTION = f"{os.getpid():016x}"  # another test run on this machine has another
TOKEN = f"{CONNECTION}.1"


class Host(Hosted):
    """A host whose /bin/sh is *shell*."""

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self.shell = shell

    def run(self, command: str, *, watch: bool = False) -> subprocess.Popen[bytes]:
        """As sshd would run it, by a login shell."""
        return self.start("sh", "-c", self.shell.line(wrapped(command, TOKEN, watch=watch)))

    def end(self, process: subprocess.Popen[bytes], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Wait; return what Popen.returncode should be, stdout and stderr."""
        stdout, stderr = process.communicate(stdin, timeout=DEADLINE)
        filtered = TrailerFilter(TOKEN)
        told = filtered.feed(stderr)
        rest, status = filtered.finish()
        return process.returncode if status is None else status, stdout, told + rest


@pytest.fixture(params=SHELLS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    made = Host(Shell(request.param, tmp_path))
    yield made
    made.close()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """One for each shell, for tests that take seconds and may as well all run at once."""
    made = [Host(Shell(name, tmp_path)) for name in SHELLS]
    yield made
    for one in made:
        one.close()


# -- a command -----------------------------------------------------------------


def test_the_streams_of_a_command_are_its_own(host: Host) -> None:
    noise = random.Random(1).randbytes(300_000)

    assert host.end(host.run("tee /dev/fd/2"), noise) == (0, noise, noise)


def test_a_command_sees_the_end_of_its_stdin(host: Host) -> None:
    assert host.end(host.run("wc -c"))[1].strip() == b"0"


@pytest.mark.parametrize("status", [0, 1, 3, 126, 127, 128, 137, 143, 192, 254, 255])
def test_an_exit_status_is_exact(host: Host, status: int) -> None:
    assert host.end(host.run(f"exit {status}")) == (status, b"", b"")


@pytest.mark.parametrize("number", [1, 2, 4, 6, 9, 10, 14, 15, 24, 34, 64])
def test_a_signal_is_no_exit(host: Host, number: int) -> None:
    assert host.end(host.run(f"kill -{number} $$")) == (-number, b"", b"")


def test_where_the_shell_tells_nothing_a_status_is_read_as_it_mostly_is_meant(host: Host) -> None:
    assert host.end(host.run("exit 130"))[0] == -signal.SIGINT
    assert host.end(host.run("kill -PIPE $$"))[0] == 141


def test_a_program_that_is_not_there_exits_with_127(host: Host) -> None:
    status, _, stderr = host.end(host.run("no-such-program"))

    assert status == 127
    assert b"not found" in stderr


def test_a_login_shell_that_is_not_there_exits_with_127(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/no/such/shell")
    status, _, stderr = host.end(host.run("true"))

    assert status == 127
    assert b"/no/such/shell" in stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_runs_by_the_users_shell(
    host: Host, shell: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHELL", Shell(shell, tmp_path).path)

    name = os.path.realpath(Shell(shell, tmp_path).path).encode()
    assert host.end(host.run("readlink /proc/$$/exe; true"))[1].strip() == name


def test_a_command_is_passed_on_whatever_is_in_it(host: Host) -> None:
    command = "printf '%s|' \"it's\" 'a\"b' \\\\ '!' $((6*7))\nprintf '%s' '\n' # done"

    assert host.end(host.run(command))[1] == b"it's|a\"b|\\|!|42|\n"


def test_a_hundred_kilobytes_of_command_are_passed_on(host: Host) -> None:
    command = "x=" + "it\\'s\\\n" * 14_000 + "!; echo ${#x}"  # newlines are dropped behind a backslash

    assert host.end(host.run(command))[1] == b"56001\n"


def test_a_command_knows_its_token_and_its_children_do(host: Host) -> None:
    assert host.end(host.run("sh -c 'echo $REGISSEUR_REMOTE'"))[1] == f"{TOKEN};\n".encode()


def test_a_command_finds_no_more_descriptors_than_its_three(host: Host) -> None:
    assert host.end(host.run("ls /proc/self/fd"))[1].split() == [b"0", b"1", b"2", b"3"]  # 3: of ls itself


def test_signals_to_the_process_group_end_the_command_and_not_the_report(host: Host) -> None:
    process = host.run("echo $$; exec sleep 1000")
    pid = int(read_line(process.stdout))

    os.killpg(process.pid, signal.SIGTERM)

    wait_for_death(pid)
    assert host.end(process)[0] == -signal.SIGTERM


def test_signals_that_the_command_handles_do_not_end_the_wait_for_it(host: Host) -> None:
    process = host.run("trap 'echo got; exit 5' USR1 INT; echo ready; while :; do read -r x; done")
    assert read_line(process.stdout) == b"ready\n"

    os.killpg(process.pid, signal.SIGUSR1)

    assert read_line(process.stdout) == b"got\n"
    assert host.end(process)[0] == 5


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize("point", ["regisseur_t=; traps;", "m=$(", "$( traps;", "await() {"])
def test_a_signal_that_comes_before_there_is_a_command_ends_it(host: Host, point: str, number: int) -> None:
    line = wrapped("echo ran", TOKEN)
    assert point in line
    process = host.start("sh", "-c", host.shell.line(line.replace(point, f"{point} kill -{number:d} 0;")))

    assert host.end(process) == (-number, b"", b"")


def test_a_signal_that_ends_what_unpacks_a_command_ends_the_command(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tr").write_text("#!/bin/sh\nread -r line; kill -TERM $$\n")
    (tmp_path / "tr").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    status, stdout, _ = host.end(host.run("echo ran # " + "'" * 30_000))

    assert (status, stdout) == (-signal.SIGTERM, b"")


@pytest.mark.requires_root  # which can make up a user of whom nothing else runs
@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("shell", [name for name in SHELLS if name != "bash"])  # which tries for 15 seconds, and tells
def test_a_host_that_has_no_room_for_processes_is_no_silence(shell: str, most: int) -> None:
    program = "busybox sh" if shell == "busybox" else shell
    line = wrapped("echo ran; :", TOKEN).replace("exec /bin/sh", f"exec {program}")
    limits = ["setpriv", "--reuid", "123456789", "--clear-groups", "prlimit", f"--nproc={most}"]

    done = subprocess.run([*limits, "sh", "-c", line], capture_output=True, timeout=DEADLINE)

    assert done.returncode > 0
    assert b"fork" in done.stderr


def test_a_wrapper_that_is_killed_itself_reports_nothing(host: Host) -> None:
    process = host.run("echo $$; exec sleep 1000")
    read_line(process.stdout)

    os.killpg(process.pid, signal.SIGKILL)

    assert host.end(process)[0] == -signal.SIGKILL


@pytest.mark.parametrize("token", ["", "0a", "0a.", "0A.1", "0a.1;", "0a.1'x"])
def test_only_a_token_is_taken_for_one(token: str) -> None:
    with pytest.raises(ValueError, match="no token"):
        wrapped("true", token)


def test_a_command_that_cannot_be_passed_on_is_refused() -> None:
    with pytest.raises(CommandError, match="null byte"):
        wrapped("echo \0", TOKEN)
    with pytest.raises(CommandError, match="put it in a file"):
        wrapped("x" * 131_000, TOKEN)


@pytest.mark.parametrize("watch", [False, True])
def test_the_line_has_nothing_that_other_login_shells_read_in_their_own_way(watch: bool) -> None:
    line = wrapped("it's a \\\\ 'test'!\n", TOKEN, watch=watch)

    assert not set("!\n") & set(line)
    assert "\\\\" not in line
    assert "\\'" not in line


# -- a command with a watcher --------------------------------------------------

PARENT = """
import subprocess, sys
subprocess.Popen(["sh", "-c", sys.argv[1]], start_new_session=True).wait()
print("over", flush=True)
sys.stdin.read()
"""
"""In the place of sshd: starts a line in a session of its own, and stays when it has ended."""


def connect(host: Host, command: str) -> subprocess.Popen[bytes]:
    return host.start(sys.executable, "-I", "-S", "-c", PARENT, host.shell.line(wrapped(command, TOKEN, watch=True)))


def watchers(hosts: list[Host]) -> list[int]:
    """The watcher of each host, once it has a session of its own."""
    deadline = time.monotonic() + 20
    while True:
        pids = [pid for host in hosts for pid in marked(host.shell.path, "regisseur-watcher", CONNECTION)]
        leading = [pid for pid in pids if is_alive(pid) and os.getsid(pid) == pid]
        if len(leading) == len(hosts):
            return leading
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_a_lost_connection_ends_all_that_was_started(hosts: list[Host]) -> None:
    """Also what ignores SIGTERM, and what has gone to another session."""
    stubborn = 'trap "" TERM; setsid sleep 1001 & a=$!; sleep 1002 & echo $$ $a $!; wait'
    parents = [connect(host, stubborn) for host in hosts]
    pids = [int(word) for parent in parents for word in read_line(parent.stdout).split()]
    hosts[0].pids += pids
    watching = watchers(hosts)

    for parent in parents:
        parent.kill()

    for pid in [*pids, *watching]:
        wait_for_death(pid)


@pytest.mark.slow
def test_what_a_command_left_in_the_background_ends_with_the_connection(hosts: list[Host]) -> None:
    parents = [connect(host, "sleep 1003 & echo $!; exit 3") for host in hosts]
    pids = [int(read_line(parent.stdout)) for parent in parents]
    hosts[0].pids += pids
    for parent in parents:
        assert read_line(parent.stdout) == b"over\n"
    assert all(map(is_alive, pids))

    for parent in parents:
        parent.kill()

    for pid in pids:
        wait_for_death(pid)


@pytest.mark.slow
def test_a_watcher_ends_by_itself_when_nothing_is_left(hosts: list[Host]) -> None:
    parents = [connect(host, "read -r x; exit 3") for host in hosts]
    watching = watchers(hosts)
    for parent in parents:
        assert parent.stdin is not None
        os.write(parent.stdin.fileno(), b"\n")
        assert read_line(parent.stdout) == b"over\n"

    for pid in watching:
        wait_for_death(pid)


@pytest.mark.slow
def test_a_watcher_looks_once_when_the_connection_ends_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head").write_text(f'#!/bin/sh\necho x >> {tmp_path}/looks\nexec {shutil.which("head")} "$@"\n')
    (tmp_path / "head").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    host = Host(Shell("dash", tmp_path))
    try:
        parent = connect(host, "read -r x")
        (watching,) = watchers([host])
        assert parent.stdin is not None
        os.write(parent.stdin.fileno(), b"\n")
        assert read_line(parent.stdout) == b"over\n"
        parent.kill()

        wait_for_death(watching)
        assert (tmp_path / "looks").read_text() == "x\n"
    finally:
        host.close()


def test_a_watcher_does_not_hold_the_streams_of_its_command(host: Host) -> None:
    process = host.run("read -r x; echo done; exit 200", watch=True)
    (watching,) = watchers([host])

    assert {os.readlink(f"/proc/{watching}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    assert host.end(process, b"\n") == (200, b"done\n", b"")


CONTROLLER = """
import os, subprocess, sys
started = open("/proc/self/stat").read().rpartition(") ")[2].split()[19]
os.environ["REGISSEUR_HERE"] = sys.argv[1].replace("PID", str(os.getpid())).replace("START", started)
subprocess.run(["sh", "-c", *sys.argv[2:]], start_new_session=True)
"""
"""In the place of a controller: starts a connector in a session of its own, in the environment that tells of it."""


@pytest.mark.parametrize(
    ("told", "connector", "out"),
    [
        pytest.param(f"{TOKEN};PID;START", 'exec sh -c "$0"', b"unset\n", id="it is a child of the controller"),
        pytest.param(f"{TOKEN};PID;START", 'sh -c "$0"; exit', b"unset\n", id="it is a child of the connector"),
        pytest.param(f"{TOKEN};PID;START", 'setsid -w sh -c "$0"', b"watched\nunset\n", id="another session"),
        pytest.param(f"{TOKEN};PID;START", 'env -i sh -c "$0"', b"watched\nunset\n", id="another environment"),
        pytest.param(f"{TOKEN}1;PID;START", 'exec sh -c "$0"', b"watched\nunset\n", id="of another run"),
        pytest.param(f"{TOKEN};1;START", 'exec sh -c "$0"', b"watched\nunset\n", id="another controller"),
        pytest.param(f"{TOKEN};PID;1", 'exec sh -c "$0"', b"watched\nunset\n", id="another that had its number"),
        pytest.param("", 'exec sh -c "$0"', b"watched\nunset\n", id="nothing is told"),
    ],
)
def test_a_command_has_no_watcher_where_its_controller_reaches_it(
    told: str, connector: str, out: bytes, host: Host
) -> None:
    line = wrapped("echo ${REGISSEUR_HERE-unset}", TOKEN, watch=True)
    start = '$s /bin/sh -c "$2" regisseur-watcher'
    assert start in line
    line = host.shell.line(line.replace(start, "echo watched; :"))

    controller = host.start(sys.executable, "-I", "-S", "-c", CONTROLLER, told, connector, line)

    assert host.end(controller) == (0, out, b"")


def test_what_tells_of_the_controller_has_the_token_of_the_run() -> None:
    assert here(TOKEN, 12, 345) == ("REGISSEUR_HERE", f"{TOKEN};12;345")


# -- a command that is left alone ----------------------------------------------


def test_a_detached_command_tells_its_pid_and_holds_nothing(host: Host) -> None:
    starter = host.start("sh", "-c", host.shell.line(detached("exec sleep 1000")))
    stdout, stderr = starter.communicate(timeout=DEADLINE)
    pid = int(stdout)
    host.pids.append(pid)

    assert (starter.returncode, stderr) == (0, b"")
    assert is_alive(pid)
    assert os.getsid(pid) == pid
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3


def test_a_detached_command_may_be_anything(host: Host, tmp_path: Path) -> None:
    made = tmp_path / "it's made"
    os.mkfifo(made)
    command = f'if [ -z "$REGISSEUR_REMOTE" ]; then\necho "so!" > "{made}"\nfi'

    host.start("sh", "-c", host.shell.line(detached(command)), env={**os.environ, "REGISSEUR_REMOTE": f"{TOKEN};"})

    fd = os.open(made, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([fd], [], [], 20)[0]
        assert os.read(fd, 100) == b"so!\n"
    finally:
        os.close(fd)


def test_a_detached_command_that_cannot_start_is_a_failure(host: Host) -> None:
    environment = {**os.environ, "PATH": os.path.dirname(host.shell.path)}
    line = host.shell.line(detached("true")).replace(f"exec $s {host.shell.path}", "exec /no/such/sh")
    starter = host.start(host.shell.path, "-c", line, env=environment)

    assert starter.communicate(timeout=DEADLINE)[0] == b""
    assert starter.returncode == 127


# -- the trailer ---------------------------------------------------------------


def trailer(kind: str, status: int, token: str = "0a.1") -> bytes:
    return f"\x1eregisseur:{token};{kind}{status}\x1e".encode()


@given(
    st.binary(max_size=30) | st.just(b"\x1eregisseur:0a.1;s") | st.just(trailer("x", 137, "0a.2")),
    st.sampled_from([("x", 137, 137), ("s", 137, -9), ("x", 255, 255), ("s", 192, -64)]),
    st.lists(st.integers(0, 80)),
)
def test_a_trailer_is_taken_out_however_the_bytes_are_cut(
    output: bytes, end: tuple[str, int, int], cuts: list[int]
) -> None:
    data = output + trailer(*end[:2])
    cuts = sorted(min(cut, len(data)) for cut in cuts)
    filtered = TrailerFilter("0a.1")

    got = b"".join(filtered.feed(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True))

    rest, status = filtered.finish()
    assert output == got + rest
    assert status == end[2]


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\x1e", b"\x1eregisseur:", b"\x1eregisseur:0a.1;x13"])))
def test_nothing_is_lost_where_there_is_no_trailer(chunks: list[bytes]) -> None:
    assume(re.search(rb"regisseur:0a.1;[sx][0-9]+\x1e", b"".join(chunks)) is None)
    filtered = TrailerFilter("0a.1")

    got = b"".join(map(filtered.feed, chunks))
    rest, status = filtered.finish()

    assert b"".join(chunks) == got + rest
    assert status is None


def test_only_what_may_be_a_trailer_is_held_back() -> None:
    filtered = TrailerFilter("0a.1")

    assert filtered.feed(b"some\x1e") == b"some"
    assert filtered.feed(b"regisseur:0a.1;s1") == b""
    assert filtered.feed(b"x") == b"\x1eregisseur:0a.1;s1x"
    assert filtered.finish() == (b"", None)


@given(st.binary(max_size=20), st.binary(max_size=20), st.lists(st.integers(0, 60)))
def test_the_beginning_of_a_command_is_taken_out_and_told(before: bytes, after: bytes, cuts: list[int]) -> None:
    data = before + b"\x1eregisseur:0a.1;b\x1e" + after
    cuts = sorted(min(cut, len(data)) for cut in cuts)
    filtered = TrailerFilter("0a.1")

    got = b"".join(filtered.feed(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True))

    assert (before + after, None) == (got + filtered.finish()[0], filtered.finish()[1])
    assert filtered.begun


def test_a_command_with_a_connection_of_its_own_says_that_it_begins(host: Host) -> None:
    silent, told = (host.run("exit 3", watch=watch).communicate(timeout=DEADLINE)[1] for watch in (False, True))

    assert (b"", f"\x1eregisseur:{TOKEN};b\x1e".encode()) == (silent, told)


def test_what_comes_after_the_trailer_is_passed_on() -> None:
    filtered = TrailerFilter("0a.1")

    assert filtered.feed(b"some" + trailer("s", 143) + b" more") == b"some more"
    assert filtered.finish() == (b"", -15)
