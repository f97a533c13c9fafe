"""Hints: which tasks of the list an alarm or a trace means. Each is then handled as if it had been named."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

from vaultbell.cloud.cbr import Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, Misconfigured, Transient
from vaultbell.events import Search
from vaultbell.handling import SECOND_LOOK, Fault, Handling, age_of, graver
from vaultbell.inbound import Project
from vaultbell.outcome import came_about, classify
from vaultbell.report import Action, Result
from vaultbell.resolving import LISTED_TYPES
from vaultbell.ringing import Case, Line
from vaultbell.sweep import ENDED_BADLY, UNFINISHED

AROUND_ALARM = timedelta(minutes=30)
BEFORE_TRACE, AFTER_TRACE = timedelta(minutes=5), timedelta(minutes=60)
LONGEST = timedelta(days=7)  # how long before its alarm a task may have been created
LATELY = timedelta(days=1)  # and where nothing narrows the list but its type


def search(handling: Handling, hint: Search) -> list[Line]:
    """The tasks that the hint means. None: the hint comes again while it is young, and rings `missing` after that."""
    known = Result(Action.RETRY, 503, project_id=hint.project_id)
    try:
        found = _found(handling, hint, handling.allowed(hint.project_id))
    except InvalidEvent as error:
        return [Line(Result.rejected(error))]
    except Transient as error:
        return [handling.again(known, error)]
    except Misconfigured as error:
        return [handling.unverified(error, known, at=hint.time)]
    if not found:
        return [handling.missing(hint, known)]
    now = handling.bell.now()
    return [handling.found(Case(project, log, classify(log, handling.bell.rules, now))) for project, log in found]


def _found(handling: Handling, hint: Search, projects: Sequence[Project]) -> list[tuple[Project, OperationLog]]:
    fault: Fault | None = None
    for second in (False, True):
        now = handling.bell.now()
        for project in projects:
            try:
                for step in queries(hint, hint.time or now):
                    lists = (handling.cbr.list(project, query, handling.budget) for query in step)
                    if matching := meant(hint, hint.time or now, chain.from_iterable(lists)):
                        return [(project, log) for log in matching]
            except (Transient, Misconfigured) as error:
                fault = graver(fault, error, project)
        if fault:
            raise fault
        if second or age_of(hint, now) is not None:
            break
        # The hint does not say how old it is: its task may not be visible yet.
        time.sleep(min(SECOND_LOOK, handling.budget.left / 3))
    return []


def queries(hint: Search, at: datetime) -> Iterator[list[Query]]:
    """The lists to look in, together those of one step, from the narrowest on.

    What kind of thing a hint's id names is not documented. Neither is which of a task's times a list is narrowed by:
    one that still runs may have no such time.
    """
    since = at - (LONGEST if hint.kind == "alarm" else BEFORE_TRACE)
    named = [Query(since=since, resource_id=id_) for id_ in hint.ids]
    yield named + [Query(since=since, vault_id=id_) for id_ in hint.ids]
    yield [Query(status=status) for status in UNFINISHED]
    # the id may be a backup's, a restore point's or a restore's target, which no list is narrowed by
    if hint.kind == "trace":
        yield [Query(since=since)]
    else:
        yield [Query(status=status, since=since) for status in ENDED_BADLY]
        kind = hint.operation_types[0] if len(hint.operation_types) == 1 else None
        yield [Query(since=at - LATELY, operation_type=kind if kind in LISTED_TYPES else None)]


def meant(hint: Search, at: datetime, logs: Iterable[OperationLog]) -> list[OperationLog]:
    """Those of the logs that the hint means, each once.

    An alarm means the tasks that ended around it, else those that still run; a trace those created about then.
    """
    fitting = {log.id or place: log for place, log in enumerate(logs) if _fits(hint, log)}.values()
    if hint.kind == "trace":
        return [log for log in fitting if log.created_at and at - BEFORE_TRACE <= log.created_at <= at + AFTER_TRACE]
    ended = [
        log
        for log in fitting
        if log.status not in UNFINISHED and abs((log.ended_at or came_about(log)) - at) <= AROUND_ALARM
    ]
    return ended or [log for log in fitting if log.status in UNFINISHED]


def _fits(hint: Search, log: OperationLog) -> bool:
    """Whether the log is of one of the hint's types (if it says any), and about one of the things that it names."""
    extra = log.extra_info
    things = {
        extra.resource.id,
        log.vault_id,
        log.checkpoint_id,
        extra.backup.backup_id,
        extra.delete.backup_id,
        extra.restore.backup_id,
        extra.restore.target_resource_id,
        extra.replication.source_backup_id,
        extra.replication.source_checkpoint_id,
    }
    named = {thing.lower() for thing in things if thing}
    return (not hint.operation_types or log.operation_type in hint.operation_types) and not named.isdisjoint(hint.ids)
