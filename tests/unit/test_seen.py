"""What this process remembers: bounded, for an hour, and never more than it was told."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from vaultbell import seen
from vaultbell.seen import Memory, Once, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("vaultbell.seen.time", clock)
    return clock


def test_nothing_is_known_of_what_was_never_kept() -> None:
    assert Memory().taken("msg_1") == frozenset()


def test_a_repeat_finds_who_took_it_and_no_other_message_does() -> None:
    memory = Memory()
    memory.keep("msg_1", ("ops",))
    assert memory.taken("msg_1") == {"ops"}
    assert memory.taken("msg_2") == frozenset()


def test_what_a_repeat_adds_is_kept_with_what_was_known() -> None:
    memory = Memory()
    memory.keep("msg_1", ("ops",))
    memory.keep("msg_1", ())
    memory.keep("msg_1", ("mail",))
    assert memory.taken("msg_1") == {"ops", "mail"}


def test_what_was_handled_is_forgotten() -> None:
    memory = Memory()
    memory.keep("msg_1", ("ops",))
    memory.forget("msg_1")
    memory.forget("msg_2")
    assert memory.taken("msg_1") == frozenset()


def test_after_an_hour_it_is_forgotten_for_good(clock: Clock) -> None:
    memory = Memory()
    memory.keep("msg_1", ("ops",))
    clock.now += 3_599
    assert memory.taken("msg_1") == {"ops"}
    clock.now += 1
    assert memory.taken("msg_1") == frozenset()
    memory.keep("msg_1", ("mail",))
    assert memory.taken("msg_1") == {"mail"}


def test_each_time_it_is_kept_the_hour_begins_anew(clock: Clock) -> None:
    memory = Memory()
    memory.keep("msg_1", ("ops",))
    clock.now += 3_000
    memory.keep("msg_1", ())
    clock.now += 3_000
    assert memory.taken("msg_1") == {"ops"}


def test_it_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "KEPT_MOST", 3)
    memory = Memory()
    for name in ("msg_1", "msg_2", "msg_3", "msg_1", "msg_4"):
        memory.keep(name, ("ops",))
    kept = {name for name in ("msg_1", "msg_2", "msg_3", "msg_4") if memory.taken(name)}
    assert kept == {"msg_1", "msg_3", "msg_4"}


def test_once_lets_one_caller_through_however_many_ask_at_once() -> None:
    once = Once()
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: once.claim("cause"), range(64)))
    assert sum(claimed) == 1
    assert once.claim("another")


def test_once_gives_the_next_a_chance_where_it_could_not_be_said() -> None:
    once = Once()
    assert once.claim("cause")
    once.release("cause")
    once.release("never claimed")
    assert once.claim("cause")
    assert not once.claim("cause")


def test_once_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "KEPT_MOST", 2)
    once = Once()
    assert [once.claim(key) for key in ("a", "b", "c")] == [True, True, True]
    assert (once.claim("c"), once.claim("a")) == (False, True)


def test_a_burst_is_let_through_and_after_it_so_many_a_second(clock: Clock) -> None:
    pace = Pace(burst=1_000, a_second=10)
    assert sum(pace.take() for _ in range(1_200)) == 1_000
    clock.now += 1.05
    assert sum(pace.take() for _ in range(1_200)) == 10
    clock.now += 86_400
    assert sum(pace.take() for _ in range(1_200)) == 1_000


def test_a_pace_without_a_bound_lets_everything_through(clock: Clock) -> None:
    pace = Pace(math.inf, 10)
    assert all(pace.take() for _ in range(5_000))
    clock.now += 1
    assert pace.take()


def test_a_pace_is_one_for_all_threads() -> None:
    pace = Pace(burst=500, a_second=0)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: pace.take(), range(2_000))) == 500
