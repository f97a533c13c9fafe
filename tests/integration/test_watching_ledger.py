"""Watching against a ledger that is kept in another way: every silence is told when it is due, and nothing else is.

Times are whole minutes from START on. The ledger knows the truth minute by minute, and does no arithmetic of windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from vaultbell import watching
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.endpoints import Endpoints
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.vaults import Policy, Vault
from vaultbell.handling import Handling
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.report import JSON
from vaultbell.settings import OutcomeRules, Route, SweepRules, WatchRule
from vaultbell.sweep import window

START = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PERIOD, LAG, DAYS = 120, 5, 8
END = DAYS * 24 * 60
PROJECT = Project("0" * 32)


def at(minute: int) -> datetime:
    return START + minute * MINUTE


def minute(moment: datetime) -> int:
    return (moment - START) // MINUTE


@dataclass(frozen=True)
class Task:
    """A backup: of which resource, begun and ended when, and how. `policy`: whether the vault's policy began it."""

    resource: int
    begun: int
    ended: int
    good: bool
    policy: bool

    def log(self, *, over: bool) -> OperationLog:
        status = ("success" if self.good else "failed") if over else "running"
        given: dict[str, JSON] = {
            "id": f"{self.resource}-{self.begun}-{self.ended}",
            "project_id": PROJECT.project_id,
            "operation_type": "backup",
            "status": status,
            "vault_id": "v",
            "created_at": at(self.begun).isoformat(),
            "started_at": at(self.begun).isoformat(),
            "updated_at": at(self.ended if over else self.begun).isoformat(),
            "ended_at": at(self.ended).isoformat() if over else None,
            "policy_id": "p" if self.policy else None,
            "extra_info": {"resource": {"id": f"r{self.resource}", "name": f"r{self.resource}"}},
        }
        return OperationLog.read(given)


@dataclass
class World:
    """A cloud with one vault: its tasks, and from when to when each resource is in the vault. Also an API of it."""

    tasks: Sequence[Task]
    stays: Sequence[tuple[int, int]]
    created: int
    compared: str
    now: datetime = START
    told: list[Notification] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logs = [(task, task.log(over=False), task.log(over=True)) for task in self.tasks]
        self.endpoints = Endpoints("eu-de", None, None)

    def list(self, _project: Project, query: Query, _budget: Budget) -> Iterator[OperationLog]:
        """The task list as it is now."""
        for task, running, over in self.logs:
            if at(task.begun) > self.now:
                continue
            log = over if at(task.ended) <= self.now else running
            moment = getattr(log, self.compared)
            if (
                query.status in (None, log.status)
                and query.resource_id in (None, log.extra_info.resource.id)
                and (query.since is None or (moment is not None and moment >= query.since))
            ):
                yield log

    def vaults(self, _project: Project, _budget: Budget) -> Sequence[Vault]:
        inside = [number for number, (come, gone) in enumerate(self.stays) if at(come) <= self.now < at(gone)]
        resources: list[JSON] = [{"id": f"r{number}", "name": f"r{number}"} for number in inside]
        return [
            Vault.read({"id": "v", "name": "v", "created_at": at(self.created).isoformat(), "resources": resources})
        ]

    def policies(self, _project: Project, _budget: Budget) -> Sequence[Policy]:
        return []

    def send(self, notification: Notification, _budget: Budget) -> Taken:
        """The channel."""
        self.told.append(notification)
        return Taken()


