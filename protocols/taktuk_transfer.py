"""What stands around a command of a transfer over TakTuk, on its host: a little Perl, which is there where TakTuk is.

TakTuk takes whatever it is given for a node, and keeps it in memory until the node can take it. So that who sends
knows how much that is, a command that reads files is *fed*: a copier passes on what comes, and tells on stdout how
much the command has taken, in lines ``took <bytes>``.

TakTuk tells outputs line by line, which makes thousands of records of a few bytes each of what is no text. So a
command that writes files is *tapped*: its stdout is told in long lines, in which newlines are escaped; `Untapped`
undoes that. It may be so far ahead of who reads, and no further: for each byte on its stdin it may go on `GRANT_UNIT`.

Pure: text in, text out.
"""

from __future__ import annotations

import re

from .shell_line import one_line

__all__ = ["GRANT_UNIT", "TOOK_UNIT", "TookReader", "Untapped", "fed", "tapped"]

TOOK_UNIT = 1 << 20
"""Bytes after which a fed command tells what it has taken."""

GRANT_UNIT = 1 << 17
"""Bytes by which a tapped command may go on when it is told so."""
_GRANTED = 4 * GRANT_UNIT  # by which it may at first

_EXEC = "exec "

# The command becomes the process that was started, so that its end is that of the command, and our Perl is a child of
# it. That stays until the command is no more (it has another parent then), with the outputs that TakTuk waits for:
# where these are closed just before the command has ended, TakTuk sees the end of it a second later.
_BEGIN = r"""
$SIG{PIPE}="DEFAULT"; $^F=255; $s=$$;
pipe(R,W) and pipe(L,M) and defined($p=fork) or die "regisseur: $^E\n";
"""
_END = r"""
sysread(L,$d,1);
select(undef,undef,undef,.001) while getppid==$s;
"""

# By the end of the pipe L it sees that the command has ended, though its input has not. Where the command reads no
# more, what still comes is passed over, so that it holds up nobody.
_FED = (
    _BEGIN
    + r"""
if($p){ close W; close L; open(STDIN,"<&R") and close R and exec @ARGV; die "regisseur: $^E\n" }
close R; close M; $SIG{PIPE}="IGNORE";
$t=$g=$x=0; $v=""; vec($v,0,1)=1; vec($v,fileno(L),1)=1;
for(;;){
    select($r=$v,undef,undef,undef)>0 or next;
    last if vec($r,fileno(L),1);
    $n=sysread(STDIN,$d,65536) or last;
    for($o=0;not $x and $o<$n;$o+=$w){ $w=syswrite(W,$d,$n-$o,$o) or $x=1 }
    $t+=$n;
    if(int($t/UNIT)>$g){ $g=int($t/UNIT); syswrite(STDOUT,"took $t\n") }
}
close W;
""".replace("UNIT", str(TOOK_UNIT))
    + _END
)

_TAPPED = (
    _BEGIN
    + r"""
if($p){ close R; close L; open(STDOUT,">&W") and close W and exec @ARGV; die "regisseur: $^E\n" }
close W; close M; $g=GRANTED;
while($n=sysread(R,$d,16384)){
    $g-=$n;
    $d=~s/=/=e/g; $d=~s/\n/=n/g; $d.="\n";
    for($o=0;$o<length($d);$o+=$w){ $w=syswrite(STDOUT,$d,length($d)-$o,$o) or exit }
    while($g<=0){ $n=sysread(STDIN,$e,512) or exit; $g+=$n*UNIT }
}
""".replace("GRANTED", str(_GRANTED)).replace("UNIT", str(GRANT_UNIT))
    + _END
)


def fed(line: str) -> str:
    """The command line of `shell_line.sh`, with the copier in front of it."""
    return _behind(_FED, line)


def tapped(line: str) -> str:
    """The command line of `shell_line.sh`, with the escaper behind it."""
    return _behind(_TAPPED, line)


def _behind(program: str, line: str) -> str:
    return f"exec perl -e '{one_line(program)}' {line.removeprefix(_EXEC)}"


class TookReader:
    """Finds in what a fed command writes how much it has taken, however it is cut into pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> int | None:
        """The last that *data* tells: bytes; None: nothing."""
        lines, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest[-_TOOK_SIZE:]
        found = _TOOK.findall(lines + newline)
        return int(found[-1]) if found else None


_TOOK = re.compile(rb"took ([0-9]{1,18})\n")
_TOOK_SIZE = 24


class Untapped:
    """What a tapped command has written, from what comes of it, however that is cut into pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes that *data* completes."""
        data = self._rest + data.replace(b"\n", b"")
        if data.endswith(b"="):
            data, self._rest = data[:-1], b"="
        else:
            self._rest = b""
        return data.replace(b"=n", b"\n").replace(b"=e", b"=")
