"""What is told: one line that says what happened, ids that stay the same, incidents that a success closes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vaultbell import notification, times
from vaultbell.channels.formats import default
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.events import Search, TaskRef
from vaultbell.notification import Notification, of_missing, of_unverified
from vaultbell.outcome import Outcome, OutcomeName, classify
from vaultbell.settings import OutcomeRules

Json = Any  # a value of JSON, or ... for a field that is left out

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
RULES = OutcomeRules()
PROJECT, OTHER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
TASK = "0f0e0d0c-0b0a-4908-8706-050403020100"
SERVER = {"id": "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "name": "ECS-0001", "type": "OS::Nova::Server"}


def log(operation_type: Json = "backup", status: str = "failed", **fields: Json) -> OperationLog:
    """A task about a server, in a vault; blocks of `extra_info` may be given by their names."""
    blocks = {name: fields.pop(name) for name in list(fields) if name in BLOCKS}
    known = {
        "id": TASK,
        "project_id": PROJECT,
        "operation_type": operation_type,
        "status": status,
        "created_at": "2026-11-23T07:00:00Z",
        "updated_at": "2026-11-23T07:30:05Z",
        "ended_at": "2026-11-23T07:30:00Z",
        "vault_id": "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11",
        "vault_name": "vault-daily",
        "error_info": {"code": "X.1", "message": "No."} if status == "failed" else {},
        "extra_info": {"resource": SERVER, **blocks},
        **fields,
    }
    return OperationLog.read({name: value for name, value in known.items() if value is not ...})


BLOCKS = (
    "backup",
    "common",
    "delete",
    "sync",
    "remove_resources",
    "resource",
    "restore",
    "vault_delete",
    "replication",
)
NOTHING: dict[str, Json] = {"resource": {}, "vault_id": ..., "vault_name": ...}


def told(task: OperationLog, *, project_id: str = PROJECT, repeat: int = 0) -> Notification:
    outcome = classify(task, RULES, NOW)
    return notification.of_task(task, outcome, RULES, project_id=project_id, region="eu-de", repeat=repeat)


BACKUP = {"backup_id": "b1", "backup_name": "autobk_1"}
FROM_TO = {
    "source_region": "eu-de",
    "destination_region": "eu-nl",
    "source_project_id": PROJECT,
    "destination_project_id": OTHER,
    "source_backup_name": "autobk_1",
    "destination_backup_name": "replica_1",
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in FROM_TO.items() if not name.endswith(names)}


# A line for each operation type, with all that it tells and with less.
SUMMARIES: list[tuple[OperationLog, str]] = [
    (
        log(backup={"incremental": "true"}, common={"progress": 64}),
        "Backup of ECS-0001 failed: No. (X.1) (incremental, at 64 %)",
    ),
    (log(backup={"incremental": "false"}), "Backup of ECS-0001 failed: No. (X.1) (full)"),
    (log(common={"progress": 0}), "Backup of ECS-0001 failed: No. (X.1) (at 0 %)"),
    (log(), "Backup of ECS-0001 failed: No. (X.1)"),
    (
        log("restore", restore={**BACKUP, "target_resource_name": "ECS-0002"}),
        "Restore of autobk_1 → ECS-0002 failed: No. (X.1)",
    ),
    (log("restore", restore=BACKUP), "Restore of autobk_1 → ECS-0001 failed: No. (X.1)"),
    (log("restore", restore={"backup_id": "b1"}, resource={}), "Restore of b1 failed: No. (X.1)"),
    (
        log("restore", restore={"target_resource_id": "t1"}, resource={}),
        "Restore of t1 failed: No. (X.1)",
    ),
    (log("restore", resource={}), "Restore of vault-daily failed: No. (X.1)"),
    (log("replication", replication=FROM_TO), "Replication of ECS-0001 failed: No. (X.1) (eu-de → eu-nl)"),
    (log("copy", replication=FROM_TO), "Copy of ECS-0001 failed: No. (X.1) (eu-de → eu-nl)"),
    (
        log("copy", replication=without("_region")),
        f"Copy of ECS-0001 failed: No. (X.1) ({PROJECT} → {OTHER})",
    ),
    (
        log("copy", replication={**FROM_TO, "destination_region": "eu-de"}),
        f"Copy of ECS-0001 failed: No. (X.1) ({PROJECT} → {OTHER})",
    ),
    (
        log("copy", replication={**FROM_TO, "destination_region": "eu-de", "destination_project_id": PROJECT}),
        "Copy of ECS-0001 failed: No. (X.1) (autobk_1 → replica_1)",
    ),
    (
        log("copy", replication=without("_region", "_project_id")),
        "Copy of ECS-0001 failed: No. (X.1) (autobk_1 → replica_1)",
    ),
    (
        log("replication", replication={"destination_region": "eu-nl"}),
        "Replication of ECS-0001 failed: No. (X.1) (? → eu-nl)",
    ),
    (
        log("replication", replication={"source_region": "eu-de", "destination_region": "eu-de"}),
        "Replication of ECS-0001 failed: No. (X.1) (eu-de → eu-de)",
    ),
    (
        log("replication", replication=FROM_TO | {"source_region": None}),
        f"Replication of ECS-0001 failed: No. (X.1) ({PROJECT} → {OTHER})",
    ),
    (log("replication"), "Replication of ECS-0001 failed: No. (X.1)"),
    (log("delete", delete=BACKUP), "Deletion of autobk_1 failed: No. (X.1)"),
    (log("delete", delete={"backup_id": "b1"}), "Deletion of b1 failed: No. (X.1)"),
    (log("delete"), "Deletion of ECS-0001 failed: No. (X.1)"),
    (
        log("vault_delete", "success", vault_delete={"fail_count": 2, "total_count": 1}),
        "Vault deletion of vault-daily succeeded only in part: 2 resource(s) of the vault could not be deleted "
        "(2 resource(s) failed, 1 backup(s) deleted)",
    ),
    (
        log("vault_delete", vault_delete={"fail_delete_count": "2", "total_delete_count": "9"}, vault_name=""),
        "Vault deletion of 5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11 failed: No. (X.1) "
        "(2 resource(s) failed, 9 backup(s) deleted)",
    ),
    (
        log(
            "remove_resource",
            "success",
            remove_resources={"fail_count": 3, "total_count": 0, "resources": [SERVER, {"id": "r2"}, {}]},
        ),
        "Removal of resources from vault vault-daily succeeded only in part: 3 resource(s) could not be removed from "
        "the vault (3 resource(s) failed, 0 backup(s) deleted, ECS-0001, r2, ?)",
    ),
    (
        log("remove_resource", remove_resources={"resources": [{"name": f"s{n}"} for n in range(7)]}, **NOTHING),
        "Removal of resources failed: No. (X.1) (s0, s1, s2, s3, s4, …)",
    ),
    (
        log("sync", "success", sync={"sync_backup_num": 7, "delete_backup_num": 0, "err_sync_backup_num": 3}),
        "Synchronisation of vault-daily succeeded only in part: 3 backup(s) could not be synchronised "
        "(7 synchronised, 0 deleted, 3 failed)",
    ),
    (log("sync", sync={}, vault_name=...), "Synchronisation of 5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11 failed: No. (X.1)"),
    (log("migrate_resources"), "Migration of resources of ECS-0001 failed: No. (X.1)"),
    (log("tele_port"), "tele_port of ECS-0001 failed: No. (X.1)"),
    (log(...), "Task of ECS-0001 failed: No. (X.1)"),
    (log(None, **NOTHING), f"Task of {TASK} failed: No. (X.1)"),
    (log("\u202e"), "Task of ECS-0001 failed: No. (X.1)"),
    (
        log(status="skipped"),
        "Backup of ECS-0001 was skipped: pre-checks failed: the task never started, and there is no backup",
    ),
    (
        log(status="timeout"),
        "Backup of ECS-0001 timed out: a step ran longer than the system allows, and the task was stopped",
    ),
    (log(status="success"), "Backup of ECS-0001 succeeded: the task ended without an error"),
    (log(status="running"), "Backup of ECS-0001 is running: the task is running"),
    (
        log(status="running", created_at="2026-11-21T07:00:00Z"),
        "Backup of ECS-0001 is overdue: still running at its deadline, 2026-11-22 07:00 UTC, 24 h after it was created",
    ),
    (log(status="odd"), 'Backup of ECS-0001 ended in an unknown state: the status "odd" is not known to this version'),
]


@pytest.mark.parametrize(("task", "summary"), SUMMARIES, ids=[summary[:40] for _, summary in SUMMARIES])
def test_the_summary_says_on_one_line_what_happened(task: OperationLog, summary: str) -> None:
    found = told(task)
    assert found.summary == summary
    assert found.summary.startswith(f"{found.headline}: ")


@pytest.mark.parametrize(
    ("resource", "fields", "headline"),
    [
        ({"name": "", "id": "r1"}, {}, "Backup of r1 failed"),
        ({"name": "  ", "id": "r1"}, {}, "Backup of r1 failed"),
        ({"name": None, "id": "r1"}, {}, "Backup of r1 failed"),
        ({"name": "\u202e\u2066", "id": "r1"}, {}, "Backup of r1 failed"),
        ({"name": 7}, {}, "Backup of vault-daily failed"),
        ({}, {}, "Backup of vault-daily failed"),
        (None, {"vault_name": ""}, "Backup of 5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11 failed"),
        (None, {"vault_name": ..., "vault_id": ...}, f"Backup of {TASK} failed"),
        (None, {"vault_name": ..., "vault_id": ..., "id": ...}, "Backup failed"),
        ({"name": "two\nlines <b>\u202e"}, {}, "Backup of two lines <b> failed"),
        ({"name": "x" * 300}, {}, f"Backup of {'x' * 254}… failed"),
    ],
)
def test_a_resource_without_a_name_is_called_by_what_there_is(resource: Json, fields: Json, headline: str) -> None:
    assert told(log(resource=resource, **fields)).headline == headline


def test_long_names_do_not_push_out_what_became_of_them() -> None:
    names = {"backup_name": "b" * 255, "target_resource_name": "t" * 255}
    for operation_type in ("restore", "remove_resource", "x" * 80):
        task = log(operation_type, restore=names, resource={"name": "r" * 255}, vault_name="v" * 255)
        assert told(task).headline.endswith(" failed")


# Ids


def test_the_id_is_made_of_type_and_task_alone() -> None:
    task = log()
    first = told(task)
    assert first.type == "cbr.task.failed"
    assert first.id == "msg_8e8c5df3f853995049149463bf9ad394"
    assert "." not in first.id
    later = log(updated_at="2026-11-25T00:00:00Z", error_info={}, vault_name="renamed", resource={"id": "other"})
    assert told(later).id == first.id
    assert told(log(id=OTHER)).id != first.id
    assert told(log(status="timeout")).id != first.id


def test_a_repeat_is_the_same_byte_for_byte_whenever_it_is_told() -> None:
    for status in ("failed", "skipped", "timeout", "success", "odd"):
        task = log(status=status)
        bodies = {
            default.body(
                notification.of_task(task, classify(task, RULES, now), RULES, project_id=PROJECT, region="eu-de")
            )
            for now in (NOW, NOW + timedelta(days=3))
        }
        assert len(bodies) == 1
    stuck = log(status="running", created_at="2026-11-20T07:00:00Z")
    assert told(stuck) == notification.of_task(
        stuck, classify(stuck, RULES, NOW + timedelta(hours=7)), RULES, project_id=PROJECT, region="eu-de"
    )


def test_the_number_of_a_repeat_is_part_of_the_id() -> None:
    stuck = log(status="running", created_at="2026-11-20T07:00:00Z")
    ids = [told(stuck, repeat=repeat).id for repeat in (0, 1, 2)]
    assert ids == [
        "msg_d7d1db593a3428e5eca44783a6d8e54b",
        "msg_75b7359c401df25f8c5749ca72a5ab48",
        "msg_a7890f6a51e2f1add42d0f2badc5887c",
    ]
    assert told(stuck).incident == told(stuck, repeat=2).incident


def test_the_time_is_when_the_outcome_came_about() -> None:
    assert times.iso(told(log()).timestamp) == "2026-11-23T07:30:05Z"
    stuck = told(log(status="running", created_at="2026-11-20T07:00:00Z"))
    assert times.iso(stuck.timestamp) == stuck.facts["deadline"] == "2026-11-21T07:00:00Z"


# Incidents


@pytest.mark.parametrize(
    "fields",
    [
        {"operation_type": "backup"},
        {"operation_type": "remove_resource"},
        {"operation_type": "sync", "resource": {}},
        {"operation_type": "copy", "replication": FROM_TO},
        {"operation_type": "replication", "replication": FROM_TO},
        {"operation_type": "delete", "delete": BACKUP},
        {"operation_type": "restore", "restore": BACKUP},
        {"operation_type": "teleport"},
        {"operation_type": ...},
    ],
    ids=lambda fields: str(fields["operation_type"]),
)
def test_the_next_success_of_the_same_resource_closes_what_the_failure_opened(fields: dict[str, Json]) -> None:
    failed = told(log(status="failed", **fields))
    for status in ("success", "skipped", "timeout"):
        assert told(log(status=status, id=OTHER, vault_name="renamed", **fields)).incident == failed.incident
    others = [
        told(log(status="success", **fields), project_id=OTHER),
        told(log(status="success", **{**fields, "operation_type": "another"})),
        told(log(status="success", **fields | {"resource": {"id": "r2"}})),
    ]
    assert failed.incident not in [other.incident for other in others]
    assert len(failed.incident) < 64
    assert failed.incident.startswith("inc_")


@pytest.mark.parametrize(
    ("operation_type", "block", "matters", "does_not"),
    [
        (
            "copy",
            "replication",
            ["destination_region", "destination_project_id"],
            ["source_region", "source_backup_id"],
        ),
        ("replication", "replication", ["destination_region", "destination_project_id"], ["destination_backup_id"]),
        ("delete", "delete", ["backup_id"], ["backup_name"]),
        ("restore", "restore", ["backup_id"], ["backup_name", "target_resource_id"]),
        ("backup", "backup", [], ["backup_id", "backup_name"]),
    ],
)
def test_where_the_resource_is_not_the_object_the_object_counts(
    operation_type: str, block: str, matters: list[str], does_not: list[str]
) -> None:
    def incident(**fields: str) -> str:
        blocks: dict[str, Json] = {block: {"backup_id": "b1", **FROM_TO, **fields}}
        return told(log(operation_type, **blocks)).incident

    assert [name for name in matters + does_not if incident(**{name: "another"}) != incident()] == matters


def test_an_incident_is_of_the_resource_else_of_the_vault_else_of_the_task() -> None:
    known = told(log()).incident
    vault = told(log(resource={"name": "ECS-0001"})).incident
    task = told(log(**NOTHING)).incident
    assert len({known, vault, task}) == 3
    assert told(log(vault_id="another")).incident == known
    assert told(log(resource={}, id=OTHER)).incident == vault
    assert told(log(vault_id="another", resource={})).incident != vault
    assert told(log(**NOTHING, id=OTHER)).incident != task


def test_incidents_stay_what_they_were_in_earlier_versions() -> None:
    assert [
        told(log()).incident,
        told(log("copy", replication=FROM_TO)).incident,
        told(log("restore", restore=BACKUP)).incident,
        told(log("vault_delete", resource={})).incident,
    ] == [
        "inc_b838df2f0faa8bbd19ffd41ef7fd81c9",
        "inc_cf973d12d5371b520ee5d3002a14d99b",
        "inc_0035f530eef8de0aef5d1000d45d5996",
        "inc_671cf4a2752f72ae1c15f5bbb966335d",
    ]


# What is known of a task


def test_facts_are_flat_and_hold_only_what_is_known() -> None:
    task = log(backup={"backup_name": "autobk_1"}, common={"progress": 0}, policy_id="p1")
    assert told(task).facts == {
        "operation_log_id": TASK,
        "operation_type": "backup",
        "resource_id": SERVER["id"],
        "resource_name": "ECS-0001",
        "resource_type": "OS::Nova::Server",
        "vault_id": "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11",
        "vault_name": "vault-daily",
        "policy_id": "p1",
        "error_code": "X.1",
        "error_message": "No.",
        "backup_name": "autobk_1",
        "progress": "0",
        "created_at": "2026-11-23T07:00:00Z",
        "ended_at": "2026-11-23T07:30:00Z",
    }
    assert told(log(None, "odd", created_at=..., ended_at=..., **NOTHING)).facts == {"operation_log_id": TASK}


def test_the_body_holds_the_log_as_the_api_gave_it() -> None:
    task = log(brand_new={"x": [None, "\ud800"]}, vault_name="  ")
    body = json.loads(default.body(told(task)))
    assert body["type"] == "cbr.task.failed"
    assert body["timestamp"] == "2026-11-23T07:30:05Z"
    assert body["data"] == {
        "outcome": "failed",
        "severity": "critical",
        "summary": "Backup of ECS-0001 failed: No. (X.1)",
        "reason": "No. (X.1)",
        "incident": told(task).incident,
        "region": "eu-de",
        "project_id": PROJECT,
        "operation_log": {**task.given, "brand_new": {"x": [None, "\ufffd"]}},
    }


# Where there is no log


def verdict(name: OutcomeName, reason: str = "why", at: datetime = NOW) -> Outcome:
    return Outcome(name, RULES.severity_of(name), True, at, (reason,))


def test_a_missing_task_is_told_by_its_id() -> None:
    found = of_missing(TaskRef(TASK, PROJECT), verdict(OutcomeName.MISSING), project_id=PROJECT, region="eu-de")
    assert found.headline == f"Task {TASK} is missing"
    assert found.summary == f"Task {TASK} is missing: why"
    assert found.operation_log == {"id": TASK, "project_id": PROJECT}
    assert found.facts == {"operation_log_id": TASK}
    assert found.timestamp == NOW
    assert found.id == "msg_84fdaa153d28bdb5628f20dc9c060b0b"
    again = of_missing(
        TaskRef(TASK), verdict(OutcomeName.MISSING, at=NOW + timedelta(hours=1)), project_id=None, region=None
    )
    assert again.id == found.id
    assert again.operation_log == {"id": TASK}


def test_a_hint_that_means_no_task_is_told_by_itself() -> None:
    hint = Search("alarm", "alarm al1 of ECS-0001", NOW, ("backup",), ("r1",))
    missing = verdict(OutcomeName.MISSING)
    found = of_missing(hint, missing, project_id=PROJECT, region="eu-de")
    assert found.headline == "The task of alarm al1 of ECS-0001 is missing"
    assert found.operation_log == {"project_id": PROJECT}
    assert found.facts == {"operation_type": "backup"}
    other = of_missing(
        hint._replace(subject="alarm al2"), verdict(OutcomeName.MISSING), project_id=PROJECT, region=None
    )
    assert other.id != found.id


def unverified(
    cause: str = "credentials", project_id: str | None = PROJECT, now: datetime = NOW, **fields: Json
) -> Notification:
    return of_unverified(
        cause,
        "Backups cannot be verified",
        verdict(OutcomeName.UNVERIFIED, **fields),
        slot=notification.slot(now),
        task_id=TASK,
        project_id=project_id,
        region="eu-de",
    )


def test_blindness_is_one_message_a_cause_a_project_and_six_hours() -> None:
    first = unverified()
    assert first.id == "msg_84874c46a25a4e110f4e8a6a9d391aa3"
    assert first.headline == "Backups cannot be verified"
    assert first.summary == "Backups cannot be verified: why"
    assert first.operation_log == {"id": TASK, "project_id": PROJECT}
    assert unverified(reason="other words", at=NOW - timedelta(days=2)).id == first.id
    assert unverified(now=NOW + timedelta(hours=3, minutes=59)).id == first.id
    later = unverified(now=NOW + timedelta(hours=4))
    others = [unverified("endpoint"), unverified(project_id=OTHER), unverified(project_id=None)]
    assert len({first.id, later.id, *(other.id for other in others)}) == 5
    assert later.incident == first.incident, "it is the same trouble, still"
    assert first.incident not in {other.incident for other in others}


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-23T05:59:59.999+00:00", "2026-11-23T00:00:00+00:00"),
        ("2026-11-23T06:00:00+00:00", "2026-11-23T06:00:00+00:00"),
        ("2026-11-23T08:00:00+02:00", "2026-11-23T06:00:00+00:00"),
        ("2026-11-23T23:59:59+00:00", "2026-11-23T18:00:00+00:00"),
    ],
)
def test_six_hours_are_counted_from_midnight_in_utc(now: str, start: str) -> None:
    assert notification.slot(datetime.fromisoformat(now)) == datetime.fromisoformat(start)


def test_two_tasks_without_an_id_are_two_messages() -> None:
    first, second = (told(OperationLog.read({"status": "failed", "vault_id": vault})) for vault in ("a", "b"))
    assert first.id != second.id
    assert first.id == told(OperationLog.read({"vault_id": "a", "status": "failed"})).id
