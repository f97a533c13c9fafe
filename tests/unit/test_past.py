"""The past of a task: how many failures in a row, since when there is no good backup, and whether that is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell import past
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import Outcome, OutcomeName, classify
from vaultbell.past import Ended, Past
from vaultbell.settings import OutcomeRules

RULES = OutcomeRules()
START = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = START + 60 * DAY


def log(day: float, status: str = "failed", **fields: Any) -> OperationLog:  # noqa: ANN401 - as in a task of the API
    """A backup that began on that day of the month at two, and took an hour."""
    created = START + day * DAY
    times = {"created_at": created, "started_at": created, "ended_at": created + HOUR, "updated_at": created + HOUR}
    told = {**times, "status": status, "operation_type": "backup", **fields}
    return OperationLog.read({name: str(value) for name, value in told.items() if value is not None})


def ended(*logs: OperationLog) -> Iterator[Ended]:
    for one in logs:
        if found := Ended.of(one, RULES, NOW):
            yield found


def known(task: OperationLog, *others: OperationLog, since: datetime | None = None) -> Past:
    found = past.of(task, classify(task, RULES, NOW), ended(*others), since)
    assert found
    return found


def nights(statuses: str) -> list[OperationLog]:
    """A night each: g(ood), f(ailed), t(imeout), s(kipped), r(unning), u(nknown)."""
    words = {"g": "success", "f": "failed", "t": "timeout", "s": "skipped", "r": "running", "u": "odd"}
    return [log(day, words[letter]) for day, letter in enumerate(statuses)]


@pytest.mark.parametrize(
    ("before", "failures", "last_good"),
    [
        ("", 1, None),
        ("g", 1, 0),
        ("gf", 2, 0),
        ("gft", 3, 0),
        ("gfgfs", 3, 2),
        ("ggg", 1, 2),
        ("ftsu", 5, None),
        ("gfr", 2, 0),  # what still runs is neither good nor bad
        ("gr", 1, 0),
        ("r", 1, None),
    ],
)
def test_failures_are_counted_back_to_the_last_good_one(before: str, failures: int, last_good: int | None) -> None:
    *others, task = nights(f"{before}f")
    found = known(task, *others)
    assert found.failures_in_row == failures
    assert found.last_good_at == (None if last_good is None else START + last_good * DAY + HOUR)
    assert (found.newer_good_at, found.recovered) == (None, False)


def test_a_backup_that_succeeded_only_in_part_is_not_a_good_one() -> None:
    partial = OperationLog.read({**log(1, "success").given, "error_info": {"code": "BackupService.0001"}})
    assert known(log(2), log(0, "success"), partial) == Past(2, START + HOUR)


def test_the_first_success_that_came_after_it_is_the_recovery() -> None:
    found = known(log(3), *nights("gff"), log(4), log(5, "success"), log(6, "success"))
    assert (found.failures_in_row, found.last_good_at) == (3, START + HOUR)
    assert (found.newer_good_at, found.recovered) == (START + 5 * DAY + HOUR, True)
    assert found.data()["recovered_at"] == "2026-11-06T03:00:00Z"


def test_a_task_that_still_hangs_is_not_recovered_by_a_newer_success() -> None:
    task = log(3, "running", ended_at=None)
    found = known(task, log(2, "success"), log(3.5, "success"))
    assert (found.recovered, found.newer_good_at) == (False, START + 3.5 * DAY + HOUR)
    assert "recovered_at" not in found.data()
    assert found.words("backup", START + 4 * DAY).startswith("a newer backup succeeded 2026-11-04 15:00 UTC; ")


def test_what_ended_only_after_it_was_not_known_then_so_that_a_repeat_says_the_same() -> None:
    slow = log(1, "timeout", ended_at=START + 9 * DAY)
    running = log(1, "running", ended_at=None)
    assert known(log(2), log(0, "success"), running) == known(log(2), log(0, "success"), slow)


def test_a_task_that_does_not_say_when_it_was_created_has_no_past() -> None:
    task = log(2, created_at=None)
    assert past.of(task, classify(task, RULES, NOW), ended(*nights("gf"))) is None
    assert known(log(2), *nights("gf"), log(1.5, created_at=None)).failures_in_row == 2


def test_where_only_a_part_was_read_nothing_is_said_of_the_rest() -> None:
    since = START + 0.5 * DAY
    found = known(log(3), *nights("gff"), since=since)
    assert found == Past(3, since=since)
    assert found.data() == {"failures_in_row": 3, "last_good_at": None}
    assert known(log(3), *nights("fgf"), since=since) == Past(2, START + DAY + HOUR)
    task = log(3)
    assert past.of(task, classify(task, RULES, NOW), ended(log(4, "success")), START + 4 * DAY) is None


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (Past(3, START), "backup", "third failure in a row; last good backup 2026-11-01 02:00 UTC, 3 d 5 h before"),
        (Past(1, START), "backup", "first failure; last good backup 2026-11-01 02:00 UTC, 3 d 5 h before"),
        (Past(1), "backup", "first failure; no good backup is on record"),
        (Past(12, START), "copy", "12th failure in a row; last good copy 2026-11-01 02:00 UTC, 3 d 5 h before"),
        (Past(21), "replication", "21st failure in a row; no good copy is on record"),
        (Past(2, START), "restore", "second failure in a row; last success 2026-11-01 02:00 UTC, 3 d 5 h before"),
        (Past(2), "something new", "second failure in a row; no success is on record"),
        (Past(12, since=START), "backup", "at least 12 failures in a row; no good backup in the 3 d 5 h before"),
        (Past(1, since=START), None, "no success in the 3 d 5 h before"),
        (
            Past(2, START, START + 4 * DAY, recovered=True),
            "backup",
            "a newer backup succeeded 2026-11-05 02:00 UTC; second failure in a row; "
            "good backup before it 2026-11-01 02:00 UTC, 3 d 5 h before",
        ),
        (
            Past(1, None, START + 4 * DAY, recovered=True),
            "sync",
            "a newer one succeeded 2026-11-05 02:00 UTC; first failure; no success before it is on record",
        ),
    ],
)
def test_it_is_told_in_words_that_fit_the_task(found: Past, kind: str | None, words: str) -> None:
    assert found.words(kind, START + 3 * DAY + 5 * HOUR) == words


def test_times_are_told_in_the_readers_zone_too() -> None:
    words = Past(2, START).words("backup", START + DAY, ZoneInfo("Europe/Berlin"))
    assert words == "second failure in a row; last good backup 2026-11-01 02:00 UTC (03:00 CET), 24 h before"


@pytest.mark.parametrize(
    ("found", "row"),
    [
        (Past(3, START), "3rd in a row, last good 2026-11-01 02:00 UTC"),
        (Past(1), "1st in a row, none good on record"),
        (Past(11, since=START), "11th or more in a row, none good in 3 d"),
    ],
)
def test_a_table_has_it_short(found: Past, row: str) -> None:
    assert found.short(START + 3 * DAY) == row


@pytest.mark.parametrize(
    ("number", "ordinal"),
    [
        (4, "fourth"),
        (10, "tenth"),
        (11, "11th"),
        (13, "13th"),
        (22, "22nd"),
        (23, "23rd"),
        (101, "101st"),
        (112, "112th"),
    ],
)
def test_numbers_are_spelt_as_people_do(number: int, ordinal: str) -> None:
    assert Past(number).words("backup", START).startswith(f"{ordinal} failure in a row")


@pytest.mark.parametrize(
    ("found", "facts"),
    [
        (Past(3, START), ("3", "2026-11-01T02:00:00Z", "93600")),
        (Past(1), ("1", None, "never")),
        (Past(12, since=START), ("12+", None, "93600+")),
    ],
)
def test_routes_match_the_age_by_the_tasks_own_time(found: Past, facts: tuple[str | None, ...]) -> None:
    told = found.facts(START + 26 * HOUR)
    assert (told["failures_in_row"], told.get("last_good_at"), told["last_good_age"]) == facts


@pytest.mark.parametrize(("severity", "then"), [("critical", "warning"), ("warning", "warning"), ("info", "info")])
def test_what_has_recovered_is_a_warning_at_most(severity: str, then: str) -> None:
    outcome = Outcome(OutcomeName.FAILED, severity, True, START, ())
    assert past.tempered(outcome, Past(1, recovered=True, newer_good_at=START)).severity == then
    assert past.tempered(outcome, Past(1)) == past.tempered(outcome, None) == outcome


# Against a model that thinks in nights, not in times -----------------------------------------------------------------

LETTERS = st.text("gftsru", max_size=12)


@given(before=LETTERS, after=LETTERS, kind=st.sampled_from("ftsu"), shuffle=st.randoms(use_true_random=False))
def test_a_row_of_nights_is_understood_in_any_order_and_with_repeats(
    before: str,
    after: str,
    kind: str,
    shuffle: Any,  # noqa: ANN401 - hypothesis's own
) -> None:
    whole = nights(before + kind + after)
    task, others = whole[len(before)], [*whole[: len(before)], *whole[len(before) + 1 :]]
    others += shuffle.choices(others, k=3) if others else []
    shuffle.shuffle(others)
    found = known(task, *others)
    # the model: letters alone
    bad = before.replace("r", "").rpartition("g")[2]
    assert found.failures_in_row == len(bad) + 1
    assert found.last_good_at == (START + before.rindex("g") * DAY + HOUR if "g" in before else None)
    place = after.find("g")
    assert found.recovered is (place >= 0)
    if place >= 0:
        assert found.newer_good_at == START + (len(before) + 1 + place) * DAY + HOUR


@given(before=LETTERS, after=LETTERS, cut=st.integers(0, 12))
def test_a_part_of_the_list_says_nothing_that_the_whole_would_deny(before: str, after: str, cut: int) -> None:
    whole = nights(before + "f" + after)
    task, others = whole[len(before)], [*whole[: len(before)], *whole[len(before) + 1 :]]
    since = START + cut * DAY
    part = past.of(task, classify(task, RULES, NOW), ended(*(one for one in others if one.created_at >= since)), since)  # type: ignore[operator]
    full = known(task, *others)
    if part is None:
        return
    if part.since is None:
        assert part == full
    else:
        assert part.failures_in_row <= full.failures_in_row
        assert full.last_good_at is None or full.last_good_at < since + HOUR
