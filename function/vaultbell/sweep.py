"""Sweeps: the arithmetic of windows that tile time, and what of a task list falls into one.

With period P and lag L, the tick at T covers [E - P, E) where E = floor((T - L) / P) * P, counted from the Unix
epoch. A tick keeps no memory; two ticks of one period cover the same window, and the ticks of two periods two
windows that meet. All times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import Outcome, OutcomeName, Rules, classify

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FLIP = timedelta(seconds=60)  # after a window's end: a timer's jitter must not lose the window before

# The statuses that may ring whatever else a log says, in the order in which they are read: those without bound,
# because a task that hangs may be of any age, then those that have ended.
UNFINISHED = ("running", "waiting")
ENDED_BADLY = ("failed", "timeout", "skipped")


@dataclass(frozen=True, slots=True)
class Window:
    """All that a tick covers: `start` inclusive, `end` exclusive."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def believed(at: datetime | None, now: datetime, lag: timedelta) -> datetime:
    """The tick's own time; else now, also where that time would have us judge a window that has not ended yet."""
    return at if at is not None and at - lag <= now else now


def window(tick: datetime, period: timedelta, lag: timedelta, lookback: int = 1) -> Window:
    """What the tick at that time covers: `lookback` periods, and just after the flip one more.

    The tick before may have come just before its own flip: without that one, jitter would cost what the lookback is to
    make up for.
    """
    since = tick - lag - EPOCH
    periods = since // period
    if since % period < FLIP:  # with a shorter period than that, always: such a timer gets two windows at least
        lookback = lookback + 1 if period > FLIP else max(lookback, 2)
    lookback = max(1, min(lookback, periods))  # nothing is older than the epoch
    return Window(EPOCH + (periods - lookback) * period, EPOCH + periods * period)


def caught(log: OperationLog, covered: Window, rules: Rules, repeat_interval: timedelta) -> tuple[Outcome, int] | None:
    """The outcome of a task that rings in this window, and the number of the repeat; None where it does not.

    A task belongs to the window in which its end became visible; an overdue one to that in which its deadline
    passed, and again every `repeat_interval` after it; where several of these moments are covered, it is told once,
    as of the last. The clock of the verdict is the window's end, so that a repeated tick says the same.
    """
    outcome = classify(log, rules, covered.end)
    if not outcome.rings:
        return None
    if outcome.name is OutcomeName.OVERDUE:
        repeats = last_repeat(outcome.at, covered, repeat_interval)
        return None if repeats is None else (outcome, repeats)
    return (outcome, 0) if visible_at(log, covered, repeat_interval) in covered else None


def last_repeat(first: datetime, covered: Window, interval: timedelta) -> int | None:
    """The greatest n for which `first` + n intervals lies in the window; None where there is none."""
    last_instant = covered.end - timedelta(microseconds=1)
    count = (last_instant - first) // interval
    return count if count >= 0 and first + count * interval in covered else None


def visible_at(log: OperationLog, covered: Window, interval: timedelta) -> datetime:
    """When the task's end became visible. One without any time of its own is told once every interval."""
    known = [time for time in (log.ended_at, log.updated_at) if time]
    moment = max(known) if known else log.created_at or log.started_at
    return moment or EPOCH + (covered.end - timedelta(microseconds=1) - EPOCH) // interval * interval
