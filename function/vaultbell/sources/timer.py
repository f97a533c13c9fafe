"""A sweep: `{"sweep": {…}}`, or the tick of a FunctionGraph TIMER.

A tick's time is what the sweep's window is reckoned from. Its `user_event` counts when it is JSON with `sweep` in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from vaultbell import strict_json, times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Item, Sweep
from vaultbell.report import JSON, Object
from vaultbell.sources import plain
from vaultbell.sources.form import Context, Shaped

KEYS = ("at", "period", "lag", "project_id")
LONGEST = timedelta(days=366)

_DURATION = re.compile(r"(\d{1,9})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Timer(Shaped):
    """See the module."""

    name = "timer"
    leaves = True

    def fits(self, value: Object) -> bool:
        """It asks for a sweep, or is a tick."""
        return "sweep" in value or value.get("trigger_type") == "TIMER"

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The one sweep."""
        del context
        if not isinstance(value, dict):
            raise InvalidEvent("an event is a JSON object")
        asked: JSON = value.get("sweep")
        if "sweep" not in value:
            time = times.read(value.get("time")) or time
            asked = _asked(value.get("user_event"))
        yield _sweep({} if asked is None else asked, time)


def _asked(user_event: JSON) -> JSON:
    """What the text that is set at the trigger asks for; any other text asks for nothing special."""
    try:
        found = strict_json.loads(user_event) if isinstance(user_event, str) else user_event
    except InvalidEvent:
        return None
    return found.get("sweep") if isinstance(found, dict) else None


def _sweep(asked: JSON, time: datetime | None) -> Sweep:
    if not isinstance(asked, dict):
        raise InvalidEvent("sweep is not an object")
    if unknown := [key for key in asked if key not in KEYS]:
        raise InvalidEvent(f"sweep has {len(unknown)} key(s) that mean nothing; it knows {', '.join(KEYS)}")
    at = asked.get("at")
    if at is not None and times.read(at) is None:
        raise InvalidEvent("sweep.at is not a time")
    period, lag = (
        None if asked.get(key) is None else duration(asked[key], f"sweep.{key}") for key in ("period", "lag")
    )
    if period == timedelta():
        raise InvalidEvent("sweep.period is nothing")
    return Sweep(times.read(at) or time, period, lag, plain.project_id(asked.get("project_id")))


def duration(value: JSON, name: str) -> timedelta:
    """`90s`, `15m`, `24h`, `7d`, or seconds. Raises InvalidEvent, which calls it by the name."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match:
        length = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST.total_seconds():
        length = timedelta(seconds=value)
    else:
        raise InvalidEvent(f"{name} is not a duration: 90s, 15m, 24h, 7d, or seconds")
    if length > LONGEST:
        raise InvalidEvent(f"{name} is longer than a year")
    return length


SOURCE = Timer()
