"""A fleet of machines and their backups over weeks, made from a seed; and the ledger of what has to be said of it.

The plan is whole before anything happens: `Fleet.play` lets the cloud follow it as the clock goes on, and the ledger is
reckoned from the plan alone. Times are whole seconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from random import Random
from typing import NamedTuple

from standin.state import Cloud

MINUTE, HOUR, DAY = 60, 3_600, 86_400
DEADLINE = REPEAT = DAY  # after so long a backup that has not ended is overdue, and so often that is told again
LEAD = 9 * DAY  # how long before its beginning the fleet has been there: a weekly backup has been made
IN_A_VAULT = 200

# What becomes of a backup that goes wrong. One that hangs ends in some way after days, or never.
WRONG = {"failed": 55, "timed_out": 14, "skipped": 10, "partial": 12, "unknown": 3, "hangs": 6}
STATUS = {
    "succeeded": "success",
    "partial": "success",
    "failed": "failed",
    "timed_out": "timeout",
    "skipped": "skipped",
    "unknown": "suspended",
}
# How many of the machines are of which kind: how often they are backed up, and how often that begins to go wrong.
KINDS = {"daily": 900, "flaky": 20, "broken": 8, "hourly": 3, "weekly": 12, "paused": 8, "never": 6}
EVERY = {"hourly": HOUR, "weekly": 7 * DAY}
BEGINS_TO_FAIL = {"flaky": 0.15, "broken": 1.0, "hourly": 0.004}
GOES_ON_FAILING = {"flaky": 0.6, "broken": 1.0}
RETRIED = 0.3
OUTAGES = 2  # nights in which many fail at once
HIT = 0.06


@dataclass(frozen=True, slots=True)
class Machine:
    """What is backed up, or is meant to be."""

    number: int
    kind: str

    @property
    def id(self) -> str:
        return f"{self.number:08x}-0000-4000-9000-000000000000"

    @property
    def name(self) -> str:
        return f"machine-{self.number:05}"

    @property
    def vault(self) -> int:
        return self.number // IN_A_VAULT


@dataclass(frozen=True, slots=True)
class Backup:
    """A task as it is planned. `ended` None: never; `outcome` is that of its end."""

    id: str
    machine: Machine
    created: int
    started: int
    ended: int | None
    outcome: str

    @property
    def good(self) -> bool:
        return self.outcome == "succeeded"

    @property
    def deadline(self) -> int:
        return self.started + DEADLINE

    def has_ended(self, now: int) -> bool:
        """Whether it is over by then."""
        return self.ended is not None and self.ended <= now

    @property
    def was_overdue(self) -> bool:
        """Whether its deadline passed before its end."""
        return self.ended is None or self.deadline <= self.ended


class Past(NamedTuple):
    """What went before a backup that is told: how many in a row with it, and when a good one ended before and after."""

    failures_in_row: int
    last_good_at: int | None
    recovered_at: int | None


class Day(NamedTuple):
    """The figures of a roll call: backups by outcome, those that are not good, those that run, machines without any."""

    counts: Counter[str]
    bad: dict[str, str]  # outcomes by id
    running: set[str]  # ids
    without: dict[str, int | None]  # by name: when the last good one ended
    rows: int


@dataclass(frozen=True)
class Fleet:
    """So many machines for so many days from `start` on, which is a midnight (UTC)."""

    seed: int
    size: int
    start: int
    days: int

    @property
    def end(self) -> int:
        """After this nothing is begun any more."""
        return self.start + self.days * DAY

    @cached_property
    def machines(self) -> Sequence[Machine]:
        kinds = Random(f"{self.seed} kinds").choices(list(KINDS), list(KINDS.values()), k=self.size)  # noqa: S311 - a plan
        return [Machine(number, kind) for number, kind in enumerate(kinds)]

    @cached_property
    def backups(self) -> Sequence[Backup]:
        """All of them, in the order in which they are created."""
        return sorted((one for own in self.by_machine.values() for one in own), key=lambda one: (one.created, one.id))

    @cached_property
    def by_machine(self) -> dict[Machine, list[Backup]]:
        """The backups of each, in the order in which they are created."""
        return {machine: sorted(self._planned(machine), key=lambda one: one.created) for machine in self.machines}

    @cached_property
    def outages(self) -> Sequence[range]:
        """When many fail at once."""
        random = Random(f"{self.seed} outages")  # noqa: S311 - a plan
        nights = [self.start + night * DAY for night in random.sample(range(self.days), OUTAGES)]
        return [range(night, night + 7 * HOUR) for night in nights]

    def play(self, cloud: Cloud) -> Iterator[int]:
        """Let the cloud have the vaults, and then, each time that this is asked to go on, all that it has begun by now.

        Gives the number of backups that there are.
        """
        for first in range(0, self.size, IN_A_VAULT):
            machines = self.machines[first : first + IN_A_VAULT]
            resources = [{"id": machine.id, "name": machine.name} for machine in machines]
            cloud.vault(*resources, name=_vault(machines[0]), created_at=_time(self.start - 90 * DAY))
        number = 0
        while True:
            now = cloud.now().timestamp()
            while number < len(self.backups) and self.backups[number].created <= now:
                _begin(cloud, self.backups[number])
                number += 1
            yield number

    def _planned(self, machine: Machine) -> Iterator[Backup]:
        """What becomes of a machine's backups, from long before the start on."""
        if machine.kind == "never":
            return
        random = Random(f"{self.seed} machine {machine.number}")  # noqa: S311 - a plan
        every = EVERY.get(machine.kind, DAY)
        at = self.start - LEAD - LEAD % every + random.randrange(min(every, 7 * HOUR))
        paused = range(0)
        if machine.kind == "paused":
            paused = range(begin := self.start + random.randrange(self.days * DAY), begin + random.randint(2, 5) * DAY)
        count, free, failing = 0, 0, False
        while at < self.end:
            created, at = at + int(random.expovariate(1 / MINUTE)), at + every
            if created in paused or created < free or created >= self.end:
                continue
            for _ in range(1 if every == HOUR else 2):
                chances = GOES_ON_FAILING.get(machine.kind, 0.5), BEGINS_TO_FAIL.get(machine.kind, 0.012)
                hit = any(created in outage for outage in self.outages) and random.random() < HIT
                failing = hit or random.random() < chances[0 if failing else 1]
                one = self._backup(machine, count, created, "" if failing else "succeeded", random, short=every == HOUR)
                yield one
                count += 1
                if one.was_overdue or one.ended is None:
                    break  # the next one does not wait for it
                free = one.ended + 1
                created = one.ended + random.randint(10 * MINUTE, 90 * MINUTE)
                if one.good or random.random() > RETRIED or created >= self.end:
                    break

    def _backup(
        self, machine: Machine, count: int, created: int, outcome: str, random: Random, *, short: bool
    ) -> Backup:
        name = f"{machine.number:08x}-{count:04x}-4000-a000-{self.seed & 0xFFFFFFFFFFFF:012x}"
        outcome = outcome or random.choices(list(WRONG), list(WRONG.values()))[0]
        waits = random.randint(MINUTE, 30 * MINUTE) if random.random() < 0.1 and not short else 0
        lasts = int(min(random.lognormvariate(6, 1.1), 20 * MINUTE if short else 5 * HOUR)) + 20
        started: int = created + waits
        match outcome:
            case "hangs":
                ended = None if random.random() < 0.2 else started + random.randint(20 * HOUR, 90 * HOUR)
                outcome = random.choice(["succeeded", "failed", "timed_out", "partial"])
            case "skipped":
                ended = started + random.randint(5, MINUTE)
            case "timed_out":
                ended = started + (45 * MINUTE if short else random.randint(3 * HOUR, 6 * HOUR))
            case _:
                ended = started + lasts
        return Backup(name, machine, created, started, ended, outcome)


