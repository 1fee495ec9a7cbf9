"""Groups of hosts out of a YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host_groups import HostGroups, groups_filename
from regisseur.actors.nodeset import expand


def file(directory: Path, text: str) -> Path:
    path = directory / "groups.yaml"
    path.write_text(text)
    return path


def test_a_group_is_a_node_set_or_a_list(tmp_path: Path) -> None:
    groups = HostGroups.read(file(tmp_path, 'a: node[1-2]\nb: [x, "@a"]\nc:\n7: seven\n'))

    assert dict(groups) == {"a": "node[1-2]", "b": "x,@a", "c": "", "7": "seven"}
    assert expand("@b", groups) == ["node1", "node2", "x"]
    assert len(groups) == 4


def test_everything_is_the_group_all_or_all_groups(tmp_path: Path) -> None:
    assert HostGroups({"a": "1", "b": "2"}).everything() == "@a,@b"
    assert HostGroups({"a": "1", "all": "2"}).everything() == "@all"
    assert HostGroups({}).everything() == ""


def test_an_empty_file_has_no_groups(tmp_path: Path) -> None:
    assert dict(HostGroups.read(file(tmp_path, ""))) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "not valid YAML"),
        ("- a\n", "expected groups"),
        ("a: {b: c}\n", "a: expected a node set"),
        ("a: [[b]]\n", "a: expected a node set"),
        ("a: true\n", "a: expected a node set"),
        ("'a b': x\n", "'a b' can not be the name"),
        ("a: !!python/object/apply:os.getpid []\n", "not valid YAML"),
    ],
)
def test_what_is_no_file_of_groups_says_so(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HostGroups.read(file(tmp_path, text))

    assert str(tmp_path / "groups.yaml") in str(caught.value)
    assert problem in str(caught.value)


def test_the_users_file_stands_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISSEUR_GROUPS", raising=False)
    monkeypatch.setenv("REGISSEUR_CONFIG", str(tmp_path / "config.yaml"))

    assert groups_filename() == str(tmp_path / "groups.yaml")
    assert dict(HostGroups.of_user()) == {}
    file(tmp_path, "a: b")
    assert dict(HostGroups.of_user()) == {"a": "b"}


def test_a_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_GROUPS", str(tmp_path / "none.yaml"))

    with pytest.raises(FileNotFoundError):
        HostGroups.of_user()
