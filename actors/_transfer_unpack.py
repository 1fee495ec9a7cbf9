"""unpack: files out of the stream of a `Get`, to their places. Blocks; for a worker.

What a host sends is not trusted: nothing is written outside of the destination, neither by a name with ".." or a
slash in front nor through a link. All is first unpacked into a directory of its own, in which links are made last of
all, and moved from there. Below the destination, where a link stands in the way of a directory it is an error.
Permissions beyond those of reading, writing and executing (setuid and the like) are left out.
"""

from __future__ import annotations

import contextlib
import decimal
import errno
import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from ._transfer_received import StreamReader
from ._transfer_sums import Digest

__all__ = ["Unpacker"]

_BLOCK = 1 << 20
_TAR_BLOCK = 512


class Unpacker:
    """Unpacks a stream.

    Args:
        sums: the checksum that each file must have, by its name; None: they are not compared.
        place: returns the path that something comes to, by its name at the top. It is asked when all has been unpacked.
    """

    def __init__(self, sums: dict[bytes, bytes] | None, place: Callable[[str], str]) -> None:
        self._sums = sums
        self._place = place
        self.left_out: list[str] = []
        """Names of what is neither file, directory nor link."""
        self.wrong: list[str] = []
        """Names of files with another checksum than on the host."""
        self._root = ""
        self._links: list[tuple[str, tarfile.TarInfo]] = []
        self._directories: dict[str, tarfile.TarInfo] = {}

    def unpack(self, stream: StreamReader, directory: str) -> None:
        """Unpack all of it.

        Args:
            directory: for what is under way; in the file system where it is to go.

        Raises:
            OSError: the disk is full, something may not be written, or a file is in the way of a directory.
            tarfile.TarError: it is no tar stream, or has names that lead out of the destination.
        """
        root = tempfile.mkdtemp(prefix=".regisseur-", dir=directory)
        self._root = root
        try:
            for tar, member in _members(stream):
                self._unpack_member(tar, member)
            for path, member in self._links:
                _make_link(path, member)
            if self.wrong:
                return
            self._close_directories()
            places = {name: self._place(name) for name in sorted(os.listdir(root))}
            if len(set(places.values())) < len(places):
                reason = f"{', '.join(places)} can not all go there, {os.strerror(errno.ENOTDIR).lower()}"
                raise NotADirectoryError(errno.ENOTDIR, reason, next(iter(places.values())))
            for name, place in places.items():
                self._move(os.path.join(root, name), place)
        finally:
            shutil.rmtree(root, onerror=_remove_anyway)

    # -- one member ----------------------------------------------------------------------

    def _unpack_member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = _checked(member.name)
        path = os.path.join(self._root, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if member.isdir():
            os.makedirs(path, mode=0o700, exist_ok=True)
            self._directories[path] = member
        elif member.issym():
            self._links.append((path, member))
        elif member.islnk():
            self._link(path, member)
        elif member.isfile():
            source = tar.extractfile(member)
            assert source is not None
            self._write(path, name, member, source)
        else:
            self.left_out.append(name)

    def _write(self, path: str, name: str, member: tarfile.TarInfo, source: IO[bytes]) -> None:
        expected = None if self._sums is None else self._sums.get(os.fsencode(name), b"")
        digest = None if expected is None else Digest()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as file:
            while block := source.read(_BLOCK):
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
                if digest is not None:
                    digest.update(block)
            os.fchmod(file.fileno(), member.mode & 0o777)
            os.utime(file.fileno(), ns=_times(member))
        if digest is not None and expected not in digest.values():
            self.wrong.append(name)

    def _link(self, path: str, member: tarfile.TarInfo) -> None:
        """A further name of a file that has come before, or of a link, which is yet to be made."""
        target = os.path.join(self._root, _checked(member.linkname))
        link = next((link for known, link in self._links if known == target), None)
        if link is not None:
            self._links.append((path, link))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.link(target, path, follow_symlinks=False)

    def _close_directories(self) -> None:
        """Give directories their modes and times, when all is in them; those within others first."""
        for path in sorted(self._directories, reverse=True):
            member = self._directories[path]
            os.chmod(path, member.mode & 0o777)
            os.utime(path, ns=_times(member))

    # -- to its place ----------------------------------------------------------------------

    def _move(self, path: str, target: str) -> None:
        try:
            there = os.lstat(target)
        except FileNotFoundError:
            there = None
        if stat.S_ISDIR(os.lstat(path).st_mode) and there is not None:
            if not stat.S_ISDIR(there.st_mode):
                text = "it is no directory, and one is to come there"
                raise NotADirectoryError(errno.ENOTDIR, text, target)
            os.chmod(path, 0o700)
            for name in sorted(os.listdir(path)):
                self._move(os.path.join(path, name), os.path.join(target, name))
            return
        _rename(path, target)


def _rename(path: str, target: str) -> None:
    """Rename, also a directory that its owner may not write."""
    try:
        os.rename(path, target)
    except PermissionError:
        mode = os.lstat(path).st_mode
        if not stat.S_ISDIR(mode) or mode & stat.S_IWUSR:
            raise
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IWUSR)
        os.rename(path, target)
        os.chmod(target, stat.S_IMODE(mode))


def _members(stream: StreamReader) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of all the tar streams that stand one behind the other."""
    file = io.BufferedReader(stream, _BLOCK)  # tarfile takes less than it asked for as the end
    at, end = 0, file.seek(0, os.SEEK_END)
    while at < end:
        file.seek(at)
        if not any(file.read(_TAR_BLOCK)):
            at += _TAR_BLOCK
            continue
        file.seek(at)
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                yield tar, member
            before, at = at, tar.offset
        # tarfile takes a broken header for the end; a true end is a block of zeros.
        file.seek(at)
        if at <= before or any(file.read(_TAR_BLOCK)):
            raise tarfile.ReadError(f"the tar stream is broken at byte {at}")


def _checked(name: str) -> str:
    """*name* as a path below, or an error."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        raise tarfile.ReadError(f"the name {name!r} leads out of the destination")
    return "/".join(parts)


def _make_link(path: str, member: tarfile.TarInfo) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    os.symlink(member.linkname, path)
    os.utime(path, ns=_times(member), follow_symlinks=False)


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    """The time of its last change, twice: nanoseconds."""
    exact = member.pax_headers.get("mtime")
    time = int(member.mtime) * 10**9 if exact is None else int(decimal.Decimal(exact).scaleb(9))
    return time, time


def _remove_anyway(function: Callable[[str], object], path: str, _: object) -> None:
    """What its mode protects belongs to us all the same."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