@dataclass(frozen=True)
class Ledger:
    """The truth about a fleet at any time, by its plan alone."""

    fleet: Fleet

    @cached_property
    def by_id(self) -> dict[str, Backup]:
        return {one.id: one for one in self.fleet.backups}

    def past(self, one: Backup, now: int, *, overdue: bool) -> Past:
        """What went before a backup, as of its end (or its deadline), and which good one came after it by now."""
        moment = one.deadline if overdue or one.ended is None else one.ended
        own = self.fleet.by_machine[one.machine]
        row, last_good = 1, None
        for before in reversed([other for other in own if other.created < one.created and other.has_ended(moment)]):
            if before.good:
                last_good = before.ended
                break
            row += 1
        return Past(row, last_good, None if overdue else self.newer_good(one, now))

    def newer_good(self, one: Backup, now: int) -> int | None:
        """When the first good one that was created after it ended, of those that have by now."""
        own = self.fleet.by_machine[one.machine]
        ends = [
            other.ended
            for other in own
            if other.created > one.created and other.good and other.ended is not None and other.ended <= now
        ]
        return min(ends, default=None)

    def told(self, since: int, until: int) -> set[tuple[str, str]]:
        """The ends that have to be told, as id and outcome: of all that ended badly in that time."""
        return {
            (one.id, one.outcome)
            for one in self.fleet.backups
            if not one.good and one.ended is not None and since <= one.ended < until
        }

    def overdue(self, since: int, until: int, patience: int) -> dict[str, list[int]]:
        """When each backup that hangs has to be told, by id: the moments after which it hangs for so long again."""
        found = {}
        for one in self.fleet.backups:
            last = until if one.ended is None else min(until, one.ended - patience)
            if slots := [slot for slot in range(one.deadline, last, REPEAT) if since <= slot]:
                found[one.id] = slots
        return found

    def closing(self, bad: Backup) -> Backup | None:
        """The good backup that ends what a bad one began: itself, where it was only late; else the first after it."""
        if bad.good:
            return bad if bad.was_overdue else None
        after = [
            other
            for other in self.fleet.by_machine[bad.machine]
            if other.good
            and other.created > bad.created
            and other.ended is not None
            and bad.ended is not None
            and other.ended > bad.ended
        ]
        return min(after, key=lambda other: other.ended or 0, default=None)

    def closed(self, since: int, until: int) -> dict[str, set[str]]:
        """The ends of incidents that have to be told: ids of good backups, and the bad ones that each may close."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for one in self.fleet.backups:
            good = self.closing(one)
            if good and good.ended is not None and since <= good.ended < until:
                found[good.id].add(one.id)
        return found

    def is_open(self, machine: Machine, since: int, now: int) -> bool | None:
        """Whether an incident of this machine has to be open, that began after `since`; None: it may be.

        A backup that hangs while newer ones are good is one that may: each of these ends what others began.
        """
        unsure = False
        own = self.fleet.by_machine[machine]
        for bad in own:
            if bad.ended is not None and bad.ended < now:
                told = None if bad.good else bad.ended
            else:
                told = max(range(bad.deadline, now, REPEAT), default=None)
            if told is None or told < since:
                continue
            newer = [other for other in own if other.good and other.created > bad.created and other.has_ended(now)]
            if not newer:
                return True
            good = self.closing(bad) if bad.was_overdue else None
            unsure = unsure or (bad.was_overdue and not (good and good.has_ended(now)))
        return None if unsure else False

    def day(self, since: int, now: int, history: int) -> Day:
        """The figures of the day from `since` on, asked for later. `history`: how far before it the list is read."""
        until = since + DAY
        counts: Counter[str] = Counter()
        bad, running, tried, rows = {}, set(), set(), 0
        ends = bisect_left(self.fleet.backups, until, key=lambda one: one.created)
        for one in self.fleet.backups[:ends]:
            rows += one.created >= since - history or not one.has_ended(now)
            if not one.has_ended(now):
                outcome = "overdue" if one.deadline <= until else "running"
            elif one.ended is not None and since <= one.ended < until:
                outcome = one.outcome
            else:
                if one.ended is not None and one.ended >= until:  # it was under way when the day ended
                    tried.add(one.machine)
                continue
            counts[outcome] += 1
            tried.add(one.machine)
            if outcome == "running":
                running.add(one.id)
            elif outcome != "succeeded":
                bad[one.id] = outcome
        without = {
            machine.name: self._last_good(machine, until) for machine in self.fleet.machines if machine not in tried
        }
        return Day(counts, bad, running, without, rows)

    def _last_good(self, machine: Machine, until: int) -> int | None:
        ends = [one.ended for one in self.fleet.by_machine[machine] if one.good and one.ended and one.ended < until]
        return max(ends, default=None)


def _begin(cloud: Cloud, one: Backup) -> None:
    steps = [(0, "waiting" if one.started > one.created or one.outcome == "skipped" else "running")]
    if one.started > one.created and one.outcome != "skipped":
        steps.append((one.started - one.created, "running"))
    if one.ended is not None:
        steps.append((one.ended - one.created, STATUS[one.outcome]))
    half = {
        "incremental": "true",
        "app_consistency_status": "1",
        "app_consistency_error_code": "BackupService.7410",
        "app_consistency_error_message": "The scripts of the application were not run.",
    }
    cloud.add(
        script=steps,
        id=one.id,
        created_at=_time(one.created),
        started_at=_time(one.created),
        resource_id=one.machine.id,
        resource_name=one.machine.name,
        vault_id=f"{one.machine.vault:08x}-0000-4000-8000-000000000000",
        vault_name=_vault(one.machine),
        extra_info={"backup": half} if one.outcome == "partial" else {},
    )


def _vault(machine: Machine) -> str:
    return f"vault-{machine.vault:02}"


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
