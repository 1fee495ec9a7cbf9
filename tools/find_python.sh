#!/usr/bin/env bash
# Print the path of the Python to make virtual environments with: python3 if it is a supported version,
# else the newest supported one on PATH or among the versions of pyenv. With PYTHON set, only that is tried.
set -euo pipefail

# ensurepip is asked for since Debian has it in a package of its own, without which there is no pip in a new venv.
suits='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

candidates() {
    if [[ -n "${PYTHON:-}" ]]; then
        echo "$PYTHON"
        return
    fi
    echo python3
    for version in 3.13 3.12 3.11; do
        echo "python$version"
        ls -1 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version."*"/bin/python$version" 2>/dev/null | sort --version-sort --reverse || true
    done
}

while read -r candidate; do
    # What is found need not start: pyenv has a shim on PATH for each version, also for those that are not selected.
    if path=$("$candidate" -c "$suits" 2>/dev/null && command -v "$candidate"); then
        echo "$path"
        exit 0
    fi
done < <(candidates)

echo "No Python to work with: CPython 3.11, 3.12 or 3.13 with its venv and ensurepip modules is needed" >&2
echo "(Debian: apt-get install python3-venv). Say which one with: make PYTHON=/path/to/python3.12 ..." >&2
exit 1
