"""The pages of the documentation and the blocks of code in them.

A block is fenced and tagged. ``python``, ``console`` and ``sh`` are run (see `docrunner`); ``yaml``, ``json`` and
``toml`` must be valid; ``text`` and ``diff`` are only shown. A comment right above a block says otherwise::

    <!-- not run: it needs a cluster -->
    <!-- new session -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["TAGS", "Block", "Command", "PageError", "commands", "links", "read_blocks"]

TAGS = {"python", "console", "sh", "yaml", "json", "toml", "text", "diff"}

_NOT_RUN = re.compile(r"<!--\s*not run\b:?\s*(.*?)\s*-->", re.DOTALL)
_NEW_SESSION = re.compile(r"<!--\s*new session\s*-->")


class PageError(AssertionError):
    """A page is not written as it must be, or does not do what it says. Begins with the page and the line."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    """Name of the page, relative to the root of the repository."""
    line: int
    """Of the first line of the code, from 1."""
    tag: str
    text: str
    not_run: str | None = None
    """Why it is not run; None where it is."""
    new_session: bool = False
    """Whether it starts with a fresh interpreter and in an empty directory."""


@dataclass(frozen=True)
class Command:
    """A command of a console block."""

    line: int
    text: str
    expected: str | None
    """What it prints, with ``...`` for whatever stands there; None where the block does not say."""


def read_blocks(text: str, page: str) -> list[Block]:
    """Return the blocks of a page.

    Raises:
        PageError: a block has no tag or an unknown one, or a comment that keeps it from running gives no reason.
    """
    blocks = []
    comments = ""
    for token in MarkdownIt().parse(text):
        if token.type == "html_block":
            comments += token.content
        elif token.type == "fence":
            blocks.append(_block(token, comments, page))
        if token.nesting >= 0 and token.type != "html_block" and not _opens_list(token):
            comments = ""  # a comment counts for what follows right behind
    return blocks


def _opens_list(token: Token) -> bool:
    return token.type in ("bullet_list_open", "ordered_list_open", "list_item_open")


def _block(token: Token, comments: str, page: str) -> Block:
    assert token.map is not None
    line = token.map[0] + 2
    tag = token.info.split()[0] if token.info.strip() else ""
    if tag not in TAGS:
        raise PageError(f"{page}:{line}: a block with the tag {tag!r}; known are {', '.join(sorted(TAGS))}")
    not_run = _NOT_RUN.search(comments)
    if not_run and not not_run[1]:
        raise PageError(f"{page}:{line}: say why it is not run: <!-- not run: reason -->")
    return Block(page, line, tag, token.content, not_run[1] if not_run else None, bool(_NEW_SESSION.search(comments)))


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console or sh block.

    A command stands behind ``$ ``; lines behind ``> `` or after a backslash go on with it; other lines are what it
    prints. Where no line begins with ``$ ``, each is a command.
    """
    lines = block.text.splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    at = 0
    while at < len(lines):
        start = at
        if prompted and not lines[at].startswith("$ "):
            raise PageError(f"{block.page}:{block.line + at}: output of no command")
        text = [lines[at].removeprefix("$ ") if prompted else lines[at]]
        at += 1
        while at < len(lines) and (text[-1].endswith("\\") or (prompted and lines[at].startswith("> "))):
            text.append(lines[at].removeprefix("> "))
            at += 1
        output = []
        while prompted and at < len(lines) and not lines[at].startswith("$ "):
            output.append(lines[at])
            at += 1
        if any(line.strip() for line in text):
            yield Command(block.line + start, "\n".join(text), "\n".join(output).strip() or None)


def links(text: str) -> Iterator[str]:
    """Yield the targets of the links and pictures of a page."""
    for token in MarkdownIt().parse(text):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str):
                yield target
