"""Files over trees of TakTuk's, with the real program, over the stub in place of ssh: all nodes are this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB
from processes import DEADLINE, QUIET
from regisseur.actors import _taktuk_feed
from regisseur.actors._taktuk_transfer import TaktukPutProcess
from regisseur.actors._transfer_process import TransferProcess
from regisseur.actors.action_factory import get_fileget, get_fileput
from regisseur.actors.config import TAKTUK, configuration
from regisseur.actors.connection_errors import ConnectionLostError, RefusedError
from regisseur.actors.process import Process
from regisseur.actors.taktuk import TaktukRemote
from regisseur.actors.taktuk_transfer import TaktukGet, TaktukPut
from regisseur.actors.transfer import TransferError
from trees import FINE, Tools, described, left_over, outcomes, wait_until

pytestmark = [pytest.mark.requires_taktuk, pytest.mark.usefixtures("stage")]

HOSTS = ["n1", "n2", "n3", "n4", "n5"]
STUBBED: dict[str, Any] = {"taktuk_connector": STUB, "taktuk_connector_options": ()}
PARAMS = {**STUBBED, "taktuk_options": ("-s", "-d", "-1")}
"""All nodes are connected by the root, so that the loss of one is the loss of no other."""
CHAIN = {**STUBBED, "taktuk_options": ("-s", "-d", "1")}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for hosts that are behind."""
    monkeypatch.setattr(_taktuk_feed, "_PATIENCE", (0.05, 0.05))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All wait for each other, however busy this machine is."""
    monkeypatch.setattr(_taktuk_feed, "_PATIENCE", (DEADLINE, DEADLINE))


class SlowHost(Tools):
    """The host n3, on which a program stops when it is called first, until it is told to go on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.environment = {**os.environ, "PATH": self.path}
        self.args = {"env": self.environment}
        self.gate = directory / "gate"
        os.mkfifo(self.gate)

    def stop(self, name: str, before: str = "") -> None:
        """Have the first call of *name* stop, behind *before*."""
        stop = f'mkdir "$mark.first" 2>/dev/null && {{ {before}\necho $PPID >"$mark"; read x <{self.gate}; }}'
        self.replace(name, f'case $STUB_HOST:$* in n3:*count=1*|n3:--version) ;; n3:*) {stop};; esac\nexec $real "$@"')

    def go_on(self) -> None:
        """Let it."""
        self.gate.write_text("go on\n")


@pytest.fixture
def slow_host(tmp_path: Path) -> SlowHost:
    return SlowHost(tmp_path / "tools")


def put(local_files: Any, location: Any, params: Any = PARAMS, hosts: Any = HOSTS, **kwargs: Any) -> TaktukPut:
    arguments = {**QUIET, **kwargs.pop("process_args", {})}
    return TaktukPut(hosts, local_files, location, params, process_args=arguments, **kwargs)


def get(remote_files: Any, location: Any, params: Any = PARAMS, hosts: Any = HOSTS, **kwargs: Any) -> TaktukGet:
    arguments = {**QUIET, **kwargs.pop("process_args", {})}
    return TaktukGet(hosts, remote_files, location, params, process_args=arguments, **kwargs)


def done(process: Process) -> int:
    """How many bytes it has transferred."""
    assert isinstance(process, TransferProcess)
    return process.progress.done


def engines(params: Any = PARAMS, **kwargs: Any) -> tuple[int, list[int]]:
    """The pids of the root and of the nodes of the tree."""
    action = TaktukRemote("echo $PPID", HOSTS, params, {**QUIET, **kwargs}).run(DEADLINE)
    root = action.processes[0].pid
    assert root is not None
    return root, [int(process.stdout) for process in action.processes]


def counted(pid: int, what: str) -> int:
    """Bytes that a process has read ("rchar"), or written ("wchar"), from anywhere; or its most memory ("VmHWM")."""
    name = "status" if what.startswith("Vm") else "io"
    for line in Path("/proc", str(pid), name).read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * (1024 if name == "status" else 1)
    raise AssertionError(what)


