"""The file of host keys of a run, and forgetting keys in it.

With ``host_keys: accept-new`` (the default) ssh puts the key of a host that it sees for the first time into this file,
and refuses the host when its key is another later in the run. A node that was deployed anew has another key on
purpose: `forget_host_keys` makes room for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from ..protocols.known_hosts import key_name, without_hosts
from ..protocols.ssh import words
from .host import Host, Hosts, get_hosts_list
from .journal import current_journal

if TYPE_CHECKING:
    from .connection_params import AnyConnectionParams, ConnectionParams

__all__ = ["forget_host_keys", "known_hosts_file"]

_NAME = "known_hosts"
_LIMIT = 10.0  # seconds for asking ssh about a host


class _Private:
    """The directory for a program that has no run directory."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.path = ""
        self.pid = 0

    def __call__(self) -> str:
        """Return its path; it is made when first asked for, by each process for itself."""
        with self.lock:
            if self.pid != os.getpid():
                self.path = tempfile.mkdtemp(prefix="regisseur-keys-")
                self.pid = os.getpid()
                weakref.finalize(self, _remove, self.path, self.pid)
            return self.path


_private = _Private()


def known_hosts_file() -> str:
    """Return the path of the file of host keys of this run, which need not exist.

    That is ``known_hosts`` in the run directory, while an engine runs; else in a directory of mode 0700 that this
    program makes for itself, and removes at its end. Thread-safe.
    """
    journal = current_journal()
    return str(journal.path.with_name(_NAME)) if journal is not None else os.path.join(_private(), _NAME)


def forget_host_keys(
    hosts: Hosts, connection_params: AnyConnectionParams = None, *, known_hosts: str | os.PathLike[str] | None = None
) -> int:
    """Forget the keys of *hosts*, so that new ones are accepted; to be called when nodes have been deployed anew.

    Args:
        hosts: one or several; the address is rewritten as for a connection, and one on another port than 22 is
            another host. Where the file knows no such name, ssh is asked how its configuration calls the host
            (HostName, HostKeyAlias, Port).
        connection_params: what differs from default_connection_params: all count that say how to reach a host, and
            known_hosts.
        known_hosts: path of the file; default: that of the connection parameters, which mostly is that of the run.

    Returns:
        how many keys were forgotten.

    Raises:
        OSError: the file cannot be read, or not be replaced. (That it does not exist is no error.)
    """
    from .connection_params import ConnectionParams

    params = ConnectionParams.of(connection_params)
    path = Path(known_hosts or params.known_hosts or known_hosts_file()).expanduser()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    names = {host: key_name(params.address(host), params.for_host(host).port) for host in get_hosts_list(hosts)}
    kept, count = without_hosts(content, names.values())
    if count < len(names) and os.path.basename(words(params.ssh)[0]) == "ssh":  # another might just connect
        strangers = [host for host, name in names.items() if not without_hosts(content, [name])[1]]
        kept, further = without_hosts(kept, [name for host in strangers for name in _configured_names(params, host)])
        count += further
    if count:
        _replace(path, kept)
    return count


def _configured_names(params: ConnectionParams, host: Host) -> list[str]:
    """The name of the key of *host* by ssh's configuration; none where ssh does not tell."""
    *argv, address = params.connector_argv(host)
    program = len(words(params.ssh))
    try:
        done = subprocess.run(
            [*argv[:program], "-G", *argv[program:], address],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    settings = dict(line.split(None, 1) for line in done.stdout.splitlines() if " " in line)
    if "hostname" not in settings:
        return []
    return [settings.get("hostkeyalias") or key_name(settings["hostname"], int(settings.get("port", "22")))]


def _replace(path: Path, content: bytes) -> None:
    """Write *path* anew. A key that ssh adds at this very moment may be lost; it will be accepted as new again."""
    fd, new = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def _remove(directory: str, pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork that ends: the directory is its parent's
    shutil.rmtree(directory, ignore_errors=True)
