"""The time that one event may take, on a clock that stands still."""

from __future__ import annotations

import pytest

from vaultbell.budget import Budget


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("vaultbell.budget.time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "left"), [(25.0, 24.0), (10.0, 9.0), (4.5, 4.05), (4.0, 3.6), (0.5, 0.45), (900.0, 899.0)]
)
@pytest.mark.usefixtures("clock")
def test_a_tenth_is_kept_for_the_answer_and_a_second_at_most(seconds: float, left: float) -> None:
    assert Budget.of(seconds).left == pytest.approx(left)


def test_what_is_left_shrinks_to_nothing_and_never_below(clock: Clock) -> None:
    budget = Budget.of(10.0)
    clock.now += 8.5
    assert budget.left == pytest.approx(0.5)
    clock.now += 60.0
    assert budget.left == 0.0


@pytest.mark.usefixtures("clock")
def test_the_sender_may_wait_for_less_than_the_setting_but_not_for_more() -> None:
    assert Budget.of(25.0).within(4.0).left == pytest.approx(3.6)
    assert Budget.of(3.0).within(9.0).left == pytest.approx(2.7)


@pytest.mark.usefixtures("clock")
def test_a_part_is_never_more_than_the_whole() -> None:
    budget = Budget.of(10.0)
    assert budget.capped(5.0).left == pytest.approx(5.0)
    assert budget.capped(60.0) == budget
    assert budget.share(1 / 3).left == pytest.approx(3.0)
    assert budget.share(1) == budget


def test_a_part_of_what_is_spent_is_nothing(clock: Clock) -> None:
    budget = Budget.of(10.0)
    clock.now += 9.0
    assert (budget.share(0.5).left, budget.capped(5.0).left) == (0.0, 0.0)
