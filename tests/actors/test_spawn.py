"""spawn: what a child gets, what it does not get, and how a start that fails is told."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deadline import DEADLINE
from regisseur.actors import _posix_spawn, _spawn
from regisseur.actors._spawn import spawn


@pytest.fixture(params=["native", "subprocess"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on both ways to start a child, as far as this C library has the fast one."""
    if request.param == "subprocess":
        monkeypatch.setattr(_spawn, "load", lambda: None)
    elif _posix_spawn.load() is None:
        pytest.skip("this C library has no posix_spawn_file_actions_addclosefrom_np")
    return str(request.param)


@pytest.fixture
def null() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def run(
    argv: list[str | bytes], *, env: dict[str, str] | None = None, cwd: str | None = None, given: str = ""
) -> tuple[int, str]:
    """Run a command to its end; return its exit status and its stdout with stderr."""
    stdin, feed = os.pipe()
    output, stdout = os.pipe()
    os.write(feed, given.encode())
    os.close(feed)
    try:
        pid = spawn(argv, stdin=stdin, stdout=stdout, stderr=stdout, env=env, cwd=cwd)
    except OSError:
        os.close(output)
        raise
    finally:
        os.close(stdin)
        os.close(stdout)
    with open(output, "rb") as stream:
        text = stream.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def failure(argv: list[str | bytes], *, env: dict[str, str] | None = None, cwd: str | None = None) -> tuple[int, str]:
    """Run a command that can't be started; return errno and file name of the error."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - errno is what the tests compare
        run(argv, env=env, cwd=cwd)
    assert caught.value.errno is not None
    return caught.value.errno, str(caught.value.filename)


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# -- what a child gets ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_a_child_reads_its_stdin_and_writes_its_stdout() -> None:
    assert run(["/bin/sh", "-c", "cat; exit 3"], given="said\n") == (3, "said\n")


@pytest.mark.usefixtures("way")
def test_stdout_and_stderr_stay_apart(null: int) -> None:
    output, stdout = os.pipe()
    errors, stderr = os.pipe()
    pid = spawn(["/bin/sh", "-c", "echo out; echo err >&2"], stdin=null, stdout=stdout, stderr=stderr)
    os.close(stdout)
    os.close(stderr)
    with open(output) as out, open(errors) as err:
        heard = out.read(), err.read()
    os.waitpid(pid, 0)

    assert heard == ("out\n", "err\n")


@pytest.mark.usefixtures("way")
def test_a_child_leads_its_own_session() -> None:
    _, stat = run([sys.executable, "-IS", "-c", "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"])
    pid, session, group = stat.split()

    assert pid == session == group


@pytest.mark.usefixtures("way")
def test_no_descriptor_but_the_three_is_inherited_even_if_marked_inheritable(null: int) -> None:
    leak = os.dup(null)
    os.set_inheritable(leak, True)
    try:
        _, listing = run([sys.executable, "-IS", "-c", "import os; print(*sorted(os.listdir('/proc/self/fd')))"])
    finally:
        os.close(leak)

    assert listing.split() == ["0", "1", "2", "3"]  # 3 is the listing's own


@pytest.mark.usefixtures("way")
def test_signals_are_neither_blocked_nor_ignored_in_a_child() -> None:
    old = signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        _, status = run(["/bin/cat", "/proc/self/status"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    standard = (1 << 31) - 1  # above are signals that the C library keeps for itself
    masks = dict(line.split(":\t") for line in status.splitlines())

    assert [int(masks[name], 16) & standard for name in ("SigBlk", "SigIgn")] == [0, 0]


@pytest.mark.skipif(_posix_spawn.load() is None, reason="the way by subprocess can't do it, and says so")
def test_sigint_ignored_here_is_not_ignored_in_a_child() -> None:
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status, _ = run(["/bin/sh", "-c", "kill -INT $$; exit 5"])
    finally:
        signal.signal(signal.SIGINT, old)

    assert status == -signal.SIGINT


@pytest.mark.usefixtures("way")
def test_the_environment_is_os_environ_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    show: list[str | bytes] = ["/bin/sh", "-c", "echo $REGISSEUR_A"]
    seen = []
    for value in ("one", "two"):
        monkeypatch.setenv("REGISSEUR_A", value)
        seen.append(run(show)[1])
    monkeypatch.delenv("REGISSEUR_A")
    seen.append(run(show)[1])

    assert seen == ["one\n", "two\n", "\n"]


@pytest.mark.usefixtures("way")
def test_a_given_environment_replaces_all_and_may_be_changed_between_two_starts() -> None:
    env = {"A": "1"}
    first = run(["/usr/bin/env"], env=env)[1]
    env["A"] = "é"

    assert (first, run(["/usr/bin/env"], env=env)[1]) == ("A=1\n", "A=é\n")


@pytest.mark.usefixtures("way")
def test_extra_variables_come_on_top(null: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_A", "theirs")
    monkeypatch.setenv("REGISSEUR_B", "stays")
    output, stdout = os.pipe()
    pid = spawn(
        ["/bin/sh", "-c", "echo $REGISSEUR_A $REGISSEUR_B"],
        stdin=null,
        stdout=stdout,
        stderr=null,
        extra_env={"REGISSEUR_A": "ours"},
    )
    os.close(stdout)
    with open(output) as out:
        heard = out.read()
    os.waitpid(pid, 0)

    assert heard == "ours stays\n"


@pytest.mark.usefixtures("way")
def test_arguments_pass_unchanged_as_text_or_bytes() -> None:
    assert run(["/bin/sh", "-c", 'IFS="|"; echo "$*"', "sh", "a b", "é".encode(), "*", "$x"]) == (0, "a b|é|*|$x\n")


def test_low_descriptors_may_be_given_in_any_order(way: str) -> None:
    program = (
        "import os, sys\n"
        "from regisseur.actors import _spawn\n"
        f"if {way == 'subprocess'}: _spawn.load = lambda: None\n"
        "r, w = os.pipe(); out = os.dup(1)\n"
        "os.dup2(w, 0); os.dup2(r, 1); os.close(r); os.close(w)\n"  # 0 writes, 1 reads: crossed over
        "os.write(0, b'through'); os.set_inheritable(out, False)\n"
        "pid = _spawn.spawn(['/bin/sh', '-c', 'head -c 7 >&2'], stdin=1, stdout=0, stderr=out)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=DEADLINE, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"through", b"")


@pytest.mark.usefixtures("way")
def test_many_threads_may_start_children_at_once() -> None:
    heard: dict[str, str] = {}

    def work(name: str) -> None:
        for turn in range(5):
            heard[f"{name}.{turn}"] = run(["/bin/echo", f"{name}.{turn}"], env={"N": name})[1]

    threads = [threading.Thread(target=work, args=(f"thread{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: f"{name}\n" for name in heard} == heard
    assert len(heard) == 30


# -- which program ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_a_bare_name_is_searched_along_the_path_of_the_given_environment(tmp_path: Path) -> None:
    script(tmp_path / "first" / "greet", "#!/bin/sh\necho first")
    script(tmp_path / "second" / "greet", "#!/bin/sh\necho second")
    env = {"PATH": f"{tmp_path}/none:{tmp_path}/second:{tmp_path}/first"}

    assert run(["greet"], env=env) == (0, "second\n")


@pytest.mark.usefixtures("way")
def test_a_program_that_appears_or_moves_is_found_at_once(tmp_path: Path) -> None:
    env = {"PATH": f"{tmp_path}/first:{tmp_path}/second"}
    late = script(tmp_path / "second" / "greet", "#!/bin/sh\necho second")
    seen = [run(["greet"], env=env)[1]]
    early = script(tmp_path / "first" / "greet", "#!/bin/sh\necho first")
    seen.append(run(["greet"], env=env)[1])
    early.unlink()
    seen.append(run(["greet"], env=env)[1])
    late.unlink()

    assert seen == ["second\n", "first\n", "second\n"]
    assert failure(["greet"], env=env) == (errno.ENOENT, "greet")


@pytest.mark.usefixtures("way")
def test_a_file_that_may_not_be_executed_is_passed_over_on_the_path(tmp_path: Path) -> None:
    blocked = script(tmp_path / "first" / "greet", "#!/bin/sh\necho first", 0o644)
    env = {"PATH": f"{tmp_path}/first:{tmp_path}/second"}

    assert (errno.EACCES, str(blocked)) == failure(["greet"], env=env)

    script(tmp_path / "second" / "greet", "#!/bin/sh\necho second")

    assert run(["greet"], env=env) == (0, "second\n")


@pytest.mark.usefixtures("way")
def test_a_directory_and_a_script_without_its_interpreter_are_passed_over_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "first" / "greet").mkdir(parents=True)
    script(tmp_path / "second" / "greet", "#!/no/such/interpreter\n")
    script(tmp_path / "third" / "greet", "#!/bin/sh\necho third")
    env = {"PATH": f"{tmp_path}/first:{tmp_path}/second:{tmp_path}/third"}

    assert run(["greet"], env=env) == (0, "third\n")


@pytest.mark.usefixtures("way")
def test_a_relative_program_and_an_empty_entry_of_path_count_from_the_childs_directory(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "greet", "#!/bin/sh\npwd")

    assert (0, f"{tmp_path}\n") == run(["bin/greet"], cwd=str(tmp_path))
    assert (0, f"{tmp_path}/bin\n") == run(["greet"], cwd=str(tmp_path / "bin"), env={"PATH": "/none::/bin"})


@pytest.mark.usefixtures("way")
def test_a_script_without_shebang_is_run_by_the_shell(tmp_path: Path) -> None:
    path = script(tmp_path / "plain", 'echo "$0 has $*"')

    assert (0, f"{path} has a b\n") == run([str(path), "a", "b"])
    assert (0, f"{path} has c\n") == run(["plain", "c"], env={"PATH": str(tmp_path)})


# -- a terminal -------------------------------------------------------------------------------------------------------


def all_shown(master: int) -> bytes:
    """Read all that was written to a terminal whose other side is closed, in however many pieces, and close it."""
    shown = b""
    with contextlib.suppress(OSError):  # EIO: that was all
        while True:
            shown += os.read(master, 1000)
    os.close(master)
    return shown


@pytest.mark.usefixtures("way")
def test_a_terminal_becomes_controlling_terminal_stdin_and_stdout() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    errors, stderr = os.pipe()
    text = "tty >&2; test -t 1 && echo controlled >/dev/tty; read answer; echo $answer >&2"
    pid = spawn(["/bin/sh", "-c", text], stdin=-1, stdout=-1, stderr=stderr, terminal=path)
    os.close(stderr)
    os.write(master, b"yes\n")
    with open(errors) as stream:
        told = stream.read()
    os.waitpid(pid, 0)
    os.close(slave)
    shown = all_shown(master)

    assert f"{path}\nyes\n" == told
    assert b"controlled\r\n" in shown


@pytest.mark.usefixtures("way")
def test_stderr_goes_to_the_terminal_when_it_is_minus_one() -> None:
    master, slave = os.openpty()
    pid = spawn(["/bin/sh", "-c", "echo oops >&2"], stdin=-1, stdout=-1, stderr=-1, terminal=os.ttyname(slave))
    os.waitpid(pid, 0)
    os.close(slave)
    shown = all_shown(master)

    assert shown == b"oops\r\n"


@pytest.mark.skipif(_posix_spawn.load() is None, reason="by subprocess, the shell reports it with exit status 2")
def test_a_terminal_that_is_not_there_is_named(null: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        spawn(["/bin/true"], stdin=-1, stdout=-1, stderr=null, terminal="/dev/pts/none")

    assert caught.value.filename == "/dev/pts/none"


# -- starts that fail -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_a_missing_program_is_named(tmp_path: Path) -> None:
    assert failure(["no-such-program"]) == (errno.ENOENT, "no-such-program")
    assert failure(["/no/such"], cwd=str(tmp_path)) == (errno.ENOENT, "/no/such")
    assert failure([""]) == (errno.ENOENT, "")


@pytest.mark.usefixtures("way")
def test_a_file_without_the_execute_bit_is_refused(tmp_path: Path) -> None:
    path = script(tmp_path / "plain", "echo", 0o644)

    assert (errno.EACCES, str(path)) == failure([str(path)])


@pytest.mark.usefixtures("way")
def test_a_missing_or_impossible_directory_is_named_rather_than_the_program(tmp_path: Path) -> None:
    plain = script(tmp_path / "plain", "")

    assert (errno.ENOENT, f"{tmp_path}/none") == failure(["/bin/true"], cwd=f"{tmp_path}/none")
    assert (errno.ENOENT, f"{tmp_path}/none") == failure(["true"], cwd=f"{tmp_path}/none")
    assert (errno.ENOTDIR, str(plain)) == failure(["/bin/true"], cwd=str(plain))


@pytest.mark.usefixtures("way")
def test_arguments_beyond_what_the_kernel_takes_are_refused() -> None:
    assert failure(["/bin/true", "x" * 3_000_000])[0] == errno.E2BIG


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("argv", "env", "cwd"),
    [
        ([], None, None),
        (["/bin/true", "a\0b"], None, None),
        (["/bin/true", "\ud800"], None, None),
        (["/bin/true"], {"a=b": ""}, None),
        (["/bin/true"], {"": "x"}, None),
        (["/bin/true"], {"a": "\0"}, None),
        (["/bin/true"], None, "/tmp\0"),
    ],
)
def test_what_can_not_be_passed_to_a_program_is_refused_and_never_cut(
    argv: list[str | bytes], env: dict[str, str] | None, cwd: str | None
) -> None:
    assert failure(argv, env=env, cwd=cwd)[0] == errno.EINVAL


@pytest.mark.usefixtures("way")
def test_a_descriptor_that_is_not_open_is_refused(null: int) -> None:
    with pytest.raises(OSError, match="-1 is no descriptor"):
        spawn(["/bin/true"], stdin=null, stdout=-1, stderr=null)


def test_one_string_is_no_list_of_arguments(null: int) -> None:
    with pytest.raises(TypeError, match="not one string"):
        spawn("true", stdin=null, stdout=null, stderr=null)


@pytest.mark.usefixtures("way")
def test_a_failed_start_leaves_no_child_and_no_descriptor(null: int) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            spawn(["/no/such"], stdin=null, stdout=null, stderr=null)

    assert len(before) == len(os.listdir("/proc/self/fd"))
    with contextlib.suppress(ChildProcessError):  # else there are others: servers of other tests, which run
        assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
