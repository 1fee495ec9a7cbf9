"""A leaf of a chain of hosts: a host without python3, which takes the files from a hop but can not serve them.

It has the same steps as a `Put` (protocols/transfer), each with a stream that comes from a hop in place of the
connection of commands. What fetches it is a sh script, which itself comes by stdin, so that the key of the run is in no
command line: it answers the challenge of the hop (see actors/_chain_wire.py, `challenge`) by means of sha256sum, and
asks for a segment as it is, without frames. For the connection it needs one program of `TOOLS`.
"""

from __future__ import annotations

import shlex
import struct

__all__ = ["LEAF_COMMAND", "MAGIC", "RAW", "TOOLS", "leaf_input"]

MAGIC = b"regisseur-chain-1\n"
"""What a hop says first."""
RAW = 1 << 63
"""Added to the number of the block in a request: that segment only, from its beginning, without frames."""
TOOLS = ("bash", "perl", "nc")
"""Programs that can connect, the best first. (curl takes bytes of 255 for telnet's; wget has only HTTP.)"""
LEAF_COMMAND = "exec /bin/sh -s"
"""The command that reads `leaf_input`."""

_BLOCK_OF_HASH = 64

_PERL = """
use IO::Socket::INET;
$s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1]) or exit 75;
if ($p = fork) { $| = 1; while (sysread($s, $b, 1048576)) { print $b } kill 15, $p }
else { while (sysread(STDIN, $b, 65536)) { syswrite($s, $b) } }
"""
_BASH = 'exec 3<>"/dev/tcp/$0/$1" || exit 75; cat <&0 >&3 & cat <&3; kill $!'

_CONNECT = {
    "bash": f"bash -c {shlex.quote(_BASH)}",
    "perl": f"perl -e {shlex.quote(_PERL)}",
    "nc": "nc",
}

# The texts i, o, m, r and those made of them are octal escapes, for printf alone: a variable can not hold null bytes.
_SCRIPT = r"""
octal() { x=; for byte in $(od -An -v -to1); do x="$x\\$byte"; done; printf %s "$x"; }
digest() {
    h=$(sha256sum) h=${h%% *}
    while [ -n "$h" ]; do t=${h#??}; printf '\\%03o' "0x${h%"$t"}"; h=$t; done
}
mac() { x=$({ printf "$i"; printf "$m$1"; } | digest); { printf "$o"; printf "$x"; } | digest; }
some() { dd bs=1 count=$1 2>/dev/null | octal; }
talk() {
    [ "$(some $magic)" = "$m" ] || exit 75
    s=$(some 32) n=$(dd if=/dev/urandom bs=32 count=1 2>/dev/null | octal)
    p=$(mac "$successor$s$n$r")
    printf "$n$r$p" >&4
    [ "$(some 32)" = "$(mac "$upstream$n$s")" ] || exit 75
    exec cat
}
d=$(mktemp -d) || exit 75
trap 'rm -rf "$d"' 0
trap 'exit 75' 1 2 13 15
mkfifo "$d/q" || exit 75
$connect "$address" "$port" <"$d/q" | { exec 4>"$d/q"; talk; } | /bin/sh -c "$step"
exit
"""


def octals(data: bytes) -> str:
    """*data* as octal escapes."""
    return "".join([f"\\{byte:03o}" for byte in data])


def leaf_input(key: bytes, tool: str, address: str, port: int, segment: int, step: str) -> bytes:
    """What `LEAF_COMMAND` is to read: take *segment* from the hop at *address*, and have *step* read it.

    Args:
        key: of the run, at most 64 bytes.
        tool: one of `TOOLS`.
        step: a command of protocols/transfer.

    Its exit status is that of *step*, which fails where not everything comes.
    """
    padded = key.ljust(_BLOCK_OF_HASH, b"\0")
    values = {
        "i": octals(bytes(byte ^ 0x36 for byte in padded)),
        "o": octals(bytes(byte ^ 0x5C for byte in padded)),
        "m": octals(MAGIC),
        "magic": str(len(MAGIC)),
        "successor": octals(b"successor"),
        "upstream": octals(b"upstream"),
        "r": octals(struct.pack(">IQ", segment, RAW)),
        "address": address,
        "port": str(port),
        "step": step,
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    script = _SCRIPT.replace("$connect ", f"{_CONNECT[tool]} ")
    return ("\n".join(lines) + script).encode()
