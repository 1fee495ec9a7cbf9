"""Outputs too large for a line of the log: kept as files, referred to by digest and path."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ._loggable import bytes_to_loggable
from ._mask import Masker

__all__ = ["INLINE_LIMIT", "OutputStore", "safe_name"]

INLINE_LIMIT = 4096
"""Bytes up to which an output goes into the log itself."""

LONGEST_NAME = 100
"""Characters of a file's name, before the number that makes it unique."""

_CHUNK = 1 << 20


def safe_name(name: str) -> str:
    """Return *name* as a name of a file: ASCII letters, digits, ``.``, ``_``, ``-``, no leading dot, not empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[:LONGEST_NAME] or "output"


class OutputStore:
    """Keeps outputs in *directory*, without the secrets that *masker* knows. Thread-safe."""

    def __init__(self, directory: Path, masker: Masker) -> None:
        self.directory = directory
        self._masker = masker
        self._numbers: dict[str, int] = {}

    def store(self, name: str, data: str | bytes | os.PathLike[str], inline: int) -> dict[str, Any]:
        """Keep *data* (or what the file *data* holds) and return its size, sha256 and text, bytes, path or error."""
        try:
            if isinstance(data, os.PathLike):
                return self._store_file(name, Path(data), inline)
            raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else bytes(data)
            raw = self._masker.hide_in_bytes(raw)
            if len(raw) > inline:
                return self._write(name, iter([raw]))
            return self._inline(raw)
        except OSError as error:
            return {"error": str(error)}

    def _inline(self, raw: bytes) -> dict[str, Any]:
        kept: dict[str, Any] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        text = bytes_to_loggable(raw, self._masker.hide_in_bytes)
        return kept | (text if isinstance(text, dict) else {"text": text})

    def _store_file(self, name: str, path: Path, inline: int) -> dict[str, Any]:
        with path.open("rb") as source:
            if os.fstat(source.fileno()).st_size <= inline:
                return self._inline(self._masker.hide_in_bytes(source.read()))
            if path.resolve().parent != self.directory.resolve():
                return self._write(name, self._hidden(source))
            kept = self._digest(source)
            # What stands for a secret is shorter than any secret: the size tells whether one was there.
            if kept["size"] == os.fstat(source.fileno()).st_size:
                return kept | {"path": str(path)}
            source.seek(0)
            kept = self._write(name, self._hidden(source))
            os.replace(kept["path"], path)
            return kept | {"path": str(path)}

    def _digest(self, source: BinaryIO) -> dict[str, Any]:
        digest = hashlib.sha256()
        size = 0
        for chunk in self._hidden(source):
            digest.update(chunk)
            size += len(chunk)
        return {"size": size, "sha256": digest.hexdigest()}

    def _hidden(self, source: BinaryIO) -> Iterator[bytes]:
        """Yield the bytes of *source* without secrets, those across the border of two reads too."""
        overlap = max(self._masker.longest - 1, 0)
        rest = b""
        while chunk := source.read(_CHUNK):
            data = self._masker.hide_in_bytes(rest + chunk)
            cut = len(data) - overlap
            rest = data[max(cut, 0) :]
            yield data[: max(cut, 0)]
        yield rest

    def _write(self, name: str, chunks: Iterator[bytes]) -> dict[str, Any]:
        """Write *chunks* into a new file, and describe it; leave no half of one behind."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path, file = self._create(safe_name(self._masker.hide_in_text(name)))
        digest = hashlib.sha256()
        size = 0
        try:
            with file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return {"size": size, "sha256": digest.hexdigest(), "path": str(path)}

    def _create(self, name: str) -> tuple[Path, BinaryIO]:
        """Create a file called *name*, or *name* and the next free number; other processes do the same here."""
        number = self._numbers.get(name, 1)
        while True:
            path = self.directory / (name if number == 1 else f"{name}-{number}")
            number += 1
            self._numbers[name] = number
            try:
                return path, path.open("xb")
            except FileExistsError:
                continue
