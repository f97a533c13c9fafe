"""What is told: one message for all channels, made of the operation log and those before it: a repeat is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from vaultbell import advice, times
from vaultbell.cloud.operation_log import OperationLog, Replication, Resource
from vaultbell.events import Search, TaskRef
from vaultbell.outcome import Outcome, OutcomeName, Rules, deadline_of
from vaultbell.past import Past
from vaultbell.report import Object
from vaultbell.text import ELLIPSIS, cut, one_line

if TYPE_CHECKING:
    from vaultbell.tally import Tally

NAME_LIMIT = 255
SUMMARY_LIMIT = 2_000
LEVELS = ("critical", "warning", "info")  # severities, the worst first
NAMES_MOST = 5
SLOT_SECONDS = 6 * 3600
STALE = "cbr.backup.stale"

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
    OutcomeName.STALE: "is too long ago",
    OutcomeName.UNKNOWN: "ended in an unknown state",
}


class Notification(NamedTuple):
    """One message.

    `headline` is "Backup of ECS-0001 failed", `summary` the same with its details and the reason, each one line.
    `facts` are the flat fields that routes match on and messages show; one that is not known is not in it.
    `resolves` names what a success closes; `members` are those that a digest or a roll call stands for; `past` is what
    went before, where that was asked for and found out; `tally` are the figures of a roll call.
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
    resolves: Object | None = None
    members: tuple[Notification, ...] = ()
    past: Past | None = None
    tally: Tally | None = None

    @property
    def recovered(self) -> bool:
        """Whether what is told has been made good since."""
        return self.past is not None and self.past.recovered


def of_task(
    log: OperationLog,
    outcome: Outcome,
    rules: Rules,
    *,
    project_id: str,
    region: str | None,
    repeat: int = 0,
    past: Past | None = None,
) -> Notification:
    """The message about a task that was looked up. `repeat`: how often an overdue task has been told before."""
    return _notification(
        outcome,
        # a row of a list that has no id is named by all that it says
        subject=f"{log.id}:{repeat}" if repeat else log.id or json.dumps(log.given, sort_keys=True),
        headline=f"{what(log)} {VERBS[outcome.name]}",
        details=_details(log),
        incident=incident(log, project_id),
        project_id=project_id,
        region=region,
        facts=_facts(log, outcome, rules),
        operation_log=log.given,
        past=past,
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
        incident=_incident(project_id, None, subject),
        project_id=project_id,
        region=region,
        facts=facts,
        operation_log=_ids(facts.get("operation_log_id"), project_id),
    )


def of_stale(
    about: OperationLog,
    outcome: Outcome,
    rules: Rules,
    *,
    slot: datetime,
    headline: str,
    project_id: str,
    region: str | None,
    facts: Mapping[str, str],
    past: Past,
) -> Notification:
    """The message that a resource has had no good backup for too long: the same for the resource and a time slot.

    `about` holds what is known of it, as the record of a backup would; a success of it closes what this opens.
    """
    return _notification(
        outcome,
        kind=STALE,
        subject=f"{project_id}:{about.extra_info.resource.id}:{times.iso(slot)}",
        headline=headline,
        incident=incident(about, project_id),
        project_id=project_id,
        region=region,
        facts={**_facts(about, outcome, rules), **facts},
        operation_log=about.given,
        past=past,
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
        incident=_incident(project_id, "unverified", cause),
        project_id=project_id,
        region=region,
        facts={"error_message": outcome.reason}
        | ({"next_step": advice.UNREADABLE_ALARM} if cause.startswith("alarm:") else {}),
        operation_log=_ids(task_id, project_id),
    )


def of_resolved(told: Notification, failure: Notification) -> Notification:
    """The message that a success (`told` is what would be said of it) closes what `failure` told of."""
    kind = "cbr.task.resolved"
    reason = f"this closes: {failure.headline} ({times.plain(failure.timestamp)})"
    return told._replace(
        id=f"msg_{key(kind, told.facts.get('operation_log_id'))}",
        type=kind,
        severity="info",
        summary=one_line(f"{told.headline}: {reason}", SUMMARY_LIMIT),
        reason=one_line(reason),
        resolves={"id": failure.id, "type": failure.type, "operation_log_id": failure.facts.get("operation_log_id")},
    )


