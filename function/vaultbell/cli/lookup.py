"""Look a task up and classify it; nobody is told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from vaultbell import compose, notification, settings, times
from vaultbell.budget import Budget
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import Misconfigured, TaskMissing, Transient, VaultbellError
from vaultbell.events import TaskRef
from vaultbell.inbound import allowed
from vaultbell.outcome import NO_TIME, Outcome, OutcomeName, classify
from vaultbell.sources import plain
from vaultbell.text import one_line

GOOD = (OutcomeName.SUCCEEDED, OutcomeName.RUNNING)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("task_id", metavar="TASK_ID", help="the operation log's id, a UUID")
    parser.add_argument("--project", metavar="ID", help="the task's project (default: each of VAULTBELL_PROJECTS)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: it went well, or is still running; 1: it did not, or the API knows no such task."""
    bell = compose.bell(settings.load(environ, tells=False))
    task = TaskRef(plain.task_id(options.task_id), plain.project_id(options.project))
    budget = Budget.of(30.0)
    fault: VaultbellError | None = None
    for project in allowed(task.project_id, None, bell.projects.all(budget), bell.cbr.endpoints.region):
        try:
            log = bell.cbr.show(project, task.operation_log_id, budget)
        except TaskMissing:
            continue
        except (Transient, Misconfigured) as error:
            fault = error  # another project may have it
            continue
        outcome = classify(log, bell.rules, datetime.now(UTC))
        _print(log, outcome, project.project_id, as_json=options.json)
        return 0 if outcome.name in GOOD else 1
    if fault:
        raise fault
    missing, reason = OutcomeName.MISSING, "the API knows no such task"
    outcome = Outcome(missing, bell.rules.severity_of(missing), bell.rules.rings(missing), NO_TIME, (reason,))
    _print(OperationLog.read({"id": task.operation_log_id}), outcome, task.project_id, as_json=options.json)
    return 1


def _print(log: OperationLog, outcome: Outcome, project_id: str | None, *, as_json: bool) -> None:
    if as_json:
        verdict = {"outcome": outcome.name, "severity": outcome.severity, "reason": outcome.reason}
        print(json.dumps({**verdict, "operation_log": log.given}, indent=2))
        return
    resource = log.extra_info.resource
    rows = {
        "task": log.id,
        "project": project_id,
        "outcome": f"{outcome.name} ({outcome.severity})",
        "reason": outcome.reason,
        "what": log.operation_type and notification.what(log),
        "resource": " ".join(part for part in (resource.name, resource.id, resource.type) if part),
        "vault": " ".join(part for part in (log.vault_name, log.vault_id) if part),
        "created": log.created_at and times.plain(log.created_at),
        "started": log.started_at and times.plain(log.started_at),
        "ended": log.ended_at and times.plain(log.ended_at),
    }
    for name, value in rows.items():
        if value:
            print(f"{name:9} {one_line(value)}")
