"""Windows tile time, and each bad task belongs to one of them: whatever the period, the lag and the timer's jitter."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaultbell import sources
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event, Item, Sweep
from vaultbell.report import JSON, Object
from vaultbell.settings import OutcomeRules
from vaultbell.sweep import EPOCH, FLIP, Window, believed, caught, window

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NEVER = timedelta()
NOW = datetime(2026, 11, 23, 8, 7, tzinfo=UTC)
RULES = OutcomeRules()
MARGIN = timedelta(microseconds=1)

periods = st.timedeltas(min_value=2 * MINUTE, max_value=3 * DAY)
lags = st.timedeltas(min_value=NEVER, max_value=2 * DAY)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone comes beside


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-23T{text}:00+00:00")


def task(status: str = "failed", **times: datetime | None) -> OperationLog:
    given: Object = {"id": "0" * 8, "status": status, "operation_type": "backup"}
    return OperationLog.read(given | {name: moment.isoformat() if moment else None for name, moment in times.items()})


def rung(log: OperationLog, covered: Window, interval: timedelta = DAY) -> int | None:
    found = caught(log, covered, RULES, interval)
    return found and found[1]


# windows


@pytest.mark.parametrize(
    ("tick", "period", "lag", "lookback", "start", "end"),
    [
        ("08:00", 15, 5, 1, "07:30", "07:45"),
        ("08:04", 15, 5, 1, "07:30", "07:45"),
        ("08:06", 15, 5, 1, "07:45", "08:00"),
        ("08:05", 15, 5, 1, "07:30", "08:00"),  # E has just moved: the window before as well
        ("08:05", 15, 5, 2, "07:15", "08:00"),
        ("08:06", 15, 5, 2, "07:30", "08:00"),
        ("08:05", 15, 5, 3, "07:00", "08:00"),
        ("08:10", 15, 5, 3, "07:15", "08:00"),
        ("08:00", 1, 5, 1, "07:53", "07:55"),  # a period that is no longer than a timer's jitter
        ("08:00", 1, 5, 3, "07:52", "07:55"),
        ("08:10", 60, 0, 1, "07:00", "08:00"),
        ("08:00", 60, 0, 1, "06:00", "08:00"),
        ("08:00", 7, 0, 1, "07:50", "07:57"),  # counted from the epoch, not from midnight
    ],
)
def test_what_a_tick_covers(tick: str, period: int, lag: int, lookback: int, start: str, end: str) -> None:
    found = window(at(tick), period * MINUTE, lag * MINUTE, lookback)
    assert (found.start, found.end) == (at(start), at(end))


def test_a_window_has_its_start_and_not_its_end() -> None:
    covered = Window(at("07:30"), at("07:45"))
    assert at("07:30") in covered
    assert at("07:45") - MARGIN in covered
    assert at("07:45") not in covered


@given(first=moments, period=periods, lag=lags, data=st.data())
def test_windows_of_a_steady_timer_meet_and_never_overlap(
    first: datetime, period: timedelta, lag: timedelta, data: st.DataObject
) -> None:
    phase = (first - lag - EPOCH) % period
    assume(phase >= FLIP)
    jitters = st.timedeltas(FLIP - phase, period - phase - MARGIN)  # anything, as long as it stays within its period
    covered = [window(first + turn * period + data.draw(jitters), period, lag) for turn in range(5)]
    assert all(before.end == after.start for before, after in pairwise(covered))
    assert all(found.end - found.start == period for found in covered)
    assert all(found.end <= first + turn * period - lag + period for turn, found in enumerate(covered))


@given(edge=moments, period=periods, lag=lags, jitters=st.lists(st.timedeltas(-FLIP, FLIP - MARGIN), min_size=6))
def test_jitter_around_the_flip_loses_nothing(
    edge: datetime, period: timedelta, lag: timedelta, jitters: list[timedelta]
) -> None:
    flip = edge - (edge - lag - EPOCH) % period
    covered = [window(flip + turn * period + jitter, period, lag) for turn, jitter in enumerate(jitters)]
    assert all(after.start <= before.end for before, after in pairwise(covered))
    assert covered[-1].end >= flip - lag + (len(jitters) - 2) * period


@given(
    edge=moments,
    period=periods,
    lag=lags,
    lookback=st.integers(2, 9),
    jitters=st.lists(st.timedeltas(-FLIP, FLIP - MARGIN), min_size=4),
    data=st.data(),
)
def test_jitter_around_the_flip_costs_nothing_of_a_lookback(
    edge: datetime, period: timedelta, lag: timedelta, lookback: int, jitters: list[timedelta], data: st.DataObject
) -> None:
    turn, covered = 0, []
    for jitter in jitters:
        flip = edge - (edge - lag - EPOCH) % period + turn * period
        covered.append(window(flip + jitter, period, lag, lookback))
        turn += 1 + data.draw(st.integers(0, lookback - 1))  # so many are lost before the next
    assert all(after.start <= before.end for before, after in pairwise(covered))


@given(tick=moments, period=periods, lag=lags, lookback=st.integers(1, 9), lost=st.integers(0, 9))
def test_a_lookback_makes_up_for_lost_ticks(
    tick: datetime, period: timedelta, lag: timedelta, lookback: int, lost: int
) -> None:
    before, after = (window(tick + turn * period, period, lag, lookback) for turn in (0, 1 + lost))
    covered = (after.end - after.start) // period
    assert covered >= lookback
    assert (after.start <= before.end) == (lost < covered)


@given(tick=moments, period=periods, lag=lags, again=st.timedeltas(NEVER, 2 * DAY))
def test_a_repeated_tick_covers_the_same_windows_whenever_it_comes(
    tick: datetime, period: timedelta, lag: timedelta, again: timedelta
) -> None:
    first, second = (window(believed(tick, now, lag), period, lag) for now in (tick, tick + again))
    assert first == second


@given(at=moments, now=moments, period=periods, lag=lags)
def test_no_tick_from_the_future_has_us_judge_what_has_not_come(
    at: datetime, now: datetime, period: timedelta, lag: timedelta
) -> None:
    assert window(believed(at, now, lag), period, lag).end <= now


def test_a_clock_that_goes_ahead_a_little_is_believed_and_one_that_goes_wrong_is_not() -> None:
    assert believed(NOW + MINUTE, NOW, 5 * MINUTE) == NOW + MINUTE
    assert believed(NOW + 5 * MINUTE, NOW, 5 * MINUTE) == NOW + 5 * MINUTE
    assert believed(NOW + 5 * MINUTE + MARGIN, NOW, 5 * MINUTE) == NOW
    assert believed(NOW + HOUR, NOW, 5 * MINUTE) == NOW
    assert believed(NOW - HOUR, NOW, 5 * MINUTE) == NOW - HOUR
    assert believed(None, NOW, 5 * MINUTE) == NOW


@pytest.mark.parametrize("tick", [datetime(1971, 1, 1, tzinfo=UTC), NOW, datetime(9999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize("lag", [NEVER, 366 * DAY])
def test_the_longest_durations_that_can_be_set_are_no_overflow(tick: datetime, lag: timedelta) -> None:
    found = window(believed(tick, NOW, lag), 366 * DAY, lag, 10_000)
    assert found.start < found.end <= NOW
    assert found.start - 366 * DAY > datetime.min.replace(tzinfo=UTC)


# what rings in a window


@given(
    first=moments,
    period=periods,
    lag=lags,
    turns=st.integers(0, 5),
    into=st.floats(0, 1),
    status=st.sampled_from(["failed", "timeout", "skipped", "suspended"]),
    fields=st.sampled_from([("ended_at",), ("updated_at",), ("ended_at", "updated_at"), ("created_at",)]),
    data=st.data(),
)
def test_a_bad_task_rings_in_exactly_one_window_of_a_steady_timer(
    first: datetime,
    period: timedelta,
    lag: timedelta,
    turns: int,
    into: float,
    status: str,
    fields: tuple[str, ...],
    data: st.DataObject,
) -> None:
    assume((first - lag - EPOCH) % period >= FLIP)
    covered = [window(first + turn * period, period, lag) for turn in range(6)]
    visible = covered[turns].start + min(period * into, period - MARGIN)
    earlier = st.timedeltas(NEVER, 7 * DAY).map(lambda age: visible - age)
    log = task(
        status,
        **{"created_at": data.draw(earlier)}
        | {name: data.draw(earlier) for name in fields[:-1]}
        | {fields[-1]: visible},
    )
    assert [rung(log, one) for one in covered] == [0 if turn == turns else None for turn in range(6)]
    assert rung(log, window(first + 5 * period, period, lag, 6)) == 0


@given(
    first=moments,
    period=periods,
    lag=lags,
    interval=st.timedeltas(MINUTE, 9 * DAY),
    into=st.floats(0, 1),
    status=st.sampled_from(["running", "waiting"]),
    began=st.sampled_from(["started_at", "created_at"]),
)
def test_an_overdue_task_rings_when_its_deadline_has_passed_and_again_every_interval(
    first: datetime, period: timedelta, lag: timedelta, interval: timedelta, into: float, status: str, began: str
) -> None:
    assume((first - lag - EPOCH) % period >= FLIP)
    covered = [window(first + turn * period, period, lag) for turn in range(-1, 9)]
    deadline = covered[1].start + min(period * into, period - MARGIN)
    log = task(status, **{began: deadline - DAY, "updated_at": covered[-1].end})
    repeats = [rung(log, one, interval) for one in covered]
    assert repeats[0] is None
    assert repeats[1] is not None
    told = [repeat for repeat in repeats if repeat is not None]
    assert told == sorted(set(told))
    due = [n for n in range(int(9 * period / interval) + 2) if deadline + n * interval < covered[-1].end]
    assert told == due if interval >= period else told[-1] == due[-1]
    # what lost ticks would have told is told once, as of the last
    assert rung(log, Window(covered[0].start, covered[-1].end), interval) == told[-1]


def test_a_task_whose_deadline_passes_after_the_windows_end_waits_for_a_later_window() -> None:
    covered = Window(at("07:30"), at("07:45"))
    assert rung(task("running", started_at=at("07:45") - DAY), covered) is None
    assert rung(task("running", started_at=at("07:45") - DAY - MARGIN), covered) == 0
    assert rung(task("running", started_at=at("07:30") - DAY), covered) == 0
    assert caught(task("running", started_at=at("07:30") - DAY - MARGIN), covered, RULES, DAY) is None
    assert rung(task("running", started_at=at("07:30") - 2 * DAY), covered) == 1


def test_a_deadline_of_its_own_type_counts() -> None:
    rules = OutcomeRules.model_validate({"deadlines": {"backup": "1h"}})
    covered = Window(at("07:30"), at("07:45"))
    log = task("running", started_at=at("06:35"))
    assert caught(log, covered, RULES, DAY) is None
    assert caught(log, covered, rules, DAY) is not None


def test_a_task_that_is_touched_later_moves_to_the_later_window() -> None:
    first, second = Window(at("07:30"), at("07:45")), Window(at("07:45"), at("08:00"))
    log = task(created_at=at("07:00"), ended_at=at("07:40"), updated_at=at("07:50"))
    assert (rung(log, first), rung(log, second)) == (None, 0)


def test_a_bad_task_without_any_time_is_told_once_every_interval() -> None:
    day = [Window(at("00:00") + turn * HOUR, at("00:00") + (turn + 1) * HOUR) for turn in range(-48, 48)]
    told = [covered.start for covered in day if rung(task("failed"), covered) is not None]
    assert told == [at("00:00") + turn * DAY for turn in (-2, -1, 0, 1)]
    for length in (MARGIN, HOUR, DAY):  # a window as long as the interval has one such moment as well: its start
        assert rung(task("failed"), Window(at("00:00"), at("00:00") + length)) == 0
        assert rung(task("failed"), Window(at("00:00") - length, at("00:00"))) == (0 if length == DAY else None)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"status": "failed"}, "failed"),
        ({"status": "timeout"}, "timed_out"),
        ({"status": "skipped"}, "skipped"),
        ({"status": "suspended"}, "unknown"),
        ({"status": None}, "unknown"),
        ({"status": "success", "error_info": {"code": "BackupService.1", "message": "?"}}, "partial"),
        ({"status": "success", "extra_info": {"sync": {"err_sync_backup_num": 1}}}, "partial"),
        ({"status": "success"}, None),
        ({"status": "running", "started_at": "2026-11-22T07:40:00Z"}, "overdue"),
        ({"status": "running", "started_at": "2026-11-23T07:40:00Z"}, None),
        ({"status": "waiting", "created_at": "2026-11-22T07:40:00Z"}, "overdue"),
    ],
)
def test_each_bad_outcome_is_caught_and_no_good_one(fields: dict[str, JSON], outcome: str | None) -> None:
    log = OperationLog.read({"id": "1", "updated_at": "2026-11-23T07:40:00Z", **fields})
    found = caught(log, Window(at("07:30"), at("07:45")), RULES, DAY)
    assert (found[0].name.value if found else None) == outcome


def test_what_the_settings_keep_quiet_is_not_caught() -> None:
    rules = OutcomeRules(ring=("failed",))
    covered = Window(at("07:30"), at("07:45"))
    assert caught(task("skipped", updated_at=at("07:40")), covered, rules, DAY) is None
    assert caught(task("failed", updated_at=at("07:40")), covered, rules, DAY) is not None


# what asks for a sweep


def asked(body: JSON, time: datetime | None = None) -> Item:
    return sources.decode(Event(json.dumps(body).encode(), time=time)).items[0]


@pytest.mark.parametrize(
    ("body", "sweep"),
    [
        ({"sweep": {}}, Sweep()),
        ({"sweep": None}, Sweep()),
        ({"sweep": {"at": "2026-11-23T08:07:00Z"}}, Sweep(at=NOW)),
        ({"sweep": {"period": "1h", "lag": 90}}, Sweep(period=HOUR, lag=timedelta(seconds=90))),
        ({"sweep": {"lag": 0}}, Sweep(lag=NEVER)),
        ({"sweep": {"project_id": "A" * 32}}, Sweep(project_id="a" * 32)),
        ({"sweep": {"at": None, "period": None, "lag": None, "project_id": None}}, Sweep()),
        ({"trigger_type": "TIMER", "time": "2026-11-23T08:07:00Z"}, Sweep(at=NOW)),
        ({"trigger_type": "TIMER", "time": "2026-11-23T08:07:00Z", "user_event": "tick"}, Sweep(at=NOW)),
        (
            {"trigger_type": "TIMER", "time": "2026-11-23T08:07:00Z", "user_event": '{"sweep": {"period": "24h"}}'},
            Sweep(at=NOW, period=DAY),
        ),
        (
            {
                "trigger_type": "TIMER",
                "time": "2025-01-01T00:00:00Z",
                "user_event": '{"sweep": {"at": "2026-11-23T08:07Z"}}',
            },
            Sweep(at=NOW),
        ),
    ],
)
def test_a_sweep_is_asked_for_in_every_form(body: JSON, sweep: Sweep) -> None:
    assert asked(body) == sweep


def test_the_time_of_a_cloudevent_is_the_ticks_unless_the_sweep_says_another() -> None:
    envelope = {"specversion": "1.0", "id": "1", "source": "/timer", "type": "tick", "time": "2026-11-23T08:07:00Z"}

    def of(data: JSON) -> Item:
        headers = {"content-type": "application/cloudevents+json"}
        return sources.decode(Event(json.dumps({**envelope, "data": data}).encode(), headers)).items[0]

    assert of({"sweep": {}}) == Sweep(at=NOW)
    assert of({"sweep": {"at": "2026-11-23T09:07:00Z"}}) == Sweep(at=NOW + HOUR)


@pytest.mark.parametrize(
    "sweep",
    [
        {"lookback": 2},
        {"at": "soon"},
        {"at": True},
        {"period": "0s"},
        {"period": 0},
        {"period": "15 minutes"},
        {"period": 1.5},
        {"period": True},
        {"period": "367d"},
        {"period": 10**12},
        {"lag": "-5m"},
        {"lag": -5},
        {"project_id": "prod"},
        [],
        "now",
    ],
)
def test_a_sweep_that_means_nothing_is_refused(sweep: JSON) -> None:
    bodies: tuple[Object, ...] = (
        {"sweep": sweep},
        {"trigger_type": "TIMER", "user_event": json.dumps({"sweep": sweep})},
    )
    for body in bodies:
        with pytest.raises(InvalidEvent) as refused:
            asked(body)
        assert refused.value.status == 400
