"""What source code says without being run: which names of which modules it uses, and what it leaves undocumented."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

__all__ = ["Rules", "Use", "breaches", "exported", "undocumented", "uses"]

Rules: TypeAlias = Mapping[str, frozenset[str] | None]
"""Module to those of its names that may be used; None for all of them."""


class Use(NamedTuple):
    """A module, or a name in one, that is used."""

    line: int
    name: str
    """With dots, such as ``os`` where it is imported and ``os.path.join`` where that is called."""


def uses(tree: ast.Module) -> Iterator[Use]:
    """Yield what is used of absolute imports: each import, and each chain of attributes on what it binds."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield Use(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield Use(node.lineno, f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (chain := _chain(node)) and chain[0] in bound:
            yield Use(node.lineno, ".".join([bound[chain[0]], *chain[1:]]))


def _chain(node: ast.expr) -> list[str]:
    """Return ["a", "b", "c"] for ``a.b.c``, nothing for what does not begin with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def breaches(tree: ast.Module, rules: Rules, *, others: bool) -> list[Use]:
    """Return the uses that the rules do not allow.

    *others* tells whether modules that the rules do not name may be used. The import of a module of which some names
    may be used is none.
    """
    return [use for use in uses(tree) if not _allowed(use, rules, others)]


def _allowed(use: Use, rules: Rules, others: bool) -> bool:
    parts = use.name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        if module in rules:
            names = rules[module]
            return names is None or (bool(names) if length == len(parts) else parts[length] in names)
    return others


def exported(tree: ast.Module) -> list[str] | None:
    """Return ``__all__`` of a module, None where it has none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, ast.Assign)
            value: list[str] = ast.literal_eval(node.value)
            return value
    return None


def undocumented(tree: ast.Module) -> Iterator[Use]:
    """Yield the public functions, classes and methods without a docstring; "module" for the module itself.

    Overloads and setters need none: what they belong to has one.
    """
    if ast.get_docstring(tree) is None:
        yield Use(1, "module")
    yield from _undocumented(tree.body, "")


def _undocumented(body: list[ast.stmt], prefix: str) -> Iterator[Use]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        decorators = {(_chain(decorator) or [""])[-1] if isinstance(decorator, ast.Attribute) else
                      getattr(decorator, "id", "") for decorator in node.decorator_list}  # fmt: skip
        if ast.get_docstring(node) is None and not decorators & {"overload", "override", "setter", "deleter"}:
            yield Use(node.lineno, prefix + node.name)
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node.body, f"{prefix}{node.name}.")
