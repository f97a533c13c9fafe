"""What is told: one message for all channels, made of the operation log alone, so that a repeat is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from vaultbell import times
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.events import Search, TaskRef
from vaultbell.outcome import Outcome, OutcomeName, Rules, deadline_of
from vaultbell.report import Object
from vaultbell.text import one_line

NAME_LIMIT = 255
SLOT_SECONDS = 6 * 3600

TITLES = {
    "backup": "Backup",
    "copy": "Copy",
    "replication": "Replication",
    "restore": "Restore",
    "delete": "Deletion",
    "sync": "Synchronisation",
    "vault_delete": "Vault deletion",
    "remove_resource": "Removal of resources",
    "migrate_resources": "Migration of resources",
}
VERBS = {
    OutcomeName.SUCCEEDED: "succeeded",
    OutcomeName.PARTIAL: "succeeded only in part",
    OutcomeName.SKIPPED: "was skipped",
    OutcomeName.FAILED: "failed",
    OutcomeName.TIMED_OUT: "timed out",
    OutcomeName.RUNNING: "is running",
    OutcomeName.OVERDUE: "is overdue",
    OutcomeName.UNKNOWN: "ended in an unknown state",
}


@dataclass(frozen=True, slots=True)
class Notification:
    """One message.

    `headline` is "Backup of ECS-0001 failed", `summary` the same with its details and the reason, each one line.
    `facts` are the flat fields that routes match on and messages show; one that is not known is not in it.
    """

    id: str
    type: str
    timestamp: datetime
    outcome: str
    severity: str
    headline: str
    summary: str
    reason: str
    incident: str
    project_id: str | None
    region: str | None
    facts: Mapping[str, str]
    operation_log: Object


def of_task(
    log: OperationLog, outcome: Outcome, rules: Rules, *, project_id: str, region: str | None, repeat: int = 0
) -> Notification:
    """The message about a task that was looked up. `repeat`: how often an overdue task has been told before."""
    headline = f"{what(log)} {VERBS[outcome.name]}"
    details = _details(log)
    return _notification(
        outcome,
        subject=f"{log.id}:{repeat}" if repeat else log.id or "",
        headline=headline,
        summary=f"{headline}: {outcome.reason}{f' ({details})' if details else ''}",
        incident=incident(log, project_id),
        project_id=project_id,
        region=region,
        facts=_facts(log, outcome, rules),
        operation_log=log.given,
    )


def of_missing(hint: TaskRef | Search, outcome: Outcome, *, project_id: str | None, region: str | None) -> Notification:
    """The message about a hint for which the API knows no task. Its subject is the task's id, or the hint itself."""
    if isinstance(hint, TaskRef):
        subject, headline = hint.operation_log_id, f"Task {hint.operation_log_id} is missing"
        facts = {"operation_log_id": hint.operation_log_id}
    else:
        subject, headline = hint.subject, f"The task of {hint.subject} is missing"
        facts = {"operation_type": hint.operation_types[0]} if hint.operation_types else {}
    return _notification(
        outcome,
        subject=subject,
        headline=headline,
        summary=f"{headline}: {outcome.reason}",
        incident=_incident(project_id, None, subject),
        project_id=project_id,
        region=region,
        facts=facts,
        operation_log=_ids(facts.get("operation_log_id"), project_id),
    )


def of_unverified(
    cause: str,
    headline: str,
    outcome: Outcome,
    *,
    slot: datetime,
    task_id: str | None,
    project_id: str | None,
    region: str | None,
) -> Notification:
    """The message that says that we cannot see: the same for a cause, a project and the six hours from `slot` on."""
    return _notification(
        outcome,
        subject=f"{cause}:{project_id}:{times.iso(slot)}",
        headline=headline,
        summary=f"{headline}: {outcome.reason}",
        incident=_incident(project_id, "unverified", cause),
        project_id=project_id,
        region=region,
        facts={"error_message": outcome.reason},
        operation_log=_ids(task_id, project_id),
    )


def slot(now: datetime) -> datetime:
    """The start of the six hours that `now` lies in, counted from the epoch."""
    stamp = int(now.timestamp())
    return datetime.fromtimestamp(stamp - stamp % SLOT_SECONDS, UTC)


def incident(log: OperationLog, project_id: str) -> str:
    """The key that a failure and the success that ends it have in common.

    Made of project, operation type, resource (else vault, else task), and of the object where the resource is not
    the object: where a copy or replication goes to, which backup a delete or restore is about.
    """
    extra = log.extra_info
    target = ""
    match log.operation_type:
        case "copy" | "replication":
            goes_to = extra.replication
            target = f"{goes_to.destination_region or ''}/{goes_to.destination_project_id or ''}"
        case "delete":
            target = extra.delete.backup_id or ""
        case "restore":
            target = extra.restore.backup_id or ""
    return _incident(project_id, log.operation_type, extra.resource.id or log.vault_id or log.id, target)


def _incident(*parts: str | None) -> str:
    return "inc_" + _digest(*parts)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256("\x00".join(part or "" for part in parts).encode(errors="replace")).hexdigest()[:32]


