"""The supervisor: the small sh script that a standing connection runs on its host, and what is said to it and by it.

It says that it is ready; takes orders to send signals, a line each, on its
stdin; and when its stdin ends, because the controller closed it, died, or the
connection broke, it ends all that was started over the connection: SIGTERM, a
second later SIGKILL. It blocks in a read while there is nothing to do.

What was started over a connection is found in /proc, so the host must be a
Linux: processes with ``REGISSEUR_REMOTE=<connection>.<number>;`` in their
environment, and all processes of the sessions which these lead (a program of
another user has its own environment, but is in the session). A session which
something else leads is shared with strangers, and only those with the variable
are touched. Processes of other users can be signalled only as far as the
remote user may.

Lines that it understands: ``<signal> <connection>.<number>``. Lines that it
writes: ``regisseur <connection> ready`` and, for each order, ``regisseur
<connection> killed <signal> <connection>.<number> <count>``. Orders which come
together are followed together, with one look at the processes.

The signaller is what follows one order for a command with a connection of its own, over another connection.

The watcher is the same for one command that has a connection of its own: it
has no stdin to watch, so it looks every two seconds whether the connection's
process, its parent once, is still there. Where the command had ended before,
one look that finds nothing is enough: nothing is being started any more.

The user's login shell, which has the whole command line of the wrapper, counts
as a wrapper too: its start-up files may take long. As long as there is nothing
else, the command has not begun: what those files run gets no signal but
SIGKILL, which then ends the login shell as well.

A wrapper forks, and its children look like it until they run another program.
So that none of them is taken for the command, only processes get a signal that
were there before it was read what they are. An order that so comes too early
reaches nobody, and its answer says so.

Names in the scripts: h connection, q pattern of numbers, N numbers that were
found, W pids of wrappers, e_<number> and w_<number> pids that have it in their
environment or command line, l_<number> login shells, d_<pid> its session,
s_<session> its pids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from .shell_line import one_line, sh

__all__ = ["SupervisorAnswer", "SupervisorReader", "kill_order", "signaller", "supervisor", "watcher"]

# What a process may get from a terminal, a closing connection or a careless pkill: these scripts go on.
_IGNORE = 'trap "" 1 2 3 10 12 13 14 15;'

# head names the files, as the shell would have to read them byte by byte; zombies (Z) and the dead (X) do not count.
# Only digits ever get into an eval.
_LOOK = r"""
look() {
    for p in $(cat /proc/[0-9]*/stat 2>/dev/null |
        sed -n "s/^\([0-9][0-9]*\) (.*) [A-WYa-wy] [0-9][0-9]* [0-9][0-9]* \([0-9][0-9]*\) .*/\1:\2/p"); do
        s=${p#*:}; p=${p%:*}; eval "d_$p=$s s_$s=\"\$s_$s $p\"";
    done;
    for p in $(head -n 99999 /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr "\000" "\012" |
        sed -n -e "s|^==> /proc/\([0-9][0-9]*\)/[a-z]* <==$|\1|p"
            -e "s/^REGISSEUR_REMOTE=$h[.]\($q\);$/e\1/p" -e "s/^regisseur:$h[.]\($q\);$/w\1/p"
            -e "/^-c$/{" -e n -e "s/^exec .*[^0-9a-z]regisseur:$h[.]\($q\);.*$/l\1/p" -e "}"); do
        case $p in
            e*) n=${p#e}; N="$N $n"; eval "e_$n=\"\$e_$n $o\"";;
            w*) n=${p#w}; N="$N $n"; eval "w_$n=\"\$w_$n $o\""; W="$W $o ";;
            l*) n=${p#l}; N="$N $n"; eval "l_$n=\"\$l_$n $o\""; W="$W $o ";;
            *) o=$p;;
        esac;
    done;
};
"""

# find <number>: its pids, to K. G: sessions that are in it as a whole.
_FIND = r"""
find() {
    K= G=" ";
    eval "E=\"\$e_$1 \$w_$1 \$l_$1\"";
    for p in $E; do
        eval "s=\$d_$p";
        [ -n "$s" ] || continue;
        case "$G" in *" $s "*) continue;; esac;
        eval "l=\$d_$s";
        case " $E " in *" $s "*) l=;; esac;
        if [ -z "$l" ] && [ "$s" -gt 1 ] && [ "$s" -ne "$O" ]; then G="$G$s "; eval "K=\"\$K \$s_$s\"";
        else K="$K $p"; fi;
    done;
};
"""

# strike <signal>: send it to all that there are, and tell whether there were any. In a subshell, which forgets.
# sweep looks again where nothing was found: what the host was about to start when the connection broke comes later.
# Its argument: looks, of two in a row that find nothing, that are not needed.
_SWEEP = r"""
strike() {
    a=1; look;
    for n in $N; do
        find $n;
        for p in $K; do [ $p -eq $$ ] || { kill -$1 $p && a=0; }; done;
    done 2>/dev/null;
    exit $a;
};
sweep() {
    i=0 e=${1:-0} g=15 z=.5 y=5; sleep .01 2>/dev/null || z=1 y=10;
    while
        if ( strike $g ); then e=0; else e=$((e+1)); fi;
        [ $i -lt 30 ] && [ $e -lt 2 ];
    do sleep $z; i=$((i+y)) g=0; [ $i -lt 10 ] || g=9; done;
};
"""

# hit <signal> <number>: send it to all of the command, and count them, to C. After a look.
_HIT = r"""
hit() {
    C=0; find $2; X=$W;
    eval "[ -n \"\$e_$2\$w_$2\" ]" || { X=; [ $1 -eq 9 ] || K=; };
    for p in $K; do
        case "$X" in *" $p "*) ;; *) kill -$1 $p 2>/dev/null && C=$((C+1));; esac;
    done;
};
"""

# orders <signal> <token> ...: returns 0 if SIGKILL hit something, for then that may have forked meanwhile.
_SUPERVISOR = r"""
orders() {
    a=1; look;
    while [ $# -gt 1 ]; do
        n=${2#$h.};
        if [ "$n" -ge 0 ] 2>/dev/null && { [ $v -eq 1 ] || [ $1 -eq 9 ]; }; then
            hit $1 $n;
            [ $v -eq 0 ] || printf "regisseur %s killed %s %s %s\n" $h $1 $2 $C;
            [ $1 -ne 9 ] || [ $C -eq 0 ] || a=0;
        fi;
        shift 2;
    done;
    exit $a;
};
h=$1 q="[0-9][0-9]*" b=; L=$(printf "\012."); L=${L%.};
read -r l </proc/$$/stat; set -- ${l##*") "}; O=$4;
printf "\nregisseur %s ready\n" $h;
while d=$(dd bs=65536 count=1 2>/dev/null; echo .); [ "$d" != . ]; do
    b=$b${d%.};
    case $b in *"$L"*)
        o=${b%"$L"*}; b=${b##*"$L"};
        for v in 1 0 0; do ( orders $o ) || break; done;;
    esac;
done;
sweep
"""

# A command that begins soon has only a wrapper; one of which nothing is there has ended.
_SIGNALLER = r"""
h=$1 q=$2 i=0;
read -r l </proc/$$/stat; set -- "$3" ${l##*") "}; O=$5;
while [ $i -lt 20 ]; do
    ( look; hit $1 $q; [ $C -eq 0 ] || exit 0; [ -n "$E" ] || exit 4; exit 3 );
    s=$?;
    [ $s -eq 3 ] || exit $s;
    i=$((i+1)); sleep .1 2>/dev/null || sleep 1;
done;
exit 3
"""

# sshd is never pid 1: who has that as parent from the start came when the connection was gone already.
# seen <pid>: S state, P parent, T time of its start; empty where it is gone.
_WATCHER = r"""
seen() { S= P= T=; read -r l </proc/$1/stat && { set -- ${l##*") "}; S=$1 P=$2 T=${20}; }; };
h=$1 q=$2 w=$3 c=$4 O=0 k=0;
seen $c; B=$T;
case $c:$SSH_CONNECTION in 1:?*) sweep; exit;; esac;
while :; do
    sleep 2;
    seen $w;
    case $S in
        [A-WYa-wy]) [ $P -eq $c ] || break;;
        *)
            k=1;
            seen $c;
            case $S in [A-WYa-wy]) [ "$T" = "$B" ] || break;; *) break;; esac;
            ( look; find $q; [ -n "$K" ] ) || exit 0;;
    esac;
done;
sweep $k
"""

_ORDER = re.compile(r"[0-9a-f]+\.[0-9]+")
_LONGEST_LINE = 4096
_KILLED_FIELDS = 6


def supervisor(token: str) -> str:
    """The command line that runs the supervisor of the connection *token*."""
    return sh(_supervisor(), "regisseur-supervisor", token)


@cache
def _supervisor() -> str:
    return one_line(_IGNORE + _LOOK + _FIND + _SWEEP + _HIT + _SUPERVISOR)


def signaller(process_token: str, signal_number: int) -> str:
    """The command line that sends a signal to all processes of a command, but not to its wrapper, and ends.

    For a command whose own connection can not be told anything. It ends with 0 if somebody got the signal, with 4 if
    the command is not there (any more), and with 3 if it has not begun within two seconds.

    Raises:
        ValueError: as `kill_order`.
    """
    kill_order(signal_number, process_token)
    connection, number = process_token.split(".")
    script = _IGNORE + _LOOK + _FIND + _HIT + _SIGNALLER
    return sh(one_line(script), "regisseur-signaller", connection, number, f"{signal_number:d}")


def watcher() -> str:
    """The script of a watcher. Its arguments: connection, number, pid of the wrapper, pid of that one's parent."""
    return one_line(_IGNORE + _LOOK + _FIND + _SWEEP + _WATCHER)


def kill_order(signal_number: int, process_token: str) -> bytes:
    """The line that has the supervisor send a signal to all processes of a command, but not to its wrapper.

    Raises:
        ValueError: these are no signal and no token of a process; nothing else may get into the line.
    """
    if not 0 <= signal_number <= 64 or _ORDER.fullmatch(process_token) is None:
        raise ValueError(f"signal {signal_number!r} for the process {process_token!r}")
    return f"{signal_number:d} {process_token}\n".encode()


@dataclass(frozen=True, slots=True)
class SupervisorAnswer:
    """What a supervisor says: that it is ready, or that it has followed an order."""

    is_ready: bool = False
    token: str = ""
    """Of the process that the order was for."""
    signal: int = 0
    count: int = 0
    """How many processes got the signal. None may be since the command is only being started, or has ended."""


class SupervisorReader:
    """Takes what a supervisor writes to its stdout, in whatever pieces, and what start-up files wrote before it."""

    __slots__ = ("_rest", "_token")

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._rest = b""

    def feed(self, data: bytes) -> list[SupervisorAnswer]:
        """The answers that *data* completes. All other lines are passed over."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]  # of a longer line nothing is needed but that it is no answer
        return [answer for line in lines if (answer := self._answer(line)) is not None]

    def _answer(self, line: bytes) -> SupervisorAnswer | None:
        words = line.split()
        if words[:2] != [b"regisseur", self._token]:
            return None
        if words[2:] == [b"ready"]:
            return SupervisorAnswer(is_ready=True)
        if len(words) != _KILLED_FIELDS or words[2] != b"killed" or not (words[3].isdigit() and words[5].isdigit()):
            return None
        return SupervisorAnswer(token=words[4].decode(errors="replace"), signal=int(words[3]), count=int(words[5]))
