"""The verdict on a task: the whole table of outcomes, and the words that a tired operator reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import Outcome, OutcomeName, classify, was_overdue
from vaultbell.settings import OutcomeRules

Json = Any  # a value of JSON, or ... for a field that is left out

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RULES = OutcomeRules()


def log(status: object = "success", **fields: Json) -> OperationLog:
    """A backup of an hour ago. `...` leaves a field out."""
    known = {
        "id": "0f0e0d0c-0b0a-4908-8706-050403020100",
        "operation_type": "backup",
        "status": status,
        "created_at": "2026-11-23T07:00:00Z",
        "started_at": "2026-11-23T07:00:10Z",
        "updated_at": "2026-11-23T07:30:05Z",
        "ended_at": "2026-11-23T07:30:00Z",
        **fields,
    }
    return OperationLog.read({name: value for name, value in known.items() if value is not ...})


def verdict(status: object = "success", **fields: Json) -> Outcome:
    return classify(log(status, **fields), RULES, NOW)


def extra(**blocks: Json) -> dict[str, Json]:
    return {"extra_info": blocks}


# What a task's status alone says, with the words for it.
BY_STATUS: list[tuple[object, str, str]] = [
    ("success", "succeeded", "the task ended without an error"),
    (" success ", "succeeded", "the task ended without an error"),
    ("skipped", "skipped", "pre-checks failed: the task never started, and there is no backup"),
    ("failed", "failed", "the API gives no reason"),
    ("timeout", "timed_out", "a step ran longer than the system allows, and the task was stopped"),
    ("running", "running", "the task is running"),
    ("waiting", "running", "the task is waiting"),
    ("suspended", "unknown", 'the status "suspended" is not known to this version'),
    ("error", "unknown", 'the status "error" is not known to this version'),
    ("SUCCESS", "unknown", 'the status "SUCCESS" is not known to this version'),
    ("a\n\u202eb", "unknown", 'the status "a b" is not known to this version'),
    ("", "unknown", "the task has no status that can be read"),
    ("  ", "unknown", "the task has no status that can be read"),
    (None, "unknown", "the task has no status that can be read"),
    (..., "unknown", "the task has no status that can be read"),
    (3, "unknown", "the task has no status that can be read"),
    (["success"], "unknown", "the task has no status that can be read"),
]


@pytest.mark.parametrize(("status", "name", "reason"), BY_STATUS)
def test_the_status_decides_and_the_reason_says_so(status: object, name: str, reason: str) -> None:
    outcome = verdict(status)
    assert (outcome.name, outcome.reason) == (name, reason)


SEVERITIES = {
    "succeeded": ("info", False),
    "partial": ("warning", True),
    "skipped": ("warning", True),
    "failed": ("critical", True),
    "timed_out": ("critical", True),
    "running": ("info", False),
    "overdue": ("critical", True),
    "stale": ("critical", True),
    "unknown": ("warning", True),
    "missing": ("warning", True),
    "unverified": ("critical", True),
}


def test_every_outcome_has_its_severity_and_rings_or_not() -> None:
    assert {name.value: (RULES.severity_of(name), RULES.rings(name)) for name in OutcomeName} == SEVERITIES


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (verdict("success"), "succeeded"),
        (verdict("success", error_info={"code": "X.1"}), "partial"),
        (verdict("skipped"), "skipped"),
        (verdict("failed"), "failed"),
        (verdict("timeout"), "timed_out"),
        (verdict("running"), "running"),
        (verdict("running", started_at="2026-11-22T08:00:00Z"), "overdue"),
        (verdict("suspended"), "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_verdict_carries_the_severity_of_its_outcome_and_whether_it_rings(outcome: Outcome, name: str) -> None:
    assert (outcome.name, outcome.severity, outcome.rings) == (name, *SEVERITIES[name])


def test_severity_and_what_rings_are_settings() -> None:
    rules = OutcomeRules.model_validate({"severity": {"skipped": "critical"}, "ring": ["skipped", "succeeded"]})
    told = {status: classify(log(status), rules, NOW) for status in ("skipped", "success", "failed")}
    assert [(outcome.severity, outcome.rings) for outcome in told.values()] == [
        ("critical", True),
        ("info", True),
        ("critical", False),
    ]


# A success of which a part failed: each cause alone, and the words for it.
PARTIAL: list[tuple[dict[str, Json], str]] = [
    (extra(remove_resources={"fail_count": 2}), "2 resource(s) could not be removed from the vault"),
    (extra(remove_resources={"fail_count": 1}), "1 resource(s) could not be removed from the vault"),
    (extra(remove_resources={"fail_count": "2"}), "2 resource(s) could not be removed from the vault"),
    (extra(remove_resources={"fail_count": 9, "total_count": 1}), "9 resource(s) could not be removed from the vault"),
    (extra(vault_delete={"fail_count": 1}), "1 resource(s) of the vault could not be deleted"),
    (extra(vault_delete={"fail_count": " 1 "}), "1 resource(s) of the vault could not be deleted"),
    (extra(vault_delete={"fail_delete_count": 1}), "1 resource(s) of the vault could not be deleted"),
    (extra(vault_delete={"fail_count": 0, "fail_delete_count": 3}), "3 resource(s) of the vault could not be deleted"),
    (extra(vault_delete={"fail_count": None, "fail_delete_count": "3"}), "3 resource(s) of the vault could not be del"),
    (extra(sync={"err_sync_backup_num": 4}), "4 backup(s) could not be synchronised"),
    (extra(sync={"err_sync_backup_num": "4"}), "4 backup(s) could not be synchronised"),
    ({"error_info": {"code": "BackupService.7102", "message": ""}}, "yet tells an error: error BackupService.7102"),
    ({"error_info": {"code": " X.1 ", "message": " Gone. "}}, "the task succeeded, yet tells an error: Gone. (X.1)"),
    ({"error_info": {"code": "0"}}, "the task succeeded, yet tells an error: error 0"),
    (extra(backup={"app_consistency_error_code": "0x1"}), "the backup is not application-consistent: (0x1)"),
    (extra(backup={"app_consistency_error_code": 7}), "the backup is not application-consistent: (7)"),
    (extra(backup={"app_consistency_error_message": "No VSS."}), "the backup is not application-consistent: No VSS."),
    (
        extra(backup={"app_consistency_error_code": "5", "app_consistency_error_message": " No\nVSS. "}),
        "the backup is not application-consistent: No VSS. (5)",
    ),
    (
        extra(backup={"app_consistency_error_code": "5", "app_consistency_error_message": "0"}),
        "the backup is not application-consistent: (5)",
    ),
]


@pytest.mark.parametrize(("fields", "reason"), PARTIAL)
def test_a_success_of_which_a_part_failed_is_partial(fields: dict[str, Json], reason: str) -> None:
    outcome = verdict("success", **fields)
    assert outcome.name is OutcomeName.PARTIAL
    assert reason in outcome.reason
    # the operation type does not matter: the counters speak for themselves
    assert verdict("success", operation_type="teleport", **fields).evidence == outcome.evidence


WHOLE: list[dict[str, Json]] = [
    extra(remove_resources={"fail_count": 0, "total_count": 7}),
    extra(remove_resources={"fail_count": "0"}),
    extra(remove_resources={"fail_count": None}),
    extra(remove_resources={"fail_count": -1}),
    extra(remove_resources={"fail_count": "none"}),
    extra(vault_delete={"fail_count": 0, "total_count": 7}),
    extra(vault_delete={"fail_delete_count": 0, "fail_count": None}),
    extra(sync={"err_sync_backup_num": 0, "sync_backup_num": 5, "delete_backup_num": 3}),
    {"error_info": {"code": "", "message": ""}},
    {"error_info": {"code": "  ", "message": "all is well"}},
    {"error_info": {"code": None}},
    {"error_info": None},
    {"error_info": ...},
    {"extra_info": None},
    {"extra_info": ...},
    extra(backup={"app_consistency_error_code": "0", "app_consistency_error_message": ""}),
    extra(backup={"app_consistency_error_code": " 0 ", "app_consistency_error_message": "0"}),
    extra(backup={"app_consistency_error_code": 0}),
    extra(backup={"app_consistency_error_code": "", "app_consistency_error_message": None}),
    extra(backup={"app_consistency_status": "0"}),
]


@pytest.mark.parametrize("fields", WHOLE)
def test_a_success_without_a_failed_part_is_one(fields: dict[str, Json]) -> None:
    assert verdict("success", **fields).name is OutcomeName.SUCCEEDED


def test_everything_that_failed_in_part_is_told() -> None:
    outcome = verdict(
        "success",
        error_info={"code": "X.1"},
        extra_info={"sync": {"err_sync_backup_num": 1}, "backup": {"app_consistency_error_code": "5"}},
    )
    assert outcome.reason == (
        "1 backup(s) could not be synchronised; the task succeeded, yet tells an error: error X.1; "
        "the backup is not application-consistent: (5)"
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("failed", "The server is off. (X.1)"),
        ("timeout", "a step ran longer than the system allows, and the task was stopped; The server is off. (X.1)"),
        ("skipped", "pre-checks failed: the task never started, and there is no backup; The server is off. (X.1)"),
        ("odd", 'the status "odd" is not known to this version; The server is off. (X.1)'),
    ],
)
def test_the_api_s_own_error_is_told(status: str, reason: str) -> None:
    assert verdict(status, error_info={"code": "X.1", "message": "The\r\nserver  is off."}).reason == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": "X.1"}, "error X.1"),
        ({"message": "Off."}, "Off."),
        ({"code": 7102}, "error 7102"),
        ({}, "the API gives no reason"),
        ({"message": "\x00"}, "the API gives no reason"),
    ],
)
def test_a_failure_is_told_by_what_there_is(error: dict[str, Json], reason: str) -> None:
    assert verdict("failed", error_info=error).reason == reason


@pytest.mark.parametrize(
    ("status", "fields", "before", "limit", "after"),
    [
        ("odd", {"status": "x" * 999}, 'the status "', 64, '" is not known to this version'),
        ("failed", {"error_info": {"message": "x" * 999}}, "", 500, ""),
        ("failed", {"error_info": {"code": "x" * 999}}, "error ", 64, ""),
        ("failed", {"error_info": {"message": "Off.", "code": "x" * 999}}, "Off. (", 64, ")"),
        (
            "success",
            extra(backup={"app_consistency_error_message": "x" * 999}),
            "the backup is not application-consistent: ",
            300,
            "",
        ),
    ],
)
def test_what_the_api_says_at_length_is_cut(
    status: str, fields: dict[str, Json], before: str, limit: int, after: str
) -> None:
    assert verdict(**{"status": status, **fields}).reason == f"{before}{'x' * (limit - 1)}…{after}"


# Deadlines: by operation type, `default`, and 24 hours.
DEADLINES = OutcomeRules.model_validate({"deadlines": {"backup": "2h", "default": "12h"}})


@pytest.mark.parametrize("status", ["running", "waiting"])
@pytest.mark.parametrize(
    ("rules", "operation_type", "length"),
    [
        (RULES, "backup", timedelta(hours=24)),
        (RULES, "restore", timedelta(hours=24)),
        (RULES, "teleport", timedelta(hours=24)),
        (RULES, ..., timedelta(hours=24)),
        (DEADLINES, "backup", timedelta(hours=2)),
        (DEADLINES, "restore", timedelta(hours=12)),
        (DEADLINES, "teleport", timedelta(hours=12)),
        (DEADLINES, None, timedelta(hours=12)),
        (OutcomeRules.model_validate({"deadlines": {"restore": "90s"}}), "backup", timedelta(hours=24)),
    ],
)
def test_a_task_is_overdue_from_its_deadline_on(
    status: str, rules: OutcomeRules, operation_type: object, length: timedelta
) -> None:
    began = datetime(2026, 11, 20, 3, 0, 0, 500_000, tzinfo=UTC)
    task = log(status, operation_type=operation_type, started_at=began.isoformat(), created_at="2026-11-20T01:00:00Z")
    before, at, after = (classify(task, rules, began + length + lag) for lag in (-SECOND / 1000, 0 * SECOND, SECOND))
    assert (before.name, at.name, after.name) == (OutcomeName.RUNNING, OutcomeName.OVERDUE, OutcomeName.OVERDUE)
    assert at == after, "the verdict does not depend on when we look"
    assert at.at == began + length


def test_what_has_not_started_is_measured_from_its_creation() -> None:
    for missing in (..., None, "", "soon"):
        task = log("waiting", started_at=missing, created_at="2026-11-22T08:00:00Z")
        assert classify(task, RULES, NOW - SECOND).name is OutcomeName.RUNNING
        assert classify(task, RULES, NOW).name is OutcomeName.OVERDUE
    assert verdict("running", started_at=..., created_at=...).name is OutcomeName.RUNNING


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"started_at": "2026-11-21T20:00:00Z"},
            "still running at its deadline, 2026-11-22 20:00 UTC, 24 h after it started",
        ),
        (
            {"status": "waiting", "started_at": ..., "created_at": "2026-11-21T20:00:00"},
            "still waiting at its deadline, 2026-11-22 20:00 UTC, 24 h after it was created",
        ),
        (
            {"started_at": "2026-11-21T20:00:00+02:00", "error_info": {"message": "Slow."}},
            "still running at its deadline, 2026-11-22 18:00 UTC, 24 h after it started; Slow.",
        ),
    ],
)
def test_an_overdue_task_says_since_when(fields: dict[str, Json], reason: str) -> None:
    outcome = verdict(**{"status": "running", **fields})
    assert (outcome.name, outcome.reason) == (OutcomeName.OVERDUE, reason)


def test_an_overdue_task_says_how_long_its_own_type_may_run() -> None:
    task = log("running", started_at="2026-11-23T05:00:00Z")
    assert classify(task, DEADLINES, NOW).reason == (
        "still running at its deadline, 2026-11-23 07:00 UTC, 2 h after it started"
    )


@pytest.mark.parametrize(
    ("created", "started", "ended", "since"),
    [
        ("01:00", "01:30", "03:29", None),
        ("01:00", "01:30", "03:30", "03:30"),  # it ran too long
        ("01:00", "03:00", "03:30", "03:00"),  # it waited too long
        ("01:00", "02:59", "04:58", None),  # either was short enough
        ("01:00", "03:30", "06:00", "03:00"),  # it did both: the first counts
        ("01:00", None, "02:59", None),
        ("01:00", None, "03:00", "03:00"),
        (None, "01:30", "03:29", None),
        (None, "01:30", "03:30", "03:30"),
        (None, None, "03:30", None),
    ],
)
def test_a_task_that_has_ended_had_been_overdue_or_not(
    created: str | None, started: str | None, ended: str, since: str | None
) -> None:
    told = {"created_at": created, "started_at": started}
    # without an end of its own, its last change is taken for it
    for end in ({"ended_at": ended, "updated_at": "07:00"}, {"ended_at": None, "updated_at": ended}):
        task = log(**{name: time and f"2026-11-23T{time}:00Z" for name, time in {**told, **end}.items()})
        overdue = was_overdue(task, DEADLINES)
        assert (overdue and f"{overdue:%H:%M}") == since


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, "2026-11-23T07:30:05+00:00"),
        ({"updated_at": "2026-11-23T07:29:00Z"}, "2026-11-23T07:30:00+00:00"),
        ({"updated_at": "2026-11-23T09:30:01+02:00"}, "2026-11-23T07:30:01+00:00"),
        ({"updated_at": None}, "2026-11-23T07:30:00+00:00"),
        ({"ended_at": ""}, "2026-11-23T07:30:05+00:00"),
        ({"ended_at": ..., "updated_at": ...}, "2026-11-23T07:00:10+00:00"),
        ({"ended_at": ..., "updated_at": ..., "started_at": ...}, "2026-11-23T07:00:00+00:00"),
    ],
)
def test_an_outcome_came_about_at_the_later_of_end_and_last_change(fields: dict[str, Json], at: str) -> None:
    for status in ("failed", "success", "odd"):
        assert verdict(status, **fields).at == datetime.fromisoformat(at)


def test_a_log_without_any_time_still_has_a_verdict() -> None:
    assert classify(OperationLog.read({"status": "failed"}), RULES, NOW).at == datetime.fromtimestamp(0, UTC)


@pytest.mark.parametrize("far", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0, 10**18 * 9])
def test_a_time_that_means_none_decides_nothing(far: object) -> None:
    task = log("running", started_at=far, created_at="2026-11-23T07:00:00Z")
    assert classify(task, RULES, NOW).name is OutcomeName.RUNNING
