"""The report, and the answer that is made of it: the worst of the items, when to come again, and what is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import combinations, permutations
from typing import Any

import pytest

from vaultbell.errors import InvalidEvent, Transient
from vaultbell.platforms import answer
from vaultbell.report import Action, Receipt, Report, Result, Swept, seconds

WORST_FIRST = (500, 503, 424, 413, 403, 400, 200)
AT = datetime(2026, 11, 23, 8, tzinfo=UTC)


def result(status: int, **more: Any) -> Result:  # noqa: ANN401 - fields of a result
    if status == 200:
        return Result(Action.QUIET, **more)
    action = Action.RETRY if status in (500, 503) else Action.REJECTED
    return Result(action, status, error=(f"code_{status}", f"words of {status}"), **more)


@pytest.mark.parametrize(("worse", "better"), [*combinations(WORST_FIRST, 2)])
def test_what_may_pass_beats_what_is_final(worse: int, better: int) -> None:
    for order in permutations((worse, better, better)):
        report = Report(tuple(map(result, order)), batch=True)
        assert report.status == worse
        told = answer.of_report(report)
        assert told.status == worse
        assert ("Retry-After" in told.headers) is (worse == 503)
        body = json.loads(told.body)
        assert body["error"] == {"code": f"code_{worse}", "message": f"words of {worse}"}
        assert [line["action"] for line in body["results"]] == [result(status).action for status in order]


def test_nothing_to_tell_is_handled() -> None:
    report = Report((), batch=True)
    assert (report.status, answer.of_report(report).status) == (200, 200)
    assert json.loads(answer.of_report(report).body) == {"results": []}


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        ([None], 30),
        ([], 30),
        ([0.0], 1),
        ([0.2], 1),
        ([1.01], 2),
        ([5.0, None, 17.5], 18),
        ([90_000.0], 86_400),
    ],
)
def test_when_to_come_again_is_the_longest_wait_in_whole_seconds(waits: list[float | None], told: int) -> None:
    report = Report(tuple(result(503, retry_after=wait) for wait in waits))
    assert report.retry_after == told
    lines = report.as_json()["results"]
    assert isinstance(lines, list)
    for line, wait in zip(lines, waits, strict=True):
        assert isinstance(line, dict)
        assert line.get("retry_after") == (None if wait is None else seconds(wait))


def test_a_line_leaves_out_what_does_not_apply() -> None:
    assert Result(Action.QUIET).as_json() == {"action": "quiet"}
    assert Result.rejected(InvalidEvent("no", code="bad_id")).as_json() == {
        "action": "rejected",
        "error": {"code": "bad_id", "message": "no"},
    }


def test_a_line_has_every_field_of_the_report() -> None:
    receipt = Receipt("ops", False, 3, 503, "ops.example.org answered 503", after=4.2)
    full = Result(
        Action.RETRY,
        503,
        operation_log_id="1",
        project_id="2",
        operation_type="backup",
        outcome="failed",
        severity="critical",
        reason="why",
        incident="inc_1",
        retry_after=4.2,
        owed=("ops",),
        receipts=(receipt,),
        error=("try_again", "not reached yet: ops"),
    )
    assert full.as_json() == {
        "operation_log_id": "1",
        "project_id": "2",
        "operation_type": "backup",
        "outcome": "failed",
        "severity": "critical",
        "reason": "why",
        "incident": "inc_1",
        "action": "retry",
        "retry_after": 5,
        "owed": ["ops"],
        "receipts": [
            {
                "channel": "ops",
                "delivered": False,
                "attempts": 3,
                "status": 503,
                "error": "ops.example.org answered 503",
            }
        ],
        "error": {"code": "try_again", "message": "not reached yet: ops"},
    }


def test_a_sweep_says_what_it_has_covered() -> None:
    hour = timedelta(hours=1)
    both = Swept(AT, AT + hour, 3).and_(Swept(AT - hour, AT, 4))
    assert Report((), swept=both).as_json() == {
        "results": [],
        "swept": {"from": "2026-11-23T07:00:00Z", "until": "2026-11-23T09:00:00Z", "tasks": 7},
    }


def test_a_broker_is_answered_204_and_nothing_else_once_all_is_handled() -> None:
    handled = answer.of_report(Report((result(200), result(200)), batch=True, answers_empty=True))
    assert (handled.status, handled.body, dict(handled.headers)) == (204, "", {})
    for status in WORST_FIRST[:-1]:
        told = answer.of_report(Report((result(200), result(status)), batch=True, answers_empty=True))
        assert (told.status, len(json.loads(told.body)["results"])) == (status, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_an_event_that_is_at_fault_alone_is_answered_by_an_error_alone(status: int) -> None:
    error = {"error": {"code": f"code_{status}", "message": f"words of {status}"}}
    assert json.loads(answer.of_report(Report((result(status),))).body) == error
    told = answer.of_error(InvalidEvent(f"words of {status}", status=status, code=f"code_{status}"))
    assert (told.status, json.loads(told.body)) == (status, error)
    assert told.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize("status", [500, 503, 424])
def test_what_was_begun_is_answered_by_its_report(status: int) -> None:
    body = json.loads(answer.of_report(Report((result(status, operation_log_id="1"),))).body)
    assert body["error"]["code"] == f"code_{status}"
    assert body["results"][0]["operation_log_id"] == "1"


@pytest.mark.parametrize(("after", "told"), [(None, "30"), (0.0, "1"), (12.1, "13"), (1e9, "86400")])
def test_what_could_not_be_begun_says_when_to_come_again(after: float | None, told: str) -> None:
    given = answer.of_error(Transient("not now", after=after))
    assert (given.status, given.headers["Retry-After"]) == (503, told)
    assert json.loads(given.body) == {"error": {"code": "try_again", "message": "not now"}}


def test_our_own_crash_asks_for_nothing() -> None:
    assert "Retry-After" not in answer.of_crash(500, "internal", "words").headers
