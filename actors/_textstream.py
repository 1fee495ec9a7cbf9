"""LineSplitter: bytes in, as they come; lines of text out, the same ones however the bytes were cut.

Lines end with "\\n", "\\r\\n" or "\\r", and with nothing else: str.splitlines would also cut at form feeds and other
rarities, which a program does not mean as ends of lines. A "\\r\\n" whose halves come apart is one end, not two; the
line is told at the "\\r" already, so that a progress bar which rewrites its line is seen at work.

Time is linear in the bytes, also for a line of megabytes that comes a byte at a time.
"""

from __future__ import annotations

import codecs

__all__ = ["LineSplitter"]


class LineSplitter:
    """Cuts one stream into lines; UTF-8, invalid bytes as surrogates (errors="surrogateescape"). For one thread.

    A line without end, longer than `longest` characters, is told in pieces of that length, so that memory is bounded.
    """

    __slots__ = ("_after_return", "_cut", "_decoder", "_length", "_longest", "_parts")

    def __init__(self, longest: int = 1 << 24) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._longest = longest
        self._parts: list[str] = []
        """Pieces of the line that has no end yet; joined once, when it has."""
        self._length = 0
        """Characters in them."""
        self._cut = False
        """Whether a piece of the current line was told already: then it may end without another."""
        self._after_return = False
        """Whether the last character was a "\\r": a "\\n" that follows belongs to it."""

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes and return the lines that ended in them, without their ends."""
        return self._split(self._decoder.decode(data))

    def feed_text(self, text: str) -> list[str]:
        """As `feed`, for text that somebody else has decoded."""
        return self._split(text)

    def eof(self) -> list[str]:
        """Take the end of the stream and return the last line, if one was without an end; then begin anew."""
        lines = self._split(self._decoder.decode(b"", final=True))
        if self._length:
            self._end("", lines)
        self._decoder.reset()
        self._cut = self._after_return = False
        return lines

    def _split(self, text: str) -> list[str]:
        lines: list[str] = []
        if not text:
            return lines
        text = text[1:] if self._after_return and text[0] == "\n" else text
        self._after_return = text.endswith("\r")
        if not text:  # it was but the second half of an end that is told already
            return lines
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *ended, rest = text.split("\n")
        for line in ended:
            if self._length or self._cut or len(line) >= self._longest:
                self._end(line, lines)
            else:
                lines.append(line)
        if rest:
            self._keep(rest, lines)
        return lines

    def _end(self, line: str, lines: list[str]) -> None:
        """The current line ends with `line`."""
        if line:
            self._keep(line, lines)
        if self._length or not self._cut:
            lines.append("".join(self._parts))
            self._parts.clear()
            self._length = 0
        self._cut = False

    def _keep(self, text: str, lines: list[str]) -> None:
        """The current line goes on with `text`; tell full pieces of it."""
        self._parts.append(text)
        self._length += len(text)
        if self._length < self._longest:
            return
        whole = "".join(self._parts)
        full = len(whole) - len(whole) % self._longest
        lines += (whole[start : start + self._longest] for start in range(0, full, self._longest))
        self._parts = [whole[full:]] if full < len(whole) else []
        self._length = len(whole) - full
        self._cut = True
