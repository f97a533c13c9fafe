"""Watching at work: reads what is in the vaults and when it was backed up, and rings for what nobody has backed up.

A sweep calls this once it has told its own. Each project costs the pages of the vault list, one list of the good
backups of late, and the list of policies where something is to be told. Only resources of which that does not say
enough are asked for one by one, side by side, and `ASKED_MOST` of them; of the others it is told that there was no
good backup as far back as was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from vaultbell import notification, routing, stale_message, staleness
from vaultbell.bell import WatchRule, side_by_side
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.vaults import Policy, Vault
from vaultbell.errors import Misconfigured, Transient
from vaultbell.handling import Handling
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.outcome import Rules, classify
from vaultbell.report import Action, Result
from vaultbell.ringing import Line, Ring, ring
from vaultbell.routing import Selection
from vaultbell.staleness import Slot, Standing
from vaultbell.sweep import Window

ASKED_MOST = 500
A_TURN = 3 / 4  # of the time that is left: the most for reading, so that what was found can be told
BACKUP = "backup"

T = TypeVar("T")

Told = Mapping[str, Sequence[str]]


def watch(
    handling: Handling, projects: Sequence[Project], covered: Window, at: datetime | None, told: Told
) -> list[Line]:
    """Ring for what has become stale in this window, and tell of what no longer is.

    `told`: the channels that have heard of the end of something in this sweep, by the notification's id.
    """
    work = _Work(handling, covered, told)
    found = [line for project in projects for line in work.look(project)]
    return [*ring(handling.bell, found, handling.budget), *work.faults(at)]


def roll(
    cbr: Cbr,
    project: Project,
    rules: Rules,
    since: datetime,
    now: datetime,
    budget: Budget,
    wanted: Callable[[Vault], bool] = lambda _vault: True,
) -> list[Standing]:
    """Each resource that is to be backed up in one of the wanted vaults, and its good backups from `since` on.

    Raises Transient and Misconfigured where a list cannot be read.
    """
    try:
        vaults = {vault.id: vault for vault in cbr.vaults(project, budget) if wanted(vault)}
    except Misconfigured as error:
        raise _refused("vaults", error) from None
    found = {
        resource.id: Standing(vault, resource, since=since)
        for vault in vaults.values()
        for resource in vault.resources
        if staleness.is_to_be_backed_up(vault, resource)
    }
    goods: dict[str | None, set[datetime]] = {}
    runs: dict[str | None, set[datetime]] = {}
    for log in cbr.list(project, Query("success", since, BACKUP), budget) if found else ():
        good = staleness.good_at(log, rules, now)
        if good and good >= since:
            goods.setdefault(log.extra_info.resource.id, set()).add(good)
            if log.policy_id:
                runs.setdefault(log.vault_id, set()).add(good)
    ordered = {vault_id: tuple(sorted(times)) for vault_id, times in runs.items()}
    return [
        replace(standing, goods=tuple(sorted(goods.get(resource_id, ()))), runs=ordered.get(standing.vault.id, ()))
        for resource_id, standing in found.items()
    ]


def rule_of(vault: Vault, rules: Sequence[WatchRule]) -> WatchRule | None:
    """The first rule that a vault's name or id fits."""
    names = [name for name in (vault.name, vault.id) if name]
    return next((rule for rule in rules if any(routing.glob(rule.vault).fullmatch(name) for name in names)), None)


@dataclass(frozen=True, slots=True)
class _Watched:
    project: Project
    standing: Standing
    max_age: timedelta


