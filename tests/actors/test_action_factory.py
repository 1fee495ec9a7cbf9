"""Actions by tool."""

from __future__ import annotations

import pytest

from hosts import STUB_PARAMS
from processes import DEADLINE
from regisseur.actors.action_factory import (
    ActionFactory,
    default_action_factory,
    get_fileget,
    get_fileput,
    get_remote,
)
from regisseur.actors.chain_put import ChainPut
from regisseur.actors.config import CHAINPUT, SCP, SSH, TAKTUK, configuration
from regisseur.actors.remote import Remote
from regisseur.actors.taktuk import TaktukRemote
from regisseur.actors.taktuk_transfer import TaktukGet, TaktukPut
from regisseur.actors.transfer import Get, Put


def test_a_remote_is_made_by_ssh_in_the_scope_of_who_asks() -> None:
    words = ["a", "b"]  # noqa: F841  # used by the expression

    for make in (get_remote, default_action_factory.get_remote, ActionFactory(remote_tool=SSH).get_remote):
        action = make("echo {{words}}", ["h1", "h2"], STUB_PARAMS, name="n").run(DEADLINE)

        assert type(action) is Remote
        assert [process.stdout for process in action.processes] == ["a\n", "b\n"]
        assert action.name == "n"


def test_the_configuration_chooses_where_the_factory_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configuration, "remote_tool", TAKTUK)

    assert type(get_remote("true", [])) is TaktukRemote
    monkeypatch.setitem(configuration, "remote_tool", CHAINPUT)
    with pytest.raises(KeyError, match="no remote_tool CHAINPUT: it must be SSH or TAKTUK"):
        get_remote("true", [])
    assert type(ActionFactory(remote_tool=SSH).get_remote("true", [])) is Remote


@pytest.mark.parametrize("tool", [SSH, 17])
def test_a_tool_that_cannot_do_it_is_told(tool: int) -> None:
    factory = ActionFactory(fileput_tool=tool, fileget_tool=tool)

    with pytest.raises(KeyError, match=r"no fileput_tool .*: it must be SCP"):
        factory.get_fileput([], [])
    with pytest.raises(KeyError, match=r"no fileget_tool .*: it must be SCP"):
        factory.get_fileget([], [])


def test_a_factory_shows_its_choice() -> None:
    assert repr(ActionFactory()) == "ActionFactory()"
    assert repr(ActionFactory(SSH, fileget_tool=SCP)) == "ActionFactory(remote_tool=SSH, fileget_tool=SCP)"


def test_files_are_copied_by_the_actions_of_transfer() -> None:
    assert type(get_fileput(["h1"], ["f"], "/tmp", STUB_PARAMS)) is Put
    by_taktuk = ActionFactory(fileput_tool=TAKTUK, fileget_tool=TAKTUK)
    assert type(by_taktuk.get_fileput(["h1"], ["f"], "/tmp", STUB_PARAMS)) is TaktukPut
    assert type(by_taktuk.get_fileget(["h1"], ["f"], "/tmp", STUB_PARAMS)) is TaktukGet
    assert type(ActionFactory(fileput_tool=CHAINPUT).get_fileput(["h1"], ["f"], "/tmp", STUB_PARAMS)) is ChainPut
    assert type(get_fileget(["h1"], ["f"], "/tmp", STUB_PARAMS)) is Get
