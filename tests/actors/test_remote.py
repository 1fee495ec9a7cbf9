"""Remote: one command on many hosts; what differs from host to host, and what is the same. Over the stub."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET, Ears
from regisseur.actors._ssh_process import SshProcess
from regisseur.actors.action import Action, SequentialActions, filter_bad_hosts
from regisseur.actors.config import default_connection_params
from regisseur.actors.exception import ConfigurationError
from regisseur.actors.host import Host
from regisseur.actors.remote import Remote, RemoteSerial
from regisseur.actors.report import Report
from regisseur.actors.serial import SerialSsh


class RemoteStage:
    """Makes actions on hosts of the stub, and ends them all with the test."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def remote(self, cmd: Any, hosts: Any, process_args: Any = None, **kwargs: Any) -> Remote:
        made = Remote(cmd, hosts, STUB_PARAMS, {**QUIET, **(process_args or {})}, **kwargs)
        self.actions.append(made)
        return made


@pytest.fixture
def stage() -> Iterator[RemoteStage]:
    made = RemoteStage()
    yield made
    for action in made.actions:
        if action.running:
            assert action.kill().wait(DEADLINE).ended


def said(remote: Remote) -> list[str]:
    return [process.stdout.strip() for process in remote.processes]


# -- hosts -------------------------------------------------------------------------------------------------------------


def test_there_is_a_process_for_each_host_in_their_order_duplicates_too(stage: RemoteStage) -> None:
    remote = stage.remote("echo $STUB_HOST", ["h1", Host("h2", user="u"), "h1"]).run(DEADLINE)

    assert remote.hosts == [Host("h1"), Host("h2", user="u"), Host("h1")]
    assert [process.host for process in remote.processes] == remote.hosts
    assert said(remote) == ["h1", "h2", "h1"]
    assert remote.finished_ok


@pytest.mark.parametrize("hosts", ["h1", Host("h1"), ("h1",), {"h1"}, iter(["h1"])])
def test_one_host_or_any_iterable_will_do(hosts: Any, stage: RemoteStage) -> None:
    assert stage.remote("true", hosts).hosts == [Host("h1")]


def test_with_no_hosts_it_ends_at_once_and_is_ok(stage: RemoteStage) -> None:
    remote = stage.remote("false", []).run(DEADLINE)

    assert (remote.ended, remote.finished_ok, remote.processes, remote.stats()["num_processes"]) == (True, True, [], 0)
    assert remote.reset().run(DEADLINE).finished_ok


def test_a_command_in_bytes_is_text(stage: RemoteStage) -> None:
    remote = stage.remote(b"printf '%s \xc3\xa9 \xff' {{{host}}}", ["h1", "h2"]).run(DEADLINE)

    assert [process.stdout_bytes for process in remote.processes] == [b"h1 \xc3\xa9 \xff", b"h2 \xc3\xa9 \xff"]
    assert remote.name == "printf '%s é \udcff' {{{host}}}"
    assert remote.reset().run(DEADLINE).finished_ok


def test_hosts_may_be_changed_before_the_start(stage: RemoteStage) -> None:
    remote = stage.remote("echo {{{host}}}", ["h1", "h2"])
    remote.hosts = ["h3"]

    assert said(remote.run(DEADLINE)) == ["h3"]
    with pytest.raises(ValueError, match=r"call reset\(\) before you change its hosts"):
        remote.hosts = []
    remote.reset().hosts = [Host("h4"), Host("h5")]
    assert said(remote.run(DEADLINE)) == ["h4", "h5"]


# -- how many at a time ------------------------------------------------------------------------------------------------


def test_no_more_than_the_fan_out_run_at_a_time(stage: RemoteStage, tmp_path: Path) -> None:
    count = "mkdir $STUB_HOST; ls | wc -l; rmdir $STUB_HOST"
    hosts = [f"h{n}" for n in range(12)]
    remote = stage.remote(count, hosts, {"cwd": tmp_path}, fanout=3).run(DEADLINE)

    assert remote.finished_ok
    assert all(process.ended for process in remote.processes)
    assert max(map(int, said(remote))) <= 3
    assert "fanout=3" in repr(remote)


def test_a_kill_starts_none_of_those_that_wait_for_their_turn(stage: RemoteStage) -> None:
    remote = stage.remote("echo up; exec sleep 60", ["h1", "h2", "h3"], fanout=2).start()
    assert remote.processes[0].expect("up", DEADLINE)[0] == 0
    remote.kill().wait(DEADLINE)

    assert remote.ended
    assert [process.started for process in remote.processes] == [True, True, False]
    assert remote.reset().processes[0].started is False


