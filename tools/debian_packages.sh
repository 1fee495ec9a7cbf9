#!/usr/bin/env bash
# Install the packages in debian-packages.txt that are missing, where this is Debian and we are root.
#
# Never fails, and never asks: what can't be installed is said, and the tests that need it are skipped.
# To keep it from touching the system: REGISSEUR_NO_APT=1.
set -uo pipefail
cd "$(dirname "$0")"

command -v dpkg-query >/dev/null || exit 0

missing=()
while read -r package _; do
    [[ -z "$package" || "$package" == "#"* ]] && continue
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)
    [[ "$status" == installed ]] || missing+=("$package")
done < debian-packages.txt
((${#missing[@]})) || exit 0

if ((EUID != 0)) || [[ -n "${REGISSEUR_NO_APT:-}" ]] || ! command -v apt-get >/dev/null; then
    echo "not installed: ${missing[*]}; tests that need them will be skipped." >&2
    echo "To have them run: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 "$@" </dev/null >/dev/null; }

echo "installing Debian packages: ${missing[*]}"
apt update || echo "apt-get update failed; trying with the lists that are here" >&2
if ! apt install --yes --no-install-recommends "${missing[@]}"; then
    for package in "${missing[@]}"; do # one that is not to be had should not keep the others away
        apt install --yes --no-install-recommends "$package" || echo "could not install $package" >&2
    done
fi
exit 0
