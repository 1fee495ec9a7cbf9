"""Connections that this program makes itself: what is different about them. The rest is in test_ssh_real.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processes import DEADLINE, QUIET
from regisseur.actors import connection_errors as errors
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.remote import Remote
from sshd import Sshd, params_of

pytestmark = [pytest.mark.requires_sshd, pytest.mark.usefixtures("stage")]

Start = Callable[..., Sshd]


@pytest.fixture
def native(sshd: Sshd, tmp_path: Path) -> dict[str, Any]:
    """Connection parameters for the server, with keys in a file of the test."""
    return {**sshd.connection_params, "known_hosts": str(tmp_path / "known_hosts"), **params_of("native")}


def run(cmd: str, host: str, params: dict[str, Any], **kwargs: Any) -> SshProcess:
    return SshProcess(cmd, host, {**params_of("native"), **params}, **{**QUIET, **kwargs}).run(DEADLINE)


# -- without asyncssh --------------------------------------------------------------------------------------------------


def test_without_asyncssh_it_is_said_how_to_install_it(
    sshd: Sshd, native: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    monkeypatch.delitem(sys.modules, "regisseur.actors._native_link", raising=False)
    monkeypatch.delitem(sys.modules, "regisseur.actors._native_channel", raising=False)

    failed = SshProcess("true", sshd.address, native, **QUIET).run(DEADLINE)

    assert isinstance(failed.error_reason, errors.ConnectorMissingError)
    assert "pip install 'regisseur[native]'" in str(failed.error_reason)
    assert (failed.error, failed.exit_code) == (True, None)


# -- streams -----------------------------------------------------------------------------------------------------------


def test_any_bytes_go_there_and_come_back(sshd: Sshd, native: dict[str, Any]) -> None:
    data = bytes(range(256)) * 20_000 + b"\x1eregisseur:"
    process = SshProcess("cat; cat /dev/null >&2", sshd.address, native, **QUIET).start()
    process.write(data)
    process.close_stdin()

    assert process.wait(DEADLINE).ok
    assert process.stdout_bytes == data


def test_much_output_takes_no_memory_to_speak_of(sshd: Sshd, native: dict[str, Any], tmp_path: Path) -> None:
    native["known_hosts"] = str(tmp_path / "known")
    script = f"""
import resource
from regisseur.actors import *
params = {native!r}
SshProcess("true", {sshd.address!r}, params).run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
process = SshProcess("head -c 300000000 /dev/zero", {sshd.address!r}, params,
                     stdout_handlers=[{str(tmp_path / "out")!r}], default_stdout_handler=False).run()
print(process.ok, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024 < 60)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)

    assert (done.stdout, done.stderr) == ("True True\n", "")
    assert (tmp_path / "out").stat().st_size == 300_000_000


