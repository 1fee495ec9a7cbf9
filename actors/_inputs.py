"""Inputs: writes to the stdin of children what they are given, as they take it. The I/O actor's; the reactor's thread.

Nothing is copied, and nobody is waited for: what a process does not take yet is kept with its `Child`, and the
reactor tells when there is room. Where a process is fed (`shared_input`), the next block is asked for when nothing is
pending. A terminal is one descriptor for both directions, so its readiness comes here first.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..protocols.messages import STDOUT, CloseInput, InputFailed
from ._child import CLOSED
from ._reactor import WRITABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocols.messages import WriteInput
    from ._child import Child
    from ._io import IoActor
    from ._room import Room
    from .shared_input import Feed

__all__ = ["Inputs"]


class Inputs:
    """See the module.

    Args:
        io: whose part this is.
        children: those that run, by the address of their actor.
        room: where inputs may be parked.
    """

    __slots__ = ("_children", "_io", "_room")

    def __init__(self, io: IoActor, children: Mapping[str, Child], room: Room) -> None:
        self._io = io
        self._children = children
        self._room = room

    def write(self, message: WriteInput) -> None:
        """Write it, as soon as the process takes it."""
        child = self._children.get(message.process)
        if child is None:
            return  # ProcessExited said what was written
        try:
            self._room.get_back(child)
        except OSError as error:
            self._io.tell(message.process, InputFailed(error.errno or errno.EIO))
            return
        if child.stdin == CLOSED or child.closing_input:
            self._io.tell(message.process, InputFailed(errno.EPIPE))
            return
        self._add_input(child, message.bulk)

    def _add_input(self, child: Child, data: bytes) -> None:
        child.add_input(data)
        if not child.input_watched:
            self._write_some(child)

    def serve_terminal(self, child: Child, events: int) -> None:
        """The terminal of *child* can take more, or has output."""
        if events & WRITABLE and child.pending:
            self._write_some(child)
        if events & ~WRITABLE:
            self._io.read(child, STDOUT)

    def _write_some(self, child: Child) -> None:
        assert child.pending is not None
        try:
            if child.terminal and STDOUT not in child.outputs:
                raise OSError(errno.EIO, os.strerror(errno.EIO))  # nobody has the terminal open any more
            done = child.write_some()
        except OSError as error:
            child.pending.clear()
            self._io.tell(child.address, InputFailed(error.errno or errno.EIO))
            done = True
            child.closing_input = not child.terminal
            child.source = None
        if done and child.source is not None:
            self._refill(child)
            return
        self._watch_input(child, wanted=not done)
        if done and child.closing_input:
            self.close_now(child)

    def feed(self, message: Feed) -> None:
        """From now on its stdin is what it is fed with."""
        child = self._children.get(message.process)
        if child is not None and child.stdin != CLOSED and not child.closing_input:
            child.source = message.source
            if not child.pending:
                self._refill(child)

    def _refill(self, child: Child) -> None:
        """Nothing is pending: take the next block of what it is fed with, for when its stdin has room."""
        if child.source is None or child.stdin == CLOSED or self._children.get(child.address) is not child:
            return  # it has ended meanwhile
        try:
            data = child.source.next(lambda: self._refill(child))
            if data:
                self._room.get_back(child)
        except OSError as error:
            child.source = data = None
            self._io.tell(child.address, InputFailed(error.errno or errno.EIO))
        if data:
            child.add_input(data)
        self._watch_input(child, wanted=bool(data))
        if data is None:
            child.source = None
            self.close(CloseInput(child.address))

    def _watch_input(self, child: Child, *, wanted: bool) -> None:
        if wanted == child.input_watched:
            return
        child.input_watched = wanted
        if child.terminal:
            self._io.watch_output(child, STDOUT)
        elif wanted:
            self._io.reactor.watch(child.stdin, WRITABLE, lambda _: self._write_some(child))
        else:
            self._io.reactor.forget(child.stdin)

    def close(self, message: CloseInput) -> None:
        """Close its stdin when all is written; on a terminal, type the end of it."""
        child = self._children.get(message.process)
        if child is None or child.stdin == CLOSED:
            return
        if child.terminal:  # it can not be closed one way
            self._add_input(child, child.end_of_file())
            return
        try:
            self._room.get_back(child)
        except OSError:  # no place to get it back to: it closes with the others parked there
            self._room.forget(child)
            child.stdin = CLOSED
            return
        child.closing_input = True
        if not child.pending:
            self.close_now(child)

    def close_now(self, child: Child) -> None:
        """Close the stdin of *child*, whatever is pending."""
        os.close(child.stdin)
        child.stdin = CLOSED
