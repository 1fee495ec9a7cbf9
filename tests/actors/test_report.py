"""Reports: numbers added up, and their table."""

from __future__ import annotations

from typing import Any

import pytest

from regisseur.actors.config import configuration
from regisseur.actors.report import Report, Stats

DAY = 86400 * 365


class Action:
    """Something with stats, which may be changed."""

    def __init__(self, name: str, parts: list[Action] | None = None, **numbers: Any) -> None:
        self.numbers = {**Report.empty_stats(), "name": name, **numbers}
        self.parts = parts or []

    def stats(self) -> Stats:
        return Report.aggregate_stats({**self.numbers, "sub_stats": [part.stats() for part in self.parts]})


def process(name: str, start: float, end: float | None, ok: int = 1, **numbers: Any) -> Action:
    ended = int(end is not None)
    return Action(
        name,
        start_date=start,
        end_date=end,
        num_processes=1,
        num_started=1,
        num_ended=ended,
        num_ok=ok,
        num_finished_ok=ok * ended,
        **numbers,
    )


@pytest.fixture(autouse=True)
def _no_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "color_mode", False)
    monkeypatch.setattr("regisseur.actors.report.format_unixts", _in_utc)


def _in_utc(date: float | None) -> str | None:
    return None if date is None else f"1971-01-01 00:00:{date - DAY:02.0f}+00:00"


def two_entries() -> list[Action]:
    parallel = Action(
        "Parallel",
        [
            process("exit 3", DAY + 1, DAY + 2, ok=0, num_non_zero_exit_codes=1),
            process("sleep 1", DAY + 1, DAY + 10),
        ],
    )
    return [parallel, process("first one with a name that is longer than its column", DAY, DAY + 1)]


def test_empty_stats_have_these_names() -> None:
    names = """name start_date end_date num_processes num_started num_ended num_errors num_timeouts num_forced_kills
        num_non_zero_exit_codes num_expect_fail num_write_error num_ok num_finished_ok sub_stats"""

    assert list(Report.empty_stats()) == names.split()


def test_numbers_are_added_up() -> None:
    stats = Report(two_entries()).stats()

    assert stats["num_processes"] == stats["num_ended"] == 3
    assert stats["num_ok"] == 2
    assert stats["num_non_zero_exit_codes"] == 1
    assert (stats["start_date"], stats["end_date"]) == (DAY, DAY + 10)
    assert [part["name"] for part in stats["sub_stats"]] == ["Parallel", two_entries()[1].numbers["name"]]


def test_every_failure_is_counted() -> None:
    keys = ("num_errors", "num_timeouts", "num_forced_kills", "num_expect_fail", "num_write_error")

    stats = Report([process("p", 1, 2, **{key: 1}) for key in keys]).stats()

    assert [stats[key] for key in keys] == [1] * 5


def test_a_report_has_no_end_while_something_runs() -> None:
    assert Report([process("a", 1, 2), process("b", 1, None)]).stats()["end_date"] is None


def test_a_report_made_while_things_run_stays_up_to_date() -> None:
    running = process("a", 1, None)
    report = Report([running])
    before = report.stats()

    running.numbers.update(end_date=5, num_ended=1)

    assert (before["num_ended"], report.stats()["num_ended"]) == (0, 1)
    assert report.stats()["end_date"] == 5


def test_a_report_takes_reports_and_dicts_of_stats() -> None:
    inner = Report([process("a", 1, 2)])
    inner.name = "inner"

    report = Report([inner, process("b", 2, 3).stats()])

    assert [part["name"] for part in report.stats()["sub_stats"]] == ["inner", "b"]
    assert report.stats()["num_processes"] == 2


def test_one_thing_may_be_added_without_a_list() -> None:
    report = Report(process("a", 1, 2))
    report.add(process("b", 1, 2).stats())

    assert report.stats()["num_processes"] == 2


def test_what_has_no_stats_is_refused_and_nothing_is_added() -> None:
    report = Report()
    with pytest.raises(TypeError, match="cannot report on 3"):
        report.add([process("a", 1, 2), 3])  # type: ignore[list-item]  # that is what is tested

    assert report.stats()["num_processes"] == 0


def test_a_report_cannot_hold_itself() -> None:
    report = Report()
    with pytest.raises(ValueError, match="part of itself"):
        report.add([report])


def test_the_narrow_table_has_two_lines_for_each_entry() -> None:
    table = Report(two_entries()).to_string()

    assert table == (
        "Name                            start               end                 total  \n"
        " length         startd ended  error  timout fkilld expfld wrterr ret!=0 ok     \n"
        "-------------------------------------------------------------------------------\n"
        "first one with a name that is l 1971-01-01 00:00:00 1971-01-01 00:00:01 1      \n"
        " 1s             1      1      0      0      0      0      0      0      1      \n"
        "Parallel                        1971-01-01 00:00:01 1971-01-01 00:00:10 2      \n"
        " 9s             2      2      0      0      0      0      0      1      1      \n"
        "  exit 3                        1971-01-01 00:00:01 1971-01-01 00:00:02 1      \n"
        " 1s             1      1      0      0      0      0      0      1      0      \n"
        "  sleep 1                       1971-01-01 00:00:01 1971-01-01 00:00:10 1      \n"
        " 9s             1      1      0      0      0      0      0      0      1      \n"
        "-------------------------------------------------------------------------------\n"
        "Report                          1971-01-01 00:00:00 1971-01-01 00:00:10 3      \n"
        " 10s            3      3      0      0      0      0      0      1      2      \n"
    )


def test_the_wide_table_has_one_line_for_each_entry() -> None:
    lines = Report(two_entries()).to_string(wide=True).splitlines()

    assert {157} == {len(line) for line in lines}
    assert lines[2] == (
        "first one with a name that is l 1971-01-01 00:00:00 1971-01-01 00:00:01 1s             "
        "1      1      0      0      0      0      0      0      1      1      "
    )
    assert len(lines) == 8


def test_a_brief_table_has_the_totals_alone() -> None:
    assert len(Report(two_entries()).to_string(brief=True).splitlines()) == 5
    assert len(Report(two_entries()).to_string(wide=True, brief=True).splitlines()) == 3


def test_an_empty_report_has_a_table() -> None:
    assert Report().to_string().splitlines()[3:] == [
        "Report                          None                None                0      ",
        "                0      0      0      0      0      0      0      0      0      ",
    ]


def test_what_has_not_started_comes_last() -> None:
    table = Report([Action("never", num_processes=1), process("later", DAY + 5, None), process("first", DAY, None)])

    names = [line.split()[0] for line in table.to_string(wide=True).splitlines()[2:5]]
    assert names == ["first", "later", "never"]


def test_lines_with_failures_are_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "color_mode", True)
    warned = process("warned", DAY, DAY + 1, num_write_error=1)

    lines = Report([warned, *two_entries()]).to_string(wide=True).splitlines()

    beginnings = [line.partition(" ")[0] for line in lines[2:]]
    assert beginnings[0] == "\033[35mwarned"
    assert beginnings[1] == "first"
    assert beginnings[2] == "\033[31m\033[1mParallel"


def test_str_holds_the_numbers() -> None:
    text = str(Report(two_entries()))

    assert "'Report' of 2 entries" in text
    assert "num_ok=2" in text
    assert repr(Report()) == "<Report 'Report' of 0 entries>"