def test_a_fork_after_the_runtime_has_ended_is_quiet(sshd: Sshd, native: dict[str, Any], tmp_path: Path) -> None:
    native["known_hosts"] = str(tmp_path / "known")
    script = f"""
import os
from regisseur.actors import SshProcess
from regisseur.actors.runtime import Runtime, use_runtime
with Runtime("first") as first, use_runtime(first):
    print(SshProcess("echo a", {sshd.address!r}, {native!r}).run().stdout, end="", flush=True)
if not (pid := os.fork()):
    os.write(1, b"b\\n")
    os._exit(0)
os.waitpid(pid, 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)

    assert (done.stdout, done.stderr) == ("a\nb\n", "")


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_host_that_says_nothing_is_given_up_in_time(native: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        params = {**native, "port": silent.getsockname()[1], "connect_timeout": 0.3}
        failed = run("true", "127.0.0.1", params)

    assert isinstance(failed.error_reason, errors.ConnectTimeoutError)


def test_a_host_that_is_no_ssh_server_is_an_error(native: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = SshProcess("true", "127.0.0.1", {**native, "port": server.getsockname()[1]}, **QUIET).start()
        connection = server.accept()[0]
        connection.sendall(b"220 mail.example.org ESMTP\r\n" * 5000)
        process.wait(DEADLINE)
        connection.close()

    assert isinstance(process.error_reason, errors.ConnectionFailedError)


def test_a_host_that_runs_no_commands_is_an_error_and_its_status_is_not_the_commands(start_sshd: Start) -> None:
    server = start_sshd(ForceCommand="echo no entry >&2; exit 1")
    failed = run("exit 7", server.address, server.connection_params)

    assert isinstance(failed.error_reason, errors.CommandUnstartedError)
    assert failed.error_reason.status == 1
    assert "no entry" in str(failed.error_reason)


def test_a_key_file_that_others_can_read_is_named(sshd: Sshd, native: dict[str, Any], tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_bytes((sshd.directory / "id").read_bytes())
    key.chmod(0o644)

    failed = run("true", sshd.address, {**native, "keyfile": str(key)})

    assert isinstance(failed.error_reason, errors.BadKeyFileError)
    assert str(key) in str(failed.error_reason)


def test_a_host_whose_new_key_is_of_another_kind_is_known_to_have_changed(start_sshd: Start) -> None:
    server = start_sshd()
    params = {**server.connection_params, "idle_timeout": 0}
    assert run("true", server.address, params).ok
    server.stop()
    for file in server.directory.glob("host_key*"):
        file.unlink()
    subprocess.run(["ssh-keygen", "-qt", "ecdsa", "-N", "", "-f", server.directory / "host_key"], check=True)
    server.start()

    assert isinstance(run("true", server.address, params).error_reason, errors.HostKeyChangedError)


def test_options_that_mean_nothing_are_told(sshd: Sshd, native: dict[str, Any]) -> None:
    failed = run("true", sshd.address, {**native, "ssh_options": ("-F", "/nonexistent/config")})

    assert isinstance(failed.error_reason, errors.BadConfigurationError)
    assert "/nonexistent/config" in str(failed.error_reason)


# -- host keys and algorithms ------------------------------------------------------------------------------------------


def known_line(server: Sshd) -> str:
    """What a known_hosts file has to say of *server*."""
    return f"[{server.address}]:{server.port} {(server.directory / 'host_key.pub').read_text()}"


def test_strict_takes_the_key_that_is_known(sshd: Sshd, native: dict[str, Any]) -> None:
    Path(native["known_hosts"]).write_text(known_line(sshd))

    assert run("true", sshd.address, {**native, "host_keys": "strict"}).ok
    assert Path(native["known_hosts"]).read_text() == known_line(sshd)


def test_many_hosts_that_are_new_at_once_are_all_written_down(sshd: Sshd, native: dict[str, Any]) -> None:
    hosts = [f"127.0.0.{number + 1}" for number in range(8)]

    assert Remote("true", hosts, native).run(DEADLINE).ok
    lines = Path(native["known_hosts"]).read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"[{host}]:{sshd.port}" for host in hosts)


def test_a_laboratory_exchanges_keys_by_curve25519(start_sshd: Start) -> None:
    server = start_sshd(KexAlgorithms="ecdh-sha2-nistp256,curve25519-sha256", LogLevel="DEBUG1")

    assert run("true", server.address, {**server.connection_params, "lab_network": True}).ok
    assert "kex: algorithm: curve25519-sha256 [preauth]" in server.log.read_text()


# -- ssh's configuration -----------------------------------------------------------------------------------------------


def config(path: Path, *blocks: str) -> dict[str, Any]:
    path.write_text("\n".join(blocks))
    return {"ssh_options": ("-F", str(path)), "known_hosts": str(path.with_name("known_of_run")), **params_of("native")}


def stanza(name: str, server: Sshd, *more: str) -> str:
    """How ssh's configuration tells of *server*."""
    lines = [f"HostName {server.address}", f"Port {server.port}", f"IdentityFile {server.directory}/id", *more]
    return "\n    ".join([f"Host {name}", *lines]) + "\n"


def test_names_in_sshs_configuration_are_followed(sshd: Sshd, tmp_path: Path) -> None:
    params = config(tmp_path / "config", stanza("alias", sshd), "Host *\n    SendEnv LANG\n")

    process = run("echo here", "alias", params)

    assert (process.ok, process.stdout) == (True, "here\n"), process.error_reason


def test_a_host_is_reached_over_another(sshd: Sshd, start_sshd: Start, tmp_path: Path) -> None:
    gateway = start_sshd()
    known = tmp_path / "known"
    known.write_text(known_line(gateway))
    trusting = f"UserKnownHostsFile {known}"
    params = config(tmp_path / "config", stanza("gate", gateway, trusting), stanza("inside", sshd, "ProxyJump gate"))
    before = gateway.connections()

    process = run("echo over", "inside", params)

    assert (process.ok, process.stdout) == (True, "over\n"), process.error_reason
    assert gateway.connections() != before
    gateway.stop()


