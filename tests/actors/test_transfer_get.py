"""Get: files from hosts. Over the stub, which is quick; what needs a real connection, over a real ssh and server."""

from __future__ import annotations

import errno
import io
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET, Ears
from regisseur.actors import _transfer_received
from regisseur.actors.transfer import Get, Put, TransferError
from sshd import WAYS, Sshd, params_of
from trees import FINE, Tools, described, left_over, outcomes, wait_until

pytestmark = pytest.mark.usefixtures("stage")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where things come."""
    place = tmp_path / "here"
    place.mkdir()
    return place


def prepared(remote_files: Any, location: Any, params: dict[str, Any] = STUB_PARAMS, **kwargs: Any) -> Get:
    hosts = kwargs.pop("hosts", ["h1"])
    return Get(
        hosts, remote_files, location, params, process_args={**QUIET, **kwargs.pop("process_args", {})}, **kwargs
    )


def get(*args: Any, **kwargs: Any) -> Get:
    made = prepared(*args, **kwargs)
    assert made.run(DEADLINE).ended
    return made


ways = pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))


# -- what arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requires_sshd
@pytest.mark.parametrize("way", ["stub", "own connection", "shared connection", "native"])
def test_a_tree_arrives_as_it_was(way: str, sshd: Sshd, tree: Path, here: Path) -> None:
    params = {
        "stub": STUB_PARAMS,
        "own connection": {**sshd.connection_params, "multiplex": False},
        "shared connection": sshd.connection_params,
        "native": {**sshd.connection_params, "connector": "native"},
    }[way]

    hosts = ["127.0.0.1", "127.0.0.2"]
    action = get(tree, here / "from {{{host}}}", params, hosts=hosts, create_dirs=True, checksum=True)

    assert outcomes(action) == [FINE, FINE]
    for host in hosts:
        assert described(tree) == described(here / f"from {host}" / tree.name)
    assert left_over(here) == []
    assert action.progress.done == action.progress.total == 2 * (70_000 + 250_000 + 400_001 + 12 + 9)
    assert action.name == "Get from 2 hosts"


def test_a_file_takes_the_name_of_what_is_no_directory(tmp_path: Path, here: Path) -> None:
    (tmp_path / "f").write_text("new")
    (here / "h1").write_text("old")

    assert outcomes(get(tmp_path / "f", here / "{{{host}}}", hosts=["h1", "h2"])) == [FINE, FINE]
    assert ((here / "h1").read_text(), (here / "h2").read_text()) == ("new", "new")


def test_files_and_patterns_go_into_a_directory(tmp_path: Path, here: Path) -> None:
    for name in ("1.log", "2 2.log", "3.txt", "-4", "w*"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "5").write_text("5")

    names = [tmp_path / "*.log", tmp_path / "-4", tmp_path / "d", tmp_path / "w*"]
    assert outcomes(get(names, here, checksum=True)) == [FINE]
    assert {str(path.relative_to(here)) for path in here.rglob("*")} == {"1.log", "2 2.log", "-4", "d", "d/5", "w*"}


def test_several_files_for_one_name_are_refused(tmp_path: Path, here: Path) -> None:
    for name in ("1.log", "2.log"):
        (tmp_path / name).write_text(name)

    ((_, error, _),) = outcomes(get(tmp_path / "*.log", here / "one", hosts=["h1"]))
    assert "1.log, 2.log can not all go there, not a directory" in str(error)
    assert list(here.iterdir()) == []


@pytest.mark.requires_root
@pytest.mark.requires_sshd
@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_here_is_told_as_such(way: str, sshd: Sshd, tmp_path: Path, full_disk: Path) -> None:
    (tmp_path / "f").write_bytes(os.urandom(5_000_000))

    action = get(tmp_path / "f", full_disk, {**sshd.connection_params, **params_of(way)}, hosts=[sshd.address])

    ((_, error, _),) = outcomes(action)
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.ENOSPC, str(full_disk))
    assert list(full_disk.iterdir()) == []


def test_a_directory_is_merged_into_one_that_is_there(tree: Path, here: Path) -> None:
    (here / tree.name / "sub").mkdir(parents=True)
    (here / tree.name / "plain").write_text("old")
    (here / tree.name / "sub" / "own").write_text("stays")

    assert outcomes(get(tree, here)) == [FINE]
    assert (here / tree.name / "plain").read_text() == "1\n"
    assert (here / tree.name / "sub" / "own").read_text() == "stays"


def test_paths_are_relative_to_the_home_directory_of_there_and_the_directory_of_here(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "f").write_text("1")
    monkeypatch.chdir(here)

    assert outcomes(get("~/f", ".", process_args={"env": {**os.environ, "HOME": str(home)}})) == [FINE]
    assert (here / "f").read_text() == "1"


def test_links_that_are_named_are_followed_and_others_stay(tmp_path: Path, here: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("content")
    (tmp_path / "d" / "inner").symlink_to("f")
    os.link(tmp_path / "d" / "f", tmp_path / "d" / "twin")
    (tmp_path / "to file").symlink_to("d/f")

    assert outcomes(get([tmp_path / "to file", tmp_path / "d"], here)) == [FINE]
    assert not (here / "to file").is_symlink()
    assert (here / "to file").read_text() == (here / "d" / "twin").read_text() == "content"
    assert os.readlink(here / "d" / "inner") == "f"


def test_hosts_that_write_the_same_are_told_of_once(tmp_path: Path, here: Path) -> None:
    (tmp_path / "f").write_text("1")

    with Ears() as ears:
        action = get(tmp_path / "f", here, hosts=["h1", "h2", "h3"])

    assert action.ok
    (warning,) = ears.all()
    assert f"both write {here}/f" in warning
    assert "{{{host}}}" in warning


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_there_is_told_and_other_hosts_go_on(tmp_path: Path, here: Path) -> None:
    (tmp_path / "on h1").write_text("1")

    action = get(tmp_path / "on {{{host}}}", here, hosts=["h1", "h2"])

    assert outcomes(action) == [FINE, (1, None, f"regisseur: there is no {tmp_path}/on h2\n")]
    assert [path.name for path in here.iterdir()] == ["on h1"]


@pytest.mark.parametrize("checksum", [False, True])
def test_of_several_what_is_there_comes_and_each_that_is_missing_is_told(
    checksum: bool, tmp_path: Path, tree: Path, here: Path
) -> None:
    for name in ("1.log", "2.log"):
        (tmp_path / name).write_text(name)
    (tmp_path / "on h2").write_text("1")
    names = [tmp_path / "none", tmp_path / "*.log", tmp_path / "on {{{host}}}", tmp_path / "*.none", tree]

    action = get(names, here / "{{{host}}}", hosts=["h1", "h2"], create_dirs=True, checksum=checksum)

    none, h1, pattern = [f"regisseur: there is no {tmp_path}/{name}\n" for name in ("none", "on h1", "*.none")]
    assert outcomes(action) == [(1, None, none + h1 + pattern), (1, None, none + pattern)]
    assert [process.ok for process in action.processes] == [False, False]
    assert {path.name for path in (here / "h1").iterdir()} == {"1.log", "2.log", tree.name}
    assert {path.name for path in (here / "h2").iterdir()} == {"1.log", "2.log", "on h2", tree.name}
    assert described(tree) == described(here / "h1" / tree.name)
    assert left_over(here) == []


def test_of_several_that_are_all_missing_each_is_told_and_nothing_comes(tmp_path: Path, here: Path) -> None:
    action = get([tmp_path / "a", tmp_path / "b*"], here)

    expected = f"regisseur: there is no {tmp_path}/a\nregisseur: there is no {tmp_path}/b*\n"
    assert outcomes(action) == [(1, None, expected)]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("names", "location"), [(["f"], "missing/"), (["f"], "missing/name"), (["f", "g"], "missing")])
def test_a_place_that_is_none_is_an_error_before_anything_is_fetched(
    names: list[str], location: str, tmp_path: Path, here: Path
) -> None:
    action = get([tmp_path / name for name in names], f"{here}/{location}")

    (process,) = action.processes
    assert (process.error, process.exit_code) == (True, None)
    assert isinstance(process.error_reason, FileNotFoundError)
    assert f"{here}/missing" in str(process.error_reason)


def test_a_file_in_the_way_of_a_directory_is_an_error(tree: Path, here: Path) -> None:
    (here / tree.name).write_text("stays")

    action = get(tree, here)

    assert isinstance(action.processes[0].error_reason, NotADirectoryError)
    assert f"{here}/{tree.name}" in str(action.processes[0].error_reason)
    assert (here / tree.name).read_text() == "stays"
    assert left_over(here) == []


def test_what_is_no_file_is_left_out_and_told(tmp_path: Path, here: Path) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "pipe")
    (tmp_path / "d" / "f").write_text("1")

    action = get(tmp_path / "d", here)

    expected = "regisseur: d/pipe: neither file, directory nor link, so it was left out\n"
    assert outcomes(action) == [(1, None, expected)]
    assert [path.name for path in (here / "d").iterdir()] == ["f"]


def test_another_content_is_found_by_its_checksum_and_does_not_get_to_its_place(
    tmp_path: Path, here: Path, tools: Tools
) -> None:
    (tmp_path / "f").write_text("content")
    tools.replace("tar", 'case $1 in --version) exec $real "$@";; esac\n$real "$@" | sed s/content/CONTENT/')

    action = get(tmp_path / "f", here, checksum=True, process_args={"env": {**os.environ, "PATH": tools.path}})

    error = action.processes[0].error_reason
    assert isinstance(error, TransferError)
    assert "h1: 1 files have another checksum here than there, the first: f." in str(error)
    assert list(here.iterdir()) == []


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"evil") -> tuple[Any, bytes]:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    if kind == tarfile.REGTYPE:
        made.size = len(content)
    return made, content


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("d/../../evil")],
        [member("/tmp/regisseur-evil")],
        [member("link", tarfile.SYMTYPE, ".."), member("link/evil")],
        [member("d/link", tarfile.SYMTYPE, "../.."), member("d/link", tarfile.DIRTYPE), member("d/link/evil")],
        [member("hard", tarfile.LNKTYPE, "../outside")],
        [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("there/evil")],
    ],
)
def test_a_host_writes_nothing_outside_of_the_place(
    members: list[tuple[Any, bytes]], tmp_path: Path, here: Path, tools: Tools
) -> None:
    (tmp_path / "outside").write_text("mine")
    (here / "there").symlink_to("..")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    tools.replace("tar", f'case $1 in --version) exec $real "$@";; esac\ncat "{tmp_path}/evil.tar"')
    before = {path for path in tmp_path.rglob("*") if here not in path.parents}

    get(tmp_path / "outside", here, process_args={"env": {**os.environ, "PATH": tools.path}})

    after = {path for path in tmp_path.rglob("*") if here not in path.parents}
    assert after - before <= {tools.calls}
    assert not Path("/tmp/regisseur-evil").exists()
    assert (tmp_path / "outside").read_text() == "mine"
    assert left_over(here) == []


def test_what_is_killed_before_it_has_begun_ends_by_the_signal_as_any_command_does(tmp_path: Path, here: Path) -> None:
    (tmp_path / "f").write_text("1")

    for action in (prepared(tmp_path / "f", here), Put(["h1"], tmp_path / "f", here, STUB_PARAMS)):
        (process,) = action.start().kill().wait(DEADLINE).processes
        assert (process.killed, process.exit_code, process.ok) == (True, -signal.SIGTERM, True)


# -- what is broken off ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requires_sshd
@ways
def test_what_is_killed_leaves_nothing(
    way: dict[str, Any], tree: Path, here: Path, tools: Tools, start_sshd: Callable[..., Sshd]
) -> None:
    server = start_sshd(SetEnv=tools.variables)
    tools.block("tar", unless="--version", before='$real "$@" | head -c 300000')
    action = prepared(tree, here, {**server.connection_params, **way}, hosts=["127.0.0.1"]).start()
    tools.wait_until_blocked()
    total = 70_000 + 250_000 + 400_001 + 12 + 9
    wait_until(lambda: action.progress.total == total)
    assert 0 <= action.progress.done < total

    assert action.kill().wait(DEADLINE).ended

    (process,) = action.processes
    assert (process.killed, process.error_reason, process.ok) == (True, None, True)
    assert list(here.iterdir()) == []


@pytest.mark.slow
@pytest.mark.requires_sshd
@ways
@pytest.mark.parametrize("changed", [False, True], ids=["the same", "changed"])
def test_a_transfer_whose_connection_breaks_goes_on_where_it_was(
    changed: bool,
    way: dict[str, Any],
    tree: Path,
    here: Path,
    tools: Tools,
    start_sshd: Callable[..., Sshd],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_transfer_received, "_OVERLAP", 1000)
    server = start_sshd(SetEnv=tools.variables)
    tools.block("tar", unless="--version", before='$real "$@" | head -c 300000')
    tools.replace("tail", 'exec $real "$@"')
    params = {**server.connection_params, **way}
    action = prepared(tree, here, params, hosts=["127.0.0.1"], checksum=True, retries=3).start()
    tools.wait_until_blocked()
    wait_until(lambda: action.progress.done > 200_000)
    if changed:
        (tree / "sub" / "larger").write_bytes(os.urandom(600_000))
        (tree / "large").write_bytes(os.urandom(600_000))
        (tree / "binary").write_bytes(os.urandom(600_000))

    server.break_connections()

    assert action.wait(DEADLINE).ended
    assert [(process.exit_code, process.error_reason) for process in action.processes] == [(0, None)]
    assert described(tree) == described(here / tree.name)
    assert left_over(here) == []
    tails = [line.split() for line in tools.calls.read_text().splitlines() if line.startswith("tail")]
    assert len(tails) == 1
    assert 100_000 < int(tails[0][2].removeprefix("+")) <= 300_000
    calls = tools.calls.read_text().count("tar -cf")
    assert calls == (3 if changed else 2)


@pytest.mark.slow
@pytest.mark.requires_sshd
@ways
@pytest.mark.parametrize("changed", [False, True], ids=["the same", "changed"])
def test_what_is_missing_is_told_once_however_often_the_connection_breaks(
    changed: bool,
    way: dict[str, Any],
    tree: Path,
    here: Path,
    tools: Tools,
    start_sshd: Callable[..., Sshd],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_transfer_received, "_OVERLAP", 1000)
    server = start_sshd(SetEnv=tools.variables)
    tools.block("tar", unless="--version", before='$real "$@" | head -c 300000')
    # So that it can be broken again, behind the last byte of all.
    tools.replace("tail", '$real "$@"; mkdir "$mark.tail" 2>/dev/null && { touch "$mark"; sleep 1000; }; :')
    params = {**server.connection_params, **way}
    names = [here / "missing", tree]
    action = prepared(names, here, params, hosts=["127.0.0.1"], checksum=True, retries=3).start()
    tools.wait_until_blocked()
    wait_until(lambda: action.progress.done > 200_000)
    if changed:
        (tree / "large").write_bytes(os.urandom(600_000))
        (tree / "binary").write_bytes(os.urandom(600_000))
    (tools.directory / "mark").unlink()
    server.break_connections()
    tools.wait_until_blocked()
    server.break_connections()

    assert action.wait(DEADLINE).ended

    (process,) = action.processes
    assert (process.exit_code, process.error_reason, process.ok) == (1, None, False)
    assert process.stderr.count(f"regisseur: there is no {here}/missing\n") == 1
    assert described(tree) == described(here / tree.name)
    assert left_over(here) == []


@pytest.mark.slow
@pytest.mark.requires_sshd
def test_scp_too_fetches_what_is_there_and_tells_what_is_missing(sshd: Sshd, tmp_path: Path, here: Path) -> None:
    (tmp_path / "f").write_text("1")
    names = [tmp_path / "none", tmp_path / "f", tmp_path / "*.none"]

    action = get(names, here, sshd.connection_params, hosts=["127.0.0.1"], transfer="scp")

    (process,) = action.processes
    assert (process.exit_code, process.error_reason, process.ok) == (1, None, False)
    assert f"{tmp_path}/none" in process.stderr
    assert f"{tmp_path}/*.none" in process.stderr
    assert [path.name for path in here.iterdir()] == ["f"]


@pytest.mark.slow
@pytest.mark.requires_sshd
def test_scp_does_it_where_that_is_wanted(sshd: Sshd, tmp_path: Path, here: Path) -> None:
    (tmp_path / "f 1").write_text("1")

    action = get(tmp_path / "f 1", here, sshd.connection_params, hosts=["127.0.0.1"], transfer="scp")

    assert outcomes(action) == [FINE]
    assert (here / "f 1").read_text() == "1"
