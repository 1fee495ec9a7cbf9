"""The rule of `expect`: search what a program has said so far for the first of several patterns.

Among the patterns that match, the one whose match begins earliest in the text wins; among those that begin at the
same place, the one that comes first in the list. The text up to the end of the match is then consumed, and the rest
is searched as if it began there: "^" matches right behind the previous match.

A pattern may match text that would match longer, or not at all, with what has not come yet ("$" at the end of what
has come, a greedy ".*"): as everywhere in this trade, it is matched against what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["ExpectBuffer", "Regexes", "compile_patterns"]

Regexes = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]
"""One or several regular expressions, as text or compiled."""


def compile_patterns(regexes: Regexes) -> list[re.Pattern[str]]:
    """Return one or many regular expressions as a new list of compiled ones; text is compiled with re.MULTILINE.

    Raises:
        re.error: a text is no regular expression.
        TypeError: something is neither text nor a compiled pattern of text.
        ValueError: there is none at all, so that nothing could ever match.
    """
    if isinstance(regexes, str | re.Pattern):
        regexes = [regexes]
    patterns = [_compile(regex) for regex in regexes]
    if not patterns:
        raise ValueError("nothing to expect: the list of regular expressions is empty")
    return patterns


def _compile(regex: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(regex, str):
        return re.compile(regex, re.MULTILINE)
    if not isinstance(regex, re.Pattern) or not isinstance(regex.pattern, str):
        raise TypeError(f"expect takes regular expressions of text, not {regex!r}")
    return regex


class ExpectBuffer:
    """The text of one stream behind the last match. For one thread.

    `eof` is set to True by whoever feeds it when the stream has ended: what does not match then never will.

    Cost: while nothing matches, a search for the same patterns looks only at the new text and `overlap` characters
    before it. It looks at all of the text when that has doubled since it last did, at `eof`, and when it is asked again
    without new text (so ask once more before a timeout is told). So the cost is linear in the text, however small the
    pieces; and a match that begins more than `overlap` characters before the text that completes it is found, though
    it may be later than at once.

    Of text that nothing matches, at least the last `limit` characters are kept; what is older is no longer searched.
    """

    __slots__ = ("_all_at", "_complete", "_limit", "_overlap", "_patterns", "_searched", "_text", "eof")

    def __init__(self, overlap: int = 1 << 12, limit: int = 1 << 24) -> None:
        self.eof = False
        self._overlap = overlap
        self._limit = limit
        self._text = ""
        self._forget_search()

    def _forget_search(self) -> None:
        self._patterns: tuple[re.Pattern[str], ...] = ()
        """What was searched for last, in vain."""
        self._searched = 0
        """Characters that were there then."""
        self._complete = False
        """Whether all of them were looked at."""
        self._all_at = 0
        """Length of the text from which on all of it is to be looked at."""

    @property
    def text(self) -> str:
        """What has come and was not consumed by a match."""
        return self._text

    def feed(self, text: str) -> None:
        """Add text that has come."""
        # The attribute lets go of the string first, so that CPython can extend it in place and need not copy it.
        whole, self._text = self._text, ""
        whole += text
        if len(whole) > 2 * self._limit:
            whole = whole[-self._limit :]
            self._forget_search()
        self._text = whole

    def search(self, patterns: Sequence[re.Pattern[str]]) -> tuple[int, re.Match[str]] | None:
        """Search for `patterns`; return index and match of the winner, and consume the text up to the match's end.

        None: nothing matches what is there. The `string` of the match is the text that was searched.
        """
        wanted = tuple(patterns)
        text = self._text
        start = 0
        if wanted == self._patterns:
            new = len(text) > self._searched
            if self._complete and not new:
                return None
            if new and not self.eof and len(text) < self._all_at:
                start = max(0, self._searched - self._overlap)
        # Only whether there is a match is asked of the end of the text: an earlier one may win over what is found here.
        if start and not any(pattern.search(text, start) for pattern in wanted):
            self._searched = len(text)
            self._complete = False
            return None
        best: tuple[int, re.Match[str]] | None = None
        for index, pattern in enumerate(wanted):
            match = pattern.search(text)
            if match and (best is None or match.start() < best[1].start()):
                best = index, match
        if best is not None:
            self._text = text[best[1].end() :]
            self._forget_search()
        else:
            self._patterns, self._searched, self._complete, self._all_at = wanted, len(text), True, 2 * len(text)
        return best
