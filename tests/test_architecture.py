"""The house holds: what may import what, who may start threads, and that importing does nothing."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

from sourcecode import Rules, Use, breaches, exported, undocumented

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocols", "actors", "g5k", "engine")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ABOVE_ACTORS = [path for path in MODULES if path.relative_to(ROOT).parts[0] in ("g5k", "engine")]
MAX_LINES = 600

TEXT_AND_VALUES = """
    __future__ abc base64 binascii bisect collections contextlib copy dataclasses datetime decimal enum fractions
    functools hashlib heapq hmac html ipaddress itertools json keyword math msgpack numbers operator re reprlib shlex
    string struct textwrap types typing unicodedata urllib.parse zlib
"""

PURE: Rules = {
    **dict.fromkeys(TEXT_AND_VALUES.split()),
    "io": frozenset({"BytesIO", "StringIO"}),
    "os": frozenset({"PathLike", "fsdecode", "fsencode", "fspath"}),  # of text and bytes; nothing that asks the system
    "pathlib": frozenset({"PurePath", "PurePosixPath"}),
    "uuid": frozenset({"UUID"}),
}
"""All that protocols may use from outside. No files, sockets, threads, clock, chance or log."""

CLOCK_AND_FILES = {"now", "today", "utcnow", "read_text", "read_bytes"}
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}

STARTERS: Rules = {
    **dict.fromkeys(("_posixsubprocess", "_thread", "multiprocessing", "pty"), frozenset()),
    **dict.fromkeys(("selectors", "socketserver", "subprocess", "zmq"), frozenset()),
    # What starts nothing: locks against other threads, the name of this host, and a look whether one may write to
    # the terminal or pipe that the command line was given.
    "threading": frozenset({"Lock", "RLock", "current_thread", "get_ident", "local", "main_thread"}),
    "socket": frozenset({"gethostname"}),
    "select": frozenset({"POLLERR", "POLLHUP", "POLLIN", "POLLNVAL", "POLLOUT", "poll", "select"}),
    "concurrent.futures": frozenset({"CancelledError", "Future", "InvalidStateError", "TimeoutError", "wait"}),
}
"""What only actors may use, and what of it all may."""

OS_STARTERS = {"fork", "forkpty", "openpty", "pidfd_open", "pipe", "pipe2", "popen", "posix_spawn", "posix_spawnp",
               "system"}  # fmt: skip


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def places(path: Path, found: Iterable[Use]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{use.line}: {use.name}" for use in found]


def os_starters(tree: ast.Module) -> list[Use]:
    """What a module calls in os that starts a process or opens a pipe."""
    return [
        Use(node.lineno, f"os.{node.attr}")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if node.attr in OS_STARTERS or node.attr.startswith(("exec", "spawn"))
    ]


def impure_calls(tree: ast.Module) -> list[Use]:
    """What a module calls that opens a file, asks the clock, prints, or runs text."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [Use(f.lineno, f.id) for f in calls if isinstance(f, ast.Name) and f.id in IMPURE_BUILTINS] + [
        Use(f.lineno, f.attr) for f in calls if isinstance(f, ast.Attribute) and f.attr in CLOCK_AND_FILES
    ]


# -- imports go one way ------------------------------------------------------------------------------------------------


def lint_imports(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=directory, env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_imports_go_down_only_from_engine_to_g5k_to_actors_to_protocols() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_an_import_upwards_is_found_and_its_module_and_line_are_named(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / "regisseur" / package).mkdir(parents=True)
        (tmp_path / "regisseur" / package / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "regisseur/protocols/planted.py").write_text('"""A breach."""\n\nfrom ..actors import bus\n')
    (tmp_path / "regisseur/g5k/planted.py").write_text("def f():\n    import regisseur.engine\n")

    done = lint_imports(tmp_path, PYTHONPATH=str(tmp_path))

    assert done.returncode == 1
    assert "regisseur.protocols.planted -> regisseur.actors (l.3)" in done.stdout
    assert "regisseur.g5k.planted -> regisseur.engine (l.2)" in done.stdout


# -- who may do what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "protocols").rglob("*.py")), ids=lambda path: path.name)
def test_protocols_use_nothing_impure(path: Path) -> None:
    found = [*breaches(parsed(path), PURE, others=False), *impure_calls(parsed(path))]

    assert not places(path, found), "protocols take bytes or text and give values: move what asks the system to actors"


def test_only_actors_start_threads_and_children_and_open_pipes_and_sockets() -> None:
    found = [
        place
        for path in ABOVE_ACTORS
        for place in places(path, [*breaches(parsed(path), STARTERS, others=True), *os_starters(parsed(path))])
    ]

    assert not found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os\nos.getpid()", [(2, "os.getpid")]),
        ("import os\nos.fspath(x)", []),
        ("from os import getpid", [(1, "os.getpid")]),
        ("import time", [(1, "time")]),
        ("def f():\n    import socket as s", [(2, "socket")]),
        ("import urllib.parse", []),
        ("import urllib.request", [(1, "urllib.request")]),
        ("import datetime as d\nd.datetime.now()", [(2, "now")]),
        ("open('x')", [(1, "open")]),
    ],
)
def test_what_is_impure_is_found(code: str, expected: list[tuple[int, str]]) -> None:
    tree = ast.parse(code)

    assert expected == [*breaches(tree, PURE, others=False), *impure_calls(tree)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import threading\nthreading.RLock()", []),
        ("import threading\nthreading.Thread()", [(2, "threading.Thread")]),
        ("from threading import Thread", [(1, "threading.Thread")]),
        ("import subprocess", [(1, "subprocess")]),
        ("import concurrent.futures as c\nc.wait(x)", []),
        ("import concurrent.futures\nconcurrent.futures.ThreadPoolExecutor()",
         [(2, "concurrent.futures.ThreadPoolExecutor")]),
        ("import os\nos.pipe()\nos.execvp(x, y)\nos.open(x)", [(2, "os.pipe"), (3, "os.execvp")]),
        ("import re", []),
    ],
)  # fmt: skip
def test_what_starts_something_is_found(code: str, expected: list[tuple[int, str]]) -> None:
    tree = ast.parse(code)

    assert expected == [*breaches(tree, STARTERS, others=True), *os_starters(tree)]


