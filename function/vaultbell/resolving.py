"""What a success closes: the failure before it, found in the task list, so that nobody has to remember it."""

from __future__ import annotations

from collections.abc import Sequence

from vaultbell import notification, past
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME, Outcome, OutcomeName, came_about, classify, was_overdue
from vaultbell.past import Ended, Past
from vaultbell.sweep import UNFINISHED
from vaultbell.text import whole

# The types that the list can be narrowed to ("Querying the Task List", table 2).
LISTED_TYPES = ("backup", "delete", "restore", "vault_delete", "remove_resource", "sync")


def failure_before(bell: Bell, cbr: Cbr, project: Project, task: OperationLog, budget: Budget) -> Notification | None:
    """The message that this success is the answer to; None where nobody was told of anything.

    Either the task itself had been overdue; or one of the same incident that was created and had ended before it had
    rung, and no success has closed that since: as a rule the newest, else one that hung while newer ones went well.
    Raises Transient and Misconfigured where the list cannot be read.
    """
    since = was_overdue(task, bell.rules)
    if since and bell.rules.rings(OutcomeName.OVERDUE):
        severity = bell.rules.severity_of(OutcomeName.OVERDUE)
        return _told(bell, cbr, project, task, Outcome(OutcomeName.OVERDUE, severity, True, since, ()))
    now, end = bell.now(), task.ended_at or came_about(task)
    logs = _ended_before(cbr, project, task, budget)
    ended = [(one, log) for log in logs if (one := Ended.of(log, bell.rules, now)) and one.ended_at <= end]
    last_good = NO_TIME
    for one, log in sorted(ended, key=lambda pair: pair[0].created_at, reverse=True):
        outcome = classify(log, bell.rules, now)
        if one.good:
            last_good = max(last_good, one.ended_at)
        elif outcome.rings and one.ended_at > last_good:
            return _told(bell, cbr, project, log, outcome, past.of(log, outcome, (other for other, _ in ended)))
    return None


def query_of(task: OperationLog) -> Query | None:
    """The narrowest list that all tasks of the same incident stand in; None where nothing narrows it."""
    resource, vault = task.extra_info.resource.id, task.vault_id
    name = resource or vault
    if not name or whole(name) != name:  # half a surrogate pair cannot be asked for
        return None
    kind = task.operation_type if task.operation_type in LISTED_TYPES else None
    return Query(operation_type=kind, resource_id=resource, vault_id=None if resource else vault)


def _ended_before(cbr: Cbr, project: Project, task: OperationLog, budget: Budget) -> Sequence[OperationLog]:
    """The ended tasks of the same incident that were created before this one, each once."""
    created, query = task.created_at, query_of(task)
    if created is None or query is None:
        return ()
    incident = notification.incident(task, project.project_id)
    found: dict[object, OperationLog] = {}
    for log in cbr.list(project, query, budget):
        older = log.created_at is not None and log.created_at < created and log.id != task.id
        if older and log.status not in UNFINISHED and notification.incident(log, project.project_id) == incident:
            found[log.id or log.created_at] = log
    return tuple(found.values())


def _told(
    bell: Bell, cbr: Cbr, project: Project, task: OperationLog, outcome: Outcome, before: Past | None = None
) -> Notification:
    region = project.region or cbr.endpoints.region
    return notification.of_task(task, outcome, bell.rules, project_id=project.project_id, region=region, past=before)
