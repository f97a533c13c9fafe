"""What is made of one item of an event: a task that it names, one that is missing, an alarm, our own blindness.

The items are judged here; what is to be told of them is told in `ringing.py`, all at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vaultbell import notification, resolving, routing
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Cbr
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, Misconfigured, TaskMissing, Transient
from vaultbell.events import Alarm, Search, TaskRef
from vaultbell.inbound import Project, allowed
from vaultbell.notification import Notification
from vaultbell.outcome import Outcome, OutcomeName, classify
from vaultbell.past import Past, tempered
from vaultbell.report import Action, Result
from vaultbell.ringing import Case, Line, Ring, ring
from vaultbell.routing import Selection

YOUNG = timedelta(minutes=5)  # a task that the API does not know may be too new to be visible
YOUNG_AGAIN = 60.0  # seconds until such an event is asked to come again, at most
SECOND_LOOK = 3.0  # seconds until a missing task is looked up once more
RUNNING_AGAIN = 120.0  # seconds until the event of a task that still runs is asked to come again

Fault = Transient | Misconfigured


@dataclass(frozen=True, slots=True)
class Handling:
    """The handling of one event: with these credentials, within this budget. `leave`: what still runs is left alone."""

    bell: Bell
    cbr: Cbr
    budget: Budget
    leave: bool
    reply: bool = False  # what is found is wanted even where nobody is told

    def task(self, task: TaskRef) -> Line:
        """A task by its name."""
        known = Result(Action.RETRY, 503, operation_log_id=task.operation_log_id, project_id=task.project_id)
        if self.budget.left <= 0:
            return self.again(known, Transient("the time budget was spent before this item's turn"))
        try:
            project, found = self._look_up(task, self.allowed(task.project_id, task.region))
        except InvalidEvent as error:
            return Line(Result.rejected(error, task.operation_log_id))
        except TaskMissing:
            return self.missing(task, known)
        except Transient as error:
            return self.again(known, error)
        except Misconfigured as error:
            return self.unverified(error, known, task.region, task.time)
        outcome = classify(found, self.bell.rules, self.bell.now())
        return self.found(Case(project, found, outcome, only=task.channels))

    def allowed(self, project_id: str | None, region: str | None = None) -> Sequence[Project]:
        """The projects to look in. Raises InvalidEvent (403), and what asking for a project's id raises."""
        return allowed(project_id, region, self.bell.projects.all(self.budget), self.cbr.endpoints.region)

    def found(self, case: Case, before: Past | None = None) -> Line:
        """A task whose operation log was read. `before`: its past, where that is known."""
        project, task, outcome = case.project, case.log, tempered(case.outcome, before)
        project_id = project.project_id
        result = Result(
            Action.QUIET, operation_log_id=task.id, project_id=project_id, operation_type=task.operation_type
        )
        result = _with(result, outcome, notification.incident(task, project_id))
        rings = outcome.rings
        if outcome.name is OutcomeName.RUNNING and self.leave:
            result = result._replace(action=Action.LEFT)
        elif outcome.name is OutcomeName.RUNNING:
            rings = False  # it comes again
            result = result._replace(action=Action.RETRY, status=503, retry_after=RUNNING_AGAIN)
        resolves = outcome.name is OutcomeName.SUCCEEDED and self.bell.resolving
        if not rings and not resolves and not self.reply:
            return Line(result)
        told = notification.of_task(
            task,
            outcome,
            self.bell.rules,
            project_id=project_id,
            region=self._region(project),
            repeat=case.repeat,
            past=before,
        )
        line = self._line(told, result, case.only) if rings else Line(result, found=told)
        if line.rings and before is None and outcome.name not in (OutcomeName.SUCCEEDED, OutcomeName.RUNNING):
            line = line._replace(case=case)
        return self._resolved(case, line) if resolves else line

    def _resolved(self, case: Case, line: Line) -> Line:
        """A success: the channels that wait for the end of what went wrong before it are to hear of it."""
        try:
            failure = resolving.failure_before(self.bell, self.cbr, case.project, case.log, self.budget)
        except Transient as error:
            return self.again(line.result._replace(action=Action.RETRY, status=503), error)
        except Misconfigured as error:
            return self.unverified(error, line.result, case.project.region)
        if failure is None or line.found is None:
            return line
        names = routing.select(failure, self.bell.routes).channels
        waiting = Selection(tuple(name for name in names if name in self.bell.resolving))
        resolved = self._line(notification.of_resolved(line.found, failure), line.result, case.only, waiting)
        return line._replace(rings=line.rings + resolved.rings)

    def missing(self, hint: TaskRef | Search, known: Result) -> Line:
        """Nothing was found for a hint: it comes again while it is young, else somebody is to know."""
        age = age_of(hint, self.bell.now())
        if age is not None and age < YOUNG:
            left = (YOUNG - age).total_seconds()
            message = "the API knows no such task yet: it may be too new to be visible"
            return Line(known._replace(retry_after=min(left, YOUNG_AGAIN), error=("not_visible_yet", message)))
        outcome = self._verdict(
            OutcomeName.MISSING,
            hint.time or notification.slot(self.bell.now()),
            "the cloud knows no such task: it was never started, or its record is no longer kept",
        )
        project_id = hint.project_id or self._only_project()
        region, only = (hint.region, hint.channels) if isinstance(hint, TaskRef) else (None, None)
        told = notification.of_missing(hint, outcome, project_id=project_id, region=region or self.cbr.endpoints.region)
        result = _with(known._replace(action=Action.QUIET, status=200, project_id=project_id), outcome, told.incident)
        return self._line(told, result, only) if outcome.rings else Line(result, found=told)

    def unverified(
        self, error: Misconfigured, known: Result, region: str | None = None, at: datetime | None = None
    ) -> Line:
        """We cannot see: somebody must hear of it; and the event comes again."""
        project_id = known.project_id or error.project_id
        answer = known._replace(
            action=Action.RETRY, status=500, project_id=project_id, error=(error.code, error.message)
        )
        return self._blind(error.cause, "Backups cannot be verified", error.message, answer, region, at)

    def alarm(self, alarm: Alarm) -> Line:
        """An alarm that says nothing we can look for is told in its own words, and refused."""
        headline = "An alarm of Cloud Backup and Recovery cannot be read"
        return self._blind(f"alarm:{alarm.text}", headline, alarm.text, Result.rejected(alarm.error), None, alarm.time)

    def _blind(
        self, cause: str, headline: str, words: str, answer: Result, region: str | None, at: datetime | None
    ) -> Line:
        """Ring `unverified`, once a cause, a project and six hours in a process; the answer stays what it is."""
        answer = answer._replace(project_id=answer.project_id or self._only_project())
        slot = notification.slot(self.bell.now())
        outcome = self._verdict(OutcomeName.UNVERIFIED, at or slot, words)
        told = notification.of_unverified(
            cause,
            headline,
            outcome,
            slot=slot,
            task_id=answer.operation_log_id,
            project_id=answer.project_id,
            region=region or self.cbr.endpoints.region,
        )
        answer = _with(answer, outcome, told.incident)
        if not outcome.rings or not self.bell.once.claim(told.id):
            return Line(answer)
        heard = False
        try:
            (line,) = ring(self.bell, [self._line(told, answer, None)], self.budget)
            heard = line.result.status in (200, answer.status) and not line.result.owed
        finally:
            if not heard:
                self.bell.once.release(told.id)
        if not heard and answer.action is Action.REJECTED:
            return line  # what is refused does not come again by itself: its words have to be heard
        kept = line.result._replace(action=answer.action, status=answer.status, error=answer.error)
        return line._replace(result=kept)

    def again(self, known: Result, error: Transient) -> Line:
        """It may pass: the item comes again."""
        return Line(known._replace(retry_after=error.after, error=(error.code, error.message)))

    def _line(
        self, told: Notification, result: Result, only: tuple[str, ...] | None, to: Selection | None = None
    ) -> Line:
        """A line that is to be told: to the channels of the routes, or to those of them that the event names."""
        to = to or routing.select(told, self.bell.routes, self.bell.incidents)
        if named := tuple(name for name in to.channels if name in (only or ())):
            to = to._replace(channels=named)  # names that mean nothing to us narrow nothing
        if to.left_out and not to.channels:
            silent = ", ".join(to.left_out)
            result = result._replace(reason=f"{result.reason}; since recovered: no incident is opened ({silent})")
        return Line(result, (Ring(told, to),) if to.channels else (), found=told)

    def _look_up(self, task: TaskRef, projects: Sequence[Project]) -> tuple[Project, OperationLog]:
        """The task, from the first project that has it; it is missing only if each one was asked and had it not."""
        fault: Fault | None = None
        for second in (False, True):
            for project in projects:
                try:
                    return project, self.cbr.show(project, task.operation_log_id, self.budget)
                except TaskMissing:
                    continue
                except (Transient, Misconfigured) as error:
                    fault = graver(fault, error, project)
            if fault:
                raise fault
            if second or age_of(task, self.bell.now()) is not None:
                break
            # The event does not say how old it is: the task may not be visible yet.
            time.sleep(min(SECOND_LOOK, self.budget.left / 3))
        raise TaskMissing("the API does not know this task")

    def _only_project(self) -> str | None:
        projects = self.bell.projects.known
        return projects[0].project_id if len(projects) == 1 else None

    def _region(self, project: Project) -> str | None:
        return project.region or self.cbr.endpoints.region

    def _verdict(self, name: OutcomeName, at: datetime, reason: str) -> Outcome:
        rules = self.bell.rules
        return Outcome(name, rules.severity_of(name), rules.rings(name), at, (reason,))


def graver(known: Fault | None, error: Fault, project: Project) -> Fault:
    """Of the faults of several projects the one that is told: what somebody has to put right, with its project."""
    if isinstance(known, Misconfigured):
        return known
    if isinstance(error, Misconfigured):
        error.project_id = project.project_id
    return error


def age_of(hint: TaskRef | Search, now: datetime) -> timedelta | None:
    """How old the event is by its own time; None where it has none, or one that has not come yet."""
    return now - hint.time if hint.time and hint.time <= now else None


def _with(result: Result, outcome: Outcome, incident: str) -> Result:
    return result._replace(
        outcome=outcome.name.value, severity=outcome.severity, reason=outcome.reason, incident=incident
    )
