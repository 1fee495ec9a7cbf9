"""How a command is run on another host: what is put around it, and what that tells.

`wrapped` gives the command line for ssh. The command runs by the user's login
shell as ssh would run it, with its stdin, stdout and stderr untouched, and
``REGISSEUR_REMOTE=<token>;`` in its environment, by which all that it starts
is found again (see `remote_supervisor`). The wrapper stays, waits for it, and
exits with its status. Two things of a plain ssh are lost: nobody else notices
when the command closes its stdin or stdout before it ends.

A signal that ends the command cannot be told from an exit with 128 and more by
the status alone. The wrapper learns it from the message which every sh writes
when a signal has ended a command ("Killed"), and which it captures. Then, and
for every other status from 128 on, it writes a trailer to stderr, which
`TrailerFilter` removes. So there is a trailer unless the wrapper itself was
killed, and a status of 255 without one is ssh's own.

No sh has a message for SIGINT and SIGPIPE. Status 130 is taken for SIGINT, since
programs that exit so were interrupted too, and 141 for an exit, since mostly it
comes of a shell's pipefail.

A wrapped command with a connection of its own (*watch*) says on stderr, in the same way, that it begins: what is there
before is the connector's, and one that fails before has run nothing. It has a watcher, unless it sees that it runs on
the machine of the controller itself, in the session of the connector (a stub, a wrapper): there the controller and its
guardian reach all of it, and many watchers of one machine would look at each other's processes. It is told by a
variable (`here`), which has the token, so that it is of this run, and the pid and start of the controller, since some
connectors take the whole environment to another host, where the number alone might be in use. Another user than the
controller's (sudo) is out of its reach, and has a watcher.

Signals that reach the wrapper by its process group do not end it: they are
trapped, not ignored, so that the command gets them as usual. One that comes
before there is a command is kept for it, and ends it in place of its shell.
"""

from __future__ import annotations

import re
from functools import cache

from .remote_supervisor import SupervisorAnswer, SupervisorReader, kill_order, supervisor, watcher
from .shell_line import CommandError, one_line, packed, sh

__all__ = [
    "CommandError",
    "SupervisorAnswer",
    "SupervisorReader",
    "TrailerFilter",
    "detached",
    "here",
    "kill_order",
    "supervisor",
    "wrapped",
]

# Variables that are set before the command begins have long names, as it may have others in its environment.
# In $0: what the supervisor knows a wrapper by, and the value of the variable. The shell that waits is one that bash
# lets speak of signals: not in posix mode, and not directly in a command substitution. The dot is missing from what
# is captured if that shell was killed itself, so that its end is not taken for an exit; and if it could not fork, which
# is then told. ksh counts signals from 256, yash from 384. The shell around them may say that a signal has ended the
# one which it waits for, in the moment before that one has its traps: nobody is to hear it.
_WRAPPER = r"""
traps() { for regisseur_n in 1 2 3 10 12 13 14 15; do trap "regisseur_t=$regisseur_n" $regisseur_n; done; };
await() {
    ( [ -z "$regisseur_t" ] || exec /bin/sh -c "kill -$regisseur_t \$\$";
    exec "${SHELL:-/bin/sh}" -c "$regisseur_c" <&3 >&4 2>&5 3<&- 4>&- 5>&- );
    s=$?;
    [ $s -lt 256 ] || { s=$((128+s%128)); printf signal; };
    printf .; exit $s;
};
regisseur_t=; traps; regisseur_f="regisseur: the command is not run: no process can be forked";
REGISSEUR_REMOTE=${0#regisseur:}; export REGISSEUR_REMOTE;
{
    if [ -z "$BASH_VERSION" ]; then
        trap "{ echo $regisseur_f >&5; } 2>/dev/null || echo $regisseur_f >&2" 0;
        { m=$( traps; { await; } 2>&1 ); s=$?; } 2>/dev/null;
        trap - 0;
    else set +o posix; m=$( traps; ( traps; await ) 2>&1 ); s=$?; fi;
} 3<&0 4>&1 5>&2;
case $m in *.|"") ;; *) [ $s -ge 128 ] && [ $s -ne 254 ] || { printf "%s\n" "$m" >&2; m=.; } ;; esac;
if [ $s -ge 128 ]; then
    case $s$m in 130.) w=s;; ???.|254*) w=x;; *) w=s;; esac;
    printf "\036regisseur:%s%s%s\036" "$REGISSEUR_REMOTE" $w $s >&2;
fi;
exit $s
"""

# seen <pid>: P parent, G session, T time of its start. A test that knows no -O fails: a watcher too many does no harm.
# A session of its own where there is setsid: then it survives what is sent to the process group of the command.
_START_WATCHER = r"""
seen() { P= G= T=; read -r l </proc/$1/stat && { set -- ${l##*") "}; P=$2 G=$4 T=${20}; }; };
here() {
    case $REGISSEUR_HERE in "${0#regisseur:}"*) ;; *) return 1;; esac;
    c=${REGISSEUR_HERE#*;}; b=${c#*;}; c=${c%;*};
    [ -O /proc/$c ] && seen $$ && seen $G && [ "$P" = "$c" ] && seen $c && [ "$T" = "$b" ];
};
if here 2>/dev/null; then s=h; else s=b; fi;
printf "\036regisseur:%s$s\036" "${0#regisseur:}" >&2;
if [ $s = b ]; then
    i=${0#regisseur:}; i=${i%;};
    s=$(command -v setsid);
    $s /bin/sh -c "$2" regisseur-watcher "${i%.*}" "${i#*.}" $$ $PPID </dev/null >/dev/null 2>&1 &
fi;
unset REGISSEUR_HERE;
"""