class _Work:
    """The watching of one sweep, and the faults in its way."""

    def __init__(self, handling: Handling, covered: Window, told: Told) -> None:
        self._handling = handling
        self._bell = handling.bell
        self._covered = covered
        self._told = told
        self._interval = handling.bell.rules.repeat_interval
        self._late: dict[Project, Transient] = {}
        self._refused: dict[tuple[Project, str], Misconfigured] = {}

    def look(self, project: Project) -> list[Line]:
        """All that there is to tell of a project's vaults."""
        budget = self._handling.budget.share(A_TURN)
        watched = self._read(project, lambda: self._watched(project, budget)) or []
        # what no good backup is known of comes last: it is told without more, and an end is not
        unsure = sorted(filter(self._is_unsure, watched), key=lambda one: not one.standing.goods)
        asked = side_by_side(partial(self._asked, budget), unsure[:ASKED_MOST])
        known = [*(one for one in asked if one), *unsure[ASKED_MOST:]]
        stale = [(one, slot) for one in known if (slot := self._slot(one))]
        policies = self._policies(project, budget) if stale else None
        lines = [self._stale(one, slot, policies) for one, slot in stale]
        return lines + ([line for one in known for line in self._over(one)] if self._bell.resolving else [])

    def faults(self, at: datetime | None) -> Iterator[Line]:
        """A line for each list that could not be read."""
        for project, late in self._late.items():
            yield self._handling.again(Result(Action.RETRY, 503, project_id=project.project_id), late)
        for (project, _), error in self._refused.items():
            known = Result(Action.RETRY, 500, project_id=project.project_id)
            yield self._handling.unverified(error, known, project.region, at)

    def _watched(self, project: Project, budget: Budget) -> list[_Watched]:
        """What is watched here. The list goes back as far as the first repeat of a telling, and a long backup."""
        rules, outcomes, now = self._bell.watch, self._bell.rules, self._bell.now()
        longest = max(rule.max_age for rule in rules)
        since = self._covered.start - longest - self._interval - outcomes.deadline_of(BACKUP)
        found = roll(
            self._handling.cbr, project, outcomes, since, now, budget, lambda vault: rule_of(vault, rules) is not None
        )
        return [_Watched(project, one, rule.max_age) for one in found if (rule := rule_of(one.vault, rules))]

    def _is_unsure(self, one: _Watched) -> bool:
        """Whether more has to be known of it: to find out whether it is stale, to tell that, or that it is over."""
        return (
            not one.standing.goods
            or self._slot(one) is not None
            or (bool(self._bell.resolving) and staleness.may_be_over(one.standing, one.max_age, self._covered))
        )

    def _slot(self, one: _Watched) -> Slot | None:
        return staleness.slot(one.standing, one.max_age, self._covered, self._interval)

    def _asked(self, budget: Budget, one: _Watched) -> _Watched | None:
        """The same with all its tasks; None where they could not be read."""
        query = Query(operation_type=BACKUP, resource_id=one.standing.resource.id)
        tasks = self._read(one.project, lambda: list(self._handling.cbr.list(one.project, query, budget)))
        if tasks is None:
            return None
        return replace(one, standing=one.standing.asked(tasks, self._bell.rules, self._bell.now()))

    def _policies(self, project: Project, budget: Budget) -> Sequence[Policy] | None:
        """The project's policies. What they would explain is told without them, too."""

        def read() -> Sequence[Policy]:
            try:
                return self._handling.cbr.policies(project, budget)
            except Misconfigured as error:
                raise _refused("policies", error) from None

        return self._read(project, read)

    def _read(self, project: Project, read: Callable[[], T]) -> T | None:
        """What is read; None where it cannot be, which is in the report then."""
        if (late := self._late.get(project)) and late.after is not None:
            return None  # the cloud asked for a rest
        try:
            return read()
        except Transient as error:
            self._late[project] = error
        except Misconfigured as error:
            self._refused[project, error.cause] = error
        return None

    def _stale(self, one: _Watched, slot: Slot, policies: Sequence[Policy] | None) -> Line:
        return self._line(self._message(one, one.standing, slot, policies))

    def _over(self, one: _Watched) -> Iterator[Line]:
        """What ended a silence in this window, told to those who wait for that and have not heard of it yet."""
        rules = self._bell.rules
        for task, before, slot in staleness.over(one.standing, one.max_age, self._covered, self._interval, rules):
            silence = self._message(one, before, slot, None)
            success = self._success(one.project, task)
            resolved = notification.of_resolved(success, silence)
            waiting = self._bell.resolving - set(self._told.get(resolved.id, ()))
            waiting &= self._bell.incidents if before.may_be_new else waiting
            channels = tuple(name for name in routing.select(silence, self._bell.routes).channels if name in waiting)
            if channels:
                yield self._line(resolved, Selection(channels))

    def _message(
        self, one: _Watched, standing: Standing, slot: Slot, policies: Sequence[Policy] | None
    ) -> Notification:
        return stale_message.of(
            standing,
            slot,
            one.max_age,
            policies,
            self._bell.rules,
            self._covered.end,
            project_id=one.project.project_id,
            region=self._region(one.project),
        )

    def _success(self, project: Project, task: OperationLog) -> Notification:
        rules = self._bell.rules
        outcome = classify(task, rules, self._covered.end)
        return notification.of_task(task, outcome, rules, project_id=project.project_id, region=self._region(project))

    def _region(self, project: Project) -> str | None:
        return project.region or self._handling.cbr.endpoints.region

    def _line(self, told: Notification, to: Selection | None = None) -> Line:
        to = to or routing.select(told, self._bell.routes)
        result = Result(
            Action.QUIET,
            operation_log_id=told.facts.get("operation_log_id"),
            project_id=told.project_id,
            operation_type=BACKUP,
            outcome=told.outcome,
            severity=told.severity,
            reason=told.reason,
            incident=told.incident,
        )
        return Line(result, (Ring(told, to),) if to.channels else ())


def _refused(name: str, error: Misconfigured) -> Misconfigured:
    """The same, with the list that was refused, and the right that it takes."""
    if error.cause == "credentials":
        return error
    told = f"the list of {name}: {error.message}; it takes the right cbr:{name}:list"
    return Misconfigured(told, cause=f"{error.cause}-{name}", status=error.status)
