#!/usr/bin/env bash
# usage: setup_venv.sh DIRECTORY ARGUMENTS...
#
# Make the virtual environment DIRECTORY, unless it is there and works, and have its pip install ARGUMENTS.
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$1
shift

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

if ! "$directory/bin/python" -c 'import pip' 2>/dev/null; then
    python=$(bash tools/find_python.sh)
    echo "making $directory with $python"
    "$python" -m venv --clear "$directory"
    # The pip that a Python brings along may be too old to know dependency groups.
    "$directory/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
fi
echo "installing into $directory: $*"
"$directory/bin/python" -m pip install --quiet "$@"
