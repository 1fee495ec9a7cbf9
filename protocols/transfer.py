"""How files get to another host: the sh scripts that run there, and what they answer.

A transfer has an *id*, and while it is under way its files lie on the host in a directory ``.regisseur-<id>`` where
they are to go, so that none is ever seen half done under its own name: at the end they are moved to their places,
which within a file system is no copying. Below, T is that directory.

``T/n/``        what is to be moved
``T/sizes``     the sizes of all files, sorted, a line each
``T/sha256``    (wanted) their SHA-256, sorted, a line each
``T/cksum``     (wanted) for hosts that have no such program: what cksum(1) says of them
``T/p<number>`` a large file that is not complete yet
``T/s<number>`` (of a chain of hosts) a tar stream
``T/f<number>`` (of a chain of hosts) a named pipe, by which a hop is fed
``T/m<number>`` an empty file with the time that a large file shall have

A transfer takes one or several steps, each a script of its own that reads the stdin it is given: `pack_step` unpacks a
tar stream, and the last of them checks everything and moves it to its place; `part_step` takes a large file, or the
rest of one. A script answers lines ``at <place>`` and ``has <bytes>`` on stdout (`Answers`). What went wrong is on
stderr, in the words of the tools, and behind it in ours.

They need a POSIX sh, tar, awk and the usual small programs, and no GNU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .shell_line import CommandError, one_line, sh

__all__ = [
    "CREATE_HINT",
    "NO_PYTHON",
    "NO_TAR",
    "PART_UNIT",
    "Answers",
    "Target",
    "answers",
    "ask_step",
    "discard_step",
    "feed_step",
    "hop_step",
    "octal",
    "pack_step",
    "part_step",
]

NO_TAR = 66
"""Exit status where the host has no tar; nothing was done."""
NO_PYTHON = 67
"""Exit status where the host has no python3 that will do."""
PART_UNIT = 65536
"""A large file goes on at a multiple of so many bytes."""
CREATE_HINT = "(create_dirs=True makes it)"
"""What stands behind the message that a directory is not there; a user whose words are others may be told by these."""

# The scripts do without what csh or fish would read in single quotes: exclamation marks, two backslashes in a row.

# $1 id, $2 destination, $3 place, $4 flags: m it must be a directory, c make it. Sets D, K, P, T, all absolute.
_PRELUDE = r"""
LC_ALL=C; export LC_ALL; unset CDPATH;
x() { X=$(printf "%b." "$1"); X=${X%.}; };
no() { printf "regisseur: %s\n" "$1" >&2; exit 1; };
dir() { if [ -h "$1" ]; then return 1; fi; [ -d "$1" ]; };
sizes() {
    find "$1" -type f -exec stat -c %s {} + 2>/dev/null || find "$1" -type f -exec ls -lnq {} + | awk "{ print \$5 }";
};
x "$2"; D=${X:-.};
case $D in "~") D=$HOME;; "~/"*) D=$HOME/${D#"~/"};; esac;
case $D in /*) ;; *) D=${PWD%/}/$D;; esac;
case $D in */) F=m$4;; *) F=$4;; esac;
while :; do case $D in ?*/) D=${D%/};; *) break;; esac; done;
K=$3;
if [ -z "$K" ]; then
    if [ -d "$D" ]; then K=d;
    else case $F in
        *c*) mkdir -p "$D" || no "cannot make the directory $D"; K=d;;
        *m*) [ -e "$D" ] && no "$D is no directory"; no "there is no directory $D CREATE_HINT";;
        *)
            if [ -e "$D" ]; then [ -f "$D" ] || no "$D is neither a file nor a directory, and stays as it is"; fi;
            K=f;;
    esac; fi;
