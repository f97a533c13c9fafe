"""A sweep: `{"sweep": {…}}`, or the tick of a FunctionGraph TIMER.

A tick's time is what the sweep's window is reckoned from. Its `user_event` counts when it is JSON with `sweep` in it,
or with `roll_call`: then it asks for that, and for a sweep only where both stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
        """The one sweep, and the roll call that stands beside it."""
        if not isinstance(value, dict):
            raise InvalidEvent("an event is a JSON object")
        if "sweep" not in value:
            time = times.read(value.get("time")) or time
            value = _asked(value.get("user_event"))
        if "sweep" in value or "roll_call" not in value:
            yield _sweep(value, time)
        if "roll_call" in value:
            yield from context.unfold({"roll_call": value["roll_call"]}, time, context)


def _asked(user_event: JSON) -> Object:
    """What the text that is set at the trigger asks for; any other text asks for nothing special."""
    try:
        found = strict_json.loads(user_event) if isinstance(user_event, str) else user_event
    except InvalidEvent:
        return {}
    return found if isinstance(found, dict) else {}


def _sweep(value: Object, time: datetime | None) -> Sweep:
    asked = read("sweep", value, KEYS)
    at, period = at_and_period("sweep", asked)
    lag = None if asked.get("lag") is None else duration(asked["lag"], "sweep.lag")
    return Sweep(at or time, period, lag, plain.project_id(asked.get("project_id")))


def read(name: str, value: JSON, keys: Sequence[str]) -> Object:
    """What an event asks for under this name; null is nothing special. Raises InvalidEvent for any other key."""
    asked = value.get(name) if isinstance(value, dict) else None
    asked = {} if asked is None else asked
    if not isinstance(asked, dict):
        raise InvalidEvent(f"{name} is not an object")
    if unknown := [key for key in asked if key not in keys]:
        raise InvalidEvent(f"{name} has {len(unknown)} key(s) that mean nothing; it knows {', '.join(keys)}")
    return asked


def at_and_period(name: str, asked: Object) -> tuple[datetime | None, timedelta | None]:
    """The time and the period that are asked for; None: they are absent. Raises InvalidEvent."""
    at, period = asked.get("at"), asked.get("period")
    if at is not None and times.read(at) is None:
        raise InvalidEvent(f"{name}.at is not a time")
    length = None if period is None else duration(period, f"{name}.period")
    if length == timedelta():
        raise InvalidEvent(f"{name}.period is nothing")
    return times.read(at), length


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
