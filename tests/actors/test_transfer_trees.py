"""Any tree goes to a host and comes back as it was."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosts import STUB_PARAMS
from processes import DEADLINE
from regisseur.actors.transfer import Get, Put
from trees import described

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stage")]

names = (
    st.binary(min_size=1, max_size=20)
    .map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"|"))
    .filter(lambda name: name not in (b".", b".."))
)
files = st.tuples(st.binary(max_size=2000), st.sampled_from([0o644, 0o600, 0o755, 0o444]))
links = names
trees = st.recursive(files | links, lambda inside: st.dictionaries(names, inside, max_size=4), max_leaves=12).filter(
    lambda tree: isinstance(tree, dict)
)


def build(tree: Any, path: bytes, time_ns: int) -> None:
    if isinstance(tree, dict):
        os.mkdir(path)
        for name, inside in tree.items():
            build(inside, os.path.join(path, name), time_ns + 1_000_000_007)
    elif isinstance(tree, tuple):
        content, mode = tree
        Path(os.fsdecode(path)).write_bytes(content)
        os.chmod(path, mode)
    else:
        os.symlink(tree, path)
    os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


@given(tree=trees)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_tree_goes_to_a_host_and_comes_back_as_it_was(tree: object) -> None:
    with tempfile.TemporaryDirectory() as root:
        build(tree, os.path.join(os.fsencode(root), b"tree"), 10**18 + 123)

        put = Put("h1", f"{root}/tree", f"{root}/there", STUB_PARAMS, checksum=True).run(DEADLINE)
        get = Get("h1", f"{root}/there", f"{root}/back", STUB_PARAMS, checksum=True).run(DEADLINE)

        assert (put.processes[0].stderr, get.processes[0].stderr) == ("", "")
        assert (put.finished_ok, get.finished_ok) == (True, True)
        wanted = described(Path(root, "tree"))
        assert wanted == described(Path(root, "there"))
        assert wanted == described(Path(root, "back"))