# -- what arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["one step", "many steps"])
def test_a_tree_arrives_as_it_was_and_comes_back_so(
    steps: str, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if steps == "many steps":
        request.getfixturevalue("small_steps")
    there = put(tree, tmp_path / "to {{{host}}}", create_dirs=True, checksum=True).run(DEADLINE)

    assert outcomes(there) == [FINE] * 5
    size = 70_000 + 250_000 + 400_001 + 12 + 9
    assert there.progress.done == there.progress.total == 5 * size

    back = get(f"{tmp_path}/to {{{{{{host}}}}}}/*", tmp_path / "from {{{host}}}", create_dirs=True, checksum=True)
    back.run(DEADLINE)
    assert outcomes(back) == [FINE] * 5
    assert back.progress.done == back.progress.total == 5 * size
    for host in HOSTS:
        assert described(tree) == described(tmp_path / f"to {host}" / tree.name)
        assert described(tree) == described(tmp_path / f"from {host}" / tree.name)
    assert left_over(tmp_path) == []


@pytest.mark.slow
def test_what_many_hosts_get_goes_over_each_connection_once_and_stays_in_the_memory_of_none(
    tmp_path: Path, patient: None
) -> None:
    size = 50_000_000
    (tmp_path / "large").write_bytes(os.urandom(size))
    pids = [root, *nodes] = [engines(CHAIN)[0], *engines(CHAIN)[1]]
    before = counted(root, "rchar"), counted(root, "wchar")
    action = put(tmp_path / "large", tmp_path / "to-{{{host}}}", CHAIN).run(4 * DEADLINE)

    assert outcomes(action) == [FINE] * 5
    for host in HOSTS:
        assert (tmp_path / f"to-{host}").read_bytes() == (tmp_path / "large").read_bytes()
    assert size < counted(root, "rchar") - before[0] < 1.1 * size
    assert size < counted(root, "wchar") - before[1] < 1.1 * size  # to the first of the chain, and events to us
    assert max(counted(pid, "VmHWM") for pid in [root, *nodes]) < 48 << 20
    assert pids == [engines(CHAIN)[0], *engines(CHAIN)[1]]


def test_hosts_may_get_different_files_and_a_host_may_get_them_twice(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"of {name}")
    action = put(f"{tmp_path}/{{{{['a', 'b', 'a']}}}}", f"{tmp_path}/to{{{{range(3)}}}}", hosts=["n1", "n1", "n2"])

    assert outcomes(action.run(DEADLINE)) == [FINE] * 3
    assert [(tmp_path / f"to{number}").read_text() for number in range(3)] == ["of a", "of b", "of a"]
    for host, wanted in [("n1", "of a"), ("n2", "of a")]:
        (tmp_path / "twice").mkdir(exist_ok=True)
        twice = put(tmp_path / "a", f"{tmp_path}/twice/{{{{range(2)}}}}", hosts=[host, host]).run(DEADLINE)
        assert outcomes(twice) == [FINE] * 2
        assert [(tmp_path / "twice" / str(number)).read_text() for number in range(2)] == [wanted] * 2


def test_the_variable_of_taktuk_for_the_name_of_a_host_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")

    there = put(tmp_path / "file", f"{tmp_path}/$host", create_dirs=True).run(DEADLINE)
    back = get(f"{tmp_path}/${{host}}/file", f"{tmp_path}/$host-file").run(DEADLINE)
    assert outcomes(there) == outcomes(back) == [FINE] * 5
    assert [(tmp_path / f"{host}-file").read_text() for host in HOSTS] == ["content"] * 5


def test_a_transfer_may_be_made_again_and_so_many_hosts_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("first")
    action = put(tmp_path / "f", tmp_path / "to-{{{host}}}", fanout=2).run(DEADLINE)
    assert outcomes(action) == [FINE] * 5
    (tmp_path / "f").write_text("second")
    action.reset().run(DEADLINE)

    assert outcomes(action) == [FINE] * 5
    assert [(tmp_path / f"to-{host}").read_text() for host in HOSTS] == ["second"] * 5


def test_a_process_of_it_may_be_started_by_itself(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    action = put(tmp_path / "f", tmp_path / "to-{{{host}}}")
    process = action.processes[2].run(DEADLINE)

    assert isinstance(process, TaktukPutProcess)
    assert (process.exit_code, process.stderr) == (0, "")
    assert (tmp_path / "to-n3").read_text() == "content"


def test_the_configuration_chooses_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(configuration, "fileput_tool", TAKTUK)
    monkeypatch.setitem(configuration, "fileget_tool", TAKTUK)
    (tmp_path / "f").write_text("content")

    assert get_fileput("n1", tmp_path / "f", tmp_path / "there", PARAMS).run(DEADLINE).ok
    assert get_fileget("n1", tmp_path / "there", tmp_path / "back", PARAMS).run(DEADLINE).ok
    assert (tmp_path / "back").read_text() == "content"


# -- hosts that fail ---------------------------------------------------------------------------------------------------


def test_a_place_that_is_none_fails_its_host_alone(tmp_path: Path, tree: Path, small_steps: None) -> None:
    places = [f"{tmp_path}/to{number}/" for number in range(5)]
    for number in (0, 1, 3, 4):
        Path(places[number]).mkdir()
    action = put(tree, f"{{{{{places}}}}}").run(DEADLINE)

    assert [process.exit_code for process in action.processes] == [0, 0, 1, 0, 0]
    assert places[2].rstrip("/") in action.processes[2].stderr
    for number in (0, 1, 3, 4):
        assert described(tree) == described(Path(places[number], tree.name))


@pytest.mark.requires_root
def test_a_full_disk_fails_its_host_alone(tmp_path: Path, full_disk: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    places = [f"{tmp_path}/a", f"{full_disk}/b", f"{tmp_path}/c"]
    action = put(tmp_path / "large", f"{{{{{places}}}}}", hosts=HOSTS[:3]).run(DEADLINE)

    assert [process.ok for process in action.processes] == [True, False, True]
    assert "No space left on device" in action.processes[1].stderr
    assert list(full_disk.iterdir()) == []
    assert (tmp_path / "c").read_bytes() == (tmp_path / "large").read_bytes()


def test_hosts_that_can_not_be_connected_fail_alone(tmp_path: Path) -> None:
    connector = tmp_path / "connector"
    connector.write_text(
        "#!/bin/sh\nfor word; do case $word in n2)\n"
        'echo "ssh: connect to host n2 port 22: Connection refused" >&2; exit 255;; esac; done\n'
        f'exec {STUB} "$@"\n'
    )
    connector.chmod(0o755)
    (tmp_path / "f").write_text("content")
    params = {**PARAMS, "taktuk_connector": str(connector), "connect_retries": 0}
    action = put(tmp_path / "f", tmp_path / "to-{{{host}}}", params).run(DEADLINE)

    assert [type(process.error_reason) for process in action.processes] == [type(None), RefusedError, *[type(None)] * 3]
    assert sum(path.name.startswith("to-") for path in tmp_path.iterdir()) == 4


def test_a_file_that_is_missing_is_an_error_here_and_there(tmp_path: Path) -> None:
    there = put(tmp_path / "missing", tmp_path).run(DEADLINE)
    assert [type(process.error_reason) for process in there.processes] == [FileNotFoundError] * 5

    (tmp_path / "of n2").write_text("content")
    back = get(tmp_path / "of {{{host}}}", tmp_path / "back-{{{host}}}", hosts=["n1", "n2"]).run(DEADLINE)
    assert [process.exit_code for process in back.processes] == [1, 0]
    assert "of n1" in back.processes[0].stderr
    assert (tmp_path / "back-n2").read_text() == "content"


def test_of_several_what_is_there_comes_and_each_that_is_missing_is_told(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "of n2").write_text("content")
    names = [tmp_path / "none", tmp_path / "of $host", tree, tmp_path / "*.none"]

    back = get(names, tmp_path / "back-{{{host}}}", hosts=["n1", "n2"], create_dirs=True, checksum=True).run(DEADLINE)

    none, n1, pattern = [f"regisseur: there is no {tmp_path}/{name}\n" for name in ("none", "of n1", "*.none")]
    assert outcomes(back) == [(1, None, none + n1 + pattern), (1, None, none + pattern)]
    assert (tmp_path / "back-n2" / "of n2").read_text() == "content"
    assert described(tree) == described(tmp_path / "back-n1" / tree.name) == described(tmp_path / "back-n2" / tree.name)


def test_a_file_that_goes_away_just_before_it_is_read_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _taktuk_feed.Stream.begin
    large = tmp_path / "large"

    def begin(stream: _taktuk_feed.Stream, runtime: Any) -> None:
        if stream.path == os.fsencode(large):
            large.unlink(missing_ok=True)
        real(stream, runtime)

    large.write_bytes(bytes(20_000_000))
    monkeypatch.setattr(_taktuk_feed.Stream, "begin", begin)
    action = put(large, tmp_path / "to-{{{host}}}", hosts=HOSTS[:2]).run(DEADLINE)

    assert [type(process.error_reason) for process in action.processes] == [FileNotFoundError] * 2
    assert left_over(tmp_path) == []


# -- hosts that are slow -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_host_is_far_ahead_of_the_slowest(tmp_path: Path, slow_host: SlowHost, patient: None) -> None:
    slow_host.stop("dd")
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    root, nodes = engines(env=slow_host.environment)
    before = counted(root, "rchar")
    action = put(tmp_path / "large", tmp_path / "to-{{{host}}}", process_args=slow_host.args).start()
    wait_until(lambda: counted(root, "rchar") - before >= _taktuk_feed._AHEAD)
    others = [*action.processes[:2], *action.processes[3:]]
    wait_until(lambda: all(done(process) >= 3 << 20 for process in others))
    assert TaktukRemote("true", HOSTS, PARAMS, QUIET).run(DEADLINE).ok  # commands go on meanwhile

    assert counted(root, "rchar") - before < _taktuk_feed._AHEAD + (1 << 20)
    assert max(map(done, action.processes)) <= _taktuk_feed._AHEAD
    slow_host.go_on()
    assert outcomes(action.wait(DEADLINE)) == [FINE] * 5
    assert max(counted(pid, "VmHWM") for pid in [root, *nodes]) < 48 << 20


@pytest.mark.slow
def test_a_host_that_falls_silent_fails_alone(
    tmp_path: Path, slow_host: SlowHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_taktuk_feed, "_SILENT", 8.0)  # which no other is, however busy this machine is
    monkeypatch.setitem(configuration, "kill_timeout", 0.5)
    slow_host.stop("dd")
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    action = put(tmp_path / "large", tmp_path / "to-{{{host}}}", process_args=slow_host.args)
    action.run(3 * DEADLINE)

    assert [process.ok for process in action.processes] == [True, True, False, True, True]
    reason = action.processes[2].error_reason
    assert isinstance(reason, TransferError)
    assert "n3: it has taken nothing for a long time" in str(reason)
    assert left_over(tmp_path) == []


def test_who_is_late_gets_it_by_itself(
    tmp_path: Path, tree: Path, slow_host: SlowHost, impatient: None, small_steps: None
) -> None:
    slow_host.stop("tar")
    action = put(tree, tmp_path / "to-{{{host}}}", process_args=slow_host.args).start()
    others = [*action.processes[:2], *action.processes[3:]]
    for process in others:
        process.wait(DEADLINE)
    slow_host.go_on()

    assert outcomes(action.wait(DEADLINE)) == [FINE] * 5
    assert described(tree) == described(tmp_path / "to-n3")


@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 2])
def test_a_node_that_dies_goes_on_where_it_was_and_holds_up_nobody(
    retries: int, tmp_path: Path, slow_host: SlowHost
) -> None:
    slow_host.stop("dd", 'head -c 1000000 | $real "$@"')
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    nodes = engines(env=slow_host.environment)[1]
    arguments = {"process_args": slow_host.args, "retries": retries}
    action = put(tmp_path / "large", tmp_path / "to-{{{host}}}", **arguments).start()
    slow_host.wait_until_blocked()
    os.kill(nodes[2], signal.SIGKILL)
    action.wait(2 * DEADLINE)

    lost = outcomes(action)[2] if retries else type(action.processes[2].error_reason)
    assert lost == (FINE if retries else ConnectionLostError)
    assert [process.ok for process in action.processes] == [True, True, bool(retries), True, True]
    served = HOSTS if retries else [host for host in HOSTS if host != "n3"]
    assert {(tmp_path / f"to-{host}").read_bytes() for host in served} == {(tmp_path / "large").read_bytes()}
    if retries:
        seeks = [word for word in slow_host.calls.read_text().split() if word.startswith("seek=")]
        assert sorted(seeks) == ["seek=0"] * 5 + ["seek=15"]


def test_what_is_killed_leaves_nothing(tmp_path: Path, slow_host: SlowHost) -> None:
    slow_host.stop("dd")
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    action = put(tmp_path / "large", tmp_path / "to-{{{host}}}", process_args=slow_host.args).start()
    slow_host.wait_until_blocked()
    action.kill().wait(DEADLINE)

    assert [process.killed for process in action.processes] == [True] * 5
    assert left_over(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("to-")] == []


# -- what comes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fetch_whose_node_dies_goes_on_where_it_was(tmp_path: Path, slow_host: SlowHost) -> None:
    (tmp_path / "f").write_bytes(os.urandom(3_000_000))
    slow_host.stop("tar", '$real "$@" | head -c 2000000; rm -f "$mark"')
    nodes = engines(env=slow_host.environment)[1]
    action = get(tmp_path / "f", tmp_path / "to-{{{host}}}", process_args=slow_host.args).start()
    slow_host.wait_until_blocked()
    wait_until(lambda: done(action.processes[2]) > 1_000_000)
    os.kill(nodes[2], signal.SIGKILL)
    action.wait(DEADLINE)

    assert outcomes(action) == [FINE] * 5
    assert {(tmp_path / f"to-{host}").read_bytes() for host in HOSTS} == {(tmp_path / "f").read_bytes()}


@pytest.mark.slow
def test_what_comes_stays_in_the_memory_of_none(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(50_000_000))
    root, nodes = engines(CHAIN)
    action = get(tmp_path / "large", tmp_path / "to-{{{host}}}", CHAIN, hosts=HOSTS[:3]).run(4 * DEADLINE)

    assert outcomes(action) == [FINE] * 3
    for host in HOSTS[:3]:
        assert (tmp_path / f"to-{host}").read_bytes() == (tmp_path / "large").read_bytes()
    assert max(counted(pid, "VmHWM") for pid in [root, *nodes]) < 48 << 20


@pytest.mark.requires_root
def test_a_full_disk_here_ends_a_fetch_with_its_error(tmp_path: Path, full_disk: Path) -> None:
    (tmp_path / "f").write_bytes(os.urandom(1_000_000))
    action = get(tmp_path / "f", full_disk, hosts=["n1"]).run(DEADLINE)

    reason = action.processes[0].error_reason
    assert isinstance(reason, OSError)
    assert "No space left on device" in str(reason)
    assert list(full_disk.iterdir()) == []