def test_a_fan_out_of_none_is_an_error(stage: RemoteStage) -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        stage.remote("true", ["h1"], fanout=0)


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_arguments_for_processes_go_to_each(stage: RemoteStage) -> None:
    heard: list[str] = []
    remote = stage.remote(
        "echo {{{host}}}; exit 3",
        ["h1", "h2"],
        {
            "ignore_exit_code": True,
            "timeout": 20,
            "stdout_handlers": lambda process, stream, chunk: heard.append(chunk),
        },
    ).run(DEADLINE)

    assert [process.timeout for process in remote.processes] == [20, 20]
    assert remote.ok
    assert sorted("".join(heard).split()) == ["h1", "h2"]


def test_parameters_are_those_that_were_given_and_are_checked(stage: RemoteStage) -> None:
    assert stage.remote("true", "h1").processes[0].connection_params is STUB_PARAMS  # type: ignore[attr-defined]  # an SshProcess
    with pytest.raises(ConfigurationError, match="did you mean user"):
        Remote("true", "h1", {"usr": "root"})
    with pytest.raises(TypeError, match="Remote: connexion_params is gone: write connection_params"):
        Remote("true", "h1", connexion_params={})


def test_without_parameters_the_defaults_of_the_script_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_connection_params, "ssh", STUB_PARAMS["ssh"])

    remote = Remote("echo $STUB_HOST", ["h1"])

    assert said(remote.run(DEADLINE)) == ["h1"]
    assert isinstance(remote.processes[0], SshProcess)
    assert remote.processes[0].connection_params is None


# -- substitutions -----------------------------------------------------------------------------------------------------


def test_expressions_are_worth_their_item_in_the_scope_of_who_makes_the_action() -> None:
    names = ["a", "b"]  # noqa: F841  # used by the expressions

    remote = Remote("echo {{names}} {{{host}}} {{[len(names)]}}", ["h1", "h2", "h3"], STUB_PARAMS)

    assert said(remote.run(DEADLINE)) == ["a h1 2", "b h2 2", "a h3 2"]


def test_they_are_evaluated_again_by_a_reset() -> None:
    names = ["a", "b"]
    remote = Remote("echo {{names}}", ["h1", "h2"], STUB_PARAMS).run(DEADLINE)

    names[:] = ["c", "d"]
    again = remote.reset().run(DEADLINE)

    assert said(again) == ["c", "d"]


def test_words_of_a_command_are_substituted_before_they_are_quoted() -> None:
    names = ["a b", "it's"]  # noqa: F841  # used by the expression

    remote = Remote(["printf", "%s|", "{{names}}", "{{{host}}}"], ["h1", "h2"], STUB_PARAMS)

    assert said(remote.run(DEADLINE)) == ["a b|h1|", "it's|h2|"]


def test_names_of_files_among_the_handlers_are_substituted_too(tmp_path: Path) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    arguments = {"stdout_handlers": ["{{files}}"], "stderr_handlers": str(tmp_path / "{{{host}}}.err")}
    remote = Remote("echo out; echo err >&2", ["h1", "h2"], STUB_PARAMS, arguments).run(DEADLINE)

    assert [path.read_text() for path in files] == ["out\n", "out\n"]
    assert (tmp_path / "h2.err").read_text() == "err\n"
    assert arguments["stdout_handlers"] == ["{{files}}"]

    files.reverse()
    heard: list[str] = []
    remote.reset().processes[0].stdout_handlers.append(lambda process, stream, chunk: heard.append(chunk))
    remote.run(DEADLINE)
    assert [handlers.stdout_handlers[0] for handlers in remote.processes] == list(map(str, files))
    assert heard == ["out\n"]


def test_what_an_expression_raises_is_raised_when_the_action_is_made() -> None:
    with pytest.raises(NameError, match="no_such_name"):
        Remote("echo {{no_such_name}}", ["h1"], STUB_PARAMS)
    with pytest.raises(ValueError, match="expected a sequence, not 3"):
        Remote("echo {{3}}", ["h1"], STUB_PARAMS)


def test_an_action_that_is_gone_holds_nothing_of_its_scope() -> None:
    class Large:
        pass

    def make() -> weakref.ref[Large]:
        large = Large()
        Remote("true", ["h1"], STUB_PARAMS)
        return weakref.ref(large)

    left = make()
    gc.collect()
    assert left() is None


# -- input, failures, ends ---------------------------------------------------------------------------------------------


