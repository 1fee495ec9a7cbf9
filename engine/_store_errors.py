"""What can be wrong with the directory of a sweeper.

::

    SweepStoreError (Exception)
     +-- SweepStoreMissingError    no store is in this directory
     +-- SweepStoreCorruptError    its log is damaged, and was left as it is
     +-- SweepStoreVersionError    a newer release wrote it
     +-- SweepStoreBusyError       another process kept it locked
     +-- ExecoStoreError           it holds a store of Execo, which has to be converted
     +-- ExecoImportError          a store of Execo can not be converted

Each keeps its facts as attributes and in ``args``, so that it pickles.
"""

from __future__ import annotations

__all__ = [
    "ExecoImportError",
    "ExecoStoreError",
    "SweepStoreBusyError",
    "SweepStoreCorruptError",
    "SweepStoreError",
    "SweepStoreMissingError",
    "SweepStoreVersionError",
]


class SweepStoreError(Exception):
    """Something is wrong with the sweeper's directory or file *path*."""

    def __init__(self, path: str, *facts: object) -> None:
        super().__init__(path, *facts)
        self.path = path

    def __str__(self) -> str:
        return f"the sweeper's store {self.path} can not be used"


class SweepStoreMissingError(SweepStoreError):
    """There is no store in directory *path*."""

    def __str__(self) -> str:
        return f"no sweeper's store is in {self.path}: there is no file sweep.log in it"


class SweepStoreCorruptError(SweepStoreError):
    """The log *path* is damaged at byte *offset*; nothing was changed on the disk.

    Everything before the offset is sound.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(path, offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the sweeper's log {self.path} is damaged at byte {self.offset}: {self.reason}. Nothing was changed. "
            "Restore it from a copy; or copy the directory, and keep what is sound before that byte: "
            f"truncate -s {self.offset} {self.path}"
        )


class SweepStoreVersionError(SweepStoreError):
    """The log *path* has format *version*, and this release knows *known*."""

    def __init__(self, path: str, version: object, known: int) -> None:
        super().__init__(path, version, known)
        self.version = version
        self.known = known

    def __str__(self) -> str:
        return (
            f"the sweeper's log {self.path} has format {self.version!r}, and this release reads format {self.known}: "
            "use the release that wrote it, or a newer one"
        )


class SweepStoreBusyError(SweepStoreError):
    """Another process kept the store in *path* locked for all of *seconds*; nothing was done."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(path, seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"the sweeper's store in {self.path} stayed locked by another process for {self.seconds:g} s; "
            f"lsof {self.path}/sweep.lock names it: it may be stopped, or in a long filter"
        )


class ExecoStoreError(SweepStoreError):
    """Directory *path* holds a store of Execo: the pickles ``done``, ``inprogress``, ``sweeps``."""

    def __str__(self) -> str:
        return (
            f"{self.path} holds a sweeper's store that Execo wrote (pickles), which is never opened as it is. "
            f"Convert it, keeping the old files: regisseur sweep import {self.path}"
        )


class ExecoImportError(SweepStoreError):
    """The file *path* of Execo can not be converted: *reason*, at byte *offset*. Nothing was changed."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(path, offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} was not converted, and nothing was changed: {self.reason} (at byte {self.offset})"
