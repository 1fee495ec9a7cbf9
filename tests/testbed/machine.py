"""Machine: one host of the test bed, and all that may happen to it.

It has its own name, address, processes, /tmp, /var/tmp, /home, /root and /dev/shm, and a real sshd; the rest of the
disk is that of this machine, read only. Pids here are those of the enclosure.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from enclosure import BedError, Enclosure

__all__ = ["USER", "Machine", "until"]

USER = "tester"
"""The ordinary user of the hosts; root may log in too."""
_ID = 20000  # of that user
_PATIENCE = 40.0  # seconds for what takes a moment
_SSHD = ("/usr/sbin/sshd", "sshd:")  # how command lines of sshd begin

_START = """
nsenter --net="/run/netns/$1" setsid unshare --mount --uts --ipc --pid --mount-proc --fork --kill-child -- \
    sh /run/testbed/boot.sh "$@" </dev/null >>"$3/log" 2>&1 &
echo $! >"$3/pid"
"""
# In the enclosure's bridge, so that nothing in the host knows of it. Both ways.
_LOSE = """
add table bridge {table}
delete table bridge {table}
table bridge {table} {{
    chain lossy {{
        type filter hook forward priority 0
        iifname "{port}" numgen random mod 100 < {percent} drop
        oifname "{port}" numgen random mod 100 < {percent} drop
    }}
}}
"""


def until(condition: Callable[[], Any], what: str, seconds: float = _PATIENCE) -> None:
    """Wait until *condition* holds.

    Raises:
        AssertionError: it does not within so many seconds; it says *what* was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Machine:
    """Made and booted by the bed.

    Args:
        enclosure: in which it lives.
        name: it is called so, and its network namespace and disk too.
        address: its IPv4 address.
        port: name of the bridge's interface that its cable goes to.
    """

    def __init__(self, enclosure: Enclosure, name: str, address: str, port: str) -> None:
        self.name = name
        self.address = address
        self._enclosure = enclosure
        self._port = port
        self._directory = f"/run/testbed/{name}"
        self._undo: dict[str, Callable[[], None]] = {}
        self._format()

    def __repr__(self) -> str:
        return self.name

    # -- power -------------------------------------------------------------------

    def power_on(self) -> None:
        """Begin to boot; see `wait_up`."""
        self._enclosure.run("sh", "-c", _START, "start", self.name, f"{self.address}/24", self._directory, _SSHD[0])

    def wait_up(self) -> None:
        """Wait until its sshd listens."""
        with suppress(AssertionError):
            until(self._listens, f"{self} boots")
            return
        raise BedError(f"{self} does not boot: {(self.disk / 'log').read_text()}")

    def boot(self) -> None:
        """Switch it on after a crash; its disk is as it was."""
        self._undo.pop("crash", None)
        self.plug()
        self.power_on()
        self.wait_up()

    def crash(self) -> None:
        """Switch it off: silence on the network, and all its processes are gone."""
        self.unplug()
        self._undo.pop("hang", None)
        self._undo["crash"] = self.boot
        self._kill("KILL", [self._init()])
        keeper = self.disk / "../../../proc" / (self.disk / "pid").read_text().strip()
        until(lambda: not keeper.exists(), f"{self} is off")

    def redeploy(self) -> None:
        """Switch it off and on, as a machine that was installed anew: another host key, and empty disks."""
        self.crash()
        self._enclosure.run("rm", "-r", self._directory)
        self._format()
        self.boot()

    # -- faults ------------------------------------------------------------------

    def hang(self) -> None:
        """Let none of its processes do anything any more; its kernel still answers to TCP."""
        self._undo["hang"] = self.thaw
        # What was forked by one before its turn came is met the next time.
        until(lambda: self._stop_all() == 0, f"{self} hangs")

    def thaw(self) -> None:
        """Let them go on."""
        self._undo.pop("hang", None)
        self._kill("CONT", self._pids())

    def unplug(self) -> None:
        """Pull its cable out."""
        self._undo["unplug"] = self.plug
        self._enclosure.run("ip", "link", "set", self._port, "down")

    def plug(self) -> None:
        """Put it in again."""
        self._undo.pop("unplug", None)
        self._enclosure.run("ip", "link", "set", self._port, "up")

    def lose(self, percent: int) -> None:
        """Lose so many of the packets it sends, and of those it is sent; 0: none."""
        if percent:
            self._undo["lose"] = lambda: self.lose(0)
        else:
            self._undo.pop("lose", None)
        self._enclosure.run("nft", "-f", "-", text=_LOSE.format(table=self._port, port=self._port, percent=percent))

    def shape(self, rate: str) -> None:
        """Let its cable carry no more than *rate*, such as ``100mbit``, each way; "" for what it can."""
        if rate:
            self._undo["shape"] = lambda: self.shape("")
        else:
            self._undo.pop("shape", None)
        self._enclosure.run(*self._shaped(self._port, rate))
        self.run(*self._shaped("eth0", rate))

    @staticmethod
    def _shaped(interface: str, rate: str) -> list[str]:
        if not rate:
            return ["tc", "qdisc", "del", "dev", interface, "root"]
        bucket = ["tbf", "rate", rate, "burst", "512kb", "latency", "100ms"]
        return ["tc", "qdisc", "replace", "dev", interface, "root", *bucket]

    def restart_sshd(self, connections: bool = False) -> None:
        """End its sshd, which is started again. As with a service of Debian, *connections* stay unless they shall not.

        Commands go on in any case.
        """
        listener = self._listener()
        servers = [pid for pid in self._pids() if self._command(pid).startswith(_SSHD)]
        self._kill("KILL", servers if connections else [listener])
        until(lambda: self._listener() not in (0, listener), f"{self} starts sshd")
        self.wait_up()

    def limit(self, **options: Any) -> None:
        """Restart its sshd with other settings, ``limit(MaxStartups=3)``; with the usual ones where none are given."""
        if options:
            self._undo["limit"] = self.limit
        else:
            self._undo.pop("limit", None)
        self._configure(options)
        self.restart_sshd()

    def small_disk(self, size: int = 1 << 20) -> str:
        """Mount an empty disk of so many bytes; return its path on the host."""
        path = "/tmp/small"
        self.run("mkdir", "-p", path)
        self.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "small", path)
        self._undo["small_disk"] = lambda: self._remove_disk(path)
        return path

    def _remove_disk(self, path: str) -> None:
        del self._undo["small_disk"]
        self.run("umount", "-l", path)

    def heal(self) -> None:
        """Undo all that was done to it."""
        if "crash" in self._undo:
            self._undo.pop("small_disk", None)
            self.boot()
        for step in ("hang", "unplug", "lose", "shape", "limit", "small_disk"):
            if step in self._undo:
                self._undo[step]()

    # -- looks -------------------------------------------------------------------

    @property
    def disk(self) -> Path:
        """Its directory, with log, host_key.pub, and tmp, home and root as the host has them."""
        return self._enclosure.path(self._directory)

    def processes(self) -> list[str]:
        """The command lines of what runs there, but for pid 1 and sshd."""
        commands = (self._command(pid) for pid in self._pids() if pid != self._init())
        return [command for command in commands if command and not command.startswith(_SSHD)]

    def wait_idle(self, seconds: float, besides: str = "") -> None:
        """Wait until nothing runs there, see `processes`, but for command lines in which *besides* matches.

        Raises:
            AssertionError: it does not come to that; it says what runs.
        """

        def left() -> list[str]:
            return [command for command in self.processes() if not (besides and re.search(besides, command))]

        with suppress(AssertionError):
            until(lambda: not left(), "", seconds)
            return
        assert not left(), f"left on {self} after {seconds:.1f} s:\n" + "\n".join(left())

    def connections(self) -> int:
        """How many have logged in over ssh at this moment."""
        return sum("[priv]" in self._command(pid) for pid in self._pids())

    def run(self, *command: str) -> str:
        """Run a command as root on it, without its sshd; return what it says."""
        return self._enclosure.run("nsenter", "--target", str(self._init()), "--all", "--", *command)

    # -- helpers -----------------------------------------------------------------

    def _format(self) -> None:
        """Make its directory, with empty disks."""
        for name, mode in {"tmp": 0o1777, "var-tmp": 0o1777, "home": 0o755, "root": 0o700}.items():
            directory = self.disk / name
            directory.mkdir(parents=True)
            directory.chmod(mode)
        home = self.disk / "home" / USER
        home.mkdir()
        os.chown(home, _ID, _ID)
        passwd = Path("/etc/passwd").read_text()
        (self.disk / "passwd").write_text(f"{passwd}{USER}:*:{_ID}:{_ID}::/home/{USER}:/bin/bash\n")
        self._configure({})

    def _configure(self, options: Mapping[str, Any]) -> None:
        lines = {
            **options,  # the first value counts
            "HostKey": f"{self._directory}/host_key",
            "AuthorizedKeysFile": "/run/testbed/id.pub",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            "PidFile": "none",
            "KexAlgorithms": "curve25519-sha256",  # the default one takes seven times the processor time
            "Subsystem": "sftp internal-sftp",
        }
        (self.disk / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))

    def _proc(self, pid: int | str, name: str) -> Path:
        return self._enclosure.path(f"/proc/{pid}/{name}")

    def _init(self) -> int:
        """Its pid 1: the only child of the unshare that has made it."""
        keeper = (self.disk / "pid").read_text().strip()
        (child,) = self._proc(keeper, f"task/{keeper}/children").read_text().split()
        return int(child)

    def _pids(self) -> list[int]:
        """All its processes."""
        namespace = os.readlink(self._proc(self._init(), "ns/pid"))
        found = []
        for directory in self._enclosure.path("/proc").iterdir():
            with suppress(OSError):  # they come and go
                if directory.name.isdecimal() and os.readlink(directory / "ns/pid") == namespace:
                    found.append(int(directory.name))
        return found

    def _command(self, pid: int) -> str:
        with suppress(OSError):
            return self._proc(pid, "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        return ""

    def _listener(self) -> int:
        """The sshd that listens; 0: there is none."""
        return next((pid for pid in self._pids() if "[listener]" in self._command(pid)), 0)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection((self.address, 22), timeout=1) as client:
            return client.recv(4) == b"SSH-"
        return False

    def _stop_all(self) -> int:
        """Stop its processes; return how many were not."""
        moving = []
        for pid in self._pids():
            with suppress(OSError):
                if self._proc(pid, "stat").read_text().rpartition(")")[2].split()[0] not in "TZX":
                    moving.append(pid)
        self._kill("STOP", moving)
        return len(moving)

    def _kill(self, name: str, pids: list[int]) -> None:
        if pids:
            self._enclosure.run("sh", "-c", f'kill -{name} "$@" || :', "kill", *map(str, pids))
