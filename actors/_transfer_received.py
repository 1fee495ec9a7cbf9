"""Received: what has come of the stream of a `Get`, in the pieces in which it came.

Each piece is a file without a name that a connection has written to: whatever start-up files have written there first,
the head, and the stream from some byte on.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass

from ..protocols.transfer_get import EDGE, SCRIPT_NOISE, foot_size, foot_status, head_at, head_size
from ._redirect import FileOutput

__all__ = ["Received", "StreamReader", "told_total"]

_OVERLAP = 1 << 16
"""Bytes that are sent again after a break, to see that it is the same stream."""


@dataclass(frozen=True, slots=True)
class _Piece:
    fd: int
    offset: int
    """Where in the file the stream goes on."""
    size: int


class Received:
    """See the module.

    Args:
        directory: where the files are made: in the file system in which what is in them will go.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._pieces: list[_Piece] = []
        self._current: FileOutput | None = None
        self._skipped = 0
        self.total: int | None = None
        """Bytes of all files on the host, as far as it has told."""

    @property
    def size(self) -> int:
        """Bytes of the stream that are here."""
        return sum(piece.size for piece in self._pieces)

    def next_output(self) -> tuple[FileOutput, int]:
        """Where the connection is to write to, and how many bytes of the stream the host is to leave out.

        Raises:
            OSError: there is no place for it.
        """
        with tempfile.TemporaryFile(prefix=".regisseur-", dir=self._directory, buffering=0) as file:
            self._current = FileOutput(os.dup(file.fileno()))
        self._skipped = max(0, self.size - _OVERLAP)
        return self._current, self._skipped

    def take(self) -> bool:
        """The connection has written all that it will; returns whether it was of any use.

        Where it is not the stream that was broken off, all that came before is given up.
        """
        current, self._current = self._current, None
        if current is None:
            return False
        fd = os.dup(current.fd)
        current.close()
        start = os.pread(fd, SCRIPT_NOISE + EDGE, 0)
        at = head_at(start)
        if at is None:
            os.close(fd)
            return False
        self.total = head_size(start[at : at + EDGE])
        offset = at + EDGE
        size = os.fstat(fd).st_size - offset
        known = self.size - self._skipped
        if self._skipped or known:
            before = StreamReader(self).read_at(self._skipped, min(known, size))
            if os.pread(fd, len(before), offset) != before:
                self.close()
                if self._skipped:
                    os.close(fd)
                    return False
                known = 0
        if size <= known:
            os.close(fd)
            return False
        self._pieces.append(_Piece(fd, offset + known, size - known))
        return True

    def listing(self) -> bytes | None:
        """The listing of checksums; None: the stream is not complete."""
        listed = self._listed(self._foot())
        return None if listed is None else StreamReader(self).read_at(self.size - EDGE - listed, listed)

    def status(self) -> int | None:
        """What the foot tells (see `foot_status`); None: the stream is not complete."""
        foot = self._foot()
        return None if self._listed(foot) is None else foot_status(foot)

    def _listed(self, foot: bytes) -> int | None:
        """Bytes of the listing; None: the stream is not complete."""
        listed = foot_size(foot)
        return None if listed is None or listed + EDGE > self.size else listed

    def _foot(self) -> bytes:
        return StreamReader(self).read_at(max(0, self.size - EDGE), EDGE)

    def close(self) -> None:
        """Let go of all that has come."""
        if self._current is not None:
            self._current.close()
            self._current = None
        for piece in self._pieces:
            os.close(piece.fd)
        self._pieces.clear()


def told_total(output: FileOutput) -> int | None:
    """The size of all files, where its host has told it by now: bytes. Thread-safe."""
    with contextlib.suppress(OSError):  # it has just been closed
        start = os.pread(output.fd, SCRIPT_NOISE + EDGE, 0)
        at = head_at(start)
        if at is not None:
            return head_size(start[at : at + EDGE])
    return None


class StreamReader(io.RawIOBase):
    """The stream as one file, of which *size* bytes are shown."""

    def __init__(self, received: Received, size: int | None = None) -> None:
        super().__init__()
        self._pieces = list(received._pieces)
        self._size = received.size if size is None else size
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Read on from somewhere else."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        """Read into *buffer*; returns how many bytes."""
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        begin = self._at
        for piece in self._pieces:
            if begin < piece.size:
                count = os.preadv(piece.fd, [view[: piece.size - begin]], piece.offset + begin)
                self._at += count
                return count
            begin -= piece.size
        return 0

    def read_at(self, offset: int, size: int) -> bytes:
        """*size* bytes from *offset* on, or as many as there are."""
        self.seek(offset)
        parts = []
        while size:
            part = self.read(size)
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
