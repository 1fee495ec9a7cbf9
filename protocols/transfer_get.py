"""How files come from another host: the sh script that runs there, and the stream that it writes.

The stream is a head of `EDGE` bytes with the size of all files, tar streams (one for each directory that files are
taken from), with checksums a listing of them, and a foot of `EDGE` bytes with the size of the listing, and whether
all is in it. A stream that was broken off goes on where it was: the same is made again, and what has come already is
left out; so a tar of GNU is told to write nothing into it that differs from time to time.

The names that are asked for are those of files, or patterns of the shell where there is no such file. What is missing,
or can not be read, is told on stderr, and the rest is sent. So the script ends with 0 when it has written a stream to
its foot, and how it went stands there; it writes none where nothing at all is there.
"""

from __future__ import annotations

import re
from functools import cache

from .shell_line import CommandError, one_line, sh
from .transfer import octal

__all__ = ["EDGE", "SCRIPT_NOISE", "checksums", "foot_size", "foot_status", "get_step", "head_at", "head_size"]

EDGE = 64
"""Bytes of the head, and of the foot."""
SCRIPT_NOISE = 1 << 16
"""Bytes that the start-up files of a shell may have written in front of the head, at most."""

# $1 checksums are wanted, $2 bytes to leave out, then the names, which become absolute paths. Sets s: all was there.
_NAMES = r"""
LC_ALL=C; export LC_ALL; unset CDPATH; IFS=;
x() { X=$(printf "%b." "$1"); X=${X%.}; };
no() { printf "regisseur: %s\n" "$1" >&2; exit 1; };
missing() { printf "regisseur: there is no %s\n" "$1" >&2; s=1; };
there() { [ -e "$1" ] || [ -h "$1" ]; };
command -v tar >/dev/null || exit 66;
c=$1 n=$2; shift 2;
H=$PWD i=$# s=0;
while [ $i -gt 0 ]; do
    i=$((i-1)); x "$1"; shift;
    case $X in "~") X=$HOME;; "~/"*) X=$HOME/${X#"~/"};; esac;
    case $X in /*) ;; *) X=${H%/}/$X;; esac;
    while :; do case $X in ?*/) X=${X%/};; */.) X=${X%.};; *) break;; esac; done;
    case $X in */..) Y=$(cd "$X" 2>/dev/null && pwd) || { missing "$X"; continue; }; X=$Y;; esac;
    [ "$X" = / ] && no "a whole file system can not be fetched";
    if there "$X"; then set -- "$@" "$X";
    else for f in $X; do if there "$f"; then set -- "$@" "$f"; else missing "$X"; fi; done; fi;
done;
[ $# -gt 0 ] || exit 1;
"""

# each <function> <paths>: calls it in each directory, with the names in it; -L where one is a link, to follow it.
# The status 1 of a tar of GNU tells that a file was written to meanwhile, as logs are.
_STREAM = r"""
case $(tar --version 2>/dev/null) in
    *GNU*) g=--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f w=1;;
    *bsdtar*) g=--format=pax w=0;;
    *) g=-p w=0;;
esac;
each() {
    a=$1 d=${2%/*} m=1 r=0; shift;
    for f do if [ -h "$f" ]; then m=0; fi; [ "${f%/*}" = "$d" ] || m=0; done;
    if [ $m -eq 1 ]; then
        for f do shift; set -- "$@" "./${f##*/}"; done;
        ( cd "${d:-/}" && $a -H "$@" ) || r=1;
    else for f do
        o=-H; if [ -h "$f" ]; then o=-L; fi;
        ( cd "${f%/*}/" && $a $o "./${f##*/}" ) || r=1;
    done; fi;
    return $r;
};
pack() {
    case $1 in -L) h=-chf;; *) h=-cf;; esac; shift;
    tar $h - $g "$@"; [ $? -le $w ];
};
sizes() {
    if stat -c %s / >/dev/null 2>&1; then find "$@" -type f -exec stat -c %s {} +;
    else find "$@" -type f -exec ls -lnq {} + | awk "{ print \$5 }"; fi;
};
sums() {
    if command -v sha256sum >/dev/null; then find "$@" -type f -exec sha256sum {} +;
    elif command -v shasum >/dev/null; then find "$@" -type f -exec shasum -a 256 {} +;
    elif command -v openssl >/dev/null; then find "$@" -type f -exec openssl dgst -r -sha256 {} +;
    else find "$@" -type f -exec cksum {} +; fi;
};
stream() {
    each pack "$@" || s=1; L=;
    [ -z "$c" ] || L=$(each sums "$@");
    printf %s "$L"; printf "regisseur end %d %47d\n" $s $(($(printf %s "$L" | wc -c)));
};
"""

_GET = r"""
printf "regisseur get %49d\n" $(each sizes "$@" | awk "{ s += \$1 } END { printf \"%.0f\", s }");
if [ "$n" -eq 0 ]; then stream "$@"; else stream "$@" | tail -c +$((n+1)); fi
"""


@cache
def _script() -> str:
    return one_line(_NAMES + _STREAM + _GET)


def get_step(names: list[bytes], *, checksum: bool, skip: int = 0) -> str:
    """The command that writes a stream.

    Args:
        names: of files and directories, or patterns; links among them are followed.
        checksum: have the listing made.
        skip: bytes behind the head to leave out.

    Raises:
        CommandError: the names are too long.
    """
    return sh(_script(), "regisseur-transfer", "c" * checksum, str(skip), *map(octal, names))


_HEAD = re.compile(rb"regisseur get ([ 0-9]{48}[0-9])\n")
_FOOT = re.compile(rb"regisseur end ([01]) ([ 0-9]{46}[0-9])\n")


def head_at(start: bytes) -> int | None:
    """Where in the beginning of what has come the head stands; None: it is not there, or not yet."""
    match = _HEAD.search(start)
    return None if match is None else match.start()


def head_size(head: bytes) -> int:
    """The size of all files that a head tells: bytes."""
    match = _HEAD.fullmatch(head)
    if match is None:
        raise CommandError(f"{head!r} is no head of a transfer")
    return int(match[1])


def foot_size(foot: bytes) -> int | None:
    """The size of the listing that a foot tells; None: that is none, so the stream is not complete."""
    match = _FOOT.fullmatch(foot)
    return None if match is None else int(match[2])


def foot_status(foot: bytes) -> int | None:
    """0: all that was asked for is in the stream; 1: something is missing, or could not be read; None: no foot."""
    match = _FOOT.fullmatch(foot)
    return None if match is None else int(match[1])


_SHA256 = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.*?)(?=\n\\?[0-9a-f]{64} [ *]|\Z)", re.DOTALL)
_CKSUM = re.compile(rb"()([0-9]+ [0-9]+) (.*?)(?=\n[0-9]+ [0-9]+ |\Z)", re.DOTALL)
_ESCAPES = {rb"\\": b"\\", rb"\n": b"\n", rb"\r": b"\r"}


def checksums(listing: bytes) -> dict[bytes, bytes]:
    """The checksum of each file by its name: SHA-256 in hexadecimal, or "crc size" where the host has only cksum.

    sha256sum writes a name with a newline or a backslash escaped, and a backslash in front of the line.
    """
    kind = _SHA256 if _SHA256.match(listing) else _CKSUM
    found = {}
    for escaped, checksum, name in kind.findall(listing):
        if escaped:
            name = re.sub(rb"\\[\\nr]", lambda match: _ESCAPES[match[0]], name)
        found[name.removeprefix(b"./")] = checksum
    return found
