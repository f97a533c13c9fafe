"""What would have rung over a time, had a sweep come at each of its ticks: when, by which route, on which channel.

Reckoned from the task list as it is now. A task that is done tells only how it ended; that it was overdue before it
ended is reckoned from its times. A newer success counts as far as it had been there at the tick.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from vaultbell import notification, routing, times
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels.shown import RESOLVED
from vaultbell.cli.timeline import Mark, Row
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.handling import Handling
from vaultbell.history import History
from vaultbell.inbound import Project
from vaultbell.notification import VERBS, Notification
from vaultbell.outcome import OutcomeName, Rules, came_about, classify, was_overdue
from vaultbell.past import Past
from vaultbell.report import Result
from vaultbell.ringing import Case
from vaultbell.routing import Selection, Verdict
from vaultbell.sweep import EPOCH, UNFINISHED, Window, visible_at

FULL = (Verdict.TAKEN, Verdict.BROKEN, Verdict.UNSURE)
Key = tuple[str, str]  # project and task
Noted = dict[Key, tuple[Project, OperationLog]]


@dataclass(frozen=True, slots=True)
class NotingCbr(Cbr):
    """The API; the rows of its lists are kept, each once, as they were read last."""

    noted: Noted = field(default_factory=dict)

    @classmethod
    def of(cls, cbr: Cbr) -> NotingCbr:
        """The same API."""
        return cls(cbr.http, cbr.endpoints, cbr.credentials, cbr.page_size, cbr.watch)

    def list(self, project: Project, query: Query, budget: Budget) -> Iterator[OperationLog]:
        """As the API lists them."""
        for log in Cbr.list(self, project, query, budget):  # a dataclass with slots has no bare `super`
            if log.id:
                self.noted[project.project_id, log.id] = (project, log)
            yield log


@dataclass(frozen=True, slots=True)
class _NotedCbr(Cbr):
    """The API as it would have answered at `now`, as far as its rows were noted: what had ended by then."""

    rows: Mapping[tuple[str, str | None], Sequence[OperationLog]] = field(default_factory=dict)
    now: datetime = EPOCH

    def list(self, project: Project, query: Query, budget: Budget) -> Iterator[OperationLog]:
        del budget
        for log in self.rows.get((project.project_id, query.resource_id or query.vault_id), ()):
            if log.status not in UNFINISHED and came_about(log) <= self.now:
                yield log


@dataclass(frozen=True, slots=True)
class Rung:
    """A message that would have been told at that time. `routes` are those that were taken, counted from 1."""

    at: datetime
    told: Notification
    to: Selection
    routes: tuple[int, ...]
    result: Result


class _Moment(NamedTuple):
    at: datetime
    case: Case


def rehearse(bell: Bell, cbr: Cbr, noted: Noted, covered: Window, budget: Budget) -> list[Rung]:
    """All that would have rung in the window, in the order of time."""
    history = History(Handling(bell, cbr, budget, leave=True), covered.start - bell.sweeps.history)
    memory = _memory(cbr, noted)
    handling = Handling(bell, memory, budget, leave=True)
    moments = [_Moment(at, case) for place in noted.values() for at, case in _rings(*place, covered, bell)]
    pasts = history.pasts([moment.case for moment in moments])
    rung = []
    for (at, case), past in zip(moments, pasts, strict=True):
        line = handling.found(case, _as_of(past, told_at(at, bell)))
        rung += [of_message(bell, at, ring.told, ring.to, line.result) for ring in line.rings]
        if not line.rings and line.found:  # its routes tell nobody
            rung.append(of_message(bell, at, line.found, Selection(), line.result))
    return sorted([*rung, *_resolved(bell, memory, noted, covered, budget)], key=lambda one: one.at)


def told_at(at: datetime, bell: Bell) -> datetime:
    """When a tick tells what came about then."""
    period = bell.sweeps.period
    return EPOCH + ((at - EPOCH) // period + 1) * period + bell.sweeps.lag


def of_message(bell: Bell, at: datetime, told: Notification, to: Selection, result: Result) -> Rung:
    """The message as it would have been told, and the routes that it takes."""
    steps = enumerate(routing.explain(told, bell.routes), start=1) if told.type != RESOLVED else ()
    return Rung(at, told, to, tuple(number for number, step in steps if step.verdict in FULL), result)


def _rings(project: Project, log: OperationLog, covered: Window, bell: Bell) -> Iterator[tuple[datetime, Case]]:
    """The moments of the window at which a task rings: at its end, and as often as it was overdue before."""
    rules, interval = bell.rules, bell.rules.repeat_interval
    for number, at in _overdue(log, covered.end, rules, interval):
        if at in covered and rules.rings(OutcomeName.OVERDUE):
            then = log.model_copy(update={"status": "running", "ended_at": None})
            yield at, Case(project, then, classify(then, rules, at), number)
    outcome = classify(log, rules, covered.end)
    if outcome.rings and outcome.name is not OutcomeName.OVERDUE:
        at = visible_at(log, covered, interval)
        if at in covered:
            yield at, Case(project, log, outcome)


def _overdue(log: OperationLog, now: datetime, rules: Rules, interval: timedelta) -> Iterator[tuple[int, datetime]]:
    """When a task became overdue, and when that is told again: while it waited to start, and while it ran."""
    ended = None if log.status in UNFINISHED else log.ended_at or log.updated_at
    spans = ((log.created_at, log.started_at), (log.started_at or log.created_at, ended or now))
    for began, until in spans:
        at, number = began and began + rules.deadline_of(log.operation_type), 0
        while at and until and at < until:
            yield number, at
            at, number = at + interval, number + 1


def _as_of(past: Past | None, at: datetime) -> Past | None:
    """The past without the success that had not come yet."""
    if past and past.newer_good_at and past.newer_good_at > at:
        return past._replace(newer_good_at=None, recovered=False)
    return past


def _memory(cbr: Cbr, noted: Noted) -> _NotedCbr:
    rows: dict[tuple[str, str | None], list[OperationLog]] = defaultdict(list)
    for project, log in noted.values():
        for name in dict.fromkeys((log.extra_info.resource.id, log.vault_id)):
            rows[project.project_id, name].append(log)
    return _NotedCbr(cbr.http, cbr.endpoints, cbr.credentials, rows=rows)


def _resolved(bell: Bell, memory: _NotedCbr, noted: Noted, covered: Window, budget: Budget) -> Iterator[Rung]:
    """The ends of what went wrong, for the channels that wait for them."""
    if not bell.resolving:
        return
    judged = [(project, log, classify(log, bell.rules, covered.end)) for project, log in noted.values()]
    bad = {
        notification.incident(log, project.project_id)
        for project, log, outcome in judged
        if (outcome.rings and outcome.name is not OutcomeName.SUCCEEDED) or was_overdue(log, bell.rules)
    }
    for project, log, outcome in judged:
        good = outcome.name is OutcomeName.SUCCEEDED and outcome.at in covered
        if good and notification.incident(log, project.project_id) in bad:
            then = replace(memory, now=told_at(outcome.at, bell))
            line = Handling(bell, then, budget, leave=True).found(Case(project, log, outcome))
            for ring in line.rings:
                if ring.told.type == RESOLVED and ring.to.channels:
                    yield of_message(bell, outcome.at, ring.told, ring.to, line.result)


@dataclass(frozen=True, slots=True)
class Day:
    """What a day brings: rings, and messages by channel, since several of one tick may go as one."""

    day: date
    rings: int
    messages: Mapping[str, int]


def days(rung: Iterable[Rung], covered: Window, bell: Bell, zone: tzinfo) -> list[Day]:
    """Each day of the window, those without a ring too."""
    by_tick: dict[tuple[date, datetime, str], int] = Counter()
    rings: dict[date, int] = Counter()
    for one in rung:
        day = one.at.astimezone(zone).date()
        rings[day] += 1
        for name in one.to.channels:
            by_tick[day, told_at(one.at, bell), name] += 1
    messages: dict[date, Counter[str]] = defaultdict(Counter)
    for (day, _, name), count in by_tick.items():
        messages[day][name] += 1 if count > bell.digest_over.get(name, count) else count
    first = covered.start.astimezone(zone).date()
    last = (covered.end - timedelta(microseconds=1)).astimezone(zone).date()
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [Day(day, rings[day], messages[day]) for day in every]


def rows(rung: Iterable[Rung], noted: Noted, covered: Window, bell: Bell, zone: tzinfo) -> list[Row]:
    """The tasks of the window, a mark each, by resource; those resources first for which most would have rung."""
    told: dict[tuple[str | None, str | None], list[Rung]] = defaultdict(list)
    for one in rung:
        told[one.result.project_id, one.result.operation_log_id].append(one)
    marks: dict[tuple[str, str], list[Mark]] = defaultdict(list)
    names: dict[tuple[str, str], str] = {}
    for (project_id, task_id), (_, log) in noted.items():
        outcome = classify(log, bell.rules, covered.end)
        unfinished = log.status in UNFINISHED
        at = covered.end if unfinished else visible_at(log, covered, bell.rules.repeat_interval)
        if not unfinished and at not in covered:
            continue
        about, rings = log.extra_info.resource, told[project_id, task_id]
        place = project_id, about.id or log.vault_id or ""
        names[place] = about.name or about.id or log.vault_name or log.vault_id or "no resource"
        words = [f"{notification.what(log)} {VERBS[outcome.name]}", times.plain(at, zone), log.id or ""]
        words += [f"tells {', '.join(one.to.channels) or 'nobody'}" for one in rings]
        marks[place].append(Mark(at, outcome.name.value, " · ".join(words), bool(rings)))
    found = [(sum(mark.rings for mark in made), names[place], made) for place, made in marks.items()]
    return [Row(name, made) for _, name, made in sorted(found, key=lambda row: (-row[0], row[1]))]
