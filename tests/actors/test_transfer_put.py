"""Put: files to hosts. Over the stub, which is quick; what needs a real connection, over a real ssh and server."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET
from regisseur.actors import _transfer_source
from regisseur.actors.transfer import Put
from sshd import Sshd

pytestmark = pytest.mark.usefixtures("stage")


@pytest.fixture(params=["stub", "own connection", "shared connection", "native"])
def params(request: pytest.FixtureRequest, sshd: Sshd) -> dict[str, Any]:
    """Connection parameters, for each way to a host."""
    if request.param == "stub":
        return STUB_PARAMS
    if request.param == "native":
        return {**sshd.connection_params, "connector": "native"}
    return {**sshd.connection_params, "multiplex": False if request.param == "own connection" else None}


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large is a little smaller."""
    monkeypatch.setattr(_transfer_source, "_LARGE", 100_000)
    monkeypatch.setattr(_transfer_source, "_PACK", 50_000)


def put(local_files: Any, location: Any, params: dict[str, Any] = STUB_PARAMS, **kwargs: Any) -> Put:
    hosts = kwargs.pop("hosts", ["127.0.0.1", "127.0.0.2"])
    made = Put(hosts, local_files, location, params, process_args={**QUIET, **kwargs.pop("process_args", {})}, **kwargs)
    assert made.run(DEADLINE).ended
    return made


def make_tree(root: Path) -> Path:
    """A directory with all that may be in one."""
    tree = root / "a tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "locked").mkdir()
    contents = {
        "plain": b"1\n",
        "with\nnewline": b"2\n",
        "-dash": b"3\n",
        'it\'s "quoted" $HOME `x` \\n !': b"4\n",
        "sub/" + "long" * 50: b"5\n",
        "sub/.hidden": b"",
        "locked/kept": b"6\n",
        "binary": os.urandom(70_000),
        "large": os.urandom(250_000),
        "sub/larger": os.urandom(400_001),
    }
    for number, (name, content) in enumerate(contents.items()):
        path = tree / name
        path.write_bytes(content)
        path.chmod([0o644, 0o600, 0o755, 0o440][number % 4])
        os.utime(path, ns=(10**18, 10**18 + number * 1_234_567_891))
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe")).write_bytes(b"not UTF-8")
    (tree / "link").symlink_to("sub/.hidden")
    (tree / "dangling").symlink_to("/nowhere/" + "far/" * 40)
    os.utime(tree / "sub", ns=(10**18, 5 * 10**17 + 1))
    (tree / "locked").chmod(0o555)
    return tree


def described(tree: Path) -> dict[bytes, tuple[Any, ...]]:
    """All that a transfer keeps."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for directory, names, files in os.walk(os.fsencode(tree)):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            content: Any = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(tree))] = (info.st_mode, info.st_mtime_ns, content)
    return found


def left_over(root: Path) -> list[str]:
    return [str(path) for path in root.rglob(".regisseur-*")]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with all that may be in one."""
    made = make_tree(tmp_path)
    yield made
    for path in tmp_path.rglob("locked"):
        path.chmod(0o755)


@pytest.mark.slow
@pytest.mark.requires_sshd
@pytest.mark.parametrize("steps", ["one step", "many steps"])
def test_a_tree_arrives_as_it_was(
    steps: str, params: dict[str, Any], tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if steps == "many steps":
        request.getfixturevalue("small_steps")

    action = put(tree, tmp_path / "to {{{host}}}", params, create_dirs=True, checksum=True)

    assert [(process.exit_code, process.error_reason, process.stderr) for process in action.processes] == [
        (0, None, "")
    ] * 2
    for host in action.hosts:
        assert described(tree) == described(tmp_path / f"to {host.address}" / tree.name)
    assert left_over(tmp_path) == []
    assert action.progress.done == action.progress.total == 2 * (70_000 + 250_000 + 400_001 + 12 + 9)
