"""What users install: the wheel has all that it should, and works where the sources are not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocols", "actors", "g5k", "engine")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = SETTINGS["project"]["version"]
WHEEL = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command, which must succeed; return what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are published, unpacked."""
    directory = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", directory, cwd=ROOT)
    with tarfile.open(directory / f"regisseur-{VERSION}.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return directory / f"regisseur-{VERSION}"


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the published sources: so these are complete."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=sdist)
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with nothing but the wheel; its dependencies are borrowed from ours."""
    directory = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", directory / "venv", cwd=directory)
    python = directory / "venv/bin/python"
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", "-q", wheel,
        cwd=directory, PIP_DISABLE_PIP_VERSION_CHECK="1")  # fmt: skip
    purelib = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory).strip())
    # A directory named in a .pth file is searched, but the .pth files in it are not read: our editable install is not
    # seen through it.
    (purelib / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def sources() -> Iterator[str]:
    """What the wheel should have, by its names there: all files of the directories that pyproject.toml names."""
    for directory in WHEEL["only-include"]:
        for path in (ROOT / directory).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                top, _, rest = path.relative_to(ROOT).as_posix().partition("/")
                yield f"{WHEEL['sources'][top]}/{rest}"


def test_the_wheel_has_all_files_of_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {name for name in names if not name.startswith(f"regisseur-{VERSION}.dist-info/")}

    assert set(sources()) == packaged
    assert {f"regisseur/{package}/{name}" for package in PACKAGES for name in ("__init__.py", "py.typed")} <= packaged


def test_the_wheel_has_the_command_the_licence_and_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        information = f"regisseur-{VERSION}.dist-info"
        entry_points = archive.read(f"{information}/entry_points.txt").decode()
        metadata = archive.read(f"{information}/METADATA").decode()
        licence = archive.read(f"{information}/licenses/LICENSE")

    assert "[console_scripts]\nregisseur = regisseur.engine.cli:main" in entry_points
    assert (ROOT / "LICENSE").read_bytes() == licence
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "Provides-Extra: plots" in metadata


def test_the_published_sources_have_the_tests_and_what_runs_them(sdist: Path) -> None:
    wanted = ["Makefile", "README.md", "CHANGELOG.md", "pyproject.toml", "tests/conftest.py", "tests/support/leaks.py"]

    assert [name for name in wanted if not (sdist / name).is_file()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_installed_package_is_imported_without_a_warning(package: str, installed: Path, tmp_path: Path) -> None:
    code = f"import regisseur.{package} as package; print(package.__file__)"

    file = run(installed, "-W", "error", "-c", code, cwd=tmp_path).strip()

    assert Path(file).is_relative_to(installed.parent.parent)


def test_the_command_is_installed_and_tells_its_version(installed: Path, tmp_path: Path) -> None:
    output = run(installed.with_name("regisseur"), "--version", cwd=tmp_path)

    assert VERSION in output


def test_an_installed_script_runs_a_process(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("from regisseur.actors import *\nprint(Process('echo hello').run().stdout)\n")

    assert run(installed, "-W", "error", "script.py", cwd=tmp_path) == "hello\n\n"
