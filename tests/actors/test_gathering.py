"""Gathering of actions and reports: what hosts wrote, equal outputs once, under a node set. Over the stub."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE, QUIET
from regisseur.actors.action import Action, Local, ParallelActions, Remote
from regisseur.actors.gathering import HostGroup, gather_large_output, gather_output, gather_output_lines
from regisseur.actors.report import Report


@pytest.fixture
def hosts() -> list[str]:
    return [f"node{n}" for n in range(1, 8)]


def remote(cmd: str, hosts: list[str]) -> Remote:
    return Remote(cmd, hosts, STUB_PARAMS, QUIET).run(DEADLINE)


def process(host: str | None, stdout: str, stderr: str = "") -> SimpleNamespace:
    """What gathering sees of a process."""
    address = None if host is None else SimpleNamespace(address=host)
    return SimpleNamespace(host=address, stdout=stdout, stderr=stderr)


def test_equal_outputs_are_one_group_under_a_node_set(hosts: list[str]) -> None:
    action = remote("test $STUB_HOST = node3 && echo other || echo same", hosts)

    assert action.gathered() == [
        HostGroup("node[1-2,4-7]", ["node1", "node2", "node4", "node5", "node6", "node7"], "same\n"),
        HostGroup("node3", ["node3"], "other\n"),
    ]


def test_outputs_that_differ_by_the_own_name_only_are_equal_unless_that_is_not_wanted(hosts: list[str]) -> None:
    action = remote("echo I am $STUB_HOST", hosts)

    assert [(group.nodeset, group.text) for group in action.gathered()] == [("node[1-7]", "I am {{{host}}}\n")]
    assert len(action.gathered(own_names=False)) == len(hosts)


def test_the_other_stream_or_both_can_be_gathered(hosts: list[str]) -> None:
    action = remote("printf out; echo err >&2", hosts)

    assert [group.text for group in action.gathered("stderr")] == ["err\n"]
    assert [group.text for group in action.gathered("both")] == ["out\nerr\n"]
    with pytest.raises(ValueError, match="no stream 'stdin'"):
        action.gathered("stdin")  # type: ignore[arg-type]  # which is the point


def test_hosts_that_wrote_nothing_are_a_group_too(hosts: list[str]) -> None:
    assert remote("true", hosts).gathered() == [HostGroup("node[1-7]", hosts, "")]


def test_output_that_is_no_text_is_gathered_as_it_is() -> None:
    (group,) = remote(r"printf '\377\n'", ["a", "b"]).gathered()

    assert group.text.encode(errors="surrogateescape") == b"\xff\n"


def test_processes_of_this_machine_are_in_no_group(hosts: list[str]) -> None:
    action: Action = ParallelActions(
        [Local("echo same", process_args=QUIET), Remote("echo same", hosts, STUB_PARAMS, QUIET)]
    ).run(DEADLINE)

    assert [group.nodeset for group in action.gathered()] == ["node[1-7]"]


def test_lines_are_gathered_each_for_itself() -> None:
    processes = [process("n1", "a\nn1\n"), process("n2", "a\nn2\nb"), process("n4", "c\n")]

    assert [[tuple(group) for group in groups] for groups in gather_output_lines(processes)] == [
        [("n[1-2]", ["n1", "n2"], "a"), ("n4", ["n4"], "c")],
        [("n[1-2]", ["n1", "n2"], "{{{host}}}")],
        [("n2", ["n2"], "b")],
    ]


def test_what_went_to_files_is_gathered_without_reading_it_all(hosts: list[str]) -> None:
    command = "test $STUB_HOST = node1 && exit; seq 100000; test $STUB_HOST = node7 && printf more; echo e >&2"
    action = Remote(command, hosts, STUB_PARAMS, {**QUIET, "output_limit": 1000}).run(DEADLINE)
    (most, other), rest = gather_large_output(action.processes)
    both, _ = gather_large_output(action.processes, "both")
    seq = "".join(f"{n}\n" for n in range(1, 100_001)).encode()

    assert (most.nodeset, len(most.hosts), b"".join(most.chunks())) == ("node[2-6]", 5, seq)
    assert (other.nodeset, b"".join(other.chunks())) == ("node7", seq + b"more")
    assert [b"".join(group.chunks()) for group in both] == [seq + b"e\n", seq + b"more\ne\n"]
    assert rest == action.processes[:1]


def test_a_group_as_text_has_a_head() -> None:
    both, one = gather_output([process("n1", "x\n"), process("n2", "x\n"), process("m", "y\n"), process(None, "z")])

    assert str(both) == "---------------\nn[1-2] (2)\n---------------\nx\n"
    assert str(one) == "---------------\nm\n---------------\ny\n"


def test_a_report_gathers_what_all_its_actions_wrote(hosts: list[str]) -> None:
    first, second = remote("echo x", hosts[:3]), remote("echo x", hosts[3:])
    report = Report([first, Report(second), second.processes[0], Report.empty_stats()])

    assert [(group.nodeset, len(group.hosts)) for group in report.gathered()] == [("node[1-7]", 8)]


def test_a_report_shows_it_below_the_table(hosts: list[str]) -> None:
    report = Report([remote("echo x", hosts), remote("true", hosts)])
    plain, gathered = report.to_string(), report.to_string(gathered=True)

    assert gathered == plain + "---------------\nnode[1-7] (7)\n---------------\nx\n"
