"""GetActor: one run of the fetching of files from one host; see `_transfer_actor`."""

from __future__ import annotations

import errno
import logging
import os
import signal
import tarfile
import threading
from typing import TYPE_CHECKING, Any

from ..protocols.messages import STDERR, OutputRead
from ..protocols.transfer import CREATE_HINT
from ..protocols.transfer_get import EDGE, checksums, get_step
from ._redirect import Redirect
from ._transfer_actor import LOST, TransferActor
from ._transfer_errors import TransferError
from ._transfer_received import Received, StreamReader
from ._transfer_rule import CommandEnded, Effect, Finish, GetCourse, Pause, Send, Unpack, UseScp
from ._transfer_source import settle
from ._transfer_unpack import Unpacker
from .connection_errors import ConnectionFailedError
from .future import Future

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._process import Process
    from ._run import Run
    from ._transfer_process import GetProcess

__all__ = ["Claims", "GetActor"]

logger = logging.getLogger("regisseur")


class Claims:
    """Which host has written what, so that a user hears of it when hosts write the same. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, str] = {}
        self._told = False

    def claim(self, path: str, host: str) -> None:
        """*host* is about to write *path*."""
        with self._lock:
            other = self._hosts.setdefault(path, host)
            tell = other != host and not self._told
            self._told = self._told or tell
        if tell:
            logger.warning(
                "%s and %s both write %s, and perhaps others too: the last counts. "
                "Put {{{host}}} into local_location to keep them apart",
                other,
                host,
                path,
            )


class GetActor(TransferActor):
    """Fetches files from one host."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        process: GetProcess = run.process  # type: ignore[assignment]  # made by that class
        self._process = process
        self._course = GetCourse(process.retries)
        self._location = os.path.abspath(process.location) + "/" * process.location.endswith("/")
        self._is_directory = False
        self._received: Received | None = None
        run.done.add_done_callback(self._over)

    def _over(self, _: object) -> None:
        """However it has ended."""
        if self._received is not None:
            self._received.close()

    def begin_transfer(self) -> None:
        """Look where it is to go."""
        self.in_worker(self._prepare, lambda _: self._carry_out(self._first_effect()))

    def in_worker(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have *work* done by a worker, and *then* called with what it returns, on the reactor."""
        future: Future[Any] = Future()
        self.when_done(future, then)
        self.actor_runtime.pool.submit(lambda: settle(future, work))

    def _prepare(self) -> None:
        """In a worker."""
        process, location = self._process, self._location
        if process.create_dirs:
            os.makedirs(location, exist_ok=True)
        self._is_directory = os.path.isdir(location)
        if not self._is_directory and (len(process.names) != 1 or location.endswith("/")):
            raise FileNotFoundError(errno.ENOENT, f"there is no such directory {CREATE_HINT}", process.location)
        self._received = Received(self._directory)

    @property
    def _directory(self) -> str:
        """In which something is to be written."""
        return self._location if self._is_directory else os.path.dirname(self._location)

    def _first_effect(self) -> Effect:
        if self._run.life.killed:
            return Finish(None)
        return UseScp() if self._process.transfer == "scp" else self._course.begin()

    def killed(self) -> None:
        """What has come goes away with the run."""
        effect = self._course.kill()
        if effect is not None:
            self._carry_out(effect)

    # -- effects -------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._fetch()
            case Pause():
                self.tell_journal("transfer.broken", pause=effect.seconds)
                self.pause(effect.seconds, self._go_on)
            case Unpack():
                self.in_worker(self._unpack, lambda left: self._finish_get(effect.status, left))
            case UseScp():
                self.use_scp()
            case Finish():
                self.finish(effect.status, effect.error)

    def _go_on(self) -> None:
        effect = self._course.go_on()
        if effect is not None:
            self._carry_out(effect)

    def _fetch(self) -> None:
        process, received = self._process, self._received
        assert received is not None
        output, skip = received.next_output()
        names = [os.fsencode(name) for name in process.names]
        command = process._command(get_step(names, checksum=process.checksum, skip=skip), None)
        command._redirect = Redirect(stdout=output)
        process._note(skip, output, 1.0)
        self.run_command(command, self._fetched)

    def _fetched(self, command: Process) -> None:
        received, process = self._received, self._process
        assert received is not None
        process._note(received.size)
        useful = received.take()
        process._note(received.size, total=received.total)
        error = command.error_reason
        kinds = (*LOST, ConnectionFailedError) if self._course.was_lost else LOST
        status = received.status() if useful else None
        complete = status is not None
        # Where the connection broke, it did behind the last byte.
        if complete and (command.exit_code == 0 or (command.exit_code is None and isinstance(error, kinds))):
            self._carry_out(self._course.take(CommandEnded(status)))
            return
        changed = not useful and not received.size and self._course.was_lost and command.exit_code is not None
        # What the host ends with when nobody takes its stream any more.
        full = command.exit_code in (None, 0, 128 + signal.SIGPIPE, -signal.SIGPIPE) and self._is_full()
        if full:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._directory)
        elif command.exit_code == 0:
            what = f"only {received.size} bytes came of {received.total} and what is around them"
            error = TransferError(process.host.address, what, "Try again; and look whether the disk here is full.")
        event = CommandEnded(
            None if full else command.exit_code or None,
            error if isinstance(error, BaseException) else None,
            # Where it is another stream than before, begin again.
            lost=not full and (changed or isinstance(error, kinds)),
        )
        self._carry_out(self._course.take(event, complete=complete))

    def _is_full(self) -> bool:
        """Whether the stream may have been cut off for want of room here."""
        free = os.statvfs(self._directory)
        return free.f_bavail * free.f_frsize < 1 << 20

    # -- unpacking -----------------------------------------------------------------------

    def _unpack(self) -> list[str]:
        """In a worker; returns what was left out."""
        received, process = self._received, self._process
        assert received is not None
        listing = received.listing()
        assert listing is not None
        host = process.host.address
        size = received.size - len(listing) - EDGE
        unpacker = Unpacker(checksums(listing) if process.checksum else None, self._place)
        try:
            unpacker.unpack(StreamReader(received, size), self._directory)
        except tarfile.TarError as error:
            raise TransferError(host, f"what it has sent can not be unpacked: {error}", "Do you trust it?") from error
        if unpacker.wrong:
            what = f"{len(unpacker.wrong)} files have another checksum here than there, the first: {unpacker.wrong[0]}"
            raise TransferError(host, what, "Try again; are they being written to?")
        return unpacker.left_out

    def _place(self, name: str) -> str:
        path = os.path.join(self._location, name) if self._is_directory else self._location
        self._process.claims.claim(path, self._process.host.address)
        return path

    def _finish_get(self, status: int | None, left_out: list[str]) -> None:
        for name in left_out:
            text = f"regisseur: {name}: neither file, directory nor link, so it was left out\n"
            self._output(OutputRead(STDERR, text.encode(errors="surrogateescape")))
        if self._received is not None:
            self._process._note(self._received.total)
        self.finish(1 if left_out and not status else status)
