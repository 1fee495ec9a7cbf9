"""Local: one command on this machine as an action, so that it can be grouped with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..protocols.command import name_from_cmdline
from ._action_base import Action
from ._process import Process

__all__ = ["Local"]


class Local(Action):
    """One `Process`. Nothing is substituted in the command.

    Args:
        cmd: as for `Process`.
        process_args: keyword arguments for the `Process`.
        kwargs: see `Action`. The default name is the command's.
    """

    def __init__(self, cmd: str | Sequence[str], process_args: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cmd = cmd
        self.process_args = {} if process_args is None else dict(process_args)
        self.processes = [Process(cmd, **self.process_args)]

    def _default_name(self) -> str:
        return name_from_cmdline(self.cmd)

    def _arguments(self) -> list[str]:
        return [repr(self.cmd)]