@pytest.mark.parametrize(
    ("why", "seen"), [("unknown key", "jump host gate: "), ("refused", "Connect"), ("no name", "jump host gate: ")]
)
def test_a_gateway_that_lets_nobody_through_is_named(
    why: str, seen: str, sshd: Sshd, start_sshd: Start, tmp_path: Path
) -> None:
    gateway = start_sshd()
    known = tmp_path / "known"
    known.write_text("" if why == "unknown key" else known_line(gateway))
    gate = stanza("gate", gateway, f"UserKnownHostsFile {known}")
    if why == "refused":
        gateway.stop()
    elif why == "no name":
        gate = gate.replace(gateway.address, "no-such-host.invalid")
    params = config(tmp_path / "config", gate, stanza("inside", sshd, "ProxyJump gate"))

    failed = run("true", "inside", params)

    assert isinstance(failed.error_reason, errors.JumpFailedError), failed.error_reason
    assert "jump host gate: " in str(failed.error_reason)
    assert seen in str(failed.error_reason)


def test_a_program_may_connect_in_its_place(sshd: Sshd, native: dict[str, Any]) -> None:
    relay = (
        "import os,socket,sys,threading\n"
        "s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "def there():\n"
        " while d:=os.read(0,65536): s.sendall(d)\n"
        " s.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=there,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    file = Path(native["known_hosts"]).with_name("relay.py")
    file.write_text(relay)
    command = f"ProxyCommand={sys.executable} {file} %h %p"

    process = run("echo through", sshd.address, {**native, "ssh_options": ("-F", "none", "-o", command)})

    assert (process.ok, process.stdout) == (True, "through\n"), process.error_reason


def test_a_program_that_does_not_connect_is_told(sshd: Sshd, native: dict[str, Any]) -> None:
    failed = run(
        "true", sshd.address, {**native, "ssh_options": ("-F", "none", "-o", "ProxyCommand=echo no way >&2; false")}
    )

    assert isinstance(failed.error_reason, errors.JumpFailedError)
    assert "no way" in failed.error_reason.said


def test_a_program_that_connects_in_its_place_ends_with_the_controller(native: dict[str, Any], tmp_path: Path) -> None:
    news = tmp_path / "pid"
    os.mkfifo(news)
    native["ssh_options"] = ("-F", "none", "-o", f"ProxyCommand=sh -c 'echo $$ >{news}; exec sleep 1000'")
    script = f"from regisseur.actors import SshProcess; SshProcess('true', '127.0.0.1', {native!r}).run()"
    with subprocess.Popen([sys.executable, "-c", script]) as controller:
        program = os.pidfd_open(int(news.read_text()))
        controller.kill()

    ended = select.select([program], [], [], DEADLINE)[0]
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(program, signal.SIGKILL)
    os.close(program)
    assert ended == [program]


# -- what is read once -------------------------------------------------------------------------------------------------


def options_of(host: str, params: dict[str, Any]) -> Any:
    from regisseur.actors._native_options import NativeOptions

    return asyncio.run(NativeOptions.of(SshProcess("true", host, params)._way()))


def test_options_are_read_once_for_hosts_that_are_reached_alike(native: dict[str, Any], tmp_path: Path) -> None:
    first, second = (options_of(host, native) for host in ("node-1", "node-2"))
    other = options_of("node-1", {**native, "port": 23})

    assert first is second
    assert other is not first


@pytest.mark.parametrize(
    "block", ["Host node-*\n    Port 23\n", "Match host node-1\n    Port 23\n", "ProxyCommand nc %h %p\n"]
)
def test_options_that_depend_on_the_host_are_read_for_each(block: str, tmp_path: Path) -> None:
    params = config(tmp_path / "config", block)

    assert options_of("node-1", params) is not options_of("node-1", params)


def test_comments_and_blocks_for_all_hosts_depend_on_nothing(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Compression no\n")
    params = config(tmp_path / "config", "# %h\n\n", "Host *\n    Compression=yes\n", f"Include {tmp_path}/m*\n")

    assert options_of("node-1", params) is options_of("node-2", params)


def test_variables_are_sent_as_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LC_TEST", "é")
    params = config(tmp_path / "config", "SendEnv LC_*\nSetEnv A=b=c\n")
    options = options_of("node-1", params)

    assert options.for_connection(SshProcess("true", "node-1", params)._way())["env"] == {
        b"LC_TEST": "é".encode(),
        b"A": b"b=c",
    }
