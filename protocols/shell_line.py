"""Command lines for the login shell of a remote user, whichever it is.

sshd hands a command to the user's login shell: some sh, or csh, or fish. What
all of them read alike is a word in single quotes in which there is no single
quote, no backslash before another backslash, no exclamation mark (csh's
history) and no newline. So a line made here is one ``exec /bin/sh -c`` with
such words, and the script in it is POSIX sh.
"""

from __future__ import annotations

from .errors import ProtocolError

__all__ = ["MAX_LINE", "CommandError", "one_line", "packed", "sh"]

MAX_LINE = 128 * 1024 - 1
"""Bytes of a command line: what Linux takes as one argument of a program, which is how sshd passes it on."""

_SPECIAL = "'\\!\n"
_ROOM_FOR_SCRIPTS = 8 * 1024
# Control characters that hardly any command has. Not 1 and 127, which bash uses itself, nor what is white space.
_STAND_INS = "\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1c\x1d\x1f"


class CommandError(ProtocolError):
    """A command that cannot be given to a remote shell; *reason* says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"command for a remote shell: {self.reason}"


def one_line(script: str) -> str:
    """A script of several lines as one: without indents and lines of comment. Each line must end where a blank may."""
    lines = (line.strip() for line in script.splitlines())
    return " ".join(line for line in lines if line and not line.startswith("#"))


def packed(text: str, name: str) -> tuple[str, str]:
    """A text of any content, as a word that every shell reads alike, and sh code that unpacks it.

    Args:
        text: what the variable is to hold.
        name: of the variable that the code sets, from ``$1``.

    Returns:
        The word, without quotes, and the code, which ends with a semicolon.

    Raises:
        CommandError: it has a null byte, or is too long to be packed.
    """
    if "\0" in text:
        raise CommandError(f"it has a null byte at position {text.index(chr(0))}")
    if not any(character in text for character in _SPECIAL):
        return text, f"{name}=$1;"
    word = text.replace("\\", "\\0134")
    for character in "'!\n":
        word = word.replace(character, f"\\0{ord(character):03o}")
    if _size(word) <= MAX_LINE - _ROOM_FOR_SCRIPTS:
        return word, f'{name}=$(printf "%b." "$1"); {name}=${{{name}%.}};'
    # So many of them that five bytes for each are too much: stand-ins take one, but also a process to unpack.
    free = [character for character in _STAND_INS if character not in text][: len(_SPECIAL)]
    if len(free) < len(_SPECIAL):
        raise CommandError(f"{_size(text)} bytes with so many quotes, newlines and control characters do not fit")
    word = text.translate(str.maketrans(_SPECIAL, "".join(free)))
    codes = ["".join(f"\\{ord(character):03o}" for character in characters) for characters in (free, _SPECIAL)]
    # A signal to all may end this tr as well: then not a part of the text is run, but what ends by that signal too.
    unpacked = f'{name}=$(printf "%s." "$1" | tr "{codes[0]}" "{codes[1]}") || {name}="kill -$(($?%128)) \\$\\$.";'
    return word, f"{unpacked} {name}=${{{name}%.}};"


def sh(script: str, *arguments: str) -> str:
    """The command line that runs *script* by /bin/sh in place of the login shell; the first argument is its ``$0``.

    Raises:
        CommandError: it is longer than sshd could pass on.
    """
    line = " ".join(["exec /bin/sh -c", *(f"'{word}'" for word in (script, *arguments))])
    size = _size(line)
    if size > MAX_LINE:
        raise CommandError(
            f"with what is around it, it is {size} bytes long, and {MAX_LINE} are possible: put it in a file"
        )
    return line


def _size(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
