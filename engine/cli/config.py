"""``regisseur config``: what the configuration is, and how to bring an old one."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._console import print_json, print_line, say
from ._errors import CommandError, ExitCode, named_path

if TYPE_CHECKING:
    from ...actors.config_import import ImportedConfiguration
    from ...actors.settings import ConfigurationDict, ConfigurationFile

__all__ = ["app", "import_execo", "show"]

app = typer.Typer(help="Show the configuration, or carry over one of Execo.")

_WIDE = 1 << 20  # characters: PyYAML must not break a line


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with the source of each value.")] = False,
) -> int:
    """Show the configuration as it is in force: file, variables and defaults together.

    What is not a default says where it comes from. The text is YAML, and may serve as a configuration file.
    """
    from ...actors.config import configuration, default_connection_params
    from ...actors.settings import get_user_config_filename, read_configuration_file

    path = get_user_config_filename()
    file = read_configuration_file(path)
    sections = {part.section: _values(part, file) for part in (configuration, default_connection_params)}
    if as_json:
        settings = {
            section: {key: {"value": value, "source": source} for key, (value, source) in values.items()}
            for section, values in sections.items()
        }
        print_json({"file": path, "exists": Path(path).exists(), "settings": settings})
        return ExitCode.OK
    print_line(f"# {path}" + ("" if Path(path).exists() else " (there is no such file)"))
    for section, values in sections.items():
        print_line(f"{section}:")
        for key, (value, source) in values.items():
            print_line(f"  {key}: {_yaml(value)}" + ("" if source == "default" else f"  # {source}"))
    return ExitCode.OK


@app.command("import-execo")
def import_execo(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Such as ~/.execo.conf.py.", show_default=False, parser=named_path)
    ],
    write: Annotated[
        bool, typer.Option("--write", help="Write it to the configuration file, which must not exist yet.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was found and what was left out, as JSON.")] = False,
) -> int:
    """Carry over a configuration file of Execo, without executing it.

    Assignments of plain values become YAML, on stdout or in the configuration file. What is code, or is not
    known any more, is named on stderr with its line.
    """
    from ...actors.config_import import import_execo_config, to_yaml
    from ...actors.settings import get_user_config_filename

    if not file.exists():
        raise CommandError(f"there is no file {file}", ExitCode.NOTHING)
    imported = import_execo_config(str(file))
    for left in imported["left_out"]:
        say(f"left out: {left}", "config")
    if not imported["sections"]:
        raise CommandError(f"there is nothing in {file} that can be carried over", ExitCode.NOTHING)
    target = get_user_config_filename() if write else None
    if target is not None:
        _write(imported, target)
    if as_json:
        left_out = [{"line": left.line, "what": left.what, "why": left.why} for left in imported["left_out"]]
        print_json({"sections": imported["sections"], "left_out": left_out, "written": target})
    elif target is None:
        print_line(to_yaml(imported).rstrip("\n"))
    return ExitCode.OK


def _write(imported: ImportedConfiguration, target: str) -> None:
    from ...actors.config_import import write_yaml

    try:
        write_yaml(imported, target)
    except FileExistsError:
        raise CommandError(
            f"{target} exists, and was not touched: leave out --write, and put into it what you need",
            ExitCode.INFRASTRUCTURE,
        ) from None
    say(f"written to {target}", "config")


def _values(part: ConfigurationDict, file: ConfigurationFile) -> dict[str, tuple[Any, str]]:
    """Return value and source by key."""
    return {key: (_plain(key, part[key]), _source(part, key, file)) for key in part.settings}


def _source(part: ConfigurationDict, key: str, file: ConfigurationFile) -> str:
    if os.environ.get(part.variable(key)):
        return part.variable(key)
    return "file" if key in file.sections.get(part.section, {}) else "default"


def _plain(key: str, value: Any) -> Any:
    """Return *value* as one would write it into the file."""
    from ...actors.config import CHAINPUT, SCP, SSH, TAKTUK

    if key == "log_level":
        return _level_name(value)
    if key.endswith("_tool"):
        return {SSH: "SSH", SCP: "SCP", TAKTUK: "TAKTUK", CHAINPUT: "CHAINPUT"}[value]
    if key == "color_styles":
        return {_level_name(name): list(style) for name, style in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _level_name(level: str | int) -> str | int:
    """Return the name of a level of logging, or the number where it has none; what is a name stays it."""
    name = logging.getLevelName(level) if isinstance(level, int) else level
    return level if name.startswith("Level ") else name


def _yaml(value: Any) -> str:
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, width=_WIDE, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
