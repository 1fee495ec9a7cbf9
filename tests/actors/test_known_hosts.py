"""The file of host keys of a run."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from processes import run_script
from regisseur.actors.connection_params import ConnectionParams
from regisseur.actors.host import Host
from regisseur.actors.journal import Journal, set_journal
from regisseur.actors.known_hosts import forget_host_keys, known_hosts_file

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Zr0rYbkqP6hO4nYb6oVqkq1cK2xJxv1nN3z0dXx1u"


def test_outside_of_a_run_the_file_is_in_a_private_directory_of_the_program() -> None:
    file = known_hosts_file()

    assert file == known_hosts_file()
    assert stat.S_IMODE(Path(file).parent.stat().st_mode) == 0o700


def test_in_a_run_the_file_is_in_its_directory(tmp_path: Path) -> None:
    with Journal(tmp_path / "log.jsonl") as journal:
        previous = set_journal(journal)
        try:
            assert known_hosts_file() == str(tmp_path / "known_hosts")
        finally:
            set_journal(previous)


def test_the_private_directory_is_removed_at_the_end_but_not_by_a_fork() -> None:
    said = run_script("""
import os, warnings
from regisseur.actors.known_hosts import known_hosts_file
warnings.simplefilter("ignore")
file = known_hosts_file()
open(file, "w").close()
child = os.fork()
if not child:
    other = known_hosts_file()
    assert other != file
    print(other, flush=True)
    raise SystemExit
assert os.waitpid(child, 0)[1] == 0
assert os.path.exists(file)
print(file)
""")

    assert [os.path.exists(os.path.dirname(line)) for line in said.split()] == [False, False]


def test_keys_of_hosts_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "known hosts"
    file.write_text(f"a.net {KEY}\n[b.net]:2222 {KEY}\nc.net {KEY}\na {KEY}\n")
    params = {"known_hosts": file, "host_rewrite_func": ("$", ".net")}

    assert forget_host_keys(["a", Host("b", port=2222), "nosuch"], params) == 2
    assert file.read_text() == f"c.net {KEY}\na {KEY}\n"
    assert forget_host_keys(Host("c"), ConnectionParams(), known_hosts=file) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["known hosts"]


def test_there_need_be_no_file(tmp_path: Path) -> None:
    assert forget_host_keys("a", known_hosts=tmp_path / "none") == 0


def test_a_file_that_cannot_be_replaced_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"a {KEY}\n")

    def fail(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PermissionError):
        forget_host_keys("a", known_hosts=file)

    assert file.read_text() == f"a {KEY}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["known_hosts"]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh, which is asked")
@pytest.mark.parametrize(
    ("setting", "kept_as"),
    [("HostName 10.0.0.7", "10.0.0.7"), ("Port 2222", "[node]:2222"), ("HostKeyAlias Alias", "alias")],
)
def test_a_key_that_is_kept_under_another_name_by_the_configuration_is_forgotten(
    setting: str, kept_as: str, tmp_path: Path
) -> None:
    config, file = tmp_path / "config", tmp_path / "known_hosts"
    config.write_text(f"Host node\n  {setting}\n")
    file.write_text(f"{kept_as} ssh-ed25519 AAAA\nother ssh-ed25519 AAAA\n")
    params = {"ssh_options": ("-F", str(config)), "known_hosts": str(file)}

    assert forget_host_keys(["node", "unknown"], params) == 1
    assert file.read_text() == "other ssh-ed25519 AAAA\n"


def test_a_connector_that_is_not_ssh_is_not_asked_about_names(tmp_path: Path) -> None:
    connector, file = tmp_path / "connector", tmp_path / "known_hosts"
    connector.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    connector.chmod(0o755)
    file.write_text("other ssh-ed25519 AAAA\n")

    assert forget_host_keys("node", {"ssh": str(connector), "known_hosts": str(file)}) == 0
    assert not (tmp_path / "called").exists()
