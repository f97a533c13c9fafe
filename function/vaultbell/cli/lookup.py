"""Look a task up and classify it; nobody is told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from vaultbell import compose, notification, settings, times
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cli import saved
from vaultbell.cli.terminal import facts
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import Misconfigured, SettingsError, TaskMissing, Transient, VaultbellError
from vaultbell.events import TaskRef
from vaultbell.handling import Handling
from vaultbell.history import History
from vaultbell.inbound import allowed
from vaultbell.outcome import NO_TIME, Outcome, OutcomeName, classify
from vaultbell.past import Past, tempered
from vaultbell.ringing import Case
from vaultbell.sources import plain

GOOD = (OutcomeName.SUCCEEDED, OutcomeName.RUNNING)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("task_id", metavar="TASK_ID", nargs="?", help="the operation log's id, a UUID")
    parser.add_argument("--project", metavar="ID", help="the task's project (default: each of VAULTBELL_PROJECTS)")
    saved.log_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: it went well, or still runs; 1: it did not, or the API knows no such task; 3: it could not be found out."""
    if bool(options.task_id) == bool(options.log):
        raise SettingsError("either TASK_ID or --log is wanted")
    bell = compose.bell(settings.load(environ, tells=False, looks=not options.log))
    if options.log:
        return _saved(bell, options)
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
        history = History(Handling(bell, bell.cbr, budget, leave=True))
        (before,) = history.pasts([Case(project, log, outcome)]) if outcome.name not in GOOD else (None,)
        _print(log, outcome, project.project_id, before, as_json=options.json)
        return 0 if outcome.name in GOOD else 1
    if fault:
        raise fault
    return _missing(bell, task.operation_log_id, task.project_id, options)


def _saved(bell: Bell, options: argparse.Namespace) -> int:
    """The same of a task that the API has shown before; of several, of the first one."""
    found = saved.logs_in(options.log)
    if not found.logs:
        return _missing(bell, None, None, options)
    log = found.logs[0]
    outcome = classify(log, bell.rules, found.at or datetime.now(UTC))
    _print(log, outcome, log.project_id, found.past, as_json=options.json)
    return 0 if outcome.name in GOOD else 1


def _missing(bell: Bell, task_id: str | None, project_id: str | None, options: argparse.Namespace) -> int:
    missing, reason = OutcomeName.MISSING, "the API knows no such task"
    outcome = Outcome(missing, bell.rules.severity_of(missing), bell.rules.rings(missing), NO_TIME, (reason,))
    _print(OperationLog.read({"id": task_id}), outcome, project_id, None, as_json=options.json)
    return 1


def _print(log: OperationLog, outcome: Outcome, project_id: str | None, before: Past | None, *, as_json: bool) -> None:
    outcome = tempered(outcome, before)
    if as_json:
        verdict = {"outcome": outcome.name, "severity": outcome.severity, "reason": outcome.reason}
        print(json.dumps({**verdict, "operation_log": log.given, **(before.data() if before else {})}, indent=2))
        return
    resource = log.extra_info.resource
    rows: dict[str, str | None] = {
        "task": log.id,
        "project": project_id,
        "outcome": f"{outcome.name} ({outcome.severity})",
        "reason": outcome.reason,
        "past": before.words(log.operation_type, outcome.at) if before else None,
        "what": log.operation_type and notification.what(log),
        "resource": " ".join(part for part in (resource.name, resource.id, resource.type) if part),
        "vault": " ".join(part for part in (log.vault_name, log.vault_id) if part),
        "created": _plain(log.created_at),
        "started": _plain(log.started_at),
        "ended": _plain(log.ended_at),
    }
    for line in facts(rows.items(), severity=outcome.severity):
        print(line)


def _plain(at: datetime | None) -> str | None:
    return times.plain(at) if at else None
