"""What it means: the verdict on an operation log, with the fields that decided it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from vaultbell import times
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.text import one_line

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
NO_ERROR = (None, "0")  # recorded backups write "0" where application consistency has no error


class OutcomeName(StrEnum):
    """The words for an outcome, as reports, routes and messages use them."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    SKIPPED = "skipped"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    RUNNING = "running"
    OVERDUE = "overdue"
    STALE = "stale"  # of a resource, not of a task: its last good backup is too old
    UNKNOWN = "unknown"
    MISSING = "missing"
    UNVERIFIED = "unverified"


class Rules(Protocol):
    """What the settings say of outcomes."""

    def rings(self, outcome: str) -> bool:
        """Whether this outcome is told."""

    def severity_of(self, outcome: str) -> str:
        """critical, warning or info."""

    def deadline_of(self, operation_type: str | None) -> timedelta:
        """How long such a task may run, from its start (or creation) on."""


class Outcome(NamedTuple):
    """A verdict. `at` is when it came about (not when we looked); `evidence` the deciding fields, in words."""

    name: OutcomeName
    severity: str
    rings: bool
    at: datetime
    evidence: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The evidence as one line."""
        return "; ".join(self.evidence)


def classify(log: OperationLog, rules: Rules, now: datetime) -> Outcome:
    """The outcome of a task. The clock decides one thing only: whether a task that has not ended is overdue."""
    at = came_about(log)
    match log.status:
        case "success":
            failures = tuple(_failed_parts(log))
            name = OutcomeName.PARTIAL if failures else OutcomeName.SUCCEEDED
            evidence = failures or ("the task ended without an error",)
        case "failed":
            name, evidence = OutcomeName.FAILED, (error_of(log) or "the API gives no reason",)
        case "timeout":
            words = "a step ran longer than the system allows, and the task was stopped"
            name, evidence = OutcomeName.TIMED_OUT, _with_error(log, words)
        case "skipped":
            words = "pre-checks failed: the task never started, and there is no backup"
            name, evidence = OutcomeName.SKIPPED, _with_error(log, words)
        case "running" | "waiting" as status:
            deadline = deadline_of(log, rules)
            if deadline and now >= deadline:
                length = times.span(rules.deadline_of(log.operation_type))
                began = "started" if log.started_at else "was created"
                words = f"still {status} at its deadline, {times.plain(deadline)}, {length} after it {began}"
                name, at, evidence = OutcomeName.OVERDUE, deadline, _with_error(log, words)
            else:
                name, evidence = OutcomeName.RUNNING, (f"the task is {status}",)
        case None:
            name, evidence = OutcomeName.UNKNOWN, _with_error(log, "the task has no status that can be read")
        case status:
            words = f'the status "{one_line(status, 64)}" is not known to this version'
            name, evidence = OutcomeName.UNKNOWN, _with_error(log, words)
    return Outcome(name, rules.severity_of(name), rules.rings(name), at, evidence)


def came_about(log: OperationLog) -> datetime:
    """When the task came to be as it is: the later of its end and its last change, else its beginning."""
    known = [time for time in (log.ended_at, log.updated_at) if time]
    return max(known) if known else log.started_at or log.created_at or NO_TIME


def deadline_of(log: OperationLog, rules: Rules) -> datetime | None:
    """When an unfinished task becomes overdue; None where the API does not say when it began."""
    began = log.started_at or log.created_at
    return began + rules.deadline_of(log.operation_type) if began else None


def was_overdue(log: OperationLog, rules: Rules) -> datetime | None:
    """Since when a task that has ended had been overdue (it may have waited too long to start); None: it had not."""
    ended, length = log.ended_at or came_about(log), rules.deadline_of(log.operation_type)
    spans = ((log.created_at, log.started_at), (log.started_at or log.created_at, ended))
    return next((began + length for began, until in spans if began and until and began + length <= until), None)


def error_of(log: OperationLog) -> str | None:
    """The task's own error in the API's words, with its code."""
    code, message = log.error_info.code, log.error_info.message
    words = one_line(message, 500) if message else None
    return f"{words} ({one_line(code, 64)})" if words and code else words or (code and f"error {one_line(code, 64)}")


def _with_error(log: OperationLog, words: str) -> tuple[str, ...]:
    error = error_of(log)
    return (words, error) if error else (words,)


def _failed_parts(log: OperationLog) -> Iterator[str]:
    """What went wrong in a task whose status is success."""
    extra = log.extra_info
    if (failed := extra.remove_resources.fail_count or 0) > 0:
        yield f"{failed} resource(s) could not be removed from the vault"
    if (failed := extra.vault_delete.failed or 0) > 0:
        yield f"{failed} resource(s) of the vault could not be deleted"
    if (failed := extra.sync.err_sync_backup_num or 0) > 0:
        yield f"{failed} backup(s) could not be synchronised"
    if log.error_info.code:
        yield f"the task succeeded, yet tells an error: {error_of(log)}"
    backup = extra.backup
    code, message = backup.app_consistency_error_code, backup.app_consistency_error_message
    if code not in NO_ERROR or message not in NO_ERROR:
        words = (message not in NO_ERROR and message, code not in NO_ERROR and f"({code})")
        told = " ".join(one_line(part, 300) for part in words if part)
        yield f"the backup is not application-consistent: {told}"
