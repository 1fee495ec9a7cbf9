"""What the documentation shows is true: its code runs, prints what it says, and its links lead somewhere."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from docpages import Block, PageError, commands, links, read_blocks
from docrunner import matches, run_page

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for path in [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *ROOT.glob("docs/**/*.md")]
    if path.exists()
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_code_on_a_page_runs_and_prints_what_the_page_says(path: Path, tmp_path: Path) -> None:
    run_page(read_blocks(path.read_text(), name(path)), tmp_path, ROOT)


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_the_links_of_a_page_lead_to_files(path: Path) -> None:
    local = [link.partition("#")[0] for link in links(path.read_text()) if not re.match(r"\w+:|#", link)]

    assert [link for link in local if not (path.parent / link).exists()] == []


# -- the tester itself -------------------------------------------------------------------------------------------------


def page(text: str) -> list[Block]:
    """The blocks of a page, written with ~~~ for its fences and indented as this file is."""
    return read_blocks(textwrap.dedent(text).replace("~~~", "```").lstrip("\n"), "page.md")


GOOD = """
    Names last from block to block:

    ~~~python
    from pathlib import Path
    x = 1
    ~~~

    - in a list too, and in the same directory:

      ~~~python
      Path("file").write_text(f"{x}\\n")
      ~~~

    ~~~console
    $ cat file
    1
    $ cd / && false
    $ echo $? in $PWD; seq 5
    1 in /
    1
    ...
    5
    $ cat <<END | tr a-z A-Z
    > two
    > lines
    > END
    TWO
    LINES
    ~~~

    <!-- not run: it would take a year -->

    ~~~python
    raise SystemExit
    ~~~

    ~~~yaml
    a: [1, 2]
    ~~~

    ~~~text
    anything
    ~~~

    ~~~sh
    make test
    test -e file
    ~~~

    <!-- new session -->
    ~~~sh
    test ! -e file
    ~~~

    ~~~python
    assert "x" not in globals()
    ~~~
"""


@pytest.mark.slow
def test_a_good_page_passes(tmp_path: Path) -> None:
    run_page(page(GOOD), tmp_path, ROOT)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["session-0", "session-7"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("~~~python\nx = 1\n\nassert x == 2\n~~~", r'page.md:2: the block failed(.|\n)*"page.md", line 4'),
        ("~~~python\nimport sys; sys.exit(0)\n~~~", "page.md:2: the block failed(.|\n)*SystemExit"),
        ("~~~python\nimport os; os._exit(0)\n~~~", "page.md:2: the interpreter ended"),
        ("~~~python\nimport atexit, os; _ = atexit.register(os._exit, 3)\n~~~", "of the page ended with 3"),
        ("Text\n\n~~~console\n$ true\n$ false\n~~~", "page.md:5: 'false' ended with 1"),
        ("~~~console\n$ echo a\nb\n~~~", "page.md:2: 'echo a' printed\na\n"),
        ("~~~console\n$ exit 0\n$ true\n~~~", "page.md:2: 'exit 0' did not end, or ended the shell"),
        ("~~~console\nnothing\n$ true\n~~~", "page.md:2: output of no command"),
        ("~~~sh\nfalse\n~~~", "page.md:2: 'false' ended with 1"),
        ("~~~sh\nmake no-such-target\n~~~", "page.md:2: no such target"),
        ("<!-- not run: there -->\n~~~sh\nmake no-such-target\n~~~", "page.md:3: no such target"),
        ("~~~json\n{\n~~~", "page.md:2: Expecting"),
        ("~~~toml\n=\n~~~", "page.md:2: Invalid"),
        ("~~~yaml\na: [\n~~~", "page.md:2: while parsing"),
    ],
)
def test_a_wrong_block_fails_and_its_line_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(PageError) as caught:
        run_page(page(text), tmp_path, ROOT)

    assert re.search(complaint, str(caught.value))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("~~~\nx\n~~~", "page.md:2: a block with the tag ''"),
        ("~~~pyhton\nx\n~~~", "page.md:2: a block with the tag 'pyhton'"),
        ("<!-- not run -->\n~~~python\nx\n~~~", "page.md:3: say why it is not run"),
        ("<!-- not run: -->\n\n~~~python\nx\n~~~", "page.md:4: say why it is not run"),
    ],
)
def test_a_block_without_a_tag_or_a_reason_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(PageError, match=complaint):
        page(text)


def test_a_comment_counts_for_the_block_right_behind_it_only() -> None:
    text = "<!-- not run: why -->\n~~~sh\na\n~~~\n\n~~~sh\nb\n~~~\n<!-- not run: far -->\nText.\n\n~~~sh\nc\n~~~"

    assert [block.not_run for block in page(text)] == ["why", None, None]


def test_a_command_goes_on_behind_a_backslash_and_a_prompt() -> None:
    (block,) = page("~~~console\n$ a \\\n    b\n$ for x in c\n> do d\n> done\nout\n\nput\n~~~")

    assert [(command.line, command.text, command.expected) for command in commands(block)] == [
        (2, "a \\\n    b", None),
        (4, "for x in c\ndo d\ndone", "out\n\nput"),
    ]


@pytest.mark.parametrize(
    ("expected", "output", "result"),
    [
        ("a b", "a b  \n", True),
        ("a b", "a c", False),
        ("a ... d", "a b\nc d", True),
        ("...", "", True),
        ("a.c", "abc", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a", "a\nb", False),
    ],
)
def test_output_matches_with_dots_for_anything(expected: str, output: str, result: bool) -> None:
    assert result == matches(expected, output)
