"""Parking: keeps descriptors open without using up places among the open files of this program.

A descriptor that is sent over a Unix socket is open while it is under way
(unix(7), SCM_RIGHTS). So one that is seldom used, the stdin of a process that
nobody writes to, can be sent to ourselves and left unread: a pair of sockets
holds some hundred of them. Getting one back means to read until it comes, and
to send the others again.

Needed where the hard limit of open files is low, and thousands of processes
are alive. When this program ends, however it does, what was under way is closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

__all__ = ["Parking"]

_TAG = struct.Struct("=q")


class _Lot:
    """A pair of sockets, and the tags of what is on its way between them."""

    def __init__(self) -> None:
        self.entry, self.exit = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.entry.setblocking(False)
        self.exit.setblocking(False)
        self.tags: set[int] = set()

    def send(self, tag: int, fd: int) -> bool:
        """Send *fd* off; False: it is full."""
        try:
            socket.send_fds(self.entry, [_TAG.pack(tag)], [fd])
        except OSError:  # it is full; or we may have no more on the way, with ordinary rights (ETOOMANYREFS)
            return False
        return True

    def close(self) -> None:
        self.entry.close()
        self.exit.close()


class Parking:
    """See the module. For one thread.

    Raises:
        OSError: there is no place left even for its own two descriptors.
    """

    def __init__(self) -> None:
        self._lots = [_Lot()]  # one at least, made in time: later there may be no place for it

    def __len__(self) -> int:
        return sum(len(lot.tags) for lot in self._lots)

    def park(self, tag: int, fd: int) -> bool:
        """Take over *fd*, which is closed here and stays open nevertheless. Returns whether there was room.

        Args:
            tag: a number to get it back by, not in use.
        """
        lot = self._lots[-1]
        if not lot.send(tag, fd):
            try:
                lot = _Lot()
            except OSError:
                return False
            self._lots.append(lot)
            if not lot.send(tag, fd):
                return False
        lot.tags.add(tag)
        os.close(fd)
        return True

    def take(self, tag: int) -> int:
        """Get the descriptor parked under *tag* back.

        Raises:
            KeyError: there is none.
            OSError: no place is free for it among the open files; it stays parked.
        """
        lot = self._lot_of(tag)
        os.close(os.dup(lot.exit.fileno()))  # a descriptor that finds no place when it arrives would be lost
        found = -1
        while found < 0:
            data, fds, _, _ = socket.recv_fds(lot.exit, _TAG.size, 1)
            other = _TAG.unpack(data)[0]
            if other == tag:
                found = fds[0]
            else:
                if other in lot.tags:  # else it was forgotten meanwhile
                    lot.send(other, fds[0])
                os.close(fds[0])
        self._drop(lot, tag)
        return found

    def forget(self, tag: int) -> None:
        """Give up the descriptor parked under *tag*; it is closed now or later."""
        with contextlib.suppress(KeyError):
            self._drop(self._lot_of(tag), tag)

    def _lot_of(self, tag: int) -> _Lot:
        for lot in self._lots:
            if tag in lot.tags:
                return lot
        raise KeyError(tag)

    def _drop(self, lot: _Lot, tag: int) -> None:
        lot.tags.discard(tag)
        if lot.tags:
            return
        if len(self._lots) > 1:
            self._lots.remove(lot)
            lot.close()
        else:
            while True:  # only forgotten ones are left
                try:
                    _, fds, _, _ = socket.recv_fds(lot.exit, _TAG.size, 1)
                except OSError:
                    return
                for fd in fds:
                    os.close(fd)

    def close(self) -> None:
        """Close everything, what is parked too."""
        for lot in self._lots:
            lot.close()
        self._lots = []
