"""What the task list knows of the past of what rings. A kindness: it is bounded, and never costs the ring.

A list that cannot be read, or not in time, leaves the ring as it is. What was read is told as far as it goes: the
list's order is not documented, but where it has shown itself to begin with the newest, a part of it is whole as far
back as it goes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from vaultbell import past
from vaultbell.bell import side_by_side
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Query
from vaultbell.cloud.listing import PAGE
from vaultbell.errors import Misconfigured, Transient
from vaultbell.handling import Handling
from vaultbell.inbound import Project
from vaultbell.notification import incident
from vaultbell.past import Ended, Past
from vaultbell.resolving import query_of
from vaultbell.ringing import Case, Line
from vaultbell.telemetry import log as note

SHARE = 1 / 3  # of the time that is left, at most
SECONDS = 5.0  # for one list, and for all that one event asks for, sweeps aside
ROWS_MOST = 3_000  # of a list that is narrowed to one resource or vault
OWN_MOST = 50  # lists that a sweep asks for; more become one, which is read as far back as the sweep looks


class _Read(NamedTuple):
    """What the list tells of an incident; `since`: how far back it was read, where that was not to its end."""

    ended: Sequence[Ended]
    since: datetime | None


class History:
    """The pasts of what one event, or one sweep, tells. `since`: how far back a sweep looks."""

    def __init__(self, handling: Handling, since: datetime | None = None) -> None:
        self._handling = handling
        self._since = since
        self._left = handling.budget.left * SHARE if since else min(handling.budget.left * SHARE, SECONDS)
        self._fault = False  # a list that could not be read is not asked for again, nor any other

    def known(self, lines: Sequence[Line]) -> list[Line]:
        """The lines, and in what they tell the past, where it could be found out in time."""
        pasts = iter(self.pasts([line.case for line in lines if line.case]))
        return [self._told(line, next(pasts)) if line.case else line for line in lines]

    def _told(self, line: Line, found: Past | None) -> Line:
        return self._handling.found(line.case, found) if line.case and found else line

    def pasts(self, cases: Sequence[Case]) -> list[Past | None]:
        """The past of each; None where it is not known."""
        if not cases or self._handling.bell.history is None:
            return [None] * len(cases)
        began = time.monotonic()
        read = self._read(cases, self._handling.budget.capped(self._left))
        self._left -= time.monotonic() - began
        return [_past(case, read.get(incident(case.log, case.project.project_id))) for case in cases]

    def _read(self, cases: Sequence[Case], budget: Budget) -> Mapping[str, _Read]:
        """What there is to know of each incident. Tasks that stand in the same list share it."""
        wanted: dict[tuple[Project, Query], set[str]] = {}
        named = [(case, incident(case.log, case.project.project_id)) for case in cases]
        for case, name in named:
            if query := query_of(case.log):
                wanted.setdefault((case.project, query), set()).add(name)
        found: dict[str, _Read] = {}
        if self._since and len(wanted) > OWN_MOST:
            lists: dict[tuple[Project, Query], set[str]] = {}
            for (project, _), names in wanted.items():
                lists.setdefault((project, Query(since=self._since)), set()).update(names)
            found |= self._lists(lists, budget)
            unsure = {name for case, name in named if (past_ := _past(case, found.get(name))) is None or past_.since}
            wanted = {place: names for place, names in wanted.items() if not names.isdisjoint(unsure)}
            if len(wanted) > OWN_MOST:
                return found
        return found | self._lists(wanted, budget)

    def _lists(self, wanted: Mapping[tuple[Project, Query], set[str]], budget: Budget) -> dict[str, _Read]:
        found: dict[str, _Read] = {}
        for part in side_by_side(lambda one: self._list(*one, budget), list(wanted.items())):
            found |= part
        return found

    def _list(self, place: tuple[Project, Query], names: set[str], budget: Budget) -> dict[str, _Read]:
        """What one list tells of these incidents; nothing where it could not be read far enough to say anything."""
        (project, query), bell = place, self._handling.bell
        if self._fault or bell.history is None or not bell.history.take():
            return {}
        cbr = replace(self._handling.cbr, watch=lambda _read, _count: None)
        budget, most = (budget, None) if query.since else (budget.capped(SECONDS), ROWS_MOST)
        now, newest_first = bell.now(), True
        oldest: datetime | None = None
        seen: set[object] = set()
        ended: dict[str, dict[object, Ended]] = {name: {} for name in names}
        try:
            for number, task in enumerate(cbr.list(project, query, budget), start=1):
                created = task.created_at
                name = task.id or created
                if most and name in seen:  # a long list is read twice in places
                    continue
                seen.update([name] if most else [])
                newest_first = newest_first and created is not None and (oldest is None or created <= oldest)
                oldest = created
                of_it = ended.get(incident(task, project.project_id))
                if of_it is not None and (one := Ended.of(task, bell.rules, now)):
                    of_it[name] = one
                if len(seen) == most or (number % PAGE == 0 and not bell.history.take()):
                    break
            else:
                return {name: _Read(tuple(of_it.values()), query.since) for name, of_it in ended.items()}
        except (Transient, Misconfigured) as error:
            self._fault = True
            note(logging.WARNING, "the past cannot be told", error=error.message)
        if not newest_first or oldest is None:
            return {}
        return {name: _Read(tuple(of_it.values()), oldest) for name, of_it in ended.items()}


def _past(case: Case, read: _Read | None) -> Past | None:
    return past.of(case.log, case.outcome, read.ended, read.since) if read else None
