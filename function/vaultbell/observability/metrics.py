"""What is counted: every metric by its name, and the tally of them that this process keeps.

It needs no library. Names and units follow the conventions of Prometheus. Each label has few values, whatever anybody
sends: doors, answers, channels of the settings, operation types of the API (else `other`), outcomes, reasons. A tally
is of one process and begins with it: several workers of one server are several tallies.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vaultbell.errors import TaskMissing, VaultbellError
from vaultbell.notification import TITLES
from vaultbell.report import Receipt, Report
from vaultbell.tracing import Span

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
REASONS = (
    *("timeout", "dns", "connection", "tls", "protocol", "proxy", "refused_address", "status_3xx", "status_4xx"),
    *("status_5xx", "elsewhere", "internal", "other"),
)
LISTS = {"operation-logs": "tasks", "vaults": "vaults", "policies": "policies"}


class Metric(NamedTuple):
    """One metric: counters end in `_total`, times in `_seconds`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


EVENTS = Metric(
    "vaultbell_events_total", "counter", "Events by the door that they came by, and their answer.", ("door", "status")
)
EVENT_SECONDS = Metric("vaultbell_event_seconds", "histogram", "How long the handling of an event took.", ("door",))
OUTCOMES = Metric(
    "vaultbell_outcomes_total",
    "counter",
    "Verdicts on tasks, by operation type (none: no task was read) and outcome.",
    ("operation_type", "outcome"),
)
ACTIONS = Metric("vaultbell_actions_total", "counter", "What was done with the items of events.", ("action",))
DELIVERIES = Metric(
    "vaultbell_deliveries_total",
    "counter",
    "Messages to a channel, with all their tries: delivered, or the reason of failure.",
    ("channel", "result"),
)
DELIVERY_TRIES = Metric("vaultbell_delivery_tries_total", "counter", "Tries to tell a channel.", ("channel",))
DELIVERY_SECONDS = Metric(
    "vaultbell_delivery_seconds", "histogram", "How long it took to tell a channel, pauses included.", ("channel",)
)
LOOK_UP_SECONDS = Metric(
    "vaultbell_look_up_seconds",
    "histogram",
    "How long the API took for a task, or a page of a list, tries and log-in included.",
    ("of",),
)
LOOK_UP_FAILURES = Metric(
    "vaultbell_look_up_failures_total", "counter", "Look-ups that the API did not answer, by reason.", ("reason",)
)
TOKENS = Metric("vaultbell_tokens_fetched_total", "counter", "Tokens that IAM has given us.")
DEAD_LETTERS = Metric("vaultbell_dead_letters_total", "counter", "Messages that the queue's consumer has given up.")
SWEEPS = Metric(
    "vaultbell_sweeps_total", "counter", "Sweeps: complete (all was read and told), or unfinished.", ("result",)
)
SWEEP_ROWS = Metric("vaultbell_sweep_rows_total", "counter", "Rows of task lists that sweeps have read.")
SWEEP_LAG = Metric(
    "vaultbell_sweep_lag_seconds", "gauge", "How long the last sweep's window was over when the sweep was."
)
SWEEP_WINDOW = Metric("vaultbell_sweep_window_seconds", "gauge", "How long a time the last sweep has covered.")
LAST_EVENT = Metric("vaultbell_last_event_timestamp_seconds", "gauge", "When an event was last handled.")
LAST_RING = Metric("vaultbell_last_ring_timestamp_seconds", "gauge", "When a channel last took a message.")
LAST_SWEEP = Metric("vaultbell_last_sweep_timestamp_seconds", "gauge", "When a sweep was last completed.")

METRICS = (
    *(EVENTS, EVENT_SECONDS, OUTCOMES, ACTIONS, DELIVERIES, DELIVERY_TRIES, DELIVERY_SECONDS, LOOK_UP_SECONDS),
    *(LOOK_UP_FAILURES, TOKENS, DEAD_LETTERS, SWEEPS, SWEEP_ROWS, SWEEP_LAG, SWEEP_WINDOW),
    *(LAST_EVENT, LAST_RING, LAST_SWEEP),
)

Labels = tuple[str, ...]