def test_what_is_written_goes_to_all(stage: RemoteStage) -> None:
    remote = stage.remote("sed s/^/$STUB_HOST:/", ["h1", "h2"])
    with pytest.raises(ValueError, match="was not started"):
        remote.write("early")

    remote.start()
    remote.write("a\n")
    print("b", "c", file=remote, flush=True)
    remote.close_stdin()
    remote.wait(DEADLINE)

    assert said(remote) == ["h1:a\nh1:b c", "h2:a\nh2:b c"]


def test_only_the_hosts_that_failed_are_filtered_out(stage: RemoteStage) -> None:
    hosts: list[str | Host] = ["h1", Host("h2", user="u"), "h3"]
    remote = stage.remote("test $STUB_HOST != h2", hosts).run(DEADLINE)

    assert (remote.ok, remote.ended) == (False, True)
    assert filter_bad_hosts(remote, hosts) == ["h1", "h3"]
    assert filter_bad_hosts(remote, "h2") == ["h2"]
    assert Report([remote]).stats()["num_non_zero_exit_codes"] == 1


def test_each_failure_is_warned_of_with_its_host() -> None:
    with Ears() as ears:
        Remote("test {{{host}}} = h1", ["h1", "h2"], STUB_PARAMS).run(DEADLINE)
        warning = ears.next()

    assert warning.startswith("terminated: <SshProcess('test h2 = h1', name=test h2 = h1, host=h2, started=True")
    assert ears.all() == []


def test_a_kill_ends_all_and_they_are_ok(stage: RemoteStage) -> None:
    remote = stage.remote("echo up; exec sleep 100", [f"h{number}" for number in range(5)])

    with remote.start():
        remote.expect("up", timeout=DEADLINE)
    assert remote.wait(DEADLINE).ended
    assert remote.ok
    assert all(process.killed for process in remote.processes)


def test_output_of_all_is_waited_for(stage: RemoteStage) -> None:
    remote = stage.remote("echo ready on $STUB_HOST; cat", ["h1", "h2"]).start()

    found = remote.expect(r"ready on (\w+)", timeout=DEADLINE)

    assert [match.group(1) for _, _, match in found if match is not None] == ["h1", "h2"]


def test_it_is_a_part_of_other_actions(stage: RemoteStage) -> None:
    first = stage.remote("echo 1", ["h1", "h2"])
    second = stage.remote("echo 2", ["h3"])

    everything = SequentialActions([first, second]).run(DEADLINE)

    assert [process.stdout for process in everything.processes] == ["1\n", "1\n", "2\n"]
    dates = [second.start_date, first.end_date]
    assert dates == sorted(dates, key=lambda date: -(date or 0))


# -- as text -----------------------------------------------------------------------------------------------------------


def test_it_is_called_as_its_command() -> None:
    assert Remote("echo   {{{host}}}", ["h1"]).name == "echo {{{host}}}"
    assert Remote(["echo", "a b"], []).name == "echo 'a b'"
    assert Remote("x", [], name="mine").name == "mine"


def test_its_repr_shows_what_it_was_made_with_but_not_thousands_of_hosts() -> None:
    assert repr(Remote("x", ["h1", Host("h2", port=3)], {"user": "u"}, {"timeout": 3}, name="n")) == (
        "Remote('x', [Host('h1'), Host('h2', port=3)], connection_params={'user': 'u'}, process_args={'timeout': 3}, "
        "name='n')"
    )
    assert repr(Remote("x", [f"h{number}" for number in range(1000)])) == (
        "Remote('x', [Host('h0'), Host('h1'), Host('h2'), Host('h3'), Host('h4'), ... 995 more])"
    )


# -- serial ports ------------------------------------------------------------------------------------------------------


def test_serial_ports_of_hosts_have_a_process_each() -> None:
    ports = ["/dev/ttyS0", "/dev/ttyS1"]

    action = RemoteSerial(["h1", "h2"], "{{ports}}", 9600, STUB_PARAMS, {"timeout": 3})

    assert [repr(process) for process in action.processes] == [
        f"SerialSsh(Host('h{number}'), '/dev/ttyS{number - 1}', 9600, connection_params={STUB_PARAMS}, timeout=3.0)"
        for number in (1, 2)
    ]
    assert action.name == "RemoteSerial to 2 hosts"
    assert repr(RemoteSerial("h1", "/p", 9600)) == "RemoteSerial([Host('h1')], '/p', 9600)"
    ports.reverse()
    assert [process.device for process in action.reset().processes if isinstance(process, SerialSsh)] == ports
    assert "ttyS1 9600 raw" in action.processes[0].remote_cmd  # type: ignore[attr-defined]  # a SerialSsh
