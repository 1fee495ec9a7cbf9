"""The options of an ssh command line, for who connects in ssh's place: read as ssh reads them.

What a flag stands for is written as the keyword of ssh_config(5) that means the same. ssh takes the first value that
it sees of a keyword, and what is on its command line counts more than its files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SshOptions", "jump_words", "ssh_options"]

_KEYWORDS = {
    "B": "BindInterface",
    "b": "BindAddress",
    "c": "Ciphers",
    "i": "IdentityFile",
    "J": "ProxyJump",
    "l": "User",
    "m": "MACs",
    "p": "Port",
}
_SWITCHES = {
    "4": ("AddressFamily", "inet"),
    "6": ("AddressFamily", "inet6"),
    "A": ("ForwardAgent", "yes"),
    "a": ("ForwardAgent", "no"),
    "C": ("Compression", "yes"),
}
_JUMP = re.compile(r"(?:ssh://)?(?:(.+)@)?(?:\[([^\[\]]+)\]|([^\[\]@:/]+))(?::([0-9]+))?/?")
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")


@dataclass(frozen=True, slots=True)
class SshOptions:
    """What stands on a command line."""

    settings: tuple[tuple[str, str], ...]
    """Keywords, as they are written, and values; in the order of the command line."""
    file: str | None = None
    """The file to read in place of the user's own (-F)."""

    def first(self, keyword: str) -> str | None:
        """The value that counts; None: there is none."""
        return next(iter(self.all(keyword)), None)

    def all(self, keyword: str) -> list[str]:
        """All values, for a keyword that may be given several times."""
        wanted = keyword.lower()
        return [value for key, value in self.settings if key.lower() == wanted]

    def paths(self, keyword: str) -> list[str]:
        """The paths that are the value of *keyword*, which may be in quotes, and have their percent signs doubled."""
        return [path.replace("%%", "%") for path in shlex.split(self.first(keyword) or "")]


def ssh_options(words: Sequence[str]) -> SshOptions:
    """Read *words*, which follow the program.

    Raises:
        ValueError: a flag lacks its value, or something is no option.
    """
    settings: list[tuple[str, str]] = []
    file = None
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if len(word) < 2 or word[0] != "-":
            raise ValueError(f"{word!r} is no option of ssh")
        flag, more = word[1], word[2:]
        if flag not in _WITH_VALUE:
            if flag in _SWITCHES:
                settings.append(_SWITCHES[flag])
            if more:
                rest.append(f"-{more}")
            continue
        if not more:
            if not rest:
                raise ValueError(f"the option -{flag} of ssh lacks its value")
            more = rest.pop()
        if flag == "o":
            settings.append(_setting(more))
        elif flag == "F":
            file = more
        elif flag in _KEYWORDS:
            settings.append((_KEYWORDS[flag], more))
    return SshOptions(tuple(settings), file)


def jump_words(jump: str) -> tuple[str, str, int | None]:
    """User (or empty), host, and port (or None) of one host in the value of ProxyJump: [user@]host[:port], or a URI.

    Raises:
        ValueError: it is none.
    """
    found = _JUMP.fullmatch(jump.strip())
    if found is None:
        raise ValueError(f"{jump!r} is no host to go over: [user@]host[:port]")
    user, bracketed, host, port = found.groups()
    return user or "", bracketed or host, int(port) if port else None


def _setting(text: str) -> tuple[str, str]:
    """The keyword and the value of *text*: ``Key=Value`` or ``Key Value``."""
    text = text.strip()
    end = next((index for index, letter in enumerate(text) if letter in "= \t"), len(text))
    key, value = text[:end], text[end:].lstrip().removeprefix("=").strip()
    if not key or not value:
        raise ValueError(f"the option -o of ssh needs a keyword and a value, not {text!r}")
    return key, value
