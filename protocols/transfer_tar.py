"""Tar streams for other hosts: the headers, which every tar since the nineties can read.

The format is GNU's: names of any length and any bytes (types L and K), sizes beyond 8 GiB in base 256. In front of it
stands an extended header of pax where the time of a file has a fraction of a second; a tar that does not know it
passes over it. Owners are left out: files belong to whoever unpacks them.
"""

from __future__ import annotations

__all__ = ["BLOCK", "DIRECTORY", "END", "FILE", "LINK", "header", "padding"]

BLOCK = 512
"""Bytes of a block, of which a stream is made."""
END = bytes(10240)
"""The end of a stream: more zeros than it takes, so that no tar waits for the rest of its own larger blocks."""

FILE, LINK, DIRECTORY = b"0", b"2", b"5"
"""Types of members."""

_LONG_NAME, _LONG_LINK, _EXTENDED = b"L", b"K", b"x"
_NAME_SIZE = 100
_SECOND = 1_000_000_000
_LARGEST_OCTAL = 0o77777777777


def header(name: bytes, kind: bytes, mode: int, mtime_ns: int, *, size: int = 0, link: bytes = b"") -> bytes:
    """What stands in front of the content of a member.

    Args:
        name: relative, with slashes; no null byte.
        kind: `FILE`, `LINK` (symbolic) or `DIRECTORY`.
        mode: the bits of permission.
        mtime_ns: nanoseconds since the epoch.
        size: bytes of the content, which follows, and then `padding`.
        link: what a symbolic link holds.
    """
    if kind == DIRECTORY:
        name += b"/"
    seconds, fraction = divmod(mtime_ns, _SECOND)
    parts = []
    if fraction:
        parts.append(_extended(seconds, fraction))
    if len(link) > _NAME_SIZE:
        parts.append(_long(_LONG_LINK, link))
    if len(name) > _NAME_SIZE:
        parts.append(_long(_LONG_NAME, name))
    parts.append(_block(name[:_NAME_SIZE], kind, mode, seconds, size, link[:_NAME_SIZE]))
    return b"".join(parts)


def padding(size: int) -> bytes:
    """What follows *size* bytes of content."""
    return bytes(-size % BLOCK)


def _extended(seconds: int, fraction: int) -> bytes:
    # Before the epoch a decimal fraction counts the other way.
    text = f"{seconds}.{fraction:09d}" if seconds >= 0 else f"-{-seconds - 1}.{_SECOND - fraction:09d}"
    record = f" mtime={text}\n"
    size = len(record) + 2  # the size counts its own digits: always two
    content = f"{size}{record}".encode()
    return _block(b"PaxHeaders/x", _EXTENDED, 0o644, 0, len(content), b"") + content + padding(len(content))


def _long(kind: bytes, name: bytes) -> bytes:
    content = name + b"\0"
    return _block(b"././@LongLink", kind, 0, 0, len(content), b"") + content + padding(len(content))


def _block(name: bytes, kind: bytes, mode: int, seconds: int, size: int, link: bytes) -> bytes:
    start = b"%s%07o\x00%07o\x00%07o\x00%s%s" % (
        name.ljust(_NAME_SIZE, b"\0"),
        mode & 0o7777,
        0,
        0,
        _number(size),
        _number(seconds),
    )
    end = kind + link.ljust(_NAME_SIZE, b"\0") + b"ustar  \x00"
    # The sum takes the field of the sum itself for eight blanks.
    total = sum(start) + 8 * 0x20 + sum(end)
    return (start + b"%06o\x00 " % total + end).ljust(BLOCK, b"\0")


def _number(value: int) -> bytes:
    """A field of twelve bytes; what has no place in octal digits stands in base 256."""
    if 0 <= value <= _LARGEST_OCTAL:
        return b"%011o\x00" % value
    return bytes([0xFF if value < 0 else 0x80]) + value.to_bytes(11, "big", signed=True)