def _notification(
    outcome: Outcome,
    *,
    subject: str,
    headline: str,
    summary: str,
    incident: str,
    project_id: str | None,
    region: str | None,
    facts: Mapping[str, str],
    operation_log: Object,
) -> Notification:
    kind = f"cbr.task.{outcome.name}"
    return Notification(
        id=f"msg_{_digest(kind, subject)}",
        type=kind,
        timestamp=outcome.at,
        outcome=outcome.name.value,
        severity=outcome.severity,
        headline=one_line(headline, NAME_LIMIT + 100),
        summary=one_line(summary, 2_000),
        reason=one_line(outcome.reason),
        incident=incident,
        project_id=project_id,
        region=region,
        facts=facts,
        operation_log=operation_log,
    )


def _ids(task_id: str | None, project_id: str | None) -> Object:
    return {key: value for key, value in (("id", task_id), ("project_id", project_id)) if value}


def what(log: OperationLog) -> str:
    """In the words of the operation type: "Backup of ECS-0001". A type that is not known is told as it stands."""
    extra = log.extra_info
    kind = log.operation_type or "Task"
    title = TITLES.get(kind, one_line(kind, 64))
    resource = extra.resource.name or extra.resource.id
    vault = log.vault_name or log.vault_id
    match kind:
        case "restore":
            source, target = extra.restore.backup_name or extra.restore.backup_id, _target(log) or resource
            name = f"{source} → {target}" if source and target else source or target
        case "delete":
            name = extra.delete.backup_name or extra.delete.backup_id or resource
        case "vault_delete" | "sync":
            name = vault
        case "remove_resource":
            name = None if not vault else f"vault {vault}"
            return f"{title} from {one_line(name, NAME_LIMIT)}" if name else title
        case _:
            name = resource
    name = name or vault or log.id
    return f"{title} of {one_line(name, NAME_LIMIT)}" if name else title


def _target(log: OperationLog) -> str | None:
    restore = log.extra_info.restore
    return restore.target_resource_name or restore.target_resource_id


def _details(log: OperationLog) -> str:
    """What a reader wants to know of this operation type: full or incremental, from where to where, how many."""
    extra = log.extra_info
    find: dict[str, Callable[[], list[str | None]]] = {
        "backup": lambda: [
            {True: "incremental", False: "full", None: None}[extra.backup.incremental],
            None if extra.common.progress is None else f"at {extra.common.progress} %",
        ],
        "copy": lambda: [_from_to(log)],
        "replication": lambda: [_from_to(log)],
        "vault_delete": lambda: [
            _counts(
                (extra.vault_delete.fail_count, extra.vault_delete.fail_delete_count),
                (extra.vault_delete.total_count, extra.vault_delete.total_delete_count),
            )
        ],
        "remove_resource": lambda: [
            _counts((extra.remove_resources.fail_count,), (extra.remove_resources.total_count,)),
            ", ".join(one_line(item.name or item.id or "?", 64) for item in extra.remove_resources.resources[:5]),
        ],
        "sync": lambda: [
            _number(extra.sync.sync_backup_num, "synchronised"),
            _number(extra.sync.delete_backup_num, "deleted"),
            _number(extra.sync.err_sync_backup_num, "failed"),
        ],
    }
    parts = find[log.operation_type]() if log.operation_type in find else []
    return ", ".join(part for part in parts if part)


def _from_to(log: OperationLog) -> str | None:
    goes = log.extra_info.replication
    source, target = goes.source_region, goes.destination_region
    return f"{one_line(source or '?', 64)} → {one_line(target or '?', 64)}" if source or target else None


def _counts(failed: tuple[int | None, ...], total: tuple[int | None, ...]) -> str:
    """Resources that failed, and backups deleted: different things, so never a ratio."""
    first = _number(next((count for count in failed if count is not None), None), "resource(s) failed")
    second = _number(next((count for count in total if count is not None), None), "backup(s) deleted")
    return ", ".join(part for part in (first, second) if part)


def _number(count: int | None, words: str) -> str | None:
    return None if count is None else f"{count} {words}"


def _facts(log: OperationLog, outcome: Outcome, rules: Rules) -> Mapping[str, str]:
    extra = log.extra_info
    deadline = deadline_of(log, rules) if outcome.name is OutcomeName.OVERDUE else None
    known = {
        "operation_log_id": log.id,
        "operation_type": log.operation_type,
        "resource_id": extra.resource.id,
        "resource_name": extra.resource.name,
        "resource_type": extra.resource.type,
        "vault_id": log.vault_id,
        "vault_name": log.vault_name,
        "policy_id": log.policy_id,
        "error_code": log.error_info.code,
        "error_message": log.error_info.message,
        "backup_name": extra.backup.backup_name or extra.restore.backup_name or extra.delete.backup_name,
        "progress": None if extra.common.progress is None else str(extra.common.progress),
        "created_at": log.created_at and times.iso(log.created_at),
        "started_at": log.started_at and times.iso(log.started_at),
        "ended_at": log.ended_at and times.iso(log.ended_at),
        "deadline": deadline and times.iso(deadline),
    }
    return {key: value for key, value in known.items() if value}
