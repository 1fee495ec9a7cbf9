"""Carrying an old configuration file over: parsed, never run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from regisseur.actors.config import load_configuration
from regisseur.actors.config_import import ImportedConfiguration, LeftOut, import_execo_config, to_yaml, write_yaml
from regisseur.actors.exception import ConfigurationError

OLD = '''"""My configuration."""
import logging, os
from execo import *

configuration = {
    'log_level': logging.DETAIL,
    'remote_tool': TAKTUK,
    'port_range': (3000, 4000),
    'color_mode': os.environ.get('TERM') != 'dumb',
    'kill_timeout': 'soon',
    'no_such_key': 1,
}
default_connection_params = dict(user='root', host_rewrite_func=lambda host: host + '.net')
default_connection_params['ssh_options'] = ('-o', 'BatchMode=yes')
default_connexion_params['port'] = 22
g5k_configuration.update({'api_username': 'me', 'polling_interval': -1})
g5k_configuration.update(default_frontend='lyon')
default_frontend_connection_params = {**default_connection_params, 'pty': True}
os.system('touch /tmp/this-must-not-run')
if True:
    configuration['log_level'] = 10
myvar = 3
'''


@pytest.fixture
def imported(tmp_path: Path) -> ImportedConfiguration:
    path = tmp_path / ".execo.conf.py"
    path.write_text(OLD)
    return import_execo_config(str(path))


def test_literals_and_known_names_are_carried_over(imported: ImportedConfiguration) -> None:
    assert imported["sections"] == {
        "configuration": {"log_level": 15, "remote_tool": 2, "port_range": [3000, 4000]},
        "default_connection_params": {"user": "root", "ssh_options": ["-o", "BatchMode=yes"], "port": 22},
        "g5k_configuration": {"api_username": "me", "polling_interval": -1, "default_frontend": "lyon"},
        "default_frontend_connection_params": {"pty": True},
    }


def test_everything_else_is_told_with_its_line(imported: ImportedConfiguration) -> None:
    assert [(left.line, left.what) for left in imported["left_out"]] == [
        (9, "configuration.color_mode"),
        (10, "configuration.kill_timeout"),
        (11, "configuration.no_such_key"),
        (13, "default_connection_params.host_rewrite_func"),
        (18, "default_frontend_connection_params.?"),
        (19, "os.system('touch /tmp/this-must-not-run')"),
        (20, "if True:"),
        (22, "myvar = 3"),
    ]


def test_the_reason_is_told_too(imported: ImportedConfiguration) -> None:
    assert str(imported["left_out"][1]).startswith("line 10: configuration.kill_timeout: expected a number of seconds")
    assert str(imported["left_out"][2]).endswith("there is no such setting any more")
    assert "code, which is never run" in imported["left_out"][3].why


def test_the_yaml_is_a_configuration_file(imported: ImportedConfiguration, tmp_path: Path) -> None:
    target = tmp_path / "new" / "config.yaml"
    write_yaml(imported, str(target))
    g5k: dict[str, object] = {}

    load_configuration(str(target), [(g5k, "g5k_configuration")])

    assert g5k == imported["sections"]["g5k_configuration"]
    assert "#   line 22: myvar = 3: not an assignment of literals" in target.read_text()


def test_an_existing_file_is_not_touched(imported: ImportedConfiguration, tmp_path: Path) -> None:
    target = tmp_path / "config.yaml"
    target.write_text("mine: {}")
    with pytest.raises(FileExistsError):
        write_yaml(imported, str(target))

    assert target.read_text() == "mine: {}"


def test_a_reason_of_several_lines_stays_a_comment() -> None:
    text = to_yaml({"sections": {}, "left_out": [LeftOut(1, "a\nb", "c")]})

    assert yaml.safe_load(text) is None


@pytest.mark.parametrize(
    "line",
    [
        "configuration = other",
        "configuration = dict(other, a=1)",
        "a = configuration = {}",
        "configuration['a']['b'] = 1",
        "configuration.update()",
        "configuration.update({}, kill_timeout=1)",
        "def f(): configuration['kill_timeout'] = 1",
        "configuration['kill_timeout'] = 1 + 1",
        "configuration['kill_timeout'] = b'1'",
        "configuration[[1]] = 1",
        "g5k_configuration[(1,)] = 1",
        "g5k_configuration['a'] = {(1,): 2}",
        "configuration['log_level'] = __import__('os').getpid()",
        "configuration: dict = {'kill_timeout': 1}",
        "unknown_params = {'kill_timeout': 1}",
    ],
)
def test_what_is_not_plain_carries_nothing_over(line: str, tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_text(line)

    imported = import_execo_config(str(path))

    assert {name: section for name, section in imported["sections"].items() if section} == {}
    assert len(imported["left_out"]) == (0 if line == "configuration.update()" else 1)


@pytest.mark.parametrize("content", [b"print 'hello'\n", b"x = (\n", b"\xff\xfe", b"a\x00b"])
def test_a_file_that_is_not_python_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"old\.py.*is not Python 3"):
        import_execo_config(str(path))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        import_execo_config(str(tmp_path / "nosuch.py"))
