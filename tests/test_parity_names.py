"""The names that scripts for Execo import: each is where it was, in packages of ours instead of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest

STAR = {
    "regisseur.actors": """
        Action ActionFactory ActionLifecycleHandler ActionsFailed ChainPut ExpectOutputHandler Get Host Local
        ParallelActions PortForwarder Process ProcessLifecycleHandler ProcessOutputHandler ProcessesFailed Put Remote
        RemoteSerial Report
        SequentialActions Serial SerialSsh SshProcess TaktukGet TaktukPut TaktukRemote Timer
        CHAINPUT SCP SSH STDERR STDOUT TAKTUK configuration
        default_action_factory default_connection_params filter_bad_hosts format_date format_duration get_fileget
        get_fileput get_process get_remote get_seconds get_unixts logger sleep wait_all_actions wait_any_actions
        wait_multiple_actions
    """,
    "regisseur.engine": """
        Engine HashableDict ParamSweeper copy_outputs geom igeom logger redirect_outputs slugify sweep sweep_stats
    """,
}
"""What ``from PACKAGE import *`` gives."""

MODULES = {
    "regisseur.actors": "__version__ action config exception host log process ssh_utils time_utils utils",
    "regisseur.actors.action": """
        Action ActionFactory ActionLifecycleHandler ChainPut Get Local ParallelActions Put Remote RemoteSerial
        SequentialActions TaktukGet TaktukPut TaktukRemote default_action_factory filter_bad_hosts get_fileget
        get_fileput get_remote wait_all_actions wait_any_actions
    """,
    "regisseur.actors.config": """
        CHAINPUT DETAIL FDEBUG IODEBUG SCP SSH STDERR STDOUT TAKTUK TRACE checktty configuration
        default_connection_params get_user_config_filename load_configuration make_connection_params
        make_default_connection_params
    """,
    "regisseur.actors.exception": "ActionsFailed ProcessesFailed",
    "regisseur.actors.host": "Host get_hosts_list get_hosts_set get_unique_hosts_list",
    "regisseur.actors.log": "DETAIL FDEBUG IODEBUG Logger Styler TRACE logger style",
    "regisseur.actors.process": """
        ExpectOutputHandler PortForwarder Process ProcessBase ProcessLifecycleHandler ProcessOutputHandler STDERR STDOUT
        Serial SerialSsh SshProcess get_process stream_name
    """,
    "regisseur.actors.report": "Report",
    "regisseur.actors.ssh_utils": """
        get_rewritten_host_address get_scp_command get_ssh_command get_ssh_scp_auth_options
        get_taktuk_connector_command
    """,
    "regisseur.actors.substitutions": "get_caller_context remote_substitute",
    "regisseur.actors.time_utils": """
        Timer datetime_to_unixts format_date format_duration format_seconds format_unixts get_seconds get_unixts
        numeric_date_to_unixts numeric_duration_to_seconds sleep str_date_to_unixts str_duration_to_seconds
        timedelta_to_seconds unixts_to_datetime
    """,
    "regisseur.actors.utils": """
        checked_min comma_join compact_output do_once get_port intr_event_wait is_string memoize name_from_cmdline
        non_retrying_intr_cond_wait singleton_to_collection str_from_cmdline
    """,
    "regisseur.engine.engine": "Engine run_meth_on_engine_ancestors",
    "regisseur.engine.log": "logger",
    "regisseur.engine.sweep": "HashableDict ParamSweeper geom igeom sweep sweep_stats",
    "regisseur.engine.utils": "copy_outputs redirect_outputs slugify",
}
"""What ``from MODULE import NAME`` gives."""

ENTRIES = {
    "configuration": """
        color_mode color_styles compact_output_threshold fileget_tool fileput_tool intr_period kill_childs_at_end
        kill_timeout log_level port_range remote_tool
    """,
    "default_connection_params": """
        chainput_chain_retry chainput_host_retry chainput_nc_client_timeout chainput_nc_server_timeout
        chainput_try_delay forwarding_timeout host_rewrite_func keyfile nc port pty scp scp_options ssh ssh_options
        taktuk taktuk_connector taktuk_connector_options taktuk_options user
    """,
}
"""Keys of the dicts that scripts read and change."""

MEMBERS = {
    "Process": """
        cmd default_expect_timeout default_stderr_handler default_stdout_handler dump end_date ended ended_condition
        ended_event error error_reason exit_code expect expect_fail finished_ok forced_kill host ignore_error
        ignore_exit_code ignore_expect_fail ignore_timeout ignore_write_error kill kill_subprocesses killed
        lifecycle_handlers name nolog_error nolog_exit_code nolog_expect_fail nolog_timeout nolog_write_error ok pid
        pty reset run running shell start start_date started started_condition started_event stats stderr
        stderr_handlers stderr_ioerror stdout stdout_handlers stdout_ioerror timeout timeout_date timeouted wait write
        write_error
    """,
    "Remote": """
        cmd connection_params default_expect_timeout ended expect finished_ok hosts kill lifecycle_handlers name ok
        process_args processes reset run start started stats wait write
    """,
    "Local": """
        cmd default_expect_timeout ended expect finished_ok kill lifecycle_handlers name ok process_args processes
        reset run start started stats wait
    """,
    "ParallelActions": "actions ended finished_ok hide_subactions kill name ok processes reset run start stats wait",
    "SequentialActions": "actions ended finished_ok hide_subactions kill name ok processes reset run start stats wait",
}
MEMBERS["Put"] = MEMBERS["Get"] = MEMBERS["Remote"]
MEMBERS["SshProcess"] = MEMBERS["Process"] + "remote_cmd connection_params"
"""What objects have, made with a command or with no actions."""


@pytest.mark.parametrize("package", STAR)
def test_a_star_import_gives_what_scripts_use(package: str) -> None:
    exported = importlib.import_module(package).__all__

    assert set(STAR[package].split()) - set(exported) == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_the_names_that_scripts_import_from_it(module: str) -> None:
    found = importlib.import_module(module)

    assert [name for name in MODULES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("name", ENTRIES)
def test_a_dict_of_settings_has_the_keys_that_scripts_set(name: str) -> None:
    settings = getattr(importlib.import_module("regisseur.actors"), name)

    assert set(ENTRIES[name].split()) - set(settings) == set()


@pytest.mark.parametrize("kind", MEMBERS)
def test_an_object_has_the_members_that_scripts_use(kind: str) -> None:
    arguments: tuple[Any, ...] = {
        **dict.fromkeys(("Process", "Local"), ("",)),
        **dict.fromkeys(("Remote", "SshProcess"), ("", "host")),
        **dict.fromkeys(("Put", "Get"), ("host", "file")),
    }.get(kind, ([],))
    made = getattr(importlib.import_module("regisseur.actors"), kind)(*arguments)

    assert [name for name in MEMBERS[kind].split() if not hasattr(made, name)] == []


def test_the_packages_share_no_name_but_that_of_the_logger() -> None:
    actors, engine = (set(importlib.import_module(package).__all__) for package in STAR)

    assert actors & engine == {"logger"}


def test_star_imports_hide_no_builtin_and_bring_no_module() -> None:
    script = """
import builtins, types
from regisseur.actors import *
from regisseur.engine import *
names = {name: value for name, value in globals().items() if not name.startswith("_")}
print([name for name in names if hasattr(builtins, name)])
print(sorted(name for name, value in names.items() if isinstance(value, types.ModuleType)))
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.splitlines() == ["[]", "['builtins', 'messages', 'types']"]


def test_modules_are_attributes_of_their_package_after_its_import() -> None:
    script = """
import regisseur.actors as execo, regisseur.engine
print(execo.process.Process is execo.Process, execo.log.style is execo.style)
print(execo.config.configuration["kill_timeout"])
print(callable(execo.time_utils.get_seconds), execo.host.Host is execo.Host, callable(execo.utils.get_port))
print(callable(regisseur.engine.sweep), regisseur.engine.engine.Engine is regisseur.engine.Engine)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.split() == ["True", "True", "60", "True", "True", "True", "True", "True"]
