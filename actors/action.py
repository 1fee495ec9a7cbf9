"""Actions: sets of processes, and of actions, that are started, waited for and judged as one.

===================  ===========================================================
in                   is
===================  ===========================================================
`_action_base`       `Action`: the handle, `ActionLifecycleHandler`
`_action_groups`     `ParallelActions`, `SequentialActions`
`local`              `Local`: one process of this machine as an action
`remote`             `Remote`, `RemoteSerial`: one command on many hosts
`taktuk`             `TaktukRemote`, `TaktukGateway`: the same by TakTuk
`taktuk_transfer`    `TaktukPut`, `TaktukGet`: files by TakTuk
`transfer`           `Put`, `Get`: files to and from many hosts
`chain_put`          `ChainPut`: files to many hosts, from each to the next
`action_factory`     `ActionFactory`, `get_remote`, `get_fileput`, `get_fileget`: actions by the tool that does it
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
from .action_factory import ActionFactory, default_action_factory, get_fileget, get_fileput, get_remote
from .chain_put import ChainPut
from .local import Local
from .remote import Remote, RemoteSerial
from .taktuk import TaktukGateway, TaktukRemote
from .taktuk_transfer import TaktukGet, TaktukPut
from .transfer import Get, Put
from .waiting import filter_bad_hosts, wait_all_actions, wait_any_actions, wait_multiple_actions

__all__ = [
    "Action",
    "ActionFactory",
    "ActionLifecycleHandler",
    "ChainPut",
    "Get",
    "Local",
    "ParallelActions",
    "Put",
    "Remote",
    "RemoteSerial",
    "SequentialActions",
    "TaktukGateway",
    "TaktukGet",
    "TaktukPut",
    "TaktukRemote",
    "default_action_factory",
    "filter_bad_hosts",
    "get_fileget",
    "get_fileput",
    "get_remote",
    "wait_all_actions",
    "wait_any_actions",
    "wait_multiple_actions",
]
