"""What a roll call counts: how the backups of a time went, which still run, and what has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from vaultbell import times
from vaultbell.outcome import OutcomeName
from vaultbell.report import Object

GOOD, STILL = OutcomeName.SUCCEEDED, OutcomeName.RUNNING
DAY = timedelta(days=1)
WORDS = {
    OutcomeName.FAILED: "failed",
    OutcomeName.TIMED_OUT: "timed out",
    OutcomeName.SKIPPED: "skipped",
    OutcomeName.PARTIAL: "in part",
    OutcomeName.OVERDUE: "overdue",
    OutcomeName.UNKNOWN: "in an unknown state",
}

Rows = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Running:
    """A backup that has not ended. `progress` in percent, as far as it is known."""

    task_id: str | None
    headline: str
    progress: int | None


@dataclass(frozen=True, slots=True)
class Without:
    """A resource of which no backup ended in the time, and none is under way.

    `last_good`: when its last good backup before that ended; None with `asked`: none is on record.
    """

    resource_id: str
    resource_name: str
    vault_name: str
    last_good: datetime | None = None
    asked: bool = False

    def words(self, zone: tzinfo | None) -> str:
        """When it was backed up."""
        if self.last_good:
            return f"last good {times.plain(self.last_good, zone)}"
        return "none good on record" if self.asked else "last good not asked for"


@dataclass(frozen=True, slots=True)
class Tally:
    """The figures of a roll call, from `start` to `end`.

    Attributes:
        since: how far back the task list was read.
        rows: how many tasks that was, of those that there were at `end`.
        complete: whether every list was read to its end.
        counts: backups by outcome: those that ended in the time, and those that have not ended.
        others: the same for tasks of other types.
        running: backups that have not ended, the most advanced first; `counts` has all of them.
        without: what no backup ended of.
        remarks: what else there is to say of what was read, in words.
    """

    start: datetime
    end: datetime
    since: datetime
    rows: int
    complete: bool
    counts: Mapping[str, int]
    others: Mapping[str, int]
    running: tuple[Running, ...] = ()
    without: tuple[Without, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """As in "Backups of 2026-11-24: 498 good, 3 failed, 1 still running at 37 %, 2 without a backup"."""
        day = f"{self.start:%Y-%m-%d}"
        when = day if self.end - self.start == DAY else f"{times.plain(self.start)} to {times.plain(self.end)}"
        return f"Backups of {when}: {', '.join(self._figures())}"

    def _figures(self) -> Iterator[str]:
        yield f"{self.counts.get(GOOD, 0)} good"
        yield from (f"{count} {words}" for name, words in WORDS.items() if (count := self.counts.get(name)))
        if still := self.counts.get(STILL):
            most = self.running[0].progress if self.running else None
            at = "" if most is None else f" at {most} %" if still == 1 else f" at {most} % or less"
            yield f"{still} still running{at}"
        if self.without:
            yield f"{len(self.without)} without a backup"
        if others := sum(count for name, count in self.others.items() if name not in (GOOD, STILL)):
            yield f"{others} other {'task' if others == 1 else 'tasks'} not well"

    @property
    def reason(self) -> str:
        """Over which time, and how much of the list was read."""
        end = "" if self.complete else "; the list was not read to its end"
        told = f"read {self.rows:,} tasks of the list, from {times.plain(self.since)} to {times.plain(self.end)}{end}"
        return "; ".join((told, *self.remarks))

    def tables(self, zone: tzinfo | None = None) -> Iterator[tuple[str, str, Rows]]:
        """What still runs and what is without, as tables: the title, the outcome that advice is for, and the rows."""
        if self.running:
            rows = ((one.headline, "", "" if one.progress is None else f"at {one.progress} %") for one in self.running)
            yield f"{self.counts.get(STILL, 0)} still running", STILL, tuple(rows)
        if self.without:
            named = ((f"{one.resource_name} in {one.vault_name}", "", one.words(zone)) for one in self.without)
            yield f"{len(self.without)} without a backup", OutcomeName.STALE, tuple(named)

    def data(self) -> Object:
        """The figures for programs."""
        return {
            "from": times.iso(self.start),
            "until": times.iso(self.end),
            "rows": self.rows,
            "complete": self.complete,
            "counts": {name.value: self.counts.get(name, 0) for name in (GOOD, *WORDS, STILL)},
            "others": {**self.others},
            "running": [
                {"operation_log_id": one.task_id, "headline": one.headline, "progress": one.progress}
                for one in self.running
            ],
            "without_backup": [
                {
                    "resource_id": one.resource_id,
                    "resource_name": one.resource_name,
                    "vault_name": one.vault_name,
                    "last_good_at": times.iso(one.last_good) if one.last_good else None,
                }
                for one in self.without
            ],
        }
