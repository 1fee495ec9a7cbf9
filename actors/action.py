"""Actions: sets of processes, and of actions, that are started, waited for and judged as one.

===================  ===========================================================
in                   is
===================  ===========================================================
`_action_base`       `Action`: the handle, `ActionLifecycleHandler`
`_action_groups`     `ParallelActions`, `SequentialActions`
`local`              `Local`: one process of this machine as an action
`waiting`            waiting for several of them; `filter_bad_hosts`
`_action_rule`       the life of an action as a pure rule
`_action_actor`      the actor that leads it
`_action_expect`     `Action.expect`
===================  ===========================================================

Nothing is defined here: this module hands on the names.
"""

from __future__ import annotations

from ._action_base import Action, ActionLifecycleHandler
from ._action_groups import ParallelActions, SequentialActions
from .local import Local
from .waiting import filter_bad_hosts, wait_all_actions, wait_any_actions, wait_multiple_actions

__all__ = [
    "Action",
    "ActionLifecycleHandler",
    "Local",
    "ParallelActions",
    "SequentialActions",
    "filter_bad_hosts",
    "wait_all_actions",
    "wait_any_actions",
    "wait_multiple_actions",
]
