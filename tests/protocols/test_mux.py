"""The multiplexing protocol of OpenSSH: packets of both sides, and sessions over a real shared connection."""

from __future__ import annotations

import array
import os
import pickle
import random
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadline import DEADLINE
from ports import free_port
from regisseur.protocols import mux
from regisseur.protocols.mux import (
    Alive,
    Decoder,
    ExitMessage,
    Failure,
    Hello,
    MuxError,
    MuxMessage,
    Ok,
    PermissionDenied,
    SessionOpened,
    TtyAllocFail,
)


def packet(*fields: int | bytes) -> bytes:
    """As a master packs it."""
    body = b"".join(
        struct.pack(">I", field) if isinstance(field, int) else struct.pack(">I", len(field)) + field
        for field in fields
    )
    return struct.pack(">I", len(body)) + body


def packed(message: MuxMessage) -> bytes:
    match message:
        case Hello(version):
            return packet(1, version)
        case Ok(request):
            return packet(0x80000001, request)
        case PermissionDenied(request, reason):
            return packet(0x80000002, request, reason.encode())
        case Failure(request, reason):
            return packet(0x80000003, request, reason.encode())
        case ExitMessage(session, status):
            return packet(0x80000004, session, status)
        case Alive(request, pid):
            return packet(0x80000005, request, pid)
        case SessionOpened(request, session):
            return packet(0x80000006, request, session)
        case TtyAllocFail(session):
            return packet(0x80000008, session)


uints = st.integers(0, 2**32 - 1)
reasons = st.text(max_size=50)
messages: st.SearchStrategy[MuxMessage] = st.one_of(
    st.just(Hello(4)),
    st.builds(Ok, uints),
    st.builds(PermissionDenied, uints, reasons),
    st.builds(Failure, uints, reasons),
    st.builds(ExitMessage, uints, uints),
    st.builds(Alive, uints, uints),
    st.builds(SessionOpened, uints, uints),
    st.builds(TtyAllocFail, uints),
)


# -- what we say ---------------------------------------------------------------


def test_a_hello_names_version_4() -> None:
    assert bytes.fromhex("00000008 00000001 00000004") == mux.hello()


def test_a_session_is_asked_for_field_by_field() -> None:
    expected = packet(0x10000002, 7, b"", 1, 0, 0, 0, 0xFFFFFFFF, b"xterm", b"uname -a")

    assert expected == mux.new_session(b"uname -a", tty=True, terminal="xterm", request=7)


def test_a_session_has_no_terminal_unless_it_is_asked_for() -> None:
    assert packet(0x10000002, 0, b"", 0, 0, 0, 0, 0xFFFFFFFF, b"", b"ls") == mux.new_session(b"ls")


def test_a_subsystem_is_asked_for_by_its_name() -> None:
    assert packet(0x10000002, 0, b"", 0, 0, 0, 1, 0xFFFFFFFF, b"", b"sftp") == mux.new_session(b"sftp", subsystem=True)


def test_the_small_requests_carry_their_number() -> None:
    assert packet(0x10000004, 5) == mux.alive_check(5)
    assert packet(0x10000005, 6) == mux.terminate(6)
    assert packet(0x10000009, 7) == mux.stop_listening(7)


def test_a_command_with_a_null_byte_is_refused() -> None:
    with pytest.raises(MuxError, match="null byte at position 4"):
        mux.new_session(b"echo\0")


def test_a_command_that_the_master_would_not_take_is_refused() -> None:
    room = mux.MAX_PACKET - len(mux.new_session(b"")) + 4

    assert len(mux.new_session(b"x" * room)) == mux.MAX_PACKET + 4
    with pytest.raises(MuxError, match="shorten the command"):
        mux.new_session(b"x" * (room + 1))


# -- what the master says ------------------------------------------------------


