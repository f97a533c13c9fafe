"""The answer to one event: its results, the receipts of what was told, and the verdict for whoever asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from vaultbell import times
from vaultbell.errors import InvalidEvent

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Object = dict[str, JSON]

RETRY_AFTER = 30.0
RETRY_AFTER_LEAST, RETRY_AFTER_MOST = 1, 86_400

# From the worst to the best: what may pass beats what is final, so that nothing is dropped too soon.
WORST_FIRST = (500, 503, 424, 413, 403, 401, 400, 200)


class Action(StrEnum):
    """What was done with one item of an event."""

    NOTIFIED = "notified"
    QUIET = "quiet"
    LEFT = "left"
    RETRY = "retry"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one notification on one channel.

    `status` is the channel's last answer, `after` its wish; `reason` says why not in one word, to be counted by.
    """

    channel: str
    delivered: bool
    attempts: int
    status: int | None = None
    error: str | None = None
    final: bool = False
    after: float | None = None
    reason: str = field(default="", compare=False)

    def as_json(self) -> Object:
        """The receipt as it is answered."""
        return {
            "channel": self.channel,
            "delivered": self.delivered,
            "attempts": self.attempts,
            "status": self.status,
            "error": self.error,
        }


class Result(NamedTuple):
    """One item's line in the report. `status` is the HTTP status that this item alone would have been answered."""

    action: Action
    status: int = 200
    operation_log_id: str | None = None
    project_id: str | None = None
    operation_type: str | None = None
    outcome: str | None = None
    severity: str | None = None
    reason: str | None = None
    incident: str | None = None
    retry_after: float | None = None
    owed: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    error: tuple[str, str] | None = None

    @classmethod
    def rejected(cls, error: InvalidEvent, operation_log_id: str | None = None) -> Result:
        """The line of an item that cannot be handled."""
        return cls(
            Action.REJECTED,
            status=error.status,
            operation_log_id=operation_log_id,
            error=(error.code, error.message),
        )

    def as_json(self) -> Object:
        """The line as it is answered; what does not apply is left out."""
        line: Object = {
            "operation_log_id": self.operation_log_id,
            "project_id": self.project_id,
            "operation_type": self.operation_type,
            "outcome": self.outcome,
            "severity": self.severity,
            "reason": self.reason,
            "incident": self.incident,
            "action": self.action.value,
            "retry_after": None if self.retry_after is None else seconds(self.retry_after),
            "owed": list(self.owed) or None,
            "receipts": [receipt.as_json() for receipt in self.receipts] or None,
            "error": None if self.error is None else {"code": self.error[0], "message": self.error[1]},
        }
        return {key: value for key, value in line.items() if value is not None}


class Swept(NamedTuple):
    """What a sweep has covered: the ends of its windows, and how many rows of task lists it has read."""

    start: datetime
    end: datetime
    tasks: int

    def and_(self, other: Swept) -> Swept:
        """Both together."""
        return Swept(min(self.start, other.start), max(self.end, other.end), self.tasks + other.tasks)

    def as_json(self) -> Object:
        """What was covered, as it is answered."""
        return {"from": times.iso(self.start), "until": times.iso(self.end), "tasks": self.tasks}


class Report(NamedTuple):
    """All results of one event, in the order of its items."""

    results: tuple[Result, ...]
    batch: bool = False
    answers_empty: bool = False  # the sender wants 204 and nothing where all is handled
    swept: Swept | None = None
    reply: Object | None = None  # the CloudEvent to answer with, where the sender wants one

    @property
    def status(self) -> int:
        """The worst of the results, as an HTTP status."""
        return min((result.status for result in self.results), key=WORST_FIRST.index, default=200)

    @property
    def comes_again(self) -> bool:
        """Whether the event is handed back: whoever sent it is to send it once more."""
        return self.status in (500, 503)

    @property
    def retry_after(self) -> int:
        """When to come again, in whole seconds: the longest that any item was asked to wait."""
        waits = (result.retry_after for result in self.results if result.retry_after is not None)
        return seconds(max(waits, default=RETRY_AFTER))

    def as_json(self) -> Object:
        """The whole report, as it is answered and logged."""
        swept: Object = {"swept": self.swept.as_json()} if self.swept else {}
        return {"results": [result.as_json() for result in self.results], **swept}


def seconds(value: float) -> int:
    """A wait as `Retry-After` tells it: whole seconds, rounded up, 1 s to 1 day."""
    return min(max(math.ceil(value), RETRY_AFTER_LEAST), RETRY_AFTER_MOST)
