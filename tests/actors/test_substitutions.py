"""Substitutions: where expressions are evaluated, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from regisseur.actors.host import Host
from regisseur.actors.substitutions import FrameContext, get_caller_context, remote_substitute

HOSTS = [Host("h1"), Host("h2"), Host("h3")]
names_of_the_module = ["m1", "m2"]


class Action:
    def __init__(self) -> None:
        inside = 1
        self.context = self.built(inside)

    def built(self, inside: int) -> FrameContext:
        del inside
        return get_caller_context(["get_action"])


class Special(Action):
    def __init__(self) -> None:
        special = 1
        super().__init__()
        del special


def get_action() -> Action:
    factory = 1
    action = Action()
    del factory
    return action


def substituted(text: str, **local_names: Any) -> list[str]:
    return [remote_substitute(text, HOSTS, index, (globals(), local_names)) for index in range(3)]


@pytest.mark.parametrize("build", [Action, Special, get_action])
def test_the_scope_is_that_of_who_builds_the_action(build: Callable[[], Action]) -> None:
    mine = ["a"]

    global_names, local_names = build().context

    assert global_names is globals()
    assert local_names == {"build": build, "mine": mine}


def test_a_class_that_builds_an_action_when_it_is_built_is_no_scope() -> None:
    class Experiment:
        def __init__(self) -> None:
            hidden = 1
            self.context = Action().context
            del hidden

    mine = 1

    assert mine == Experiment().context[1]["mine"]
    assert "hidden" not in Experiment().context[1]


def test_a_function_between_two_builders_is_the_scope() -> None:
    def build() -> Action:
        between = 1
        action = Action()
        del between
        return action

    class Experiment:
        def __init__(self) -> None:
            self.context = build().context

    assert Experiment().context[1]["between"] == 1


def test_without_a_builder_the_scope_is_the_caller() -> None:
    mine = 1

    assert mine == get_caller_context()[1]["mine"]


def test_at_the_level_of_a_module_names_that_come_later_count() -> None:
    names: dict[str, Any] = {"Action": Action}
    exec("context = Action().context\nlater = ['x']", names)

    assert remote_substitute("{{later}}", HOSTS, 1, names["context"]) == "x"


def test_a_scope_named_by_the_caller_is_passed_over() -> None:
    def helper() -> FrameContext:
        return get_caller_context(["helper"], [])

    mine = 1

    assert mine == helper()[1]["mine"]


def test_each_host_gets_its_address() -> None:
    assert substituted("scp {{{host}}}:f {{{host}}}.f") == ["scp h1:f h1.f", "scp h2:f h2.f", "scp h3:f h3.f"]


def test_hosts_may_be_texts() -> None:
    assert remote_substitute("{{{host}}}", ["h1", "h2"], 1, ({}, {})) == "h2"


def test_each_host_gets_its_item_and_items_begin_again() -> None:
    assert substituted("{{xs}}-{{range(3)}}", xs=["a", "b"]) == ["a-0", "b-1", "a-2"]


def test_names_of_the_module_are_known() -> None:
    assert substituted("{{names_of_the_module}}") == ["m1", "m2", "m1"]


def test_local_names_beat_those_of_the_module() -> None:
    assert substituted("{{names_of_the_module}}", names_of_the_module="xyz") == ["x", "y", "z"]


def test_local_names_are_known_inside_comprehensions() -> None:
    assert substituted("{{[x for x in xs if x in wanted]}}", xs="abc", wanted="bc") == ["b", "c", "b"]


def test_the_address_may_stand_in_an_expression() -> None:
    assert substituted("{{[table['{{{host}}}']]}}", table={"h1": 1, "h2": 2, "h3": 3}) == ["1", "2", "3"]


@pytest.mark.parametrize("value", [3, None, {1}, {0: 1}, []])
def test_an_expression_must_be_worth_a_sequence_with_items(value: object) -> None:
    with pytest.raises(ValueError, match=r"substitution of \{\{xs\}\}: .*sequence"):
        substituted("{{xs}}", xs=value)


@pytest.mark.parametrize(("text", "error"), [("{{nosuch}}", NameError), ("{{x x}}", SyntaxError)])
def test_what_evaluating_raises_is_not_hidden(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        substituted(text)


def test_a_command_may_have_other_braces() -> None:
    assert substituted("awk '{print $1}' {{}} {{x")[0] == "awk '{print $1}' {{}} {{x"
