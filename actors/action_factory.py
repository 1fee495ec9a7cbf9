"""ActionFactory: actions by the tool that is to carry them out, which configuration may choose.

`get_remote`, `get_fileput` and `get_fileget` make them by the tools of ``configuration`` (remote_tool, fileput_tool,
fileget_tool) as they are at the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._action_base import Action
from .chain_put import ChainPut
from .config import CHAINPUT, SCP, SSH, TAKTUK, configuration
from .remote import Remote
from .taktuk import TaktukRemote
from .taktuk_transfer import TaktukGet, TaktukPut
from .transfer import Get, Put

__all__ = ["ActionFactory", "default_action_factory", "get_fileget", "get_fileput", "get_remote"]

_TOOL_NAMES = {SSH: "SSH", SCP: "SCP", TAKTUK: "TAKTUK", CHAINPUT: "CHAINPUT"}


_MAKERS: dict[str, dict[int, Callable[..., Action]]] = {
    "remote_tool": {SSH: Remote, TAKTUK: TaktukRemote},
    "fileput_tool": {SCP: Put, TAKTUK: TaktukPut, CHAINPUT: ChainPut},
    "fileget_tool": {SCP: Get, TAKTUK: TaktukGet},
}


class ActionFactory:
    """Makes actions by the tools of its choice.

    Args:
        remote_tool: for `get_remote`: SSH or TAKTUK; None: that of ``configuration``, at each call.
        fileput_tool: for `get_fileput`: SCP, TAKTUK or CHAINPUT; None: as above.
        fileget_tool: for `get_fileget`: SCP or TAKTUK; None: as above.
    """

    def __init__(
        self, remote_tool: int | None = None, fileput_tool: int | None = None, fileget_tool: int | None = None
    ) -> None:
        self.remote_tool = remote_tool
        self.fileput_tool = fileput_tool
        self.fileget_tool = fileget_tool

    def get_remote(self, *args: Any, **kwargs: Any) -> Action:
        """Return an action that runs a command on hosts; the arguments are those of `Remote`.

        Raises:
            KeyError: the tool cannot do that.
        """
        return self._maker("remote_tool")(*args, **kwargs)

    def get_fileput(self, *args: Any, **kwargs: Any) -> Action:
        """Return an action that copies files to hosts; the arguments are those of `Put`.

        Raises:
            KeyError: the tool cannot do that.
        """
        return self._maker("fileput_tool")(*args, **kwargs)

    def get_fileget(self, *args: Any, **kwargs: Any) -> Action:
        """Return an action that fetches files from hosts; the arguments are those of `Get`.

        Raises:
            KeyError: the tool cannot do that.
        """
        return self._maker("fileget_tool")(*args, **kwargs)

    def _maker(self, role: str) -> Callable[..., Action]:
        tool = getattr(self, role)
        if tool is None:
            tool = configuration[role]
        makers = _MAKERS[role]
        if tool not in makers:
            able = " or ".join(_TOOL_NAMES[known] for known in makers)
            raise KeyError(f"no {role} {_TOOL_NAMES.get(tool, tool)}: it must be {able}")
        return makers[tool]

    def __repr__(self) -> str:
        given = {role: getattr(self, role) for role in _MAKERS if getattr(self, role) is not None}
        return f"ActionFactory({', '.join(f'{role}={_TOOL_NAMES.get(tool, tool)}' for role, tool in given.items())})"


default_action_factory = ActionFactory()
"""Makes actions by the tools of ``configuration``."""


def get_remote(*args: Any, **kwargs: Any) -> Action:
    """``default_action_factory.get_remote``, which see."""
    return default_action_factory.get_remote(*args, **kwargs)


def get_fileput(*args: Any, **kwargs: Any) -> Action:
    """``default_action_factory.get_fileput``, which see."""
    return default_action_factory.get_fileput(*args, **kwargs)


def get_fileget(*args: Any, **kwargs: Any) -> Action:
    """``default_action_factory.get_fileget``, which see."""
    return default_action_factory.get_fileget(*args, **kwargs)
