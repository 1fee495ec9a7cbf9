"""Substitutions in the commands and file names of actions on many hosts.

``{{{host}}}`` becomes the address of the host; ``{{expression}}`` becomes the item, for this host, of the sequence
that the expression is worth in the scope that built the action (see protocols/substitutions.py for the syntax)::

    names = ["a", "b"]
    Remote("touch {{names}}.{{{host}}}", ["h1", "h2", "h3"])  # a.h1, b.h2, a.h3

An expression is Python code of the script itself. Do not build commands with double braces from what others wrote.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, TypeAlias

from ..protocols.substitutions import apply, parse
from .host import HostLike

__all__ = ["FrameContext", "get_caller_context", "remote_substitute"]

FrameContext: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
"""Global and local names of a scope."""


def get_caller_context(
    filter_out_funcs: Sequence[str] | None = None, scope_limit_funcs: Sequence[str] = ("__init__",)
) -> FrameContext:
    """Return the globals and locals of the scope that builds an object, to be called while it is being built.

    That is the first caller outside of the innermost function of the stack that is named in *scope_limit_funcs*
    (where there is none: the caller of this function), leaving out callers named in any of the two lists.
    The globals are the module's own, the locals are a copy.

    Args:
        filter_out_funcs: names of functions that build for somebody else.
        scope_limit_funcs: names of the functions that build.
    """
    passed = {*(filter_out_funcs or ()), *scope_limit_funcs}
    caller = sys._getframe(1)
    builder: FrameType | None = caller
    while builder is not None and builder.f_code.co_name not in scope_limit_funcs:
        builder = builder.f_back
    scope: FrameType | None = builder or caller
    while scope is not None and scope.f_code.co_name in passed:
        scope = scope.f_back
    if scope is None:  # the thread itself runs such a function
        return {}, {}
    if scope.f_locals is scope.f_globals:  # at the level of a module, names that come later count too
        return scope.f_globals, scope.f_globals
    return scope.f_globals, dict(scope.f_locals)


def remote_substitute(string: str, all_hosts: Sequence[HostLike], index: int, frame_context: FrameContext) -> str:
    """Return *string* with its substitutions made for one host.

    Args:
        string: the command or file name.
        all_hosts: the hosts of the action.
        index: which of them; an expression is worth its item number *index*, beginning again after the last.
        frame_context: from get_caller_context.

    Raises:
        ValueError: an expression is not worth a sequence, or an empty one.
        Exception: what evaluating an expression raises (NameError, SyntaxError, ...).
    """
    host = all_hosts[index]
    address = host if isinstance(host, str) else host.address

    def evaluate(expression: str) -> str:
        return str(_item(expression, _value(expression, frame_context), index))

    return apply(parse(string), address, evaluate)


def _value(expression: str, frame_context: FrameContext) -> Any:
    global_names, local_names = frame_context
    # One scope: inside a comprehension or lambda, eval would not find the names of a second one.
    names = global_names if local_names is global_names else {**global_names, **local_names}
    return eval(_compiled(expression), names)


@functools.lru_cache(maxsize=256)  # the same expression is evaluated for each of thousands of hosts
def _compiled(expression: str) -> CodeType:
    return compile(expression.strip(), f"{{{{{expression}}}}}", "eval", dont_inherit=True)


def _item(expression: str, value: Any, index: int) -> Any:
    if isinstance(value, Mapping) or not (hasattr(value, "__getitem__") and hasattr(value, "__len__")):
        raise ValueError(f"substitution of {{{{{expression}}}}}: expected a sequence, not {value!r}")
    if not len(value):
        raise ValueError(f"substitution of {{{{{expression}}}}}: the sequence is empty")
    return value[index % len(value)]
