"""Configuration: defaults, file, environment, script, in that order; and nothing before it is used."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regisseur.actors import config
from regisseur.actors.config import (
    SCP,
    SSH,
    STDERR,
    STDOUT,
    TAKTUK,
    checktty,
    get_user_config_filename,
    load_configuration,
    make_connection_params,
    make_default_connection_params,
    refuse_old_arguments,
    renamed,
)
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.settings import ConfigurationDict
from regisseur.actors.ssh_utils import get_ssh_command

configuration = config.configuration
default_connection_params = config.default_connection_params

COLOR_VARIABLES = ("NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "TERM")


class Terminal:
    def __init__(self, is_one: bool = True) -> None:
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the user's file, which does not exist yet."""
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("REGISSEUR_CONFIG", str(path))
    return path


@pytest.fixture(autouse=True)
def _fresh(user_file: Path) -> Any:
    del user_file
    configuration.forget()
    default_connection_params.forget()
    yield
    configuration.forget()
    default_connection_params.forget()


def fresh() -> ConfigurationDict:
    return ConfigurationDict("configuration", configuration.settings)


def test_without_file_and_variables_the_defaults_hold() -> None:
    styles = configuration.pop("color_styles")
    configuration.pop("color_mode")

    assert dict(configuration) == {
        "log_level": 20,
        "remote_tool": SSH,
        "fileput_tool": SCP,
        "fileget_tool": SCP,
        "taktuk_from": None,
        "compact_output_threshold": 4096,
        "kill_timeout": 60,
        "intr_period": 1,
        "port_range": (25500, 26700),
        "kill_childs_at_end": True,
    }
    assert styles["report_error"] == ("red", "bold")
    assert styles[50] == ("yellow", "on_red")


def test_default_connections_check_host_keys_and_take_no_terminal() -> None:
    options = default_connection_params["ssh_options"]

    assert default_connection_params["host_keys"] == "accept-new"
    assert not [option for option in options if "HostKey" in option]
    assert "-tt" not in options
    assert default_connection_params["scp_options"] == (*options, "-rp")


def test_connection_parameters_have_these_keys() -> None:
    keys = """user keyfile port ssh scp taktuk ssh_options scp_options taktuk_options taktuk_connector
        taktuk_connector_options taktuk_gateway taktuk_idle_timeout chainput_nc_client_timeout
        chainput_nc_server_timeout nc chainput_host_retry
        chainput_chain_retry chainput_try_delay forwarding_timeout pty host_rewrite_func connector multiplex host_keys
        known_hosts lab_network connect_timeout connect_window connect_retries alive_interval idle_timeout"""

    assert list(make_default_connection_params()) == keys.split()


