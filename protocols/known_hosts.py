"""Files of host keys as ssh keeps them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): leaving out the keys of some hosts."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable

__all__ = ["key_name", "without_hosts"]

_SSH_PORT = 22


def key_name(address: str, port: int | None = None) -> str:
    """Return the name under which ssh keeps the key of the server at *address* and *port* (None: 22)."""
    return address if port in (None, _SSH_PORT) else f"[{address}]:{port}"


def without_hosts(content: bytes, names: Iterable[str]) -> tuple[bytes, int]:
    """Return the *content* of a file without the keys of *names*, and how many lines these were.

    A line that names a host among others goes too. Lines with patterns or with a marker (``@revoked``,
    ``@cert-authority``) are not about one host alone: they stay.

    Args:
        names: from key_name; upper and lower case are the same.
    """
    wanted = {name.lower().encode() for name in names}
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if not _names_one_of(line, wanted)]
    return b"".join(kept), len(lines) - len(kept)


def _names_one_of(line: bytes, wanted: set[bytes]) -> bool:
    first = next(iter(line.split(None, 1)), b"")
    if first[:1] in (b"#", b"@"):
        return False
    if first.startswith(b"|1|"):
        return _is_hash_of(first, wanted)
    return not set(b"*?!") & set(first) and not wanted.isdisjoint(first.lower().split(b","))


def _is_hash_of(word: bytes, wanted: set[bytes]) -> bool:
    """Whether *word*, ``|1|salt|hash``, hides one of the names: the hash is HMAC-SHA1 of the name under the salt."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in word[3:].split(b"|"))
    except ValueError:  # this is no such word, after all
        return False
    return any(hmac.digest(salt, name, "sha1") == digest for name in wanted)
