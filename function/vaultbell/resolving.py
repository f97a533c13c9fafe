"""What a success closes: the failure before it, found in the task list, so that nobody has to remember it."""

from __future__ import annotations

from datetime import datetime

from vaultbell import notification
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.outcome import Outcome, OutcomeName, classify, was_overdue
from vaultbell.sweep import UNFINISHED

# The types that the list can be narrowed to ("Querying the Task List", table 2).
LISTED_TYPES = ("backup", "delete", "restore", "vault_delete", "remove_resource", "sync")


def failure_before(bell: Bell, cbr: Cbr, project: Project, task: OperationLog, budget: Budget) -> Notification | None:
    """The message that this success is the answer to; None where nobody was told of anything.

    Either the task itself had been overdue, or the newest ended task of the same incident that was created before it
    had rung. Raises Transient and Misconfigured where the list cannot be read.
    """
    since = was_overdue(task, bell.rules)
    if since and bell.rules.rings(OutcomeName.OVERDUE):
        severity = bell.rules.severity_of(OutcomeName.OVERDUE)
        return _told(bell, cbr, project, task, Outcome(OutcomeName.OVERDUE, severity, True, since, ()))
    before = _ended_before(cbr, project, task, budget)
    outcome = classify(before, bell.rules, bell.now()) if before else None
    bad = outcome is not None and outcome.rings and outcome.name is not OutcomeName.SUCCEEDED
    return _told(bell, cbr, project, before, outcome) if before and outcome and bad else None


def _ended_before(cbr: Cbr, project: Project, task: OperationLog, budget: Budget) -> OperationLog | None:
    """The newest ended task of the same incident that was created before this one."""
    created, resource = task.created_at, task.extra_info.resource.id
    if created is None or not (resource or task.vault_id):
        return None
    incident = notification.incident(task, project.project_id)
    kind = task.operation_type if task.operation_type in LISTED_TYPES else None
    query = Query(operation_type=kind, resource_id=resource, vault_id=None if resource else task.vault_id)
    newest: tuple[datetime, OperationLog] | None = None
    for log in cbr.list(project, query, budget):
        older = log.created_at if log.status not in UNFINISHED and log.id != task.id else None
        if older is None or older >= created or (newest and older <= newest[0]):
            continue
        if notification.incident(log, project.project_id) == incident:
            newest = older, log
    return newest[1] if newest else None


def _told(bell: Bell, cbr: Cbr, project: Project, task: OperationLog, outcome: Outcome) -> Notification:
    region = project.region or cbr.endpoints.region
    return notification.of_task(task, outcome, bell.rules, project_id=project.project_id, region=region)
