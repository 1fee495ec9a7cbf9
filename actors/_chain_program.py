"""The text of the hop (`_chain_wire`, `_chain_hop`), and the commands that run it: on a host, and here.

It goes to a host by the stdin of its command. Annotations and docstrings are left out, so that it is short and every
Python from 3.6 on can run it.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

from ..protocols.transfer import NO_PYTHON
from . import _chain_hop, _chain_wire

__all__ = ["BOOT", "head_command", "program", "program_input"]

BOOT = ";".join(
    (
        "import sys",
        f"sys.version_info < (3, 6) and sys.exit({NO_PYTHON})",
        "b = sys.stdin.buffer",
        'exec(compile(b.read(int(b.readline())), "regisseur-hop", "exec"), {"__name__": "hop"})',
    )
)
"""What python3 is given: one line, with nothing that a shell would read in single quotes."""


@cache
def program() -> str:
    """The hop, as it is sent. Reads a file; thread-safe."""
    text = "".join(Path(str(module.__file__)).read_text() for module in (_chain_wire, _chain_hop))
    tree = _Shortener().visit(ast.parse(text.replace("from __future__ import annotations", "")))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\nmain(sys.stdin.buffer)\n"


def program_input() -> bytes:
    """What the command is to read first."""
    text = program().encode()
    return b"%d\n%b" % (len(text), text)


def head_command() -> list[str]:
    """The words of the command that runs it here."""
    return [sys.executable, "-I", "-S", "-c", BOOT]


class _Shortener(ast.NodeTransformer):
    """Leaves out what only people and checkers read."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in (*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg):
            if argument is not None:
                argument.annotation = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else ast.Assign([node.target], node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.level else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        is_for_checkers = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        is_for_scripts = "__name__" in ast.unparse(node.test)
        return None if is_for_checkers or is_for_scripts else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        imports: list[ast.stmt] = [each for each in node.body if isinstance(each, ast.Import)]
        # A Python of which only the most needed modules are installed is as good as none.
        (gone,) = ast.parse(f"try: pass\nexcept ImportError: sys.exit({NO_PYTHON})").body
        assert isinstance(gone, ast.Try)
        gone.body = imports
        node.body = [*ast.parse("import sys").body, gone, *(each for each in node.body if each not in imports)]
        return node

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node
