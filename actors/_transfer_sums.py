"""Digest: what sha256sum(1) and cksum(1) say of a file, both at once."""

from __future__ import annotations

import binascii
import hashlib

__all__ = ["Digest"]

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Digest:
    """Of bytes that come in pieces."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._crc = 0xFFFFFFFF  # which binascii turns round: it begins with zero, as cksum does

    def update(self, data: bytes) -> None:
        """Add *data*."""
        self._sha256.update(data)
        self._size += len(data)
        # Of cksum's sum the first bit is the highest, of binascii's the lowest.
        self._crc = binascii.crc32(data.translate(_REVERSED), self._crc)

    def values(self) -> tuple[bytes, bytes]:
        """SHA-256 in hexadecimal; and "crc size", as cksum writes them."""
        # cksum adds the size behind the content, its lowest byte first.
        end = self._size.to_bytes((self._size.bit_length() + 7) // 8, "little")
        crc = binascii.crc32(end.translate(_REVERSED), self._crc)
        return self._sha256.hexdigest().encode(), b"%d %d" % (int(f"{crc:032b}"[::-1], 2), self._size)
