"""A sweep at work: reads the task list of each project and rings for what fell into the window.

What is bad by its status rings first, of every project; then all else is read, for what only looks well. Of what was
read nothing is kept but the ids of what rang, and, where a channel wants to hear of the end of a failure, which
incidents are bad and which tasks of the window were good.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime

from vaultbell import notification
from vaultbell import sweep as windows
from vaultbell.bell import side_by_side
from vaultbell.cloud.cbr import Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, Misconfigured, Transient
from vaultbell.events import Sweep, TaskRef
from vaultbell.handling import Handling
from vaultbell.history import History
from vaultbell.inbound import Project
from vaultbell.outcome import OutcomeName, classify, was_overdue
from vaultbell.report import Action, Result, Swept
from vaultbell.ringing import Case, Line, ring
from vaultbell.tracing import carried

AT_A_TIME = 500  # tasks that are told before more of a list is read
FIRST = 1 / 8  # of the time that is left: the most that the others wait for the first
A_TURN = 3 / 4  # of the time that is left: the most for reading a project's lists, or for telling what was found


def sweep(handling: Handling, asked: Sweep) -> tuple[list[Line], Swept | None]:
    """Ring for every bad task of the window, in each allowed project; and what was covered."""
    handling = replace(handling, leave=True)
    try:
        projects = handling.allowed(asked.project_id)
    except InvalidEvent as error:
        return [Line(Result.rejected(error))], None
    except Transient as error:
        return [handling.again(Result(Action.RETRY, 503), error)], None
    except Misconfigured as error:
        return [handling.unverified(error, Result(Action.RETRY, 500), at=asked.at)], None
    covered = _covered(handling, asked)
    since = covered.start - handling.bell.sweeps.history
    work = _Work(handling, covered, asked.at, since)
    for project in projects:
        work.read(project, *(Query(status) for status in windows.UNFINISHED))
        work.read(project, *(Query(status, since) for status in windows.ENDED_BADLY))
    work.ring()
    for project in projects:
        work.read(project, Query(since=since))
    work.ring()
    work.resolve()
    work.watch(projects)
    return work.lines(), Swept(covered.start, covered.end, work.rows)


def _covered(handling: Handling, asked: Sweep) -> windows.Window:
    rules = handling.bell.sweeps
    lag = rules.lag if asked.lag is None else asked.lag
    tick = windows.believed(asked.at, handling.bell.now(), lag)
    return windows.window(tick, asked.period or rules.period, lag, asked.lookback or rules.lookback)


class _Work:
    """One sweep: the rows that it has read, what it has found and told, and what it could not read."""

    def __init__(self, handling: Handling, covered: windows.Window, at: datetime | None, since: datetime) -> None:
        self._handling = handling
        self._history = History(handling, since)
        self._covered = covered
        self._at = at
        self._known: set[tuple[str, str | None]] = set()  # what rings: project and task
        self._found: list[Case] = []  # what is yet to be told
        self._rung: list[Line] = []
        self._blind: set[tuple[str, str]] = set()  # where we cannot see, and why
        self._late: dict[str, Transient] = {}  # which project's lists were not read to their end
        self._bad: set[str] = set()  # incidents
        self._good: dict[tuple[str, str], tuple[Project, str]] = {}  # a task of the window, and its incident
        self.rows = 0

    def read(self, project: Project, *queries: Query) -> None:
        """Read one list after the other for what is bad; a fault in one does not keep us from the next."""
        budget = self._handling.budget.share(A_TURN)
        for query in queries:
            if (fault := self._late.get(project.project_id)) and fault.after is not None:
                return  # the cloud asked for a rest
            try:
                for log in self._handling.cbr.list(project, query, budget):
                    self._judge(project, log)
            except Transient as error:
                self._late[project.project_id] = error
            except Misconfigured as error:
                self._tell_that_we_are_blind(project, error)

    def ring(self) -> None:
        """Tell what was found.

        The first is told at once, so that nobody waits for the past of the others; unless all together may be one
        message.
        """
        found, self._found = self._found, []
        bell = self._handling.bell
        if bell.history is None or not 1 < len(found) <= min(bell.digest_over.values(), default=len(found)):
            self._rung += self._told(found)
            return
        with ThreadPoolExecutor(1, "vaultbell-first") as pool:
            first = pool.submit(carried(self._told), found[:1])
            wait([first], self._handling.budget.left * FIRST)  # a silent channel must not hold up the others
            rest = self._told(found[1:])
            self._rung += [*first.result(), *rest]

    def _told(self, found: Sequence[Case]) -> list[Line]:
        handling = self._handling
        lines = self._history.known([handling.found(case) for case in found])
        return list(map(_without_log, ring(handling.bell, lines, handling.budget.share(A_TURN))))

    def resolve(self) -> None:
        """Tell those who wait for it that a failure is over: what went well, of an incident that is bad."""
        over = [(project, task) for (_, task), (project, incident) in self._good.items() if incident in self._bad]
        lines = side_by_side(lambda one: self._over(*one), over)
        lines = [line for line in lines if line.rings or line.result.status != 200]
        self._rung += map(_without_log, ring(self._handling.bell, lines, self._handling.budget))

    def watch(self, projects: Sequence[Project]) -> None:
        """Tell of what nobody has backed up, where the settings ask for it."""
        if self._handling.bell.watch:
            from vaultbell import watching  # noqa: PLC0415 - few watch

            told = {
                name: [receipt.channel for receipt in line.result.receipts]
                for line in self._rung
                for name, _ in line.taken
            }
            self._rung += watching.watch(self._handling, projects, self._covered, self._at, told)

    def _over(self, project: Project, task_id: str) -> Line:
        handling = self._handling
        return handling.task(TaskRef(task_id, project.project_id, project.region, self._at))

    def lines(self) -> list[Line]:
        """One for each task that rang, and one for each reason why a list could not be read to its end."""
        known = Result(Action.RETRY, 503)
        late = (self._handling.again(known._replace(project_id=name), fault) for name, fault in self._late.items())
        return [*self._rung, *late]

    def _judge(self, project: Project, log: OperationLog) -> None:
        self.rows += 1
        rules = self._handling.bell.rules
        if self._handling.bell.resolving:
            self._note(project, log)
        if (project.project_id, log.id) in self._known:
            return
        if found := windows.caught(log, self._covered, rules, rules.repeat_interval):
            if log.id:
                self._known.add((project.project_id, log.id))
            self._found.append(Case(project, log, *found))
            if len(self._found) >= AT_A_TIME:
                self.ring()

    def _note(self, project: Project, log: OperationLog) -> None:
        """What `resolve` has to know of a row."""
        rules = self._handling.bell.rules
        outcome = classify(log, rules, self._covered.end)
        incident = notification.incident(log, project.project_id)
        if outcome.name is not OutcomeName.SUCCEEDED:
            if outcome.rings:
                self._bad.add(incident)
        elif log.id and outcome.at in self._covered:
            self._good[project.project_id, log.id] = project, incident
            if was_overdue(log, rules):
                self._bad.add(incident)

    def _tell_that_we_are_blind(self, project: Project, error: Misconfigured) -> None:
        if (project.project_id, error.cause) not in self._blind:
            self._blind.add((project.project_id, error.cause))
            known = Result(Action.RETRY, 500, project_id=project.project_id)
            self._rung.append(self._handling.unverified(error, known, project.region, self._at))


def _without_log(line: Line) -> Line:
    """What is kept of a line until the sweep is over: not the operation log, of which there may be very many."""
    return line._replace(found=None)
