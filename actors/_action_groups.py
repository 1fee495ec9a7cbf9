"""Actions made of actions: `ParallelActions` and `SequentialActions`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ._action_base import Action
from ._action_rule import ParallelLife, SequentialLife

if TYPE_CHECKING:
    from ._action_actor import Part
    from ._process import Process
    from .report import Stats

__all__ = ["ActionGroup", "ParallelActions", "SequentialActions"]

_SHOWN = 5  # actions in the repr of a group


class ActionGroup(Action):
    """What actions that are made of actions have in common. Not to be made itself.

    Args:
        actions: actions of any kind, each of them once, none of them started.
        kwargs: see `Action`.
    """

    hide_subactions = False
    """True: `stats` tells only of the group as a whole."""

    def __init__(self, actions: Iterable[Action], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.actions = list(actions)

    def _default_name(self) -> str:
        return f"{type(self).__name__} {len(self.actions)} actions"

    @property
    def processes(self) -> list[Process]:
        """The processes of all its actions, in order."""
        return [process for action in self.actions for process in action.processes]

    @processes.setter
    def processes(self, processes: Iterable[Process]) -> None:
        raise AttributeError(f"the processes of {self!r} are those of its actions: change `actions` before the start")

    @property
    def ok(self) -> bool:
        """All its actions are `ok`, and all could be started that should."""
        return self.error_reason is None and all(action.ok for action in self.actions)

    def stats(self) -> Stats:
        """Numbers for a `Report`: of its actions, each (unless `hide_subactions`) and all together."""
        return super().stats() if self.hide_subactions else self._aggregate(self.actions)

    def _parts(self) -> Sequence[Part]:
        return self.actions

    def _facts_of_parts(self, parts: Sequence[Any]) -> dict[str, Any]:
        return {}  # each of them has told the log of which action it is a part

    def _arguments(self) -> list[str]:
        shown = [repr(action) for action in self.actions[:_SHOWN]]
        if len(self.actions) > _SHOWN:
            shown.append(f"... {len(self.actions) - _SHOWN} more")
        return [f"[{', '.join(shown)}]"]


class ParallelActions(ActionGroup):
    """Starts all its actions at once. It ends when all have ended."""

    _life = ParallelLife


class SequentialActions(ActionGroup):
    """Starts each of its actions when the one before has ended, whether that went well or not.

    Killing it ends the sequence: the present action is killed, and no other is
    started. Killing only the present action has the next one start.
    """

    _life = SequentialLife
