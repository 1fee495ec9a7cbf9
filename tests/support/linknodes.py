"""For the tests of links: second processes, strangers that say what they like, and a place of their own to meet."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import zmq

from deadline import DEADLINE
from regisseur.actors import _link_dialer
from regisseur.actors.actor import Actor
from regisseur.protocols.envelope import decode, decode_message, seal
from regisseur.protocols.links import Hello, Welcome

__all__ = ["DEADLINE", "Echo", "Node", "Stranger", "meeting_place", "one_try", "until"]


_PROGRAM = Path(__file__).with_name("link_node.py")


@contextlib.contextmanager
def meeting_place() -> Iterator[Path]:
    """A directory of the session, for as long as this lasts. Its path is short: unix sockets have little room."""
    directory = tempfile.mkdtemp(prefix="links")
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = directory
    try:
        yield Path(directory)
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(directory)


class Node:
    """A second process, which listens under *name*; see link_node.py for what it has published.

    Args:
        settings: of its links; "dials" is the node that it connects to.
    """

    def __init__(self, name: str, **settings: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), name, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> None:
        """Have it end in order."""
        self.process.communicate(timeout=DEADLINE)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def stop(self) -> None:
        """Stop it by SIGSTOP, and wait until it has stopped: it may run on for a moment."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Let it go on after `stop`."""
        self.process.send_signal(signal.SIGCONT)


class Stranger:
    """A bare ZeroMQ socket that talks to the node at *address*, and says what it likes."""

    def __init__(self, address: str, node: str = "00112233aabbccdd") -> None:
        self.node = node
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(DEADLINE * 1000)
        self._monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._monitor.rcvtimeo = int(DEADLINE * 1000)
        self.socket.connect(address)

    def say(self, message: Any, to: str = "", correlation: int = 0) -> None:
        """Send a message to an actor, or to the node itself."""
        self.socket.send(seal(message, to, "", correlation))

    def greet(self) -> Welcome:
        """Begin as a node does."""
        self.say(Hello(self.node, None, 1, 10_000))
        welcome = self.hear()
        assert isinstance(welcome, Welcome)
        return welcome

    def hear(self, *but_not: type) -> Any:
        """The next message that is of none of these types."""
        while True:
            frame, *_ = self.socket.recv_multipart()
            message = decode_message(decode(frame))
            if type(message) not in but_not:
                return message

    def wait_until_cut_off(self) -> None:
        """Wait until the node has closed the connection."""
        self._monitor.recv_multipart()

    def close(self) -> None:
        """Be gone."""
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)
        self._context.term()


class Echo(Actor):
    """Answers with what it is asked."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message

    def call(self, function: Callable[[], Any]) -> Any:
        """Call *function* on the reactor."""
        return function()


@contextlib.contextmanager
def one_try() -> Iterator[None]:
    """Here the time for a connection that is wanted is over when the first try has failed, however long that takes."""
    clock = itertools.chain([0.0], itertools.repeat(math.inf))  # as it is wanted, and whenever it is looked at again
    with mock.patch.object(_link_dialer, "time", SimpleNamespace(monotonic=lambda: next(clock))):
        yield


def until(condition: Callable[[], Any]) -> None:
    """Wait for what nothing tells of."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
