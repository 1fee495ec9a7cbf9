"""engine.sweeper against a model of a few lines: several sweepers in one directory, in any order of steps."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from regisseur.engine import _store
from regisseur.engine.sweep import HashableDict, ParamSweeper, SweepView

ELEMENTS: list[Any] = [0, "", None, ("a", 1), HashableDict(x=[1]), HashableDict(x=2), frozenset({3}), 2.5, b"8"]
OUTSIDE = ("never", "in", "any", "sweep")
LISTS = [ELEMENTS, ELEMENTS[:5], ELEMENTS[:2:-1], [*ELEMENTS[4:], *OUTSIDE[:1]]]

numbers = st.integers(0, 10**6)
batches = st.lists(st.sampled_from([*ELEMENTS, *ELEMENTS, *OUTSIDE]), min_size=1, max_size=6)
reasons = st.none() | st.sampled_from(["too hot", ""])


class Sweepers(RuleBasedStateMachine):
    """The model: one dict of states for all, and for each sweeper its list and what it has taken."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="sweeper-model-"))
        self.patch = pytest.MonkeyPatch()
        self.sweepers: list[ParamSweeper] = []
        self.lists: list[list[Any]] = []
        self.mine: list[set[Any]] = []
        self.states: dict[Any, str] = {}
        self.were_done: set[Any] = set()
        self.holders: dict[Any, int] = {}
        self.reasons: dict[Any, str | None] = {}

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.directory)

    def state(self, element: Any) -> str:
        return self.states.get(element, "remaining")

    def move(self, element: Any, state: str) -> None:
        self.states[element] = state
        self.holders.pop(element, None)

    @initialize(patience=st.sampled_from([3, 10_000]))
    def begin(self, patience: int) -> None:
        self.patch.setattr(_store, "_PATIENCE", patience)
        self.patch.setattr(_store, "_GROWTH", 0)
        self.open(0, save=True)

    @precondition(lambda self: len(self.sweepers) < 3)
    @rule(number=numbers, save=st.booleans())
    def open(self, number: int, save: bool) -> None:
        elements = LISTS[number % len(LISTS)]
        self.sweepers.append(ParamSweeper(self.directory, elements, save_sweeps=save))
        self.lists.append(list(elements))
        self.mine.append(set())
        if save:
            self.saved = list(elements)

    @precondition(lambda self: len(self.sweepers) < 3)
    @rule()
    def open_saved(self) -> None:
        self.sweepers.append(ParamSweeper(self.directory))
        self.lists.append(self.saved)
        self.mine.append(set())

    @rule(which=numbers, number=numbers)
    def change_sweeps(self, which: int, number: int) -> None:
        which %= len(self.sweepers)
        self.lists[which] = LISTS[number % len(LISTS)]
        self.sweepers[which].set_sweeps(self.lists[which])

    @rule(which=numbers, count=st.integers(-1, 4), backwards=st.sampled_from([None, None, None, False, True]))
    def take(self, which: int, count: int, backwards: bool | None) -> None:
        which %= len(self.sweepers)
        todo = [each for each in self.lists[which] if self.state(each) == "remaining"]
        expected = todo
        filtr: Callable[[Any], Any] | None = None
        if backwards is not None:

            def filtr(offered: Any) -> Any:
                assert todo == list(offered)
                return list(offered)[::-1] if backwards else (each for each in [*ELEMENTS, *OUTSIDE])

            order = [*ELEMENTS, *OUTSIDE]
            expected = todo[::-1] if backwards else sorted(todo, key=order.index)
        expected = expected[: max(count, 0)]

        if count == 1 and expected != [None]:
            assert self.sweepers[which].get_next(filtr) == (expected[0] if expected else None)
        else:
            assert expected == self.sweepers[which].get_next_batch(count, filtr)
        for element in expected:
            self.move(element, "inprogress")
            self.holders[element] = which
            self.mine[which].add(element)

    @rule(which=numbers, count=st.integers(1, 3))
    def take_the_first(self, which: int, count: int) -> None:
        self.take(which, count, None)

    @precondition(lambda self: self.holders)
    @rule(number=numbers, step=st.sampled_from(["done", "skip", "cancel", "cancel"]))
    def finish(self, number: int, step: str) -> None:
        element, holder = list(self.holders.items())[number % len(self.holders)]
        getattr(self, step)(holder, [element], None)

    @rule(which=numbers, elements=batches, reason=reasons)
    def done(self, which: int, elements: list[Any], reason: str | None) -> None:
        which %= len(self.sweepers)
        self.sweepers[which].done_batch(elements, reason)
        for element in elements:
            if self.state(element) != "done":
                self.move(element, "done")
                self.reasons[element] = reason
        self.mine[which] -= set(elements)

    def lost(self, which: int, element: Any) -> bool:
        """Whether another one has, or has done, what sweeper *which* took and never finished."""
        return element in self.mine[which] and (
            self.state(element) == "done" or self.holders.get(element, which) != which
        )

    @rule(which=numbers, elements=batches, reason=reasons)
    def skip(self, which: int, elements: list[Any], reason: str | None) -> None:
        which %= len(self.sweepers)
        self.sweepers[which].skip_batch(elements, reason)
        for element in dict.fromkeys(elements):
            if self.state(element) != "skipped" and not self.lost(which, element):
                if self.state(element) == "done":
                    self.were_done.add(element)
                else:
                    self.were_done.discard(element)
                self.move(element, "skipped")
                self.reasons[element] = reason
        self.mine[which] -= set(elements)

    @rule(which=numbers, elements=batches, reason=reasons)
    def cancel(self, which: int, elements: list[Any], reason: str | None) -> None:
        which %= len(self.sweepers)
        self.sweepers[which].cancel_batch(elements, reason)
        for element in dict.fromkeys(elements):
            if self.state(element) in ("inprogress", "skipped") and not self.lost(which, element):
                was_done = self.state(element) == "skipped" and element in self.were_done
                self.move(element, "done" if was_done else "remaining")
                self.reasons[element] = reason
        self.mine[which] -= set(elements)

    @rule(which=numbers, claims=st.booleans())
    def reset(self, which: int, claims: bool) -> None:
        self.sweepers[which % len(self.sweepers)].reset(reset_inprogress=claims)
        for element, state in list(self.states.items()):
            if state == "skipped":
                self.move(element, "done" if element in self.were_done else "remaining")
            elif state == "inprogress" and claims:
                self.move(element, "remaining")
        self.reasons.clear()

    @rule(which=numbers)
    def compact(self, which: int) -> None:
        store = self.sweepers[which % len(self.sweepers)]._store
        with store.locked() as table:
            store.rewrite(table.saved)

    @rule(which=numbers, fully=st.booleans())
    def update(self, which: int, fully: bool) -> None:
        sweeper = self.sweepers[which % len(self.sweepers)]
        (sweeper.full_update if fully else sweeper.update)()

    @rule()
    def tear(self) -> None:
        """A process dies in the middle of a write."""
        with open(self.directory / "sweep.log", "ab") as log:
            log.write(b"\xc5RGS\0\0")

    @invariant()
    def all_agree(self) -> None:
        for sweeper, elements in zip(self.sweepers, self.lists, strict=True):
            expected = [(each, self.state(each), self.reasons.get(each)) for each in elements]

            assert expected == [(each.combination, each.state, each.reason) for each in sweeper.statuses()]
            counts = sweeper.counts()
            for state in ("remaining", "inprogress", "done", "skipped"):
                assert counts[state] == sum(each[1] == state for each in expected)
        if self.sweepers:
            view = SweepView(self.directory)
            assert self.saved == list(view.get_sweeps())
            assert [self.state(each) for each in self.saved] == [each.state for each in view.statuses()]


Sweepers.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestSweepers = pytest.mark.slow(Sweepers.TestCase)
