"""Output: what one stream has brought so far, as if all of it were in memory, while most of it may be in a file.

Up to a limit it is held in memory; beyond, all of it goes to a spool file, from the first byte on, and the memory is
given back. Reading does not show the difference. A full disk loses nothing that is already held.

Threads: one thread writes (`append`, `splice_from`, `close`, `clear`: the reactor's), any thread reads at any time.
There is no lock, so that a fork in the middle of a call leaves none behind that nobody opens. Instead, in this order:

1. Held chunks are immutable and only ever added, or replaced by a longer one. A copy of the list is a whole output.
2. Spooling writes the file, then sets the path, then drops the chunks. A reader copies the chunks first and looks at
   the path after: if there is none, what it copied was whole; if there is one, the file is.
3. The size grows after the bytes are in place, so a reader never looks for bytes that are not there yet.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator

__all__ = ["Output"]

_JOIN = 1 << 16
"""Bytes up to which small pieces are joined to one chunk, so that a byte at a time does not cost an object each."""
_BLOCK = 1 << 20
"""Bytes read from the file at a time."""


class Output:
    """The bytes of one stream, in memory up to `limit` bytes and in a file beyond.

    `spool` is the path of that file, or is called for it when it is needed (in the writing thread). A file that is
    there already and not empty is never overwritten: then a number is added to the name.

    `error` is the OSError that ended spooling (no space, no permission), else None. What could not be kept since is
    counted in `lost` (bytes).
    """

    __slots__ = ("_chunks", "_closed", "_decoded", "_file", "_limit", "_path", "_size", "_spool", "error", "lost")

    def __init__(self, limit: int, spool: Callable[[], str] | str) -> None:
        self._limit = limit
        self._spool = spool
        self._file = -1
        self._reset()

    def _reset(self) -> None:
        self._path: str | None = None
        self._chunks: list[bytes] = _NO_CHUNKS
        self._size = 0
        self._decoded = _NOTHING_DECODED
        self._closed = False
        self.error: OSError | None = None
        self.lost = 0

    # -- writing: one thread -------------------------------------------------------------------------------------------

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes; never raises. What can't be kept any more, or comes after `close`, is counted in `lost`."""
        room = self._limit - self._size
        if self._closed or self.error is not None:
            self.lost += len(data)
        elif self._path is None and len(data) <= room:
            self._hold(bytes(data))
        elif self._path is not None or self._start_spooling():
            self._write(memoryview(data))
        else:
            self._hold(bytes(data[:room]))
            self.lost += len(data) - room

    def splice_from(self, descriptor: int, size: int) -> int:
        """Move at most `size` bytes from a descriptor to here and return how many came; 0 at the end of the stream.

        The way for much that nobody else wants to see: no object is made for it. Bytes that are lost (see `lost`)
        count as come. Raises what os.read raises: BlockingIOError where nothing is there, EIO from a closed terminal.
        """
        # Not os.splice, though it saves a copy: 1 GiB from a pipe to a file took it 0.5 to 1.1 s and this 0.4 to 0.85
        # (Linux 6.18, ext4, also tmpfs; pieces of 64 KiB to 1 MiB), since it fills the file page by page.
        buffer = _buffer(size)
        count = os.readv(descriptor, [buffer])
        if count:
            self.append(buffer[:count])
        return count

    def close(self) -> None:
        """The stream has ended: release the descriptor of the file. Everything stays readable. May be repeated."""
        self._closed = True
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def clear(self) -> None:
        """Forget everything, remove the file, and be ready for a new stream."""
        self.close()
        path = self._path
        self._reset()
        if path is not None:
            _remove(path)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        if not self._chunks:
            self._chunks = [data]
        elif len(self._chunks[-1]) + len(data) <= _JOIN:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)
        self._size += len(data)

    def _start_spooling(self) -> bool:
        """Write what is held to a file and let go of it; False, with `error` set and all still held, if that fails."""
        path = None
        try:
            path, self._file = _create(self._spool if isinstance(self._spool, str) else self._spool())
            for chunk in self._chunks:
                _write_all(self._file, memoryview(chunk))
        except Exception as error:  # also what spool() raises: the reactor, which calls this, must not die of it
            self.error = error if isinstance(error, OSError) else _as_os_error(error)
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            if path is not None:
                _remove(path)
            return False
        self._path = path
        self._chunks = _NO_CHUNKS
        self._decoded = _NOTHING_DECODED
        return True

    def _write(self, data: memoryview) -> None:
        try:
            while data:
                written = os.write(self._file, data)
                self._size += written
                data = data[written:]
        except OSError as error:
            self.error = error
            self.lost += len(data)

    # -- reading: any thread -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Bytes that can be read."""
        return self._size

    @property
    def spooled(self) -> bool:
        """Whether it is in a file by now."""
        return self._path is not None

    @property
    def path(self) -> str | None:
        """The file that holds the whole output, mode 0600; None while it is in memory."""
        return self._path

    def read(self) -> bytes:
        """Return all bytes. Raises OSError if the file was removed or can't be read."""
        return b"".join(self.iter_chunks())

    def iter_chunks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes from `offset` up to what is there now, in pieces of at most 1 MiB (in memory: any size).

        Raises OSError if the file was removed or can't be read.
        """
        chunks = self._chunks.copy()  # before the path: see the module
        path = self._path
        if path is not None:
            yield from _read_file(path, offset, self._size)
            return
        for chunk in chunks:
            if offset < len(chunk):
                yield chunk[offset:] if offset else chunk
                offset = 0
            else:
                offset -= len(chunk)

    def head(self, size: int) -> bytes:
        """Return the first `size` bytes, or all if there are fewer."""
        parts: list[bytes] = []
        missing = size
        for chunk in self.iter_chunks():
            if missing <= 0:
                break
            parts.append(chunk[:missing])
            missing -= len(chunk)
        return b"".join(parts)

    def tail(self, size: int) -> bytes:
        """Return the last `size` bytes, or all if there are fewer."""
        if size <= 0:
            return b""
        return b"".join(self.iter_chunks(max(0, self._size - size)))[-size:]

    def text(self) -> str:
        """Return all as text: UTF-8, invalid bytes as surrogates (errors="surrogateescape").

        A character whose last bytes have not come yet is left out until they do, or until `close`. Held in memory,
        each byte is decoded once, and the text kept; a spooled output is decoded at each call, and not kept.
        """
        closed = self._closed  # before the bytes: see the module
        if self._path is not None:
            decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
            return "".join(map(decoder.decode, self.iter_chunks())) + decoder.decode(b"", closed)
        decoded, text = self._decoded
        rest = b"".join(self.iter_chunks(decoded))
        if rest:
            more, consumed = codecs.utf_8_decode(rest, "surrogateescape", closed)
            text += more
            self._decoded = decoded + consumed, text
        return text

    def digest(self) -> str:
        """Return the SHA-256 of all bytes in hexadecimal, without reading a file as a whole into memory."""
        digest = hashlib.sha256()
        for chunk in self.iter_chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def __repr__(self) -> str:
        where = f"in {self._path}" if self._path is not None else "in memory"
        return f"<Output {self._size} bytes {where}{f', {self.lost} lost: {self.error}' if self.lost else ''}>"


_NO_CHUNKS: list[bytes] = []
"""Shared by all that hold nothing; never changed."""
_NOTHING_DECODED = (0, "")


_thread = threading.local()


def _buffer(size: int) -> memoryview:
    """Return room for `size` bytes, the same for every call of one thread: fresh memory costs more than the reading."""
    room: memoryview | None = getattr(_thread, "room", None)
    if room is None or len(room) < size:
        room = _thread.room = memoryview(bytearray(size))
    return room[:size]


def _create(wished: str) -> tuple[str, int]:
    """Create a file for the owner alone and return its path and a descriptor; take over one that is empty."""
    path = os.path.abspath(wished)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    number = 0
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            os.fchmod(descriptor, 0o600)
            return path, descriptor
        os.close(descriptor)
        number += 1
        path = f"{os.path.abspath(wished)}.{number}"


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read_file(path: str, offset: int, end: int) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while offset < end:
            block = os.pread(descriptor, min(_BLOCK, end - offset), offset)
            if not block:
                raise OSError(errno.EIO, f"ends after {offset} of {end} bytes: somebody has cut it", path)
            offset += len(block)
            yield block
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # gone already, or in a directory that is: the aim is reached
        os.unlink(path)


def _as_os_error(error: Exception) -> OSError:
    wrapped = OSError(errno.EIO, f"no place to spool to: {error!r}")
    wrapped.__cause__ = error
    return wrapped
