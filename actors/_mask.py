"""Masking: what must not be written down is replaced by ``***``.

A secret is

- the value of an environment variable whose name holds TOKEN, PASSWORD,
  SECRET or KEY, in upper or lower case, at the time the masker is made;
- what a program hands to `Masker.add`;
- a value of such a name in a mapping called ``env`` or ``environment``
  anywhere in an event: it is masked there whatever its length or type, and a
  text is remembered, so that output which repeats it is masked too.

A remembered secret of at least `SHORTEST` characters is masked wherever it
occurs: in a longer text, in a key, in bytes, in a number; as it is, escaped as
JSON text (with or without ``\\uXXXX``), or quoted for a URL. A shorter one is
not looked for: hiding every "on" or "1234" would leave a log that nobody can
read. For the same reason the names of events and of an event's own fields, and
the fields which the log itself adds, are never masked.

There are no exceptions by name: the value of ``SSH_PUBLIC_KEY`` or ``KEYMAP``
counts as a secret too. Other encodings of a secret (base64, gzip, reversed)
are out of reach.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import orjson

__all__ = ["MASK", "OWN_FIELDS", "SHORTEST", "Masker", "clean_text", "is_secret_name"]

MASK = "***"
"""What stands in the place of a secret."""

SHORTEST = 6
"""Characters; a shorter secret is not looked for in other texts."""

OWN_FIELDS = frozenset({"event", "pid", "seq", "ts"})
"""The fields of a line that the log itself adds."""

_SECRET_NAME = re.compile("TOKEN|PASSWORD|SECRET|KEY", re.IGNORECASE)
_ENVIRONMENTS = frozenset({"env", "environment"})
_ENVIRONMENT_NEEDLES = (b'"env":{', b'"environment":{')


def is_secret_name(name: str) -> bool:
    """True if an environment variable of that name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def clean_text(text: str) -> str:
    r"""Return *text* with lone surrogates written as ``\udcXX``, which UTF-8 can carry.

    Such characters stand for undecodable bytes, in the names of files and in the environment.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


class Masker:
    """Knows the secrets of one run, and hides them. Thread-safe.

    Looking costs one search of the line for each form of each secret, some 0.04 us each for a
    line of usual length; what is found is handled slowly and exactly.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, secrets: Iterable[str] = ()) -> None:
        # Three views of the same forms. They only grow, by append: so no lock is needed, and a fork can not
        # catch one held.
        self._forms: list[str] = []
        self._needles: list[bytes] = []
        self._raw: list[bytes] = []
        for name, value in (environ or {}).items():
            if is_secret_name(name):
                self.add(value)
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide *secret* from now on, in all its forms; one under `SHORTEST` characters is passed over.

        White space around it is not part of it.
        """
        secret = secret.strip()
        if len(secret) < SHORTEST:
            return
        text = clean_text(secret)
        forms = {text, quote(text), quote(text, safe="")}
        forms |= {json.dumps(text, ensure_ascii=plain)[1:-1] for plain in (True, False)}
        for form in sorted(forms.difference(self._forms)):
            self._forms.append(form)
            self._needles.append(orjson.dumps(form)[1:-1])
            self._raw.append(form.encode())
        if text != secret:
            self._raw.append(secret.encode("utf-8", "surrogateescape" if _is_escaped(secret) else "backslashreplace"))

    @property
    def longest(self) -> int:
        """Bytes of the longest form of a secret; 0 if there is none."""
        return max(map(len, self._raw), default=0)

    def is_touched(self, line: bytes) -> bool:
        """True if `line` must go through `hide_in_line`: it holds a secret, or an environment. Cheap."""
        for needle in _ENVIRONMENT_NEEDLES:
            if needle in line:
                return True
        return any(needle in line for needle in self._needles)

    def hide_in_line(self, line: bytes) -> bytes:
        """Return the JSON object *line* (UTF-8, as `orjson` renders it) without secrets; it stays JSON."""
        record = orjson.loads(line)
        # Environments first: what they teach must be hidden in the rest of the same line.
        self._hide_environments(record)
        hidden = {key: value if key in OWN_FIELDS else self._hide(value) for key, value in record.items()}
        return orjson.dumps(hidden)

    def hide_in_text(self, text: str) -> str:
        """Return *text* without secrets."""
        for form in sorted(self._forms, key=len, reverse=True):
            text = text.replace(form, MASK)
        return text

    def hide_in_bytes(self, data: bytes) -> bytes:
        """Return *data* without secrets."""
        for form in sorted(self._raw, key=len, reverse=True):
            data = data.replace(form, MASK.encode())
        return data

    def _hide_environments(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._hide_environments(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key in _ENVIRONMENTS and isinstance(item, dict):
                    self._hide_environment(item)
                self._hide_environments(item)

    def _hide_environment(self, environ: dict[str, Any]) -> None:
        for name, value in environ.items():
            if is_secret_name(name) and value != MASK:
                if isinstance(value, str):
                    self.add(value)
                environ[name] = MASK

    def _hide(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hide_in_text(value)
        if isinstance(value, list):
            return [self._hide(item) for item in value]
        if isinstance(value, dict):
            return {self.hide_in_text(key): self._hide(item) for key, item in value.items()}
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = str(value)
            return value if self.hide_in_text(text) == text else MASK
        return value


def _is_escaped(text: str) -> bool:
    """True if the lone surrogates of *text* all stand for bytes, as those of `os.environ` do."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
