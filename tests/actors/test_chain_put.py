"""ChainPut: files through hosts. Over the stub, by which none can reach the head; and over a real ssh and server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET, run_out_of_time
from regisseur.actors import _chain_leader
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.chain_put import ChainPut
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host import Host
from regisseur.actors.journal import Journal, set_journal
from sshd import WAYS, Sshd
from trees import FINE, Tools, described, left_over, outcomes

pytestmark = pytest.mark.usefixtures("stage")


@pytest.fixture(autouse=True)
def patient_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    """None takes from another than it was told only because this machine is busy."""
    monkeypatch.setattr(_chain_leader, "_SILENCE", DEADLINE)


def prepared(local_files: Any, location: Any, params: dict[str, Any] = STUB_PARAMS, **kwargs: Any) -> ChainPut:
    hosts = kwargs.pop("hosts", ["h1", "h2", "h3"])
    return ChainPut(
        hosts, local_files, location, params, process_args={**QUIET, **kwargs.pop("process_args", {})}, **kwargs
    )


def put(*args: Any, **kwargs: Any) -> ChainPut:
    made = prepared(*args, **kwargs)
    assert made.run(DEADLINE).ended
    return made


def sources(action: ChainPut) -> list[list[str]]:
    return [process.hop.sources for process in action.processes]  # type: ignore[attr-defined]  # they are of that class


def kinds(action: ChainPut) -> list[str]:
    return [process.hop.kind for process in action.processes]  # type: ignore[attr-defined]  # they are of that class


# -- what arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requires_sshd
@pytest.mark.parametrize("way", ["stub", *WAYS])
@pytest.mark.parametrize("steps", ["one step", "many steps"])
def test_a_tree_arrives_as_it_was(
    way: str, steps: str, sshd: Sshd, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if steps == "many steps":
        request.getfixturevalue("small_steps")
    params = STUB_PARAMS if way == "stub" else {**sshd.connection_params, **WAYS[way]}

    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    action = put(tree, tmp_path / "to {{{host}}}", params, hosts=hosts, create_dirs=True, checksum=True)

    assert outcomes(action) == [FINE] * 3
    for host in hosts:
        assert described(tree) == described(tmp_path / f"to {host}" / tree.name)
    assert left_over(tmp_path) == []
    assert action.progress.done == action.progress.total == 3 * (70_000 + 250_000 + 400_001 + 12 + 9)
    assert kinds(action) == ["python3"] * 3


def test_a_file_takes_the_name_of_what_is_no_directory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("new")
    (tmp_path / "there-h1").write_text("old")

    assert outcomes(put(source, tmp_path / "there-{{{host}}}")) == [FINE] * 3
    assert [(tmp_path / f"there-{host}").read_text() for host in ("h1", "h2", "h3")] == ["new"] * 3


def test_files_go_into_a_directory_in_place_of_others_of_their_name(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "-b c"]
    for file in files:
        file.write_text(file.name)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a").write_text("old")
    (tmp_path / "to" / "other").write_text("stays")

    assert outcomes(put(files, tmp_path / "to", hosts=["h1"])) == [FINE]
    assert {path.name: path.read_text() for path in (tmp_path / "to").iterdir()} == {
        "a": "a",
        "-b c": "-b c",
        "other": "stays",
    }


def test_a_place_may_be_relative_to_the_home_directory(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    params = sshd.connection_params
    home = Path(SshProcess("pwd", "127.0.0.1", params).run(DEADLINE).stdout.strip())
    place = os.path.relpath(tmp_path / "to", home)

    assert outcomes(put(tmp_path / "file", place, params, hosts=["127.0.0.1"])) == [FINE]
    assert (tmp_path / "to").read_text() == "1"


def test_nothing_is_sent_where_there_is_nothing(tmp_path: Path) -> None:
    assert outcomes(put([], tmp_path)) == [FINE] * 3
    assert put(tmp_path, tmp_path, hosts=[]).ok


def test_hosts_that_get_other_files_have_a_chain_of_their_own(tmp_path: Path) -> None:
    for host in ("h1", "h2"):
        (tmp_path / f"for-{host}").write_text(host)
    action = put(tmp_path / "for-{{{host}}}", tmp_path / "came-{{{host}}}", hosts=["h1", "h2"])

    assert sources(action) == [["connection"], ["connection"]]
    assert (tmp_path / "came-h2").read_text() == "h2"


def test_a_host_that_is_named_twice_gets_the_files_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    action = prepared(tmp_path / "file", tmp_path / "to-{{{host}}}", hosts=["h1", "h2", "h1"])

    assert [host.address for host in action.hosts] == ["h1", "h2"]


def test_it_can_be_run_again_with_what_the_files_are_then(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    action = put(tmp_path / "file", tmp_path / "to-{{{host}}}")
    (tmp_path / "file").write_text("2")

    assert action.reset().run(DEADLINE).ok
    assert (tmp_path / "to-h3").read_text() == "2"


def test_it_says_what_it_is(tmp_path: Path) -> None:
    action = prepared("file", "to")

    assert action.name == "Put to 3 hosts"
    assert repr(action).startswith("ChainPut([Host('h1'), Host('h2'), Host('h3')], ['file'], 'to'")
    assert "chain-put file to" in str(action.processes[0])


# -- the way that it takes ---------------------------------------------------------------------------------------------


def test_without_the_head_the_first_host_is_fed_and_the_others_take_from_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    action = put(tmp_path / "file", tmp_path / "to-{{{host}}}")

    assert outcomes(action) == [FINE] * 3
    assert sum(each[0] == "connection" for each in sources(action)) == 1
    assert (tmp_path / "to-h3").read_bytes() == (tmp_path / "file").read_bytes()


@pytest.mark.requires_sshd
@pytest.mark.parametrize(("head", "first"), [(None, "head"), ("tcp", "head"), ("ssh", "connection")])
def test_the_first_takes_from_this_machine_by_a_way_that_can_be_chosen(
    head: str | None, first: str, sshd: Sshd, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    action = put(tmp_path / "file", tmp_path / "to-{{{host}}}", sshd.connection_params, hosts=hosts, head=head)

    assert outcomes(action) == [FINE] * 3
    assert sum(each[0] == first for each in sources(action)) == 1
    assert sum(each[0] in hosts for each in sources(action)) == 2


def test_a_way_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="head"):
        prepared("file", "to", head="smoke signals")


def programs(directory: Path, without: set[str], **others: str) -> str:
    """A directory with all programs of this machine but those; returned is what a server is to set."""
    directory.mkdir()
    for place in ("/bin", "/usr/bin"):
        for program in Path(place).iterdir():
            link = directory / program.name
            if program.name not in without and not program.name.startswith("python") and not link.is_symlink():
                link.symlink_to(program)
    for name, target in others.items():
        (directory / name).symlink_to(target)
    return f"HOME={directory} PATH={directory}"


@pytest.mark.requires_sshd
@pytest.mark.parametrize("reason", ["no python", "an old one"])
def test_a_host_that_can_take_from_no_other_gets_the_files_as_by_a_put(
    reason: str, tree: Path, tmp_path: Path, tools: Tools, start_sshd: Callable[..., Sshd]
) -> None:
    tools.replace("python3", "exit 67")
    old = {"python3": str(tools.directory / "python3")} if reason == "an old one" else {}
    server = start_sshd(SetEnv=programs(tmp_path / "bin", {"bash", "perl", "nc"}, **old))
    action = put(tree, tmp_path / "to", server.connection_params, hosts=["127.0.0.1"], create_dirs=True)

    assert outcomes(action) == [FINE]
    assert kinds(action) == ["put"]
    assert described(tree) == described(tmp_path / "to" / tree.name)
    assert left_over(tmp_path) == []


LEAVES = [("bash", "bash"), ("perl", "perl"), ("nc", "busybox")]


@pytest.mark.slow
@pytest.mark.requires_sshd
@pytest.mark.parametrize(("kind", "program"), LEAVES)
@pytest.mark.parametrize("steps", ["one step", "many steps"])
def test_a_host_without_python_takes_from_a_hop_by_what_it_has(
    kind: str,
    program: str,
    steps: str,
    tree: Path,
    tmp_path: Path,
    start_sshd: Callable[..., Sshd],
    request: pytest.FixtureRequest,
) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"there is no {program}")
    if steps == "many steps":
        request.getfixturevalue("small_steps")
    variables = programs(tmp_path / "bin", {"bash", "perl", "nc"}, **{kind: found})
    without, usual = start_sshd(SetEnv=variables), start_sshd()
    hosts = [Host("127.0.0.1", port=usual.port), Host("127.0.0.2", port=without.port)]
    params = {**usual.connection_params, "keyfile": None, "host_keys": "off"}
    keys = [word for server in (usual, without) for word in ("-i", str(server.directory / "id"))]
    params["ssh_options"] = (*params["ssh_options"], *keys)
    action = put(tree, tmp_path / "to {{{host}}}", params, hosts=hosts, create_dirs=True, checksum=True)

    assert outcomes(action) == [FINE] * 2
    assert kinds(action) == ["python3", kind]
    assert [each[0] for each in sources(action)] == ["head", "127.0.0.1"]
    assert described(tree) == described(tmp_path / "to 127.0.0.2" / tree.name)
    assert left_over(tmp_path) == []


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    action = put(tmp_path / "none", tmp_path / "to")

    assert [type(process.error_reason) for process in action.processes] == [FileNotFoundError] * 3


def test_a_place_that_can_not_be_is_told_in_the_words_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    places = [tmp_path / "a", tmp_path / "no" / "b", tmp_path / "c"]  # noqa: F841 - used by the expression
    action = ChainPut(["h1", "h2", "h3"], tmp_path / "file", "{{places}}", STUB_PARAMS, process_args=QUIET).run(
        DEADLINE
    )

    assert [process.exit_code for process in action.processes] == [0, 1, 0]
    assert "regisseur: cannot make a directory for what is under way in" in action.processes[1].stderr
    assert (tmp_path / "a").exists()
    assert (tmp_path / "c").exists()


@pytest.mark.requires_sshd
def test_what_does_not_arrive_as_it_was_is_told(tmp_path: Path, tools: Tools, start_sshd: Callable[..., Sshd]) -> None:
    tools.replace("sha256sum", '"$real" "$@" | sed "s/^./0/"')
    server = start_sshd(SetEnv=tools.variables)
    (tmp_path / "file").write_bytes(b"some content")
    action = put(tmp_path / "file", tmp_path / "to", server.connection_params, hosts=["127.0.0.1"], checksum=True)

    assert action.processes[0].exit_code == 1
    assert "is not what was sent" in action.processes[0].stderr
    assert left_over(tmp_path) == []
    assert not (tmp_path / "to").exists()


@pytest.mark.requires_sshd
@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_nothing_is_left_where_it_is_ended(
    how: str, tmp_path: Path, tools: Tools, start_sshd: Callable[..., Sshd]
) -> None:
    tools.replace("cat", '[ $# -eq 0 ] || exec $real "$@"\nhead -c 3000000\ntouch "$mark"\nexec sleep 1000')
    server = start_sshd(SetEnv=tools.variables)
    (tmp_path / "file").write_bytes(os.urandom(5_000_000))
    action = prepared(
        tmp_path / "file",
        tmp_path / "to-{{{host}}}",
        server.connection_params,
        hosts=["127.0.0.1", "127.0.0.2"],
        head="ssh",
        process_args={"timeout": 1000},
    ).start()
    tools.wait_until_blocked()
    assert len(left_over(tmp_path)) == 2
    if how == "kill":
        action.kill()
    else:
        for process in action.processes:
            run_out_of_time(process)
    action.wait(DEADLINE)

    assert [(process.killed, process.timeouted) for process in action.processes] == [(True, how == "timeout")] * 2
    assert left_over(tmp_path) == []


def test_the_key_of_a_run_is_not_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    action = prepared(tmp_path / "file", tmp_path / "to-{{{host}}}")
    with Journal(tmp_path / "log.jsonl") as journal:
        previous = set_journal(journal)
        try:
            action.run(DEADLINE)
        finally:
            set_journal(previous)
    (key,) = {process.leader._key.hex() for process in action.processes}  # type: ignore[attr-defined]  # of that class
    logged = (tmp_path / "log.jsonl").read_text()

    assert action.ok
    assert "chain.from" in logged
    assert key not in logged
    assert not (tmp_path / "outputs").exists()
