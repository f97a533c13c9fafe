"""Which tasks a hint means: where its windows begin and end, and which lists are looked in for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from vaultbell.cloud.cbr import Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.events import Search
from vaultbell.search import meant, queries

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MINUTE, DAY, MOMENT = timedelta(minutes=1), timedelta(days=1), timedelta(microseconds=1)
SERVER, DISK = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "2dab32fa-ebf2-415a-ab0b-eabe6353bc86"


def hint(kind: Literal["alarm", "trace"], *types: str, ids: tuple[str, ...] = (SERVER,)) -> Search:
    return Search(kind, "it", AT, types, ids)


def log(times: dict[str, datetime], status: str = "failed", task_id: str | None = "1") -> OperationLog:
    known = {"id": task_id, "status": status, "vault_id": SERVER, "operation_type": "backup"}
    return OperationLog.read({**known, **{name: time.isoformat() for name, time in times.items()}})


@pytest.mark.parametrize("field", ["ended_at", "updated_at"])
@pytest.mark.parametrize("side", [-1, 1])
def test_an_alarm_means_what_ended_within_half_an_hour_of_it(field: str, side: int) -> None:
    alarm, edge = hint("alarm"), AT + side * 30 * MINUTE
    assert len(meant(alarm, AT, [log({field: edge})])) == 1
    assert meant(alarm, AT, [log({field: edge + side * MOMENT})]) == []


def test_an_alarm_means_what_has_ended_before_what_still_runs() -> None:
    ended, running = log({"ended_at": AT}), log({"updated_at": AT}, "running", "2")
    assert meant(hint("alarm"), AT, [running, ended]) == [ended]
    assert meant(hint("alarm"), AT + DAY, [running, ended]) == [running]


def test_a_trace_means_what_was_created_from_five_minutes_before_it_to_an_hour_after() -> None:
    trace = hint("trace")
    for status in ("running", "failed"):
        for edge, beyond in ((AT - 5 * MINUTE, -MOMENT), (AT + 60 * MINUTE, MOMENT)):
            assert len(meant(trace, AT, [log({"created_at": edge}, status)])) == 1
            assert meant(trace, AT, [log({"created_at": edge + beyond}, status)]) == []
        assert meant(trace, AT, [log({"ended_at": AT}, status)]) == []


def test_a_task_that_stands_in_two_lists_is_meant_once() -> None:
    same, nameless = log({"ended_at": AT}), log({"ended_at": AT}, task_id=None)
    assert meant(hint("alarm"), AT, [same, same, nameless, nameless]) == [same, nameless, nameless]


UNFINISHED = [Query(status="running"), Query(status="waiting")]


def test_an_alarm_is_looked_for_from_the_narrowest_list_on() -> None:
    week = AT - 7 * DAY
    named = [
        Query(since=week, resource_id=SERVER),
        Query(since=week, resource_id=DISK),
        Query(since=week, vault_id=SERVER),
        Query(since=week, vault_id=DISK),
    ]
    bad = [Query(since=week, status=status) for status in ("failed", "timeout", "skipped")]
    assert list(queries(hint("alarm", "backup", ids=(SERVER, DISK)), AT)) == [
        named,
        UNFINISHED,
        bad,
        [Query(since=AT - DAY, operation_type="backup")],
    ]


@pytest.mark.parametrize("types", [(), ("replication", "copy"), ("migrate_resources",)])
def test_a_list_is_narrowed_to_no_type_that_the_api_does_not_list(types: tuple[str, ...]) -> None:
    assert list(queries(hint("alarm", *types), AT))[-1] == [Query(since=AT - DAY)]


def test_a_trace_is_looked_for_among_all_that_is_new() -> None:
    since = AT - 5 * MINUTE
    assert list(queries(hint("trace", "backup"), AT)) == [
        [Query(since=since, resource_id=SERVER), Query(since=since, vault_id=SERVER)],
        UNFINISHED,
        [Query(since=since)],
    ]