@given(st.lists(messages), st.data())
def test_messages_come_out_however_the_bytes_are_cut(sent: list[MuxMessage], data: st.DataObject) -> None:
    stream = b"".join(map(packed, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    decoder = Decoder()

    got = [
        m for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for m in decoder.feed(stream[start:end])
    ]

    assert sent == got


def test_ten_thousand_random_strings_raise_nothing_but_mux_errors() -> None:
    source = random.Random(4)
    types = [0x80000000 + number for number in range(10)] + [1]
    for _ in range(10_000):
        noise = source.randbytes(source.randrange(40))
        if source.random() < 0.7:  # else hardly any would get beyond the length
            noise = packet(source.choice(types)) + noise
            noise = struct.pack(">I", source.randrange(60)) + noise[4:]
        decoder = Decoder()
        try:
            while noise:
                size = source.randrange(1, 20)
                decoder.feed(noise[:size])
                noise = noise[size:]
        except MuxError:
            continue


def test_what_cannot_be_a_packet_is_refused_before_it_is_whole() -> None:
    with pytest.raises(MuxError, match="claims to have 262145 bytes"):
        Decoder().feed(struct.pack(">I", mux.MAX_PACKET + 1))
    with pytest.raises(MuxError, match="claims to have 3 bytes"):
        Decoder().feed(struct.pack(">I", 3))


def test_a_packet_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(MuxError, match="unknown type 0x8000000f"):
        Decoder().feed(packet(0x8000000F, 0))


def test_a_packet_that_ends_too_early_is_refused() -> None:
    with pytest.raises(MuxError, match="ends within a number"):
        Decoder().feed(packet(0x80000004, 1))
    with pytest.raises(MuxError, match="a string of 99 bytes"):
        Decoder().feed(packet(0x80000003, 1, 99))


def test_another_version_is_refused() -> None:
    with pytest.raises(MuxError, match="the master speaks version 5"):
        Decoder().feed(packet(1, 5))


def test_extensions_of_the_hello_are_passed_over() -> None:
    assert [Hello(4)] == Decoder().feed(packet(1, 4, b"name", b"value"))


def test_a_reason_that_is_not_utf8_is_still_a_reason() -> None:
    assert [Failure(1, "\ufffd")] == Decoder().feed(packet(0x80000003, 1, b"\xff"))


def test_the_error_pickles() -> None:
    error = pickle.loads(pickle.dumps(MuxError("such")))

    assert error.reason == "such"


# -- a real one ----------------------------------------------------------------


@dataclass
class Seen:
    """What came of a session, in the order in which the master said it."""

    messages: list[MuxMessage] = field(default_factory=list)
    output: dict[str, bytes] = field(default_factory=dict)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Master:
    """``ssh -M`` to an sshd of its own, both as the user who runs the test."""

    def __init__(self, directory: Path, sessions: int) -> None:
        self.socket = directory / "master"
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        port = free_port()
        config = directory / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n"
            f"PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nLogLevel ERROR\nMaxSessions {sessions}\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's empty directory; packages make it when the service starts
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert program
        self._sshd = subprocess.Popen([program, "-D", "-e", "-f", config], stderr=subprocess.PIPE)
        deadline = time.monotonic() + DEADLINE
        while not answers(port):
            assert time.monotonic() < deadline
            assert self._sshd.poll() is None
        options = [f"UserKnownHostsFile={directory}/known", "StrictHostKeyChecking=accept-new", "LogLevel=ERROR"]
        self._ssh = subprocess.Popen(
            ["ssh", "-F", "none", "-M", "-S", str(self.socket), "-i", f"{directory}/user", "-p", str(port)]
            + [word for option in options for word in ("-o", option)]
            + ["-N", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        while not self.socket.exists():
            assert time.monotonic() < deadline
            assert self._ssh.poll() is None

    def connect(self) -> socket.socket:
        control = socket.socket(socket.AF_UNIX)
        control.settimeout(DEADLINE)
        control.connect(str(self.socket))
        return control

    def run(self, command: bytes, stdin: bytes = b"") -> Seen:
        """Run *command* to its end; small *stdin*."""
        seen = Seen()
        pipes = [os.pipe() for _ in range(3)]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        with self.connect() as control:
            control.sendall(mux.hello() + mux.new_session(command))
            for fd in (pipes[0][0], pipes[1][1], pipes[2][1]):
                control.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
                os.close(fd)
            os.write(ours[0], stdin)
            os.close(ours[0])
            decoder = Decoder()
            names = {control.fileno(): "control", ours[1]: "stdout", ours[2]: "stderr"}
            while names:
                readable = select.select(list(names), [], [], DEADLINE)[0]
                assert readable
                for fd in readable:
                    data = os.read(fd, 65536)
                    if not data:
                        del names[fd]
                    elif names[fd] == "control":
                        seen.messages += decoder.feed(data)
                    else:
                        seen.output[names[fd]] = seen.output.get(names[fd], b"") + data
        os.close(ours[1])
        os.close(ours[2])
        return seen

    def ask(self, request: bytes) -> list[MuxMessage]:
        """The hello, and the answer to *request*."""
        decoder = Decoder()
        answers: list[MuxMessage] = []
        with self.connect() as control:
            control.sendall(mux.hello() + request)
            while len(answers) < 2:
                answers += decoder.feed(control.recv(4096))
        return answers

    @property
    def pid(self) -> int:
        return self._ssh.pid

    def wait(self) -> None:
        self._ssh.wait(DEADLINE)

    def close(self) -> None:
        for process in (self._ssh, self._sshd):
            process.terminate()
            process.communicate(timeout=DEADLINE)


@pytest.fixture
def start_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Master]]:
    """Starts one whose server allows so many sessions."""
    started: list[Master] = []

    def start(sessions: int) -> Master:
        started.append(Master(tmp_path_factory.mktemp("m"), sessions))
        return started[-1]

    yield start
    for master in started:
        master.close()


@pytest.fixture
def master(start_master: Callable[[int], Master]) -> Master:
    # More than one at a time: sshd may still count a session that has ended while it reads of the next.
    return start_master(10)


@pytest.mark.requires_sshd
@pytest.mark.slow
def test_sessions_run_over_a_real_shared_connection(master: Master) -> None:
    hello = Hello(4)

    seen = master.run(b"cat; echo told >&2; exit 7", b"all\n")
    assert seen.output == {"stdout": b"all\n", "stderr": b"told\n"}
    assert [Hello, SessionOpened, ExitMessage] == list(map(type, seen.messages))
    assert isinstance(seen.messages[2], ExitMessage)
    assert seen.messages[2].status == 7

    seen = master.run(b"head -c 1000000 /dev/zero")  # much of it comes after the exit message
    assert seen.output == {"stdout": bytes(1_000_000)}

    seen = master.run(b"kill -9 $$")
    assert [Hello, SessionOpened] == list(map(type, seen.messages))

    assert [hello, Alive(3, master.pid)] == master.ask(mux.alive_check(3))
    assert [hello, Ok(4)] == master.ask(mux.stop_listening(4))
    assert not master.socket.exists()


@pytest.mark.requires_sshd
@pytest.mark.slow
def test_a_session_too_many_is_refused_with_a_failure(start_master: Callable[[int], Master]) -> None:
    """The server allows one. The socket stays open, and the connection in use."""
    master = start_master(1)
    with master.connect() as first, master.connect() as second:
        ends = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
        pipe = os.pipe()
        told = []
        for control, fds in ((first, [pipe[0], *ends[1:]]), (second, ends)):
            control.sendall(mux.hello() + mux.new_session(b"cat"))
            for fd in fds:
                control.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
            decoder = Decoder()
            got: list[MuxMessage] = []
            while len(got) < 2:
                got += decoder.feed(control.recv(4096))
            told.append(got[1])
        for fd in (*ends, *pipe):
            os.close(fd)

    assert isinstance(told[0], SessionOpened)
    assert Failure(0, "Session open refused by peer") == told[1]