@dataclass(slots=True)
class Spread:
    """How often a time lay below each of `BOUNDS` (and above all of them), and what all the times make together."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        first = not any(self.counts)
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
        self.least = seconds if first else min(self.least, seconds)
        self.most = max(self.most, seconds)


class Tally:
    """The counts of this process; a listener. `began` is when it began, in seconds since 1970."""

    def __init__(self) -> None:
        self.began = time.time()
        self._lock = threading.Lock()
        self._numbers: dict[Metric, dict[Labels, float]] = {
            metric: {} if metric.labels or metric.kind == "gauge" else {(): 0.0}
            for metric in METRICS
            if metric.kind != "histogram"
        }
        self._spreads: dict[Metric, dict[Labels, Spread]] = {
            metric: {} for metric in METRICS if metric.kind == "histogram"
        }

    def expect(self, channels: Iterable[str]) -> None:
        """Begin with 0 what is rare and matters: where a count begins with 1, no rate shows it."""
        with self._lock:
            for metric, labels in (
                *((DELIVERIES, (channel, result)) for channel in channels for result in ("delivered", *REASONS)),
                *((LOOK_UP_FAILURES, (reason,)) for reason in REASONS),
                *((OUTCOMES, ("none", outcome)) for outcome in ("missing", "unverified")),
                *((SWEEPS, (result,)) for result in ("complete", "unfinished")),
                *((EVENTS, (door, "500")) for door in ("http", "queue")),
            ):
                self._numbers[metric].setdefault(labels, 0.0)

    def numbers(self, metric: Metric) -> list[tuple[Labels, float]]:
        """A counter or gauge as it is now: its labels' values, and its own."""
        with self._lock:
            return list(self._numbers[metric].items())

    def spreads(self, metric: Metric) -> list[tuple[Labels, Spread]]:
        """A histogram as it is now."""
        with self._lock:
            return [
                (labels, Spread(list(one.counts), one.total, one.least, one.most))
                for labels, one in self._spreads[metric].items()
            ]

    def __call__(self, span: Span) -> None:
        """Count what has ended."""
        match span.name:
            case "event" if "status" in span.facts:
                self._event(span)
            case "look_up":
                self._time(LOOK_UP_SECONDS, span.seconds, _looked_up(str(span.facts["path"])))
                if span.error and not isinstance(span.error, TaskMissing):
                    self._add(LOOK_UP_FAILURES, 1, reason_of(span.error))
            case "delivery" if isinstance(receipt := span.facts.get("receipt"), Receipt):
                self._delivery(receipt, span.seconds)
            case "log_in" if not span.error:
                self._add(TOKENS, 1)
            case "dead_letter" if not span.error:
                self._add(DEAD_LETTERS, 1)

    def _event(self, span: Span) -> None:
        door, status, report = str(span.facts["door"]), span.facts["status"], span.facts.get("report")
        self._add(EVENTS, 1, door, str(status))
        self._time(EVENT_SECONDS, span.seconds, door)
        if status == 200:
            self._put(LAST_EVENT, time.time())
        if not isinstance(report, Report):
            return
        for result in report.results:
            self._add(ACTIONS, 1, result.action.value)
            if result.outcome:
                self._add(OUTCOMES, 1, _operation_type(result.operation_type), result.outcome)
        if report.swept:
            now, swept, complete = time.time(), report.swept, report.status == 200
            self._add(SWEEPS, 1, "complete" if complete else "unfinished")
            self._add(SWEEP_ROWS, swept.tasks)
            self._put(SWEEP_LAG, now - swept.end.timestamp())
            self._put(SWEEP_WINDOW, (swept.end - swept.start).total_seconds())
            if complete:
                self._put(LAST_SWEEP, now)

    def _delivery(self, receipt: Receipt, seconds: float) -> None:
        result = "delivered" if receipt.delivered else receipt.reason if receipt.reason in REASONS else "other"
        self._add(DELIVERIES, 1, receipt.channel, result)
        self._add(DELIVERY_TRIES, receipt.attempts, receipt.channel)
        self._time(DELIVERY_SECONDS, seconds, receipt.channel)
        if receipt.delivered:
            self._put(LAST_RING, time.time())

    def _add(self, metric: Metric, number: float, *labels: str) -> None:
        with self._lock:
            cells = self._numbers[metric]
            cells[labels] = cells.get(labels, 0.0) + number

    def _put(self, metric: Metric, number: float, *labels: str) -> None:
        with self._lock:
            self._numbers[metric][labels] = number

    def _time(self, metric: Metric, seconds: float, *labels: str) -> None:
        with self._lock:
            self._spreads[metric].setdefault(labels, Spread()).add(seconds)


def reason_of(error: BaseException) -> str:
    """Why it failed: one of REASONS."""
    reason = error.reason if isinstance(error, VaultbellError) else "internal"
    return reason if reason in REASONS else "other"


def _operation_type(name: str | None) -> str:
    return "none" if name is None else name if name in TITLES else "other"


def _looked_up(path: str) -> str:
    """`task`, or the list of which a page was read: by the API's own path, `/v3/{project_id}/{list}`."""
    name, inner = (*path.partition("?")[0].split("/")[3:5], "", "")[:2]
    return "task" if inner else LISTS.get(name, "other")
