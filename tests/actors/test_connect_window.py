"""ConnectWindow: who is let in, and when."""

from __future__ import annotations

from regisseur.actors._connect_window import ConnectWindow, pause_before


def test_no_more_are_inside_than_fit_and_the_others_come_in_order() -> None:
    window, inside = ConnectWindow(), []
    for number in range(4):
        window.enter(2, lambda number=number: inside.append(number))  # type: ignore[misc]  # binds early
    first = list(inside)
    window.leave()

    assert first == [0, 1]
    assert inside == [0, 1, 2]


def test_any_number_may_leave_at_once_when_they_are_let_in() -> None:
    window, left = ConnectWindow(), []

    def leave() -> None:
        left.append(1)
        window.leave()

    window.enter(1, lambda: None)
    for _ in range(5000):
        window.enter(1, leave)
    window.leave()

    assert len(left) == 5000


def test_pauses_grow_to_an_end_and_differ() -> None:
    assert 0.1 <= pause_before(1) <= 0.3
    assert all(2.5 <= pause_before(number) <= 7.5 for number in (6, 20, 1000))
    assert len({pause_before(3) for _ in range(5)}) > 1
