"""Put: files to hosts. Over the stub, which is quick; what needs a real connection, over a real ssh and server."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET
from regisseur.actors import _transfer_source
from regisseur.actors.connection_errors import ConnectionLostError
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host import Host
from regisseur.actors.transfer import Put
from sshd import WAYS, Sshd
from trees import FINE, UNTIL_LET_GO, Tools, described, left_over, outcomes

pytestmark = pytest.mark.usefixtures("stage")


def prepared(local_files: Any, location: Any, params: dict[str, Any] = STUB_PARAMS, **kwargs: Any) -> Put:
    hosts = kwargs.pop("hosts", ["h1", "h2"])
    return Put(hosts, local_files, location, params, process_args={**QUIET, **kwargs.pop("process_args", {})}, **kwargs)


def put(*args: Any, **kwargs: Any) -> Put:
    made = prepared(*args, **kwargs)
    assert made.run(DEADLINE).ended
    return made


ways = pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))


# -- what arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requires_sshd
@pytest.mark.parametrize("way", ["stub", "own connection", "shared connection", "native"])
@pytest.mark.parametrize("steps", ["one step", "many steps"])
def test_a_tree_arrives_as_it_was(
    way: str, steps: str, sshd: Sshd, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if steps == "many steps":
        request.getfixturevalue("small_steps")
    params = {
        "stub": STUB_PARAMS,
        "own connection": {**sshd.connection_params, "multiplex": False},
        "shared connection": sshd.connection_params,
        "native": {**sshd.connection_params, "connector": "native"},
    }[way]

    hosts = ["127.0.0.1", "127.0.0.2"]
    action = put(tree, tmp_path / "to {{{host}}}", params, hosts=hosts, create_dirs=True, checksum=True)

    assert outcomes(action) == [FINE, FINE]
    for host in hosts:
        assert described(tree) == described(tmp_path / f"to {host}" / tree.name)
    assert left_over(tmp_path) == []
    assert action.progress.done == action.progress.total == 2 * (70_000 + 250_000 + 400_001 + 12 + 9)


def test_a_file_takes_the_name_of_what_is_no_directory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("new")
    (tmp_path / "there-h1").write_text("old")

    assert outcomes(put(source, tmp_path / "there-{{{host}}}")) == [FINE, FINE]
    assert [(tmp_path / f"there-{host}").read_text() for host in ("h1", "h2")] == ["new", "new"]


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


def test_a_directory_takes_the_name_of_what_is_not_there_and_else_is_merged(tree: Path, tmp_path: Path) -> None:
    first = put(tree, tmp_path / "copy", hosts=["h1"])
    (tmp_path / "copy" / "sub" / "own").write_text("stays")
    (tree / "sub" / "more").write_text("more")

    second = put([tree / "sub"], tmp_path / "copy", hosts=["h1"])

    assert outcomes(first) + outcomes(second) == [FINE, FINE]
    assert (tmp_path / "copy" / "sub" / "own").read_text() == "stays"
    assert (tmp_path / "copy" / "sub" / "more").read_text() == "more"
    assert (tmp_path / "copy" / "sub" / "empty").is_dir()


def test_each_host_gets_what_is_meant_for_it(tmp_path: Path) -> None:
    for host in ("h1", "h2"):
        (tmp_path / f"for {host}").write_text(host)

    action = put(tmp_path / "for {{{host}}}", f"{tmp_path}/{{{{['x', 'y']}}}}")

    assert outcomes(action) == [FINE, FINE]
    assert ((tmp_path / "x").read_text(), (tmp_path / "y").read_text()) == ("h1", "h2")
    (tmp_path / "for h1").write_text("changed")
    assert action.reset().run(DEADLINE).ok
    assert (tmp_path / "x").read_text() == "changed"


def test_files_are_packed_once_for_all_hosts_however_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[Any] = []
    write = _transfer_source.TransferSource._write

    def watched(source: Any, pack: Any) -> Any:
        packed.append(pack)
        return write(source, pack)

    monkeypatch.setattr(_transfer_source.TransferSource, "_write", watched)
    (tmp_path / "f").write_text("1")

    action = put(tmp_path / "f", tmp_path / "{{{host}}}", hosts=["h1", "h2", "h3"], fanout=1)

    assert outcomes(action) == [FINE] * 3
    assert len(packed) == 1


def test_a_path_may_lead_from_the_home_directory(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "f").write_text("1")
    env = {**os.environ, "HOME": str(tmp_path / "home")}

    action = put(tmp_path / "f", "~/in home", hosts=["h1"], process_args={"env": env})

    assert outcomes(action) == [FINE]
    assert (tmp_path / "home" / "in home").read_text() == "1"


def test_a_link_that_is_named_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "to").mkdir()

    assert put(tmp_path / "link", tmp_path / "to", hosts=["h1"]).ok
    assert not (tmp_path / "to" / "link").is_symlink()
    assert (tmp_path / "to" / "link").read_text() == "content"


def test_with_no_files_or_no_hosts_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert put([], tmp_path).ok
    assert put([tmp_path / "f"], tmp_path, hosts=[]).finished_ok


# -- what it is to the script ------------------------------------------------------------------------------------------


def test_there_is_a_process_for_each_host_which_looks_like_others(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    told: list[Any] = []

    class Handler:
        def start(self, process: Any) -> None:
            told.append(("start", process.host.address))

        def end(self, process: Any) -> None:
            told.append(("end", process.host.address, process.ok))

    action = put(
        tmp_path / "f", tmp_path, hosts=[Host("h1", user="u")], process_args={"lifecycle_handlers": [Handler()]}
    )

    (process,) = action.processes
    assert (action.name, process.host) == ("Put to 1 hosts", Host("h1", user="u"))
    assert (process.finished_ok, process.pid is not None, process.timeouted, process.killed) == (
        True,
        True,
        False,
        False,
    )
    assert told == [("start", "h1"), ("end", "h1", True)]
    assert str(tmp_path) in str(process)
    assert repr(action).startswith(f"Put([Host('h1', user='u')], ['{tmp_path}/f'], '{tmp_path}'")
    assert action.stats()["num_ok"] == 1
    with pytest.raises(ConfigurationError, match="transfer"):
        Put("h1", "f", transfer="ftp")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("1")

    action = put([tmp_path / "there", tmp_path / "missing"], tmp_path / "to", create_dirs=True)

    for process in action.processes:
        assert (process.ok, process.error, process.exit_code) == (False, True, None)
        assert str(tmp_path / "missing") in str(process.error_reason)
    assert not (tmp_path / "to").exists()


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    action = put(tmp_path / "pipe", tmp_path / "to", hosts=["h1"])

    assert "neither a file nor a directory" in str(action.processes[0].error_reason)


def test_a_file_that_goes_away_meanwhile_is_an_error_and_leaves_nothing(
    tree: Path, tmp_path: Path, tools: Tools, small_steps: None
) -> None:
    tools.replace("tar", f'rm -f "{tree}/large"; exec $real "$@"')

    action = put(tree, tmp_path / "to", hosts=["h1"], process_args={"env": {**os.environ, "PATH": tools.path}})

    assert isinstance(action.processes[0].error_reason, FileNotFoundError)
    assert f"{tree}/large" in str(action.processes[0].error_reason)
    assert not (tmp_path / "to").exists()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("no/where", "cannot make a directory for what is under way in {}/no"),
        ("nowhere/", "there is no directory {}/nowhere (create_dirs=True makes it)"),
        ("file/", "{}/file is no directory"),
    ],
)
def test_a_place_that_is_none_is_told_by_host_and_path(location: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("stays")
    (tmp_path / "f").write_text("1")

    action = put(tmp_path / "f", f"{tmp_path}/{location}", hosts=["h1"])

    assert (action.ok, action.processes[0].exit_code) == (False, 1)
    assert f"regisseur: {said.format(tmp_path)}\n" in action.processes[0].stderr
    assert (tmp_path / "file").read_text() == "stays"
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("source", ["d", "f"])
def test_a_directory_and_a_file_do_not_take_each_others_place(source: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("1")
    (tmp_path / "to").mkdir()
    if source == "d":
        (tmp_path / "to" / "d").write_text("stays")
    else:
        (tmp_path / "to" / "f").mkdir()
    before = described(tmp_path / "to")

    action = put(tmp_path / source, tmp_path / "to", hosts=["h1"])

    assert not action.ok
    assert f"cannot move what has come to its place in {tmp_path}/to" in action.processes[0].stderr
    assert described(tmp_path / "to").keys() == before.keys()
    assert left_over(tmp_path) == []


def test_another_content_is_found_by_its_checksum_and_does_not_get_to_its_place(tmp_path: Path, tools: Tools) -> None:
    (tmp_path / "f").write_text("content")
    (tmp_path / "g").write_text("1")
    tools.replace("tar", '$real "$@"; printf C | dd of=n/f conv=notrunc 2>/dev/null')
    env = {**os.environ, "PATH": tools.path}

    action = put(
        [tmp_path / "f", tmp_path / "g"], tmp_path / "to", checksum=True, create_dirs=True, process_args={"env": env}
    )

    for process in action.processes:
        assert process.exit_code == 1
        assert " n/f\n" in process.stderr
        assert " n/g\n" not in process.stderr
        assert "is not what was sent" in process.stderr
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize("missing", [["sha256sum"], ["sha256sum", "shasum"], ["sha256sum", "shasum", "openssl"]])
def test_a_host_may_have_any_program_for_checksums(missing: list[str], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for directory in ("/bin", "/usr/bin"):
        for program in Path(directory).iterdir():
            if program.name not in missing and not (tools / program.name).is_symlink():
                (tools / program.name).symlink_to(program)
    (tmp_path / "f").write_bytes(os.urandom(1000))

    env = {**os.environ, "PATH": str(tools)}
    action = put(tmp_path / "f", tmp_path / "to", hosts=["h1"], checksum=True, process_args={"env": env})

    assert outcomes(action) == [FINE]


@pytest.mark.requires_root
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mkfifo(tmp_path / "fifo")

    for name in ("null", "fifo"):
        action = put(tmp_path / "f", tmp_path / name, hosts=["h1"])
        told = f"regisseur: {tmp_path}/{name} is neither a file nor a directory, and stays as it is\n"
        assert outcomes(action) == [(1, None, told)]
        assert not (tmp_path / name).is_file()


def test_an_empty_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path of a file cannot be empty"):
        put([tmp_path, ""], tmp_path)


@pytest.mark.requires_root
def test_a_full_disk_is_told_and_the_other_hosts_go_on(
    tree: Path, tmp_path: Path, full_disk: Path, small_steps: None
) -> None:
    action = put(tree, f"{{{{['{full_disk}', '{tmp_path}']}}}}/copy")

    assert [process.ok for process in action.processes] == [False, True]
    assert "No space left on device" in action.processes[0].stderr
    assert str(full_disk) in action.processes[0].stderr
    assert list(full_disk.iterdir()) == []
    assert described(tree) == described(tmp_path / "copy")


# -- what is broken off ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requires_sshd
@ways
@pytest.mark.parametrize("tool", ["tar", "dd"])
def test_what_is_killed_leaves_nothing(
    tool: str,
    way: dict[str, Any],
    tree: Path,
    tmp_path: Path,
    tools: Tools,
    start_sshd: Callable[..., Sshd],
    small_steps: None,
) -> None:
    server = start_sshd(SetEnv=tools.variables)
    tools.block(tool)
    params = {**server.connection_params, **way}
    action = prepared(tree, tmp_path / "to", params, hosts=["127.0.0.1"]).start()
    tools.wait_until_blocked()

    assert action.kill().kill().wait(DEADLINE).ended

    (process,) = action.processes
    assert (process.killed, process.error_reason, process.ok) == (True, None, True)
    assert left_over(tmp_path) == []
    assert not (tmp_path / "to").exists()


@pytest.mark.slow
@pytest.mark.requires_sshd
@ways
@pytest.mark.parametrize("then", ["sleep 1000", UNTIL_LET_GO], ids=["hangs", "ends"])  # as far as it goes by itself
@pytest.mark.parametrize("tool", ["tar", "dd", "mv"])
def test_a_transfer_whose_connection_breaks_goes_on_where_it_was(
    tool: str,
    then: str,
    way: dict[str, Any],
    tree: Path,
    tmp_path: Path,
    tools: Tools,
    start_sshd: Callable[..., Sshd],
    small_steps: None,
) -> None:
    server = start_sshd(SetEnv=tools.variables)
    tools.block(tool, then=then, before='case $real in */dd) head -c 200000 | $real "$@";; esac')
    params = {**server.connection_params, **way}
    action = prepared(tree, tmp_path / "to", params, hosts=["127.0.0.1"], checksum=True).start()
    tools.wait_until_blocked()

    server.break_connections()
    tools.let_go()

    assert action.wait(DEADLINE).ended
    assert [(process.exit_code, process.error_reason) for process in action.processes] == [(0, None)]
    assert described(tree) == described(tmp_path / "to")
    assert left_over(tmp_path) == []
    if tool == "dd":
        seeks = [word for word in tools.calls.read_text().split() if word.startswith("seek=")]
        assert seeks == ["seek=0", "seek=3", "seek=0"]


@pytest.mark.slow
@pytest.mark.requires_sshd
@ways
def test_what_an_earlier_try_still_does_is_of_no_harm(
    way: dict[str, Any], tree: Path, tmp_path: Path, tools: Tools, start_sshd: Callable[..., Sshd]
) -> None:
    server = start_sshd(SetEnv=tools.variables)
    # The first try fails and cleans up while the second is at work, which waits until its shell is gone.
    tools.replace(
        "tar",
        'if mkdir "$mark.first" 2>/dev/null; then\n'
        '    trap "" TERM; echo $PPID >"$mark.shell"; touch "$mark"; until [ -e "$mark.second" ]; do sleep .05; done\n'
        "    exit 2\n"
        "fi\n"
        'touch "$mark.second"; $real "$@"; s=$?\n'
        'while kill -0 $(cat "$mark.shell") 2>/dev/null; do sleep .05; done\n'
        "exit $s",
    )
    params = {**server.connection_params, **way}
    action = prepared(tree, tmp_path / "to", params, hosts=["127.0.0.1"]).start()
    tools.wait_until_blocked()

    server.break_connections()

    assert action.wait(DEADLINE).ended
    assert [(process.exit_code, process.error_reason) for process in action.processes] == [(0, None)]
    assert described(tree) == described(tmp_path / "to")


@pytest.mark.slow
@pytest.mark.requires_sshd
def test_without_retries_a_break_is_an_error(
    tree: Path, tmp_path: Path, tools: Tools, start_sshd: Callable[..., Sshd]
) -> None:
    server = start_sshd(SetEnv=tools.variables)
    tools.block("tar")
    action = prepared(tree, tmp_path / "to", server.connection_params, hosts=["127.0.0.1"], retries=0).start()
    tools.wait_until_blocked()

    server.break_connections()

    assert action.wait(DEADLINE).ended
    assert isinstance(action.processes[0].error_reason, ConnectionLostError)


# -- scp ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requires_sshd
@pytest.mark.parametrize("transfer", [None, "scp", "tar"])
def test_a_host_without_tar_is_served_by_scp(
    transfer: str | None, tmp_path: Path, tools: Tools, start_sshd: Callable[..., Sshd]
) -> None:
    programs = [
        "sh",
        "mkdir",
        "chmod",
        "rm",
        "find",
        "stat",
        "sort",
        "cat",
        "mv",
        "ls",
        "awk",
        "head",
        "tr",
        "sed",
        "dd",
    ]
    for name in programs:
        (tools.directory / name).symlink_to(next(p for p in (f"/bin/{name}", f"/usr/bin/{name}") if os.path.exists(p)))
    server = start_sshd(SetEnv=f"HOME={tmp_path} PATH={tools.directory}")
    (tmp_path / "f 1").write_text("1")

    action = put(tmp_path / "f 1", tmp_path / "to", server.connection_params, hosts=["127.0.0.1"], transfer=transfer)

    if transfer == "tar":
        assert (action.ok, action.processes[0].exit_code) == (False, 66)
        assert action.processes[0].stderr == "regisseur: there is no tar on 127.0.0.1\n"
    else:
        assert outcomes(action) == [FINE]
        assert (tmp_path / "to").read_text() == "1"
