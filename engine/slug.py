"""`slugify`: names for files and directories, made of anything."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["slugify"]


def slugify(value: object, separator: str = "-") -> str:
    """Make a file name of ``str(value)``: ASCII letters without accents, lower case, words joined by *separator*.

    What is no letter, digit, underscore, blank or dash is dropped. A combination of a sweep gives
    ``a-1-b-x``.
    """
    decomposed = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode("ascii")
    kept = re.sub(r"[^\w\s-]", "", decomposed, flags=re.ASCII).strip().lower()
    gaps = re.escape(separator) if separator else "-"
    return re.sub(rf"(?:\s|{gaps})+", lambda _: separator, kept)