def of_members(kind: str, members: Sequence[Notification], *, headline: str, reason: str) -> Notification:
    """The one message about many; its severity and its time are the worst and the latest of theirs."""
    ids = sorted(member.id for member in members)
    projects, regions = ({getattr(member, name) for member in members} for name in ("project_id", "region"))
    return Notification(
        id=f"msg_{key(kind, *ids)}",
        type=kind,
        timestamp=max(member.timestamp for member in members),
        outcome="digest",
        severity=min((member.severity for member in members), key=LEVELS.index),
        headline=one_line(headline, NAME_LIMIT + 100),
        summary=one_line(f"{headline}: {reason}", SUMMARY_LIMIT),
        reason=one_line(reason),
        incident=_incident(None, kind, *ids),
        project_id=projects.pop() if len(projects) == 1 else None,
        region=regions.pop() if len(regions) == 1 else None,
        facts={},
        operation_log={},
        members=tuple(members),
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
    return "inc_" + key(*parts)


def key(*parts: str | None) -> str:
    """What ids are made of: the same for the same parts, and for no others."""
    return hashlib.sha256("\x00".join(part or "" for part in parts).encode(errors="replace")).hexdigest()[:32]


def _notification(
    outcome: Outcome,
    *,
    kind: str = "",
    subject: str,
    headline: str,
    details: str = "",
    incident: str,
    project_id: str | None,
    region: str | None,
    facts: Mapping[str, str],
    operation_log: Object,
    past: Past | None = None,
) -> Notification:
    kind, before = kind or f"cbr.task.{outcome.name}", ""
    if past:
        before = f"; {past.words(facts.get('operation_type'), outcome.at)}"
        facts = {**facts, **past.facts(outcome.at)}
        if past.recovered:
            headline, facts = f"{headline}, since recovered", {**facts, "next_step": advice.RECOVERED}
    return Notification(
        id=f"msg_{key(kind, subject)}",
        type=kind,
        timestamp=outcome.at,
        outcome=outcome.name.value,
        severity=outcome.severity,
        headline=one_line(headline, NAME_LIMIT + 100),
        summary=one_line(f"{headline}: {outcome.reason}{f' ({details})' if details else ''}{before}", SUMMARY_LIMIT),
        reason=one_line(outcome.reason),
        incident=incident,
        project_id=project_id,
        region=region,
        facts=facts,
        operation_log=operation_log,
        past=past,
    )


def _ids(task_id: str | None, project_id: str | None) -> Object:
    return {key: value for key, value in (("id", task_id), ("project_id", project_id)) if value}


def what(log: OperationLog) -> str:
    """In the words of the operation type: "Backup of ECS-0001". A type that is not known is told as it stands."""
    extra = log.extra_info
    title = TITLES.get(log.operation_type or "") or cut(_shown(log.operation_type) or "Task", 64)
    resource, vault = _shown(extra.resource.name, extra.resource.id), _shown(log.vault_name, log.vault_id)
    match log.operation_type:
        case "restore":
            restore = extra.restore
            target = _shown(restore.target_resource_name, restore.target_resource_id) or resource
            name = " → ".join(end for end in (_shown(restore.backup_name, restore.backup_id), target) if end)
        case "delete":
            name = _shown(extra.delete.backup_name, extra.delete.backup_id) or resource
        case "vault_delete" | "sync":
            name = vault
        case "remove_resource":
            return f"{title} from vault {vault}" if vault else title
        case _:
            name = resource
    name = name or vault or log.id or ""
    return f"{title} of {cut(name, NAME_LIMIT)}" if name else title


def _shown(*texts: str | None) -> str:
    """The first of the texts of which something can be shown, on one line."""
    return next((shown for text in texts if text and (shown := one_line(text, NAME_LIMIT))), "")


def _details(log: OperationLog) -> str:
    """What a reader wants to know of this operation type: full or incremental, from where to where, how many."""
    extra = log.extra_info
    parts: tuple[str | None, ...] = ()
    match log.operation_type:
        case "backup":
            progress = extra.common.progress
            kind = {True: "incremental", False: "full", None: None}[extra.backup.incremental]
            parts = kind, None if progress is None else f"at {progress} %"
        case "copy" | "replication":
            parts = (_from_to(extra.replication),)
        case "vault_delete":
            parts = _counts(extra.vault_delete.failed, extra.vault_delete.total)
        case "remove_resource":
            removed = extra.remove_resources
            parts = *_counts(removed.fail_count, removed.total_count), _names(removed.resources)
        case "sync":
            parts = (
                _number(extra.sync.sync_backup_num, "synchronised"),
                _number(extra.sync.delete_backup_num, "deleted"),
                _number(extra.sync.err_sync_backup_num, "failed"),
            )
    return ", ".join(part for part in parts if part)


def _from_to(goes: Replication) -> str | None:
    """From where to where: the regions; where they tell no difference, the projects; else the backups."""
    pairs = (
        (goes.source_region, goes.destination_region),
        (goes.source_project_id, goes.destination_project_id),
        (goes.source_backup_name, goes.destination_backup_name),
    )
    known = [pair for pair in pairs if any(pair)]
    ends = next((pair for pair in known if all(pair) and pair[0] != pair[1]), known[0] if known else None)
    return ends and " → ".join(one_line(end or "?", 64) for end in ends)


def _counts(failed: int | None, total: int | None) -> tuple[str | None, str | None]:
    """Resources that failed, and backups deleted: different things, so never a ratio."""
    return _number(failed, "resource(s) failed"), _number(total, "backup(s) deleted")


def _names(resources: Sequence[Resource]) -> str:
    names = [_shown(item.name, item.id) or "?" for item in resources[:NAMES_MOST]]
    return ", ".join([*(cut(name, 64) for name in names), *([ELLIPSIS] if len(resources) > NAMES_MOST else [])])


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