def test_importing_reads_no_file_and_no_yaml() -> None:
    code = (
        "import sys, builtins; opened = []; sys.addaudithook(lambda e, a: e == 'open' and opened.append(str(a[0])));"
        "import regisseur.actors.config, regisseur.actors.log, regisseur.actors.utils;"
        "assert not [name for name in opened if name.endswith('.yaml')], opened;"
        "assert 'yaml' not in sys.modules and 'platformdirs' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_file_beats_the_defaults(user_file: Path) -> None:
    user_file.write_text("configuration: {log_level: detail, port_range: [3000, 4000], kill_timeout: null}\n")

    assert configuration["log_level"] == config.DETAIL
    assert configuration["port_range"] == (3000, 4000)
    assert configuration["kill_timeout"] is None
    assert configuration["compact_output_threshold"] == 4096


def test_variables_beat_the_file(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file.write_text("configuration: {kill_timeout: 5, remote_tool: TAKTUK}\n")
    monkeypatch.setenv("REGISSEUR_KILL_TIMEOUT", "7.5")

    assert configuration["kill_timeout"] == 7.5
    assert configuration["remote_tool"] == TAKTUK


def test_the_script_beats_all(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file.write_text("configuration: {kill_timeout: 5}\n")
    monkeypatch.setenv("REGISSEUR_KILL_TIMEOUT", "7")
    configuration["kill_timeout"] = 9

    assert configuration["kill_timeout"] == 9
    assert configuration["log_level"] == 20


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("REGISSEUR_LOG_LEVEL", "TRACE", "log_level", 12),
        ("REGISSEUR_LOG_LEVEL", "17", "log_level", 17),
        ("REGISSEUR_COLOR_MODE", "yes", "color_mode", True),
        ("REGISSEUR_COLOR_MODE", "0", "color_mode", False),
        ("REGISSEUR_PORT_RANGE", "[1, 2]", "port_range", (1, 2)),
        ("REGISSEUR_FILEPUT_TOOL", "chainput", "fileput_tool", 3),
    ],
)
def test_a_variable_is_named_after_its_key(
    variable: str, text: str, key: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)

    assert value == configuration[key]


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_KILL_TIMEOUT", "")

    assert configuration["kill_timeout"] == 60


def test_a_variable_of_another_section_has_its_name_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_DEFAULT_CONNECTION_PARAMS__USER", "007")
    monkeypatch.setenv("REGISSEUR_DEFAULT_CONNECTION_PARAMS__PORT", "2222")
    monkeypatch.setenv("REGISSEUR_DEFAULT_CONNECTION_PARAMS__SSH_OPTIONS", "-4 -o 'ProxyJump=a b'")

    params = make_connection_params()

    assert (params["user"], params["port"]) == ("007", 2222)
    assert params["ssh_options"] == ("-4", "-o", "ProxyJump=a b")


def test_styles_are_added_to_the_default_ones(user_file: Path) -> None:
    user_file.write_text("configuration:\n  color_styles: {emph: [green, bold], mine: red, INFO: [blue]}\n")

    styles = configuration["color_styles"]

    assert (styles["emph"], styles["mine"], styles[20]) == (("green", "bold"), ("red",), ("blue",))
    assert styles["host"] == ("magenta", "bold")


def test_an_ill_typed_value_tells_file_line_key_and_what_was_expected(user_file: Path) -> None:
    user_file.write_text("# mine\nconfiguration:\n  log_level: INFO\n  kill_timeout: soon\n")

    with pytest.raises(ConfigurationError) as caught:
        configuration["log_level"]

    assert str(caught.value) == (
        f"{user_file}, line 4: configuration.kill_timeout: "
        "expected a number of seconds, 0 or more, or null to never force the end, not 'soon'"
    )


def test_a_file_that_cannot_be_used_is_told_at_every_use(user_file: Path) -> None:
    user_file.write_text("configuration: {kill_timeout: soon}")
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            configuration.get("log_level")

    user_file.write_text("configuration: {kill_timeout: 3}")

    assert configuration.get("kill_timeout") == 3


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("configuration", "log_level", "LOUD"),
        ("configuration", "log_level", "true"),
        ("configuration", "remote_tool", "RSH"),
        ("configuration", "remote_tool", "9"),
        ("configuration", "compact_output_threshold", "-1"),
        ("configuration", "compact_output_threshold", "1.5"),
        ("configuration", "intr_period", ".nan"),
        ("configuration", "port_range", "[1]"),
        ("configuration", "port_range", "[1, 2, 3]"),
        ("configuration", "port_range", "[5, 4]"),
        ("configuration", "port_range", "[5, 70000]"),
        ("configuration", "kill_childs_at_end", "perhaps"),
        ("configuration", "color_styles", "red"),
        ("configuration", "color_styles", "{emph: [pink]}"),
        ("default_connection_params", "user", "3"),
        ("default_connection_params", "ssh", "[]"),
        ("default_connection_params", "ssh_options", "[1]"),
        ("default_connection_params", "ssh_options", '"-o \'x"'),
        ("default_connection_params", "pty", "3"),
        ("default_connection_params", "connector", "telnet"),
        ("default_connection_params", "connector", "[ssh]"),
        ("default_connection_params", "host_keys", "on"),
        ("default_connection_params", "connect_timeout", "0"),
        ("default_connection_params", "connect_window", "0"),
        ("default_connection_params", "host_rewrite_func", "name"),
        ("default_connection_params", "host_rewrite_func", "[a]"),
    ],
)
def test_every_setting_is_checked(section: str, key: str, value: str, user_file: Path) -> None:
    user_file.write_text(f"{section}:\n  {key}: {value}\n")

    with pytest.raises(ConfigurationError, match=rf"line 2: {section}\.{key}: expected .*, not "):
        dict(getattr(config, section))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("ssh", "oarsh", "oarsh"),
        ("ssh", "[sudo, ssh]", ("sudo", "ssh")),
        ("ssh_options", "", ()),
        ("ssh_options", "[-v, a b]", ("-v", "a b")),
        ("keyfile", "/k", "/k"),
        ("host_rewrite_func", "my.module:rewritten", "my.module:rewritten"),
        ("host_rewrite_func", "['^a', b]", ("^a", "b")),
        ("chainput_chain_retry", "0.5", 0.5),
        ("host_keys", "strict", "strict"),
        ("host_keys", "off", "off"),
        ("multiplex", "false", False),
        ("connect_timeout", "2.5", 2.5),
        ("connect_window", "1", 1),
    ],
)
def test_connection_parameters_come_from_the_file(key: str, value: str, expected: Any, user_file: Path) -> None:
    user_file.write_text(f"default_connection_params:\n  {key}: {value}\n")

    assert expected == default_connection_params[key]


