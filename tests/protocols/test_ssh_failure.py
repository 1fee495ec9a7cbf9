"""What ssh writes when it fails, and what is made of it. The files in ssh_stderr are as a real ssh wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regisseur.protocols.ssh_failure import Failure, classify, is_worth_a_retry, telling_line

SAMPLES = sorted((Path(__file__).parent / "ssh_stderr").glob("*.txt"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_what_a_real_ssh_said_is_understood(sample: Path) -> None:
    failure = sample.name.split(".")[0].replace("_", "-")

    assert Failure(failure) == classify(sample.read_text())


def test_there_is_a_sample_of_each_way_to_fail() -> None:
    told_by_others = {Failure.PROGRAM_MISSING, Failure.OTHER}

    assert {Failure(path.name.split(".")[0].replace("_", "-")) for path in SAMPLES} == set(Failure) - told_by_others


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Words of other releases, systems and libraries.
        ("ssh: Could not resolve hostname n1: Temporary failure in name resolution", Failure.UNKNOWN_NAME),
        ("ssh: Could not resolve hostname n1: nodename nor servname provided, or not known", Failure.UNKNOWN_NAME),
        ("hostname contains invalid characters", Failure.UNKNOWN_NAME),
        ("ssh: connect to host n1 port 22: Network is unreachable", Failure.NO_ROUTE),
        ("ssh: connect to host n1 port 22: Host is down", Failure.NO_ROUTE),
        ("ssh: connect to address 10.0.0.1 port 22: Connection refused", Failure.REFUSED),
        ("ssh: connect to host n1 port 22: Operation timed out", Failure.TIMEOUT),
        ("ssh_exchange_identification: Connection closed by remote host", Failure.BUSY),
        ("ssh_exchange_identification: read: Connection reset by peer", Failure.BUSY),
        ("kex_exchange_identification: write: Broken pipe", Failure.BUSY),
        ("Connection closed by 10.0.0.1 port 22", Failure.BUSY),
        ("ssh: connect to host n1 port 22: Connection reset by peer", Failure.BUSY),
        ("ssh: connect to host n1 port 22: Resource temporarily unavailable", Failure.BUSY),
        ("Not allowed at this time", Failure.BUSY),
        ("user@n1: Permission denied (publickey,gssapi-keyex,gssapi-with-mic).", Failure.PERMISSION_DENIED),
        ("Permission denied (publickey).", Failure.PERMISSION_DENIED),
        ("packet_write_wait: Connection to 10.0.0.1 port 22: Broken pipe", Failure.CONNECTION_LOST),
        ("client_loop: send disconnect: Connection reset by peer", Failure.CONNECTION_LOST),
        ("Read from remote host n1: Connection timed out", Failure.CONNECTION_LOST),
        ("ssh_dispatch_run_fatal: Connection to 10.0.0.1 port 22: Broken pipe", Failure.CONNECTION_LOST),
        ("/home/me/.ssh/config: line 3: Bad configuration option: jump", Failure.BAD_CONFIGURATION),
        ("Bad owner or permissions on /home/me/.ssh/config", Failure.BAD_CONFIGURATION),
        ("No such file or directory: no-such-ssh", Failure.PROGRAM_MISSING),
        ("No such file or directory", Failure.PROGRAM_MISSING),
        ("Permission denied: /opt/ssh", Failure.PROGRAM_MISSING),
        # Not ssh's words, though like them.
        ("cat: /etc/shadow: Permission denied", Failure.OTHER),
        ("curl: (7) Failed to connect to host n1 port 80", Failure.OTHER),
        ("Connection to n1 closed.", Failure.OTHER),
        ("kex_exchange_identification: banner line contains invalid characters", Failure.OTHER),
    ],
)
def test_a_line_is_understood(line: str, expected: Failure) -> None:
    assert expected == classify(f"{line}\r\n")
    assert line == telling_line(line)


def test_where_nothing_is_said_nothing_is_known() -> None:
    assert classify(" \n\n") is None
    assert telling_line("\n") == ""


def test_what_a_command_wrote_before_does_not_count() -> None:
    """Here it used ssh itself, and that could not connect to yet another host."""
    said = "ssh: connect to host n2 port 22: Connection refused\nTimeout, server n1 not responding.\n"

    assert classify(said) == Failure.CONNECTION_LOST
    assert telling_line(said) == "Timeout, server n1 not responding."


def test_the_telling_line_is_that_which_tells_most() -> None:
    samples = {path.stem: telling_line(path.read_text()) for path in SAMPLES}

    assert samples["jump_failed.refused"] == "ssh: connect to host 127.0.0.1 port 1: Connection refused"
    assert samples["jump_failed.command_missing"].endswith("no-such-program: not found")
    assert samples["bad_key_file.broken"].startswith("Load key ")
    assert samples["permission_denied.too_many"].endswith("Too many authentication failures")
    assert samples["bad_configuration.flag"].startswith("usage: ssh")


def test_only_a_busy_host_is_worth_a_retry() -> None:
    assert [failure for failure in Failure if is_worth_a_retry(failure)] == [Failure.BUSY]


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    failure = classify(text)

    assert (failure is None) == (telling_line(text) == "")