# -- importing does nothing --------------------------------------------------------------------------------------------

WATCHED_IMPORT = """
import json, os, signal, sys

module, *allowed = sys.argv[1:]
events = []

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path = os.path.abspath(arguments[0])
        if not (path.startswith(tuple(allowed)) and path.endswith((".py", ".pyc", ".so", ".pth"))):
            events.append(f"open {path}")
    elif event in ("os.fork", "os.posix_spawn", "os.system", "socket.__new__", "subprocess.Popen"):
        events.append(f"{event} {arguments}")

def state():
    descriptors = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
    return {
        "threads": os.listdir("/proc/self/task"),
        "descriptors": descriptors,
        "handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "environment": dict(os.environ),
    }

before = state()
sys.addaudithook(hook)
__import__(module)
print(json.dumps({"events": events, "before": before, "after": state()}))
"""  # noqa: E501 - a program, which is not part of this file's code


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_importing_starts_nothing_opens_nothing_and_reads_no_configuration(package: str, tmp_path: Path) -> None:
    for directory in (".config/regisseur", ".cache", ".local/share"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / ".config/regisseur/config.yaml").write_text("configuration: 1/0\n")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    allowed = {str(ROOT), *(os.path.realpath(path) for path in (sys.prefix, sys.base_prefix)), sys.prefix}

    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED_IMPORT, f"regisseur.{package}", *allowed],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert not done.stderr
    seen = json.loads(done.stdout)
    assert seen["events"] == []
    assert seen["before"] == seen["after"]


@pytest.mark.slow
def test_an_import_that_does_something_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "eager.py").write_text(
        textwrap.dedent("""
            import signal, threading
            open("/etc/hostname").close()
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        """)
    )

    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED_IMPORT, "eager", str(tmp_path), os.path.realpath(sys.base_prefix)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    seen = json.loads(done.stdout)
    assert seen["events"] == ["open /etc/hostname"]
    assert seen["before"]["handlers"] != seen["after"]["handlers"]
    assert len(seen["before"]["threads"]) + 1 == len(seen["after"]["threads"])


# -- doors and sizes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_its_public_names(package: str) -> None:
    module = importlib.import_module(f"regisseur.{package}")
    tree = parsed(ROOT / package / "__init__.py")
    own_tools = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    public = {
        name
        for name, value in vars(module).items()
        if not (name.startswith("_") or inspect.ismodule(value) or name in own_tools)
    }
    listed = getattr(module, "__all__", [])

    assert public <= set(listed)
    assert not [name for name in listed if not hasattr(module, name)]
    assert len(listed) == len(set(listed))  # ruff (RUF022) sees to their order


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_documented_lists_its_names_and_is_not_too_long(path: Path) -> None:
    tree, lines = parsed(path), path.read_text().count("\n")

    assert not places(path, undocumented(tree)), "without a docstring"
    assert lines <= MAX_LINES, f"{path} has {lines} lines: split it"
    if path.name != "__main__.py" and any(not isinstance(node, ast.Expr) for node in tree.body):
        assert exported(tree) is not None, f"{path} has no __all__"


def test_what_is_undocumented_is_found() -> None:
    code = '''
        class A:
            """Documented."""
            def f(self): ...
            @overload
            def g(self): ...
            def _h(self): ...
        async def f(): ...
    '''

    assert list(undocumented(ast.parse(textwrap.dedent(code)))) == [(1, "module"), (4, "A.f"), (8, "f")]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_the_four_packages_are_importable_from_a_checkout_as_parts_of_regisseur() -> None:
    for package in PACKAGES:
        module = importlib.import_module(f"regisseur.{package}")
        assert module.__file__ is not None
        assert (ROOT / package).samefile(Path(module.__file__).parent)


def test_this_file_has_found_the_modules() -> None:
    assert shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert len(MODULES) > 50
