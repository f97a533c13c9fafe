"""A sweep at work: reads the task list of each project and rings for what fell into the window.

What is bad by its status rings first, in every project; then all else is read, for what only looks well. Of what was
read nothing is kept but the ids of what rang.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vaultbell import sweep as windows
from vaultbell.cloud.cbr import Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, Misconfigured, Transient
from vaultbell.events import Sweep
from vaultbell.handling import Handling, Line, Told
from vaultbell.inbound import Project
from vaultbell.outcome import Outcome
from vaultbell.report import Action, Result, Swept

AT_A_TIME = 64  # tasks that are told before more of the list is read
READING = 3 / 4  # of the time that is left is for reading at most: what was found is told, and others have a turn


@dataclass(frozen=True, slots=True)
class _Bad:
    """A task that rings, and the number of the repeat."""

    log: OperationLog
    outcome: Outcome
    repeat: int


def sweep(handling: Handling, asked: Sweep) -> Line:
    """Ring for every bad task of the window, in each allowed project."""
    handling = replace(handling, leave=True)
    try:
        projects = handling.allowed(asked.project_id)
    except InvalidEvent as error:
        return Line((Result.rejected(error),))
    except Transient as error:
        return handling.again(Result(Action.RETRY, 503), error)
    except Misconfigured as error:
        return handling.unverified(error, Result(Action.RETRY, 500))
    covered = _covered(handling, asked)
    readings = [_Reading(handling, project, covered) for project in projects]
    for reading in readings:
        reading.ring_for_the_bad()
    for reading in readings:
        reading.ring_for_the_rest()
    return Line(
        tuple(result for reading in readings for result in reading.results()),
        tuple(told for reading in readings for told in reading.told),
        Swept(covered.start, covered.end, sum(reading.rows for reading in readings)),
    )


def _covered(handling: Handling, asked: Sweep) -> windows.Window:
    rules = handling.bell.sweeps
    lag = rules.lag if asked.lag is None else asked.lag
    tick = windows.believed(asked.at, handling.bell.now(), lag)
    return windows.window(tick, asked.period or rules.period, lag, asked.lookback or rules.lookback)


class _Reading:
    """One project's list, and what came of reading it: the rows read, and who was told what."""

    def __init__(self, handling: Handling, project: Project, covered: windows.Window) -> None:
        self._handling = handling
        self._project = project
        self._covered = covered
        self._since = covered.start - handling.bell.sweeps.history
        self._known: set[str] = set()  # what rings, by id
        self._found: list[_Bad] = []  # what is yet to be told
        self._rung: list[Result] = []
        self._blind: set[str] = set()  # why we cannot see, by cause
        self._late: Transient | None = None
        self.told: list[Told] = []
        self.rows = 0

    def ring_for_the_bad(self) -> None:
        """Read and ring for what is bad by its status: however old where it has not ended, else not older than that."""
        queries = [Query(status=status) for status in windows.UNFINISHED]
        self._read(*queries, *(Query(status=status, since=self._since) for status in windows.ENDED_BADLY))

    def ring_for_the_rest(self) -> None:
        """Read the list whatever the status, and ring for what succeeded only in part or cannot be understood."""
        self._read(Query(since=self._since))

    def results(self) -> list[Result]:
        """One for each task that rang, and one for each reason why the list could not be read to its end."""
        known = Result(Action.RETRY, 503, project_id=self._project.project_id)
        return [*self._rung, *(self._handling.again(known, self._late).results if self._late else ())]

    def _read(self, *queries: Query) -> None:
        """Read one list after the other; a fault in one does not keep us from the next."""
        budget = self._handling.budget.share(READING)
        for query in queries:
            if self._is_sent_away():
                break
            try:
                for log in self._handling.cbr.list(self._project, query, budget):
                    self._judge(log)
            except Transient as error:
                self._late = max(self._late or error, error, key=lambda fault: fault.after or 0.0)
            except Misconfigured as error:
                self._tell_that_we_are_blind(error)
        self._ring()

    def _is_sent_away(self) -> bool:
        """Whether the cloud asked us to come again, later than there is time to wait for."""
        return self._late is not None and (self._late.after or 0.0) >= self._handling.budget.left

    def _judge(self, log: OperationLog) -> None:
        self.rows += 1
        rules = self._handling.bell.rules
        if log.id in self._known or not (found := windows.caught(log, self._covered, rules, rules.repeat_interval)):
            return
        if log.id:
            self._known.add(log.id)
        self._found.append(_Bad(log, *found))
        if len(self._found) >= AT_A_TIME:
            self._ring()

    def _ring(self) -> None:
        found, self._found = self._found, []
        for line in self._handling.bell.crew.map(self._ring_for, found):
            self._keep(line)

    def _ring_for(self, bad: _Bad) -> Line:
        return self._handling.found(self._project, bad.log, bad.outcome, repeat=bad.repeat)

    def _tell_that_we_are_blind(self, error: Misconfigured) -> None:
        if error.cause not in self._blind:
            self._blind.add(error.cause)
            known = Result(Action.RETRY, 500, project_id=self._project.project_id)
            self._keep(self._handling.unverified(error, known, self._project.region))

    def _keep(self, line: Line) -> None:
        """Its results, and who took which message: without the operation log, of which there may be very many."""
        self._rung += line.results
        self.told += ((replace(told, operation_log={}), taken) for told, taken in line.told)
