"""The logger of scripts, and its colours."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from regisseur.actors.config import DETAIL, configuration
from regisseur.actors.log import Logger, get_logger, logger, style

DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@contextlib.contextmanager
def alone(level: int = logging.INFO, colors: bool = False) -> Iterator[io.StringIO]:
    """Give what the logger writes while no handler of pytest is on the root logger.

    No fixture can do that: pytest puts its handlers and its own sys.stdout in place before each phase of a test.
    """
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        patch.setattr(logging.getLogger(), "handlers", [])
        patch.setitem(configuration, "color_mode", colors)
        patch.setitem(configuration, "log_level", level)
        logger.setLevel(logging.NOTSET)
        yield written
    logger.setLevel(logging.NOTSET)


def lines(output: io.StringIO) -> list[str]:
    return [re.sub(rf"^(\033\[33m)?{DATE}(\033\[m)? ", "", line) for line in output.getvalue().splitlines()]


def test_a_line_has_date_level_and_message() -> None:
    with alone() as output:
        logger.warning("seen %d", 3)

    assert re.fullmatch(f"{DATE} WARNING: seen 3\n", output.getvalue())


def test_what_is_below_the_level_is_not_written() -> None:
    with alone() as output:
        logger.detail("no")
        logger.info("yes")

    assert lines(output) == ["INFO: yes"]


def test_the_level_is_the_configured_one_until_it_is_set() -> None:
    with alone(logging.ERROR) as output:
        logger.info("no")
        level_below = get_logger("regisseur.child").getEffectiveLevel()
        logger.setLevel("INFO")
        logger.info("yes")

    assert level_below == logging.ERROR
    assert lines(output) == ["INFO: yes"]


@pytest.mark.parametrize(("name", "level"), [("iodebug", 3), ("fdebug", 5), ("trace", 12), ("detail", 15)])
def test_there_are_more_levels_than_the_standard_ones(name: str, level: int) -> None:
    with alone(level) as output:
        getattr(logger, name)("x %s", "y")
        logger.setLevel(level + 1)
        getattr(logger, name)("no")

    assert len(lines(output)) == 1
    assert lines(output)[0].startswith(name.upper())
    assert lines(output)[0].endswith(": x y")


def test_in_debug_thread_and_function_are_shown() -> None:
    def work() -> None:
        logger.info("one")
        logger.detail("two")

    with alone(logging.DEBUG) as output:
        thread = threading.Thread(target=work, name="T1")
        thread.start()
        thread.join()

    assert lines(output) == ["INFO T1 - work: one", "DETAIL T1 - work: two"]


def test_an_exception_is_written_with_its_traceback() -> None:
    with alone() as output:
        try:
            raise KeyError("gone")
        except KeyError:
            logger.exception("sorry")

    assert lines(output)[0] == "ERROR: sorry"
    assert lines(output)[-1] == "KeyError: 'gone'"


def test_a_level_without_name_is_written() -> None:
    with alone() as output:
        logger.log(33, "x")

    assert lines(output) == ["Level 33: x"]


def test_the_level_is_coloured_in_colour_mode_only() -> None:
    with alone(colors=True) as output:
        logger.error("bad")
        logger.setLevel(logging.DEBUG)
        logger.critical("worse")

    assert lines(output)[0] == "\033[31mERROR:\033[m bad"
    assert lines(output)[1].startswith("\033[33m\033[41mCRITICAL\033[m \033[33mMainThread - ")
    assert output.getvalue().count("\033[33m2") == 2  # the dates


def test_output_follows_a_redirection() -> None:
    with alone() as output, contextlib.redirect_stdout(io.StringIO()) as other:
        logger.info("x")

    assert (lines(output), lines(other)) == ([], ["INFO: x"])


def test_a_program_without_standard_output_logs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with alone():
        monkeypatch.setattr(sys, "stdout", None)
        logger.info("x")
        monkeypatch.undo()


def test_a_stream_of_ones_own_may_be_set() -> None:
    handler: Any = logger.handlers[0]
    other = io.StringIO()
    with alone() as output:
        handler.setStream(other)
        logger.info("x")
        handler.setStream(None)
        logger.info("y")

    assert (lines(other), lines(output)) == (["INFO: x"], ["INFO: y"])


def test_records_are_printed_and_go_on_to_handlers_of_the_root_logger_too(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.warning("x")

    assert [record.message for record in caplog.records] == ["x"]
    assert capsys.readouterr().out.endswith(" WARNING: x\n")


def test_the_root_logger_is_left_alone() -> None:
    code = (
        "import logging; before = logging.getLoggerClass(), list(logging.root.handlers), logging.root.level;"
        "import regisseur.actors.log;"
        "assert before == (logging.getLoggerClass(), logging.root.handlers, logging.root.level)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_logger_that_was_there_first_is_kept() -> None:
    code = (
        "import logging; first = logging.getLogger('regisseur'); first.setLevel(logging.ERROR);"
        "from regisseur.actors.log import logger; assert logger is first; logger.detail('no'); logger.error('yes')"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.endswith("ERROR: yes\n")
    assert len(done.stdout.splitlines()) == 1


def test_loggers_below_ours_have_its_methods() -> None:
    below = get_logger("regisseur.below")
    with alone() as output:
        below.info("x")
        below.detail("no")

    assert isinstance(below, Logger)
    assert lines(output) == ["INFO: x"]
    assert get_logger("regisseur.below") is below


def test_the_logger_pickles_and_copies_as_itself() -> None:
    assert pickle.loads(pickle.dumps(logger)) is logger
    assert copy.deepcopy(logger) is logger


def test_a_style_colours_only_in_colour_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "color_mode", False)
    assert style.emph("x") == "x"

    monkeypatch.setitem(configuration, "color_mode", True)
    assert style.emph("x") == style.set("emph", "x") == "\033[36mx\033[m"
    assert style.set(DETAIL, "x") == "\033[35m\033[1mx\033[m"


def test_an_unknown_style_gives_the_text_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "color_mode", True)

    assert style.nosuch("x") == "x"


@pytest.mark.parametrize("mine", [("green", "bold"), "green bold"])
def test_a_script_adds_styles_of_its_own(mine: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "color_mode", True)
    monkeypatch.setitem(configuration["color_styles"], "mine", mine)

    assert style.mine("x") == "\033[32m\033[1mx\033[m"


def test_the_styler_pickles() -> None:
    assert pickle.loads(pickle.dumps(style)).emph("x") == style.emph("x")


def test_the_old_set_style_tells_the_new_way() -> None:
    with pytest.raises(ImportError, match=r"set_style is gone: write style.set\(name, text\)"):
        exec("from regisseur.actors.log import set_style")
