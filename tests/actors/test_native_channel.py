"""Sessions of native connections: the order of their news, and back-pressure, whatever order asyncssh calls in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("asyncssh", reason="needs asyncssh: pip install 'regisseur[native]'")

from regisseur.actors import _native_channel
from regisseur.actors._native_channel import NativeChannel
from regisseur.actors._session import SIGNALLED
from regisseur.protocols.mux import Decoder, ExitMessage, Failure, SessionOpened


class _Remote:
    """What asyncssh has of the channel."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))


class Stand:
    """A channel, with our ends of what it has."""

    def __init__(self) -> None:
        class _Loop:
            loop = asyncio.get_running_loop()

        ours, theirs = socket.socketpair()
        self.control = ours
        self.control.setblocking(False)
        (self.stdin_read, self.stdin), (self.stdout, stdout), (self.stderr, stderr) = (os.pipe() for _ in range(3))
        for fd in (self.stdout, self.stderr):
            os.set_blocking(fd, False)
        self.ended: list[NativeChannel] = []
        descriptors = [self.stdin_read, stdout, stderr]
        self.channel = NativeChannel(_Loop(), theirs.detach(), descriptors, self.ended.append)  # type: ignore[arg-type]  # all that it uses of one
        self.remote = _Remote()

    def news(self) -> list[Any]:
        """What was said since the last time."""
        with contextlib.suppress(BlockingIOError):
            return list(Decoder().feed(self.control.recv(65536)))
        return []

    @property
    def is_closed(self) -> bool:
        return self.ended == [self.channel]


@contextlib.asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    it = Stand()
    try:
        yield it
    finally:
        it.channel.close()
        it.control.close()
        for fd in (it.stdin, it.stdout, it.stderr):
            os.close(fd)


def played(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 20))


def test_the_end_is_told_after_the_beginning_even_if_it_is_known_before() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.release()
            it.channel.exit_status_received(3)
            assert it.news() == []
            it.channel.session_started()
            it.channel.connection_lost(None)

            assert it.news() == [SessionOpened(0, 0), ExitMessage(0, 3)]
            assert it.is_closed

    played(scene)


def test_the_end_is_told_when_the_last_output_is_written() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.channel.release()
            it.channel.data_received(b"x" * 200_000, None)
            it.channel.exit_status_received(0)
            it.channel.connection_lost(None)
            assert it.news() == [SessionOpened(0, 0)]
            size = 0
            while not it.is_closed:
                with contextlib.suppress(BlockingIOError):
                    size += len(os.read(it.stdout, 65536))
                await asyncio.sleep(0)
            size += len(os.read(it.stdout, 200_000))

            assert size == 200_000
            assert it.news() == [ExitMessage(0, 0)]

    played(scene)


def test_a_pipe_that_is_full_pauses_the_channel_until_it_has_room() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.channel.data_received(b"x" * 100_000, None)
            assert it.remote.calls == [("pause_reading",)]
            while len(it.remote.calls) < 2:
                with contextlib.suppress(BlockingIOError):
                    os.read(it.stdout, 65536)
                await asyncio.sleep(0)

            assert it.remote.calls == [("pause_reading",), ("resume_reading",)]

    played(scene)


def test_input_is_read_only_while_the_host_takes_it() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.channel.pause_writing()
            os.write(it.stdin, b"more")
            for _ in range(10):
                await asyncio.sleep(0)
            assert it.remote.calls == []
            it.channel.resume_writing()
            while not it.remote.calls:
                await asyncio.sleep(0)

            assert it.remote.calls == [("write", b"more")]

    played(scene)


def test_the_end_is_held_until_the_host_is_known_to_run_commands() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.channel.exit_status_received(1)
            it.channel.connection_lost(None)
            assert it.news() == [SessionOpened(0, 0)]
            it.channel.release()

            assert it.news() == [ExitMessage(0, 1)]

    played(scene)


def test_what_stays_in_the_background_holds_up_the_end_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native_channel, "_LINGER", 0.01)

    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.channel.release()
            it.channel.exit_status_received(0)
            while not it.is_closed:
                await asyncio.sleep(0)

            assert it.news() == [SessionOpened(0, 0), ExitMessage(0, 0)]
            assert it.remote.calls == [("abort",)]

    played(scene)


def test_a_signal_that_has_ended_all_is_told_as_such() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.channel.release()
            it.channel.exit_signal_received("KILL", False, "", "")
            it.channel.connection_lost(None)

            assert it.news() == [SessionOpened(0, 0), ExitMessage(0, SIGNALLED + signal.SIGKILL)]

    played(scene)


def test_a_command_that_may_have_begun_when_the_connection_broke_is_not_refused() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)  # the command is on its way
            it.channel.connection_lost(OSError("gone"))
            it.channel.refuse("Session request failed")

            assert it.news() == [SessionOpened(0, 0)]
            assert it.is_closed

    played(scene)


def test_a_session_that_is_not_opened_is_refused_with_the_reason() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.refuse("open failed")

            assert it.news() == [Failure(0, "open failed")]
            assert it.is_closed

    played(scene)


def test_who_waits_no_longer_ends_the_channel() -> None:
    async def scene() -> None:
        async with stand() as it:
            it.channel.connection_made(it.remote)
            it.channel.session_started()
            it.control.shutdown(socket.SHUT_RDWR)
            while not it.is_closed:
                await asyncio.sleep(0)

            assert it.remote.calls == [("abort",)]

    played(scene)