fi;
case $K in d) P=$D;; *) P=${D%/*}; P=${P:-/};; esac;
printf "at %s\n" $K;
T=${P%/}/.regisseur-$1;
""".replace("CREATE_HINT", CREATE_HINT)

# $5 keep: what is there is of use to a further step, also where this one fails: its input may have been cut off with
# the connection. By a signal of its own the script tells that a signal has ended it.
_CLEANING = r"""
k=$5;
gone() { trap "" 1 2 13 15; [ -n "$k" ] || rm -rf "$T" 2>/dev/null || { chmod -R u+rwx "$T"; rm -rf "$T"; }; };
ended() { gone; trap - $1; kill -$1 $$; };
trap gone 0;
for s in 1 2 13 15; do trap "trap - 0; ended $s" $s; done;
"""

_CHECK = r"""
sums() { find n -type f -exec $1 {} + | sed -n "$2" | sort; };
check() {
    sizes n | sort -n | cmp -s - sizes ||
        no "what has come to $T has not the sizes of what was sent: is the disk full?";
    [ -f sha256 ] || return 0;
    w=sha256 e="s/^[^0-9a-f]\{0,1\}\([0-9a-f]\{64\}\) .*/\1/p";
    if command -v sha256sum >/dev/null; then t=sha256sum;
    elif command -v shasum >/dev/null; then t="shasum -a 256";
    elif command -v openssl >/dev/null; then t="openssl dgst -r -sha256";
    else t=cksum w=cksum e="s/^\([0-9]* [0-9]*\) .*/\1/p"; fi;
    sums "$t" "$e" >have;
    cmp -s have $w || {
        grep -v -x -F -f $w have >bad;
        find n -type f -exec $t {} + | grep -F -f bad | sed "s/^/regisseur: another checksum: /" >&2;
        no "what has come to $T is not what was sent";
    };
};
"""

# A directory that may not be written can not be moved by an ordinary user, since its ".." changes.
_MOVE = r"""
place() {
    if [ -h "$1" ] || [ -w "$1" ]; then mv -f "$1" "$2";
    else chmod u+w "$1" && mv -f "$1" "$2" && chmod u-w "$2"; fi;
};
merge() (
    cd "./$1" || exit 1;
    for p in */ .*/; do
        p=${p%/};
        case $p in .|..) continue;; esac;
        if dir "./$p"; then
            if [ -d "$2/$p" ]; then merge "$p" "$2/$p" && rmdir "./$p" || exit 1;
            elif [ -w "./$p" ]; then :;
            else place "./$p" "$2/$p" || exit 1; fi;
        fi;
    done;
    D=$2; set -- ./*;
    if [ $# -gt 99 ]; then
        find . -name . -o -prune -exec sh -c "d=\$1; shift; exec mv -f \"\$@\" \"\$d/\"" sh "$D" {} +;
    else
        set --;
        for p in ./* ./.*; do
            case $p in ./.|./..) continue;; esac;
            if [ -e "$p" ] || [ -h "$p" ]; then set -- "$@" "$p"; fi;
        done;
        [ $# -eq 0 ] || mv -f "$@" "$D/";
    fi;
);
"""

# $6 the last step, $7 the name of the only file (for the place f), $8 a further try.
_PACK = r"""
command -v tar >/dev/null || exit 66;
if [ -n "$k" ] && [ -n "$6" ] && [ -n "$8" ]; then [ -d "$T" ] || exit 0; fi;
[ -d "$T" ] || mkdir -m 700 "$T" || no "cannot make a directory for what is under way in $P";
cd "$T" || no "cannot enter $T";
if [ -d c ]; then :; else
    tar -xpof - || no "cannot unpack in $T: is the disk full?";
    [ -n "$6" ] || exit 0;
    check; mv n c || no "cannot rename a directory in $T";
fi;
if [ "$K" = f ]; then
    x "$7"; X=c/$X;
    if dir "$X"; then
        if [ -e "$D" ] || [ -h "$D" ]; then no "$D is a file, and would have to be a directory"; fi;
        place "$X" "$D";
    else
        if [ -h "$D" ] && L=$(readlink -f "$D" 2>/dev/null) && [ -e "$L" ]; then D=$L; fi;
        mv -f "$X" "$D";
    fi || no "cannot move what has come to its place, $D";
else
    merge c "$D" || no "cannot move what has come to its place in $D";
fi;
k=
"""

# $6 number, $7 size, $8 mode, $9 path, $10 offset in units.
_PART = r"""
f=$T/p$6;
[ -d "$T" ] || no "$T is gone";
x "$9"; n=$T/n/$X;
[ -f "$n" ] && exit 0;
m=$(dd bs=65536 seek=${10} conv=notrunc of="$f" 2>&1) || { printf "%s\n" "$m" >&2; no "cannot write $f"; };
h=$(sizes "$f");
[ "$h" = "$7" ] || no "$f has $h bytes, and should have $7";
d=${n%/*};
[ -d "$d" ] || mkdir -p "$d" || no "cannot make $d";
chmod $8 "$f" && touch -r "$T/m$6" "$f" && mv -f "$f" "$n" || no "cannot place $n"
"""

_ASK = r"""
f=$T/p$6; x "$7";
if [ -f "$T/n/$X" ]; then printf "has all\n";
elif [ -f "$f" ]; then printf "has %s\n" $(sizes "$f");
else printf "has 0\n"; fi
"""

_DISCARD = r"""
for T in "${D%/}/.regisseur-$1" "${D%/*}/.regisseur-$1"; do
    if [ -d "$T" ]; then chmod -R u+rwx "$T"; rm -rf "$T"; fi;
done
"""


# Becomes the hop (of a chain of hosts), in the directory of the transfer; $5 is what python3 is to run.
_HOP = r"""
command -v tar >/dev/null || exit 66;
if command -v sha256sum >/dev/null && type printf | grep builtin >/dev/null; then
    for t in bash perl nc; do if command -v $t >/dev/null; then printf "tool %s\n" $t; fi; done;
fi;
command -v python3 >/dev/null || exit 67;
[ -d "$T" ] || mkdir -m 700 "$T" || no "cannot make a directory for what is under way in $P";
O=$PWD;
cd "$T" || no "cannot enter $T";
OLDPWD=$O; export OLDPWD;
exec python3 -I -S -c "$5"
"""

# What comes on stdin goes to a hop that is there.
_FEED = r"""
[ -p "$T/$5" ] && exec cat >"$T/$5"
"""


@cache
def _script(*parts: str) -> str:
    return one_line("".join(parts))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a transfer goes on a host."""

    id: str
    """Letters and digits; another for each transfer to a host."""
    destination: bytes
    """As the user has given it, with everything substituted."""
    several: bool = False
    """It must be a directory, since several files go there."""
    create: bool = False
    """It is to be a directory, which is made where it is not there."""
    name: bytes = b""
    """What the only file is called here."""

    def arguments(self, place: str, keep: bool) -> tuple[str, ...]:
        """The first arguments of all scripts."""
        flags = "m" * self.several + "c" * self.create
        return self.id, octal(self.destination), place, flags, "k" * keep


def pack_step(target: Target, place: str, *, keep: bool, last: bool, again: bool = False) -> str:
    """The command that unpacks a tar stream.

    Args:
        place: what a step before has answered, see `Answers`.
        keep: there are other steps, so what is there stays if this one fails; else another try needs another id, for
            this one may still be at work when its connection has broken, and then removes what it has brought.
        last: everything has come with it, and is to be moved to its place.
        again: it has begun before, and what became of it is not known.

    Raises:
        CommandError: the destination is too long.
    """
    script = _script(_PRELUDE, _CLEANING, _CHECK, _MOVE, _PACK)
    return _sh(script, target.arguments(place, keep), "l" * last, octal(target.name), "a" * again)


def part_step(target: Target, place: str, number: int, path: bytes, *, size: int, mode: int, units: int) -> str:
    """The command that takes a large file, or the rest of one.

    Args:
        number: of the file, among the large ones.
        path: below the destination.
        size: bytes of the whole file.
        mode: the bits of permission.
        units: how many times `PART_UNIT` bytes are there already.
    """
    script = _script(_PRELUDE, _CLEANING, _PART)
    more = (str(number), str(size), f"{mode:04o}", octal(path), str(units))
    return _sh(script, target.arguments(place, keep=True), *more)


def ask_step(target: Target, place: str, number: int, path: bytes) -> str:
    """The command that tells how much of a large file is there."""
    return _sh(_script(_PRELUDE, _ASK), target.arguments(place, keep=True), str(number), octal(path))


def hop_step(target: Target, boot: str) -> str:
    """The command that becomes the hop of a chain of hosts.

    It exits with `NO_TAR` or `NO_PYTHON` where it can not be; then nothing was done. It says which of the programs of
    protocols/chain_leaf.py there are, in lines ``tool <name>``.

    Args:
        boot: what python3 is to run: one line, with nothing that a shell would read in single quotes.
    """
    return _sh(_script(_PRELUDE, _HOP), target.arguments("", keep=False)[:4], boot)


def feed_step(target: Target, place: str, pipe: str) -> str:
    """The command that gives what comes on its stdin to the hop, by a named pipe that the hop has made."""
    return _sh(_script(_PRELUDE, _FEED), target.arguments(place, keep=False)[:4], pipe)


def discard_step(target: Target) -> str:
    """The command that removes what a transfer has left half done."""
    return _sh(_script(_PRELUDE, _DISCARD), target.arguments("f", keep=True))


def _sh(script: str, first: tuple[str, ...], *more: str) -> str:
    return sh(script, "regisseur-transfer", *first, *more)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a script has said."""

    place: str = ""
    """Where files go: ``d``: into the directory that is the destination; ``f``: one takes the name of the destination;
    empty: it did not come so far."""
    has: int | None = None
    """Bytes of a large file that are there; None: all of it."""


def answers(said: bytes) -> Answers:
    """What a script has written to stdout, whole or cut off, behind whatever start-up files have written."""
    place, has = "", None
    *lines, _ = said.split(b"\n")
    for line in lines:
        words = line.split(b" ")
        if words[0] == b"at" and words[1:] in ([b"d"], [b"f"]):
            place = words[1].decode()
        elif words[0] == b"has" and len(words) == 2:
            has = int(words[1]) if words[1].isdigit() else None
    return Answers(place, has)


_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+,=:@~")


def octal(text: bytes) -> str:
    """*text* as a word that every shell reads alike, for ``printf %b``.

    Raises:
        CommandError: it has a null byte.
    """
    if b"\0" in text:
        raise CommandError(f"{text!r} has a null byte")
    return "".join([chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in text])
