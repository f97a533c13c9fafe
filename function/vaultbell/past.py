"""What went before a task that did not end well: how often in a row, and when the last good one was.

All is reckoned as of the task's own time, never of the clock, so that a repeat says the same. The one exception is a
newer success, which may come between two tellings.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import NamedTuple

from vaultbell import times
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import Outcome, OutcomeName, Rules, came_about, classify
from vaultbell.report import Object

NEVER = "never"  # no good one is on record: older than any age
OR_MORE = "+"  # the list was not read to its end: at least so many, so old

NOUNS = {"backup": "backup", "copy": "copy", "replication": "copy"}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Ended(NamedTuple):
    """What matters of a task of the same incident that has ended."""

    created_at: datetime
    ended_at: datetime
    good: bool

    @classmethod
    def of(cls, log: OperationLog, rules: Rules, now: datetime) -> Ended | None:
        """None where the task has not ended, or does not say when it was created."""
        if log.created_at is None or log.status in ("running", "waiting"):
            return None
        good = log.status == "success" and classify(log, rules, now).name is OutcomeName.SUCCEEDED
        return cls(log.created_at, log.ended_at or came_about(log), good)


class Past(NamedTuple):
    """What is known of the tasks of the same incident.

    Attributes:
        failures_in_row: tasks that did not succeed, one after the other; the last is the one that is told.
        last_good_at: when the last success before it ended.
        newer_good_at: when the first success that was created after it ended.
        recovered: whether that makes good what went wrong. It does not for a task that still hangs.
        since: how far back the list was read, where that was not to its end and there is no success in it.
    """

    failures_in_row: int
    last_good_at: datetime | None = None
    newer_good_at: datetime | None = None
    recovered: bool = False
    since: datetime | None = None

    def data(self) -> Object:
        """The past for programs."""
        told: Object = {
            "failures_in_row": self.failures_in_row,
            "last_good_at": times.iso(self.last_good_at) if self.last_good_at else None,
        }
        if self.recovered and self.newer_good_at:
            told["recovered_at"] = times.iso(self.newer_good_at)
        return told

    def facts(self, at: datetime) -> dict[str, str]:
        """The past as routes match it, reckoned from the task's time."""
        told = {"failures_in_row": f"{self.failures_in_row}{OR_MORE if self.since else ''}"}
        if self.last_good_at:
            told["last_good_at"] = times.iso(self.last_good_at)
        if begin := self.last_good_at or self.since:
            told["last_good_age"] = f"{(at - begin).total_seconds():.0f}{OR_MORE if self.since else ''}"
        else:
            told["last_good_age"] = NEVER
        return told

    def words(self, operation_type: str | None, at: datetime, zone: tzinfo | None = None) -> str:
        """The past for people: "third failure in a row; last good backup 2026-11-20 02:31 UTC, 3 d 5 h before"."""
        noun = NOUNS.get(operation_type or "")
        good, count = f"good {noun}" if noun else "success", self.failures_in_row
        told = []
        if self.newer_good_at:
            told.append(f"a newer {noun or 'one'} succeeded {times.plain(self.newer_good_at, zone)}")
        if count == 1 and not self.since:
            told.append("first failure")
        elif count > 1:
            told.append(f"at least {count} failures in a row" if self.since else f"{_ordinal(count)} failure in a row")
        if self.last_good_at:
            which = f"{good} before it" if self.newer_good_at else f"last {good}"
            told.append(f"{which} {times.plain(self.last_good_at, zone)}, {times.span(at - self.last_good_at)} before")
        elif self.since:
            told.append(f"no {good} in the {times.span(at - self.since)} before")
        else:
            told.append(f"no {good} {'before it ' if self.newer_good_at else ''}is on record")
        return "; ".join(told)

    def short(self, at: datetime, zone: tzinfo | None = None) -> str:
        """The past for a table: "3rd in a row, last good 2026-11-20 02:31 UTC"."""
        row = f"{_nth(self.failures_in_row)}{' or more' if self.since else ''} in a row"
        if self.last_good_at:
            return f"{row}, last good {times.plain(self.last_good_at, zone)}"
        return f"{row}, none good {f'in {times.span(at - self.since)}' if self.since else 'on record'}"


def of(log: OperationLog, outcome: Outcome, others: Iterable[Ended], since: datetime | None = None) -> Past | None:
    """The past of a task, by the other ended tasks of its incident; None where nothing can be said.

    `since`: only what was created from then on is known in full. What had not ended by the task's own time was not
    known then, and does not count.
    """
    created = log.created_at
    if created is None or (since and since >= created):
        return None
    others = set(others)
    newer = min((one.ended_at for one in others if one.good and one.created_at > created), default=None)
    before = sorted(
        one for one in others if (since or one.created_at) <= one.created_at < created and one.ended_at <= outcome.at
    )
    failures = 1
    while before and not before[-1].good:
        before.pop()
        failures += 1
    return Past(
        failures,
        before[-1].ended_at if before else None,
        newer,
        recovered=newer is not None and outcome.name is not OutcomeName.OVERDUE,
        since=None if before else since,
    )


def tempered(outcome: Outcome, past: Past | None) -> Outcome:
    """What has recovered since is a warning at most: nobody has to get up for it."""
    recovered = past is not None and past.recovered
    return outcome._replace(severity="warning") if recovered and outcome.severity == "critical" else outcome


def _ordinal(number: int) -> str:
    return ORDINALS[number - 1] if number <= len(ORDINALS) else _nth(number)


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
