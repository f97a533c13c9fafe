"""A sweep at work: reads the task list of each project and rings for what fell into the window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from vaultbell import sweep as windows
from vaultbell.cloud.cbr import Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, Misconfigured, Transient
from vaultbell.events import Sweep
from vaultbell.handling import Handling, Line
from vaultbell.inbound import Project
from vaultbell.outcome import Outcome
from vaultbell.report import Action, Result, Swept

AT_A_TIME = 64  # tasks that are told before more of the list is read


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
    rules = handling.bell.sweeps
    covered = windows.window(
        asked.at or handling.bell.now(),
        asked.period or rules.period,
        rules.lag if asked.lag is None else asked.lag,
        asked.lookback or rules.lookback,
    )
    lines: list[Line] = []
    read = 0
    for project in projects:
        reading = _Reading(handling, project, covered, covered.start - rules.history)
        lines += reading.lines()
        read += reading.rows
    return Line(
        tuple(result for line in lines for result in line.results),
        tuple(told for line in lines for told in line.told),
        Swept(covered.start, covered.end, read),
    )


class _Reading:
    """One project's list, read from what is bad by its status to what only looks well."""

    def __init__(self, handling: Handling, project: Project, covered: windows.Window, since: datetime) -> None:
        self._handling = handling
        self._project = project
        self._covered = covered
        self._since = since
        self._rung: set[str | None] = set()
        self.rows = 0

    def lines(self) -> list[Line]:
        """What rang, and what could not be read. The bad ones ring before anything else is read."""
        lines: list[Line] = []
        bad: list[_Bad] = []
        queries = [Query(status=status) for status in windows.UNFINISHED]
        queries += [Query(status=status, since=self._since) for status in windows.ENDED_BADLY]
        for query in queries:
            lines += self._read(query, bad)
        lines += self._ring(bad)
        rest: list[_Bad] = []
        lines += self._read(Query(since=self._since), rest, lines)
        return lines + self._ring(rest)

    def _read(self, query: Query, bad: list[_Bad], rung: list[Line] | None = None) -> list[Line]:
        """Put the query's bad tasks into `bad`; where `rung` is given, ring them as they come. Returns the fault."""
        handling, rules = self._handling, self._handling.bell.rules
        try:
            for log in handling.cbr.list(self._project, query, handling.budget):
                self.rows += 1
                if log.id in self._rung:
                    continue
                if found := windows.caught(log, self._covered, rules, rules.repeat_interval):
                    self._rung.add(log.id)
                    bad.append(_Bad(log, *found))
                if rung is not None and len(bad) >= AT_A_TIME:
                    rung += self._ring(bad)
                    bad.clear()
        except Transient as error:
            return [handling.again(Result(Action.RETRY, 503, project_id=self._project.project_id), error)]
        except Misconfigured as error:
            known = Result(Action.RETRY, 500, project_id=self._project.project_id)
            return [handling.unverified(error, known, self._project.region)]
        return []

    def _ring(self, bad: Iterable[_Bad]) -> list[Line]:
        def ring(task: _Bad) -> Line:
            return self._handling.found(self._project, task.log, task.outcome, repeat=task.repeat)

        return self._handling.bell.crew.map(ring, list(bad))
