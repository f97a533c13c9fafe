"""The silence: what nobody has backed up for too long, and when that is told.

A resource is stale from the moment at which its last good backup is older than `max_age`; it is told in the window in
which that moment lies, and again every `repeat_interval` after it. So nothing has to be remembered. Where no good
backup is known the moment is reckoned from what is:

- the creation of its first task, where it has been tried: it has been in the vault since then at least;
- else the creation of its vault, since no list says when a resource was put into it. Where the vault was backed up
  meanwhile by its policy, that tells more: what it left out was missing then, or came later. Such a resource is told
  in the window in which the others were backed up (the first time in each interval), so that one that was added
  lately is not called stale before its turn.

A success says that it is over if before it the resource had been stale by the same reckoning. Of one that may have been
new, only those channels hear that which open incidents: where there is none to close, nobody is disturbed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.vaults import Vault, VaultResource
from vaultbell.outcome import OutcomeName, Rules, classify
from vaultbell.sweep import EPOCH, Window, last_repeat

INSTANT = timedelta(microseconds=1)
GONE = ("deleted", "removing")  # there is nothing any more that could be backed up


@dataclass(frozen=True, slots=True)
class Standing:
    """A resource of a vault, and what the task list tells of its backups.

    Attributes:
        goods: when its good backups ended, the oldest first, as far back as the list was read.
        runs: when the vault was backed up by a policy, the oldest first, as far back as the list was read.
        since: how far back that is.
        tasks: all the backups of it that the list knows, the oldest first; None: they were not asked for.
    """

    vault: Vault
    resource: VaultResource
    goods: tuple[datetime, ...] = ()
    runs: tuple[datetime, ...] = ()
    since: datetime | None = None
    tasks: tuple[OperationLog, ...] | None = None

    @property
    def last_good(self) -> datetime | None:
        """When its last good backup ended; None where none is known."""
        return self.goods[-1] if self.goods else None

    @property
    def began(self) -> datetime | None:
        """When its first backup was begun, good or not."""
        return next((task.created_at for task in self.tasks or () if task.created_at), None)

    @property
    def may_be_new(self) -> bool:
        """Whether it may have been put into the vault since that was backed up: it was never tried, others were."""
        return bool(self.runs) and not self.goods and not self.began

    def asked(self, tasks: Iterable[OperationLog], rules: Rules, now: datetime) -> Standing:
        """The same with all its tasks known, by what a list of them holds. Whatever else is in that does not count."""
        own = [task for task in tasks if task.extra_info.resource.id in (None, self.resource.id)]
        known = {task.id or place: task for place, task in enumerate(own)}.values()
        ordered = tuple(sorted(known, key=lambda task: task.created_at or EPOCH))
        goods = {good for task in ordered if (good := good_at(task, rules, now))}
        return replace(self, tasks=ordered, goods=tuple(sorted(goods.union(self.goods))))

    def before(self, task: OperationLog, good: datetime) -> Standing:
        """The same as it was before this task of it ended well."""
        begun = task.created_at or good
        return replace(
            self,
            tasks=tuple(one for one in self.tasks or () if one is not task and (one.created_at or good) < good),
            goods=tuple(one for one in self.goods if one < good),
            runs=tuple(run for run in self.runs if run < begun),
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """When something is told: at `first` it had become too old; `at` is now, a whole number of intervals later.

    `left_out`: when others of its vault were backed up, and it was not.
    """

    first: datetime
    at: datetime
    left_out: datetime | None = None


def is_to_be_backed_up(vault: Vault, resource: VaultResource) -> bool:
    """Whether a resource of a vault is to be backed up there: what is gone cannot be, nor is what has no id known."""
    return vault.is_for_backups and resource.id is not None and resource.protect_status not in GONE


def good_at(task: OperationLog, rules: Rules, now: datetime) -> datetime | None:
    """When a backup ended that may be relied upon; None for any other task."""
    outcome = classify(task, rules, now)
    good = task.operation_type == "backup" and outcome.name is OutcomeName.SUCCEEDED
    return (task.ended_at or outcome.at) if good else None


def slot(standing: Standing, max_age: timedelta, covered: Window, interval: timedelta) -> Slot | None:
    """When in this window it is told that the resource is stale; None: it is not, or it is told in another one.

    Of several moments in it the last one counts. What is good by now is not stale, even if it had been in the window.
    """
    if begin := standing.last_good or standing.began:
        first = begin + max_age
    else:
        first = _since_vault(standing, max_age)
        if standing.runs and standing.tasks is not None:
            return _left_out(standing.runs, first, covered, interval)
    repeat = last_repeat(first, covered, interval)
    return None if repeat is None else Slot(first, first + repeat * interval)


def over(
    standing: Standing, max_age: timedelta, covered: Window, interval: timedelta, rules: Rules
) -> Iterator[tuple[OperationLog, Standing, Slot]]:
    """The good backups of this window that ended a silence, what was known before, and when it was told the last time.

    The standing has to know all its tasks.
    """
    for task in standing.tasks or ():
        good = good_at(task, rules, covered.end)
        if good is None or good not in covered:
            continue
        before = standing.before(task, good)
        begin = before.last_good or before.began
        first = begin + max_age if begin else _since_vault(standing, max_age)
        if first < good:
            yield task, before, Slot(first, first + (good - INSTANT - first) // interval * interval)


def may_be_over(standing: Standing, max_age: timedelta, covered: Window) -> bool:
    """Whether `over` may find something once all tasks are known."""
    pairs = zip((None, *standing.goods), standing.goods, strict=False)
    return any(good in covered and (last is None or last + max_age < good) for last, good in pairs)


def _since_vault(standing: Standing, max_age: timedelta) -> datetime:
    return (standing.vault.created_at or EPOCH) + max_age


def _left_out(runs: Sequence[datetime], first: datetime, covered: Window, interval: timedelta) -> Slot | None:
    """The first run in each interval is the one that counts."""
    slots: dict[int, datetime] = {}
    for run in runs:
        if run >= first:
            slots.setdefault((run - first) // interval, run)
    caught = [(number, run) for number, run in slots.items() if run in covered]
    return Slot(first, first + caught[-1][0] * interval, caught[-1][1]) if caught else None