# The substitution waits for the pid, and not for the command, which has closed stdout by then.
_DETACHED = r"""
unset REGISSEUR_REMOTE;
s=$(command -v setsid);
p=$( ( trap "" 1; exec $s /bin/sh -c "$2" regisseur-detached "$regisseur_c" </dev/null 2>/dev/null ) & );
[ -n "$p" ] || exit 127;
echo "$p"
"""
_DETACHED_CHILD = 'echo $$; exec >/dev/null; exec "${SHELL:-/bin/sh}" -c "$1"'

_TOKEN = re.compile(r"[0-9a-f]+\.[0-9]+")
_END_OF_TRAILER = re.compile(rb"(?:([sx])([0-9]{3})|([bh]))\x1e")
_SIGNALS = 128


def wrapped(command: str, token: str, *, watch: bool = False) -> str:
    """The command line for ssh that runs *command*; see the module.

    Args:
        command: for the remote user's login shell, of any content.
        token: of the process, ``<hexadecimal>.<number>``.
        watch: the command has a connection of its own: when that breaks, what was started is ended within five
            seconds, background processes included. Those which outlive their command end with the connection too.
            Not where the environment tells by `here` that the controller itself reaches them.

    Raises:
        CommandError: it has a null byte, or is too long: more than some 100 kB.
        ValueError: that is no token.
    """
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(f"{token!r} is no token of a process")
    word, unpack = packed(command, "regisseur_c")
    start, *more = _watching() if watch else ("",)
    return sh(f"{unpack} {start} {_wrapper()}", f"regisseur:{token};", word, *more)


def here(token: str, pid: int, started: int) -> tuple[str, str]:
    """The variable, name and value, by which a command with *watch* sees that its controller reaches it without.

    Only for a connector that leads a session of its own, and whose controller has a guardian.

    Args:
        token: of the process, as for `wrapped`.
        pid: of the controller.
        started: when it started, in ticks, as /proc tells.
    """
    return "REGISSEUR_HERE", f"{token};{pid:d};{started:d}"


def detached(command: str) -> str:
    """The command line for ssh that starts *command* and leaves it alone, whatever becomes of the connection.

    It runs in a session of its own, without a token; its stdin and outputs are /dev/null. Its pid comes on stdout,
    and the line ends at once, with status 0, or 127 where it could not be started. The status of the command itself
    is known to nobody.

    Raises:
        CommandError: see `wrapped`.
    """
    word, unpack = packed(command, "regisseur_c")
    return sh(f"{unpack} {one_line(_DETACHED)}", "regisseur-detached", word, _DETACHED_CHILD)


@cache
def _wrapper() -> str:
    return one_line(_WRAPPER)


@cache
def _watching() -> tuple[str, str]:
    return one_line(_START_WATCHER), watcher()


class TrailerFilter:
    """Takes what a wrapped command writes to stderr, in whatever pieces, and takes out the trailer and the beginning.

    The trailer is the end of it, but for what processes write that the command has left in the background.

    Args:
        token: that was given to `wrapped`.
    """

    __slots__ = ("_begin", "_held", "_status", "begun", "is_here")

    def __init__(self, token: str) -> None:
        self._begin = f"\x1eregisseur:{token};".encode()
        self._held = b""
        self._status: int | None = None
        self.begun = False
        """The command has said that it begins; one without *watch* never does."""
        self.is_here = False
        """And that its controller reaches it, see `here`."""

    def feed(self, data: bytes) -> bytes:
        """What may be passed on now: all but what could be the beginning of the trailer."""
        if self._held:
            data = self._held + data
            self._held = b""
        at = data.rfind(b"\x1e")
        if at < 0:
            return data
        data = self._without_trailer(data)
        at = data.rfind(b"\x1e")
        if at >= 0 and self._may_begin(data[at:]):
            data, self._held = data[:at], data[at:]
        return data

    def finish(self) -> tuple[bytes, int | None]:
        """What is still to be passed on, and how the command ended: see Popen.returncode. None: there was no trailer.

        Without one, the status that ssh tells is that of the command if it is below 128.
        """
        held, self._held = self._held, b""
        return held, self._status

    def _without_trailer(self, data: bytes) -> bytes:
        at = data.find(self._begin)
        while at >= 0:
            end = _END_OF_TRAILER.match(data, at + len(self._begin))
            if end is None:
                at += 1
            else:
                if end[1] is None:
                    self.begun = True
                    self.is_here = end[3] == b"h"
                else:
                    status = int(end[2])
                    self._status = _SIGNALS - status if end[1] == b"s" else status
                data = data[:at] + data[end.end() :]
            at = data.find(self._begin, at)
        return data

    def _may_begin(self, data: bytes) -> bool:
        size = len(self._begin)
        if len(data) <= size:
            return self._begin.startswith(data)
        return data.startswith(self._begin) and re.fullmatch(rb"[sx][0-9]{0,3}|[bh]", data[size:]) is not None
