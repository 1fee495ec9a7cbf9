"""actors: what lives. Owns every thread, socket, pipe and child process.

Who is who::

    runtime        one reactor, one bus, one worker pool; made on first use
      reactor      the thread that waits for everything; never blocks
      worker pool  threads for what may block: handlers, blocking actors
      bus          carries every message (ZeroMQ, msgpack), also between processes (links)
    actor, ref     pykka's actors without a thread each; future: what to wait for
    process        a command: Process, and who leads it; I/O actor: all pipes and children
    action         many processes as one: Local, Remote, ParallelActions, SequentialActions
    host           where a command runs; connection_params: how it is reached

Begin reading with `process` (what scripts use) or `runtime` (what it stands
on). The names are those of Execo's first module, and those of pykka:
``from regisseur.actors import *`` and ``from regisseur import actors as pykka``
both work. Importing starts nothing.
"""

from typing import TYPE_CHECKING

from pykka import ActorDeadError, ActorProxy, CallableProxy, messages, traversable

from .action import (
    Action,
    ActionFactory,
    ActionLifecycleHandler,
    ChainPut,
    Get,
    Local,
    ParallelActions,
    Put,
    Remote,
    RemoteSerial,
    SequentialActions,
    TaktukGateway,
    TaktukGet,
    TaktukPut,
    TaktukRemote,
    default_action_factory,
    filter_bad_hosts,
    get_fileget,
    get_fileput,
    get_remote,
    wait_all_actions,
    wait_any_actions,
    wait_multiple_actions,
)
from .actor import Actor, BlockingActor, ThreadingActor
from .config import (
    CHAINPUT,
    SCP,
    SSH,
    STDERR,
    STDOUT,
    TAKTUK,
    configuration,
    default_connection_params,
    refuse_old_names,
)
from .connection_params import ConnectionParams
from .exception import ActionsFailed, ConfigurationError, ProcessesFailed
from .future import DeadlockError, Future, FutureSetError, ThreadingFuture, Timeout, get_all
from .host import Host
from .journal import Journal, current_journal, set_journal
from .known_hosts import forget_host_keys
from .links import (
    LinkError,
    LinkFullError,
    LinkSettings,
    PeerInfo,
    PeerLostError,
    RefusedError,
    RemoteError,
    RemoteProxy,
    RemoteRef,
    UnreachableError,
    connect,
    disconnect,
    listen,
    peers,
    publish,
    remote_ref,
    unpublish,
)
from .log import logger, style
from .process import (
    ExpectOutputHandler,
    PortForwarder,
    Process,
    ProcessLifecycleHandler,
    ProcessOutputHandler,
    SshProcess,
    TaktukProcess,
    get_process,
)
from .ref import ActorRef
from .registry import ActorRegistry
from .report import Report
from .runtime import Runtime, current_runtime, stop_runtime, use_runtime
from .serial import Serial, SerialSsh
from .supervision import ActorEnded, Child, RestartPolicy, SupervisionError, Supervisor, unwatch, watch
from .time_utils import Timer, format_date, format_duration, get_seconds, get_unixts, sleep

__all__ = [
    "CHAINPUT",
    "SCP",
    "SSH",
    "STDERR",
    "STDOUT",
    "TAKTUK",
    "Action",
    "ActionFactory",
    "ActionLifecycleHandler",
    "ActionsFailed",
    "Actor",
    "ActorDeadError",
    "ActorEnded",
    "ActorProxy",
    "ActorRef",
    "ActorRegistry",
    "BlockingActor",
    "CallableProxy",
    "ChainPut",
    "Child",
    "ConfigurationError",
    "ConnectionParams",
    "DeadlockError",
    "ExpectOutputHandler",
    "Future",
    "FutureSetError",
    "Get",
    "Host",
    "Journal",
    "LinkError",
    "LinkFullError",
    "LinkSettings",
    "Local",
    "ParallelActions",
    "PeerInfo",
    "PeerLostError",
    "PortForwarder",
    "Process",
    "ProcessLifecycleHandler",
    "ProcessOutputHandler",
    "ProcessesFailed",
    "Put",
    "RefusedError",
    "Remote",
    "RemoteError",
    "RemoteProxy",
    "RemoteRef",
    "RemoteSerial",
    "Report",
    "RestartPolicy",
    "Runtime",
    "SequentialActions",
    "Serial",
    "SerialSsh",
    "SshProcess",
    "SupervisionError",
    "Supervisor",
    "TaktukGateway",
    "TaktukGet",
    "TaktukProcess",
    "TaktukPut",
    "TaktukRemote",
    "ThreadingActor",
    "ThreadingFuture",
    "Timeout",
    "Timer",
    "UnreachableError",
    "configuration",
    "connect",
    "current_journal",
    "current_runtime",
    "default_action_factory",
    "default_connection_params",
    "disconnect",
    "filter_bad_hosts",
    "forget_host_keys",
    "format_date",
    "format_duration",
    "get_all",
    "get_fileget",
    "get_fileput",
    "get_process",
    "get_remote",
    "get_seconds",
    "get_unixts",
    "listen",
    "logger",
    "messages",
    "peers",
    "publish",
    "remote_ref",
    "set_journal",
    "sleep",
    "stop_runtime",
    "style",
    "traversable",
    "unpublish",
    "unwatch",
    "use_runtime",
    "wait_all_actions",
    "wait_any_actions",
    "wait_multiple_actions",
    "watch",
]

if TYPE_CHECKING:
    __version__: str
else:
    _refuse_old_name = refuse_old_names(__name__)  # with an error that names the new way

    def __getattr__(name: str) -> object:  # so that importing the package stays fast
        if name == "__version__":
            from importlib.metadata import version

            return version("regisseur")
        if name == "ssh_utils":
            from importlib import import_module

            return import_module(".ssh_utils", __name__)
        return _refuse_old_name(name)