@dataclass(frozen=True)
class Ledger:
    """What is due, by the truth of a world at a tick."""

    world: World
    max_age: int
    interval: int

    def stale(self, now: int, covered: range) -> set[tuple[str, int]]:
        """Which resources are told in this window, and for which slot: that of the last minute at which one is due."""
        found = set()
        for number, (come, gone) in enumerate(self.world.stays):
            due = [moment for moment in covered if self._is_due(number, moment, now, covered.start)]
            if come <= now < gone and due:
                found.add((f"r{number}", self._slot(number, due[-1], now)))
        return found

    def _known(self, number: int, now: int) -> tuple[list[int], list[int]]:
        """When its good backups ended and when its backups were begun, as far as can be known now."""
        own = [task for task in self.world.tasks if task.resource == number and task.begun <= now]
        return sorted(task.ended for task in own if task.good and task.ended <= now), sorted(task.begun for task in own)

    def _anchor(self, number: int, now: int) -> int:
        goods, begun = self._known(number, now)
        return goods[-1] if goods else begun[0] if begun else self.world.created

    def _runs(self, now: int, start: int) -> list[int]:
        """When the policy's backups ended, as far back as a sweep reads: the repeat of a telling, and a long backup."""
        since = start - self.max_age - self.interval - 24 * 60
        runs = [task for task in self.world.tasks if task.good and task.policy and task.ended <= now]
        by_end = self.world.compared == "updated_at"
        return sorted(task.ended for task in runs if (task.ended if by_end else task.begun) >= since)

    def _is_due(self, number: int, moment: int, now: int, start: int) -> bool:
        goods, begun = self._known(number, now)
        late = moment - self._anchor(number, now) - self.max_age
        if late < 0:
            return False
        runs = self._runs(now, start)
        if not goods and not begun and runs:
            slot = late // self.interval
            first = moment - late
            same = [run for run in runs if run >= first and (run - first) // self.interval == slot]
            return moment == min(same, default=None)
        return late % self.interval == 0

    def _slot(self, number: int, moment: int, now: int) -> int:
        late = moment - self._anchor(number, now) - self.max_age
        return moment - late % self.interval

    def over(self, now: int, covered: range) -> set[str]:
        """Which good backups of this window ended a silence."""
        found = set()
        for task in self.world.tasks:
            come, gone = self.world.stays[task.resource]
            if not (task.good and task.ended in covered and task.ended <= now and come <= now < gone):
                continue
            others = [one for one in self.world.tasks if one.resource == task.resource and one is not task]
            goods = [one.ended for one in others if one.good and one.ended < task.ended]
            begun = [one.begun for one in others if one.begun < task.ended]
            may_be_new = not goods and not begun and any(run < task.begun for run in self._runs(now, covered.start))
            anchor = max(goods) if goods else min(begun) if begun else self.world.created
            if anchor + self.max_age < task.ended and not may_be_new:
                found.add(f"{task.resource}-{task.begun}-{task.ended}")
        return found


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Some resources that come and go, with backups by day or now and then, good or not."""
    number = draw(st.integers(1, 3))
    stays = [(draw(st.integers(-2000, END)), draw(st.integers(0, 2 * END))) for _ in range(number)]
    tasks = {}
    for resource in range(number):
        daily = draw(st.booleans())
        offset = draw(st.integers(-3000, 1500))
        times = range(offset, END, 1440) if daily else draw(st.lists(st.integers(-3000, END), max_size=5))
        for begun in times:
            good, policy = draw(st.sampled_from([(True, True), (True, True), (True, False), (False, True)]))
            ended = begun + draw(st.integers(1, 240))
            tasks[resource, begun] = Task(resource, begun, ended, good, policy)
    ends = {(task.resource, task.ended): task for task in tasks.values()}  # no two end together
    compared = draw(st.sampled_from(["created_at", "started_at", "updated_at"]))
    return World(list(ends.values()), stays, draw(st.integers(-20_000, 500)), compared)


def bell(world: World, max_age: int, interval: int) -> Bell:
    hours = {"max_age": f"{max_age}m", "vault": "v"}
    return Bell(
        cbr=cast("Cbr", world),
        projects=None,  # type: ignore[arg-type]  # nobody asks for them
        rules=OutcomeRules.model_validate({"repeat_interval": f"{interval}m"}),
        sweeps=SweepRules(),
        routes=[Route(channels=("bell",))],
        channels={"bell": world},
        resolving=frozenset({"bell"}),
        watch=[WatchRule.model_validate(hours)],
        now=lambda: world.now,
    )


def slot_of(
    notification: Notification, ids: dict[str, tuple[str, int]], ledger: set[tuple[str, int]]
) -> tuple[str, int]:
    """Which slot a message is about: the id tells it, once it has been learned."""
    name = notification.facts["resource_id"]
    (due,) = [one for one in ledger if one[0] == name]
    return ids.setdefault(notification.id, due)


@examples(max_examples=15, deadline=None)
@given(
    worlds(),
    st.sampled_from([26 * 60, 30 * 60, 500]),
    st.sampled_from([24 * 60, 7 * 60]),
    st.lists(st.tuples(st.sampled_from([1, 1, 1, 0, 2]), st.sampled_from([0, 3, 100])), min_size=END // PERIOD),
)
def test_each_silence_is_told_when_it_is_due_under_an_id_of_its_own_and_nothing_else_is(
    world: World, max_age: int, interval: int, ticks: list[tuple[int, int]]
) -> None:
    ledger, house = Ledger(world, max_age, interval), bell(world, max_age, interval)
    ids: dict[str, tuple[str, int]] = {}
    bodies: dict[str, Notification] = {}
    for number, (times, jitter) in zip(range(END // PERIOD), ticks, strict=False):
        for turn in range(times):
            now = (number + 1) * PERIOD + LAG + jitter + turn
            world.now = at(now)
            world.told.clear()
            covered = window(world.now, PERIOD * MINUTE, LAG * MINUTE)
            handling = Handling(house, house.cbr, Budget.of(60), leave=True)
            lines = watching.watch(handling, [PROJECT], covered, None, {})
            assert all(line.result.status == 200 for line in lines)
            minutes = range(minute(covered.start), minute(covered.end))
            stale = [told for told in world.told if told.type == "cbr.backup.stale"]
            over = [told.facts["operation_log_id"] for told in world.told if told.type == "cbr.task.resolved"]
            due = ledger.stale(now, minutes)
            assert {slot_of(told, ids, due) for told in stale} == due
            assert len(stale) == len(due)
            assert sorted(over) == sorted(ledger.over(now, minutes))
            for told in stale:  # a silence at the time of telling, too
                name = int(told.facts["resource_id"][1:])
                goods = [task.ended for task in world.tasks if task.resource == name and task.good]
                assert not [good for good in goods if now - max_age < good <= now]
                bodies.setdefault(told.id, told)
    assert len(set(ids.values())) == len(ids)  # each slot has one id
