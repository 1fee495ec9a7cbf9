"""`make test-all`: the tests under each supported CPython of this machine, each in an environment of its own.

Looks for python3.11, python3.12 and python3.13 on PATH and among the versions of pyenv; says at the end which were
not found. Arguments go on to pytest. Exit status: 0 if the tests passed on all that were found, 1 otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
IS_CPYTHON = "import sys, venv; sys.exit(sys.implementation.name != 'cpython' or sys.version_info[:2] != ({}))"


def find(version: str) -> str | None:
    """Return the path of a CPython of this version that starts, None where there is none.

    Starting it tells: a shim of pyenv is on PATH for every version, also for those that are not selected.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), key=_patch, reverse=True)
    on_path = shutil.which(f"python{version}")
    for candidate in [on_path, *map(str, installed)]:
        if candidate and _starts(candidate, version):
            return candidate
    return None


def _patch(path: Path) -> int:
    """The last number of ".../versions/3.12.4/bin/python3.12"; -1 for a build with a name such as 3.13.0rc1."""
    number = path.parts[-3].rpartition(".")[2]
    return int(number) if number.isdecimal() else -1


def _starts(python: str, version: str) -> bool:
    code = IS_CPYTHON.format(version.replace(".", ", "))
    return subprocess.run([python, "-c", code], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def test(python: str, version: str, arguments: list[str]) -> str:
    """Run the tests under one interpreter; return what to say of it."""
    venv = f".venv-{version}"
    set_up = ["make", "--silent", f"VENV={venv}", f"PYTHON={python}", "setup"]
    if subprocess.run(set_up, stdin=subprocess.DEVNULL).returncode:
        return "no environment: see above"
    tests = subprocess.run([f"{venv}/bin/python", "-m", "pytest", *arguments], stdin=subprocess.DEVNULL)
    return "passed" if tests.returncode == 0 else f"failed: pytest ended with {tests.returncode}"


def main(arguments: list[str]) -> int:
    """Run the tests under all versions that are found."""
    os.chdir(ROOT)
    results: dict[str, str] = {}
    for version in VERSIONS:
        python = find(version)
        if python is None:
            results[version] = "not found"
            continue
        print(f"-- CPython {version}: {python}", flush=True)
        results[version] = test(python, version, arguments)
    print()
    for version, result in results.items():
        print(f"CPython {version}: {result}")
    found = [result for result in results.values() if result != "not found"]
    return 0 if found and set(found) == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