def test_an_ill_typed_variable_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_KILL_TIMEOUT", "[")
    with pytest.raises(ConfigurationError, match=r"^REGISSEUR_KILL_TIMEOUT, line 1: not valid YAML"):
        len(configuration)

    monkeypatch.setenv("REGISSEUR_KILL_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match=r"^REGISSEUR_KILL_TIMEOUT: configuration.kill_timeout: expected"):
        len(configuration)


def test_a_misspelt_key_is_told_with_the_right_one(user_file: Path) -> None:
    user_file.write_text("configuration: {kill_timeot: 3}")

    with pytest.raises(ConfigurationError, match="no such setting; did you mean kill_timeout"):
        configuration.copy()


def test_a_misspelt_section_is_told_with_the_right_one(user_file: Path) -> None:
    user_file.write_text("g5k_configuration: {}\ndefault_conection_params: {user: root}\n")

    assert configuration["kill_timeout"] == 60
    with pytest.raises(ConfigurationError, match=r", line 2: .*did you mean default_connection_params\?"):
        default_connection_params.copy()


def test_a_misspelt_variable_is_told_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_KILL_TIMOUT", "5")

    with pytest.raises(ConfigurationError, match=r"^REGISSEUR_KILL_TIMOUT: .*did you mean kill_timeout\?"):
        configuration.copy()


def test_a_misspelt_variable_of_a_section_is_told_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_DEFAULT_CONNECTION_PARAMS__USR", "root")

    with pytest.raises(ConfigurationError, match=r"^REGISSEUR_DEFAULT_CONNECTION_PARAMS__USR: .*did you mean user\?"):
        default_connection_params.copy()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("configuration: [", "line 1: not valid YAML"),
        ("a: 1\n\tb: 2", "line 2: not valid YAML"),
        ("a: \x01", "not valid YAML"),
        ("configuration: {log_level: 2014-99-99}", "not valid YAML"),
        ("- a\n- b\n", "line 1: expected a section"),
        ("# mine\nlog_level: DEBUG\n", "line 2: log_level: expected a section"),
        ("configuration: !!python/object/apply:os.system [touch /tmp/x]", "line 1: not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_told_with_its_line(text: str, problem: str, user_file: Path) -> None:
    user_file.write_text(text)

    with pytest.raises(ConfigurationError, match=problem) as caught:
        configuration.copy()

    assert str(caught.value).startswith(str(user_file))


def test_a_file_that_is_not_text_is_told(user_file: Path) -> None:
    user_file.write_bytes(b"\xff\xfe\xff")

    with pytest.raises(ConfigurationError, match="cannot be read"):
        configuration.copy()


@pytest.mark.parametrize("text", ["", "# nothing\n", "configuration:\n", "other: {x: 1}\n"])
def test_a_file_may_say_nothing(text: str, user_file: Path) -> None:
    user_file.write_text(text)

    assert configuration["kill_timeout"] == 60


def test_python_is_refused_with_the_command_that_converts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISSEUR_CONFIG", "/home/me/.execo.conf.py")

    with pytest.raises(ConfigurationError, match="regisseur config import-execo"):
        configuration.copy()


USES: dict[str, Callable[[Any], Any]] = {
    "index": lambda d: d["kill_timeout"] == 60,
    "get": lambda d: d.get("kill_timeout") == 60,
    "in": lambda d: "kill_timeout" in d,
    "iterate": lambda d: "kill_timeout" in list(iter(d)),
    "reversed": lambda d: "kill_timeout" in list(reversed(d)),
    "len": lambda d: len(d) > 5,
    "bool": bool,
    "keys": lambda d: "kill_timeout" in d.keys(),  # noqa: SIM118 - keys() is what is tested
    "values": lambda d: 60 in list(d.values()),
    "items": lambda d: ("kill_timeout", 60) in d.items(),
    "copy": lambda d: d.copy()["kill_timeout"] == 60,
    "copy.copy": lambda d: copy.copy(d)["kill_timeout"] == 60,
    "deepcopy": lambda d: copy.deepcopy(d)["kill_timeout"] == 60,
    "pickle": lambda d: pickle.loads(pickle.dumps(d))["kill_timeout"] == 60,
    "dict": lambda d: dict(d)["kill_timeout"] == 60,
    "unpack": lambda d: {**d}["kill_timeout"] == 60,
    "arguments": lambda d: (lambda **arguments: arguments["kill_timeout"])(**d) == 60,
    "update another": lambda d: _updated(d)["kill_timeout"] == 60,
    "or": lambda d: (d | {"x": 1})["kill_timeout"] == 60,
    "ror": lambda d: ({"x": 1} | d)["kill_timeout"] == 60,
    "equal": lambda d: d == dict(fresh()),
    "equal from the other side": lambda d: dict(fresh()) == d,
    "not equal": lambda d: (d != {}) is (d != {"x": 1}) is True,
    "repr": lambda d: "'kill_timeout': 60" in repr(d),
    "format": lambda d: "'kill_timeout': 60" in f"{d}",
    "pop": lambda d: d.pop("kill_timeout") == 60,
    "popitem": lambda d: d.popitem()[0] == "color_styles",
    "setdefault": lambda d: d.setdefault("kill_timeout", 1) == 60,
    "delete": lambda d: (d.__delitem__("kill_timeout"), "kill_timeout" not in d)[1],
    "set": lambda d: (d.__setitem__("kill_timeout", 1), d["kill_timeout"], d["log_level"]) == (None, 1, 20),
    "update": lambda d: (d.update(kill_timeout=1), d["kill_timeout"], d["log_level"]) == (None, 1, 20),
    "ior": lambda d: d.__ior__({"kill_timeout": 1})["log_level"] == 20,
    "clear": lambda d: (d.clear(), len(d)) == (None, 0),
    "match": lambda d: _matched(d) == 60,
    "json": lambda d: json.loads(json.dumps(dict(d), skipkeys=True))["kill_timeout"] == 60,
}


def _updated(d: ConfigurationDict) -> dict[str, Any]:
    target: dict[str, Any] = {}
    target.update(d)
    return target


def _matched(d: ConfigurationDict) -> Any:
    match d:
        case {"kill_timeout": value}:
            return value
    return None


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_use_of_a_dict_fills_it_first(use: Callable[[ConfigurationDict], Any]) -> None:
    assert use(fresh())


def test_a_copy_is_a_plain_dict() -> None:
    assert {type(copied) for copied in (configuration.copy(), copy.deepcopy(configuration))} == {dict}


def test_defaults_are_not_shared_between_dicts() -> None:
    fresh()["color_styles"]["emph"] = ("red",)

    assert fresh()["color_styles"]["emph"] == ("cyan",)


def test_many_threads_fill_a_dict_once(user_file: Path) -> None:
    user_file.write_text("configuration: {kill_timeout: 3}")
    shared, start, seen = fresh(), threading.Barrier(8), []

    def use() -> None:
        start.wait()
        seen.append(shared["kill_timeout"])
        shared["kill_timeout"] = 4

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(seen) <= {3, 4}
    assert shared["kill_timeout"] == 4


def test_the_user_file_is_in_the_configuration_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISSEUR_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")

    assert get_user_config_filename() == "/conf/regisseur/config.yaml"

    monkeypatch.setenv("REGISSEUR_CONFIG", "~/mine.yaml")
    monkeypatch.setenv("HOME", "/home/me")

    assert get_user_config_filename() == "/home/me/mine.yaml"


@pytest.mark.parametrize(
    ("variables", "terminals", "expected"),
    [
        ({}, (True, True), True),
        ({}, (True, False), False),
        ({}, (False, True), False),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, (True, True), False),
        ({"NO_COLOR": ""}, (True, True), True),
        ({"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, (False, False), True),
        ({"CLICOLOR_FORCE": "0"}, (False, False), False),
        ({"CLICOLOR": "0"}, (True, True), False),
        ({"CLICOLOR": "1"}, (False, False), False),
        ({"TERM": "dumb"}, (True, True), False),
        ({"NO_COLOR": "1", "REGISSEUR_COLOR_MODE": "true"}, (False, False), True),
    ],
)
def test_colours_are_wanted_by_variables_then_by_terminals(
    variables: dict[str, str], terminals: tuple[bool, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in COLOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal(terminals[0]))
    monkeypatch.setattr(sys, "stderr", Terminal(terminals[1]))

    assert expected is fresh()["color_mode"]


def test_only_what_says_so_is_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w") as file:
        pass

    assert [checktty(Terminal()), checktty(Terminal(False)), checktty(None), checktty(file)] == [True, *[False] * 3]


def test_connection_params_beat_the_default_ones() -> None:
    default_connection_params["user"] = "global"
    default_connection_params["port"] = 1

    params = make_connection_params({"port": 2, "mine": 3})

    assert (params["user"], params["port"], params["mine"], params["ssh"]) == ("global", 2, 3, "ssh")
    assert make_connection_params(None, {"user": "given"})["user"] == "given"
    assert make_connection_params(None, {"user": "given"})["port"] is None
    assert default_connection_params["port"] == 1
    assert type(params) is dict


def test_load_configuration_updates_dicts_from_their_sections(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("configuration: {kill_timeout: 3}\nmine: {a: 1, b: [2]}\nparams: {user: root}\n")
    mine: dict[str, Any] = {"a": 0, "c": 0}

    load_configuration(str(path), ((configuration, "configuration"), (mine, "mine"), (mine, "nosuch")))
    load_configuration(str(path), [(default_connection_params, "params")])

    assert mine == {"a": 1, "b": [2], "c": 0}
    assert (configuration["kill_timeout"], default_connection_params["user"]) == (3, "root")


def test_load_configuration_checks_what_it_knows_and_changes_nothing_then(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("configuration:\n  intr_period: 3\n  kill_timeout: x\n")

    with pytest.raises(ConfigurationError, match=r"c.yaml, line 3: configuration.kill_timeout"):
        load_configuration(str(path), [(configuration, "configuration")])

    assert configuration["intr_period"] == 1


def test_load_configuration_of_a_missing_file_does_nothing(tmp_path: Path) -> None:
    mine: dict[str, Any] = {}
    load_configuration(str(tmp_path / "nosuch.yaml"), [(mine, "configuration")])

    assert mine == {}


def test_the_streams_have_the_numbers_of_their_descriptors() -> None:
    assert (STDOUT, STDERR) == (1, 2)


def test_an_old_name_tells_the_new_one() -> None:
    assert renamed("connexion_params") == "connexion_params is gone: write connection_params instead"
    assert renamed("connection_params") is None


def test_importing_an_old_name_tells_the_new_one() -> None:
    with pytest.raises(ImportError, match=r"regisseur.actors.config: default_connexion_params is gone"):
        exec("from regisseur.actors.config import default_connexion_params")


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(config, "nosuch")


def test_an_old_argument_tells_the_new_one() -> None:
    refuse_old_arguments("Remote", ["name", "connection_params"])
    with pytest.raises(TypeError, match="Remote: connexion_params is gone: write connection_params"):
        refuse_old_arguments("Remote", {"connexion_params": {}})


def test_functions_that_take_connection_parameters_refuse_the_old_keyword() -> None:
    with pytest.raises(TypeError, match="make_connection_params: connexion_params is gone: write connection_params"):
        make_connection_params(connexion_params={"user": "root"})  # type: ignore[call-arg]  # which is the point
    with pytest.raises(TypeError, match="get_ssh_command: connexion_params is gone: write connection_params"):
        get_ssh_command(connexion_params={"user": "root"})  # type: ignore[call-arg]  # as above
