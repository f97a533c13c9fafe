"""A roll call at work: one message about all backups of a time, to the channels that want it.

It looks at [E - P, E), where P is the period and E the last whole number of periods since the epoch: with 24 hours,
at the last whole day (UTC). A task belongs where its end became visible, as in a sweep; one that has not ended is told
as it is now. Of what was read nothing is kept but the ids, the counts, and what did not go well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from vaultbell import notification, watching
from vaultbell.bell import side_by_side
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, Misconfigured, Transient
from vaultbell.events import RollCall
from vaultbell.handling import Handling
from vaultbell.history import History
from vaultbell.inbound import Project
from vaultbell.notification import LEVELS, Notification
from vaultbell.outcome import OutcomeName, classify
from vaultbell.past import tempered
from vaultbell.report import Action, Result
from vaultbell.ringing import Case, Line, Ring, ring
from vaultbell.routing import Selection
from vaultbell.staleness import Standing
from vaultbell.sweep import EPOCH, UNFINISHED, Window, believed, visible_at
from vaultbell.tally import Running, Tally, Without
from vaultbell.text import one_line

TYPE = "cbr.roll_call"
NAMED_MOST = 500  # tasks that did not go well; more of them are counted
RUNNING_MOST = 5  # that are named
ASKED_MOST = 50  # resources whose last good backup is asked for
A_TURN = 3 / 4  # of the time that is left: the most for reading a project's lists, or for the pasts
NOT_BAD = (OutcomeName.SUCCEEDED, OutcomeName.RUNNING)


def call(handling: Handling, asked: RollCall) -> list[Line]:
    """Tell how the backups of the last whole period went: a line for the message, and one for each fault in its way."""
    bell = handling.bell
    if not bell.roll_call:
        return [Line(Result(Action.QUIET, reason="nobody wants a roll call: no channel has roll_call: true"))]
    try:
        projects = handling.allowed(asked.project_id)
    except InvalidEvent as error:
        return [Line(Result.rejected(error))]
    except Transient as error:
        return [handling.again(Result(Action.RETRY, 503), error)]
    except Misconfigured as error:
        return [handling.unverified(error, Result(Action.RETRY, 500), at=asked.at)]
    work = _Work(handling, _covered(handling, asked))
    for project in projects:
        work.read(project)
    return [*work.told(projects), *work.faults(asked.at)]


def _covered(handling: Handling, asked: RollCall) -> Window:
    period = asked.period or handling.bell.roll_period
    at = believed(asked.at, handling.bell.now(), timedelta())
    end = EPOCH + (at - EPOCH) // period * period
    return Window(end - period, end)


class _Work:
    """One roll call: what it has counted, and what it could not read."""

    def __init__(self, handling: Handling, covered: Window) -> None:
        self._handling = handling
        self._covered = covered
        self._since = covered.start - handling.bell.sweeps.history
        self._known: set[tuple[str, str]] = set()  # project and task
        self._rows = 0
        self._counts: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._running: list[Running] = []
        self._bad: list[Case] = []
        self._tried: set[str] = set()  # the resources of which a backup ended, or has not ended
        self._without: list[Without] = []
        self._remarks: dict[str, None] = {}
        self._late: dict[Project, Transient] = {}
        self._refused: dict[Project, Misconfigured] = {}

    def read(self, project: Project) -> None:
        """Count what the project's lists hold; a fault in one leaves what was read before it."""
        budget = self._handling.budget.share(A_TURN)
        try:
            for query in (*map(Query, UNFINISHED), Query(since=self._since)):
                for log in self._handling.cbr.list(project, query, budget):
                    self._count(project, log)
            self._without += self._not_backed_up(project, budget)
        except Transient as error:
            self._late[project] = error
        except Misconfigured as error:
            self._refused[project] = error

    def _count(self, project: Project, log: OperationLog) -> None:
        covered, rules = self._covered, self._handling.bell.rules
        if (log.created_at and log.created_at >= covered.end) or (project.project_id, log.id) in self._known:
            return
        if log.id:
            self._known.add((project.project_id, log.id))
        self._rows += 1
        outcome = classify(log, rules, covered.end)
        is_backup, resource = log.operation_type in (None, watching.BACKUP), log.extra_info.resource.id
        visible = visible_at(log, covered, covered.end - covered.start)
        if log.status not in UNFINISHED and visible not in covered:
            if is_backup and resource and visible >= covered.end:  # it was under way when that time ended
                self._tried.add(resource)
            return
        (self._counts if is_backup else self._others)[outcome.name] += 1
        if is_backup and resource:
            self._tried.add(resource)
        if outcome.name is OutcomeName.RUNNING and is_backup:
            self._running.append(Running(log.id, notification.what(log), log.extra_info.common.progress))
        elif outcome.name not in NOT_BAD and len(self._bad) < NAMED_MOST:
            self._bad.append(Case(project, log, outcome))

    def _not_backed_up(self, project: Project, budget: Budget) -> list[Without]:
        """What is in the project's vaults and was not tried; that these cannot be read is told in words."""
        covered, bell = self._covered, self._handling.bell
        try:
            standings = watching.roll(self._handling.cbr, project, bell.rules, covered.start, covered.end, budget)
        except Misconfigured as error:
            if error.cause == "credentials":
                raise
            self._remarks[f"what has no backup is not known, since the vaults could not be read: {error.message}"] = (
                None
            )
            return []
        found = [
            one
            for one in standings
            if (one.vault.created_at or EPOCH) < covered.end
            and one.resource.id not in self._tried
            and not any(good in covered for good in one.goods)
        ]
        found.sort(key=lambda one: (one.vault.name or "", one.resource.name or "", one.resource.id or ""))
        asked = side_by_side(partial(self._asked, project, budget), found[:ASKED_MOST])
        return [*asked, *map(_without, found[ASKED_MOST:])]

    def _asked(self, project: Project, budget: Budget, standing: Standing) -> Without:
        """The same with its last good backup before the end of the time; without it where that cannot be read."""
        query = Query(operation_type=watching.BACKUP, resource_id=standing.resource.id)
        try:
            tasks = list(self._handling.cbr.list(project, query, budget))
        except (Transient, Misconfigured):
            return _without(standing)
        goods = standing.asked(tasks, self._handling.bell.rules, self._covered.end).goods
        return _without(standing, max((good for good in goods if good < self._covered.end), default=None), asked=True)

    def told(self, projects: Sequence[Project]) -> list[Line]:
        """The line of the message; none where nothing could be read at all."""
        faults = bool(self._late or self._refused)
        if faults and not self._rows:
            return []
        told = self._message(projects, complete=not faults)
        result = Result(Action.QUIET, project_id=told.project_id, severity=told.severity, reason=told.summary)
        to = Selection(tuple(sorted(self._handling.bell.roll_call)))
        return ring(self._handling.bell, [Line(result, (Ring(told, to),))], self._handling.budget)

    def faults(self, at: datetime | None) -> Iterator[Line]:
        """A line for each project whose lists could not be read to their end."""
        for project, late in self._late.items():
            yield self._handling.again(Result(Action.RETRY, 503, project_id=project.project_id), late)
        for project, error in self._refused.items():
            known = Result(Action.RETRY, 500, project_id=project.project_id)
            yield self._handling.unverified(error, known, project.region, at)

    def _message(self, projects: Sequence[Project], *, complete: bool) -> Notification:
        covered, members, tally = self._covered, self._members(), self._tally(complete=complete)
        names = ",".join(sorted(project.project_id for project in projects))
        period = str((covered.end - covered.start).total_seconds())
        about = (TYPE, names, covered.end.isoformat(), period)
        doubtful = tally.without or not complete or not tally.counts.get(OutcomeName.SUCCEEDED)
        levels = [member.severity for member in members] + ["warning" if doubtful else "info"]
        one = projects[0] if len(projects) == 1 else None
        return Notification(
            # what was not read to its end is another message: whoever has taken it is to hear the whole one, too
            id=f"msg_{notification.key(*about, '' if complete else 'partial')}",
            type=TYPE,
            timestamp=covered.end,
            outcome="roll_call",
            severity=min(levels, key=LEVELS.index),
            headline=tally.headline,
            summary=one_line(f"{tally.headline}: {tally.reason}", notification.SUMMARY_LIMIT),
            reason=one_line(tally.reason),
            incident=f"inc_{notification.key(*about)}",
            project_id=one.project_id if one else None,
            region=(one.region if one else None) or self._handling.cbr.endpoints.region,
            facts={},
            operation_log={},
            members=tuple(sorted(members, key=lambda member: (member.timestamp, member.id))),
            tally=tally,
        )

    def _tally(self, *, complete: bool) -> Tally:
        bad = sum(count for kind in (self._counts, self._others) for name, count in kind.items() if name not in NOT_BAD)
        left = bad - len(self._bad)
        remarks = (*self._remarks, *([f"{left:,} that did not go well are not named"] if left else []))
        running = sorted(self._running, key=lambda one: (-(one.progress or 0), one.headline, one.task_id or ""))
        return Tally(
            self._covered.start,
            self._covered.end,
            self._since,
            self._rows,
            complete,
            self._counts,
            self._others,
            tuple(running[:RUNNING_MOST]),
            tuple(self._without),
            remarks,
        )

    def _members(self) -> list[Notification]:
        """What did not go well, each as it would be told alone."""
        bell, history = self._handling.bell, History(self._handling, self._since)
        return [
            notification.of_task(
                case.log,
                tempered(case.outcome, past),
                bell.rules,
                project_id=case.project.project_id,
                region=case.project.region or self._handling.cbr.endpoints.region,
                past=past,
            )
            for case, past in zip(self._bad, history.pasts(self._bad), strict=True)
        ]


def _without(standing: Standing, last_good: datetime | None = None, *, asked: bool = False) -> Without:
    resource, vault = standing.resource, standing.vault
    name, vault_name = one_line(resource.name or resource.id or ""), one_line(vault.name or vault.id or "")
    return Without(resource.id or "", name, vault_name, last_good, asked)
