"""A list that moves while it is read: what stood in it all the while is never missed, and reading it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell.cloud.listing import OVERLAP, Page, rows
from vaultbell.report import JSON, Object

Key = Callable[["Row"], tuple[int, int]]
ORDERS: dict[str, Key] = {
    "created_asc": lambda row: (row.created, row.id),
    "created_desc": lambda row: (-row.created, row.id),
    "updated_asc": lambda row: (row.updated, row.id),
    "updated_desc": lambda row: (-row.updated, row.id),
    "shuffled": lambda row: (crc32(str(row.id).encode()), row.id),
}
# How many there are in all, as the API says: right, not at all, or anything.
COUNTS: dict[str, Callable[[int, int], int | None]] = {
    "right": lambda total, _rows: total,
    "absent": lambda _total, _rows: None,
    "too many": lambda total, _rows: total + 1_000,
    "of the page": lambda _total, rows: rows,
    "none": lambda _total, _rows: 0,
}


@dataclass(eq=False)
class Row:
    id: int
    created: int
    updated: int


@dataclass
class Moving:
    """A list of the API in some order, with something that happens to it after each answer."""

    order: str = "created_desc"
    counted: str = "right"
    most: int = 1_000  # rows that an answer holds, whatever was asked for
    says_most: bool = True
    then: Callable[[Moving], None] = lambda _list: None
    rows: list[Row] = field(default_factory=list)
    calls: list[tuple[int, int]] = field(default_factory=list)
    turn: count[int] = field(default_factory=count)

    def add(self, number: int = 1) -> None:
        for _ in range(number):
            now = next(self.turn)
            self.rows.append(Row(now, now, now))

    def get(self, offset: int, limit: int) -> Page:
        self.calls.append((offset, limit))
        ordered = sorted(self.rows, key=ORDERS[self.order])
        held = min(limit, self.most)
        told: list[Object] = [
            {"id": f"task-{row.id}", "updated_at": row.updated} for row in ordered[offset : offset + held]
        ]
        page = Page(told, COUNTS[self.counted](len(ordered), len(told)), held if self.says_most else None)
        self.then(self)
        return page

    def read(self, size: int) -> Counter[object]:
        return Counter(row["id"] for row in rows(self.get, size))


def of(number: int, **fields: object) -> Moving:
    found = Moving(**fields)  # type: ignore[arg-type]  # whatever a test says
    found.add(number)
    return found


def names(found: Moving) -> set[object]:
    return {f"task-{row.id}" for row in found.rows}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", [0, 1, 2, 3, 99, 100, 101, 200, 995])
def test_a_list_that_stands_still_is_read_whole_and_with_few_calls(number: int, order: str) -> None:
    still = of(number, order=order)
    assert set(still.read(100)) == names(still)
    # each page brings 75 that the one before had not; several pages are followed by a look at the front
    assert len(still.calls) == (1 if number < 100 else 3 + (number - 100) // 75)


def test_a_list_of_one_page_costs_one_call() -> None:
    assert len(of(999).read(1_000)) == 999
    still = of(20)
    still.read(1_000)
    assert still.calls == [(0, 1_000)]


@pytest.mark.parametrize("counted", COUNTS)
@pytest.mark.parametrize("number", [0, 1, 2, 3, 7, 100, 101, 250])
@pytest.mark.parametrize("most", [1, 2, 3, 40, 100])
def test_whatever_an_answer_says_of_its_size_the_whole_list_is_read_and_that_ends(
    counted: str, number: int, most: int
) -> None:
    still = of(number, counted=counted, most=most)
    assert set(still.read(100)) == names(still)


@pytest.mark.parametrize("counted", ["right", "absent", "too many"])
@pytest.mark.parametrize("most", [2, 3, 40, 99])
def test_short_pages_without_a_word_are_no_end(counted: str, most: int) -> None:
    still = of(250, counted=counted, most=most, says_most=False)
    assert set(still.read(100)) == names(still)


def test_rows_that_go_from_the_front_do_not_hide_those_behind_them() -> None:
    for lost in (1, 24, 25, 26, 99, 100, 500, 2_000):
        moving = of(3_000, order="created_asc")

        def lose(them: Moving, lost: int = lost) -> None:
            if len(them.calls) == 3:
                del them.rows[:lost]

        moving.then = lose
        found = moving.read(100)
        assert names(moving) <= set(found), lost


def test_rows_that_come_to_the_front_are_no_endless_task() -> None:
    moving = of(1_000, then=lambda them: them.add(150) if len(them.calls) < 40 else None)
    stood = names(moving)
    assert stood <= set(moving.read(100))
    assert len(moving.calls) < 200


def test_an_unseen_task_that_is_touched_and_goes_to_the_front_is_not_missed() -> None:
    moving = of(1_000, order="updated_desc")

    def touch(them: Moving) -> None:
        if len(them.calls) == 2:
            them.rows[0].updated = next(them.turn)  # the oldest: the reading has not come so far

    moving.then = touch
    assert names(moving) <= set(moving.read(100))


def test_touched_tasks_that_go_to_the_end_are_no_proof_that_nothing_was_skipped() -> None:
    moving = of(190, order="updated_asc")

    def touch(them: Moving) -> None:
        if len(them.calls) == 1:  # the whole first page goes to the end, and what follows moves up
            for row in them.rows[:100]:
                row.updated = next(them.turn)

    moving.then = touch
    assert names(moving) <= set(moving.read(100))


@given(
    order=st.sampled_from([*ORDERS]),
    counted=st.sampled_from([*COUNTS]),
    number=st.integers(0, 120),
    size=st.integers(2, 40),
    most=st.integers(2, 40),
    seed=st.integers(0, 2**32),
    busy=st.integers(0, 60),
)
def test_what_stood_in_the_list_all_the_while_is_never_missed(
    order: str, counted: str, number: int, size: int, most: int, seed: int, busy: int
) -> None:
    random = Random(seed)  # noqa: S311 - what happens in a test
    moving = of(number, order=order, counted=counted, most=most)

    def happen(them: Moving) -> None:
        if len(them.calls) > 12:
            return
        for _ in range(random.randint(0, busy)):
            them.add(random.randint(0, 1))
            if them.rows and random.random() < 0.4:
                del them.rows[random.randrange(len(them.rows))]
            if them.rows and random.random() < 0.4:
                random.choice(them.rows).updated = next(them.turn)

    stood = list(moving.rows)
    moving.then = happen
    found = moving.read(size)
    assert {f"task-{row.id}" for row in stood if row in moving.rows} <= set(found)


@pytest.mark.parametrize("size", [2, 10, 100])
@pytest.mark.parametrize("named", [0, 1, 100])
@pytest.mark.parametrize("last", [True, False])
def test_rows_without_an_id_are_read_and_end(named: int, size: int, last: bool) -> None:
    nameless: list[Object] = [{"status": "failed"}, {"id": None}, {"id": 7}, {"id": ["x"]}]
    others: list[Object] = [{"id": str(number)} for number in range(named)]
    listed = others + nameless * 40 if last else nameless * 40 + others
    calls = count()

    def get(offset: int, limit: int) -> Page:
        if next(calls) > 400:
            raise TimeoutError
        return Page(listed[offset : offset + limit], 1_000)

    found = list(rows(get, size))
    assert all(row in found for row in listed)


def test_an_answer_that_is_the_same_whatever_is_asked_for_ends_when_time_is_up() -> None:
    calls = count()

    def get(_offset: int, limit: int) -> Page:
        if next(calls) > 50:
            raise TimeoutError
        return Page([{"id": str(number)} for number in range(limit)], 10**9)

    with pytest.raises(TimeoutError):
        list(rows(get, 100))


def test_of_a_list_no_more_than_two_pages_are_held() -> None:
    class Counted(dict[str, JSON]):
        alive = most = 0

        def __init__(self, number: int) -> None:
            super().__init__(id=str(number))
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)

        def __del__(self) -> None:
            Counted.alive -= 1

    def get(offset: int, limit: int) -> Page:
        return Page([Counted(number) for number in range(offset, min(offset + limit, 5_000))], 5_000)

    assert sum(1 for _ in rows(get, 100)) > 5_000
    assert Counted.most <= 2 * 100 + 1


def test_pages_overlap_by_little() -> None:
    still = of(10_000)
    still.read(1_000)
    offsets = [offset for offset, _ in still.calls]
    assert offsets[:3] == [0, 1_000 - OVERLAP, 2_000 - 2 * OVERLAP]
    assert len(still.calls) <= 12


def test_a_page_of_rows_that_are_known_is_no_end_while_it_says_that_more_follow() -> None:
    held: list[Object] = [{"id": str(number), "updated_at": "x"} for number in range(250)]
    asked = 0

    def get(offset: int, _: int) -> Page:
        nonlocal asked, held
        asked += 1
        if asked == 2:  # 75 rows have come to the front
            came: list[Object] = [{"id": f"new {number}"} for number in range(75)]
            held = came + held
        return Page(held[offset : offset + 100], count=len(held))

    assert {str(number) for number in range(250)} <= {row["id"] for row in rows(get)}
